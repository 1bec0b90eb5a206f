// What the judge saw: every send, answer, delivery and end, by the monotonic clock (ms). Nothing here
// asks the gateway; the verdict is drawn from these records alone.
export const now = () => performance.now();

let connections = 0;
const ALL_OF_ONE = ['kill-bridge', 'stop-bridge', 'kill-all', 'kill-master', 'stop-all', 'cut-gate', 'roll', 'upgrade'];

// One connection, as its client sees it.
export class ConnRecord {
	constructor(user, gate) {
		this.id = connections++;
		this.user = user;
		this.gate = gate; // which gateway; undefined: nobody knows, there is a load balancer
		this.openAt = now();
		this.begunAtOpen = user.begun; // messages to the user that had begun to be published
		this.beside = new Map(user.conns.filter((c) => !c.endAt).map((c) => [c, c.taken])); // what was taken there by then
		this.firstDown = this.lastDown = -1;
		this.ponged = -1; // last message to the client that a Pong of it stands behind
		this.pongedAt = 0;
		this.sent = []; // numbers that it gave to the socket
		this.taken = -1; // the gateway has read up to here: its Pong came behind
		this.closeAt = 0; // our own Close was sent (0: not)
		this.endAt = 0; // 0: it lives
		this.code = 0;
		this.reason = '';
		this.cutByUs = false;
		this.slot = undefined; // of the gateway, from Ws-Conn
	}

	get completed() {
		return this.endAt > 0 && !this.cutByUs && this.code !== 1006;
	}
}

export class UserRecord {
	constructor(name, service) {
		this.name = name;
		this.service = service;
		// service → client
		this.begun = 0; // messages 0 … begun-1 were published at least once
		this.ackAt = []; // 0: not yet
		this.ackSeq = [];
		this.attempts = [];
		this.firstAt = []; // to a connection that waited for it
		this.got = []; // how often it was delivered
		this.gotBy = []; // the connection that got it last
		this.maxGot = -1;
		this.conns = [];
		// client → service
		this.next = 0;
		this.sentAt = [];
		this.sentBy = [];
		this.seq = []; // first sequence under which the service got it
		this.storedAt = []; // when the service got it
	}
}

export class Records {
	constructor() {
		this.users = new Map();
		this.faults = []; // { at, kind, target, until }
		this.wrong = []; // violations, as text
		this.doubles = new Map(); // reason → how many
		this.storedTwice = new Map();
		this.downLatency = [];
		this.longestDown = 0;
		this.longestUp = 0;
		this.returns = []; // of the broker: { at, kind, down, up }: when each direction flowed again
		this.count = { published: 0, delivered: 0, sent: 0, stored: 0, opened: 0, refused: 0, ended: 0 };
		this.lags = [];
		this.wipedAt = 0; // the broker came back with an empty store,
		this.wipes = 0; // so often
	}

	user(name, service) {
		let u = this.users.get(name);
		if (!u) this.users.set(name, (u = new UserRecord(name, service)));
		return u;
	}

	blame(text) {
		if (this.wrong.length < 200) this.wrong.push(`${(now() / 1000).toFixed(3)} ${text}`);
	}

	// gate: of which gateway; undefined: of what all share
	fault(kind, target, gate) {
		const f = { at: now(), kind, target, gate, until: 0 };
		this.faults.push(f);
		return f;
	}

	// This process lags, too, on a busy machine: what it sees late was not late.
	watchLag() {
		let due = now() + 50;
		return setInterval(() => {
			const lag = now() - due;
			if (lag > 100) this.lags.push({ at: now(), lag });
			due = now() + 50;
		}, 50);
	}

	lagSince(from, to = Infinity) {
		let most = 0;
		for (let i = this.lags.length - 1; i >= 0 && this.lags[i].at >= from; i--)
			if (this.lags[i].at - this.lags[i].lag <= to) most = Math.max(most, this.lags[i].lag);
		return most;
	}

	// Was the Pong too late for what ended this connection?
	pongLate(c) {
		if (c.completed) return false;
		const slack = 1000 + this.lagSince(c.pongedAt);
		if (c.endAt - c.pongedAt < slack) return true;
		for (let i = this.faults.length - 1; i >= 0; i--) {
			const f = this.faults[i];
			if (f.at > c.endAt || (c.gate !== undefined && f.gate !== c.gate) || !/^kill-(worker|all|master)$/.test(f.kind)) continue;
			if (f.kind === 'kill-worker' && this.otherWorker(c, f)) continue;
			return f.at - c.pongedAt < slack;
		}
		return false;
	}

	// How long its worker or the bridge stood still between its end and then: ms in which nobody could know of it.
	stillSince(c, to) {
		let ms = 0;
		for (let i = this.faults.length - 1; i >= 0 && this.faults[i].at > c.endAt - 10000; i--) {
			const f = this.faults[i];
			if (!/^stop-(bridge|worker|all)$/.test(f.kind) || (c.gate !== undefined && f.gate !== c.gate)) continue;
			if (f.kind === 'stop-worker' && this.otherWorker(c, f)) continue;
			ms += Math.max(0, Math.min(f.until, to) - Math.max(f.at, c.endAt - 500));
		}
		return ms;
	}

	// Was there such a fault (also one that lasted) between two instants?
	// The number of its worker; undefined: it may have moved.
	slotOf(c) {
		return this.faultIn(['resize'], c.openAt, c.endAt || now(), undefined, c.gate) ? undefined : c.slot;
	}

	otherWorker(c, f) {
		const slot = this.slotOf(c);
		return slot !== undefined && f.target !== `worker ${slot}`;
	}

	faultIn(kinds, from, to, target, gate) {
		for (let i = this.faults.length - 1; i >= 0; i--) {
			const f = this.faults[i];
			if (f.at > to) continue;
			if (from - f.at > 120000) return false;
			if (gate !== undefined && f.gate !== undefined && f.gate !== gate) continue;
			if (!kinds.includes(f.kind) || (target !== undefined && f.target !== undefined && f.target !== target)) continue;
			if ((f.until || f.at) >= from) return true;
		}
		return false;
	}

	// A message came to a client.
	delivered(c, name, n) {
		const u = c.user, at = now();
		this.count.delivered++;
		if (name !== u.name) return this.blame(`${u.name} got a message of ${name}`);
		if (!(n < u.begun)) return this.blame(`${u.name} got ${n}, which nobody published`);
		this.inConnection(c, n);
		if (u.got[n]) this.doubled(c, n);
		else this.firstTime(c, n, at);
		u.got[n] = (u.got[n] ?? 0) + 1;
		u.gotBy[n] = c;
	}

	// Each connection sees all since it opened, in order, without a hole.
	inConnection(c, n) {
		const u = c.user;
		if (c.firstDown < 0) {
			c.firstDown = n;
			if (n > c.begunAtOpen && !this.mayLack(c, c.begunAtOpen, n))
				this.blame(`${u.name}: connection ${c.id} begins with ${n}, ${c.begunAtOpen} was published after it opened`);
		} else if (n <= c.lastDown && u.attempts[n] < 2) {
			this.blame(`${u.name}: connection ${c.id} got ${n} behind ${c.lastDown}`);
		} else if (n > c.lastDown + 1 && !this.mayLack(c, c.lastDown + 1, n)) {
			this.blame(`${u.name}: connection ${c.id} got ${n} behind ${c.lastDown}: a hole`);
		}
		if (n > c.lastDown) c.lastDown = n;
	}

	// Others of the user had it before this one opened; or the store was emptied.
	mayLack(c, from, to) {
		const u = c.user;
		for (let n = from; n < to; n++) if (!(n < c.begunAtOpen && u.got[n]) && !this.exempt(u, n)) return false;
		return true;
	}

	// Acknowledged before the store was emptied, and not delivered: it is gone.
	exempt(u, n) {
		return u.ackAt[n] > 0 && u.ackAt[n] < this.wipedAt;
	}

	firstTime(c, n, at) {
		const u = c.user;
		if (n < u.maxGot) this.blame(`${u.name}: ${n} came first after ${u.maxGot}`);
		else u.maxGot = n;
		const since = u.ackAt[n];
		if (!since || c.openAt > since) return;
		u.firstAt[n] = at;
		const took = at - since;
		this.downLatency.push(took);
		if (this.downLatency.length > 200000) this.downLatency = this.downLatency.slice(100000);
		if (took > this.longestDown) this.longestDown = took;
	}

	// Those that lived since then, for the reader of a verdict.
	lives(u, since) {
		const s = (at) => (at / 1000).toFixed(3);
		return u.conns.filter((x) => !x.endAt || x.endAt > since).map((x) => `${x.id}: worker ${x.slot ?? 'unknown'}, from ${s(x.openAt)}` +
			` to ${x.endAt ? `${s(x.endAt)} (${x.code})` : 'now'}, ponged ${x.ponged} at ${s(x.pongedAt)}`).join('; ');
	}

	// Why may a message come again? The contract names: a connection that ended before its Pong, a restart of
	// the broker; another connection of the user that has not had it; a publisher that had to repeat.
	doubled(c, n) {
		const u = c.user, before = u.gotBy[n];
		const unknown = (x) => x.endAt > c.openAt - 30000 && x.endAt > c.openAt - 2000 - this.lagSince(x.endAt) - this.stillSince(x, c.openAt);
		const lags = (x) => x !== c && x !== before && x.openAt < c.openAt && (!x.endAt || unknown(x)) && (x.ponged < n || x.pongedAt > c.openAt - 1000);
		// What this process saw late had come earlier.
		const pongedAt = before.pongedAt - 1000 - this.lagSince(before.pongedAt - 200, before.pongedAt);
		let why;
		if (before === c) why = u.attempts[n] > 1 ? 'published twice' : undefined;
		else if (!before.endAt || before.endAt > c.openAt || u.conns.some(lags)) why = 'another connection of the user';
		else if (n > before.ponged) why = 'its connection ended before its Pong';
		else if (u.attempts[n] > 1) why = 'published twice';
		else if (this.faultIn(['broker-kill', 'broker-stop', 'broker-wipe'], before.openAt, now())) why = 'the broker was restarted';
		else if (this.pongLate(before)) why = 'its connection was cut while its Pong was on its way';
		else if (!before.completed && this.faultIn(['stop-worker', 'stop-bridge', 'stop-all'], before.pongedAt, before.endAt, undefined, before.gate))
			why = 'its connection was cut while its Pong was on its way';
		// A successor that was killed before it had removed what its predecessor left: nobody remembers it any more.
		else if (this.faults.filter((f) => /^kill-(bridge|all|master)$/.test(f.kind) && f.at > pongedAt).length > 1)
			why = 'the bridge was killed twice before it was removed';
		else if (this.faultIn(['kill-bridge', 'kill-all', 'kill-master'], pongedAt, now()) &&
			this.faultIn(['broker-pause'], before.pongedAt - 12000, now()))
			why = 'the bridge was killed while the broker was away';
		// Another gateway does not wait for what this one has still to remove, nor for its answer.
		if (!why && (c.gate === undefined || before.gate !== c.gate) && (before.endAt > c.openAt - 5000 || this.faultIn(ALL_OF_ONE, before.openAt, now(), undefined, before.gate)))
			why = 'it came to another gateway before it was removed';
		if (!why) {
			why = 'NOT ALLOWED';
			this.blame(`${u.name}: ${n} came again on connection ${c.id}: ${before.id} had it, ponged ${before.ponged}, ` +
				`ended ${before.code} at ${(before.endAt / 1000).toFixed(3)}; ${this.lives(u, before.openAt)}`);
		}
		this.doubles.set(why, (this.doubles.get(why) ?? 0) + 1);
	}

	// A message came to the service.
	stored(service, name, payloadName, k, seq, redelivered, wsConn) {
		const u = this.users.get(name);
		this.count.stored++;
		if (!u || u.service !== service) return this.blame(`a message of ${service}/${name}, whom nobody knows`);
		if (payloadName !== name) return this.blame(`on the subject of ${name}: a message of ${payloadName}`);
		if (!(k < u.next)) return this.blame(`${name}: ${k} is stored, which nobody sent`);
		seq += this.wipes * 1e9; // its numbers begin anew
		const c = u.sentBy[k];
		const slot = Number.parseInt(wsConn?.slice(0, 2) ?? '', 16);
		if (Number.isInteger(slot)) c.slot = slot;
		if (u.seq[k] === undefined) {
			u.seq[k] = seq;
			u.storedAt[k] = now();
			const took = now() - u.sentAt[k];
			if (took > this.longestUp) this.longestUp = took;
			return undefined;
		}
		if (u.seq[k] === seq) return undefined; // the same one, given again by JetStream
		const restarted = this.faultIn(['broker-kill', 'broker-stop', 'broker-wipe'], u.sentAt[k], now());
		const why = restarted ? 'the broker was restarted' : 'NOT ALLOWED';
		this.storedTwice.set(why, (this.storedTwice.get(why) ?? 0) + 1);
		if (!restarted) this.blame(`${name}: ${k} is stored twice, ${u.seq[k]} and ${seq}`);
		return undefined;
	}
}
