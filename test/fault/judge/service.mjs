// The service: publishes numbered messages to all users, one unanswered each, and reads what they send
// through a durable consumer.
import { AckPolicy, recv } from '../../e2e/lib/nats.mjs';
import { sleep } from '../../e2e/lib/proc.mjs';
import { now } from './records.mjs';

export const DURABLE = 'judge';
const PAD = '.'.repeat(4096);

export class Service {
	// streams: those that its users' messages lie in
	constructor(records, nats, random, { rate, streams }) {
		this.records = records;
		this.nats = nats;
		this.random = random;
		this.rate = rate; // messages a second
		this.streams = streams;
		this.stopped = false;
		this.ended = false;
		this.busy = new Set(); // users with a message that is not acknowledged
		this.debt = 0;
		this.last = 0;
	}

	async start() {
		this.bus = await this.nats.connect();
		this.js = this.bus.nc.jetstream({ timeout: 2000 });
		this.messages = new Map();
		for (const s of this.streams) this.read(s);
		this.last = now();
		this.timer = setInterval(() => this.tick(), 10);
	}

	tick() {
		const users = this.list ??= [...this.records.users.values()];
		const at = now();
		this.debt = Math.min(this.debt + (at - this.last) * this.rate / 1000, this.rate / 5);
		this.last = at;
		for (; this.debt >= 1 && !this.stopped; this.debt--) {
			const u = this.random.pick(users);
			if (!this.busy.has(u)) this.publish(u);
		}
	}

	async publish(u) {
		const n = u.begun++;
		const size = this.random.chance(0.02) ? this.random.below(4000) : this.random.below(100);
		const text = `${n} ${u.name} ${PAD.slice(0, size)}`;
		this.busy.add(u);
		u.ackAt[n] = u.attempts[n] = 0;
		while (!this.ended) {
			u.attempts[n]++;
			try {
				const ack = await this.js.publish(recv(u.service, u.name), text, { msgID: `${u.name}-${n}` });
				u.ackSeq[n] = ack.seq;
				u.ackAt[n] = now();
				this.records.count.published++;
				break;
			} catch {
				await sleep(50);
			}
		}
		this.busy.delete(u);
	}

	// For ever: a broker that was emptied has forgotten the consumer.
	async read(stream) {
		while (!this.ended) {
			try {
				await this.consume(stream);
			} catch {
				await sleep(50);
			}
		}
	}

	async consume(stream) {
		const jsm = await this.bus.nc.jetstreamManager({ timeout: 2000, checkAPI: false });
		await jsm.consumers.add(stream, {
			durable_name: DURABLE,
			filter_subject: 'ws.send.>',
			ack_policy: AckPolicy.Explicit,
			max_ack_pending: 20000,
			ack_wait: 10e9,
		});
		const consumer = await this.js.consumers.get(stream, DURABLE);
		const messages = await consumer.consume({ max_messages: 2000, expires: 5000, idle_heartbeat: 500 });
		this.messages.set(stream, messages);
		this.watch(messages);
		for await (const m of messages) {
			this.take(m);
			m.ack();
		}
	}

	async watch(messages) {
		let missed = 0;
		for await (const s of await messages.status()) {
			if (s.type === 'heartbeats_missed') missed = s.data;
			if (missed >= 3 || s.type === 'consumer_deleted' || s.type === 'consumer_not_found' || s.type === 'stream_not_found') {
				messages.stop();
				return;
			}
		}
	}

	take(m) {
		const text = Buffer.from(m.data.buffer, m.data.byteOffset, Math.min(m.data.length, 80)).toString('latin1');
		const [k, name] = text.split(' ', 2);
		const [service, user] = m.subject.split('.').slice(-2);
		this.records.stored(service, user, name, Number(k), m.seq, m.redelivered, m.headers?.get('Ws-Conn'));
	}

	// No new messages; those under way are acknowledged.
	async stop() {
		this.stopped = true;
		while (this.busy.size) await sleep(20);
	}

	end() {
		this.ended = true;
		clearInterval(this.timer);
		for (const m of this.messages?.values() ?? []) m.stop();
	}
}
