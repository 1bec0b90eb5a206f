// What wsgate(7) says about clients that take too long, and about messages that their library refuses.
import { test, assert, stays, until } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { LineClient, stall } from './lib/clients.mjs';
import { CLOSE, PING, PONG, closeFrame, frame } from './lib/raw.mjs';
import { message } from './clients/lines.mjs';

await test('longer over a message than pong_timeout: 3008, and the message comes again', async (t) => {
	const { gw, bus } = await t.pair({ pong_timeout: '1s' });
	const c = await LineClient.start(t, 'npm ws', gw.wsUrl('chat/alice'));
	const s = stall(t);
	c.tell(`busy ${s.file}`);
	assert.equal(await c.next(), 'busy');
	await bus.publish(recv('chat', 'alice'), 'a hard one');
	await until('the end of the connection', async () => (await gw.sessions()).length === 0);
	assert.equal(await bus.count(recv('chat', 'alice')), 1);
	s.end();
	const again = message('text', Buffer.from('a hard one'));
	assert.deepEqual(await c.take(3), ['idle', again, 'closed 3008 no pong in time']);
	gw.config.pong_timeout = '60s'; // the next one has time
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	const next = await LineClient.start(t, 'npm ws', gw.wsUrl('chat/alice'));
	assert.equal(await next.next(), again);
	await bus.empty('ws.recv.>');
});

await test('too late for pong_timeout, but before its own Close: what its Pong proves is not given again', async (t) => {
	const { gw, bus } = await t.pair({ pong_timeout: '1s' });
	for (let i = 0; i < 10; i++) await bus.publish(recv('chat', 'alice'), String(i));
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	const pings = [];
	let close;
	while (!close) {
		const f = await r.next();
		if (f.opcode === PING) pings.push(f);
		if (f.opcode === CLOSE) close = f;
	}
	assert.equal(close.code, 3008);
	assert.equal(r.data().length > 0, true);
	await r.write(Buffer.concat([frame(PONG, pings[0].data), closeFrame(3008)]));
	await r.ended();
	// What was given with that Ping, one or all of them, is proved.
	const given = r.frames.slice(0, r.frames.findIndex((f) => f.opcode === PING)).length;
	await until('them to be removed', async () => (await bus.count(recv('chat', 'alice'))) === 10 - given);
});

await test('larger than the client\'s library takes: it closes, and the message waits, with what is behind it', async (t) => {
	const { gw, bus } = await t.pair();
	await bus.publish(recv('chat', 'alice'), 'x'.repeat(1001));
	await bus.publish(recv('chat', 'alice'), 'small');
	for (let i = 0; i < 2; i++) {
		const c = await t.client(gw, 'chat/alice', { maxPayload: 1000 });
		await c.ended();
		assert.deepEqual(c.texts(), []);
	}
	await stays('both', async () => (await bus.count(recv('chat', 'alice'))) === 2, 300);
	const c = await t.client(gw, 'chat/alice', { maxPayload: 2000 });
	assert.deepEqual((await c.take(2)).map((m) => m.data.length), [1001, 5]);
	await bus.empty('ws.recv.>');
});
