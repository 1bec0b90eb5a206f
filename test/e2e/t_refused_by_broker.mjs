// A message that the broker refuses ends that client alone; the others' messages are stored in order.
import { test, assert, stays, until } from './lib/scenario.mjs';
import { send, STREAM } from './lib/nats.mjs';

// alice and carol send around bob's message, which must fail with that code.
async function between(t, gw, bus, message, code) {
	const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map((u) => t.client(gw, `chat/${u}`)));
	await alice.send('a0');
	await carol.send('c0');
	await bob.send('fine');
	await bus.storedAll(send('chat', 'bob'), 1);
	await bob.send(message);
	await Promise.all([alice.send('a1'), carol.send('c1')]);
	const end = await bob.ended();
	await alice.send('a2');
	await carol.send('c2');
	for (const u of ['alice', 'carol']) {
		const stored = await bus.storedAll(send('chat', u), 3);
		assert.deepEqual(stored.map((m) => m.text), [0, 1, 2].map((i) => u[0] + i));
	}
	assert.deepEqual((await bus.storedAll(send('chat', 'bob'), 1)).map((m) => m.text), ['fine']);
	assert.equal(end.code, code, end.reason);
	assert.ok(Buffer.byteLength(end.reason) <= 123);
	assert.deepEqual([alice.closed, carol.closed], [null, null]);
}

await test('larger than the stream takes: 1009', async (t) => {
	const { bus, gw } = await t.pair();
	await (await bus.jsm()).streams.update(STREAM, { max_msg_size: 2000 });
	await between(t, gw, bus, 'x'.repeat(3000), 1009);
});

await test('no permission to publish: 1008', async (t) => {
	const nats = await t.nats({
		login: 'gate:secret',
		conf: `authorization { users = [
			{ user: "all", password: "secret" },
			{ user: "gate", password: "secret", permissions: { publish: { allow: ">", deny: ["ws.send.chat.mallory", "ws.send.other.>"] } } }
		] }`,
	});
	const bus = await nats.connect({ user: 'all', pass: 'secret' });
	const gw = await t.gateway(nats);
	const [alice, mallory] = [await t.client(gw, 'chat/alice'), await t.client(gw, 'chat/mallory')];
	await alice.send('a0');
	await mallory.send('never');
	await alice.send('a1');
	assert.equal((await mallory.ended(30000)).code, 1008);
	await alice.send('a2');
	assert.deepEqual((await bus.storedAll(send('chat', 'alice'), 3)).map((m) => m.text), ['a0', 'a1', 'a2']);
	assert.equal(await bus.count(send('chat', 'mallory')), 0);
	// Names that the server quotes, and that the client library cuts off when it says so.
	for (const user of ['a"b\\c', 'é'.repeat(35)]) {
		const c = await t.client(gw, `other/${encodeURIComponent(user)}`);
		await c.send('never');
		assert.equal((await c.ended(30000)).code, 1008, user);
	}
	await alice.send('a3');
	await bus.storedAll(send('chat', 'alice'), 4);
	assert.equal(alice.closed, null);
});

await test('stream full: 1013 after a stated time', async (t) => {
	const { bus, gw } = await t.pair({ broker: { full_timeout: '500ms' }, stream: { max_bytes: '20k' } });
	await between(t, gw, bus, 'x'.repeat(30000), 1013);
});

await test('stream full for a while: the message is stored once there is room', async (t) => {
	const { bus, gw } = await t.pair({ broker: { full_timeout: '20s' }, stream: { max_bytes: '20k' } });
	await bus.publish('ws.recv.chat.nobody', 'x'.repeat(15000));
	const c = await t.client(gw, 'chat/alice');
	await c.send('y'.repeat(10000));
	await stays('the full stream', async () => (await bus.count('ws.send.>')) === 0, 1000);
	await (await bus.jsm()).streams.purge(STREAM, { filter: 'ws.recv.>' });
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].data.length, 10000);
	await until('still open', () => c.open);
});

await test('a refused message is never followed by an answer that says all was well', async (t) => {
	const { bus, gw } = await t.pair();
	const jsm = await bus.jsm();
	const info = await jsm.streams.info('websockets');
	await jsm.streams.update('websockets', { ...info.config, max_msg_size: 2000 });
	for (let i = 0; i < 20; i++) {
		const c = await t.client(gw, `chat/u${i}`);
		c.send('fine');
		c.send('x'.repeat(3000));
		c.send('behind');
		assert.equal((await c.close(1000)).code, 1009);
		assert.deepEqual((await bus.storedAll(send('chat', `u${i}`), 1)).map((m) => m.text), ['fine']);
	}
});
