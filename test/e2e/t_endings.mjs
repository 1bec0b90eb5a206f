// How connections and processes end when something is still under way.
import fs from 'node:fs';
import { test, assert, until } from './lib/scenario.mjs';
import { cpuTicks } from './lib/proc.mjs';
import { recv, send } from './lib/nats.mjs';
import { PING, PONG, CLOSE, TEXT, frame, upgrade } from './lib/raw.mjs';

// Two seconds of worker 0 cost it next to nothing.
async function rests(gw) {
	const cpu = () => cpuTicks(gw.pid('worker 0'));
	const before = cpu(), start = performance.now();
	await until('two seconds', () => performance.now() - start > 2000);
	assert.ok(cpu() - before < 60, `${cpu() - before} ticks in two seconds`);
}

await test('a close that we start waits for the Pong under way', async (t) => {
	const { bus, gw } = await t.pair({ drain_timeout: '10s' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await bus.publish(recv('chat', 'alice'), 'x');
	const ping = await r.next(PING);
	gw.signal('SIGTERM');
	await until('draining', () => gw.log().includes('draining'));
	await r.send(TEXT, 'still sent'); // what is sent meanwhile is stored
	await bus.storedAll(send('chat', 'alice'), 1);
	assert.ok(!r.frames.some((f) => f.opcode === CLOSE), 'Close before the Pong');
	await r.send(PONG, ping.data);
	const close = await r.next(CLOSE);
	assert.equal(close.data.readUInt16BE(0), 1001);
	await bus.empty(recv('chat', 'alice'));
	await r.send(CLOSE, close.data);
	await r.ended();
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
});

await test('messages that come between our Close and the answer to it are stored', async (t) => {
	const { bus, gw } = await t.pair({ drain_timeout: '10s' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	gw.signal('SIGTERM');
	const close = await r.next(CLOSE);
	for (let i = 0; i < 20; i++) await r.send(TEXT, String(i));
	await r.send(CLOSE, close.data);
	await r.ended();
	const stored = await bus.storedAll(send('chat', 'alice'), 20);
	assert.deepEqual(stored.map((m) => m.text), Array.from({ length: 20 }, (_, i) => String(i)));
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
});

await test('kill -9 of the master: the bridge still stores what the rings hold', async (t) => {
	const { bus, nats, gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	await nats.pause();
	for (let i = 0; i < 50; i++) await c.send(String(i));
	await c.ping();
	process.kill(gw.proc.pid, 'SIGKILL');
	nats.resume();
	const stored = await bus.storedAll(send('chat', 'alice'), 50);
	assert.deepEqual(stored.map((m) => m.text), Array.from({ length: 50 }, (_, i) => String(i)));
	await gw.kill();
});

await test('a full descriptor table neither spins nor stops the worker', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { config: { workers: 1 }, nofile: 64 });
	const held = [];
	const one = async () => {
		const r = await t.raw(gw);
		await r.write('GET ');
		held.push(r);
	};
	while (!gw.log().includes('no file descriptor left')) {
		assert.ok(held.length < 500, 'never out of descriptors');
		await one();
	}
	await rests(gw);
	for (const r of held) r.destroy();
	let c;
	await until('room again', async () => (c = await t.client(gw, 'chat/alice').catch(() => null)));
	assert.ok(c.open);
});

await test('who talks while the handshake waits does not make the worker spin, and is heard', async (t) => {
	const { bus, gw } = await t.pair({ workers: 1, auth: { '*': { type: 'callout', timeout: '20s' } } });
	let asked;
	bus.nc.subscribe('wsauth.>', { callback: (_, m) => { asked = m; } });
	await bus.nc.flush();
	const r = await t.raw(gw);
	await r.write(upgrade('/ws/chat/alice/'));
	await until('the question', () => asked);
	await r.write(frame(TEXT, 'early'));
	await rests(gw);
	asked.respond(Buffer.from('{"allow":true}'));
	await bus.storedAll(send('chat', 'alice'), 1);
	await r.write(frame(TEXT, 'late'));
	assert.deepEqual((await bus.storedAll(send('chat', 'alice'), 2)).map((m) => m.text), ['early', 'late']);
});
