// One test: a folder of its own, brokers, gateways and clients that end with it, a line for the runner.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';
import { SLOW, within } from './proc.mjs';
import { BUILD, Gateway } from './gateway.mjs';
import { Nats } from './nats.mjs';
import { Client } from './client.mjs';
import { Raw } from './raw.mjs';

export { assert };
export { until, within, stays, sleep } from './proc.mjs';

const dirs = new Set();
process.on('exit', () => dirs.forEach(remove)); // behind proc.mjs, which ends what writes there

function remove(dir) {
	try {
		fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
		dirs.delete(dir);
	} catch { /* what was killed a moment ago may write still: who made TMPDIR removes it */ }
}

class Skipped extends Error {}

class Scenario {
	constructor(name) {
		this.name = name;
		this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wsgate-e2e-'));
		dirs.add(this.dir);
		this.ends = []; // async functions, called last first
		this.gateways = [];
		this.clients = []; // to be dropped before the gateway is told to end
	}

	atEnd(fn) {
		this.ends.push(fn);
	}

	// Ends the test, which counts as neither passed nor failed: what it needs is not to be had here.
	skip(reason) {
		throw new Skipped(reason);
	}

	// A nats-server with JetStream, running.
	async nats(opts = {}) {
		const n = new Nats(this, opts);
		this.atEnd(() => n.kill());
		if (opts.start === false) await n.address();
		else await n.start();
		return n;
	}

	// A gateway, ready unless { start: false } or { ready: false }.
	async gateway(nats, opts = {}) {
		const g = new Gateway(this, nats, opts);
		await g.prepare();
		this.gateways.push(g);
		this.atEnd(() => g.kill());
		if (opts.start !== false) await g.start(opts.ready);
		return g;
	}

	// The usual pair: { nats, bus, gw }. bus is a connected client of the broker.
	async pair(config = {}, natsOpts = {}) {
		const nats = await this.nats(natsOpts);
		const gw = await this.gateway(nats, { config });
		return { nats, gw, bus: await nats.connect() };
	}

	// A WebSocket client (npm ws), connected.
	async client(gw, where, opts = {}) {
		const c = await Client.connect(gw.wsUrl(where), opts);
		this.clients.push(() => c.terminate());
		return c;
	}

	// A connected socket that speaks only what it is told to.
	async raw(gw) {
		const r = await Raw.connect(gw.port);
		this.clients.push(() => r.destroy());
		return r;
	}

	dropClients() {
		for (const fn of this.clients.splice(0)) fn();
	}

	async end() {
		this.dropClients();
		for (const fn of this.ends.reverse()) await Promise.resolve(fn()).catch(() => {});
	}

	logs() {
		return fs.readdirSync(this.dir).filter((f) => f.endsWith('.log')).map((f) => path.join(this.dir, f));
	}
}

function sanitizerReports() {
	const dir = process.env.WSGATE_SAN;
	if (!dir) return [];
	return fs.readdirSync(dir).filter((f) => f.startsWith('san')).map((f) => path.join(dir, f)).filter(says);
}

// All that a process says which was killed while it looked for leaks.
const KILLED = /^==\d+==Unable to get registers from thread \d+\.\n/gm;

function says(file) {
	return fs.readFileSync(file, 'utf8').replace(KILLED, '') !== '';
}

function keepLogs(t) {
	const base = path.basename(process.argv[1]).replace(/^[a-z]+_|\.mjs$/g, '');
	const suite = path.basename(path.dirname(process.argv[1]));
	const keep = path.join(BUILD, 'test', suite, 'logs', base, t.name.replace(/[^\w.-]+/g, '_').slice(0, 60));
	fs.mkdirSync(keep, { recursive: true });
	for (const f of t.logs()) fs.copyFileSync(f, path.join(keep, path.basename(f)));
	console.log(`logs: ${keep}`);
	for (const f of t.logs().filter((l) => l.includes('gateway'))) {
		console.log(`${path.basename(f)}, the end:`);
		console.log(fs.readFileSync(f, 'utf8').trimEnd().split('\n').slice(-25).map((l) => l.slice(0, 300)).join('\n'));
	}
}

let running = 0;

// Runs fn(t). The gateway must live through it with all its processes, and end well afterwards.
export async function test(name, fn, { ms = 60000 } = {}) {
	if (process.env.WSGATE_ONLY && !name.includes(process.env.WSGATE_ONLY)) return;
	running++;
	const t = new Scenario(name);
	const before = new Set(sanitizerReports());
	const start = performance.now();
	const seconds = () => ((performance.now() - start) / 1000).toFixed(2);
	try {
		await within('the end of the test', fn(t), ms);
		t.dropClients();
		for (const g of t.gateways) await g.endWell();
		const reports = sanitizerReports().filter((f) => !before.has(f));
		assert.equal(reports.map((f) => fs.readFileSync(f, 'utf8')).join('\n'), '', 'sanitizer report');
		console.log(`ok ${name} ${seconds()}`);
	} catch (e) {
		if (e instanceof Skipped) return void console.log(`skip ${name}: ${e.message}`);
		console.log(`not ok ${name} ${seconds()}`);
		const lines = (e.stack ?? String(e)).split('\n').filter((l) => !/node:internal/.test(l));
		console.log(lines.slice(0, 40).map((l) => l.slice(0, 240)).join('\n'));
		for (const f of sanitizerReports().filter((r) => !before.has(r))) {
			console.log(fs.readFileSync(f, 'utf8').split('\n').slice(0, 60).join('\n'));
			before.add(f);
		}
		keepLogs(t);
		process.exitCode = 1;
	} finally {
		await t.end();
		remove(t.dir);
		running--;
	}
}

// The file is through, whatever it waited for between its tests: no handle keeps node any more.
import(pathToFileURL(process.argv[1]).href).then(() => {
	if (running) console.log('not ok a test that nobody waits for 0');
	process.exit(running ? 1 : process.exitCode);
}, () => {});

process.on('unhandledRejection', (e) => {
	if (process.exitCode) return; // what a failed test left behind
	console.log('not ok unhandled-rejection 0');
	console.log(e?.stack ?? e);
	process.exit(1);
});
export { SLOW };
