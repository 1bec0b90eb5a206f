// No descriptor left: who is there stays and is served, who comes is told, and later let in.
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { Client, Refused, numbers } from '../e2e/lib/client.mjs';

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
