// What was published while a user was away waits in the stream, and leaves it once received.
import { test, assert, until } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';

await test('500 waiting messages arrive in order, and are gone afterwards', async (t) => {
	const { bus, gw } = await t.pair();
	await bus.publishAll(500, (i) => [recv('chat', 'late'), String(i)]);
	await bus.publishAll(3, (i) => [recv('chat', 'other'), String(i)]);
	assert.equal(await bus.count(recv('chat', 'late')), 500);
	const c = await t.client(gw, 'chat/late');
	assert.deepEqual((await c.take(500)).map((m) => m.text), numbers(500));
	await bus.empty(recv('chat', 'late'));
	assert.equal(await bus.count(recv('chat', 'other')), 3, 'nobody else lost anything');
	await bus.publish(recv('chat', 'late'), 'live');
	assert.equal((await c.next()).text, 'live');
	assert.equal(c.got.length, 501, 'no doubles');
});

await test('messages published while the backlog is read come behind it', async (t) => {
	const { bus, gw } = await t.pair();
	await bus.publishAll(1000, (i) => [recv('chat', 'late'), String(i)]);
	const more = bus.publishAll(1000, (i) => [recv('chat', 'late'), String(1000 + i)], 1);
	const c = await t.client(gw, 'chat/late');
	await more;
	assert.deepEqual((await c.take(2000)).map((m) => m.text), numbers(2000));
	await bus.empty(recv('chat', 'late'));
	assert.equal(c.got.length, 2000, 'no doubles');
});

await test('a user who was there before has nothing to wait for, and comes back', async (t) => {
	const { bus, gw } = await t.pair();
	for (let round = 0; round < 10; round++) {
		const c = await t.client(gw, 'chat/alice');
		await bus.publish(recv('chat', 'alice'), `here ${round}`);
		assert.equal((await c.next()).text, round ? `away ${round - 1}` : 'here 0');
		if (round) assert.equal((await c.next()).text, `here ${round}`);
		await bus.empty(recv('chat', 'alice'));
		await c.close();
		await bus.publish(recv('chat', 'alice'), `away ${round}`);
	}
	await until('the last one waits', async () => (await bus.stored(recv('chat', 'alice'))).length === 1);
});

await test('who comes to one message costs the broker three gets: that one, the end, and a look a moment later', async (t) => {
	const USERS = 200, { bus, gw } = await t.pair();
	const figure = async (name) => Number((await gw.admin('/metrics')).text.match(new RegExp(`^wsgate_${name}_total (\\d+)`, 'm'))[1]);
	await bus.publishAll(USERS, (i) => [recv('chat', `u${i}`), 'x']);
	const since = performance.now();
	const all = await Promise.all(numbers(USERS).map((i) => t.client(gw, `chat/u${i}`)));
	for (const c of all) assert.equal((await c.next()).text, 'x');
	await bus.empty(recv('chat', '*'));
	await until('the second looks', async () => (await figure('rescans')) >= 2 * USERS);
	await until('their answers', async () => (await figure('direct_gets')) >= 3 * USERS);
	const gets = await figure('direct_gets');
	const slow = 8 * (performance.now() - since) / 1000; // of the round over all users
	assert.ok(gets < 3.2 * USERS + slow, `${gets} gets, ${slow} of the slow round`);
});
