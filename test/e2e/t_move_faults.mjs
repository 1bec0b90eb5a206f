// What goes wrong while connections move from one worker to another: those whom it does not concern stay.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until, stays, within } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { recv, send } from './lib/nats.mjs';
import { CLOSE, PING, PONG, TEXT, frame } from './lib/raw.mjs';
import { numbers } from './lib/client.mjs';
import { childrenOf } from './lib/proc.mjs';
import { OTHER_LAYOUT } from './lib/gateway.mjs';
import { notInTime } from './lib/moving.mjs';

async function pair(t, config, opts = {}) {
	const nats = await t.nats(opts.nats);
	const gw = await t.gateway(nats, { config, start: false, ...opts });
	gw.opts.program = path.join(gw.dir, 'wsgated');
	gw.install();
	await gw.start();
	await said(gw, /master: ready/);
	gw.restarts = true;
	return { nats, gw, bus: await nats.connect() };
}

const said = (gw, re, ms) => until(String(re), () => re.test(gw.log()), ms);
const users = (t, gw, n) => Promise.all(numbers(n).map((i) => t.client(gw, `chat/u${i}`)));
const workers = (pid) => childrenOf(pid).filter((c) => /worker \d/.test(c.title));

// Between the end of the old bridge and the beginning of the new one: the workers named stand still until `fn` is over. With another layout
// (foreign) they must have answered before, and the bridge waits until they stand.
async function midway(gw, names, fn, foreign = false) {
	const pids = names.map((n) => gw.pid(n)), bridge = gw.pid('bridge');
	const stand = () => Promise.all(pids.map(hold));
	const bridgeGoes = foreign && await hold(bridge);
	let going = foreign ? [] : await stand();
	gw.signal('SIGUSR2');
	if (foreign) {
		for (const n of names) await said(gw, new RegExp(`${n}: accepts no more`));
		going = await stand();
		bridgeGoes();
	}
	await said(gw, /connections go to the new program/);
	await fn(Number(/.*ready to take over pid=(\d+)/s.exec(gw.log())[1]));
	for (const go of going) go();
}

async function fewer(gw, n) {
	gw.config.workers = n;
	gw.writeConfig();
	const r = await gw.ctl('reload');
	assert.equal(r.code, 0, r.err);
}

async function allServed(bus, all) {
	for (const [i, c] of all.entries()) {
		assert.equal(c.closed, null, `client ${i} is connected`);
		await bus.publish(recv('chat', `u${i}`), `for ${i}`);
		assert.equal((await c.next()).text, `for ${i}`);
	}
}

await test('after a replacement that failed midway, workers take connections of others', async (t) => {
	const { gw, bus } = await pair(t, { workers: 3 });
	const all = await users(t, gw, 30);
	await midway(gw, ['worker 0', 'worker 1', 'worker 2'], (pid) => process.kill(-pid, 'SIGKILL'));
	await said(gw, /all serve as before/);
	await fewer(gw, 1);
	await until('one worker', () => workers(gw.master).length === 1);
	await allServed(bus, all);
});

await test('a worker of the new program is killed before it has taken anything: another one takes it', async (t) => {
	const { gw, bus } = await pair(t, { workers: 2, log: { level: 'trace' } });
	const all = await users(t, gw, 20);
	await midway(gw, ['worker 0', 'worker 1'], async (pid) => {
		await until('two sockets for its workers', () => gw.log().match(/worker \d: received .*type=ARRIVE/g)?.length === 2);
		for (const w of workers(pid)) process.kill(w.pid, 'SIGKILL');
	});
	await gw.replaced();
	await allServed(bus, all);
	assert.match(gw.log(), /connections are with the new program moved=20 left=0/);
});

await test('fewer workers: one that is killed before it has taken anything', async (t) => {
	const { gw } = await pair(t, { workers: 3 });
	await users(t, gw, 30);
	const pid = gw.pid('worker 0');
	await hold(pid);
	gw.config.workers = 2;
	gw.writeConfig();
	gw.signal('SIGHUP');
	await said(gw, /worker 2: accepts no more/);
	process.kill(pid, 'SIGKILL');
	await until('two workers', () => workers(gw.master).length === 2 && gw.pid('worker 0') !== pid);
	await said(gw, /a worker has handed its connections over.*left=0/);
});

await test('a message under way that is too big for the new program: 1009, and the others go on', async (t) => {
	const { gw, bus } = await pair(t, { workers: 1, max_message: '4m' }, { nats: { conf: 'max_payload: 8MB' } });
	const big = frame(TEXT, 'x'.repeat(3 << 20));
	const raw = await t.raw(gw), other = await t.client(gw, 'chat/other');
	await raw.open('/ws/chat/big/');
	await raw.write(big.subarray(0, 2 << 20));
	gw.config.max_message = '64k';
	gw.writeConfig();
	gw.signal('SIGUSR2');
	await gw.replaced();
	await raw.write(big.subarray(2 << 20));
	await other.send('goes on');
	assert.equal((await raw.next(CLOSE)).code, 1009);
	await bus.storedAll(send('chat', 'other'), 1);
	assert.equal(await bus.count(send('chat', 'big')), 0);
});

await test('refused after the program was replaced: that client is told', async (t) => {
	const { gw, nats, bus } = await pair(t, { workers: 1, broker: { grace: '1h' } });
	const [alice, bob] = [await t.client(gw, 'chat/alice'), await t.client(gw, 'chat/bob')];
	await nats.stop();
	await said(gw, /the broker is away/);
	await alice.send('x'.repeat(100000));
	await alice.send('behind it');
	await bob.send('fine');
	await Promise.all([alice.ping(), bob.ping()]);
	gw.signal('SIGUSR2');
	await gw.replaced();
	fs.appendFileSync(nats.file, 'max_payload: 40000\n');
	await nats.start();
	await bus.storedAll(send('chat', 'bob'), 1, 30000);
	assert.equal((await alice.ended(30000)).code, 1009);
	assert.equal(await bus.count(send('chat', 'alice')), 0, 'nothing with a hole before it');
	assert.equal(bob.closed, null);
});

await test('a Close is not answered before what was sent to the program of before is stored', async (t) => {
	const { gw, nats, bus } = await pair(t, { workers: 1, broker: { grace: '1h' }, drain_timeout: '1m' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await nats.stop();
	await said(gw, /the broker is away/);
	await r.send(TEXT, 'before');
	await r.send(PING, 'x');
	await r.next(PONG);
	gw.signal('SIGUSR2');
	await gw.replaced();
	let answer = null;
	await r.send(CLOSE, Buffer.from([0x03, 0xe8]));
	const closed = r.next(CLOSE, 60000).then((f) => (answer = f));
	await stays('no answer', () => !answer, 1500);
	await nats.start();
	assert.equal((await closed).code, 1000);
	assert.equal(await bus.count(send('chat', 'alice')), 1);
}, { ms: 90000 });

await test('no descriptor left where they go: what finds room moves, and the hand-over ends', async (t) => {
	const { gw, bus } = await pair(t, { workers: 2 }, { nofile: 120 });
	const all = await users(t, gw, 130);
	await fewer(gw, 1);
	await until('one worker', () => workers(gw.master).length === 1);
	const status = async () => JSON.parse((await gw.ctl('status', '--json')).out).total.connections;
	const open = () => all.map((c, i) => [c, i]).filter(([c]) => !c.closed);
	await until('the others to know that they are closed', async () => open().length === await status());
	const left = open();
	assert.ok(left.length > 80 && left.length < 120, String(left.length));
	for (const [c, i] of left) {
		await bus.publish(recv('chat', `u${i}`), 'here');
		assert.equal((await c.next()).text, 'here');
	}
	assert.doesNotMatch(gw.log(), /makes no sense/);
});

await test('a handshake that moves and cannot be finished in time: 503, and no 101 before it', async (t) => {
	const { gw } = await pair(t, { workers: 2, handshake_timeout: '5s' });
	const raws = await Promise.all(numbers(40).map(() => t.raw(gw)));
	await notInTime(gw, raws);
});

await test('closed by the operator while it waits to move: its Pong still counts', async (t) => {
	const { gw, nats, bus } = await pair(t, { workers: 2, pong_timeout: '60s', handshake_timeout: '60s', log: { level: 'trace' } });
	// These keep the hand-over waiting.
	for (const r of await Promise.all(numbers(8).map(() => t.raw(gw)))) await r.write('GET /ws/chat');
	const raws = await Promise.all(numbers(8).map(async (i) => {
		const r = await t.raw(gw);
		await r.open(`/ws/chat/u${i}/`);
		await bus.publish(recv('chat', `u${i}`), 'once');
		return { r, ping: await r.next(PING) };
	}));
	await nats.pause();
	await Promise.all(raws.map(({ r }) => r.send(TEXT, 'not stored yet')));
	await until('all taken', async () => (await gw.figures()).total.messages_in === 8);
	await fewer(gw, 1);
	await said(gw, /worker 1: received .*type=HEIR/); // it gives, and waits with those
	for (const i of raws.keys()) assert.equal((await gw.ctl('close', 'chat', `u${i}`)).code, 0);
	await Promise.all(raws.map(({ r, ping }) => r.send(PONG, ping.data)));
	nats.resume();
	for (const { r } of raws) {
		assert.equal((await r.next(CLOSE)).code, 4002);
		await r.send(CLOSE, Buffer.from([4002 >> 8, 4002 & 255]));
	}
	await bus.empty('ws.recv.>');
	await until('all stored', async () => (await bus.count('ws.send.>')) === 8);
	t.dropClients();
	await until('one worker', () => workers(gw.master).length === 1);
});

await test('closed by the client a moment before the program is replaced: answered when all is stored', async (t) => {
	const { gw, nats, bus } = await pair(t, { workers: 1, log: { level: 'trace' } });
	const c = await t.client(gw, 'chat/alice');
	await nats.pause();
	await c.send('last words');
	const ring = async () => (await gw.figures()).workers[0].up_ring_bytes;
	const message = await until('the message', ring);
	const end = c.close();
	await until('the question whether it is stored', async () => (await ring()) > message);
	gw.signal('SIGUSR2');
	await said(gw, /bridge: received .*type=STOP/);
	nats.resume();
	assert.equal((await end).code, 1000);
	await bus.storedAll(send('chat', 'alice'), 1);
	await gw.replaced();
});

await test('a program of another layout whose master is killed midway: the next replacement works', async (t) => {
	const { gw, bus } = await pair(t, { workers: 1 });
	gw.install(OTHER_LAYOUT);
	await midway(gw, ['worker 0'], async () => {
		process.kill(gw.proc.pid, 'SIGKILL');
		await gw.proc.ended;
	}, true);
	await gw.replaced();
	await gw.ready();
	gw.install();
	gw.signal('SIGUSR2');
	await gw.replaced();
	await allServed(bus, [await t.client(gw, 'chat/u0')]);
});

await test('a program of another layout, and a worker that hangs: refused; then it works', async (t) => {
	const { gw, bus } = await pair(t, { workers: 2 });
	const all = await users(t, gw, 20), hangs = gw.pid('worker 0');
	gw.install(OTHER_LAYOUT);
	const go = await hold(hangs);
	gw.signal('SIGUSR2');
	await said(gw, /the running one goes on why="a worker does not answer"/);
	go();
	await said(gw, /all serve as before/);
	await allServed(bus, all);
	gw.signal('SIGUSR2');
	await gw.replaced();
	await allServed(bus, all);
});

await test('a replacement fails while the broker is away: what went to the failed one keeps its place', async (t) => {
	const { gw, nats, bus } = await pair(t, { workers: 2, hang_timeout: 0, broker: { grace: '1h' } });
	const all = await users(t, gw, 20);
	await nats.stop();
	await said(gw, /the broker is away/);
	await Promise.all(all.map((c) => c.send('one')));
	await Promise.all(all.map((c) => c.ping()));
	const moved = [];
	await midway(gw, ['worker 0'], async (pid) => {
		const hear = (c, i) => within('a pong', c.ping(), 5000).then(() => moved.push(i), () => {});
		await Promise.all(all.map(hear));
		assert.ok(moved.length > 0 && moved.length < all.length, String(moved.length));
		await Promise.all(moved.map((i) => all[i].send('two')));
		await Promise.all(moved.map((i) => all[i].ping()));
		process.kill(-pid, 'SIGKILL');
	});
	await said(gw, /all serve as before/);
	await nats.start();
	for (const i of moved) assert.deepEqual((await bus.storedAll(send('chat', `u${i}`), 2, 30000)).map((m) => m.text), ['one', 'two']);
});

await test('closed by the operator while it moves to a worker that dies: closed all the same', async (t) => {
	const { gw } = await pair(t, { workers: 2, log: { level: 'trace' } });
	const all = await users(t, gw, 24);
	const pid = gw.pid('worker 0');
	await hold(pid);
	gw.config.workers = 1;
	gw.writeConfig();
	gw.signal('SIGHUP');
	await said(gw, /worker 1: received .*type=HEIR/); // all are offered
	for (const i of all.keys()) assert.equal((await gw.ctl('close', 'chat', `u${i}`)).code, 0);
	await until('worker 1 to know', async () => (await gw.figures()).workers[1].down_ring_bytes === 0);
	process.kill(pid, 'SIGKILL');
	const codes = (await Promise.all(all.map((c) => c.ended()))).map((e) => e.code);
	assert.deepEqual([...new Set(codes)].sort(), [1006, 4002]);
});
