// The protocol itself, on the echo path: errors and their codes, fragments, control frames, closing.
import { test, assert, within } from './lib/scenario.mjs';
import { BINARY, CLOSE, PING, PONG, TEXT, closeFrame, frame } from './lib/raw.mjs';

const config = { echo_path: '/echo', max_message: 100000 };
const bytes = (...b) => Buffer.from(b);
const cat = (...parts) => Buffer.concat(parts);

const faults = [
	[1002, 'reserved bit 1', frame(TEXT, 'x', { rsv: 4 })],
	[1002, 'reserved bit 3', frame(TEXT, 'x', { rsv: 1 })],
	[1002, 'no mask', frame(TEXT, 'x', { mask: false })],
	[1002, 'reserved data opcode', frame(3, 'x')],
	[1002, 'reserved control opcode', frame(11, 'x')],
	[1002, 'fragmented ping', frame(PING, 'x', { fin: false })],
	[1002, 'ping of 126 bytes', frame(PING, 'x'.repeat(126))],
	[1002, 'continuation of nothing', frame(0, 'x')],
	[1002, 'new message inside another', cat(frame(TEXT, 'x', { fin: false }), frame(TEXT, 'y'))],
	[1002, 'close with one byte', frame(CLOSE, 'x')],
	[1002, 'close code 1005', closeFrame(1005)],
	[1002, 'close code 1006', closeFrame(1006)],
	[1002, 'close code 999', closeFrame(999)],
	[1002, 'close code 1016', closeFrame(1016)],
	[1002, 'close code 2999', closeFrame(2999)],
	[1002, 'close code 5000', closeFrame(5000)],
	[1007, 'text that is not UTF-8', frame(TEXT, bytes(0xff))],
	[1007, 'an overlong form', frame(TEXT, bytes(0xc0, 0xaf))],
	[1007, 'a surrogate', frame(TEXT, bytes(0xed, 0xa0, 0x80))],
	[1007, 'above U+10FFFF', frame(TEXT, bytes(0xf4, 0x90, 0x80, 0x80))],
	[1007, 'text that ends inside a character', frame(TEXT, bytes(0xe2, 0x82))],
	[1007, 'bad text in a first fragment already', frame(TEXT, bytes(0x61, 0xff), { fin: false })],
	[1007, 'close reason that is not UTF-8', closeFrame(1000, bytes(0xff).toString('latin1'))],
	[1009, 'a message too big', frame(BINARY, Buffer.alloc(100001))],
];
// closeFrame takes text: the bad reason needs raw bytes
faults[22][2] = frame(CLOSE, bytes(0x03, 0xe8, 0xff));

await test('faults get the right close code, and the server ends the connection', async (t) => {
	const { gw } = await t.pair(config);
	const wrong = [];
	for (const [code, what, wire] of faults) {
		const r = await t.raw(gw);
		await r.open('/echo');
		await r.write(wire);
		try {
			const f = await r.next(CLOSE, 5000);
			assert.equal(f.code, code);
			assert.equal(f.masked, false);
			assert.ok(f.data.length <= 125);
			await r.send(CLOSE, f.data.subarray(0, 2));
			assert.ok(await r.ended(5000));
			assert.equal(r.frames.filter((x) => x.opcode === CLOSE).length, 1);
		} catch (e) {
			wrong.push(`${what}: ${e.message.split('\n').join(' ')}`);
		}
		r.destroy();
	}
	assert.deepEqual(wrong, []);
});

await test('echo of text and binary, of all length forms', async (t) => {
	const { gw } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/echo');
	for (const n of [0, 1, 125, 126, 127, 65535, 65536, 100000]) {
		for (const op of [TEXT, BINARY]) {
			const body = Buffer.alloc(n, op === TEXT ? 'é' : 0xff);
			if (n % 2 && op === TEXT) body[n - 1] = 0x61;
			await r.send(op, body);
			const f = await r.next(op);
			assert.ok(f.fin && f.rsv === 0 && !f.masked);
			assert.ok(f.data.equals(body), `${n} bytes`);
		}
	}
});

await test('fragments with control frames between them', async (t) => {
	const { gw } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/echo');
	await r.write(cat(
		frame(TEXT, bytes(0x61, 0xe2), { fin: false }), frame(PING, 'one'),
		frame(0, bytes(0x82), { fin: false }), frame(PONG, 'unasked'), frame(PING, 'two'),
		frame(0, '', { fin: false }), frame(0, bytes(0xac))));
	assert.equal((await r.next(PONG)).data.toString(), 'one');
	assert.equal((await r.next(PONG)).data.toString(), 'two');
	assert.equal((await r.next(TEXT)).data.toString(), 'a€');
});

await test('a ping is answered with its payload', async (t) => {
	const { gw } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/echo');
	for (const p of ['', 'x', 'y'.repeat(125)]) {
		await r.send(PING, p);
		assert.equal((await r.next(PONG)).data.toString(), p);
	}
});

await test('the closing handshake: the code comes back, then the server ends', async (t) => {
	const { gw } = await t.pair(config);
	for (const path of ['/echo', '/ws/chat/alice/']) {
		for (const [wire, code] of [[frame(CLOSE), 1005], [closeFrame(1000, 'bye'), 1000], [closeFrame(1001), 1001], [closeFrame(3000), 3000],
			[closeFrame(4999), 4999], [closeFrame(1014), 1014], [closeFrame(1000, 'é'.repeat(61)), 1000]]) {
			const r = await t.raw(gw);
			await r.open(path);
			await r.write(wire);
			assert.equal((await r.next(CLOSE)).code, code, `${path} ${code}`);
			assert.equal(await r.ended(), 'end', 'the server ends its side first');
			r.destroy();
		}
	}
});

await test('after its Close nothing of a client counts', async (t) => {
	const { gw, bus } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await r.write(cat(frame(TEXT, 'before'), closeFrame(1000), frame(TEXT, 'after')));
	assert.equal((await r.next(CLOSE)).code, 1000);
	await r.ended();
	assert.deepEqual((await bus.storedAll('ws.send.chat.alice', 1)).map((m) => m.text), ['before']);
});

await test('the echo path needs no broker', async (t) => {
	const nats = await t.nats({ start: false });
	const gw = await t.gateway(nats, { config, ready: false });
	const c = await t.client(gw, '/echo');
	await c.send('alone');
	assert.equal((await c.next()).text, 'alone');
	await within('the close', c.close());
});

await test('an idle client that answers no ping: 3008', async (t) => {
	const { gw } = await t.pair({ ping_interval: '300ms', pong_timeout: '3s' });
	const mute = await t.raw(gw);
	await mute.open('/ws/chat/mute/');
	const good = await t.client(gw, 'chat/good');
	let pings = 0;
	good.ws.on('ping', () => pings++);
	await mute.next(PING);
	assert.equal((await mute.next(CLOSE)).code, 3008);
	await mute.ended();
	await within('pings to the other', new Promise((done) => good.ws.on('ping', () => pings >= 3 && done())));
	assert.equal(good.closed, null, 'who answers stays');
});

await test('many frames in one write: their answers come in order, whatever their sizes, and the Close behind them', async (t) => {
	const { gw } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/echo');
	const sizes = [0, 1, 125, 126, 1000, 8191, 8192, 8193, 60000, 3], sent = [];
	for (let i = 0; i < 300; i++) {
		sent.push([TEXT, `${i} ${'x'.repeat(sizes[i % sizes.length])}`], [PING, `p${i}`]);
	}
	await r.write(cat(...sent.map(([op, text]) => frame(op, text)), closeFrame(1000)));
	await r.next(CLOSE, 20000);
	assert.deepEqual(r.frames.map((f) => [f.opcode, f.data.length]), [...sent.map(([op, text]) => [op === PING ? PONG : op, text.length]), [CLOSE, 2]]);
	assert.ok(r.frames.slice(0, -1).every((f, i) => f.data.toString() === sent[i][1]), 'the bytes');
	assert.ok(await r.ended());
});

await test('what came before a fault, in the same write, is answered', async (t) => {
	const { gw } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/echo');
	await r.write(cat(frame(TEXT, 'one'), frame(PING, 'two'), frame(3, 'x'), frame(TEXT, 'three')));
	const f = await r.next(CLOSE);
	assert.equal(f.code, 1002);
	assert.deepEqual(r.frames.slice(0, 2).map((x) => x.data.toString()), ['one', 'two']);
	assert.equal(r.frames.length, 3);
});
