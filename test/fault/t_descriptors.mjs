// No descriptor left: who is there stays and is served, who comes is told, and later let in.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { Client, Refused, numbers } from '../e2e/lib/client.mjs';
import { childrenOf, freePort } from '../e2e/lib/proc.mjs';

await test('more clients than descriptors', async (t) => {
	const nats = await t.nats(), bus = await nats.connect();
	const gw = await t.gateway(nats, { nofile: 120, config: { workers: 1 } });
	const inside = [];
	let full = 0;
	for (let i = 0; i < 150; i++) {
		const c = await Client.connect(gw.wsUrl(`chat/u${i}`)).catch((e) => e);
		if (c instanceof Client) inside.push([`u${i}`, c]);
		else if (c instanceof Refused) assert.equal(c.status, 503), full++;
		else full++; // the connection was closed
	}
	assert.ok(inside.length > 40 && full > 20, `${inside.length} in, ${full} refused`);
	assert.match(gw.log(), /no file descriptor left for a connection/);
	for (const path of numbers(60).map((i) => (i % 2 ? '/livez' : '/metrics'))) assert.equal(await gw.status(path), 200, `the operator: ${path}`);
	await Promise.all(inside.map(([, c]) => c.send('still here')));
	for (const [u] of inside) await bus.storedAll(send('chat', u), 1);
	await Promise.all(inside.map(([u]) => bus.publish(recv('chat', u), 'for you')));
	for (const [, c] of inside) assert.equal((await c.next()).text, 'for you');
	for (const [, c] of inside.splice(0, 20)) assert.equal((await c.close()).code, 1000);
	await until('room', async () => {
		const c = await Client.connect(gw.wsUrl('chat/late')).catch(() => null);
		if (c) inside.push(['late', c]);
		return c;
	});
	await bus.publish(recv('chat', 'late'), 'welcome');
	assert.equal((await inside.at(-1)[1].next()).text, 'welcome');
	for (const [, c] of inside) c.terminate();
	await until('/readyz', async () => (await gw.status('/readyz')) === 200);
});

async function reload(gw, change) {
	Object.assign(gw.config, change);
	gw.writeConfig();
	const r = await gw.ctl('reload');
	assert.equal(r.code, 0, r.err);
}

// Who comes until nobody is let in, and 50 more.
async function fill(gw) {
	const inside = [];
	for (let out = 0; out < 50;) {
		const c = await Client.connect(gw.wsUrl(`chat/u${inside.length}`)).catch(() => null);
		if (c) inside.push(c);
		else out++;
		assert.ok(inside.length < 1000, 'never full');
	}
	return inside;
}

await test('full workers follow a reload: a new address, one worker less, the new log', async (t) => {
	const nats = await t.nats();
	const log = path.join(t.dir, 'log'), more = await freePort();
	const gw = await t.gateway(nats, { nofile: 120, config: { workers: 2 }, args: ['-o', `log.target=${log}`] });
	gw.restarts = true; // one ends
	const inside = await fill(gw);
	await reload(gw, { listen: [...gw.config.listen, `127.0.0.1:${more}`] });
	fs.renameSync(log, `${log}.1`);
	gw.signal('SIGUSR1');
	await until('the new log', () => fs.existsSync(log));
	for (const i of numbers(20)) await Client.connect(gw.wsUrl(`chat/late${i}`)).catch(() => null);
	await until('lines of both', () => [0, 1].every((i) => new RegExp(`worker ${i}: .*no file descriptor left`).test(fs.readFileSync(log, 'utf8'))));
	await reload(gw, { workers: 1 });
	await until('one worker', () => childrenOf(gw.master).filter((c) => /worker \d/.test(c.title)).length === 1);
	for (const c of inside) c.terminate();
	for (const i of numbers(40)) await (await until('room', () => Client.connect(`ws://127.0.0.1:${i % 2 ? more : gw.port}/ws/chat/new${i}/`).catch(() => null))).close();
});

await test('no descriptor left while worker, bridge and broker die: all come back', async (t) => {
	const nats = await t.nats(), bus = await nats.connect();
	const gw = await t.gateway(nats, { nofile: 120, config: { workers: 2 } });
	const hold = await Promise.all(numbers(200).map((i) => Client.connect(gw.wsUrl(`chat/u${i}`)).catch(() => null)));
	await gw.murder('bridge');
	await gw.murder('worker 1');
	await nats.proc.kill();
	await nats.start();
	hold.forEach((c) => c?.terminate());
	await gw.ready(30000);
	await until('both', () => gw.pid('worker 1') && gw.pid('bridge'));
	const c = await t.client(gw, 'chat/alice');
	await c.send('well');
	await bus.storedAll(send('chat', 'alice'), 1);
});
