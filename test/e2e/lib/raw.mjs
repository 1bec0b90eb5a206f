// A client without manners: bytes out, frames in, answers nothing by itself.
import net from 'node:net';
import crypto from 'node:crypto';
import { until } from './proc.mjs';

export const TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

// A client's frame. opts: fin, rsv (0-7), mask (false: none)
export function frame(opcode, payload = '', { fin = true, rsv = 0, mask = true } = {}) {
	const body = Buffer.from(payload);
	const n = body.length;
	const head = Buffer.alloc(n < 126 ? 2 : n < 65536 ? 4 : 10);
	head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
	head[1] = (mask ? 0x80 : 0) | (n < 126 ? n : n < 65536 ? 126 : 127);
	if (head.length === 4) head.writeUInt16BE(n, 2);
	if (head.length === 10) head.writeBigUInt64BE(BigInt(n), 2);
	if (!mask) return Buffer.concat([head, body]);
	const key = crypto.randomBytes(4);
	for (let i = 0; i < n; i++) body[i] ^= key[i & 3];
	return Buffer.concat([head, key, body]);
}

export const closeFrame = (code, reason = '') => frame(CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
export const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

// Header lines of a good handshake; null leaves one out, an array doubles it.
export function upgrade(path, headers = {}, { method = 'GET', version = 'HTTP/1.1' } = {}) {
	const all = {
		Host: '127.0.0.1',
		Upgrade: 'websocket',
		Connection: 'Upgrade',
		'Sec-WebSocket-Key': KEY,
		'Sec-WebSocket-Version': '13',
		...headers,
	};
	let out = `${method} ${path} ${version}\r\n`;
	for (const [k, v] of Object.entries(all)) {
		for (const one of Array.isArray(v) ? v : v === null ? [] : [v]) out += `${k}: ${one}\r\n`;
	}
	return `${out}\r\n`;
}

export class Raw {
	static connect(port) {
		return new Promise((done, fail) => {
			const r = new Raw(net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }));
			r.socket.once('connect', () => done(r));
			r.socket.once('error', fail);
		});
	}

	constructor(socket) {
		this.socket = socket;
		this.buf = Buffer.alloc(0);
		this.frames = [];
		this.taken = 0;
		this.upgraded = false;
		this.finished = false; // the server ended its side
		socket.on('data', (d) => this.take(d));
		socket.on('end', () => (this.finished = 'end'));
		socket.on('error', () => (this.finished = 'reset'));
		socket.on('close', () => (this.finished ||= 'close'));
	}

	write(bytes) {
		return new Promise((done) => this.socket.write(bytes, () => done()));
	}

	send(opcode, payload, opts) {
		return this.write(frame(opcode, payload, opts));
	}

	// The answer to a request: { status, headers, body }; with 101 frames follow.
	async response(ms) {
		let end;
		await until('an HTTP answer', () => (end = this.buf.indexOf('\r\n\r\n')) >= 0 || this.finished, ms);
		if (end < 0) throw new Error(`connection ended (${this.finished}) without an HTTP answer`);
		const lines = this.buf.subarray(0, end).toString('latin1').split('\r\n');
		const headers = {};
		for (const l of lines.slice(1)) {
			const name = l.slice(0, l.indexOf(':')).toLowerCase(), text = l.slice(l.indexOf(':') + 1).trim();
			headers[name] = name in headers ? `${headers[name]}, ${text}` : text;
		}
		const status = Number(lines[0].split(' ')[1]);
		this.buf = this.buf.subarray(end + 4);
		if (status === 101) {
			this.upgraded = true;
			this.parse();
			return { status, headers, body: '' };
		}
		const length = Number(headers['content-length'] ?? 0);
		await until('the body', () => this.buf.length >= length || this.finished, ms);
		const body = this.buf.subarray(0, length).toString();
		this.buf = this.buf.subarray(length);
		return { status, headers, body };
	}

	// A whole handshake, which must succeed.
	async open(path, headers) {
		await this.write(upgrade(path, headers));
		const r = await this.response();
		if (r.status !== 101) throw new Error(`no upgrade: ${r.status} ${r.body}`);
		return r;
	}

	take(d) {
		this.buf = this.buf.length ? Buffer.concat([this.buf, d]) : d;
		if (this.upgraded) this.parse();
	}

	parse() {
		for (;;) {
			const b = this.buf;
			if (b.length < 2) return;
			let len = b[1] & 127, off = 2;
			if (len === 126) {
				if (b.length < 4) return;
				len = b.readUInt16BE(2);
				off = 4;
			} else if (len === 127) {
				if (b.length < 10) return;
				len = Number(b.readBigUInt64BE(2));
				off = 10;
			}
			if (b.length < off + len) return;
			const data = Buffer.from(b.subarray(off, off + len));
			const f = { fin: !!(b[0] & 128), rsv: (b[0] >> 4) & 7, opcode: b[0] & 15, masked: !!(b[1] & 128), data };
			if (f.opcode === CLOSE) f.code = data.length >= 2 ? data.readUInt16BE(0) : 1005;
			this.frames.push(f);
			this.buf = b.subarray(off + len);
		}
	}

	// The next frame of one kind (any without opcode); others before it are passed over.
	async next(opcode, ms) {
		let f;
		await until(`a frame${opcode === undefined ? '' : ` of opcode ${opcode}`}`, () => {
			while (this.taken < this.frames.length) {
				f = this.frames[this.taken++];
				if (opcode === undefined || f.opcode === opcode) return true;
			}
			f = undefined;
			return this.finished;
		}, ms);
		if (!f) throw new Error(`connection ended (${this.finished}) without that frame`);
		return f;
	}

	data() {
		return this.frames.filter((f) => f.opcode === TEXT || f.opcode === BINARY);
	}

	// The server has ended the connection; "end" is an orderly end of its side.
	ended(ms) {
		return until('the end of the connection', () => this.finished, ms);
	}

	destroy() {
		this.socket.destroy();
	}
}

// One request on a connection of its own.
export async function request(t, gw, bytes, ms) {
	const r = await t.raw(gw);
	await r.write(bytes);
	const answer = await r.response(ms);
	r.destroy();
	return answer;
}
