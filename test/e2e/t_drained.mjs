// wsgatectl drain: not ready, connections closed over a time, then it goes on without any; undrain takes it back.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until, stays, SLOW } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { CLOSE, PING } from './lib/raw.mjs';
import { WSGATECTL, WSGATED } from './lib/gateway.mjs';
import { run } from './lib/proc.mjs';

const HINT = /^the gateway is draining; reconnect in ([1-5]) s$/;

async function ctl(gw, ...args) {
	const r = await gw.ctl(...args);
	assert.equal(r.code, 0, r.err);
	return r.out;
}

const drain = (gw, ...args) => ctl(gw, 'drain', ...args);
const undrain = (gw) => ctl(gw, 'undrain');
const crowd = (t, gw, n) => Promise.all(numbers(n).map((i) => t.client(gw, `chat/u${i}`)));
const state = async (gw) => (await gw.figures()).drain.state;

async function refused(url) {
	const no = await Client.refused(url);
	assert.equal(no.status, 503);
	assert.ok(Number(no.headers['retry-after']) > 0);
	assert.match(no.body, /drained/);
}

// It refuses, says so everywhere, and lives.
async function drained(gw) {
	await until('drained', async () => (await state(gw)) === 'drained');
	const r = await gw.admin('/readyz');
	assert.deepEqual([r.status, r.text], [503, 'not ready: drained, until wsgatectl undrain\n']);
	await refused(gw.wsUrl('chat/late'));
	assert.equal(await gw.status('/livez'), 200);
	assert.match((await gw.admin('/metrics')).text, /^wsgate_drained 1$/m);
	assert.equal(JSON.parse((await gw.admin('/status.json')).text).drain.state, 'drained');
	assert.match(await ctl(gw, 'status'), /^drain +drained: not ready for /m);
}

async function serves(t, gw, bus, who) {
	await gw.ready();
	assert.match((await gw.admin('/metrics')).text, /^wsgate_drained 0$/m);
	assert.equal(await state(gw), 'no');
	const c = await t.client(gw, `chat/${who}`);
	await bus.publish(recv('chat', who), 'again');
	assert.equal((await c.next()).text, 'again');
}

await test('1012 with hints, spread over the time that was asked for, however few they are; then none, until undrain', async (t) => {
	const { gw, bus } = await t.pair({ workers: 2, echo_path: '/echo' });
	const all = await crowd(t, gw, 20), times = [];
	const start = performance.now();
	assert.equal(await drain(gw, '--time', '10'), 'not ready; connections are closed over 10 s, from 0 s after that on\n');
	assert.equal(await gw.status('/readyz'), 503);
	assert.equal(await state(gw), 'draining');
	await Promise.all(all.map(async (c) => {
		const { code, reason } = await c.ended();
		times.push(performance.now() - start);
		assert.equal(code, 1012);
		assert.match(reason, HINT);
	}));
	times.sort((a, b) => a - b);
	assert.ok(times.at(-1) > 4000 && times.at(-1) < 10000 * SLOW, `the last one after ${times.at(-1)} ms`);
	assert.ok(times[5] < 0.6 * times.at(-1) && times[14] > 0.4 * times.at(-1), String(times));
	await drained(gw);
	await refused(`ws://127.0.0.1:${gw.port}/echo`);
	assert.equal((gw.log().match(/drained: no connection is left/g) ?? []).length, 2); // each worker
	assert.equal(await undrain(gw), 'takes connections\n');
	await serves(t, gw, bus, 'alice');
});

await test('without a time: as fast as a stop; --wait waits, and a second order does no harm', async (t) => {
	const { gw } = await t.pair({ drain_timeout: '30s' });
	await crowd(t, gw, 30);
	const start = performance.now();
	assert.match(await drain(gw, '--wait'), /over 30 s.*\nno connection is left\n$/s);
	assert.ok(performance.now() - start < 10000 * SLOW);
	await drained(gw);
	await drain(gw, '--time', '60', '--wait');
	await drained(gw);
	for (const args of [['--time', '0'], ['--time'], ['--time', 'soon'], ['--tim', '5'], ['5']]) assert.equal((await gw.ctl('drain', ...args)).code, 1, String(args));
	await undrain(gw);
	await undrain(gw);
	await gw.ready();
});

await test('a second order says when its closes begin: at once, where the delay is over', async (t) => {
	const { gw } = await t.pair({ drain_delay: '2s', drain_timeout: '30s' });
	assert.match(await drain(gw), /over 30 s, from 2 s after that on$/m);
	await drained(gw);
	assert.match(await drain(gw), /over 30 s, from 0 s after that on$/m);
	await undrain(gw);
	await gw.ready();
});

await test('--wait waits, whatever pidfile the configuration has; the end of the daemon is an end, too', async (t) => {
	const { gw } = await t.pair({ drain_timeout: '30s' });
	const waits = (time) => run(WSGATECTL, ['-c', gw.file, '-o', `pidfile=${gw.file}.other`, 'drain', '--time', time, '--wait'], { ms: 40000 });
	await crowd(t, gw, 5);
	const r = await waits('1');
	assert.equal((await gw.figures()).total.connections, 0);
	assert.deepEqual([r.code, r.err], [0, '']);
	await undrain(gw);
	await gw.ready();
	await crowd(t, gw, 5);
	const ends = waits('30');
	await drained(gw);
	gw.signal('SIGTERM');
	assert.deepEqual([(await ends).code, (await ends).out.split('\n').at(-2)], [0, 'no connection is left']);
	assert.equal((await gw.exited()).code, 0);
});

await test('who goes to another gateway gets all, in order, once the drain begins and after it', async (t) => {
	const { gw, nats, bus } = await t.pair({ workers: 2 });
	const other = await t.gateway(nats);
	const users = numbers(30).map((i) => `u${i}`);
	const first = await crowd(t, gw, 30);
	await Promise.all(first.map((c) => c.send('before')));
	let going = true, sent = 0;
	const publisher = (async () => {
		for (; going; sent++) await Promise.all(users.map((u) => bus.publish(recv('chat', u), String(sent))));
	})();
	await until('messages', () => first.every((c) => c.got.length > 5));
	await drain(gw, '--time', '3');
	const second = await Promise.all(first.map(async (c, i) => {
		await c.ended();
		const d = await t.client(other, `chat/u${i}`);
		await d.send('after');
		return d;
	}));
	await drained(gw);
	going = false;
	await publisher;
	for (const [i, d] of second.entries()) {
		await until('the last one', () => d.texts().includes(String(sent - 1)));
		assert.deepEqual([...new Set([...first[i].texts(), ...d.texts()])], numbers(sent));
	}
	await bus.empty('ws.recv.>');
	for (const u of users) await bus.storedAll(send('chat', u), 2);
});

await test('drain_delay: not ready at once, all as ever for so long, then the closes', async (t) => {
	const { gw, bus } = await t.pair({ drain_delay: '6s' });
	const c = await t.client(gw, 'chat/alice');
	const begun = performance.now();
	await drain(gw, '--time', '1');
	assert.equal(await gw.status('/readyz'), 503);
	assert.equal(await state(gw), 'leaving');
	const late = await t.client(gw, 'chat/bob');
	for (const [who, user] of [[c, 'alice'], [late, 'bob']]) {
		await bus.publish(recv('chat', user), 'as ever');
		assert.equal((await who.next()).text, 'as ever');
	}
	for (const who of [c, late]) assert.equal((await who.ended()).code, 1012);
	assert.ok(performance.now() - begun > 5500, 'before its time');
	await drained(gw);
});

await test('--wait on a gateway without connections waits until nobody is let in any more', async (t) => {
	const { gw } = await t.pair({ drain_delay: '3s' });
	let over = false;
	const waits = gw.ctl('drain', '--wait').then((r) => { over = true; return r; });
	await until('to be not ready', async () => (await gw.status('/readyz')) === 503);
	const late = await t.client(gw, 'chat/late'); // as ever
	assert.equal(over, false);
	assert.equal((await waits).out.split('\n')[1], 'no connection is left');
	assert.equal(late.closed?.code, 1012);
});

await test('taken back in the middle: who is still there stays', async (t) => {
	const { gw, bus } = await t.pair({ drain_delay: 0 });
	const all = await crowd(t, gw, 40);
	const waits = gw.ctl('drain', '--time', '30', '--wait');
	await until('some to be closed', () => all.filter((c) => c.closed).length > 3);
	await undrain(gw);
	const w = await waits;
	assert.deepEqual([w.code, w.err], [2, 'wsgatectl: the drain was taken back\n']);
	await gw.ready();
	const left = all.filter((c) => !c.closed).length;
	assert.ok(left > 20, String(left));
	await stays('those that are left', () => all.filter((c) => !c.closed).length >= left - 2, 1500);
	for (const [i, c] of all.entries()) {
		if (c.closed) continue;
		await bus.publish(recv('chat', `u${i}`), 'still here');
		assert.equal((await c.next()).text, 'still here');
	}
	await serves(t, gw, bus, 'alice');
});

await test('while connections only know that it is not ready, undrain leaves no trace', async (t) => {
	const { gw, bus } = await t.pair({ drain_delay: '1h' });
	const c = await t.client(gw, 'chat/alice');
	await drain(gw);
	assert.equal(await gw.status('/readyz'), 503);
	await undrain(gw);
	await serves(t, gw, bus, 'bob');
	assert.equal(c.closed, null);
	gw.signal('SIGTERM');
	await until('not ready', async () => (await gw.status('/readyz')) === 503);
	gw.signal('SIGTERM'); // not to wait for an hour
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
});

await test('its answer comes when each worker refuses, and names one that does not answer', async (t) => {
	const { gw } = await t.pair({ drain_delay: 0, workers: 2 });
	const stopped = gw.pid('worker 1');
	const refuses = () => gw.log().match(/worker \d: draining /g)?.length;
	const answer = (what) => {
		const a = { over: false };
		a.done = gw.ctl(what).then((r) => { a.over = true; return r; });
		return a;
	};
	let go = await hold(stopped);
	try {
		const first = answer('drain');
		await until('the other worker', () => refuses() === 1);
		await stays('without an answer', () => !first.over, 500);
		go();
		assert.deepEqual([(await first.done).code, (await first.done).err, refuses()], [0, '', 2]);
		go = await hold(stopped);
		const second = await answer('undrain').done;
		assert.deepEqual([second.code, second.err],
			[0, 'wsgatectl: no answer yet: worker 1; what does not read hears of it when it does\n']);
	} finally {
		go();
	}
	await until('both', () => gw.log().match(/worker \d: takes connections again/g)?.length === 2);
	await gw.ready();
});

await test('who answers nothing is cut off when the time is over, and its messages stay', async (t) => {
	const { gw, bus } = await t.pair({ pong_timeout: '60s', workers: 1 });
	const mute = await t.raw(gw), rude = await t.raw(gw);
	await mute.open('/ws/chat/alice/'); // answers no Ping
	await rude.open('/ws/chat/bob/'); // answers no Close
	await bus.publish(recv('chat', 'alice'), 'x');
	await mute.next(PING);
	await drain(gw, '--time', '2');
	assert.equal((await rude.next(CLOSE)).code, 1012);
	await mute.ended();
	assert.ok(!mute.frames.some((f) => f.opcode === CLOSE));
	assert.match(gw.log(), /drain time is over: the rest is cut off connections=2/);
	await drained(gw);
	assert.equal(await bus.count(recv('chat', 'alice')), 1);
	await undrain(gw);
	await gw.ready();
	assert.equal((await (await t.client(gw, 'chat/alice')).next()).text, 'x');
});

await test('a reload, and workers and a bridge that are killed, change nothing about it', async (t) => {
	const { gw, bus } = await t.pair({ workers: 2 });
	await crowd(t, gw, 10);
	await drain(gw, '--wait');
	gw.config.workers = 3;
	gw.writeConfig();
	await ctl(gw, 'reload');
	await until('a third worker', () => gw.pid('worker 2'));
	await drained(gw);
	for (const title of ['worker 0', 'worker 1', 'bridge']) {
		await gw.murder(title);
		await until(`another ${title}`, () => gw.pid(title));
	}
	await until('the bridge', async () => (await gw.figures()).broker.state === 'connected');
	for (const i of numbers(12)) assert.equal((await Client.refused(gw.wsUrl(`chat/u${i}`))).status, 503); // each worker
	await drained(gw);
	await undrain(gw);
	await serves(t, gw, bus, 'alice');
	await crowd(t, gw, 12);
});

await test('a worker killed in the middle, and fewer workers: the drain goes on where the rest went', async (t) => {
	const { gw } = await t.pair({ workers: 3 });
	const all = await crowd(t, gw, 60);
	await drain(gw, '--time', '8');
	await until('some to be closed', () => all.filter((c) => c.closed).length > 3);
	await gw.murder('worker 1');
	gw.config.workers = 1;
	gw.writeConfig();
	await ctl(gw, 'reload');
	const ends = await Promise.all(all.map((c) => c.ended()));
	assert.deepEqual([...new Set(ends.map((e) => e.code))].sort(), [1006, 1012]);
	await drained(gw);
	assert.equal((gw.log().match(/the rest is cut off/g) ?? []).length, 0);
});

await test('SIGUSR2: the new program is drained as the old one was, also in the middle', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { config: { workers: 2 }, start: false });
	gw.opts.program = path.join(gw.dir, 'wsgated');
	fs.copyFileSync(WSGATED, gw.opts.program);
	await gw.start();
	await until('ready', () => /master: ready/.test(gw.log()));
	const all = await crowd(t, gw, 60);
	await drain(gw, '--time', '12');
	await until('some to be closed', () => all.filter((c) => c.closed).length > 3);
	gw.signal('SIGUSR2');
	await gw.replaced();
	const open = all.filter((c) => !c.closed);
	assert.ok(open.length > 20, String(open.length));
	assert.equal(await gw.status('/readyz'), 503);
	const ends = await Promise.all(all.map((c) => c.ended(20000)));
	assert.deepEqual([...new Set(ends.map((e) => e.code))], [1012]);
	for (const e of ends) assert.match(e.reason, HINT);
	await drained(gw);
	gw.signal('SIGUSR2');
	await gw.replaced();
	await drained(gw);
	await undrain(gw);
	await serves(t, gw, await nats.connect(), 'alice');
});

await test('TERM ends it at once: nobody has to be told', async (t) => {
	const { gw } = await t.pair({ drain_delay: '1s', drain_timeout: '60s' });
	await crowd(t, gw, 5);
	await drain(gw, '--wait');
	const start = performance.now();
	gw.signal('SIGTERM');
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
	assert.ok(performance.now() - start < 5000 * SLOW);
	assert.equal((await gw.ctl('drain')).code, 2);
});
