// HTTP/2: the gateway speaks HTTP/1.1 alone, and says so by ALPN; HAProxy translates (RFC 8441).
import http2 from 'node:http2';
import { test, assert, until } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { Front } from './lib/fronts.mjs';
import { rawTls, tlsPair } from './lib/pki.mjs';
import { Raw, CLOSE, PING, PONG, TEXT, closeFrame } from './lib/raw.mjs';

await test('a client that would rather have HTTP/2 gets HTTP/1.1', async (t) => {
	const { gw, bus } = await tlsPair(t);
	const r = await rawTls(t, gw, { ALPNProtocols: ['h2', 'http/1.1'] });
	assert.equal(r.socket.alpnProtocol, 'http/1.1');
	await r.open('/ws/chat/alice/');
	await r.send(TEXT, 'hello');
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].text, 'hello');
	// One that has nothing else is told by TLS, and one that does not ask by HTTP.
	await assert.rejects(rawTls(t, gw, { ALPNProtocols: ['h2'] }), /no application protocol/i);
	const rude = await rawTls(t, gw);
	await rude.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
	assert.equal((await rude.response()).status, 505);
});

// A connection in a stream of an HTTP/2 session.
async function extendedConnect(t, port, path, ca) {
	const session = http2.connect(`https://localhost:${port}`, { ca });
	t.clients.push(() => session.destroy());
	session.on('error', () => {});
	let stream, status;
	session.once('remoteSettings', (s) => {
		if (!s.enableConnectProtocol) return (status = 'no extended CONNECT');
		stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, 'sec-websocket-version': '13', origin: `https://localhost:${port}` }, { endStream: false });
		stream.once('response', (h) => (status = h[':status']));
	});
	await until('an answer', () => status);
	if (status !== 200) return status;
	const r = new Raw(stream);
	r.upgraded = true;
	return r;
}

await test('HAProxy: a WebSocket in HTTP/2 becomes one in HTTP/1.1', async (t) => {
	const { gw, bus, ca, certs } = await tlsPair(t, { config: { proxy: { networks: ['127.0.0.1'], forwarded: 'x-forwarded-for' } } });
	const front = await Front.start(t, 'haproxy', gw, { certificate: certs[0] });
	const r = await extendedConnect(t, front.tlsPort, '/ws/chat/alice/', ca);
	await r.send(TEXT, 'x'.repeat(100000));
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].data.length, 100000);
	await bus.publish(recv('chat', 'alice'), 'hello');
	assert.equal((await r.next(TEXT)).data.toString(), 'hello');
	await r.send(PONG, (await r.next(PING)).data);
	await bus.empty(recv('chat', 'alice'));
	await r.write(closeFrame(4321));
	assert.equal((await r.next(CLOSE)).code, 4321);
});

await test('nginx with HTTP/2 for pages: a WebSocket falls back to HTTP/1.1', async (t) => {
	const { gw, bus, ca, certs } = await tlsPair(t);
	const front = await Front.start(t, 'nginx', gw, { certificate: certs[0], instead: { ' ssl;': ' ssl http2;' } });
	assert.equal(await extendedConnect(t, front.tlsPort, '/ws/chat/alice/', ca), 'no extended CONNECT');
	const c = await front.client('chat/alice', { ca });
	await bus.publish(recv('chat', 'alice'), 'hello');
	assert.equal((await c.next()).text, 'hello');
});
