// A Close is answered only when all earlier messages of that connection are stored.
import { SLOW, test, assert, stays, until } from './lib/scenario.mjs';
import { slowWay } from './lib/way.mjs';
import { send } from './lib/nats.mjs';
import { CLOSE, TEXT, closeFrame, frame } from './lib/raw.mjs';

await test('no Close while the broker stands still; then the message is in the stream', async (t) => {
	const { nats, gw, bus } = await t.pair();
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await nats.pause();
	await r.write(Buffer.concat([frame(TEXT, 'last words'), closeFrame(1000)]));
	await stays('no Close', () => !r.frames.some((f) => f.opcode === CLOSE) && !r.finished, 1500);
	nats.resume();
	assert.equal((await r.next(CLOSE)).code, 1000);
	assert.equal(await bus.count(send('chat', 'alice')), 1); // counted at once
	assert.deepEqual((await bus.storedAll(send('chat', 'alice'), 1)).map((m) => m.text), ['last words']);
	assert.equal(await r.ended(), 'end');
});

await test('the same for a client that ends its side behind its Close', async (t) => {
	const { nats, gw, bus } = await t.pair();
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await nats.pause();
	await r.write(Buffer.concat([frame(TEXT, 'last words'), closeFrame(1000)]));
	r.socket.end();
	await stays('open', () => !r.frames.some((f) => f.opcode === CLOSE) && !r.finished, 500);
	nats.resume();
	assert.equal((await r.next(CLOSE)).code, 1000);
	assert.equal(await bus.count(send('chat', 'alice')), 1);
	assert.equal(await r.ended(), 'end');
});

await test('each Close has its messages stored, for 100 connections', async (t) => {
	const { gw, bus } = await t.pair();
	await Promise.all(Array.from({ length: 100 }, async (_, i) => {
		const c = await t.client(gw, `chat/u${i}`);
		for (let k = 0; k < 20; k++) c.send(String(k));
		assert.equal((await c.close()).code, 1000);
		assert.equal(await bus.count(send('chat', `u${i}`)), 20);
	}));
});

await test('what finds no room behind our own Close is stored when there is some', async (t) => {
	const { nats, gw, bus } = await t.pair({ workers: 1, pong_timeout: '1s', drain_timeout: '20s' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await nats.pause();
	const pauses = async () => Number(/^wsgate_reading_pauses_total\S* (\d+)$/m.exec((await gw.admin('/metrics')).text)[1]);
	let fillers = 0;
	const fill = async (size, until) => {
		for (; (await pauses()) < until; fillers++) (await t.client(gw, `chat/f${fillers}`)).send(Buffer.alloc(size)).catch(() => {});
	};
	await fill(900000, 5);
	await fill(20000, 10);
	assert.equal((await gw.ctl('close', 'chat', 'alice')).code, 0);
	assert.equal((await r.next(CLOSE)).code, 4002);
	await r.send(TEXT, 'it was on its way'.padEnd(500000, '.'));
	await r.write(closeFrame(4002));
	await stays('no end', () => !r.finished, 3000);
	nats.resume();
	await r.ended();
	assert.match((await bus.storedAll(send('chat', 'alice'), 1))[0].text, /^it was on its way/);
}, { ms: 60000 });

await test('no time for a drain is no hurry for other Closes: while the broker is there they wait for it', async (t) => {
	const nats = await t.nats(), bus = await nats.connect(), way = await slowWay(t, nats);
	const gw = await t.gateway(nats, { config: { drain_timeout: '0', broker: { url: `nats://127.0.0.1:${way.port}` } } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	way.delay = 300;
	await r.write(Buffer.concat([frame(TEXT, 'stored'), closeFrame(1000)]));
	assert.equal((await r.next(CLOSE)).code, 1000);
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].text, 'stored');
});

// The shorter of the two counts; while the broker is known to be there, it has ten seconds in any case.
for (const [grace, drain_timeout] of [['1s', '9s'], ['9s', '1s']]) {
	await test(`no broker in time: the connection ends without a Close (grace ${grace}, drain_timeout ${drain_timeout})`, async (t) => {
		const { nats, gw } = await t.pair({ broker: { grace }, drain_timeout });
		const r = await t.raw(gw);
		await r.open('/ws/chat/alice/');
		await nats.stop();
		await until('it to be missed', async () => (await gw.figures()).broker.state !== 'connected');
		const since = performance.now();
		await r.write(Buffer.concat([frame(TEXT, 'lost?'), closeFrame(1000)]));
		await r.ended(20000);
		const ms = performance.now() - since;
		assert.ok(ms > 900 && ms < 6000 * SLOW, `after ${ms.toFixed()} ms`);
		assert.equal(r.frames.filter((f) => f.opcode === CLOSE).length, 0, 'the client must not think that all was well');
		await nats.start();
		// It was taken, so it is stored all the same.
		const bus = await nats.connect();
		await until('the message', async () => (await bus.count(send('chat', 'alice'))) === 1, 30000);
	});
}
