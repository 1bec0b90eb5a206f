// Ws-Type decides between text and binary; without it the payload does.
import { test, assert, until } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';

await test('what goes out as text and what as binary', async (t) => {
	const { bus, gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	const bad = Buffer.from([0x61, 0xff, 0x62]);
	const surrogate = Buffer.from([0xed, 0xa0, 0x80]);
	const rows = [
		['plain', undefined, 'text'],
		['é€😀', undefined, 'text'],
		['', undefined, 'text'],
		[bad, undefined, 'binary'],
		[surrogate, undefined, 'binary'],
		['plain', 'text', 'text'],
		['plain', 'binary', 'binary'],
		['', 'binary', 'binary'],
		[bad, 'binary', 'binary'],
		[bad, 'text', 'binary'], // marked text that is not: never breaks the client
		[surrogate, 'text', 'binary'],
		['é', 'something else', 'text'],
	];
	for (const [data, mark] of rows) await bus.publish(recv('chat', 'alice'), data, mark && { 'Ws-Type': mark });
	const got = await c.take(rows.length);
	rows.forEach(([data, mark, kind], i) => {
		assert.equal(got[i].binary ? 'binary' : 'text', kind, `row ${i}: ${JSON.stringify(data)} marked ${mark}`);
		assert.deepEqual(got[i].data, Buffer.from(data), `row ${i}`);
	});
	await bus.empty(recv('chat', 'alice'));
	assert.equal(c.closed, null);
});

await test('delivery.text = binary and text for unmarked messages', async (t) => {
	const nats = await t.nats();
	const bus = await nats.connect();
	for (const text of ['binary', 'text']) {
		const gw = await t.gateway(nats, { config: { delivery: { text } } });
		const c = await t.client(gw, 'chat/alice');
		await bus.publish(recv('chat', 'alice'), 'plain');
		await bus.publish(recv('chat', 'alice'), new Uint8Array([255]));
		const got = await c.take(2);
		assert.deepEqual(got.map((m) => m.binary), text === 'binary' ? [true, true] : [false, true]);
		await bus.empty(recv('chat', 'alice'));
		await c.close();
	}
});

await test('a client\'s text and binary, empty and large, arrive as they were', async (t) => {
	const { bus, gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	const sent = ['', 'é€😀', Buffer.alloc(0), Buffer.from([0, 1, 255]), 'x'.repeat(125), 'y'.repeat(126), 'z'.repeat(65535),
		Buffer.alloc(65536, 7), Buffer.alloc(300000, 9)];
	for (const m of sent) await c.send(m);
	const got = await bus.storedAll(send('chat', 'alice'), sent.length);
	await until('in order', () => got.length === sent.length);
	sent.forEach((m, i) => {
		assert.ok(got[i].data.equals(Buffer.from(m)), `message ${i}`);
		assert.equal(got[i].headers['Ws-Type'], typeof m === 'string' ? 'text' : 'binary', `message ${i}`);
	});
});
