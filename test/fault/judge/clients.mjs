// Clients that come and go: npm ws, one or more connections a user, each with a life of its own.
import { WebSocket } from '../../e2e/lib/client.mjs';
import { ConnRecord, now } from './records.mjs';

const PAD = '.'.repeat(4096);
const KEEP = 64 * 1024; // unsent bytes of a client: it waits as a good one does

class Tab {
	constructor(clients, user) {
		this.clients = clients;
		this.user = user;
		this.ws = null;
		this.conn = null;
		this.fails = 0;
		this.unponged = 0;
	}

	connect() {
		const cl = this.clients;
		if (cl.ended || this.ws) return;
		const at = this.at = cl.gateways.length > 1 ? cl.random.below(cl.gateways.length) : 0;
		const where = `${this.user.service}/${this.user.name}`, gw = cl.gateways[at], tls = cl.ca && cl.random.chance(cl.tls);
		const ws = this.ws = new WebSocket(tls ? gw.wssUrl(where) : gw.wsUrl(where), { handshakeTimeout: 20000, perMessageDeflate: false, ca: cl.ca });
		ws.on('open', () => this.opened());
		ws.on('error', () => {});
		ws.on('unexpected-response', (req) => {
			cl.records.count.refused++;
			req.destroy();
			this.gone(1006, '');
		});
		ws.on('close', (code, reason) => this.gone(code, reason.toString()));
	}

	opened() {
		const cl = this.clients, ws = this.ws;
		const c = this.conn = new ConnRecord(this.user, cl.gateways[this.at].many ? undefined : this.at);
		this.user.conns.push(c);
		cl.records.count.opened++;
		this.fails = 0;
		ws.on('message', (data) => {
			const text = data.latin1Slice(0, Math.min(data.length, 60)), a = text.indexOf(' '), b = text.indexOf(' ', a + 1);
			cl.records.delivered(c, text.slice(a + 1, b), Number(text.slice(0, a)));
		});
		ws.on('ping', () => {
			if (ws.readyState !== WebSocket.OPEN) return; // behind its own Close it answers no more
			c.ponged = c.lastDown; // ws has answered by itself
			c.pongedAt = now();
		});
		ws.on('pong', (data) => {
			const k = Number(data.toString());
			if (k > c.taken) c.taken = k;
		});
		if (!cl.calm) this.endLater(cl.random.gap(cl.life));
	}

	endLater(ms) {
		const ws = this.ws;
		setTimeout(() => {
			if (this.ws !== ws || this.clients.calm) return;
			const how = this.clients.random.next();
			if (how < 0.4) this.close();
			else if (how < 0.6) this.cut();
			else if (how < 0.75) this.rest();
			else this.endLater(this.clients.random.gap(this.clients.life));
		}, ms).unref();
	}

	close() {
		this.ask();
		this.conn.closeAt = now();
		this.ws.close(1000);
	}

	// Without a word. What was given to the socket may not have left.
	cut() {
		this.conn.cutByUs = true;
		this.ws.terminate();
	}

	// Reads nothing for a while.
	rest() {
		const ws = this.ws;
		ws.pause();
		setTimeout(() => {
			if (ws.isPaused) ws.resume();
			if (this.ws === ws) this.endLater(this.clients.random.gap(this.clients.life));
		}, this.clients.random.between(100, 3000)).unref();
	}

	gone(code, reason) {
		const c = this.conn, cl = this.clients;
		if (!this.ws) return;
		this.ws = this.conn = null;
		if (c) {
			c.endAt = now();
			c.code = code;
			c.reason = reason;
			cl.records.count.ended++;
		}
		this.unponged = 0;
		this.fails = c ? 0 : this.fails + 1;
		// Good clients wait a random time; some stay away for long, and their messages wait.
		const away = cl.calm || cl.random.chance(0.8) ? 50 : 1500;
		setTimeout(() => this.connect(), cl.random.between(0.2, 1) * away * Math.min(1 + this.fails, 10)).unref();
	}

	get open() {
		return this.conn && !this.conn.closeAt && this.ws.readyState === WebSocket.OPEN;
	}

	send() {
		const u = this.user, ws = this.ws, cl = this.clients;
		if (!this.open || ws.bufferedAmount > KEEP || ws.isPaused) return;
		const k = u.next++;
		const size = cl.random.chance(0.02) ? cl.random.below(4000) : cl.random.below(100);
		u.sentAt[k] = now();
		u.sentBy[k] = this.conn;
		this.conn.sent.push(k);
		cl.records.count.sent++;
		ws.send(`${k} ${u.name} ${PAD.slice(0, size)}`);
		if (++this.unponged >= 8) this.ask();
	}

	// Asks for a Pong behind all that was sent.
	ask() {
		if (!this.unponged || !this.open) return;
		this.unponged = 0;
		this.ws.ping(String(this.conn.sent.at(-1)));
	}
}

export class Clients {
	// gateways: anything with wsUrl(); each connection goes to one of them, at random
	constructor(records, gateways, random, { rate, life, tls, ca }) {
		this.records = records;
		this.gateways = gateways;
		this.random = random;
		this.rate = rate;
		this.life = life; // ms, the mean of a connection
		this.tls = tls; // such a part of the connections, where there is
		this.ca = ca;
		this.tabs = [];
		this.calm = this.quiet = this.ended = false;
		this.debt = 0;
	}

	add(user, tabs) {
		for (let i = 0; i < tabs; i++) this.tabs.push(new Tab(this, user));
	}

	start() {
		this.last = now();
		this.timer = setInterval(() => this.tick(), 10);
		for (const t of this.tabs) setTimeout(() => t.connect(), this.random.between(0, 1000)).unref();
	}

	tick() {
		const at = now();
		this.debt = Math.min(this.debt + (at - this.last) * this.rate / 1000, this.rate / 5);
		this.last = at;
		for (; this.debt >= 1 && !this.quiet; this.debt--) this.random.pick(this.tabs).send();
	}

	// Nobody ends a connection any more, everybody reads.
	settle() {
		this.calm = true;
		for (const t of this.tabs) if (t.ws?.isPaused) t.ws.resume();
	}

	get allOpen() {
		return this.tabs.every((t) => t.open);
	}

	// Everybody closes in good order; true when all handshakes are complete.
	closeAll() {
		this.ended = true;
		for (const t of this.tabs) if (t.open) t.close();
	}

	get allGone() {
		return this.tabs.every((t) => !t.ws);
	}

	end() {
		this.ended = true;
		clearInterval(this.timer);
		for (const t of this.tabs) t.ws?.terminate();
	}
}
