// What the processes that meet clients and the broker may still do: nothing beyond their descriptors.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { test, assert, until } from './lib/scenario.mjs';
import { ownMounts } from './lib/proc.mjs';

const root = process.getuid() === 0;
const sanitized = /build-/.test(process.env.WSGATE_BUILD ?? '');

function status(pid) {
	const found = {};
	for (const line of fs.readFileSync(`/proc/${pid}/status`, 'utf8').split('\n')) {
		const [k, v] = line.split(/:\s*/);
		found[k] = (v ?? '').trim();
	}
	return found;
}

// Each child has its title before it drops anything; the filter comes last, NoNewPrivs before it. What never comes is said by who looks closer.
async function settled(gw, filter) {
	const confined = ({ pid }) => {
		const s = status(pid);
		return s.NoNewPrivs === '1' && s.Seccomp === filter;
	};
	await until('confined children', () => gw.children().every(confined)).catch(() => {});
}

// Every child of a gateway, with what it must be.
async function checkChildren(gw, uid, filter = sanitized ? '0' : '2') {
	await settled(gw, filter);
	const children = gw.children();
	assert.ok(children.length > 1);
	for (const c of children) {
		const s = status(c.pid), what = `${c.title}: `;
		for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.equal(s[set], '0000000000000000', what + set);
		if (root) assert.equal(s.CapBnd, '0000000000000000', `${what}CapBnd`);
		if (root) assert.equal(s.Groups, '', `${what}Groups`);
		assert.equal(s.NoNewPrivs, '1', `${what}NoNewPrivs`);
		assert.equal(s.Seccomp, filter, `${what}Seccomp`);
		if (uid !== undefined) {
			assert.equal(s.Uid, [uid, uid, uid, uid].join('\t'), `${what}Uid`);
			assert.notEqual(s.Gid.split('\t')[0], '0', `${what}Gid`);
		}
		if (root) {
			const limits = fs.readFileSync(`/proc/${c.pid}/limits`, 'utf8');
			assert.match(limits, /Max core file size +0 /, what);
			const [, soft, hard] = limits.match(/Max open files +(\d+) +(\d+)/);
			assert.equal(soft, hard, `${what}open files`);
		}
	}
	return children;
}

// A folder that the service's user may reach; the test's own is closed to others.
function openFolder(t) {
	fs.chmodSync(t.dir, 0o755);
}

async function talk(t, bus, gw, user) {
	const c = await t.client(gw, `chat/${user}`);
	await bus.publish(`ws.recv.chat.${user}`, 'hello');
	assert.equal((await c.next()).text, 'hello');
	c.send('and back');
	await until('what the client said', async () => (await bus.stored(`ws.send.chat.${user}`)).length > 0);
	return c;
}

await test('started as root: another user, no groups, no capabilities, a filter, no core', async (t) => {
	if (!root) t.skip('not root');
	openFolder(t);
	const nats = await t.nats();
	const gw = await t.gateway(nats, { config: { user: 'nobody' } });
	const bus = await nats.connect();
	const uid = execFileSync('id', ['-u', 'nobody'], { encoding: 'utf8' }).trim();
	await checkChildren(gw, uid);
	await talk(t, bus, gw, 'ann');
	// In the worker, in the bridge, and in their successors.
	await gw.murder('bridge');
	await gw.murder('worker 0');
	await until('both again', () => gw.children().length === 3 && gw.pid('bridge') && gw.pid('worker 0'));
	await gw.ready();
	await checkChildren(gw, uid);
	await talk(t, bus, gw, 'bob');
});

// As the systemd unit has it: ProtectProc=invisible.
await test('in a /proc that shows each process itself alone, all of them are known to live', async (t) => {
	const unshare = root && (await ownMounts());
	if (!unshare) t.skip(root ? 'no mount namespaces' : 'not root');
	openFolder(t);
	const gw = await t.gateway(await t.nats(), { config: { user: 'nobody', workers: 2 },
		via: [...unshare, 'sh', '-c', 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', 'sh'] });
	const up = async () => (await gw.admin('/metrics')).text.match(/^wsgate_(bridge_up|worker_up{.*}) 1$/gm)?.length;
	assert.equal(await up(), 3);
	await gw.murder('bridge');
	await until('another one', async () => gw.pid('bridge') && (await up()) === 3);
});

await test('nothing on the disk is for everybody', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { args: ['-o', `log.target=${path.join(t.dir, 'own.log')}`] });
	const bus = await nats.connect();
	await talk(t, bus, gw, 'ann');
	const run = path.join(gw.dir, 'run');
	assert.equal(fs.statSync(run).mode & 0o777, 0o750);
	const files = fs.readdirSync(run);
	assert.ok(files.some((f) => f.startsWith('segment')), files.join());
	for (const f of files) {
		const st = fs.lstatSync(path.join(run, f));
		if (st.isSocket()) assert.equal(st.mode & 0o777, 0o660, f);
		else if (!st.isSymbolicLink()) assert.equal(st.mode & 0o777, 0o600, f);
	}
	assert.equal(fs.statSync(path.join(t.dir, 'own.log')).mode & 0o777, 0o640);
});

await test('reload, new listeners, fewer workers and reopened logs go with the filter', async (t) => {
	if (root) openFolder(t);
	const logfile = path.join(t.dir, 'own.log');
	const nats = await t.nats();
	const gw = await t.gateway(nats, { config: { workers: 3, user: root ? 'nobody' : '' }, args: ['-o', `log.target=${logfile}`] });
	const bus = await nats.connect();
	const clients = [];
	for (let i = 0; i < 12; i++) clients.push(await t.client(gw, `chat/u${i}`));
	gw.config.workers = 1;
	gw.config.ping_interval = '5s';
	gw.writeConfig();
	gw.restarts = true;
	assert.equal((await gw.ctl('reload')).code, 0);
	await until('one worker', () => gw.children().length === 2, 30000);
	fs.renameSync(logfile, `${logfile}.1`);
	gw.signal('SIGUSR1');
	await until('a new log', () => fs.existsSync(logfile));
	for (let i = 0; i < 12; i++) {
		await bus.publish(`ws.recv.chat.u${i}`, `to ${i}`);
		assert.equal((await clients[i].next()).text, `to ${i}`);
	}
	const all = fs.readFileSync(`${logfile}.1`, 'utf8') + fs.readFileSync(logfile, 'utf8');
	assert.doesNotMatch(all, /forbidden|killed by a signal/);
	await checkChildren(gw);
});

await test('seccomp = off and core_dumps = on', async (t) => {
	const { gw } = await t.pair({ seccomp: 'off', core_dumps: 'on' });
	await settled(gw, '0');
	for (const c of gw.children()) {
		assert.equal(status(c.pid).Seccomp, '0', c.title);
		assert.equal(status(c.pid).NoNewPrivs, '1', c.title);
		const [, soft, hard] = fs.readFileSync(`/proc/${c.pid}/limits`, 'utf8').match(/Max core file size +(\w+) +(\w+)/);
		assert.equal(soft, hard);
	}
	assert.doesNotMatch(gw.log(), /without a filter/);
});

await test('a kernel without filters: a warning, and it runs', async (t) => {
	if (!['x64', 'arm64'].includes(os.arch())) t.skip(`its filter is not written for ${os.arch()}`);
	// Under a filter that has no call named seccomp, as in some containers.
	const helper = path.join(t.dir, 'no_seccomp.py');
	fs.writeFileSync(helper, `
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
nr = {'x86_64': 317, 'aarch64': 277}[os.uname().machine]
code = [(0x20, 0, 0, 0), (0x15, 0, 1, nr), (0x06, 0, 0, 0x50000 | 38), (0x06, 0, 0, 0x7fff0000)]
prog = b''.join(struct.pack('HBBI', *c) for c in code)
buf = ctypes.create_string_buffer(prog, len(prog))
fprog = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', len(code), ctypes.addressof(buf)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, fprog, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
`);
	const nats = await t.nats();
	const gw = await t.gateway(nats, { via: ['/usr/bin/python3', helper] });
	const warned = gw.log().match(/without a filter of system calls.*/g);
	assert.equal(warned?.length, 1, gw.log());
	await talk(t, await nats.connect(), gw, 'ann');
});

// As somebody would who has broken in: new code where a process comes back from waiting. Written from outside, because
// nothing in the program makes a forbidden call.
async function breakIn(pid) {
	const code = Buffer.from([0xb8, 59, 0, 0, 0, 0x0f, 0x05]); // mov $59 (execve), %eax; syscall
	const at = await until('it to wait for events', () => {
		const [nr, ...rest] = fs.readFileSync(`/proc/${pid}/syscall`, 'utf8').trim().split(' ');
		return ['232', '281'].includes(nr) && rest.at(-1);
	});
	const fd = fs.openSync(`/proc/${pid}/mem`, 'r+');
	try {
		fs.writeSync(fd, code, 0, code.length, Number(at));
	} catch (e) {
		if (e.code !== 'EIO') throw e;
		return false; // a kernel that lets nobody write there (proc_mem.force_override)
	} finally {
		fs.closeSync(fd);
	}
	return true;
}

for (const title of ['worker 0', 'bridge']) {
	await test(`${title}: a forbidden call ends it, the log says which, a successor serves`, async (t) => {
		if (!root) t.skip('not root');
		if (sanitized) t.skip('a sanitizer has no filter');
		if (os.arch() !== 'x64') t.skip(`no code to break in with for ${os.arch()}`);
		const { gw, bus } = await t.pair();
		gw.restarts = true;
		const pid = gw.pid(title);
		if (!(await breakIn(pid))) t.skip('this kernel lets nobody write into another process');
		await until('its end', () => gw.pid(title) && gw.pid(title) !== pid);
		await until('the words', () => /killed by a signal/.test(gw.log()));
		assert.match(gw.log(), new RegExp(`a process said child="?${title}"? text="forbidden system call: execve 59"`));
		assert.match(gw.log(), new RegExp(`killed by a signal child="?${title}"? .*signal=31 name=SYS`));
		await gw.ready();
		await talk(t, bus, gw, 'ann');
	});
}
