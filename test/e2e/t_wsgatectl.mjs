// The operator's tool against a running gateway.
import fs from 'node:fs';
import { test, assert, stays, until } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { Proc, cpuTicks, run } from './lib/proc.mjs';
import { WSGATECTL, WSGATED } from './lib/gateway.mjs';

await test('runtime_dir was changed in the file: it says how to reach the daemon', async (t) => {
	const { gw } = await t.pair();
	const old = gw.config.runtime_dir;
	gw.config.runtime_dir = `${old}-new`;
	gw.writeConfig();
	for (const words of [['status'], ['sessions'], ['check'], ['reload'], ['close', 'chat', 'alice']]) {
		const r = await gw.ctl(...words);
		assert.equal(r.code, 2, words[0]);
		assert.ok(r.err.includes(`wsgated runs (pid ${gw.proc.pid}) with another runtime_dir: until its restart use -o runtime_dir=${old}\n`), r.err);
		assert.notEqual((await gw.ctl('-o', `runtime_dir=${old}`, ...words)).code, 1);
	}
	assert.equal((await gw.ctl('-o', `runtime_dir=${old}`, 'status')).code, 0);
	const r = await gw.ctl('-o', `runtime_dir=${old}`, 'reload');
	assert.equal(r.code, 0, r.err);
	assert.match(r.out, /1 need a restart/);
	assert.match(gw.log(), /this key needs a restart: the old value stays until then key=runtime_dir/);
});

await test("a member of the service's group is told who may ask, not to look elsewhere", async (t) => {
	if (process.getuid() !== 0) return;
	fs.chmodSync(t.dir, 0o755);
	const { gw } = await t.pair({ user: 'nobody' }), tool = `${t.dir}/wsgatectl`;
	fs.copyFileSync(WSGATECTL, tool);
	const gid = fs.statSync(gw.config.runtime_dir).gid;
	const ask = (...words) => run('setpriv', ['--reuid', '4321', '--regid', String(gid), '--clear-groups', tool, '-c', gw.file, ...words]);
	for (const [words, hint] of [[['status'], 'Root and the service\'s account may read it.'], [['reload'], 'Root and the service\'s account may speak to it.']]) {
		const r = await ask(...words);
		assert.equal(r.code, 2, r.err);
		assert.ok(r.err.includes(hint), r.err);
		assert.doesNotMatch(r.err, /another runtime_dir/);
	}
	const r = await ask('-o', `runtime_dir=${gw.config.runtime_dir}-new`, 'status');
	assert.match(r.err, /with another runtime_dir: until its restart use -o runtime_dir=DIRECTORY, with the old one$/m);
});

await test('subject prints the two subjects', async (t) => {
	const nats = await t.nats({ start: false });
	const gw = await t.gateway(nats, { start: false });
	for (const [service, user, a, b] of [
		['chat', 'alice', 'ws.send.chat.alice', 'ws.recv.chat.alice'],
		['s.v', 'a b', 'ws.send.s%2Ev.a%20b', 'ws.recv.s%2Ev.a%20b'],
		['chat', 'a.b@c.org', 'ws.send.chat.a%2Eb@c%2Eorg', 'ws.recv.chat.a%2Eb@c%2Eorg'],
		['chat', '*>é%', 'ws.send.chat.%2A%3E%C3%A9%25', 'ws.recv.chat.%2A%3E%C3%A9%25'],
	]) {
		const r = await gw.ctl('subject', service, user);
		assert.equal(r.code, 0, r.err);
		assert.ok(r.out.split(/\s+/).includes(a) && r.out.split(/\s+/).includes(b), r.out);
	}
	for (const user of ['', 'x'.repeat(129)]) assert.notEqual((await gw.ctl('subject', 'chat', user)).code, 0);
});

await test('status and sessions', async (t) => {
	const { gw } = await t.pair({ workers: 2 });
	for (const u of ['alice', 'bob', 'b%20c']) await t.client(gw, `chat/${u}`);
	const status = await gw.ctl('status');
	assert.equal(status.code, 0, status.err);
	assert.match(status.out, /\b3\b/, 'three connections');
	await until('the sessions', async () => {
		const r = await gw.ctl('sessions');
		return r.code === 0 && /alice/.test(r.out) && /bob/.test(r.out) && /b(%20| )c/.test(r.out);
	});
});

await test('sessions of a daemon that was killed: none, and standard error says so', async (t) => {
	const { gw } = await t.pair();
	await t.client(gw, 'chat/alice');
	const before = await gw.ctl('sessions');
	assert.match(before.out, /alice/);
	assert.equal(before.err, '');
	await gw.massacre();
	for (const more of [[], ['--json']]) {
		let r; // the dead are seen until somebody reaps them
		await until('no session', async () => (r = await gw.ctl('sessions', ...more)).out === '');
		assert.equal(r.code, 0);
		assert.match(r.err, /^wsgatectl: wsgated does not run/);
	}
});

await test('send and tail stand in for a service', async (t) => {
	const { gw, bus } = await t.pair();
	const c = await t.client(gw, 'chat/a.b');
	const r = await gw.ctl('send', 'chat', 'a.b', 'hello');
	assert.equal(r.code, 0, r.err);
	assert.equal((await c.next()).text, 'hello');
	await bus.empty(recv('chat', 'a%2Eb'));
	const tail = new Proc(WSGATECTL, ['-c', gw.file, 'tail', 'chat']);
	t.atEnd(() => tail.kill());
	let n = 0;
	await until('tail shows what a client sends', async () => {
		assert.equal(tail.exit, null, tail.err);
		await c.send(`to the service ${n++}`);
		return /to the service \d+/.test(tail.out);
	});
	tail.signal('SIGINT');
	await tail.ended;
});

await test('check says what is well and what is not', async (t) => {
	const { gw, nats } = await t.pair();
	const good = await gw.ctl('check');
	assert.equal(good.code, 0, good.out + good.err);
	const faulty = (...more) => run(WSGATECTL, ['-c', gw.file, '-o', 'workers=many', 'check', ...more]);
	const text = await faulty();
	assert.equal(text.code, 1);
	assert.match(text.out, /^configuration +FAULT .*workers/);
	assert.match(text.err, /workers/);
	const json = JSON.parse((await faulty('--json')).out);
	assert.equal(json.configuration.good, false);
	assert.match(json.configuration.text, /workers/);
	await nats.stop();
	await until('its loss', async () => (await gw.ctl('check')).code !== 0);
});

await test('check and status: JSON also when what they cite is not UTF-8', async (t) => {
	const { gw } = await t.pair();
	fs.appendFileSync(gw.file, Buffer.from('auth "caf\xe9" { }\n', 'latin1'));
	const check = await gw.ctl('check', '--json');
	assert.equal(check.code, 1, check.err);
	assert.match(JSON.parse(check.out).configuration.text, /section "caf\?": has no keys/);
	assert.notEqual((await gw.ctl('-c', '/dev/null', '-o', `runtime_dir=${gw.config.runtime_dir}`, 'reload')).code, 0);
	gw.writeConfig();
	const status = await gw.ctl('status', '--json');
	assert.equal(status.code, 0, status.err);
	assert.match(JSON.parse(status.out).reload.text, /section "caf\?": has no keys/);
});

await test('no descriptor left in the master: the order waits, and nobody spins', async (t) => {
	const { gw } = await t.pair();
	const limit = async (n) => assert.equal((await run('prlimit', ['--pid', String(gw.master), `--nofile=${n}:`])).code, 0);
	const open = new Set(fs.readdirSync(`/proc/${gw.master}/fd`));
	let lowest = 0;
	while (open.has(String(lowest))) lowest++;
	await limit(lowest);
	let answered = false;
	const order = gw.ctl('reload').finally(() => (answered = true));
	await until('the log to say so', () => /cannot take a caller of the control socket in/.test(gw.log()));
	const before = cpuTicks(gw.master);
	await stays('waiting, and at rest', () => !answered && cpuTicks(gw.master) - before < 50, 1000); // of 100 in a second
	await limit(20000);
	const r = await order;
	assert.equal(r.code, 0, r.err);
});

await test('without a gateway it says so', async (t) => {
	const nats = await t.nats({ start: false });
	const gw = await t.gateway(nats, { start: false });
	const r = await gw.ctl('status');
	assert.notEqual(r.code, 0);
	assert.ok(r.err.trim().length > 5);
});

await test('top on a terminal: why it ended is read on the screen that comes back', async (t) => {
	const { gw } = await t.pair();
	const top = new Proc('script', ['-qec', `'${WSGATECTL}' -c '${gw.file}' top -d 0.1`, '/dev/null']);
	await until('figures', () => top.out.includes('connections'));
	gw.signal('SIGTERM');
	assert.equal((await top.ended).code, 2);
	const left = top.out.split('\x1b[?1049l');
	assert.equal(left.length, 2);
	assert.match(left[1], /segment: No such file/);
	assert.equal((await gw.exited()).code, 0);
});

await test('send needs no key of the gateway', async (t) => {
	const { gw, bus } = await t.pair(), file = `${gw.file}.tls`;
	fs.writeFileSync(file, `${fs.readFileSync(gw.file, 'utf8')}\ntls "127.0.0.1:1" { certificate = "/not/there.pem" key = "/not/there.key" }\n`);
	const r = await run(WSGATECTL, ['-c', file, 'send', 'chat', 'alice', 'hi']);
	assert.deepEqual([r.code, r.err], [0, '']);
	assert.equal((await bus.storedAll(recv('chat', 'alice'), 1)).length, 1);
	assert.equal((await run(WSGATED, ['-t', '-c', file])).code, 1);
});
