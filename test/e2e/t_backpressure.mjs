// 20,000 messages one way, faster than the other side takes them: order kept, nothing lost.
import { test, assert, until, sleep } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';

const N = 20000;
const pad = 'x'.repeat(200);

await test('20,000 messages to a client that stops reading again and again', async (t) => {
	const { bus, gw } = await t.pair();
	const c = await t.client(gw, 'chat/slow');
	const quick = await t.client(gw, 'chat/quick');
	let publishing = true;
	const published = bus.publishAll(N, (i) => [recv('chat', 'slow'), `${i} ${pad}`], 1000).then(() => (publishing = false));
	// Reads and pauses in turns until all is there; another client is served all the while.
	for (let turn = 0; publishing || c.got.length < N; turn++) {
		assert.equal(c.closed, null, `closed after ${c.got.length}`);
		c.ws.pause();
		await bus.publish(recv('chat', 'quick'), String(turn));
		assert.equal((await quick.next(5000)).text, String(turn), 'a slow client holds up another one');
		c.ws.resume();
		const had = c.got.length;
		await until('progress', () => c.got.length > had + 500 || c.got.length >= N || c.closed);
	}
	await published;
	assert.deepEqual(c.got.map((m) => m.text.split(' ')[0]), numbers(N));
	await bus.empty('ws.recv.>', 60000);
}, { ms: 150000 });

await test('20,000 messages to a service while the broker stalls', async (t) => {
	const { bus, nats, gw } = await t.pair();
	const got = await bus.work('workers', 'ws.send.>');
	const c = await t.client(gw, 'chat/eager');
	const sent = Promise.all(numbers(N).map((i) => c.send(`${i} ${pad}`)));
	for (let i = 1; i <= 3; i++) {
		await until('progress', () => got.length >= (N / 5) * i);
		await nats.pause();
		await sleep(300); // a stall as such
		nats.resume();
	}
	await sent;
	await until('all messages', () => got.length >= N, 90000);
	assert.deepEqual(got.map((m) => m.text.split(' ')[0]), numbers(N));
	assert.deepEqual(await c.close(), { code: 1000, reason: '' });
	await bus.empty(send('chat', 'eager'));
}, { ms: 150000 });
