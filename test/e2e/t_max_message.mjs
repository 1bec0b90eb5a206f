// Exactly max_message goes through both ways, one byte more does not and harms nobody.
import { test, assert, until, stays } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { CLOSE, TEXT, frame } from './lib/raw.mjs';
import { numbers } from './lib/client.mjs';

const MAX = 10000;

await test('a client\'s message of max_message, and one byte more: 1009', async (t) => {
	const { bus, gw } = await t.pair({ max_message: MAX });
	const c = await t.client(gw, 'chat/alice');
	await c.send('x'.repeat(MAX));
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].data.length, MAX);
	await c.send('x'.repeat(MAX + 1));
	assert.equal((await c.ended()).code, 1009);
	// in fragments
	const r = await t.raw(gw);
	await r.open('/ws/chat/bob/');
	await r.write(Buffer.concat([frame(TEXT, 'y'.repeat(MAX - 1), { fin: false }), frame(0, 'y')]));
	assert.equal((await bus.storedAll(send('chat', 'bob'), 1))[0].data.length, MAX);
	await r.write(Buffer.concat([frame(TEXT, 'y'.repeat(MAX), { fin: false }), frame(0, 'y')]));
	assert.equal((await r.next(CLOSE)).code, 1009);
	assert.equal(await bus.count('ws.send.>'), 2);
});

await test('an announced length beyond the limit is refused before its payload', async (t) => {
	const { gw } = await t.pair({ max_message: MAX });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await r.write(Buffer.from([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]));
	assert.equal((await r.next(CLOSE)).code, 1009);
});

await test('a service\'s message of max_message, and one byte more: set aside', async (t) => {
	const { bus, gw } = await t.pair({ max_message: MAX });
	const dead = await bus.listen('wsdead.>');
	const c = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'a'.repeat(MAX));
	await bus.publish(recv('chat', 'alice'), 'b'.repeat(MAX + 1), { 'X-Mine': 'kept' });
	await bus.publish(recv('chat', 'alice'), 'c');
	assert.deepEqual((await c.take(2)).map((m) => m.text.length), [MAX, 1]);
	await until('the dead one', () => dead.length === 1);
	assert.equal(dead[0].subject, 'wsdead.chat.alice');
	assert.equal(dead[0].text, 'b'.repeat(MAX + 1));
	await bus.empty('ws.recv.>');
	assert.equal(c.closed, null);
});

await test('a message too large that waited is set aside, too', async (t) => {
	const { bus, gw } = await t.pair({ max_message: MAX });
	const dead = await bus.listen('wsdead.>');
	for (const m of ['first', 'b'.repeat(MAX + 1), 'last']) await bus.publish(recv('chat', 'late'), m);
	const c = await t.client(gw, 'chat/late');
	assert.deepEqual((await c.take(2)).map((m) => m.text), ['first', 'last']);
	await until('the dead one', () => dead.length === 1);
	await bus.empty('ws.recv.>');
});

await test('set aside again, because one before it is not confirmed: stored once', async (t) => {
	const { bus, gw } = await t.pair({ max_message: MAX });
	const { streams } = await bus.jsm(), seen = await bus.listen('wsdead.>');
	await streams.add({ name: 'dead', subjects: ['wsdead.>'] });
	for (const m of ['first', 'b'.repeat(MAX + 1)]) await bus.publish(recv('chat', 'alice'), m);
	for (const i of numbers(3)) {
		const r = await t.raw(gw);
		await r.open('/ws/chat/alice/');
		assert.equal((await r.next(TEXT)).data.toString(), 'first');
		await until('it to be set aside', () => seen.length > i);
		r.destroy();
		await until('nothing to be known of it', async () => (await gw.figures()).bridge.users === 0);
	}
	await until('all of them to be there', async () => (await streams.info('dead')).state.messages > 0);
	assert.equal((await streams.info('dead')).state.messages, 1);
});

await test('set aside once is counted once, however many devices come behind one that confirms nothing', async (t) => {
	const { bus, gw } = await t.pair({ max_message: MAX, pong_timeout: '60s' });
	const dead = await bus.listen('wsdead.>'), silent = await t.raw(gw);
	await silent.open('/ws/chat/alice/');
	for (const m of ['first', 'b'.repeat(MAX + 1), 'last']) await bus.publish(recv('chat', 'alice'), m);
	assert.equal((await silent.next(TEXT)).data.toString(), 'first');
	await until('it to be set aside', () => dead.length === 1);
	for (const _ of numbers(3)) {
		const c = await t.client(gw, 'chat/alice');
		assert.deepEqual((await c.take(2)).map((m) => m.text), ['first', 'last']);
	}
	const aside = async () => (await gw.figures()).bridge.aside;
	await until('it to be counted', async () => (await aside()) > 0);
	await stays('counted once', async () => (await aside()) === 1, 1500); // figures are made each second
	assert.equal(dead.length, 1);
});

await test('set aside is not allowed: it stays in the stream, whatever is confirmed behind it, also with another bridge', async (t) => {
	const conf = `authorization { users = [ { user: all, password: pw },
		{ user: gate, password: pw, permissions: { publish: { deny: [ "wsdead.>" ] } } } ] }`;
	const nats = await t.nats({ conf }), bus = await nats.connect({ user: 'all', pass: 'pw' });
	const gw = await t.gateway(nats, { config: { max_message: MAX, broker: { url: nats.url, user: 'gate', password: 'pw' } } });
	const c = await t.client(gw, 'chat/alice'), tried = () => (gw.log().match(/could not be set aside: it stays in the stream/g) ?? []).length;
	for (const m of ['first', 'b'.repeat(MAX + 1), 'last']) await bus.publish(recv('chat', 'alice'), m);
	assert.deepEqual((await c.take(2)).map((m) => m.text), ['first', 'last']);
	const left = async (n) => {
		await until(`${n} tries`, () => tried() >= n);
		await until('the others to be removed', async () => (await bus.count('ws.recv.>')) === 1);
		assert.equal((await bus.storedAll(recv('chat', 'alice'), 1))[0].text, 'b'.repeat(MAX + 1));
	};
	await left(1);
	await gw.murder('bridge'); // its successor looks whether all is removed that was confirmed
	await left(2);
	await bus.publish(recv('chat', 'alice'), 'behind');
	assert.equal((await c.next()).text, 'behind');
	await c.close();
	await left(2);
});

await test('the default limit stays below the broker\'s max_payload', async (t) => {
	const { bus, gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice', { maxPayload: 8 << 20 });
	const most = (1 << 20) - 1024; // max_payload less 1 KiB for headers
	await c.send(Buffer.alloc(most, 65));
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].data.length, most);
	await c.send(Buffer.alloc(most + 1, 65));
	assert.equal((await c.ended()).code, 1009);
	const d = await t.client(gw, 'chat/dave');
	await bus.publish(recv('chat', 'dave'), Buffer.alloc(most, 66));
	assert.equal((await d.next()).data.length, most);
});
