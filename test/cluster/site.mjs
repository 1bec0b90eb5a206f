// A site of several machines, each a network namespace behind one switch: three brokers that replicate, three gateways,
// HAProxy before them. Clients, services and the judge are where this process is, on a machine of its own.
import fs from 'node:fs';
import path from 'node:path';
import assert from 'node:assert/strict';
import { Gateway } from '../e2e/lib/gateway.mjs';
import { Bus } from '../e2e/lib/nats.mjs';
import { Proc, run, sleep, until } from '../e2e/lib/proc.mjs';
import { connect } from '../e2e/node_modules/nats/index.js';

const N = 3;
const NET = '10.88.0';

async function sh(...args) {
	const r = await run(args[0], args.slice(1));
	if (r.code !== 0) throw new Error(`${args.join(' ')}: ${r.err.trim() || `exit ${r.code}`} (namespaces need root)`);
	return r.out;
}

class Machine {
	constructor(site, name, host) {
		Object.assign(this, { site, name, addr: `${NET}.${host}` });
	}

	async plug() {
		const { t } = this.site, near = `n-${this.name}`;
		this.holder = new Proc('unshare', ['-n', 'sh', '-c', 'echo here && exec sleep 3600']);
		t.atEnd(() => this.holder.kill());
		await until('a namespace', () => this.holder.out.includes('here') || this.holder.exit);
		this.within = ['nsenter', '-t', String(this.holder.pid), '-n'];
		await sh('ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(this.holder.pid));
		await sh('ip', 'link', 'set', near, 'master', 'switch');
		await sh('ip', 'link', 'set', near, 'up');
		await sh(...this.within, 'ip', 'addr', 'add', `${this.addr}/24`, 'dev', 'eth0');
		await sh(...this.within, 'ip', 'link', 'set', 'eth0', 'up');
		await sh(...this.within, 'ip', 'link', 'set', 'lo', 'up');
		return this;
	}

	// Packets from and to these machines are dropped; nobody is told. None: all.
	async cut(...from) {
		if (!from.length) return sh(...this.within, 'ip', 'link', 'set', 'eth0', 'down');
		for (const m of from) await sh(...this.within, 'ip', 'route', 'add', 'blackhole', `${m.addr}/32`);
	}

	async heal(...from) {
		if (!from.length) return sh(...this.within, 'ip', 'link', 'set', 'eth0', 'up');
		for (const m of from) await sh(...this.within, 'ip', 'route', 'del', 'blackhole', `${m.addr}/32`);
	}
}

class Server {
	constructor(site, machine, n) {
		Object.assign(this, { site, machine, name: `s${n}` });
		this.dir = path.join(site.t.dir, this.name);
		this.logfile = `${this.dir}.log`;
		fs.mkdirSync(this.dir);
	}

	get url() {
		return `nats://${this.machine.addr}:4222`;
	}

	start() {
		const routes = this.site.servers.map((s) => `"nats://${s.machine.addr}:6222"`);
		const file = path.join(this.dir, 'nats.conf');
		fs.writeFileSync(file, `listen: "${this.machine.addr}:4222"\nserver_name: ${this.name}\njetstream { store_dir: "${this.dir}/js" }\n` +
			`cluster { name: site, listen: "${this.machine.addr}:6222", routes: [ ${routes.join(', ')} ] }\n`);
		const [cmd, ...args] = [...this.machine.within, 'nats-server', '-c', file];
		this.proc = new Proc(cmd, args, { logfile: this.logfile, env: { PATH: `${process.env.PATH}:/usr/sbin` } });
	}

	async stop(signal) {
		this.proc.signal(signal);
		await this.proc.ended;
	}
}

class FarGateway extends Gateway {
	constructor(site, machine) {
		super(site.t, { url: site.servers.map((s) => s.url).join(',') }, {
			via: machine.within,
			config: {
				workers: 1, max_workers: 2, listen: ['0.0.0.0:8000'], log: { level: process.env.LEVEL ?? 'info' }, pong_timeout: '15s', drain_timeout: '3s',
				broker: { url: site.servers.map((s) => s.url).join(','), grace: '5s' },
				stream: { replicas: 3 }, ...site.config, admin: { listen: `${machine.addr}:8001` },
			},
		});
		this.machine = machine;
	}

	async admin(page) {
		const r = await fetch(`http://${this.machine.addr}:8001${page}`, { headers: { connection: 'close' }, signal: AbortSignal.timeout(3000) });
		return { status: r.status, text: await r.text(), headers: r.headers };
	}
}

// One of the three was killed, once: some of all connections ended, and most of them did not, wherever they were.
export function onlyItsOwn({ ends }, users) {
	const n = ends.get('a gateway was killed') ?? 0;
	assert.ok(n > 0 && n < users / 2, `${n} connections ended`);
}

export class Site {
	// config: more of the gateways'; streams: those that they make of it
	constructor(t, { config = {}, streams = ['websockets'] } = {}) {
		Object.assign(this, { t, config, streams });
		this.servers = [];
		this.gates = [];
		this.buses = [];
	}

	async build() {
		await sh('ip', 'link', 'add', 'switch', 'type', 'bridge');
		await sh('ip', 'addr', 'add', `${NET}.254/24`, 'dev', 'switch');
		await sh('ip', 'link', 'set', 'switch', 'up');
		for (let i = 0; i < N; i++) this.servers.push(new Server(this, await new Machine(this, `s${i}`, 11 + i).plug(), i));
		for (const s of this.servers) {
			s.start();
			this.t.atEnd(() => s.proc.kill());
		}
		await until('a cluster with a leader', () => this.leads(), 60000);
		for (let i = 0; i < N; i++) {
			const g = new FarGateway(this, await new Machine(this, `g${i}`, 21 + i).plug());
			await g.prepare();
			this.gates.push(g);
			this.t.gateways.push(g);
			this.t.atEnd(() => g.kill());
			g.restarts = true;
		}
		await Promise.all(this.gates.map((g) => g.start()));
		await this.balance();
	}

	// The API of JetStream answers.
	async leads() {
		const nc = await this.client({ timeout: 1000, reconnect: false }).catch(() => null);
		if (!nc) return false;
		const jsm = await nc.jetstreamManager({ timeout: 1000 }).catch(() => null);
		await nc.close();
		return jsm !== null;
	}

	async balance() {
		const file = path.join(this.t.dir, 'haproxy.cfg'), m = await new Machine(this, 'lb', 30).plug();
		fs.writeFileSync(file, `defaults\n\tmode tcp\n\ttimeout connect 1s\n\ttimeout client 1h\n\ttimeout server 1h\n\tretries 3\n\toption redispatch 1\n` +
			`listen ws\n\tbind ${m.addr}:8000\n\tbalance leastconn\n\toption httpchk GET /readyz\n\tdefault-server check inter 300ms fall 2 rise 2 port 8001\n` +
			`${this.gates.map((g, i) => `\tserver g${i} ${g.machine.addr}:8000\n`).join('')}`);
		const proc = new Proc(m.within[0], [...m.within.slice(1), 'haproxy', '-db', '-f', file], { logfile: path.join(this.t.dir, 'haproxy.log') });
		this.t.atEnd(() => proc.kill());
		this.lb = { many: true, wsUrl: (where) => `ws://${m.addr}:8000/ws/${where}` };
	}

	client(opts = {}) {
		return connect({ servers: this.servers.map((s) => `${s.machine.addr}:4222`), maxReconnectAttempts: -1, reconnectTimeWait: 100, pingInterval: 1000, maxPingOut: 3, timeout: 5000, ...opts });
	}

	// As a broker of one's own has it.
	async connect() {
		const bus = new Bus(await this.client());
		this.buses.push(bus);
		this.t.atEnd(() => bus.close());
		return bus;
	}

	// Where a stream's leader is.
	leader(stream = this.streams[0]) {
		return until('a leader', async () => {
			const nc = await this.client({ reconnect: false }).catch(() => null);
			const info = nc && await nc.jetstreamManager({ timeout: 2000 }).then((m) => m.streams.info(stream)).catch(() => null);
			await nc?.close();
			return this.servers.find((s) => s.name === info?.cluster?.leader);
		}, 60000);
	}

	// Each stream is led by another server: the load is theirs together.
	async spread() {
		const nc = await this.client();
		for (const [i, stream] of this.streams.entries())
			await until(`${stream} to be led elsewhere`, async () => {
				const before = await Promise.all(this.streams.slice(0, i).map((s) => this.leader(s)));
				if (!before.includes(await this.leader(stream))) return true;
				await nc.request(`$JS.API.STREAM.LEADER.STEPDOWN.${stream}`, '', { timeout: 5000 }).catch(() => {});
				return false;
			}, 60000);
		await nc.close();
	}

	// All three replicas are there and have everything.
	async whole(ms = 60000) {
		await until('the streams to be whole', async () => {
			try {
				const nc = await this.client({ reconnect: false });
				const jsm = await nc.jetstreamManager({ timeout: 2000 });
				const infos = await Promise.all(this.streams.map((s) => jsm.streams.info(s))).finally(() => nc.close());
				return infos.every(({ cluster }) => cluster?.leader && cluster.replicas?.length === N - 1 && cluster.replicas.every((r) => r.current));
			} catch {
				await sleep(200);
				return false;
			}
		}, ms);
	}
}
