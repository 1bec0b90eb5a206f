// SIGUSR2 with connections in the middle of everything.
import path from 'node:path';
import { test, assert, until } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { OTHER_LAYOUT, WSGATED } from './lib/gateway.mjs';
import { numbers } from './lib/client.mjs';
import { handedOver, inTheMiddle, traffic } from './lib/moving.mjs';
import { send } from './lib/nats.mjs';

async function pair(t, config, opts = {}) {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { config, start: false, ...opts });
	gw.opts.program = path.join(gw.dir, 'wsgated');
	gw.install();
	await gw.start();
	return { nats, gw, bus: await nats.connect() };
}

async function upgrade(gw, program = WSGATED) {
	gw.install(program);
	gw.signal('SIGUSR2');
	await gw.replaced();
}

await test('in the middle of everything: nothing lost, doubled or reordered', async (t) => {
	const rig = await pair(t, { workers: 2, pong_timeout: '180s', handshake_timeout: '180s', delivery: { window: '8m' } });
	const holds = await inTheMiddle(t, rig);
	for (let round = 0; round < 3; round++) await upgrade(rig.gw);
	const left = await handedOver(rig.gw, 3);
	for (const [moved, stayed] of left) assert.ok(moved >= 50 && stayed === 0, String([moved, stayed]));
	await holds();
}, { ms: 180000 });

await test('ten in a row under load: the clients notice nothing', async (t) => {
	const rig = await pair(t, { workers: 2 });
	const holds = await traffic(t, rig, 50);
	for (let round = 0; round < 10; round++) await upgrade(rig.gw);
	await holds();
}, { ms: 180000 });

await test('a program with another layout of shared memory, and back', async (t) => {
	const rig = await pair(t, { workers: 2, pong_timeout: '180s', handshake_timeout: '180s', delivery: { window: '8m' } });
	const holds = await inTheMiddle(t, rig);
	for (const program of [OTHER_LAYOUT, OTHER_LAYOUT, WSGATED]) await upgrade(rig.gw, program);
	assert.equal((rig.gw.log().match(/has another layout of shared memory/g) ?? []).length, 2);
	await holds();
	await until('one segment', () => rig.gw.segments().length === 1);
}, { ms: 180000 });

await test('another layout, and workers that read late: what they find then is stored, once', async (t) => {
	const rig = await pair(t, { workers: 2 });
	const { gw, bus } = rig;
	const users = numbers(40);
	const all = await Promise.all(users.map((i) => t.client(gw, `chat/u${i}`)));
	const workers = await Promise.all([gw.pid('worker 0'), gw.pid('worker 1')].map(hold));
	for (const c of all) c.send('late').catch(() => {});
	gw.install(OTHER_LAYOUT);
	gw.signal('SIGUSR2');
	await until('the new program', () => /the new program is ready to take over/.test(gw.log()));
	for (const go of workers) go();
	await gw.replaced();
	for (const [i, c] of all.entries()) {
		assert.equal(c.closed, null);
		await c.send('then');
		assert.deepEqual((await bus.storedAll(send('chat', `u${i}`), 2)).map((m) => m.text), ['late', 'then']);
	}
});

await test('another layout while messages wait for the broker: refused, nobody notices; later it works', async (t) => {
	const rig = await pair(t, { workers: 2, broker: { grace: '1h' }, drain_timeout: '5s' });
	const { gw, nats, bus } = rig;
	const all = await Promise.all([0, 1, 2, 3].map((i) => t.client(gw, `chat/u${i}`)));
	await nats.stop();
	await until('the broker away', () => /the broker is away/.test(gw.log()));
	await Promise.all(all.map((c) => c.send('kept')));
	await Promise.all(all.map((c) => c.ping()));
	gw.install(OTHER_LAYOUT);
	gw.restarts = true;
	gw.signal('SIGUSR2');
	await until('a refusal', () => /cannot read the messages of clients that are not stored yet/.test(gw.log()));
	await until('all as before', () => /all serve as before/.test(gw.log()));
	assert.equal(gw.segments().length, 1); // the new one's is gone
	await nats.start();
	await until('all stored', async () => (await bus.count('ws.send.>')) === 4, 30000);
	for (const c of all) assert.equal(c.closed, null);
	await upgrade(gw, OTHER_LAYOUT);
	for (const c of all) {
		assert.equal(c.closed, null);
		await c.ping();
	}
});

await test('while the broker is away: what clients had sent is stored once, and in order', async (t) => {
	const rig = await pair(t, { workers: 2, broker: { grace: '1h' } });
	const { gw, nats, bus } = rig;
	const users = [0, 1, 2, 3, 4, 5];
	const all = await Promise.all(users.map((i) => t.client(gw, `chat/u${i}`)));
	await nats.stop();
	await until('the broker away', () => /the broker is away/.test(gw.log()));
	for (const word of ['one', 'two']) {
		await Promise.all(all.map((c) => c.send(word)));
		await Promise.all(all.map((c) => c.ping()));
	}
	await upgrade(gw);
	await Promise.all(all.map((c) => c.send('three')));
	await nats.start();
	for (const i of users) assert.deepEqual((await bus.storedAll(`ws.send.chat.u${i}`, 3, 30000)).map((m) => m.text), ['one', 'two', 'three']);
	for (const c of all) assert.equal(c.closed, null);
});
