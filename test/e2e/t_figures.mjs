// The figures that wsgatectl shows are what clients really did, whatever died or moved meanwhile.
import { test, assert, until, SLOW } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';

const json = async (gw, ...words) => {
	const r = await gw.ctl(...words, '--json');
	assert.ok(r.out, r.err);
	return r.out.trim().split('\n').filter(Boolean).map((l) => JSON.parse(l));
};
const status = async (gw) => (await json(gw, 'status'))[0];

// Each client sends and gets: how much it was.
async function traffic({ bus, gw }, clients, service, n) {
	const all = (await status(gw)).total.messages_in + clients.length * n;
	await Promise.all(clients.map(async (c, i) => {
		for (let k = 0; k < n; k++) {
			await c.send('x'.repeat(10 + i));
			await bus.publish(recv(service, `u${i}`), 'y'.repeat(100 + i));
		}
	}));
	await bus.empty('ws.recv.>');
	await until('all stored', async () => {
		const s = await status(gw);
		return s.total.messages_in === all && s.bridge.stored === all;
	});
}
const sum = (list, key) => list.reduce((a, x) => a + x[key], 0);

await test('totals, workers, services and sessions agree with what was sent', async (t) => {
	const rig = await t.pair({ workers: 2 }), { gw } = rig;
	const chat = await Promise.all(numbers(8).map((i) => t.client(gw, `chat/u${i}`)));
	const news = await Promise.all(numbers(3).map((i) => t.client(gw, `a%20b/u${i}`)));
	await traffic(rig, chat, 'chat', 5);
	const s = await status(gw);
	assert.equal(s.running, true);
	assert.equal(s.broker.state, 'connected');
	assert.match(s.broker.server, /^nats:\/\/127\.0\.0\.1:\d+$/);
	assert.equal(s.total.connections, 11);
	assert.equal(s.total.messages_in, 40);
	assert.equal(s.total.bytes_in, 5 * numbers(8).reduce((a, i) => a + 10 + Number(i), 0));
	assert.equal(s.total.messages_out, 40);
	assert.equal(s.total.bytes_out, 5 * numbers(8).reduce((a, i) => a + 100 + Number(i), 0));
	assert.equal(s.total.unconfirmed, 0);
	assert.equal(sum(s.workers, 'messages_in'), 40);
	assert.equal(sum(s.workers, 'connections'), 11);
	assert.deepEqual(s.services.map((x) => [x.service, x.connections, x.messages_in, x.messages_out]), [['a%20b', 3, 0, 0], ['chat', 8, 40, 40]]);
	assert.equal(s.bridge.stored, 40);
	const list = await json(gw, 'sessions', 'chat');
	assert.equal(list.length, 8);
	for (const x of list) {
		const i = Number(x.user.slice(1));
		assert.deepEqual([x.messages_in, x.bytes_in, x.messages_out, x.bytes_out, x.unconfirmed, x.behind, x.state], [5, 5 * (10 + i), 5, 5 * (100 + i), 0, false, 'open']);
		assert.match(x.addr, /^127\.0\.0\.1:\d+$/);
		assert.match(x.conn, /^[0-9a-f]{16}$/);
	}
	assert.equal((await json(gw, 'sessions', 'a b', 'u1')).length, 1);
	assert.equal((await gw.ctl('sessions', 'nobody')).out, '', 'a heading is for people alone');
	for (const c of [...chat, ...news]) await c.close();
	await until('no connections', async () => (await status(gw)).total.connections === 0);
	assert.equal((await status(gw)).total.messages_in, 40, 'sums stay');
});

await test('counters never go back: worker and bridge killed, then fewer workers', async (t) => {
	const rig = await t.pair({ workers: 2 }), { gw } = rig;
	const clients = await until('some on the worker that stays', async () => {
		const some = await Promise.all(numbers(6).map((i) => t.client(gw, `chat/u${i}`)));
		if ((await json(gw, 'sessions')).some((x) => x.worker === 0)) return some;
		return Promise.all(some.map((c) => c.close())).then(() => null);
	});
	await traffic(rig, clients, 'chat', 4);
	await gw.murder('bridge');
	await until('another bridge', async () => (await status(gw)).bridge.starts === 2);
	await gw.murder('worker 1');
	await until('another worker', async () => (await status(gw)).workers.find((w) => w.worker === 1)?.starts === 2);
	const left = clients.filter((c) => !c.closed).length;
	await until('its connections are gone', async () => (await status(gw)).total.connections === left);
	const s = await status(gw);
	assert.equal(s.total.messages_in, 24);
	assert.equal(s.bridge.stored, 24);
	assert.equal(s.total.messages_out, 24);
	// All that live go to one worker, and take their figures along.
	gw.config.workers = 1;
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	await until('one worker', async () => (await status(gw)).workers.filter((w) => w.state === 'running').length === 1);
	const list = await json(gw, 'sessions');
	assert.equal(list.length, left);
	for (const x of list) assert.deepEqual([x.worker, x.messages_in, x.messages_out], [0, 4, 4]);
	assert.match((await gw.ctl('status')).out, /^worker 1 +ended/m);
});

await test('one that is behind, unconfirmed and not reading', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '60s', ping_interval: '60s', delivery: { window_messages: 4, user_buffer: '64k' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/slow/');
	await bus.publishAll(200, (i) => [recv('chat', 'slow'), `${i} ${'z'.repeat(1000)}`]);
	await until('behind', async () => (await json(gw, 'sessions'))[0]?.behind === true);
	const [x] = await json(gw, 'sessions');
	assert.ok(x.unconfirmed >= 1 && x.unconfirmed <= 4, JSON.stringify(x));
	const s = await status(gw);
	assert.equal(s.total.behind, 1);
	assert.equal(s.total.unconfirmed, x.unconfirmed);
});

await test('bridge and worker stand still: all figures are there at once', async (t) => {
	const { gw } = await t.pair({ workers: 2, hang_timeout: '60s' });
	await t.client(gw, 'chat/alice');
	const pids = [gw.pid('bridge'), gw.pid('worker 0')];
	for (const p of pids) process.kill(p, 'SIGSTOP');
	try {
		await until('both seen to hang', async () => {
			const s = await status(gw);
			return s.bridge.state === 'hangs' && s.workers.find((w) => w.worker === 0).state === 'hangs';
		}, 15000);
		for (const words of [['status'], ['sessions'], ['top', '-n', '1', '-d', '0.1']]) {
			const start = performance.now(), r = await gw.ctl(...words);
			assert.equal(r.code, 0, r.err);
			assert.ok(performance.now() - start < 2000 * SLOW);
		}
		assert.equal((await gw.ctl('sessions', 'chat', 'alice')).out.includes('alice'), true);
		const r = await gw.ctl('check');
		assert.equal(r.code, 2);
		assert.match(r.out, /processes +FAULT +2 workers, 1 of them not well; bridge hangs/);
		assert.match(r.out, /broker +FAULT +not known: the bridge hangs/);
		assert.match((await gw.ctl('status')).out, /^broker +not known: the bridge hangs, /m);
	} finally {
		for (const p of pids) process.kill(p, 'SIGCONT');
	}
});

await test('top: samples into a pipe; a name cannot write to the terminal', async (t) => {
	const { gw } = await t.pair({ workers: 2 });
	const c = await t.client(gw, 'ch%1B%5B2Jat/alice');
	const sends = setInterval(() => c.send('hello').catch(() => {}), 2);
	const r = await gw.ctl('top', '-n', '2', '-d', '0.3');
	assert.equal(r.code, 0, r.err);
	assert.equal((r.out.match(/^service /gm) ?? []).length, 2);
	assert.match(r.out, /^ch%1B\[2Jat +1 +\d/m);
	assert.match(r.out, /^worker [01] +[01] /m);
	assert.ok(!r.out.includes('\x1b'));
	const samples = await json(gw, 'top', '-n', '3', '-d', '0.2');
	clearInterval(sends);
	assert.equal(samples.length, 3);
	assert.ok(samples[2].services[0].messages_in > samples[0].services[0].messages_in);
	for (const bad of [['top', '-d', 'x'], ['top', '-n', '0'], ['top', 'what'], ['status', 'x'], ['check', 'y'], ['sessions', 'a', 'b', 'c']]) assert.equal((await gw.ctl(...bad)).code, 1, bad.join(' '));
});

await test('check: each question has a line, and an object', async (t) => {
	const { gw, nats } = await t.pair();
	const [good] = await json(gw, 'check');
	assert.deepEqual(Object.keys(good), ['configuration', 'wsgated', 'control', 'processes', 'broker']);
	for (const [k, v] of Object.entries(good)) assert.equal(v.good, true, `${k}: ${v.text}`);
	await until('a round trip', async () => (await status(gw)).bridge.rtt_us > 0);
	await nats.stop();
	await until('none any more', async () => (await status(gw)).bridge.rtt_us === 0);
	await until('the broker away', async () => (await json(gw, 'check'))[0].broker.good === false);
	assert.match((await gw.ctl('check')).out, /broker +FAULT +away/);
});
