// permessage-deflate, end to end: what is agreed on, what goes compressed and what does not, and what a bad one comes to.
import crypto from 'node:crypto';
import zlib from 'node:zlib';
import http from 'node:http';
import { test, assert, until } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { Chrome } from './lib/chrome.mjs';
import { PyClient } from './lib/pyclient.mjs';
import { freePort } from './lib/proc.mjs';
import { recv, send } from './lib/nats.mjs';
import { BINARY, CLOSE, PING, PONG, TEXT } from './lib/raw.mjs';

const ON = { enabled: 'yes', threshold: 100 };
const EXT = 'sec-websocket-extensions';
const NO_CONTEXT = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
const big = (i, n = 3000) => Array.from({ length: n / 30 }, (_, k) => `{"n":${i * 1000 + k},"é":"value"}`).join().slice(0, n);
const noise = (n) => Buffer.from(Array.from({ length: n }, (_, i) => (i * i * 2654435761 >>> 13) & 255 ^ (i % 251)));
const deflate = (data, o) => zlib.deflateRawSync(data, { finishFlush: zlib.constants.Z_SYNC_FLUSH, ...o }).subarray(0, -4);
const inflate = (data, o) => zlib.inflateRawSync(Buffer.concat([data, Buffer.from([0, 0, 255, 255])]), { finishFlush: zlib.constants.Z_SYNC_FLUSH, ...o });
// The sum over the workers of each counter.
async function stats(gw) {
	const out = {};
	for (const w of JSON.parse((await gw.ctl('status', '--json')).out).workers) for (const [k, v] of Object.entries(w)) out[k] = (out[k] ?? 0) + v;
	return out;
}

async function offering(t, gw, offer, where = '/ws/chat/raw/') {
	const r = await t.raw(gw);
	const answer = await r.open(where, offer === null ? {} : { 'Sec-WebSocket-Extensions': offer });
	return [r, answer.headers[EXT]];
}

await test('off unless it is asked for; RSV1 is an error then', async (t) => {
	const { gw, bus } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	assert.equal(c.ws.extensions, '');
	await bus.publish(recv('chat', 'alice'), big(1));
	assert.equal((await c.next()).text, big(1));
	const [r, answer] = await offering(t, gw, 'permessage-deflate');
	assert.equal(answer, undefined);
	await r.send(TEXT, deflate('x'), { rsv: 4 });
	assert.equal((await r.next(CLOSE)).code, 1002);
});

await test('both ways without context: one compression for all of a user\'s tabs', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, compression: ON });
	const tabs = await Promise.all([1, 2, 3, 4].map(() => t.client(gw, 'chat/alice')));
	const old = await t.client(gw, 'chat/alice', { perMessageDeflate: false });
	const narrow = await t.client(gw, 'chat/alice', { perMessageDeflate: { serverMaxWindowBits: 9 } });
	for (const c of [...tabs, narrow]) assert.equal(c.ws.extensions, 'permessage-deflate');
	assert.equal(old.ws.extensions, '');
	for (let i = 0; i < 20; i++) await bus.publish(recv('chat', 'alice'), big(i));
	for (const c of [...tabs, old, narrow]) assert.deepEqual((await c.take(20)).map((m) => m.text), Array.from({ length: 20 }, (_, i) => big(i)));
	await bus.empty('ws.recv.>'); // Pongs confirm as ever
	const s = await stats(gw);
	assert.equal(s.compressed, 20 * 5);
	assert.equal(s.compressions, 20 * 2);
	const bytes = Array.from({ length: 20 }, (_, i) => Buffer.byteLength(big(i))).reduce((a, b) => a + b);
	assert.equal(s.compressed_from, 5 * bytes);
	assert.ok(s.compressed_to < s.compressed_from / 4, JSON.stringify(s));
	assert.equal(s.bytes_out, 6 * bytes, 'what services sent');

	const all = ['short', big(1), Buffer.alloc(0), '', Buffer.from(big(2)), 'x'.repeat(300000)];
	for (const m of all) await tabs[0].send(m);
	await old.send(big(3));
	const got = await bus.storedAll(send('chat', 'alice'), all.length + 1);
	all.forEach((m, i) => {
		assert.ok(got[i].data.equals(Buffer.from(m)), `message ${i}`);
		assert.equal(got[i].headers['Ws-Type'], typeof m === 'string' ? 'text' : 'binary');
	});
	const after = await stats(gw);
	assert.equal(after.decompressed, 3); // npm ws has a threshold, too
	assert.equal(after.decompressed_to, Buffer.byteLength(big(1) + big(2)) + 300000);
	assert.ok(after.decompressed_from < after.decompressed_to / 10);
});

await test('tabs that are not equally fast share it, too', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, compression: ON, delivery: { window_messages: 4 } });
	const tabs = await Promise.all([1, 2, 3, 4].map(() => t.client(gw, 'chat/alice')));
	const n = 300;
	await bus.publishAll(n, (i) => [recv('chat', 'alice'), big(i)], 100);
	for (const c of tabs) assert.deepEqual((await c.take(n)).map((m) => m.text), Array.from({ length: n }, (_, i) => big(i)));
	const s = await stats(gw);
	assert.equal(s.compressed, n * tabs.length);
	assert.ok(s.compressions < n * 1.5, `${s.compressions} for ${n} messages`); // nothing is kept for longer than a second
});

await test('short, marked and incompressible messages go as they are', async (t) => {
	const { gw, bus } = await t.pair({ compression: ON });
	const [r] = await offering(t, gw, 'permessage-deflate');
	const rows = [
		[big(0), undefined, true],
		['x'.repeat(99), undefined, false],
		['x'.repeat(100), undefined, true],
		[big(1), { 'Ws-Compress': 'no' }, false],
		[big(1), { 'Ws-Compress': 'yes' }, true],
		[noise(3000), undefined, false],
		[Buffer.concat([noise(3000), Buffer.alloc(3000)]), { 'Ws-Type': 'binary' }, true],
		['', undefined, false],
	];
	for (const [data, headers] of rows) await bus.publish(recv('chat', 'raw'), data, headers);
	await until('all of them', () => r.data().length === rows.length);
	rows.forEach(([data, , compressed], i) => {
		const f = r.data()[i];
		assert.equal(f.rsv, compressed ? 4 : 0, `row ${i}`);
		assert.ok((compressed ? inflate(f.data) : f.data).equals(Buffer.from(data)), `row ${i}`);
	});
});

await test('what a client offers, and what it gets', async (t) => {
	const { gw } = await t.pair({ compression: { ...ON, window_bits: 12 }, echo_path: '/echo' });
	const rows = [
		[null, undefined],
		['permessage-deflate', NO_CONTEXT],
		['permessage-deflate; client_max_window_bits', NO_CONTEXT],
		['x-foo, permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits="8"', `${NO_CONTEXT}; server_max_window_bits=8`],
		['permessage-deflate; server_max_window_bits=15', `${NO_CONTEXT}; server_max_window_bits=12`],
		['permessage-deflate; unknown', undefined],
		['permessage-deflate; server_max_window_bits', undefined],
		['permessage-deflate; client_max_window_bits=16', undefined],
		['permessage-deflate; server_no_context_takeover; server_no_context_takeover', undefined],
	];
	for (const [offer, answer] of rows) {
		const [r, got] = await offering(t, gw, offer, '/echo');
		assert.equal(got, answer, offer);
		await r.send(TEXT, answer ? deflate(big(1)) : big(1), { rsv: answer ? 4 : 0 });
		const f = await r.next(TEXT);
		assert.equal(f.rsv, answer ? 4 : 0, offer);
		const bits = Number(/server_max_window_bits=(\d+)/.exec(answer)?.[1] ?? 12);
		assert.equal((answer ? inflate(f.data, { windowBits: bits }) : f.data).toString(), big(1), offer);
		r.destroy();
	}
});

await test('fragments, control frames between, bad data, bombs, text that is none', async (t) => {
	const { gw, bus } = await t.pair({ compression: ON, max_message: '64k' });
	const [r] = await offering(t, gw, 'permessage-deflate');
	const data = deflate(big(1, 9000));
	await r.send(TEXT, data.subarray(0, 7), { fin: false, rsv: 4 });
	await r.send(PING, 'between');
	assert.equal((await r.next(PONG)).data.toString(), 'between');
	await r.send(0, data.subarray(7, 50), { fin: false });
	await r.send(0, data.subarray(50));
	await r.send(BINARY, deflate(Buffer.alloc(65536)), { rsv: 4 });
	const stored = await bus.storedAll(send('chat', 'raw'), 2);
	assert.equal(stored[0].text, big(1, 9000));
	assert.equal(stored[1].data.length, 65536);
	const rows = [
		[BINARY, deflate(Buffer.alloc(65537)), 1009],
		[BINARY, deflate(Buffer.alloc(60000000)), 1009],
		[BINARY, Buffer.from([7, 7, 7]), 1007],
		[BINARY, deflate(big(1)).subarray(0, 100), 1007],
		[BINARY, '', 1007],
		[TEXT, deflate(Buffer.from([0xc3, 0x28])), 1007],
		[PING, '', 1002],
	];
	for (const [opcode, payload, code] of rows) {
		const [one] = await offering(t, gw, 'permessage-deflate');
		await one.send(BINARY, deflate('before'), { rsv: 4 });
		await one.send(opcode, payload, { rsv: 4 });
		assert.equal((await one.next(CLOSE)).code, code);
		await one.ended();
	}
	assert.equal(await bus.count(send('chat', 'raw')), 2 + rows.length, 'what came before is stored');
});

await test('with context a message costs what is new in it', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, compression: { ...ON, context: 'yes' } });
	const tabs = await Promise.all([1, 2].map(() => t.client(gw, 'chat/alice')));
	const without = await t.client(gw, 'chat/alice', { perMessageDeflate: { serverNoContextTakeover: true, clientNoContextTakeover: true } });
	const [r, answer] = await offering(t, gw, 'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10', '/ws/chat/alice/');
	assert.equal(answer, 'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10');
	const like = (i) => `${i}${big(0, 800)}`; // within the smallest window
	for (let i = 0; i < 20; i++) await bus.publish(recv('chat', 'alice'), like(i));
	await bus.publish(recv('chat', 'alice'), noise(2000));
	for (const c of [...tabs, without]) assert.deepEqual((await c.take(21)).slice(0, 20).map((m) => m.text), Array.from({ length: 20 }, (_, i) => like(i)));
	await until('all of them', () => r.data().length === 21);
	const late = r.data().slice(2, 20).map((f) => f.data.length);
	assert.ok(Math.max(...late) < 60, String(late));
	assert.equal(r.data()[20].rsv, 4, 'noise, too: the window has it');
	for (let i = 0; i < 20; i++) await tabs[0].send(big(i % 2, 1500));
	assert.deepEqual((await bus.storedAll(send('chat', 'alice'), 20)).map((m) => m.text), Array.from({ length: 20 }, (_, i) => big(i % 2, 1500)));
});

for (const context of ['no', 'yes']) {
	await test(`connections move to another worker in the middle of it (context ${context})`, async (t) => {
		const { gw, bus } = await t.pair({ workers: 4, compression: { ...ON, context }, delivery: { window: '8m' } });
		const users = [...'abcdefgh'];
		const all = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`, { perMessageDeflate: { threshold: 0 } })));
		const raws = await Promise.all(users.map(async (u) => (await offering(t, gw, 'permessage-deflate', `/ws/raw/${u}/`))[0]));
		const data = deflate(big(9));
		for (const r of raws) await r.send(TEXT, data.subarray(0, 20), { fin: false, rsv: 4 });
		let sent = 0;
		const round = async () => {
			await Promise.all(users.flatMap((u, i) => [all[i].send(big(sent, 1500)), bus.publish(recv('chat', u), big(sent, 1500))]));
			sent++;
		};
		for (let i = 0; i < 5; i++) await round();
		gw.restarts = true;
		gw.config.workers = 1;
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
		for (let i = 0; i < 5; i++) await round();
		await until('one worker', () => gw.children().filter((c) => /worker/.test(c.title)).length === 1);
		gw.signal('SIGUSR2');
		for (let i = 0; i < 5; i++) await round();
		await gw.replaced();
		for (let i = 0; i < 5; i++) await round();
		const want = Array.from({ length: sent }, (_, i) => big(i, 1500));
		for (const [i, u] of users.entries()) {
			assert.deepEqual((await all[i].take(sent)).map((m) => m.text), want);
			assert.deepEqual((await bus.storedAll(send('chat', u), sent)).map((m) => m.text), want);
			await raws[i].send(0, data.subarray(20));
			assert.equal((await bus.storedAll(send('raw', u), 1))[0].text, big(9));
		}
	});
}

await test('a reload: for new connections, and what was agreed on stays', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, compression: { ...ON, level: 1 } });
	const [old] = await offering(t, gw, 'permessage-deflate', '/ws/chat/old/');
	const varied = Array.from({ length: 400 }, (_, i) => `${i * i % 977}:${big(i % 31, 60)}`).join();
	const next = async (compression) => {
		gw.config.compression = { ...ON, ...compression };
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
		const n = old.data().length;
		await bus.publish(recv('chat', 'old'), varied);
		await until('one more', () => old.data().length === n + 1);
		await old.send(TEXT, deflate(big(n)), { rsv: 4 });
		assert.equal((await bus.storedAll(send('chat', 'old'), n + 1)).at(-1).text, big(n));
		return old.data()[n];
	};
	const one = await next({}), nine = await next({ level: 9, memory_level: 9 });
	assert.ok(nine.data.length < one.data.length, `${one.data.length}, ${nine.data.length}`);
	assert.equal((await next({ context: 'yes', window_bits: 15 })).rsv, 4);
	assert.equal((await offering(t, gw, 'permessage-deflate'))[1], 'permessage-deflate');
	assert.equal((await next({ enabled: 'no' })).rsv, 0);
	assert.equal((await offering(t, gw, 'permessage-deflate'))[1], undefined);
});

await test('what comes compressed counts as what it is for limits.bytes_per_second', async (t) => {
	const { gw, bus } = await t.pair({ compression: ON, limits: { bytes_per_second: '100k', burst: '1s' } });
	const [r] = await offering(t, gw, 'permessage-deflate');
	for (let i = 0; i < 3; i++) await r.send(BINARY, deflate(Buffer.alloc(200000)), { rsv: 4 });
	await until('a pause', async () => (await stats(gw)).limited_pauses > 0);
	await bus.storedAll(send('chat', 'raw'), 3);
	assert.ok((await stats(gw)).limited_pauses > 1);
});

await test('a browser and python3-websockets, compressed both ways', async (t) => {
	const port = await freePort();
	const server = http.createServer((_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>wsgate</title>'));
	await new Promise((done) => server.listen(port, '127.0.0.1', done));
	t.atEnd(() => server.closeAllConnections());
	t.atEnd(() => server.close());
	const chrome = await Chrome.start(t);
	for (const context of ['no', 'yes']) {
		const { gw, bus } = await t.pair({ compression: { ...ON, context }, origin: { allow: ['any'] } });
		const js = await chrome.page(`http://127.0.0.1:${port}/`);
		const open = `new Promise((done) => { window.got = []; window.ws = new WebSocket("${gw.wsUrl('chat/alice/')}"); ws.onmessage = (m) => got.push(m.data); ws.onopen = () => done(ws.extensions); ws.onclose = (e) => done(e.code); })`;
		assert.equal(await js(open), context === 'no' ? NO_CONTEXT : 'permessage-deflate; client_max_window_bits=12');
		const py = await PyClient.connect(t, gw.wsUrl('chat/alice/'));
		for (let i = 0; i < 5; i++) {
			await bus.publish(recv('chat', 'alice'), big(i));
			assert.equal((await py.next()).text, big(i));
			await until('the message', async () => (await js(`got[${i}]`)) === big(i));
			await js(`ws.send(got[${i}])`);
			py.tell({ send: big(i) });
			assert.deepEqual((await bus.storedAll(send('chat', 'alice'), 2 * i + 2)).slice(-2).map((m) => m.text), [big(i), big(i)]);
		}
		await bus.empty('ws.recv.>');
		const s = await stats(gw);
		assert.equal(s.compressed, 10);
		assert.equal(s.decompressed, 10);
		await js('ws.close()');
		py.tell({ close: 1000 });
		assert.equal((await py.next()).closed, 1000);
	}
}, { ms: 120000 });

await test('a client that resets its connection while much is being written to it harms nobody else', async (t) => {
	const MANY = 30, { gw, bus } = await t.pair({ workers: 1, compression: ON, delivery: { window: '32m', user_buffer: '32m' } });
	const pid = gw.pid('worker 0'), live = async () => (await gw.figures()).bridge.live;
	for (let round = 0; round < 10; round++) {
		const c = await t.client(gw, 'chat/alice', { perMessageDeflate: true }), before = await live();
		const go = await hold(pid);
		await bus.publishAll(MANY, () => [recv('chat', 'alice'), crypto.randomBytes(150000).toString('base64')]);
		await until('the worker to have them before it', async () => (await live()) === before + MANY);
		c.ws._socket.resetAndDestroy();
		go();
		const d = await t.client(gw, 'chat/alice', { perMessageDeflate: true });
		await d.take(MANY);
		await bus.empty(recv('chat', 'alice'));
		await d.close();
		assert.equal(gw.pid('worker 0'), pid);
	}
}, { ms: 120000 });
