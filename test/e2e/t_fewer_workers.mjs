// Fewer workers at a reload: the surplus hands its connections over, and ends; nobody is disconnected.
import { test, assert, until } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { inTheMiddle } from './lib/moving.mjs';
import { visitors } from './lib/visitors.mjs';

async function resize(gw, workers) {
	gw.restarts = true; // they end
	gw.config.workers = workers;
	gw.writeConfig();
	const r = await gw.ctl('reload');
	assert.equal(r.code, 0, r.err);
}

const workers = (gw) => gw.children().filter((c) => /worker \d/.test(c.title)).map((c) => c.title).sort();
const titles = (n) => numbers(n).map((i) => `wsgated: worker ${i}`);
const settled = (gw, n) => until(`${n} workers`, () => workers(gw).join() === titles(n).join());

await test('four to one: all connections stay, and both ways go on', async (t) => {
	const { gw, bus } = await t.pair({ workers: 4 });
	const all = await Promise.all(numbers(60).map((i) => t.client(gw, `chat/u${i}`)));
	await Promise.all(all.map((c) => c.send('before')));
	await resize(gw, 1);
	await Promise.all(all.map((c, i) => bus.publish(recv('chat', `u${i}`), `down ${i}`)));
	await Promise.all(all.map((c) => c.send('after')));
	await settled(gw, 1);
	assert.equal((gw.log().match(/a worker has handed its connections over/g) ?? []).length, 3);
	for (const [i, c] of all.entries()) {
		assert.equal((await c.next()).text, `down ${i}`);
		assert.equal(c.closed, null);
	}
	await until('all stored', async () => (await bus.count('ws.send.>')) === 120);
	await bus.empty('ws.recv.>');
	assert.equal(await bus.count(send('chat', 'u7')), 2);
	assert.match((await gw.ctl('status')).out, /^worker 0 .* 60 connections/m);
});

await test('back and forth in quick succession: the last number counts, and nobody is turned away', async (t) => {
	const { gw } = await t.pair({ workers: 4 });
	const faults = [];
	const end = visitors(gw, faults);
	for (const list of [[1, 4, 1, 2], [3, 1, 4], [1, 4, 2, 1, 3]]) {
		for (const n of list) await resize(gw, n);
		await settled(gw, list.at(-1));
	}
	await end(100);
	assert.deepEqual([...new Set(faults)], []);
	await gw.ready();
});

await test('fewer than have room for max_connections: the reload says so', async (t) => {
	const { gw } = await t.pair({ workers: 4, max_connections: 4000 });
	await resize(gw, 3);
	assert.doesNotMatch(gw.log(), /so few workers/); // 1,506 places each
	await resize(gw, 2);
	assert.match(gw.log(), /so few workers cannot have max_connections until a restart or a new program max_connections=4000 reachable=3012 workers=2/);
});

await test('one that is dead when its slot is given up is not missed', async (t) => {
	const { gw } = await t.pair({ workers: 2 });
	const lines = (what) => gw.log().match(what) ?? [];
	const later = () => lines(/starts again later child="worker 1" ms=\d+/g);
	const known = () => lines(/(starts again later|started) child="worker 1"/g).length; // the first time it starts at once
	while (!later().at(-1)?.endsWith('=3200')) {
		await until('worker 1', () => gw.pid('worker 1'));
		const before = known();
		await gw.murder('worker 1');
		await until('that is known', () => known() > before);
	}
	assert.match((await gw.ctl('check')).out, /^processes +FAULT +2 workers, 1 of them not well/m);
	await resize(gw, 1);
	await until('one of one', async () => /^processes +good +1 workers, 0 of them not well/m.test((await gw.ctl('check')).out));
	assert.equal(workers(gw).join(), titles(1).join());
	assert.equal(later().length, 6);
	await resize(gw, 2);
	await settled(gw, 2);
	await until('two of two', async () => /^processes +good +2 workers, 0 of them not well/m.test((await gw.ctl('check')).out));
});

await test('listeners come and go while slots are idle', async (t) => {
	const { gw } = await t.pair({ workers: 3 });
	await resize(gw, 1);
	await settled(gw, 1);
	const before = gw.port;
	for (const host of ['localhost', '127.0.0.1', '0.0.0.0']) {
		gw.config.listen = [`${host}:${before}`];
		await resize(gw, 1);
		await Promise.all(numbers(30).map(async (i) => (await Client.connect(gw.wsUrl(`chat/u${i}`))).terminate()));
	}
	await resize(gw, 3);
	await settled(gw, 3);
	await Promise.all(numbers(30).map(async (i) => (await Client.connect(gw.wsUrl(`chat/u${i}`))).terminate()));
});

await test('without the broker: the hand-over waits for it, the reload does not', async (t) => {
	const { gw, nats } = await t.pair({ workers: 2, broker: { grace: '1h' } });
	const all = await Promise.all(numbers(20).map((i) => t.client(gw, `chat/u${i}`)));
	await nats.stop();
	await until('the broker away', () => /the broker is away/.test(gw.log()));
	await resize(gw, 1);
	await nats.start();
	await settled(gw, 1);
	const again = await nats.connect();
	for (const [i, c] of all.entries()) {
		await again.publish(recv('chat', `u${i}`), 'hello');
		assert.equal((await c.next()).text, 'hello');
		assert.equal(c.closed, null);
	}
});

await test('in the middle of everything: nothing lost, doubled or reordered', async (t) => {
	const rig = await t.pair({ workers: 4, pong_timeout: '60s', delivery: { window: '8m' } });
	const holds = await inTheMiddle(t, rig);
	for (const n of [1, 3, 1, 4, 1]) {
		await resize(rig.gw, n);
		await settled(rig.gw, n);
	}
	const moved = [...rig.gw.log().matchAll(/connections were handed over.* moved=(\d+) left=0/g)].map((m) => Number(m[1]));
	assert.ok(moved.length === 8 && moved.reduce((a, b) => a + b) > 20, moved.join());
	await holds();
});
