// What comes to a TLS port and is no client: turned away, in time, and nobody else feels it.
import net from 'node:net';
import tls from 'node:tls';
import { test, assert, until } from './lib/scenario.mjs';
import { Client, numbers } from './lib/client.mjs';
import { tlsPair, rawTls, s_client } from './lib/pki.mjs';
import { request, upgrade } from './lib/raw.mjs';
import { Tls12, HANDSHAKE, DATA } from './lib/tls12.mjs';

// A bare socket to the TLS port.
function bare(t, gw) {
	return t.raw({ port: gw.tlsPort });
}

await test('plain HTTP and plain WebSocket to a TLS port: 400 in plain text', async (t) => {
	const { gw } = await tlsPair(t);
	for (const text of ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', upgrade('/ws/chat/alice/'), 'POST /ws/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx']) {
		const a = await request(t, { port: gw.tlsPort }, text);
		assert.equal(a.status, 400);
		assert.match(a.body, /this is a TLS port: use https or wss/);
	}
	await assert.rejects(Client.connect(gw.wsUrl('chat/a').replace(gw.port, gw.tlsPort)), /400/);
	assert.match(gw.log(), /handshake refused status=400 why="this is a TLS port/);
});

await test('TLS to a plain port: 400, and the end', async (t) => {
	const { gw } = await tlsPair(t);
	await assert.rejects(rawTls(t, gw, {}, gw.port), /wrong version number|packet length|EPROTO|record/i);
});

await test('garbage, a cut hello, an abort in the middle: the end, and others go on', async (t) => {
	const { gw, ca } = await tlsPair(t);
	const other = await Client.connect(gw.wssUrl('chat/other'), { ca });
	for (const bytes of ['SSH-2.0-x\r\n', Buffer.alloc(300, 0xff), Buffer.from('16030100', 'hex'), Buffer.from('160301ffff00', 'hex'),
		Buffer.from('1503010002022f', 'hex'), Buffer.from('17030300050000000000', 'hex')]) {
		const r = await bare(t, gw);
		await r.write(bytes);
		r.socket.end();
		await r.ended();
		assert.doesNotMatch(r.buf.toString('latin1'), /HTTP/);
	}
	for (const i of numbers(50)) {
		const socket = net.connect(gw.tlsPort, '127.0.0.1');
		const s = tls.connect({ socket, rejectUnauthorized: false });
		for (const one of [s, socket]) one.on('error', () => {});
		await new Promise((done) => (i % 2 ? s.once('secureConnect', done) : socket.once('connect', done)));
		socket.resetAndDestroy();
	}
	await other.ping();
	await until('no connection but that one', async () => (await gw.ctl('status')).out.includes('1 connections'));
	assert.match(gw.log(), /TLS handshake failed why=/);
	await other.close();
});

await test('handshakes that stand still end after handshake_timeout, without a byte in plain text', async (t) => {
	const { gw, ca } = await tlsPair(t, { config: { handshake_timeout: '4s' } });
	const silent = await Promise.all(numbers(20).map(() => bare(t, gw)));
	const hello = await new Promise((done) => {
		const server = net.createServer((s) => s.once('data', (d) => (s.destroy(), server.close(), done(d))));
		server.listen(0, '127.0.0.1', () => tls.connect({ port: server.address().port, host: '127.0.0.1' }).on('error', () => {}));
	});
	const half = await Promise.all(numbers(20).map(async (i) => {
		const r = await bare(t, gw);
		await r.write(i % 2 ? hello : hello.subarray(0, 40)); // the server's flight is never answered; or a cut hello
		return r;
	}));
	const slow = await rawTls(t, gw); // the handshake is done, the request does not come
	await Promise.all([...silent, ...half].map((r) => r.ended()));
	for (const r of [...silent, ...half.filter((_, i) => i % 2 === 0)]) assert.equal(r.buf.length, 0);
	for (const r of half) assert.doesNotMatch(r.buf.toString('latin1'), /HTTP/);
	assert.equal((await slow.response()).status, 408);
	assert.match(gw.log(), /TLS handshake failed why="not in time"/);
	const c = await Client.connect(gw.wssUrl('chat/a'), { ca });
	await c.close();
});

await test('renegotiation is refused, and so are early data and versions before 1.2', async (t) => {
	const { gw } = await tlsPair(t);
	const r = await rawTls(t, gw, { maxVersion: 'TLSv1.2' });
	await r.open('/ws/chat/a/');
	const end = new Promise((done) => r.socket.once('error', done));
	r.socket.renegotiate({ rejectUnauthorized: false }, () => {});
	assert.match(String(await Promise.race([end, r.ended().then(() => 'ended')])), /renegotiation|handshake|alert|ended/i);
	assert.doesNotMatch(gw.log(), /TLS handshake failed/); // it was an open connection
	for (const v of ['-tls1', '-tls1_1']) assert.match(await s_client(gw.tlsPort, [v, '-cipher', 'ALL:@SECLEVEL=0']), /alert protocol version/);
});

await test('one who asks for new handshakes without end is ended, and holds up nobody', async (t) => {
	const { gw, ca } = await tlsPair(t, { config: { workers: 1, hang_timeout: '0' } });
	const other = await Client.connect(gw.wssUrl('chat/other'), { ca });
	const open = await Tls12.connect(t, gw), idle = await Tls12.connect(t, gw);
	await open.write(DATA, Buffer.from(upgrade('/ws/chat/open/')));
	await until('its connection', () => /connection opened.*user=open/.test(gw.log()));
	const hellos = Buffer.alloc(16384, Buffer.from([1, 0, 0, 0]));
	for (const c of [open, idle]) {
		while (!c.socket.destroyed) await c.write(HANDSHAKE, hellos);
		await other.ping();
	}
	for (const line of [/client fault reason="too many handshakes.*user=open/, /TLS handshake failed why="too many handshakes/]) assert.match(gw.log(), line);
});

await test('no descriptor left: nothing in plain text on a TLS port, and it goes on', async (t) => {
	const { gw, ca } = await tlsPair(t, { config: { workers: 1, max_connections: 50 }, opts: { nofile: 100 } });
	const many = await Promise.all(numbers(120).map(() => bare(t, gw)));
	await until('some turned away', () => many.filter((r) => r.finished).length > 20);
	assert.ok(many.every((r) => r.buf.length === 0));
	for (const r of many) r.destroy();
	const c = await Client.connect(gw.wssUrl('chat/a'), { ca });
	await c.close();
});
