// What others have of a gateway while it is attacked: their latency, and what the attack costs it.
import fs from 'node:fs';
import assert from 'node:assert/strict';
import { Proc, SLOW, until, within } from './proc.mjs';
import { recv, send } from './nats.mjs';

const SCRIPT = new URL('attacker.mjs', import.meta.url).pathname;

export class Attack {
	static async start(t, gw, kind, n) {
		const a = new Attack(new Proc(process.execPath, [SCRIPT, kind, String(gw.port), String(n)]));
		t.atEnd(() => a.proc.kill());
		await until(`${kind} to be under way`, () => a.proc.out.includes('ready\n') || a.proc.exit, 60000);
		if (a.proc.exit) throw new Error(`attacker ended: ${a.proc.err}`);
		return a;
	}

	constructor(proc) {
		this.proc = proc;
	}

	// Its own figures: { connected, ended, answers, bytes, open }
	async figures(order = '') {
		const lines = () => this.proc.out.split('\n').filter((l) => l.startsWith('{'));
		const before = lines().length;
		this.proc.child.stdin.write(`${order}\n`);
		await until('figures of the attacker', () => lines().length > before, 60000);
		return JSON.parse(lines().at(-1));
	}

	// With a reset: what lies unread in the kernel goes with it.
	async end() {
		await this.figures('reset');
		await this.proc.kill();
	}
}

const at = (sorted, q) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] * 10) / 10;

// Round trips of one calm user, both ways, in ms: { median, p95, max }
export async function latency(bus, c, user, rounds = 100) {
	const heard = [];
	let hear;
	const sub = bus.nc.subscribe(send('chat', user), { callback: () => hear?.() });
	await bus.nc.flush();
	for (let i = 0; i < rounds; i++) {
		const start = performance.now();
		const down = new Promise((done) => c.ws.once('message', done));
		bus.publish(recv('chat', user), `down ${i}`).catch(() => {});
		await within('a message for the calm user', down, 60000);
		const back = new Promise((done) => (hear = done));
		c.send(`up ${i}`);
		await within('a message of the calm user', back, 60000);
		heard.push(performance.now() - start);
	}
	sub.unsubscribe();
	heard.sort((a, b) => a - b);
	return { median: at(heard, 0.5), p95: at(heard, 0.95), max: at(heard, 1) };
}

// Of all workers and the bridge: own memory in KiB, descriptors.
export function cost(gw) {
	const sum = { kib: 0, fds: 0 };
	for (const { pid, title } of gw.children().filter((c) => /worker|bridge/.test(c.title))) {
		sum.kib += Number(/RssAnon:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
		if (title.includes('worker')) sum.fds += fs.readdirSync(`/proc/${pid}/fd`).length;
	}
	return sum;
}

// A bound on memory, in KiB. Sanitizers keep what was freed.
export const atMost = (kib, bound, what) => assert.ok(SLOW > 1 || kib <= bound, `${what}: ${kib} KiB, bound ${bound}`);

export const figures = (what, more) => console.log(`figures: ${what}: ${Object.entries(more).map(([k, v]) => `${k} ${typeof v === 'object' ? JSON.stringify(v) : v}`).join(', ')}`);
