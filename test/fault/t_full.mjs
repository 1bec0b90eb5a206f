// The stream is full (discard new): who publishes learns it, what was acknowledged is delivered, and what clients sent
// waits until there is room.
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';

// Large ones: nats-server before 2.10.5 takes a message that fits but for its overhead, and drops the oldest for it.
const pad = 'x'.repeat(8000), number = (m) => m.text.split(' ')[0];

await test('full for a while: clients stay and wait, all is stored in order when somebody reads', async (t) => {
	const { bus, gw } = await t.pair({ stream: { max_bytes: '300k' }, broker: { full_timeout: '60s' } });
	const users = numbers(10).map((i) => `u${i}`), N = 15; // 1.2 MB
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	const sent = Promise.all(clients.map(async (c) => {
		for (let i = 0; i < N; i++) await c.send(`${i} ${pad}`);
	}));
	let refused = 0, acked = 0;
	await until('a full stream', () => bus.publish(recv('chat', 'absent'), `${acked} ${pad}`).then(() => (acked++, false), (e) => {
		assert.equal(e.api_error?.err_code, 10077);
		return ++refused >= 3;
	}));
	assert.deepEqual(clients.map((c) => c.closed), clients.map(() => null));
	const got = await bus.work('reader', 'ws.send.>');
	await sent;
	await until('all of it', () => got.length >= N * users.length, 60000);
	for (const u of users) assert.deepEqual(got.filter((m) => m.subject === send('chat', u)).map(number), numbers(N), u);
	for (const c of clients) assert.deepEqual(await c.close(), { code: 1000, reason: '' });
	const absent = await t.client(gw, 'chat/absent');
	assert.deepEqual((await absent.take(acked)).map(number), numbers(acked));
	await bus.empty('ws.>');
});

await test('full for too long: 1013 to those whose messages are refused, and what is stored of each is its beginning', async (t) => {
	const { bus, gw } = await t.pair({ stream: { max_bytes: '250k' }, broker: { full_timeout: '500ms' } });
	const users = numbers(10).map((i) => `u${i}`);
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	const idle = await t.client(gw, 'chat/idle');
	for (const c of clients) for (let i = 0; i < 40; i++) c.send(`${i} ${pad}`).catch(() => {});
	for (const c of clients) {
		const end = await c.ended();
		// No Close at all when it was still sending while ours was on its way.
		assert.ok(end.code === 1013 || end.code === 1006, JSON.stringify(end));
	}
	assert.ok(clients.some((c) => c.closed.code === 1013));
	for (const u of users) {
		const stored = (await bus.stored(send('chat', u))).map(number);
		assert.ok(stored.length < 40);
		assert.deepEqual(stored, numbers(stored.length), u);
	}
	await idle.ping();
	assert.equal(idle.closed, null, 'who sent nothing is not concerned');
	const got = await bus.work('reader', 'ws.send.>');
	await until('room', async () => (await bus.count()) === 0);
	await idle.send('now');
	await until('it', () => got.some((m) => m.text === 'now'));
});
