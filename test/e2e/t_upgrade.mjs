// SIGUSR2: the program on disk replaces the running one. No listener closes, connections go over.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until, stays } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { Proc, childrenOf, freePort, titleOf } from './lib/proc.mjs';
import { WSGATED, configText } from './lib/gateway.mjs';
import { CLOSE, PING, PONG, TEXT, upgrade as upgradeRequest } from './lib/raw.mjs';
import { BEHIND, behind } from './lib/behind.mjs';
import { visitors } from './lib/visitors.mjs';

function installText(gw, content) {
	const fresh = path.join(path.dirname(gw.opts.program), 'script');
	fs.writeFileSync(fresh, content, { mode: 0o755 });
	gw.install(fresh);
}

async function pair(t, config = {}, opts = {}) {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { config, start: false, ...opts });
	gw.opts.program = path.join(gw.dir, 'wsgated');
	gw.install();
	await gw.start();
	await said(gw, /master: ready/);
	return { nats, gw, bus: await nats.connect() };
}

async function upgrade(gw) {
	gw.install();
	gw.signal('SIGUSR2');
	await gw.replaced();
}

const said = (gw, re) => until(String(re), () => re.test(gw.log()));
const refusal = /the new program does not take over: the running one goes on/;

// It failed, and nobody noticed.
async function unharmed(t, gw, bus, all, pids) {
	assert.equal(gw.pidInFile(), gw.master);
	assert.equal(titleOf(gw.master), 'wsgated: master');
	if (pids) assert.deepEqual(gw.children().map((c) => c.pid).filter((p) => !pids.includes(p)), []);
	assert.equal(await gw.status('/readyz'), 200);
	for (const [i, c] of all.entries()) {
		await bus.publish(recv('chat', `u${i}`), 'still here');
		assert.equal((await c.next()).text, 'still here');
		assert.equal(c.closed, null);
	}
	await (await t.client(gw, 'chat/new')).ping();
	await until('one segment', () => gw.segments().length === 1);
	assert.equal((await gw.ctl('reload')).code, 0);
}

await test('connections go over with their messages, several times', async (t) => {
	const { gw, bus } = await pair(t, { workers: 2 });
	const all = await Promise.all(numbers(40).map((i) => t.client(gw, `chat/u${i}`)));
	const first = gw.proc;
	for (const round of numbers(3)) {
		await Promise.all(all.map((c) => c.send(`before ${round}`)));
		const old = gw.master;
		await upgrade(gw);
		assert.notEqual(gw.master, old);
		await Promise.all(all.map((c, i) => bus.publish(recv('chat', `u${i}`), round)));
		for (const c of all) {
			assert.equal((await c.next()).text, round);
			assert.equal(c.closed, null);
		}
		await until('the end of the old one', () => !titleOf(old).startsWith('wsgated'));
		await until('one segment', () => gw.segments().length === 1);
	}
	assert.deepEqual(await first.ended, { code: 0, signal: null });
	await until('all stored', async () => (await bus.count('ws.send.>')) === 120);
	await bus.empty('ws.recv.>');
	assert.equal(await bus.count(send('chat', 'u3')), 3);
}, { ms: 120000 });

// The bridge of before ends with all connections there: what the quicker one confirmed is not all that both have.
await test('who is slower than another connection of his user lacks nothing', async (t) => {
	const { gw, bus } = await pair(t, BEHIND);
	const { alice, quick, slow } = await behind(t, gw, bus);
	await upgrade(gw);
	assert.equal((await bus.stored(alice)).length, 5);
	slow.taken = 0;
	assert.equal((await slow.next(TEXT)).data.toString(), 'first');
	for (const i of numbers(5)) {
		assert.equal((await slow.next(TEXT)).data.toString(), i);
		slow.send(PONG, (await slow.next(PING)).data);
	}
	await bus.empty(alice);
	for (const c of quick) assert.equal(c.got.length, 6, 'no doubles');
});

await test('no connect is refused or reset meanwhile; the family is whole, and answers', async (t) => {
	const { gw } = await pair(t, { workers: 3 });
	const faults = [];
	const end = visitors(gw, faults);
	for (const workers of [3, 1, 4]) {
		gw.config.workers = workers; // idle slots' sockets are lent
		gw.writeConfig();
		await upgrade(gw);
		await until('the family', () => gw.children().filter((c) => /worker|bridge/.test(c.title)).length === workers + 1);
		await gw.ready();
		assert.equal((await gw.ctl('reload')).code, 0);
		assert.match((await gw.ctl('status')).out, new RegExp(`master pid ${gw.master}`));
		await until('all well, the broker too', async () => (await gw.ctl('check')).code === 0);
	}
	gw.config.workers = 2;
	gw.writeConfig();
	gw.signal('SIGHUP');
	await until('two workers', () => gw.children().filter((c) => /worker/.test(c.title)).length === 2);
	await end(100);
	assert.deepEqual([...new Set(faults)], []);
}, { ms: 120000 });

await test('what needs a restart otherwise, and addresses, may change with it', async (t) => {
	const { gw } = await pair(t, { max_workers: 4, max_connections: 1000 });
	const more = await freePort();
	gw.config.max_workers = 8;
	gw.config.max_connections = 3000;
	gw.config.workers = 6;
	gw.config.listen = [`127.0.0.1:${more}`];
	gw.writeConfig();
	const old = gw.port;
	await upgrade(gw);
	await gw.ready();
	gw.port = more;
	await (await Client.connect(gw.wsUrl('chat/alice'))).close();
	gw.port = old;
	await until('the old address is closed', () => Client.connect(gw.wsUrl('chat/alice')).then((c) => (c.terminate(), false), (e) => e.code === 'ECONNREFUSED'));
	assert.match((await gw.ctl('reload')).out, /0 keys changed, 0 need/);
});

await test('another pidfile or runtime_dir takes a restart, and says so', async (t) => {
	const { gw, bus } = await pair(t);
	const all = [await t.client(gw, 'chat/u0')];
	const pids = gw.children().map((c) => c.pid);
	for (const key of ['pidfile', 'runtime_dir']) {
		const before = gw.log().length;
		fs.writeFileSync(gw.file, configText({ ...gw.config, [key]: `${gw.config[key]}.other` }));
		gw.signal('SIGUSR2');
		await until('the refusal', () => new RegExp(`why="${key} is .* takes a restart`).test(gw.log().slice(before)) && refusal.test(gw.log().slice(before)));
		gw.writeConfig();
		await until('the end of the new one', () => /the new program ended .*status=2/.test(gw.log().slice(before)));
	}
	await unharmed(t, gw, bus, all, pids);
});

for (const [what, content, line] of [
	['exits', '#!/bin/sh\necho no such luck >&2\nexit 3\n', /the new program ended .*status=3/],
	['is killed', '#!/bin/sh\nkill -9 $$\n', /the new program was killed .*signal=9/],
	['is no program', 'rubbish', /cannot be executed|the new program ended .*status=127/],
]) {
	await test(`a new program that ${what}: the old one goes on`, async (t) => {
		const { gw, bus } = await pair(t);
		const all = await Promise.all(numbers(5).map((i) => t.client(gw, `chat/u${i}`)));
		const pids = gw.children().map((c) => c.pid);
		installText(gw, content);
		gw.signal('SIGUSR2');
		await said(gw, refusal);
		await said(gw, line);
		await unharmed(t, gw, bus, all, pids);
		await upgrade(gw); // and the next one is good
	});
}

await test('a faulty configuration: the fault is named, the old one goes on', async (t) => {
	const { gw, bus } = await pair(t);
	const all = [await t.client(gw, 'chat/u0')];
	const pids = gw.children().map((c) => c.pid);
	fs.appendFileSync(gw.file, 'no_such_key = 1\n');
	gw.signal('SIGUSR2');
	await said(gw, /no_such_key/);
	await said(gw, refusal);
	await said(gw, /the new program ended/);
	gw.writeConfig();
	await unharmed(t, gw, bus, all, pids);
});

await test('a new program that hangs is ended after its time; a stop does not wait for it', async (t) => {
	const { gw } = await pair(t);
	await t.client(gw, 'chat/u0');
	installText(gw, '#!/bin/sh\nsleep 1000 & echo $! $$ >"$0.pids"; wait\n');
	gw.signal('SIGUSR2');
	const pids = await until('its pids', () => {
		const f = `${gw.opts.program}.pids`;
		return fs.existsSync(f) && fs.readFileSync(f, 'utf8').split(/\s+/).filter(Boolean).map(Number);
	});
	gw.signal('SIGUSR2');
	await said(gw, /is not replaced why="it is being replaced already"/);
	assert.equal((await gw.ctl('reload')).code, 2);
	gw.signal('SIGTERM');
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
	await until('the end of both', () => pids.every((p) => !titleOf(p)));
});

// A new program that does not begin before it is told to.
function installWaiting(gw) {
	const real = `${gw.opts.program}.real`, go = `${gw.opts.program}.go`;
	fs.copyFileSync(WSGATED, real);
	installText(gw, `#!/bin/sh\nwhile [ ! -e ${go} ]; do sleep 0.05; done\nexec ${real} "$@"\n`);
	return () => fs.writeFileSync(go, '');
}

// Between the end of the old bridge and the beginning of the new one: a worker does not move until the end of `fn`.
async function midway(gw, fn) {
	const pid = gw.pid('worker 0');
	gw.restarts = true;
	const go = await hold(pid);
	gw.signal('SIGUSR2');
	await said(gw, /connections go to the new program/);
	await fn(Number(/ready to take over pid=(\d+)/.exec(gw.log())[1]));
	go();
}

async function serves(t, gw, bus) {
	await gw.replaced();
	await gw.ready();
	const c = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'hello');
	assert.equal((await c.next()).text, 'hello');
	await until('one segment', () => gw.segments().length === 1);
	assert.equal((await gw.ctl('reload')).code, 0);
}

await test('the old master is killed before the new one is ready: the new one serves', async (t) => {
	const { gw, bus } = await pair(t);
	const go = installWaiting(gw);
	gw.signal('SIGUSR2');
	await said(gw, /the new program has all that it needs/);
	process.kill(gw.proc.pid, 'SIGKILL');
	await gw.proc.ended;
	go();
	await serves(t, gw, bus);
});

await test('the old master is killed, and its bridge has still to store something: there are never two', async (t) => {
	const { gw, bus, nats } = await pair(t);
	const go = installWaiting(gw), c = await t.client(gw, 'chat/alice'), old = gw.pid('bridge');
	await nats.pause();
	await c.send('on its way');
	gw.restarts = true;
	gw.signal('SIGUSR2');
	await said(gw, /the new program has all that it needs/);
	const heir = childrenOf(gw.proc.pid).find((p) => !/worker|bridge/.test(p.title)).pid;
	process.kill(gw.proc.pid, 'SIGKILL');
	await gw.proc.ended;
	go();
	await said(gw, /ready to take over/);
	await stays('the old bridge alone', () => titleOf(old).includes('bridge') && !childrenOf(heir).some((p) => /bridge/.test(p.title)), 1500);
	nats.resume();
	await serves(t, gw, bus);
	assert.equal(await bus.count(send('chat', 'alice')), 1);
});

await test('the old master is killed while connections move: the new one serves', async (t) => {
	const { gw, bus } = await pair(t);
	await midway(gw, async () => {
		process.kill(gw.proc.pid, 'SIGKILL');
		await gw.proc.ended;
	});
	await serves(t, gw, bus);
});

await test('the new one is killed while connections move: those that did not move stay', async (t) => {
	const { gw, bus } = await pair(t, { workers: 1 });
	const all = await Promise.all(numbers(10).map((i) => t.client(gw, `chat/u${i}`)));
	const worker = gw.pid('worker 0');
	await midway(gw, async (pid) => {
		process.kill(pid, 'SIGKILL');
		await said(gw, /all serve as before/);
	});
	assert.match(gw.log(), refusal);
	assert.equal(gw.pid('worker 0'), worker);
	await gw.ready();
	await unharmed(t, gw, bus, all);
	await upgrade(gw);
});

await test('more workers, and the new one is killed: who came meanwhile did not wait for it', async (t) => {
	const { gw, bus } = await pair(t, { workers: 1, max_workers: 4 });
	gw.config.workers = 4;
	gw.writeConfig();
	let came = [];
	await midway(gw, async (pid) => {
		came = await Promise.all(numbers(40).map(() => t.raw(gw)));
		came.forEach((r, i) => r.write(upgradeRequest(`/ws/chat/u${i}`)));
		process.kill(pid, 'SIGKILL');
		await said(gw, /all serve as before/);
	});
	for (const r of came) assert.equal((await r.response()).status, 101);
	assert.match(gw.log(), refusal);
	await unharmed(t, gw, bus, []);
});

await test('a worker and the bridge die while a new program prepares: they come back', async (t) => {
	const { gw, bus } = await pair(t);
	const go = installWaiting(gw);
	gw.signal('SIGUSR2');
	await until('the new one', () => gw.children().length === 4);
	await gw.murder('worker 1');
	await gw.murder('bridge');
	await until('both again', () => gw.pid('worker 1') && gw.pid('bridge'));
	go();
	await serves(t, gw, bus);
});

await test('a stop that comes meanwhile: the new one gets it', async (t) => {
	const { gw } = await pair(t);
	await midway(gw, async () => {
		gw.signal('SIGTERM');
		await said(gw, /the stop follows when it is clear which program serves/);
	});
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
	await until('no pidfile', () => !fs.existsSync(gw.pidfile));
	assert.deepEqual(gw.segments(), []);
});

for (const second of ['SIGQUIT', 'SIGTERM'])
	await test(`a second stop meanwhile, ${second}, ends both at once`, async (t) => {
		const { gw } = await pair(t, { drain_delay: '1h' });
		let heir;
		await midway(gw, async (pid) => {
			heir = pid;
			gw.signal('SIGTERM');
			await said(gw, /the stop follows/);
			gw.signal(second);
			await said(gw, /asked again to stop: at once/);
		});
		assert.equal((await gw.exited()).signal, null);
		await until('the end of the new one', () => !titleOf(heir));
		assert.equal(fs.existsSync(gw.pidfile), false);
	});

await test('the old program still waits for somebody when the new one is stopped: a start does not', async (t) => {
	const { gw, nats, bus } = await pair(t, { pong_timeout: '1h', drain_timeout: '1h' });
	const slow = await t.raw(gw);
	await slow.open('/ws/chat/slow/');
	assert.equal((await gw.ctl('close', 'chat', 'slow')).code, 0);
	await slow.next(CLOSE); // and it answers none
	const old = gw.proc;
	await upgrade(gw);
	assert.notEqual(gw.master, old.pid);
	gw.signal('SIGQUIT');
	await until('the end of the new one', () => !titleOf(gw.heir));
	gw.heir = null;
	assert.equal(titleOf(old.pid), 'wsgated: master');
	const next = await t.gateway(nats, { config: { runtime_dir: gw.config.runtime_dir } });
	await next.ready();
	await (await t.client(next, 'chat/alice')).ping();
	// What it says there is stored by the one that runs now.
	await until('what was there to be read', () => /an older segment was found/.test(next.log()));
	await next.ctl('status');
	for (const i of numbers(3)) {
		await slow.send(TEXT, `late ${i}`);
		await bus.storedAll(send('chat', 'slow'), Number(i) + 1);
	}
	process.kill(old.pid, 'SIGQUIT');
	await old.ended;
	await (await t.client(next, 'chat/bob')).ping();
	await until('one segment', () => next.segments().length === 1);
});

await test('in the background: what the new program says is in the log', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { start: false });
	const log = path.join(t.dir, 'wsgated.log');
	gw.opts.program = path.join(gw.dir, 'wsgated');
	gw.install();
	gw.config.log = { level: 'debug', target: log };
	gw.writeConfig();
	const read = () => (fs.existsSync(log) ? fs.readFileSync(log, 'utf8') : '');
	assert.equal((await new Proc(gw.opts.program, ['-c', gw.file]).ended).code, 0);
	gw.heir = gw.pidInFile();
	gw.proc = { exit: true, pid: 0, kill: async () => {} };
	await gw.ready();
	installText(gw, '#!/bin/sh\necho "no such luck" >&2\nexit 3\n');
	gw.signal('SIGUSR2');
	await until('its words', () => /the new program says line="no such luck"/.test(read()));
	await until('the end', () => /the new program ended/.test(read()));
	assert.match(read(), refusal);
	fs.appendFileSync(gw.file, 'no_such_key = 1\n');
	gw.install();
	gw.signal('SIGUSR2');
	await until('the fault', () => /the new program says .*no_such_key/.test(read()));
	gw.writeConfig();
	await until('over', () => read().match(/the new program ended/g)?.length === 2);
	await upgrade(gw);
	await gw.ready();
	await (await Client.connect(gw.wsUrl('chat/alice'))).close();
	assert.equal(fs.readlinkSync(`/proc/${gw.master}/fd/2`), '/dev/null');
	await stays('alive', () => titleOf(gw.master).startsWith('wsgated'), 300);
});
