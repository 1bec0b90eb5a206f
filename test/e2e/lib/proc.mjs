// Processes, ports and waiting. What is started here is ended here, by its process group; what leads a group of its own, by who knows of it.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';

// Sanitized programs are slower.
export const SLOW = Number(process.env.WSGATE_SLOW ?? 0) || (/build-/.test(process.env.WSGATE_BUILD ?? '') ? 4 : 1);

const groups = new Set(), lastly = new Set();
process.on('exit', () => {
	lastly.forEach((fn) => fn());
	groups.forEach(endGroup);
});
for (const s of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(s, () => process.exit(1));

// fn is called when this process ends, unless what is returned has been called before.
export function atExit(fn) {
	lastly.add(fn);
	return () => lastly.delete(fn);
}

export function endGroup(pid) {
	try {
		process.kill(-pid, 'SIGKILL');
	} catch { /* gone */ }
	groups.delete(pid);
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Polls until cond() gives something true, and returns that.
export async function until(what, cond, ms = 20000) {
	const end = performance.now() + ms * SLOW;
	for (let step = 5; ; step = Math.min(step * 1.5, 100)) {
		const v = await cond();
		if (v) return v;
		if (performance.now() > end) throw new Error(`not in time (${ms * SLOW} ms): ${what}`);
		await sleep(step);
	}
}

// The value of a promise, or an error that says what did not come.
export function within(what, promise, ms = 20000) {
	let timer;
	const late = new Promise((_, fail) => {
		timer = setTimeout(() => fail(new Error(`not in time (${ms * SLOW} ms): ${what}`)), ms * SLOW);
	});
	return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// A condition that must stay true for a while: the only use of time as such.
export async function stays(what, cond, ms = 1000) {
	const end = performance.now() + ms;
	while (performance.now() < end) {
		if (!(await cond())) throw new Error(`did not stay: ${what}`);
		await sleep(50);
	}
}

// Processor time of a process so far, in ticks of 10 ms.
export function cpuTicks(pid) {
	const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
	return Number(stat[11]) + Number(stat[12]);
}

const UNFIT = new Set([10080]); // fetch refuses to go there

const listens = (where) => new Promise((done) => {
	const s = net.createServer();
	s.once('error', () => done(null)).listen(where, () => done(s));
});

// A free loopback port below the ephemeral range, so that no outgoing connection takes it meanwhile. Nobody is given it again as
// long as this process lives, also while a server is being restarted there: a name of the same network says that it is taken.
export async function freePort() {
	for (;;) {
		const port = 10000 + Math.floor(Math.random() * 20000);
		const claim = UNFIT.has(port) ? null : await listens(`\0wsgate-test-port-${port}`);
		if (!claim) continue;
		claim.unref();
		const s = await listens({ port, host: '127.0.0.1' });
		if (!s) continue;
		await new Promise((done) => s.close(done));
		return port;
	}
}

export class Proc {
	// logfile takes both outputs, appended; without one stdout and stderr are collected in .out, .err.
	constructor(cmd, args, { env = {}, logfile, cwd } = {}) {
		const clean = { ...process.env, ...env };
		if (!('NATS_BROKER_URL' in env)) delete clean.NATS_BROKER_URL;
		if (!('PUBSUB_BROKER' in env)) delete clean.PUBSUB_BROKER;
		const fd = logfile ? fs.openSync(logfile, 'a') : 'pipe';
		this.name = cmd;
		this.out = this.err = '';
		this.child = spawn(cmd, args, { cwd, detached: true, env: clean, stdio: ['pipe', fd, fd] });
		if (logfile) fs.closeSync(fd);
		this.pid = this.child.pid;
		if (this.pid) groups.add(this.pid);
		this.child.stdin.on('error', () => {});
		this.child.stdout?.setEncoding('utf8').on('data', (s) => (this.out += s));
		this.child.stderr?.setEncoding('utf8').on('data', (s) => (this.err += s));
		this.exit = null;
		this.ended = new Promise((done) => {
			this.child.once('error', (e) => done((this.exit = { code: -1, signal: null, error: e.message })));
			this.child.once('close', (code, signal) => done((this.exit = { code, signal })));
		});
	}

	signal(sig) {
		if (!this.exit) process.kill(this.pid, sig);
	}

	// Ends the whole group at once; waits for the leader.
	async kill() {
		if (this.pid) endGroup(this.pid);
		if (!this.exit) await this.ended;
	}
}

// Runs a program to its end.
export async function run(cmd, args, { input, ms = 20000, env } = {}) {
	const p = new Proc(cmd, args, { env });
	if (input !== undefined) p.child.stdin.write(input);
	p.child.stdin.end();
	try {
		const { code, signal } = await within(`the end of ${cmd} ${args.join(' ')}`, p.ended, ms);
		return { code, signal, out: p.out, err: p.err };
	} finally {
		await p.kill();
	}
}

// [{ pid, title }] of the living children of a process.
export function childrenOf(ppid) {
	const found = [];
	for (const d of fs.readdirSync('/proc')) {
		if (!/^\d+$/.test(d)) continue;
		try {
			const stat = fs.readFileSync(`/proc/${d}/stat`, 'utf8');
			const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
			if (Number(parent) === ppid && state !== 'Z') found.push({ pid: Number(d), title: titleOf(Number(d)) });
		} catch { /* gone meanwhile */ }
	}
	return found;
}

// The words before a command that give it mounts of its own; null where the kernel gives none.
export async function ownMounts() {
	const words = process.getuid() === 0 ? ['unshare', '-m'] : ['unshare', '-Urm'];
	return (await run(words[0], [...words.slice(1), 'true'])).code === 0 ? words : null;
}

// As ps shows it.
export function titleOf(pid) {
	try {
		return fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').replace(/\0+$/, '').replace(/\0/g, ' ');
	} catch {
		return '';
	}
}
