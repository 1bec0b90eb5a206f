// 22: the other direction: what services send comes as frames of all lengths, whole, unmasked, in order, with the gateway's Pings
// among them; plain, through TLS, compressed; to a client that reads slowly, too.
import { tlsPair } from '../e2e/lib/pki.mjs';
import { recv } from '../e2e/lib/nats.mjs';
import { test, assert } from './lib/suite.mjs';
import { Inflater, agreed } from './lib/deflate.mjs';
import { Peer } from './lib/peer.mjs';
import { BINARY, PING, PONG, TEXT, close, encode, frame } from './lib/wire.mjs';

const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);
const lengths = [...range(0, 300), ...range(65530, 65542), 16383, 16384, 16385, 32768, 100000, 200000, 1000000];
const letters = Buffer.alloc(1100000, '{"who":"Ädam","n":12345},'), octets = Buffer.from(range(0, 1000000).map((i) => Math.imul(i, 2654435761) >>> 24));

// Text and bytes by turns; each fourth is marked not to be compressed.
const messages = lengths.map((n, i) => {
	const op = i % 2 ? TEXT : BINARY, data = Buffer.from((op === TEXT ? letters : octets).subarray(0, n));
	if (op === TEXT && n) data.fill('.', (data[n - 1] & 0x80) === 0 ? n : n - 1 - ((data[n - 1] & 0xc0) === 0x80 ? 1 : 0));
	return { op, data, head: { 'Ws-Type': op === TEXT ? 'text' : 'binary', ...(i % 4 === 3 ? { 'Ws-Compress': 'no' } : {}) } };
});

async function delivered(t, { secure, compression = {}, offer, slow }) {
	const config = { compression, delivery: { window: '512k' } };
	const { gw, bus } = secure ? await tlsPair(t, { config }) : await t.pair(config);
	const peer = await Peer.open({ port: secure ? gw.tlsPort : gw.port, secure }, '/ws/conf/alice/', offer ? { 'Sec-WebSocket-Extensions': offer } : {});
	const terms = agreed(offer ?? '', peer.answer.headers['sec-websocket-extensions']);
	assert.equal(!terms, !offer);
	peer.heard = (f) => f.op === PING && peer.write(encode(frame(PONG, f.data)));
	if (slow) {
		peer.socket.on('data', () => {
			peer.socket.pause();
			setTimeout(() => peer.socket.resume(), 1);
		});
	}
	await bus.publishAll(messages.length, (i) => [recv('conf', 'alice'), messages[i].data, messages[i].head], 50);
	const data = () => peer.frames.filter((f) => f.op !== PING);
	await peer.until('all messages', () => data().length === messages.length, { ms: 60000 });
	const inflater = terms && new Inflater(terms);
	for (const [i, f] of data().entries()) {
		const m = messages[i], what = `message ${i} of ${m.data.length} bytes`;
		assert.ok(f.op === m.op && f.fin, what);
		assert.ok(f.rsv === 0 || (terms && f.rsv === 4 && m.head['Ws-Compress'] !== 'no'), `${what}: reserved bits`);
		assert.ok((f.rsv ? inflater.message(f.data) : f.data).equals(m.data), `${what} is another`);
		if (terms && m.op === TEXT && m.data.length > 60 && !m.head['Ws-Compress']) assert.equal(f.rsv, 4, `${what} comes compressed`);
	}
	assert.ok(peer.frames.filter((f) => f.op === PING).every((f) => f.rsv === 0 && f.data.length === 16), 'the Pings');
	await bus.empty(recv('conf', 'alice'));
	await peer.write(encode(close(1000)));
	await peer.until('the Close', () => peer.close);
	await peer.until('the end of the server\'s side', () => peer.ended);
	assert.equal(peer.close.code, 1000);
	peer.socket.end();
	await peer.gone();
}

const on = { enabled: 'yes', threshold: 1 }, offer = 'permessage-deflate; client_max_window_bits';
await test(`22.1 ${messages.length} lengths`, (t) => delivered(t, {}));
await test('22.2 the same through TLS', (t) => delivered(t, { secure: true }));
await test('22.3 to a client that reads slowly', (t) => delivered(t, { slow: true }));
await test('22.4 to a client that reads slowly, through TLS', (t) => delivered(t, { secure: true, slow: true }));
await test('22.5 compressed', (t) => delivered(t, { compression: on, offer }));
await test('22.6 compressed with context, through TLS, to a client that reads slowly', (t) => delivered(t, { compression: { ...on, context: 'yes' }, offer, secure: true, slow: true }));
