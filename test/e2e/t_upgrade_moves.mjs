// SIGUSR2 with connections in the middle of everything.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until } from './lib/scenario.mjs';
import { WSGATED } from './lib/gateway.mjs';
import { inTheMiddle, traffic } from './lib/moving.mjs';

async function pair(t, config, opts = {}) {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { config, start: false, ...opts });
	gw.opts.program = path.join(gw.dir, 'wsgated');
	fs.copyFileSync(WSGATED, gw.opts.program);
	await gw.start();
	return { nats, gw, bus: await nats.connect() };
}

async function upgrade(gw) {
	fs.copyFileSync(WSGATED, `${gw.opts.program}.new`);
	fs.renameSync(`${gw.opts.program}.new`, gw.opts.program);
	gw.signal('SIGUSR2');
	await gw.replaced();
}

await test('in the middle of everything: nothing lost, doubled or reordered', async (t) => {
	const rig = await pair(t, { workers: 2, pong_timeout: '60s', delivery: { window: '8m' } });
	const holds = await inTheMiddle(t, rig);
	for (let round = 0; round < 3; round++) await upgrade(rig.gw);
	const left = [...rig.gw.log().matchAll(/connections are with the new program moved=(\d+) left=(\d+)/g)].map((m) => [Number(m[1]), Number(m[2])]);
	assert.equal(left.length, 3);
	for (const [moved, stayed] of left) assert.ok(moved >= 50 && stayed === 0, String([moved, stayed]));
	await holds();
});

await test('ten in a row under load: the clients notice nothing', async (t) => {
	const rig = await pair(t, { workers: 2 });
	const holds = await traffic(t, rig, 50);
	for (let round = 0; round < 10; round++) await upgrade(rig.gw);
	await holds();
});
