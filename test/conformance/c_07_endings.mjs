// 7, what no table says: who ends first when the other does not play along. All of it is ours.
import fs from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { recv } from '../e2e/lib/nats.mjs';
import { test, assert, stays, until } from '../e2e/lib/scenario.mjs';
import { Raw } from '../e2e/lib/raw.mjs';
import { echoServer, openEcho } from './lib/suite.mjs';
import { Peer } from './lib/peer.mjs';
import { TEXT, binary, close, encode, frame, more, text } from './lib/wire.mjs';

const openFiles = (gw) => gw.children().reduce((n, c) => n + fs.readdirSync(`/proc/${c.pid}/fd`).length, 0);

await test('7.30 the side that a client never ends; an end without a Close', async (t) => {
	const gw = await echoServer(t);
	for (const secure of [false, true]) {
		const before = openFiles(gw);
		const held = await openEcho(gw, secure), failed = await openEcho(gw, secure), mute = await openEcho(gw, secure);
		await held.write(encode(close(1000)));
		await failed.write(encode(frame(3)));
		for (const p of [held, failed]) await p.until('the end of the server\'s side', () => p.ended);
		assert.deepEqual([held.close.code, failed.close.code], [1000, 1002]);
		await mute.write(Buffer.concat([encode(text('a')), encode(text('not its end', more))]));
		await mute.until('the echo', () => mute.frames.length === 1);
		mute.socket.end();
		await mute.gone();
		assert.deepEqual(mute.frames.map((f) => f.op), [TEXT], 'RFC 6455 7.1.5: no Close, no answer to one');
		await until('both sockets are given back', () => openFiles(gw) <= before);
	}
});

// A socket that is closed with unread bytes answers with a reset, and with it a Close may be lost.
await test('7.31 who goes on sending after a fault still reads the Close, or why the request was refused', async (t) => {
	const gw = await echoServer(t);
	const peers = await Promise.all([false, true].map((secure) => openEcho(gw, secure)));
	for (const p of peers) {
		p.socket.pause();
		await p.write(encode(binary('x', { length: 17 << 20 })));
	}
	const refused = await Raw.connect(gw.port);
	refused.socket.pause();
	await refused.write(`GET /echo HTTP/1.1\r\nX: ${'x'.repeat(20000)}`);
	await stays('they may send', () => peers.every((p) => p.socket.write(Buffer.alloc(1000)) && !p.error) && refused.socket.write('x'.repeat(1000)) && !refused.finished, 3500);
	refused.socket.resume();
	assert.equal((await refused.response()).status, 431);
	assert.equal(await refused.ended(), 'end');
	refused.destroy();
	for (const p of peers) {
		p.socket.resume();
		await p.until('the end of the server\'s side', () => p.ended);
		assert.equal(p.close.code, 1009);
		p.socket.end();
		await p.gone();
	}
}, { ms: 20000 });

// The kernel has the end of that client, and the server has read all that was before it.
function hasEnded(port, theirs) {
	const hex = (n) => `:${n.toString(16).toUpperCase().padStart(4, '0')}`;
	const lines = fs.readFileSync('/proc/net/tcp', 'latin1').split('\n').map((l) => l.trim().split(/\s+/));
	const mine = lines.find(([, local, remote]) => local?.endsWith(hex(port)) && remote.endsWith(hex(theirs)));
	const [CLOSE_WAIT, LAST_ACK, CLOSING] = ['08', '09', '0B'];
	return [CLOSE_WAIT, LAST_ACK, CLOSING].includes(mine[3]) && parseInt(mine[4].split(':')[1], 16) <= 1;
}

// What was given to a slow client lies behind its own end: it gets all of it, and the Close.
await test('7.32 a Close, and the end, of a client that has not read everything', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, delivery: { window: '16m' } });
	for (const n of [1, 12]) {
		const user = `slow${n}`, body = Buffer.alloc(800000, 'abcdefghij');
		const p = await Peer.open({ port: gw.port }, `/ws/chat/${user}/`);
		p.socket.pause();
		for (let i = 0; i < n; i++) await bus.publish(recv('chat', user), body);
		await until('all is given', async () => (await gw.sessions('chat', user))[0]?.messages_out === n);
		await p.write(encode(close(1000)));
		p.socket.end();
		await until('its Close is read', () => hasEnded(gw.port, p.socket.localPort));
		await gw.admin('/livez'); // and its end, by the one worker
		p.socket.resume();
		await p.until('the end of the server\'s side', () => p.ended);
		assert.equal(p.frames.filter((f) => f.op === TEXT && f.data.equals(body)).length, n);
		assert.equal(p.close.code, 1000);
		await p.gone();
	}
});

// The kinds of the records of TLS 1.2, which are not hidden: 21 is an alert, 23 is data.
function records(b) {
	const kinds = [];
	for (let at = 0; at + 5 <= b.length; at += 5 + b.readUInt16BE(at + 3)) kinds.push(b[at]);
	return kinds;
}

await test('7.33 through TLS: Close, close_notify, the end of TCP, in this order', async (t) => {
	const gw = await echoServer(t);
	for (const [code, wire] of [[1000, close(1000)], [1002, frame(3)]]) {
		const heard = [];
		let over = false; // the end of TCP, behind all records
		const relay = net.createServer({ allowHalfOpen: true }, (client) => {
			const server = net.connect({ port: gw.tlsPort, host: '127.0.0.1', allowHalfOpen: true });
			server.on('data', (d) => heard.push(d));
			server.on('end', () => (over = true));
			server.pipe(client).pipe(server);
		});
		await new Promise((done) => relay.listen(0, '127.0.0.1', done));
		t.atEnd(() => relay.close());
		const p = new Peer(tls.connect({ port: relay.address().port, host: '127.0.0.1', rejectUnauthorized: false, allowHalfOpen: true, maxVersion: 'TLSv1.2' }));
		await p.handshake('/echo');
		await p.write(encode(wire));
		await until('the end of TCP', () => over);
		await p.until('the end of TLS', () => p.ended);
		assert.equal(p.close.code, code);
		const kinds = records(Buffer.concat(heard));
		assert.deepEqual(kinds.slice(kinds.lastIndexOf(22) + 1), [23, 23, 21], 'the answer, the Close, close_notify');
		p.socket.end();
		await p.gone();
	}
});
