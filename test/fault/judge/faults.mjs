// What goes wrong: a schedule drawn from the seed, applied to the gateway and its broker.
import fs from 'node:fs';
import path from 'node:path';
import { sleep, until } from '../../e2e/lib/proc.mjs';
import { now } from './records.mjs';

// Kind, how often it comes beside the others, what it does.
const KINDS = {
	'kill-worker': [30, (f, r) => f.killChild(`worker ${r.below(f.workers)}`)],
	'kill-bridge': [20, (f) => f.killChild('bridge')],
	'kill-twice': [8, (f, r) => f.killTwice(r)],
	'stop-worker': [10, (f, r) => f.stopChild(`worker ${r.below(f.workers)}`, r.gap(300))],
	'stop-bridge': [8, (f, r) => f.stopChild('bridge', r.gap(300))],
	'kill-all': [3, (f) => f.killAll()],
	'kill-master': [3, (f) => f.killMaster()],
	'broker-stop': [2, (f, r) => f.restartBroker('broker-stop', 'SIGTERM', r.gap(500))],
	'broker-kill': [2, (f, r) => f.restartBroker('broker-kill', 'SIGKILL', r.gap(500))],
	'broker-pause': [2, (f, r) => f.pauseBroker(r.chance(0.2) ? 10000 : r.gap(800))],
	'resize': [4, (f, r) => f.resize(1 + r.below(f.workers))],
	'stop-all': [0, (f, r) => f.stopAll(r.chance(0.3) ? 8000 : r.gap(1000))],
	'broker-wipe': [0, (f, r) => f.wipeBroker(r.gap(300))],
};
export const ALL_KINDS = Object.keys(KINDS);

export class Faults {
	// kinds: names; mean: ms between two faults
	constructor(records, gateways, nats, random, { kinds, mean, workers }) {
		Object.assign(this, { records, gateways, nats, random, mean, workers });
		this.at = 0; // the gateway that the next fault is for
		this.kinds = kinds ?? ALL_KINDS.filter((k) => KINDS[k][0] > 0);
		this.kills = 0; // processes that got SIGKILL
		this.injected = new Map();
		this.brokerBusy = false;
		this.starting = new Set(); // gateways
		this.pending = new Set();
		for (const g of gateways) g.restarts = true;
	}

	get total() {
		return [...this.injected.values()].reduce((a, b) => a + b, 0);
	}

	// Until enough(this) says so.
	async run(enough) {
		while (!enough(this)) {
			await sleep(this.random.chance(0.2) ? this.random.between(0, 50) : Math.min(this.random.gap(this.mean), this.mean * 8));
			this.next();
		}
		while (this.pending.size) await Promise.race(this.pending);
	}

	next() {
		const weights = this.kinds.map((k) => KINDS[k][0] || 1);
		let at = this.random.next() * weights.reduce((a, b) => a + b, 0), i = 0;
		while (i < weights.length - 1 && (at -= weights[i]) >= 0) i++;
		const kind = this.kinds[i];
		if (this.gateways.length > 1) this.at = this.random.below(this.gateways.length);
		const done = Promise.resolve(KINDS[kind][1](this, this.random));
		const watched = done.then((applied) => {
			if (applied !== false) this.injected.set(kind, (this.injected.get(kind) ?? 0) + 1);
		}).catch((e) => this.records.blame(`fault ${kind}: ${e.message}`)).finally(() => this.pending.delete(watched));
		this.pending.add(watched);
	}

	// ---- processes of the gateway ----

	get gateway() {
		return this.gateways[this.at];
	}

	kill(pid) {
		try {
			process.kill(pid, 'SIGKILL');
			this.kills++;
			return true;
		} catch {
			return false; // it has gone by itself
		}
	}

	killChild(title) {
		const pid = !this.gateway.proc.exit && this.gateway.pid(title);
		if (!pid) return false; // it waits for its turn to start again
		this.records.fault(title === 'bridge' ? 'kill-bridge' : 'kill-worker', title, this.at);
		return this.kill(pid);
	}

	// A process, and its successor while it starts.
	async killTwice(r) {
		const title = r.chance(0.5) ? 'bridge' : `worker ${r.below(this.workers)}`, later = r.between(0, 60);
		const { gateway, at } = this, pid = gateway.pid(title);
		if (this.killChild(title) === false) return false;
		for (let i = 0; i < 200; i++) {
			await sleep(5);
			const next = !gateway.proc.exit && gateway.pid(title);
			if (!next || next === pid) continue;
			await sleep(later);
			this.at = at;
			this.killChild(title);
			return true;
		}
		return true;
	}

	async stopChild(title, ms) {
		const pid = !this.gateway.proc.exit && this.gateway.pid(title);
		if (!pid) return false;
		const f = this.records.fault(title === 'bridge' ? 'stop-bridge' : 'stop-worker', title, this.at);
		try {
			process.kill(pid, 'SIGSTOP');
			await sleep(Math.min(ms, 2000));
			f.until = now();
			process.kill(pid, 'SIGCONT');
		} catch {
			f.until = now(); // killed meanwhile
		}
		return true;
	}

	killAll() {
		const g = this.gateway;
		if (this.starting.has(g) || g.proc.exit) return false;
		const f = this.records.fault('kill-all', undefined, this.at);
		const pids = [g.proc.pid, ...g.children().map((c) => c.pid)];
		for (const pid of pids) this.kill(pid);
		return this.startAgain(f, g);
	}

	killMaster() {
		const g = this.gateway;
		if (this.starting.has(g) || g.proc.exit) return false;
		const f = this.records.fault('kill-master', undefined, this.at);
		this.kill(g.proc.pid);
		return this.startAgain(f, g);
	}

	async startAgain(f, g) {
		this.starting.add(g);
		try {
			await g.proc.ended;
			for (let tries = 0; ; tries++) {
				await g.start(false); // a worker of old may have answered
				await until('the new master', () => g.proc.exit || Number(fs.readFileSync(g.pidfile, 'utf8')) === g.proc.pid);
				f.until = now();
				if (!g.proc.exit) return;
				this.records.blame(`a start after ${f.kind} ended: ${JSON.stringify(g.proc.exit)}`);
				if (tries > 5) throw new Error('wsgated does not start again');
				await sleep(500);
			}
		} finally {
			this.starting.delete(g);
		}
	}

	// Fewer workers, or more: connections move, and what else is injected meets them on their way.
	async resize(workers) {
		const g = this.gateway;
		if (this.starting.has(g) || g.proc.exit || g.config.workers === workers) return false;
		const f = this.records.fault('resize', undefined, this.at);
		g.config.workers = workers;
		g.writeConfig();
		await g.ctl('reload'); // refused by one that is being killed: the next start reads it
		f.until = now();
		return true;
	}

	// All of its processes stand still: cut off, as others see it.
	async stopAll(ms) {
		const g = this.gateway;
		if (this.starting.has(g) || g.proc.exit) return false;
		this.starting.add(g);
		const f = this.records.fault('stop-all', undefined, this.at);
		const pids = [g.proc.pid, ...g.children().map((c) => c.pid)];
		const signal = (list, sig) => list.forEach((pid) => {
			try {
				process.kill(pid, sig);
			} catch { /* killed meanwhile */ }
		});
		signal(pids, 'SIGSTOP');
		await sleep(ms);
		signal(pids.reverse(), 'SIGCONT');
		f.until = now();
		this.starting.delete(g);
		return true;
	}

	// ---- the broker ----

	async withBroker(fn) {
		if (this.brokerBusy) return false;
		this.brokerBusy = true;
		try {
			await fn();
			return true;
		} finally {
			this.brokerBusy = false;
		}
	}

	restartBroker(kind, signal, away) {
		return this.withBroker(async () => {
			const f = this.records.fault(kind);
			this.nats.proc.signal(signal);
			await this.nats.proc.ended;
			await sleep(Math.min(away, 5000));
			await this.nats.start();
			f.until = now();
			this.records.returns.push({ at: now(), kind });
		});
	}

	wipeBroker(away) {
		return this.withBroker(async () => {
			const f = this.records.fault('broker-wipe');
			this.nats.proc.signal('SIGKILL');
			await this.nats.proc.ended;
			await sleep(50 + away);
			fs.rmSync(path.join(this.nats.dir, 'js'), { recursive: true, force: true });
			this.records.wipedAt = now();
			this.records.wipes++;
			await this.nats.start();
			f.until = now();
			this.records.returns.push({ at: now(), kind: 'broker-wipe' });
		});
	}

	pauseBroker(ms) {
		return this.withBroker(async () => {
			const f = this.records.fault('broker-pause');
			await this.nats.pause();
			await sleep(Math.min(ms, 10000));
			this.nats.resume();
			f.until = now();
			this.records.returns.push({ at: now(), kind: 'broker-pause' });
		});
	}
}
