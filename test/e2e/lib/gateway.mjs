// A wsgated of our own: configuration written from an object, started in the foreground, watched.
import fs from 'node:fs';
import path from 'node:path';
import assert from 'node:assert/strict';
import { Proc, SLOW, atExit, childrenOf, endGroup, freePort, run, titleOf, until, within } from './proc.mjs';

export const BUILD = process.env.WSGATE_BUILD ?? path.resolve(new URL(".", import.meta.url).pathname, '../../../build');
export const WSGATED = path.join(BUILD, 'wsgated');
export const OTHER_LAYOUT = path.join(BUILD, 'test/wsgated-other-layout');
export const WSGATECTL = path.join(BUILD, 'wsgatectl');

const quote = (s) => `"${String(s).replace(/[\\"$]/g, '\\$&')}"`;

function value(v) {
	if (Array.isArray(v)) return `{${v.map(quote).join(', ')}}`;
	return typeof v === 'number' ? String(v) : quote(v);
}

function section(head, keys) {
	return `${head} {\n${Object.entries(keys).map(([k, v]) => `\t${k} = ${value(v)}\n`).join('')}}\n`;
}

// { workers: 2, broker: { url: "…" } } in the syntax of wsgate.conf; auth: { chat: { … } } is a section auth "chat", and so with tls and service;
// streams: { … } are sections stream with a title.
export function configText(conf) {
	let out = '';
	for (const [k, v] of Object.entries(conf)) {
		if (k === 'auth' || k === 'tls' || k === 'service') {
			for (const [title, keys] of Object.entries(v)) out += section(`${k} ${quote(title)}`, keys);
		} else if (k === 'streams') {
			for (const [title, keys] of Object.entries(v)) out += section(`stream ${quote(title)}`, keys);
		} else if (v !== null && typeof v === 'object' && !Array.isArray(v)) {
			out += section(k, v);
		} else {
			out += `${k} = ${value(v)}\n`;
		}
	}
	return out;
}

let counter = 0;

export class Gateway {
	// opts: config (laid over the defaults of the tests), args, env, nofile (limit of open files), via (command before it),
	// program (instead of the built one), under (valgrind …)
	constructor(t, nats, opts) {
		this.t = t;
		this.nats = nats;
		this.opts = opts;
		this.dir = path.join(t.dir, `gateway${counter++}`);
		this.logfile = `${this.dir}.log`;
		this.proc = null;
		this.heir = null; // pid of the master that replaced the one that we started
		this.restarts = false; // the test kills processes itself
		this.forget = atExit(() => this.endAll());
	}

	async prepare() {
		fs.mkdirSync(this.dir);
		this.port = await freePort();
		this.adminPort = await freePort();
		this.tlsPort = await freePort();
		this.file = path.join(this.dir, 'wsgate.conf');
		this.pidfile = path.join(this.dir, 'wsgated.pid');
		const own = this.opts.config ?? {};
		const base = {
			workers: 2,
			max_workers: 4,
			max_connections: 4000,
			user: '',
			pidfile: this.pidfile,
			runtime_dir: path.join(this.dir, 'run'),
			listen: [`127.0.0.1:${this.port}`],
			drain_timeout: '2s',
			log: { level: 'debug' },
			broker: { url: this.nats.url },
			admin: { listen: `127.0.0.1:${this.adminPort}` },
		};
		this.config = { ...base, ...own };
		for (const k of ['log', 'broker', 'admin']) this.config[k] = { ...base[k], ...own[k] };
		this.writeConfig();
	}

	// Whole or not at all: a gateway may read it at any moment.
	writeConfig() {
		const mode = fs.existsSync(this.file) ? fs.statSync(this.file).mode & 0o777 : 0o644;
		fs.writeFileSync(`${this.file}.new`, configText(this.config), { mode });
		fs.chmodSync(`${this.file}.new`, mode);
		fs.renameSync(`${this.file}.new`, this.file);
	}

	async start(ready = true) {
		assert.ok(!this.proc || this.proc.exit, 'runs already');
		const limit = this.opts.nofile ? ['prlimit', `--nofile=${this.opts.nofile}`] : [];
		const [cmd, ...args] = [...limit, ...(this.opts.via ?? []), ...(this.opts.under ?? []), this.opts.program ?? WSGATED, '-f', '-c', this.file, ...(this.opts.args ?? [])];
		this.proc = new Proc(cmd, args, { logfile: this.logfile, env: this.opts.env });
		this.forget ??= atExit(() => this.endAll());
		if (ready) await this.ready();
		// A worker is ready before all are, and only then the pid is there.
		if (ready && this.config.pidfile) await until('the pidfile', () => this.proc.exit || (fs.existsSync(this.config.pidfile) && fs.readFileSync(this.config.pidfile, 'utf8')));
		if (!ready) await until('the admin listener', () => this.proc.exit || this.admin('/livez').then(() => true, () => false));
		this.family = this.children().map((c) => c.pid);
	}

	async ready(ms = 20000) {
		await until('/readyz 200', async () => {
			if (this.proc.exit && !this.heir) throw new Error(`wsgated ended: ${JSON.stringify(this.proc.exit)}\n${this.log().slice(-2000)}`);
			return (await this.status('/readyz')) === 200;
		}, ms);
	}

	// The status of a page of the admin listener, 0 when there is no answer.
	status(page) {
		return this.admin(page).then((r) => r.status, () => 0);
	}

	async admin(page) {
		const r = await fetch(`http://127.0.0.1:${this.adminPort}${page}`, { headers: { connection: 'close' }, signal: AbortSignal.timeout(5000 * SLOW) });
		return { status: r.status, text: await r.text(), headers: r.headers };
	}

	// where: "chat/alice" (percent-encoded by the caller), "" for cookies, "/…" a path as it is
	wsUrl(where) {
		return `ws://127.0.0.1:${this.port}${where.startsWith('/') ? where : `/ws/${where}`}`;
	}

	wssUrl(where, host = '127.0.0.1') {
		return this.wsUrl(where).replace(/^ws:..[^/]*/, `wss://${host}:${this.tlsPort}`);
	}

	get master() {
		return this.heir ?? this.proc.pid;
	}

	children() {
		return childrenOf(this.master);
	}

	pidInFile() {
		return Number(fs.readFileSync(this.pidfile, 'utf8'));
	}

	// As a package manager does it: another file takes the name of opts.program.
	install(program = WSGATED) {
		fs.copyFileSync(program, `${this.opts.program}.new`);
		fs.renameSync(`${this.opts.program}.new`, this.opts.program);
	}

	// Another program has taken over, and serves.
	async replaced(ms) {
		const before = this.master;
		this.restarts = true;
		this.heir = await until('another pid in the pidfile', () => this.pidInFile() !== before && this.pidInFile(), ms);
		await until('its own processes', () => this.children().length > 1);
	}

	// The pid of the child with that title ("bridge", "worker 0").
	pid(title) {
		return this.children().find((c) => c.title.startsWith(`wsgated: ${title}`))?.pid;
	}

	// kill -9 of one child; resolves when it is gone.
	async murder(title) {
		const pid = this.pid(title);
		assert.ok(pid, `no process "wsgated: ${title}"`);
		this.restarts = true;
		process.kill(pid, 'SIGKILL');
		await until(`the death of ${title}`, () => !this.children().some((c) => c.pid === pid));
		return pid;
	}

	// kill -9 of every process of the gateway.
	async massacre() {
		this.restarts = true;
		await this.proc.kill();
	}

	signal(sig) {
		if (this.heir) process.kill(this.heir, sig);
		else this.proc.signal(sig);
	}

	exited(ms = 15000) {
		return within('the end of wsgated', this.proc.ended, ms);
	}

	log() {
		return fs.existsSync(this.logfile) ? fs.readFileSync(this.logfile, 'utf8') : '';
	}

	// Its shared-memory files, those of others in its folder among them.
	segments() {
		return fs.readdirSync(this.config.runtime_dir).filter((f) => f.startsWith('segment.'));
	}

	// What "wsgatectl status" and "sessions" know, as objects.
	async figures() {
		return JSON.parse((await this.ctl('status', '--json')).out);
	}

	async sessions(...names) {
		return (await this.ctl('sessions', '--json', ...names)).out.split('\n').filter(Boolean).map((l) => JSON.parse(l));
	}

	ctl(...args) {
		return run(WSGATECTL, ['-c', this.file, ...args]);
	}

	// Programs that replace another one lead a group of their own.
	endAll() {
		const masters = [this.proc?.pid, this.heir].filter(Boolean);
		const now = fs.existsSync(this.pidfile ?? '') ? this.pidInFile() : 0;
		if (titleOf(now) === 'wsgated: master') masters.push(now);
		for (const pid of masters.flatMap((m) => [...childrenOf(m).map((c) => c.pid), m])) endGroup(pid);
	}

	async kill() {
		this.endAll();
		this.forget?.();
		this.forget = null;
		await this.proc?.kill();
	}

	// After a test that went well: nobody died, and TERM ends it with 0.
	async endWell() {
		if (this.heir) {
			await until('the end of the one that was replaced', () => this.proc.exit);
			this.signal('SIGTERM');
			await until('the end of the one that replaced it', () => !fs.existsSync(this.pidfile) && !titleOf(this.heir));
		}
		if (!this.proc || this.proc.exit) return;
		if (!this.restarts) {
			const now = this.children().map((c) => c.pid);
			assert.deepEqual(this.family.filter((p) => !now.includes(p)), [], 'a process of the gateway died during the test');
		}
		this.signal('SIGTERM');
		assert.deepEqual(await this.exited(), { code: 0, signal: null }, 'wsgated after TERM');
	}
}

// wsgated run to its end: -t, -T, or a start that must fail.
export const wsgated = (...args) => run(WSGATED, args);
