// The broker, and a service's view of it through the npm client "nats".
import fs from 'node:fs';
import path from 'node:path';
import net from 'node:net';
import { connect, headers, AckPolicy, RetentionPolicy } from 'nats';
import { hold } from './hold.mjs';
import { Proc, freePort, sleep, until } from './proc.mjs';

export const STREAM = 'websockets';
export { AckPolicy, RetentionPolicy };

let counter = 0;

export class Nats {
	// opts.conf: more lines for the configuration; opts.login: "user:password" for the gateway; opts.within: a command
	// that starts it somewhere else (nsenter …)
	constructor(t, opts) {
		this.t = t;
		this.opts = opts;
		this.dir = path.join(t.dir, `nats${counter++}`);
		this.logfile = `${this.dir}.log`;
		this.buses = [];
		fs.mkdirSync(this.dir);
		this.proc = null;
	}

	async start() {
		await this.address();
		const [cmd, ...args] = [...(this.opts.within ?? []), 'nats-server', '-c', this.file];
		this.proc = new Proc(cmd, args, {
			logfile: this.logfile,
			env: { PATH: `${process.env.PATH}:/usr/local/sbin:/usr/sbin` },
		});
		await until('nats-server', () => this.greets());
		// after a restart: the clients of the test are back, too
		for (const b of this.buses) await until('the client of the test', () => b.alive());
	}

	// Where it will be; for a gateway that starts before its broker.
	async address() {
		if (this.port) return;
		this.port = await freePort();
		this.file = path.join(this.dir, 'nats.conf');
		fs.writeFileSync(this.file, `listen: "127.0.0.1:${this.port}"\nserver_name: "test"\n` +
			`jetstream { store_dir: "${this.dir}/js" }\n${this.opts.conf ?? ''}\n`);
	}

	get url() {
		const login = this.opts.login ? `${this.opts.login}@` : '';
		return `nats://${login}127.0.0.1:${this.port}`;
	}

	greets() {
		return new Promise((done) => {
			const s = net.connect(this.port, '127.0.0.1');
			s.once('data', () => done(true));
			s.once('error', () => done(false));
			s.once('close', () => done(false));
			setTimeout(() => s.destroy(), 500).unref();
		});
	}

	async pause() {
		await hold(this.proc.pid);
	}

	resume() {
		this.proc.signal('SIGCONT');
	}

	// An orderly stop; start() brings it back with its store.
	async stop() {
		this.proc.signal('SIGTERM');
		await this.proc.ended;
	}

	async kill() {
		for (const b of this.buses) b.close();
		await this.proc?.kill();
	}

	// A Bus. opts: those of the npm client (user, pass).
	async connect(opts = {}) {
		const nc = await connect({
			servers: `127.0.0.1:${this.port}`,
			maxReconnectAttempts: -1,
			reconnectTimeWait: 100,
			reconnectJitter: 0,
			timeout: 5000,
			...opts,
		});
		const bus = new Bus(nc);
		this.buses.push(bus);
		return bus;
	}
}

export const recv = (service, user) => `ws.recv.${service}.${user}`;
export const send = (service, user) => `ws.send.${service}.${user}`;

function toHeaders(h) {
	if (!h) return undefined;
	const out = headers();
	for (const [k, v] of Object.entries(h)) out.append(k, v);
	return out;
}

export class Bus {
	constructor(nc, stream = STREAM) {
		this.nc = nc;
		this.stream = stream;
		this.js = nc.jetstream({ timeout: 15000 });
		this.consuming = [];
	}

	// The same, looking at another stream; it ends with this one.
	on(stream) {
		const b = new Bus(this.nc, stream);
		b.consuming = this.consuming;
		return b;
	}

	// Connected, and the server answers.
	alive() {
		return Promise.race([this.nc.flush().then(() => true, () => false), sleep(500)]);
	}

	close() {
		for (const m of this.consuming) m.stop();
		this.nc.close().catch(() => {});
	}

	async jsm() {
		return (this.mgr ??= await this.nc.jetstreamManager({ timeout: 10000 }));
	}

	// Stored, or an error. data: string or bytes.
	publish(subject, data, head) {
		return this.js.publish(subject, data, { headers: toHeaders(head) });
	}

	// make(i) -> [subject, data, headers] for i = 0 … n-1; at most `window` unacknowledged.
	async publishAll(n, make, window = 500) {
		for (let i = 0; i < n; i += window) {
			const batch = [];
			for (let j = i; j < Math.min(n, i + window); j++) batch.push(this.publish(...make(j)));
			await Promise.all(batch);
		}
	}

	// Messages of the stream on these subjects ("ws.recv.>").
	async count(filter = '>') {
		const info = await (await this.jsm()).streams.info(this.stream, { subjects_filter: filter });
		return Object.values(info.state.subjects ?? {}).reduce((a, b) => a + b, 0);
	}

	// Nothing is stored there any more. nats-server 2.9 counts, for a minute at times, messages of a subject that it does
	// not have any more, or none of one that has some: what it counts must be found, too, and one subject is looked at.
	async empty(filter, ms) {
		await until(`no message left on ${filter}`, async () => (await this.left(filter)).length === 0, ms);
	}

	// The subjects that hold something.
	async left(filter) {
		if (!/[*>]/.test(filter)) return (await this.stored(filter)).length ? [filter] : [];
		const { state } = await (await this.jsm()).streams.info(this.stream, { subjects_filter: filter });
		const counted = Object.entries(state.subjects ?? {}).filter(([, n]) => n > 0).map(([subject]) => subject);
		const found = await Promise.all(counted.map(async (subject) => (await this.stored(subject)).length > 0));
		return counted.filter((_, i) => found[i]);
	}

	// What is stored on one subject, in order, without consuming it: [{ seq, data, headers }]
	async stored(subject) {
		const found = [];
		for (let seq = 1; ;) {
			const r = await this.nc.request(`$JS.API.STREAM.MSG.GET.${this.stream}`,
				JSON.stringify({ seq, next_by_subj: subject }), { timeout: 10000 });
			const { message, error } = r.json();
			if (error?.code === 404) return found;
			if (error) throw new Error(`${subject}: ${error.description}`);
			found.push({
				seq: message.seq,
				data: Buffer.from(message.data ?? '', 'base64'),
				text: Buffer.from(message.data ?? '', 'base64').toString(),
				headers: parseHeaders(Buffer.from(message.hdrs ?? '', 'base64').toString()),
			});
			seq = message.seq + 1;
		}
	}

	// Waits until n messages are stored on one subject, and returns them.
	// What nats-server 2.9 counts, it does not find at once in any case.
	async storedAll(subject, n, ms) {
		let found;
		await until(`${n} messages stored on ${subject}`,
			async () => (await this.count(subject)) >= n && (found = await this.stored(subject)).length >= n, ms);
		return found;
	}

	// A plain subscription: returns an array that grows by { subject, data, text, headers }.
	async listen(subject) {
		const got = [];
		this.nc.subscribe(subject, { callback: (_, m) => got.push(view(m)) });
		await this.nc.flush();
		return got;
	}

	// A durable work-queue consumer that acknowledges all it gets; like listen().
	async work(durable, filter) {
		await (await this.jsm()).consumers.add(this.stream, {
			durable_name: durable,
			filter_subject: filter,
			ack_policy: AckPolicy.Explicit,
			max_ack_pending: 5000,
		});
		const consumer = await this.js.consumers.get(this.stream, durable);
		const messages = await consumer.consume({ max_messages: 1000 });
		this.consuming.push(messages);
		const got = [];
		(async () => {
			for await (const m of messages) {
				got.push(view(m));
				m.ack();
			}
		})().catch(() => {});
		return got;
	}
}

function view(m) {
	const head = {};
	if (m.headers) for (const [k, v] of m.headers) head[k] = v[v.length - 1];
	return { subject: m.subject, data: Buffer.from(m.data), text: Buffer.from(m.data).toString(), headers: head };
}

function parseHeaders(text) {
	const head = {};
	for (const line of text.split('\r\n').slice(1)) {
		const colon = line.indexOf(':');
		if (colon > 0) head[line.slice(0, colon)] = line.slice(colon + 1).trim();
	}
	return head;
}
