// Several connections of one user: each gets everything published while it is there.
import { test, assert, until } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';
import { PING, PONG } from './lib/raw.mjs';

await test('two tabs both get everything', async (t) => {
	const { bus, gw } = await t.pair();
	const tabs = [await t.client(gw, 'chat/alice'), await t.client(gw, '', { cookies: { service: 'chat', user: 'alice' } })];
	await bus.publishAll(300, (i) => [recv('chat', 'alice'), String(i)]);
	for (const c of tabs) assert.deepEqual((await c.take(300)).map((m) => m.text), numbers(300));
	await bus.empty(recv('chat', 'alice'));
	for (const c of tabs) assert.equal(c.got.length, 300, 'no doubles');
});

await test('a tab that does not answer keeps the messages for itself', async (t) => {
	const { bus, gw } = await t.pair({ pong_timeout: '60s', ping_interval: '60s' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	const c = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'x');
	assert.equal((await c.next()).text, 'x');
	const ping = await r.next(PING);
	assert.equal(await bus.count(recv('chat', 'alice')), 1);
	await r.send(PONG, ping.data);
	await bus.empty(recv('chat', 'alice'));
});

await test('a second tab that comes while the first confirms loses nothing', async (t) => {
	const { bus, gw } = await t.pair();
	const first = await t.client(gw, 'chat/alice');
	const N = 4000;
	const published = bus.publishAll(N, (i) => [recv('chat', 'alice'), String(i)], 4);
	const tabs = [];
	while (first.got.length < N * 0.8) {
		// What was published before a tab came may be gone already; after that no gap is allowed.
		const known = first.got.length;
		tabs.push({ known, client: await t.client(gw, 'chat/alice'), bound: null });
		tabs.at(-1).bound = first.got.length + 200;
		await until('some more', () => first.got.length > known + 150 || first.got.length >= N);
	}
	await published;
	assert.ok(tabs.length >= 5, `only ${tabs.length} tabs`);
	assert.deepEqual((await first.take(N)).map((m) => m.text), numbers(N));
	for (const { client, bound } of tabs) {
		await until('the last message', () => client.got.at(-1)?.text === String(N - 1));
		const from = Number(client.got[0].text);
		assert.ok(from <= bound, `starts at ${from}, came before ${bound}`);
		assert.deepEqual(client.texts(), numbers(N - from, from));
	}
	await bus.empty(recv('chat', 'alice'));
});

await test('a tab that goes without a word does not hold the messages of the other', async (t) => {
	const { bus, gw } = await t.pair();
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	const c = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'x');
	await c.next();
	await r.next(PING);
	r.destroy();
	await bus.empty(recv('chat', 'alice'));
});
