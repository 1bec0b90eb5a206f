// The session of the original program: a client by cookies or path, services that know only NATS.
import { test, assert, until } from './lib/scenario.mjs';
import { recv, send, RetentionPolicy } from './lib/nats.mjs';
import { PyClient } from './lib/pyclient.mjs';
import { PING, PONG } from './lib/raw.mjs';

const cookies = (service, user) => ({ cookies: { service, user } });

const ways = [
	['by cookies', (t, gw) => t.client(gw, '', cookies('chat', 'alice'))],
	['by path', (t, gw) => t.client(gw, 'chat/alice/')],
	['by path without the last slash, with a query', (t, gw) => t.client(gw, 'chat/alice?x=1&y=%20')],
	['by cookies without the last slash', (t, gw) => t.client(gw, '/ws', cookies('chat', 'alice'))],
];

for (const [how, connect] of ways) {
	await test(`session ${how}`, async (t) => {
		const { bus, gw } = await t.pair();
		const live = await bus.listen('ws.send.chat.>');
		const c = await connect(t, gw);

		await c.send('hello');
		await c.send(Buffer.from([0, 255, 1]));
		await until('both messages at the service', () => live.length === 2);
		assert.deepEqual(live.map((m) => m.subject), [send('chat', 'alice'), send('chat', 'alice')]);
		assert.equal(live[0].text, 'hello');
		assert.equal(live[0].headers['Ws-Type'], 'text');
		assert.deepEqual([...live[1].data], [0, 255, 1]);
		assert.equal(live[1].headers['Ws-Type'], 'binary');
		assert.ok(live[0].headers['Ws-Conn'], 'Ws-Conn');
		assert.equal(live[1].headers['Ws-Conn'], live[0].headers['Ws-Conn'], 'one connection, one id');
		assert.ok(live[0].headers['Nats-Msg-Id'], 'Nats-Msg-Id');
		assert.notEqual(live[1].headers['Nats-Msg-Id'], live[0].headers['Nats-Msg-Id']);

		await bus.publish(recv('chat', 'alice'), 'welcome');
		assert.equal((await c.next()).text, 'welcome');
		await bus.empty('ws.recv.>');
		assert.deepEqual(await c.close(), { code: 1000, reason: '' });
	});
}

await test('session of a python client', async (t) => {
	const { bus, gw } = await t.pair();
	const live = await bus.listen('ws.send.chat.>');
	for (const where of [['', { service: 'chat', user: 'bob' }], ['chat/bob/']]) {
		const c = await PyClient.connect(t, gw.wsUrl(where[0]), where[1]);
		live.length = 0;
		c.tell({ send: 'grüß dich' });
		c.tell({ send_hex: '00ff' });
		await until('both messages at the service', () => live.length === 2);
		assert.equal(live[0].text, 'grüß dich');
		assert.equal(live[1].headers['Ws-Type'], 'binary');
		await bus.publish(recv('chat', 'bob'), 'hello');
		assert.deepEqual(await c.next(), { text: 'hello' });
		await bus.publish(recv('chat', 'bob'), new Uint8Array([255, 254]));
		assert.deepEqual(await c.next(), { hex: 'fffe' });
		await bus.empty('ws.recv.>');
		c.tell({ close: 1000 });
		assert.deepEqual(await c.next(), { closed: 1000 });
	}
});

await test('a durable consumer is a work queue: an acknowledged message goes away', async (t) => {
	const { bus, gw } = await t.pair();
	const stream = (await (await bus.jsm()).streams.info('websockets')).config;
	assert.equal(stream.retention, RetentionPolicy.Workqueue);
	assert.deepEqual(stream.subjects, ['ws.>']);
	const c = await t.client(gw, 'chat/alice/');
	for (let i = 0; i < 5; i++) await c.send(`before ${i}`);
	await bus.storedAll(send('chat', 'alice'), 5);
	const got = await bus.work('workers', 'ws.send.chat.>');
	await c.send('after');
	await until('six messages', () => got.length === 6);
	assert.deepEqual(got.map((m) => m.text), ['before 0', 'before 1', 'before 2', 'before 3', 'before 4', 'after']);
	assert.equal(got[0].headers['Ws-Type'], 'text');
	await bus.empty('ws.send.>');
});

await test('connections have ids of their own', async (t) => {
	const { bus, gw } = await t.pair();
	const live = await bus.listen('ws.send.>');
	const all = await Promise.all([1, 2, 3, 4].map(() => t.client(gw, 'chat/alice')));
	for (const c of all) await c.send('x');
	await until('four messages', () => live.length === 4);
	assert.equal(new Set(live.map((m) => m.headers['Ws-Conn'])).size, 4);
	assert.equal(new Set(live.map((m) => m.headers['Nats-Msg-Id'])).size, 4);
});

await test('an idle client is pinged every ping_interval, also when pong_timeout is longer', async (t) => {
	const { gw, bus } = await t.pair({ ping_interval: '1s', pong_timeout: '60s' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/idle/');
	for (let i = 0; i < 3; i++) await r.send(PONG, (await r.next(PING, 5000)).data);
	await bus.publish(recv('chat', 'idle'), 'x'); // a delivery Ping counts as well
	for (let i = 0; i < 3; i++) await r.send(PONG, (await r.next(PING, 5000)).data);
});
