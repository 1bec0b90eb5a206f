// Proof of receipt is the client's Pong that echoes the delivery Ping, and nothing else.
import { test, assert, stays, until } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { PING, PONG } from './lib/raw.mjs';

const config = { pong_timeout: '60s', ping_interval: '60s' };

await test('nothing is removed before the Pong, all after it', async (t) => {
	const { bus, gw } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/ws/chat/mute/');
	await bus.publishAll(10, (i) => [recv('chat', 'mute'), String(i)]);
	const ping = await r.next(PING);
	await until('ten messages', () => r.data().length === 10);
	await stays('ten messages stored', async () => (await bus.count(recv('chat', 'mute'))) === 10, 1500);
	await r.send(PONG, ping.data);
	// The first Ping may have covered a part: answer until all is confirmed.
	let answered = r.taken;
	await until('an empty stream', async () => {
		for (; answered < r.frames.length; answered++) {
			if (r.frames[answered].opcode === PING) await r.send(PONG, r.frames[answered].data);
		}
		return (await bus.left(recv('chat', 'mute'))).length === 0;
	});
	assert.equal(r.data().length, 10);
});

await test('a forged Pong confirms nothing', async (t) => {
	const { bus, gw } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/ws/chat/liar/');
	await bus.publish(recv('chat', 'liar'), 'x');
	const ping = await r.next(PING);
	const wrong = Buffer.from(ping.data);
	if (wrong.length) wrong[wrong.length - 1] ^= 1;
	for (const p of [wrong, '', 'unasked', Buffer.alloc(ping.data.length, 255), Buffer.concat([ping.data, Buffer.from('x')])]) await r.send(PONG, p);
	await stays('the message stored', async () => (await bus.count(recv('chat', 'liar'))) === 1, 1500);
	assert.equal(r.finished, false, 'an unasked Pong is no error (RFC 6455 5.5.3)');
	await r.send(PONG, ping.data);
	await bus.empty(recv('chat', 'liar'));
});

await test('one Pong too early: a Pong for the batch before confirms no later one', async (t) => {
	const { bus, gw } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await bus.publish(recv('chat', 'alice'), 'one');
	const first = await r.next(PING);
	await r.send(PONG, first.data);
	await bus.empty(recv('chat', 'alice'));
	await bus.publish(recv('chat', 'alice'), 'two');
	const second = await r.next(PING);
	await r.send(PONG, first.data);
	await stays('the second message stored', async () => (await bus.stored(recv('chat', 'alice'))).length === 1, 1000);
	await r.send(PONG, second.data);
	await bus.empty(recv('chat', 'alice'));
});

await test('what was not confirmed comes again on the next connection', async (t) => {
	const { bus, gw } = await t.pair(config);
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await bus.publishAll(5, (i) => [recv('chat', 'alice'), String(i)]);
	await until('five messages', () => r.data().length === 5);
	r.destroy();
	const c = await t.client(gw, 'chat/alice');
	assert.deepEqual((await c.take(5)).map((m) => m.text), ['0', '1', '2', '3', '4']);
	await bus.empty(recv('chat', 'alice'));
});

await test('confirm = write removes without a Pong', async (t) => {
	const { bus, gw } = await t.pair({ ...config, delivery: { confirm: 'write' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/mute/');
	await bus.publish(recv('chat', 'mute'), 'x');
	await until('the message', () => r.data().length === 1);
	await bus.empty(recv('chat', 'mute'));
});

await test('confirm = write: what is written behind a Close of the client counts, too', async (t) => {
	const { bus, gw } = await t.pair({ ...config, delivery: { confirm: 'write', window: '64m', user_buffer: '64m' } });
	const c = await t.client(gw, 'chat/slow');
	c.ws.pause();
	await bus.publishAll(20, (i) => [recv('chat', 'slow'), `${i}`.padEnd(900000, '.')]);
	await until('all to be given', async () => /"messages_out":20,/.test((await gw.ctl('sessions', '--json')).out));
	c.ws.close(1000);
	c.ws.resume();
	await c.ended();
	assert.equal(c.got.length, 20);
	await bus.empty(recv('chat', 'slow'));
});
