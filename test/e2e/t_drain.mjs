// TERM drains: what was given is confirmed, what was taken is stored, 1001 spread with a hint, then the hard end.
import { test, assert, until, stays, SLOW } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';
import { CLOSE, PING, PONG, TEXT, upgrade } from './lib/raw.mjs';

const HINT = /^the gateway is stopping; reconnect in ([1-5]) s$/;

async function draining(gw) {
	const workers = gw.children().filter((c) => /worker/.test(c.title)).length;
	gw.signal('SIGTERM');
	await until('all to drain', () => (gw.log().match(/worker \d+: (draining|not ready any more)/g) ?? []).length >= workers);
	assert.equal(await gw.status('/readyz'), 503);
}

await test('all that was given is confirmed and removed before the Close', async (t) => {
	const { gw, bus } = await t.pair({ drain_timeout: '20s' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await bus.publish(recv('chat', 'alice'), 'with the first Ping');
	const first = await r.next(PING);
	for (const i of numbers(3)) await bus.publish(recv('chat', 'alice'), i); // behind the Ping under way
	await until('all of them', () => r.data().length === 4);
	await draining(gw);
	await stays('no Close', () => !r.frames.some((f) => f.opcode === CLOSE) && !r.finished, 300);
	await r.send(PONG, first.data);
	await r.send(PONG, (await r.next(PING)).data);
	const close = await r.next(CLOSE);
	assert.equal(close.code, 1001);
	assert.match(close.data.subarray(2).toString(), HINT);
	await r.send(CLOSE, close.data);
	await r.ended();
	await bus.empty(recv('chat', 'alice'));
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
});

await test('a fault while it waits for a Pong: its own code, with its own reason', async (t) => {
	const { gw, bus } = await t.pair({ drain_timeout: '20s' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await bus.publish(recv('chat', 'alice'), 'not confirmed');
	await r.next(PING);
	await draining(gw);
	await r.send(TEXT, 'bare', { mask: false });
	const close = await r.next(CLOSE);
	assert.equal(close.code, 1002);
	assert.doesNotMatch(close.data.subarray(2).toString(), /stopping/);
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
});

await test('what comes while it stops stays in the stream', async (t) => {
	const { gw, bus } = await t.pair({ drain_timeout: '20s' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await bus.publish(recv('chat', 'alice'), 'before');
	const ping = await r.next(PING);
	await draining(gw);
	await bus.publish(recv('chat', 'alice'), 'after');
	await r.send(PONG, ping.data);
	const close = await r.next(CLOSE);
	await r.send(CLOSE, close.data);
	await r.ended();
	await gw.exited();
	assert.deepEqual(r.data().map((f) => f.data.toString()), ['before']);
	assert.deepEqual((await bus.storedAll(recv('chat', 'alice'), 1)).map((m) => m.text), ['after']);
});

await test('large messages half written go out whole over a slow link, then the Close', async (t) => {
	const { gw, bus } = await t.pair({ drain_timeout: '60s', pong_timeout: '3s', delivery: { window: '8m' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	r.socket.pause();
	const big = Buffer.alloc(900000, 'z');
	for (let i = 0; i < 8; i++) await bus.publish(recv('chat', 'alice'), big);
	await until('all given', async () => (await gw.sessions()).some((s) => s.messages_out === 8));
	await draining(gw);
	r.socket.on('data', () => r.socket.pause()); // one chunk a turn
	const trickle = setInterval(() => r.socket.resume(), 250);
	const start = performance.now();
	await until('eight seconds of a slow link', () => r.finished || performance.now() - start > 8000);
	clearInterval(trickle);
	assert.equal(r.finished, false, 'cut off although it made progress');
	assert.ok(r.data().length < 8, 'the link was not slow');
	r.socket.removeAllListeners('data');
	r.socket.on('data', (d) => r.take(d));
	r.socket.resume();
	let close;
	while ((close = await r.next()).opcode !== CLOSE) if (close.opcode === PING) await r.send(PONG, close.data);
	assert.equal(close.code, 1001);
	assert.ok(r.data().length === 8 && r.data().every((f) => f.data.equals(big)));
	await r.send(CLOSE, close.data);
	assert.equal((await gw.exited()).code, 0);
	assert.deepEqual(await bus.left(recv('chat', 'alice')), []);
});

await test('clients that send to the last moment: all is stored when the close handshake is done', async (t) => {
	const { gw, bus } = await t.pair({ drain_timeout: '30s' });
	const all = await Promise.all(numbers(20).map((i) => t.client(gw, `chat/u${i}`)));
	const ends = all.map(async (c, i) => {
		let sent = 0;
		while (c.open) {
			c.ws.send(String(sent++));
			// no more than the gateway takes
			while (sent % 20 === 0 && c.ws.bufferedAmount > 0 && c.open) await new Promise((go) => setImmediate(go));
			if (sent % 20 === 0) await new Promise((go) => setImmediate(go));
		}
		assert.equal((await c.ended()).code, 1001);
		return [i, sent, (await bus.count(send('chat', `u${i}`)))];
	});
	await until('messages', async () => (await bus.count('ws.send.>')) > 500);
	gw.signal('SIGTERM');
	for (const [i, sent, stored] of await Promise.all(ends)) assert.equal(stored, sent, `of u${i}`);
	assert.equal((await gw.exited()).code, 0);
});

await test('1001 is spread over the drain time, and the hints are spread too', async (t) => {
	const N = 300;
	const { gw } = await t.pair({ drain_timeout: '10s', workers: 1 }); // a client each 10 ms
	const all = await Promise.all(numbers(N).map((i) => t.client(gw, `chat/u${i}`)));
	const start = performance.now(), times = [], hints = [0, 0, 0, 0, 0, 0];
	gw.signal('SIGTERM');
	await Promise.all(all.map(async (c) => {
		const { code, reason } = await c.ended();
		times.push(performance.now() - start);
		assert.equal(code, 1001);
		assert.match(reason, HINT);
		hints[Number(HINT.exec(reason)[1])]++;
	}));
	const last = Math.max(...times);
	assert.ok(last > 1500 && last < 10000 * SLOW, `the last one after ${last} ms`);
	for (let k = 0; k < 10; k++) {
		const n = times.filter((ms) => ms >= k * last / 10 && ms < (k + 1) * last / 10).length;
		assert.ok(n < N / 2, `${n} of ${N} in one tenth of the time`);
	}
	for (let s = 1; s <= 5; s++) assert.ok(hints[s] >= N / 10, String(hints));
	assert.equal((await gw.exited()).code, 0);
});

await test('a connection without a request does not hold it up; a request that has begun gets its answer', async (t) => {
	const { gw } = await t.pair({ drain_timeout: '60s', handshake_timeout: '30s' });
	const idle = await t.raw(gw), begun = await t.raw(gw);
	await begun.write(upgrade('/ws/chat/alice').slice(0, 30));
	await draining(gw);
	await idle.ended();
	assert.equal(begun.finished, false);
	await begun.write(upgrade('/ws/chat/alice').slice(30));
	const r = await begun.response();
	assert.equal(r.status, 503);
	assert.ok(Number(r.headers['retry-after']) > 0);
	begun.destroy();
	assert.deepEqual(await gw.exited(8000), { code: 0, signal: null });
});

await test('a bridge that dies while it drains is replaced: what clients send is stored', async (t) => {
	const { gw, bus } = await t.pair({ drain_delay: '4s', drain_timeout: '2s' });
	const c = await t.client(gw, 'chat/alice');
	await draining(gw);
	await gw.murder('bridge');
	await c.send('behind it');
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].text, 'behind it');
	assert.equal(c.closed, null);
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
});

// All connects are refused, though one worker has not shut its listeners.
const refused = (t, gw) => until('refusals', async () => {
	for (let i = 0; i < 20; i++) {
		const e = await t.raw(gw).then((s) => s.destroy(), (x) => x);
		if (e?.code !== 'ECONNREFUSED') return false;
	}
	return true;
}, 5000);

await test('one worker hangs while the gateway stops: it gets no new clients', async (t) => {
	const { gw } = await t.pair({ drain_timeout: '20s' });
	const pid = gw.pid('worker 1');
	process.kill(pid, 'SIGSTOP');
	gw.signal('SIGTERM');
	await refused(t, gw);
	assert.ok(gw.pid('worker 1'), 'still there');
	process.kill(pid, 'SIGCONT');
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
});

await test('one worker is dead when the drain begins: until then the other one takes clients, then nobody does', async (t) => {
	const { gw, bus } = await t.pair({ drain_delay: '3s', drain_timeout: '20s', pong_timeout: '60s' });
	gw.signal('SIGTERM');
	await until('its beginning', () => (gw.log().match(/worker \d: not ready any more/g) ?? []).length === 2);
	await gw.murder('worker 1');
	let r; // answers no Ping: the drain takes its time
	await until('a client of worker 0', async () => {
		r = await t.raw(gw);
		await r.write(upgrade('/ws/chat/alice/'));
		return r.response(300).then((a) => a.status === 101, () => r.destroy());
	});
	await bus.publish(recv('chat', 'alice'), 'x');
	await r.next(PING);
	await until('the drain', () => /worker 0: draining/.test(gw.log()));
	await refused(t, gw);
	assert.equal(gw.proc.exit, null);
	r.destroy();
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
});

await test('then the hard end', async (t) => {
	const { gw, bus } = await t.pair({ drain_timeout: '1s', pong_timeout: '60s' });
	const mute = await t.raw(gw), rude = await t.raw(gw);
	await mute.open('/ws/chat/alice/'); // answers no Ping
	await rude.open('/ws/chat/bob/'); // answers no Close
	await bus.publish(recv('chat', 'alice'), 'x');
	await mute.next(PING);
	const start = performance.now();
	gw.signal('SIGTERM');
	assert.equal((await rude.next(CLOSE)).code, 1001);
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
	const took = performance.now() - start;
	assert.ok(took > 900 && took < 6000 * SLOW, `${took} ms`);
	await mute.ended();
	assert.ok(!mute.frames.some((f) => f.opcode === CLOSE));
	assert.match(gw.log(), /drain time is over: the rest is cut off connections=/);
	assert.equal(await bus.count(recv('chat', 'alice')), 1, 'not confirmed: it stays');
});

await test('a second TERM ends at once', async (t) => {
	const { gw, bus } = await t.pair({ drain_timeout: '60s', pong_timeout: '60s' });
	const mute = await t.raw(gw);
	await mute.open('/ws/chat/alice/');
	await bus.publish(recv('chat', 'alice'), 'x');
	await mute.next(PING);
	await draining(gw);
	await stays('draining', () => !gw.proc.exit, 500);
	const start = performance.now();
	gw.signal('SIGTERM');
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
	assert.ok(performance.now() - start < 3000 * SLOW);
	assert.match(gw.log(), /asked again to stop: at once/);
});

await test('drain_delay: not ready at once, as ever for so long, then the drain; a second TERM ends it', async (t) => {
	const { gw, bus, nats } = await t.pair({ drain_delay: '6s' });
	const c = await t.client(gw, 'chat/alice');
	const begun = performance.now();
	await draining(gw);
	const late = await t.client(gw, 'chat/bob');
	for (const [who, user] of [[c, 'alice'], [late, 'bob']]) {
		await bus.publish(recv('chat', user), 'as ever');
		assert.equal((await who.next()).text, 'as ever');
		await who.send('as ever');
		await bus.storedAll(send('chat', user), 1);
	}
	assert.equal((await gw.ctl('reload')).code, 2);
	assert.equal(c.closed ?? late.closed, null);
	for (const who of [c, late]) assert.equal((await who.ended()).code, 1001);
	assert.ok(performance.now() - begun > 5500, 'before its time');
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });

	const other = await t.gateway(nats, { config: { drain_delay: '1h' } });
	const d = await t.client(other, 'chat/dora');
	await draining(other);
	await stays('the connection', () => !d.closed, 300);
	other.signal('SIGTERM');
	assert.deepEqual(await other.exited(), { code: 0, signal: null });
});
