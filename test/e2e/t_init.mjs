// The init script, run as init runs it, over a tree that "make install" made: what each action does and
// says, and its exit status. It needs root; without it, that is what is proved.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test, assert, until, within } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { BUILD, configText } from './lib/gateway.mjs';
import { Proc, atExit, childrenOf, run, titleOf } from './lib/proc.mjs';

const TREE = path.resolve(new URL('.', import.meta.url).pathname, '../..');
const root = process.getuid() === 0;

// An installed gateway of the test's own: nothing of the machine's /etc, /run and /var is touched.
class Service {
	constructor(t, gw) {
		this.gw = gw; // ports, configuration and admin page; never started itself
		this.prefix = path.join(gw.dir, 'usr');
		this.etc = path.join(gw.dir, 'etc');
		this.conf = path.join(this.etc, 'wsgate/wsgate.conf');
		this.script = path.join(this.etc, 'init.d/wsgated');
		this.pidfile = path.join(gw.dir, 'pids/wsgated.pid');
		const forget = atExit(() => this.kill());
		t.atEnd(() => (this.kill(), forget()));
	}

	async make(target) {
		const r = await run('make', ['-s', '-C', TREE, '-o', 'all', `B=${BUILD}`, `PREFIX=${this.prefix}`, `SYSCONFDIR=${this.etc}`,
			`LOCALSTATEDIR=${path.join(this.gw.dir, 'var')}`, target], { env: { MAKEFLAGS: '', MAKELEVEL: '' } });
		assert.equal(r.code, 0, r.out + r.err);
	}

	write(more = {}) {
		fs.writeFileSync(this.conf, configText({ ...this.gw.config, log: { level: 'debug', target: `${this.gw.dir}.log` }, ...more }));
	}

	// One more line that is wrong. Returns where.
	spoil() {
		this.write();
		const line = fs.readFileSync(this.conf, 'utf8').split('\n').length;
		fs.appendFileSync(this.conf, 'no_such_key = 1\n');
		return `${this.conf}:${line}`;
	}

	async init(action, code, ms = 30000) {
		const r = await run(this.script, action ? [action] : [], { ms });
		assert.equal(r.code, code, `${action}: ${r.out}${r.err}`);
		return r;
	}

	pid() {
		return Number(fs.readFileSync(this.pidfile, 'utf8'));
	}

	answers() {
		return this.gw.status('/livez').then((s) => s === 200);
	}

	// Clients are let in: start returns before the first contact with the broker.
	ready() {
		return until('/readyz 200', async () => (await this.gw.status('/readyz')) === 200);
	}

	// Whatever became of the test.
	kill() {
		if (!fs.existsSync(this.pidfile)) return;
		const pid = this.pid();
		if (pid && titleOf(pid).startsWith('wsgated: master')) process.kill(pid, 'SIGKILL');
	}
}

async function installed(t, config = {}) {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { start: false, config });
	const s = new Service(t, gw);
	await s.make('install');
	fs.appendFileSync(path.join(s.etc, 'default/wsgated'), `PIDFILE=${s.pidfile}\n`);
	s.write();
	return s;
}

await test('systemctl reload is back with the outcome: what the unit would run', async (t) => {
	const s = await installed(t);
	s.gw.opts.args = ['-v', '-p', s.gw.pidfile];
	await s.gw.start();
	const unit = fs.readFileSync(path.join(s.prefix, 'lib/systemd/system/wsgated.service'), 'utf8');
	const [, line] = /^ExecReload=(.*)$/m.exec(unit);
	const words = line.replace('$DAEMON_OPTS', '-v -f -o drain_timeout=3s').replace(s.conf, s.gw.file).replace('/run/wsgate/wsgated.pid', s.gw.pidfile).split(' ');
	s.gw.config.ping_interval = '21s';
	s.gw.writeConfig();
	const good = await run(words[0], words.slice(1));
	assert.equal(good.code, 0, good.err);
	assert.match(s.gw.log(), /changed key=ping_interval value=21s/);
	fs.appendFileSync(s.gw.file, 'no_such_key = 1\n');
	const bad = await run(words[0], words.slice(1));
	assert.notEqual(bad.code, 0);
	assert.match(bad.err, /no_such_key/);
	s.gw.writeConfig();
	s.gw.config.listen = [`127.0.0.1:${s.gw.nats.port}`];
	s.gw.writeConfig();
	const taken = await run(words[0], words.slice(1));
	assert.equal(taken.code, 2);
	assert.match(taken.err, /not reloaded: .*in use/);
});

await test('make install keeps what an operator wrote; make uninstall leaves it', async (t) => {
	const s = await installed(t);
	const before = fs.readFileSync(s.conf, 'utf8');
	await s.make('install');
	assert.equal(fs.readFileSync(s.conf, 'utf8'), before);
	const unit = fs.readFileSync(path.join(s.prefix, 'lib/systemd/system/wsgated.service'), 'utf8');
	assert.ok(unit.includes(`ExecStart=${s.prefix}/sbin/wsgated`) && unit.includes(s.conf), unit);
	const verdict = await run('systemd-analyze', ['verify', '--man=no', path.join(s.prefix, 'lib/systemd/system/wsgated.service')]);
	if (verdict.code >= 0) assert.deepEqual([verdict.code, verdict.out + verdict.err], [0, '']); // else not installed here
	const page = fs.readFileSync(path.join(s.prefix, 'share/man/man8/wsgated.8'), 'utf8');
	assert.ok(page.includes(s.conf) && !page.includes(' /etc/wsgate/'));
	// and the programs would be made again for that place
	const dry = await run('make', ['-n', '-C', TREE, `B=${BUILD}`, `SYSCONFDIR=${s.etc}`, 'all'], { env: { MAKEFLAGS: '', MAKELEVEL: '' } });
	const made = dry.out.split('\n').filter((l) => l.includes(`-DCONFIG_FILE='"${s.conf}"'`)).map((l) => / (\S+)\.c$/.exec(l)[1]);
	assert.deepEqual(made.sort(), ['src/ctl/wsgatectl', 'src/main', 'src/worker/live']);
	await s.make('uninstall');
	const left = fs.readdirSync(s.gw.dir, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => e.name);
	assert.deepEqual(left.sort(), ['wsgate', 'wsgate.conf', 'wsgate.conf', 'wsgated'], 'rule, configurations, default');
});

await test('no such action: 2 and the list; nothing that changes a service without root: 4', async (t) => {
	const s = await installed(t);
	for (const action of ['', 'fly']) {
		const r = await s.init(action, 2);
		for (const a of ['start', 'stop', 'restart', 'reload', 'force-reload', 'upgrade', 'status', 'configtest']) assert.ok(r.err.includes(a));
	}
	await s.init('status', 3);
	await s.init('configtest', 0);
	if (!root) for (const a of ['start', 'stop', 'restart', 'reload', 'upgrade']) await s.init(a, 4);
});

if (root) {
	await test('start, start again, status, stop, stop again', async (t) => {
		const s = await installed(t);
		await s.init('start', 0);
		assert.ok(await s.answers(), 'start returns when it answers');
		const pid = s.pid();
		assert.equal(titleOf(pid), 'wsgated: master');
		await s.init('status', 0);
		await s.init('start', 0);
		assert.equal(s.pid(), pid, 'the same one');
		await s.init('stop', 0);
		await until('its end', () => titleOf(pid) === '');
		assert.equal(fs.existsSync(s.pidfile), false);
		await s.init('status', 3);
		await s.init('stop', 0);
		await s.init('start', 0);
		assert.ok(await s.answers(), 'a second time');
		await s.init('stop', 0);
	});

	await test('stop waits longer than drain_timeout, with clients', async (t) => {
		const s = await installed(t, { drain_timeout: '3s', pong_timeout: '60s' });
		await s.init('start', 0);
		await s.ready();
		await s.gw.nats.connect().then((bus) => bus.publish('ws.recv.chat.alice', 'x'));
		const r = await t.raw(s.gw); // answers no Ping: the drain takes its time
		await r.open('/ws/chat/alice/');
		await r.next(9);
		const pid = s.pid();
		const start = performance.now();
		await s.init('stop', 0);
		await until('its end', () => titleOf(pid) === '');
		assert.ok(performance.now() - start > 2500, 'a graceful stop');
	});

	await test('restart: another process, also when none runs', async (t) => {
		const s = await installed(t);
		await s.init('restart', 0);
		const pid = s.pid();
		await s.init('restart', 0);
		assert.notEqual(s.pid(), pid);
		await until('its end', () => titleOf(pid) === '');
		assert.ok(await s.answers());
		await s.init('stop', 0);
	});

	await test('a faulty configuration: shown, refused, and what runs goes on', async (t) => {
		const s = await installed(t);
		await s.init('start', 0);
		const pid = s.pid();
		const where = s.spoil();
		for (const action of ['configtest', 'restart', 'reload', 'force-reload', 'upgrade']) {
			const r = await s.init(action, 6);
			assert.ok(r.err.includes(where) && r.err.includes('no_such_key'), `${action}: ${r.err}`);
		}
		assert.equal(s.pid(), pid);
		assert.ok(await s.answers());
		await s.init('start', 0); // it runs: nothing to do
		await s.init('status', 0);
		await s.init('stop', 0);
		await until('its end', () => titleOf(pid) === '');
		const r = await s.init('start', 6);
		assert.ok(r.err.includes(where), r.err);
		await s.init('status', 3);
		s.write();
		await s.init('start', 0);
		await s.init('stop', 0);
	});

	await test('upgrade returns when another program serves, or with 1', async (t) => {
		const s = await installed(t);
		const program = path.join(s.prefix, 'sbin/wsgated'), good = fs.readFileSync(program);
		const install = (content) => {
			fs.writeFileSync(`${program}.new`, content, { mode: 0o755 });
			fs.renameSync(`${program}.new`, program);
		};
		await s.init('start', 0);
		await s.ready();
		const c = await t.client(s.gw, 'chat/alice');
		for (let round = 0; round < 2; round++) {
			const pid = s.pid();
			install(good);
			await s.init('upgrade', 0);
			assert.notEqual(s.pid(), pid);
			assert.equal(titleOf(s.pid()), 'wsgated: master');
			assert.ok(await s.answers());
			await s.init('status', 0);
			await until('the end of the old one', () => !titleOf(pid).startsWith('wsgated'));
		}
		assert.equal(c.closed, null);
		const pid = s.pid();
		// It passes the check of the configuration, and fails then.
		install('#!/bin/sh\nfor a; do [ "$a" != -t ] || exit 0; done\n[ "$WSGATE_WILL" ] && exit 3\n');
		s.write({ drain_timeout: '60s' }); // for so long, and longer, it would wait for one that has not begun
		const r = await s.init('upgrade', 1);
		s.write();
		assert.match(r.out + r.err, /has not taken over; the log says why/);
		assert.equal(s.pid(), pid);
		install(good);
		await s.init('upgrade', 0);
		await s.init('stop', 0);
	});

	await test('upgrade waits as long as the replacement does', async (t) => {
		const s = await installed(t);
		await s.init('start', 0);
		await s.ready();
		const pid = s.pid(), worker = childrenOf(pid).find((c) => /worker/.test(c.title)).pid;
		const go = await hold(worker); // a reload is under way for as long as it does not answer
		t.atEnd(() => titleOf(worker) && process.kill(worker, 'SIGCONT'));
		await s.init('reload', 0);
		const upgrade = new Proc(s.script, ['upgrade']);
		t.atEnd(() => upgrade.kill());
		await until('that it waits', () => /will be replaced when that is over/.test(fs.readFileSync(`${s.gw.dir}.log`, 'utf8')));
		await until('that it says so', () => /not begun yet; the log says what it waits for/.test(upgrade.out));
		assert.deepEqual([s.pid(), upgrade.exit], [pid, null]);
		go();
		assert.equal((await within('the upgrade', upgrade.ended, 30000)).code, 0, upgrade.out + upgrade.err);
		assert.notEqual(s.pid(), pid);
		await s.ready();
		await s.init('stop', 0);
	});

	await test('reload and upgrade reach the master; 7 when none runs', async (t) => {
		const s = await installed(t);
		for (const a of ['reload', 'force-reload', 'upgrade']) await s.init(a, 7);
		await s.init('start', 0);
		for (const a of ['reload', 'force-reload']) await s.init(a, 0);
		await until('the service', () => s.answers());
		await s.init('status', 0);
		await s.init('stop', 0);
	});

	await test('a pidfile that was left behind, also with the pid of somebody else', async (t) => {
		const s = await installed(t);
		await s.init('start', 0);
		const pid = s.pid();
		process.kill(pid, 'SIGKILL');
		await until('the end', () => !fs.existsSync(`/proc/${pid}`)); // a dead one that pid 1 has not taken leave of has its name still
		await s.init('status', 1);
		await s.init('start', 0);
		assert.notEqual(s.pid(), pid);
		await s.init('stop', 0);
		for (const other of [process.pid, 4194304, '']) {
			fs.writeFileSync(s.pidfile, `${other}\n`);
			await s.init('status', other === '' ? 4 : 1);
			await s.init('reload', 7);
			await s.init('stop', 0);
			assert.ok(fs.existsSync(s.pidfile), 'it may be locked by one that is starting');
			fs.writeFileSync(s.pidfile, `${other}\n`);
			await s.init('start', 0);
			await s.init('status', 0);
			await s.init('stop', 0);
		}
	});

	await test('a user that is not there: 6, and what runs goes on', async (t) => {
		const s = await installed(t);
		await s.init('start', 0);
		const pid = s.pid();
		s.write({ user: 'nobody-of-that-name' });
		const r = await s.init('restart', 6);
		assert.match(r.err, /there is no such user/);
		assert.equal(s.pid(), pid);
		await s.init('status', 0);
		s.write();
		await s.init('stop', 0);
	});

	await test('a port that is taken: 1, with the port in the reason; nothing is left', async (t) => {
		const s = await installed(t);
		const thief = net.createServer();
		await new Promise((done) => thief.listen(s.gw.port, '127.0.0.1', done));
		t.atEnd(() => thief.close());
		for (const action of ['start', 'restart', 'start']) {
			const r = await s.init(action, 1);
			assert.ok(r.err.includes(String(s.gw.port)), r.err);
			await s.init('status', 3);
		}
		await new Promise((done) => thief.close(done));
		await s.init('start', 0);
		await s.init('stop', 0);
	});

	await test('the folder of the pidfile is made, and belongs to the user of the service', async (t) => {
		fs.chmodSync(t.dir, 0o755);
		const s = await installed(t, { user: 'nobody' });
		s.write({ runtime_dir: path.dirname(s.pidfile) });
		await s.init('start', 0);
		const st = fs.statSync(path.dirname(s.pidfile));
		assert.equal(st.mode & 0o777, 0o750);
		assert.notEqual(st.uid, 0);
		assert.equal(fs.statSync(s.pidfile).uid, 0, 'the pidfile is root\'s');
		await s.init('restart', 0);
		await s.init('stop', 0);
	});

	await test('logrotate\'s rule: the daemon goes on in a new file', async (t) => {
		const s = await installed(t);
		const log = path.join(s.gw.dir, 'var/log/wsgate/wsgated.log');
		s.write({ log: { target: log } });
		await s.init('start', 0);
		const rule = fs.readFileSync(path.join(s.etc, 'logrotate.d/wsgate'), 'utf8');
		assert.ok(rule.includes(path.dirname(log)), rule);
		const postrotate = /postrotate\n(.*?)endscript/s.exec(rule)[1].replaceAll('/run/wsgate/wsgated.pid', s.pidfile);
		fs.renameSync(log, `${log}.1`);
		assert.equal((await run('/bin/sh', ['-c', postrotate])).code, 0);
		await until('a new file', () => fs.existsSync(log) && /opened again/.test(fs.readFileSync(log, 'utf8')));
		await s.init('stop', 0);
		assert.match(fs.readFileSync(log, 'utf8'), /ended/);
		assert.equal((await run('/bin/sh', ['-c', postrotate])).code, 0, 'nothing runs: no fault');
	});

	await test('a program that is not installed: start and stop say nothing, the others 5; but one that is named and not there is a fault', async (t) => {
		const s = await installed(t);
		fs.unlinkSync(path.join(s.prefix, 'sbin/wsgated'));
		for (const a of ['start', 'stop']) assert.equal((await s.init(a, 0)).out, '');
		for (const a of ['restart', 'reload', 'configtest']) await s.init(a, 5);
		await s.init('status', 3);
		fs.appendFileSync(path.join(s.etc, 'default/wsgated'), 'DAEMON=/usr/sbin/wsgatde\n');
		for (const a of ['start', 'stop', 'restart']) assert.match((await s.init(a, 5)).err, /wsgatde/);
	});
} else {
	await test('what each action does', (t) => t.skip('not root'));
}
