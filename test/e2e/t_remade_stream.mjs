// An emptied or remade stream starts to count again: new messages must not look old.
import { test, assert, until } from './lib/scenario.mjs';
import { recv, send, STREAM } from './lib/nats.mjs';
import { spoil } from './lib/streams.mjs';

await test('the stream is deleted and made again while a user is connected', async (t) => {
	const { bus, gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	await bus.publishAll(50, (i) => [recv('chat', 'alice'), String(i)]);
	await c.take(50);
	await bus.empty('ws.recv.>');
	const jsm = await bus.jsm();
	const { config } = await jsm.streams.info(STREAM);
	await jsm.streams.delete(STREAM);
	await jsm.streams.add(config);
	await bus.publish(recv('chat', 'alice'), 'new life');
	assert.equal((await c.next(40000)).text, 'new life');
	await bus.publish(recv('chat', 'alice'), 'second');
	assert.equal((await c.next(40000)).text, 'second');
	await c.send('up');
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].text, 'up');
	await bus.empty('ws.recv.>', 40000);
}, { ms: 120000 });

// nats-server 2.9.10 removes the files of one that is made at once.
await test('a deleted stream that nobody makes is made by the gateway, but not at once', async (t) => {
	const { bus, gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'before');
	assert.equal((await c.next()).text, 'before');
	await (await bus.jsm()).streams.delete(STREAM);
	const times = (what) => gw.log().split(what).length - 1;
	await until('it to be missed', () => times('the stream was deleted: it is made again in a moment') === 1, 40000); // it looks each half a minute
	await until('it to be made', () => times('stream created') === 2, 40000);
	await bus.publish(recv('chat', 'alice'), 'new life');
	assert.equal((await c.next(40000)).text, 'new life');
	await bus.empty('ws.recv.>', 40000);
	assert.equal(c.closed, null);
}, { ms: 120000 });

await test('the stream is purged while a user is connected', async (t) => {
	const { bus, gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	await bus.publishAll(50, (i) => [recv('chat', 'absent'), String(i)]);
	await bus.publish(recv('chat', 'alice'), 'before');
	assert.equal((await c.next()).text, 'before');
	await (await bus.jsm()).streams.purge(STREAM);
	await bus.publish(recv('chat', 'alice'), 'after');
	assert.equal((await c.next()).text, 'after');
	await bus.empty('ws.recv.>');
});

await test('the broker comes back with an empty store', async (t) => {
	const { bus, nats, gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	await bus.publishAll(50, (i) => [recv('chat', 'alice'), String(i)]);
	await c.take(50);
	await bus.empty('ws.recv.>');
	await nats.stop();
	(await import('node:fs')).rmSync(`${nats.dir}/js`, { recursive: true });
	await nats.start();
	await gw.ready(40000);
	// The gateway makes the stream again; until then a publish is refused.
	for (;;) {
		const ok = await bus.publish(recv('chat', 'alice'), 'new life').then(() => true, () => false);
		if (ok) break;
	}
	assert.equal((await c.next(40000)).text, 'new life');
	assert.equal(c.closed, null);
}, { ms: 120000 });

await test('a stream that does not serve any more ends nobody; when it is mended all goes on', async (t) => {
	const { bus, gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	const jsm = await bus.jsm();
	const mend = await spoil(gw, jsm, STREAM);
	await until('its word', () => /does not serve any more/.test(gw.log()));
	await c.send('meanwhile');
	await c.ping();
	await mend();
	assert.equal(c.closed, null);
	await bus.publish(recv('chat', 'alice'), 'x');
	assert.equal((await c.next()).text, 'x');
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].text, 'meanwhile');
	await bus.empty('ws.recv.>');
}, { ms: 90000 });

for (const [what, taken] of [['is not read without', { allow_direct: false }], ['may drop messages without', { discard: 'old', discard_new_per_subject: false }],
	['may drop a user\'s messages without', { discard_new_per_subject: false }]]) {
	await test(`what the stream ${what} is taken away: it is given back, and nobody lacks anything`, async (t) => {
		const nats = await t.nats(), bus = await nats.connect(), gw = await t.gateway(nats, { config: { stream: { max_messages_per_user: 100 } } });
		const c = await t.client(gw, 'chat/alice'), jsm = await bus.jsm();
		await bus.publish(recv('chat', 'alice'), 'before');
		assert.equal((await c.next()).text, 'before');
		const { config } = await jsm.streams.info('websockets'), [[key]] = Object.entries(taken), before = config[key];
		await jsm.streams.update('websockets', { ...config, ...taken });
		await until('its word', () => /the stream was changed, and does not serve so/.test(gw.log()));
		await until('all as before', async () => (await jsm.streams.info('websockets')).config[key] === before);
		await bus.publish(recv('chat', 'bob'), 'waits');
		const bob = await t.client(gw, 'chat/bob');
		assert.equal((await bob.next()).text, 'waits');
		await bus.publish(recv('chat', 'alice'), 'after');
		assert.equal((await c.next()).text, 'after');
		await bus.empty('ws.recv.>');
	});
}
