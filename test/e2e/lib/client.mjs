// A real WebSocket client (npm ws) that keeps what it gets.
import WebSocket from 'ws';
import { SLOW, until, within } from './proc.mjs';

export { WebSocket };

export class Refused extends Error {
	constructor(res, body) {
		super(`refused: ${res.statusCode} ${body.trim()}`);
		this.status = res.statusCode;
		this.headers = res.headers;
		this.body = body;
	}
}

export class Client {
	// opts: cookies { name: value }, headers, origin. Cookie values are taken as UTF-8 bytes, unescaped.
	static async connect(url, { cookies, headers = {}, origin, ...opts } = {}) {
		const h = { ...headers };
		if (cookies) {
			const text = Object.entries(cookies).map(([k, v]) => `${k}=${v}`).join('; ');
			h.Cookie = Buffer.from(text).toString('latin1');
		}
		const ws = new WebSocket(url, { headers: h, origin, handshakeTimeout: 20000 * SLOW, ...opts });
		const client = new Client(ws);
		await new Promise((open, fail) => {
			ws.once('open', open);
			ws.once('error', fail);
			ws.once('unexpected-response', (_, res) => {
				let body = '';
				res.setEncoding('utf8').on('data', (s) => (body += s)).on('end', () => fail(new Refused(res, body)));
			});
		});
		ws.on('error', () => {});
		return client;
	}

	// The refusal of a handshake: a Refused. An error when it was accepted.
	static async refused(url, opts) {
		try {
			const c = await Client.connect(url, opts);
			c.terminate();
		} catch (e) {
			if (e instanceof Refused) return e;
			throw e;
		}
		throw new Error(`not refused: ${url}`);
	}

	constructor(ws) {
		this.ws = ws;
		this.got = []; // { data: Buffer, text: string or undefined for binary }
		this.taken = 0;
		this.closed = null;
		ws.on('message', (data, binary) => this.got.push({ data, text: binary ? undefined : data.toString(), binary }));
		this.end = new Promise((done) => {
			ws.once('close', (code, reason) => done((this.closed = { code, reason: reason.toString() })));
		});
	}

	// The next n messages.
	async take(n, ms) {
		await until(`${n} more messages (have ${this.got.length - this.taken})`, () => this.got.length >= this.taken + n || this.closed, ms);
		const part = this.got.slice(this.taken, this.taken + n);
		if (part.length < n) throw new Error(`closed (${this.closed.code}) after ${part.length} of ${n} messages`);
		this.taken += n;
		return part;
	}

	async next(ms) {
		return (await this.take(1, ms))[0];
	}

	// The texts of all that came so far.
	texts() {
		return this.got.map((m) => m.text);
	}

	send(data) {
		return new Promise((done, fail) => this.ws.send(data, (e) => (e ? fail(e) : done())));
	}

	// A round trip: all that was sent before has been read by the gateway.
	async ping(payload = 'p') {
		const answer = new Promise((done) => {
			const hear = (data) => {
				if (data.toString() !== payload) return;
				this.ws.off('pong', hear);
				done();
			};
			this.ws.on('pong', hear);
		});
		this.ws.ping(payload);
		await within('a pong', answer);
	}

	// The close handshake; returns { code, reason } as the gateway answered.
	async close(code = 1000, ms) {
		this.ws.close(code);
		return this.ended(ms);
	}

	ended(ms) {
		return within('the close of a connection', this.end, ms);
	}

	get open() {
		return this.ws.readyState === WebSocket.OPEN;
	}

	terminate() {
		this.ws.terminate();
	}
}

// 0 … n-1 as texts, for comparisons.
export const numbers = (n, from = 0) => Array.from({ length: n }, (_, i) => String(from + i));
