// Clients that read nothing, or one byte a second: a bounded window each, and nobody else waits for them.
import net from 'node:net';
import { test, assert, until, within, sleep } from '../e2e/lib/scenario.mjs';
import { SLOW } from '../e2e/lib/proc.mjs';
import { recv } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { PING, PONG, upgrade } from '../e2e/lib/raw.mjs';
import { percentile } from './judge/verdict.mjs';
import { rss } from './lib/memory.mjs';

// A client that takes one byte a second from its socket: { socket, bytes }
async function crawler(t, gw, where) {
	const c = { bytes: 0, head: '' };
	const taken = (n, buf) => {
		if (c.head.endsWith('\r\n\r\n')) return (c.bytes += n), false; // and no more for now
		c.head += buf.toString('latin1', 0, n);
		return !c.head.endsWith('\r\n\r\n');
	};
	c.socket = net.connect({ port: gw.port, host: '127.0.0.1', onread: { buffer: Buffer.alloc(1), callback: taken } });
	c.socket.on('error', () => {});
	c.socket.write(upgrade(where));
	await until('an answer', () => c.head.endsWith('\r\n\r\n'));
	assert.match(c.head, / 101 /);
	const crawl = setInterval(() => c.socket.resume(), 1000);
	c.socket.on('close', () => clearInterval(crawl));
	t.clients.push(() => c.socket.destroy());
	return c;
}

// Round trips of others while something goes on: publish, delivered.
async function latency(bus, clients, n) {
	const took = [];
	for (let i = 0; i < n; i++) {
		await Promise.all(clients.map(async (c, k) => {
			const since = performance.now(), came = new Promise((done) => c.ws.once('message', done));
			await bus.publish(recv('chat', `other${k}`), String(i));
			await within('a message', came);
			took.push(performance.now() - since);
		}));
		await sleep(5);
	}
	return { median: percentile(took, 0.5), p99: percentile(took, 0.99) };
}

await test('a client that reads nothing costs no more when its messages are tiny', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '120s' });
	const deaf = await t.raw(gw), N = 60000;
	await deaf.open('/ws/chat/deaf/');
	deaf.socket.pause();
	await bus.publishAll(1000, () => [recv('chat', 'deaf'), '']);
	const small = rss(gw);
	await bus.publishAll(N, (i) => [recv('chat', 'deaf'), i % 2 ? '' : 'x'], 500);
	const large = rss(gw);
	console.log(`${((large - small) / 1024).toFixed(0)} kB more memory`);
	if (SLOW === 1) assert.ok(large - small < 8 << 20, `${large - small} bytes more`);
});

await test('one that reads nothing and one that reads a byte a second cost a window each and slow nobody', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '120s', delivery: { window: '128k', user_buffer: '128k' } });
	const others = await Promise.all(numbers(10).map((i) => t.client(gw, `chat/other${i}`)));
	const before = await latency(bus, others, 100), small = rss(gw);
	const deaf = await t.raw(gw), slow = await crawler(t, gw, '/ws/chat/slow/');
	await deaf.open('/ws/chat/deaf/');
	deaf.socket.pause();
	const pad = 'z'.repeat(4000), N = 4000; // 16 MB for each of them
	const flood = bus.publishAll(N, (i) => [recv('chat', i % 2 ? 'deaf' : 'slow'), `${i} ${pad}`], 200);
	const during = await latency(bus, others, 100);
	await flood;
	const after = await latency(bus, others, 100), large = rss(gw);
	assert.ok(slow.bytes < 100, `${slow.bytes} bytes read`);
	slow.socket.destroy();
	console.log(`latency of others, median/p99 ms: before ${before.median.toFixed(2)}/${before.p99.toFixed(1)}, ` +
		`while 16 MB come for them ${during.median.toFixed(2)}/${during.p99.toFixed(1)}, ` +
		`then ${after.median.toFixed(2)}/${after.p99.toFixed(1)}; ${((large - small) / 1024).toFixed(0)} kB more memory`);
	// Windows, budgets and buffers of the broker's client, not 16 MB.
	// (A sanitizer keeps what was freed.)
	if (SLOW === 1) assert.ok(large - small < 6 << 20, `${large - small} bytes more`);
	assert.ok(after.median < before.median * 5 + 20 * SLOW, 'others are slowed down while they stand still');
	assert.ok((await bus.count(recv('chat', 'deaf'))) > N / 2 - 100, 'what it does not take stays in the stream');
	// One reads at last, the other one comes back: both have everything.
	deaf.socket.resume();
	const pong = setInterval(() => {
		while (deaf.taken < deaf.frames.length) {
			const f = deaf.frames[deaf.taken++];
			if (f.opcode === PING) deaf.send(PONG, f.data);
		}
	}, 5);
	await until('all of it', () => deaf.data().length >= N / 2, 60000);
	clearInterval(pong);
	assert.deepEqual(deaf.data().map((f) => f.data.toString('latin1', 0, 6).split(' ')[0]), numbers(N).filter((i) => i % 2 === 1));
	const back = await t.client(gw, 'chat/slow');
	assert.deepEqual((await back.take(N / 2, 60000)).map((m) => m.text.split(' ')[0]), numbers(N).filter((i) => i % 2 === 0));
}, { ms: 120000 });

await test('many that read nothing share one budget: the bridge keeps no more than that, and all come to theirs', async (t) => {
	const TOTAL = 128 << 10, USERS = 20, N = 60, pad = 'z'.repeat(4000);
	const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '120s', delivery: { window: '16k', user_buffer: '128k', total_buffer: '128k' } });
	const deaf = await Promise.all(numbers(USERS).map((i) => t.client(gw, `chat/deaf${i}`))), quick = await t.client(gw, 'chat/quick');
	for (const c of deaf) c.ws.pause();
	const seen = [];
	const look = async () => seen.push((await gw.figures()).bridge.buffered_bytes);
	for (let i = 0; i < N; i++) {
		await Promise.all([...deaf.keys()].map((k) => bus.publish(recv('chat', `deaf${k}`), `${i} ${pad}`)));
		await bus.publish(recv('chat', 'quick'), String(i));
		assert.equal((await quick.next()).text, String(i));
		await look();
	}
	console.log(`at most ${Math.max(...seen) >> 10} kB buffered of ${USERS * N * pad.length >> 10}`);
	assert.ok(Math.max(...seen) <= TOTAL + 2 * pad.length, `${Math.max(...seen)} bytes buffered`);
	assert.ok(Math.max(...seen) > TOTAL / 2, 'the budget was not needed');
	for (const c of deaf) c.ws.resume();
	for (const c of deaf) assert.deepEqual((await c.take(N, 60000)).map((m) => m.text.split(' ')[0]), numbers(N));
	await bus.empty('ws.recv.>', 60000);
	assert.ok(deaf.every((c) => !c.closed && c.got.length === N));
	await until('nothing buffered', async () => (await gw.figures()).bridge.buffered_bytes === 0);
}, { ms: 180000 });
