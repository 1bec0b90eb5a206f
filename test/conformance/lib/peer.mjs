// The other end of a connection: writes what it is told to, reads frames strictly, answers nothing, ends nothing by itself.
import net from 'node:net';
import tls from 'node:tls';
import { SLOW } from '../../e2e/lib/proc.mjs';
import { ACCEPT, upgrade } from '../../e2e/lib/raw.mjs';
import { CLOSE } from './wire.mjs';

const OPCODES = new Set([1, 2, 8, 9, 10]);

export class Peer {
	// where: { port, tls }; path and headers of the handshake
	static async open({ port, secure }, path, headers = {}) {
		const opts = { port, host: '127.0.0.1', allowHalfOpen: true };
		const p = new Peer(secure ? tls.connect({ ...opts, rejectUnauthorized: false }) : net.connect(opts));
		p.socket.setNoDelay(true);
		return p.handshake(path, headers);
	}

	async handshake(path, headers = {}) {
		this.socket.write(upgrade(path, headers));
		await this.until('the handshake', () => this.answer);
		return this;
	}

	constructor(socket) {
		this.socket = socket;
		this.head = Buffer.alloc(0); // of the answer; then of a frame
		this.frame = null; // being read
		this.frames = [];
		this.answer = null; // { status, headers }
		this.wrong = null; // the first thing that no server may send
		this.ended = false; // the server has ended its side, in order
		this.error = null;
		this.closed = false;
		this.waiting = new Set();
		this.heard = null; // (frame): whoever wants to answer at once
		socket.on('data', (d) => this.take(d));
		socket.on('end', () => this.note(() => (this.ended = true)));
		socket.on('error', (e) => this.note(() => (this.error ??= e)));
		socket.on('close', () => this.note(() => (this.closed = true)));
	}

	note(fn) {
		fn();
		for (const look of [...this.waiting]) look();
	}

	// Resolves when cond() is true; rejects when that can't come any more, or not in time. late: the server has ended its side.
	until(what, cond, { ms = 10000, late = false } = {}) {
		return new Promise((done, fail) => {
			const finish = (fn, v) => {
				clearTimeout(timer);
				this.waiting.delete(look);
				fn(v);
			};
			const look = () => {
				if (this.wrong) finish(fail, new Error(this.wrong));
				else if (cond()) finish(done);
				else if (this.error) finish(fail, new Error(`${what}: ${this.error.code ?? this.error.message}`));
				else if (this.closed || (this.ended && !late)) finish(fail, new Error(`${what}: the server ended the connection instead`));
			};
			const timer = setTimeout(() => finish(fail, new Error(`${what}: not in time`)), ms * SLOW);
			this.waiting.add(look);
			look();
		});
	}

	// Resolves when the bytes are the kernel's, or the connection is dead.
	write(bytes) {
		if (this.socket.destroyed) return Promise.resolve();
		this.wrote = performance.now();
		return new Promise((done) => this.socket.write(bytes, () => done()));
	}

	take(d) {
		let at = 0;
		if (!this.answer) {
			this.head = Buffer.concat([this.head, d]);
			at = this.head.indexOf('\r\n\r\n');
			if (at < 0) return;
			d = this.head.subarray(at + 4);
			this.answered(this.head.subarray(0, at).toString('latin1').split('\r\n'));
			this.head = Buffer.alloc(0);
			at = 0;
		}
		const before = this.frames.length;
		while (at < d.length && !this.wrong) at = this.frame ? this.payload(d, at) : this.header(d, at);
		if (this.frames.length !== before || this.wrong || !before) this.note(() => {});
	}

	answered(lines) {
		const status = Number(lines[0].split(' ')[1]);
		const headers = Object.fromEntries(lines.slice(1).map((l) => [l.split(':')[0].toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]));
		if (status !== 101 || headers['sec-websocket-accept'] !== ACCEPT) this.wrong = `no upgrade: ${lines[0]}`;
		this.answer = { status, headers };
	}

	header(d, at) {
		const had = this.head.length;
		const b = had ? Buffer.concat([this.head, d.subarray(at, at + 10)]) : d.subarray(at, at + 10);
		const short = b.length < 2 ? 2 : b[1] & 127;
		const size = short === 127 ? 10 : short === 126 ? 4 : 2;
		if (b.length < size) {
			this.head = Buffer.from(b);
			return d.length;
		}
		const length = short === 127 ? Number(b.readBigUInt64BE(2)) : short === 126 ? b.readUInt16BE(2) : short;
		const f = { op: b[0] & 15, fin: (b[0] & 128) !== 0, rsv: (b[0] >> 4) & 7, data: Buffer.alloc(length), got: 0 };
		if (b[1] & 128) this.wrong = 'the server masks';
		else if (!OPCODES.has(f.op)) this.wrong = `opcode ${f.op} from the server`;
		else if ((short === 126 && length < 126) || (short === 127 && length < 65536)) this.wrong = 'a length that is not in its shortest form';
		else if (f.op >= 8 && (length > 125 || !f.fin)) this.wrong = 'a control frame that is too long, or fragmented';
		else if (this.frames.at(-1)?.op === CLOSE) this.wrong = 'a frame behind the Close';
		this.head = Buffer.alloc(0);
		this.frame = f;
		at += size - had;
		return length ? at : this.payload(d, at);
	}

	payload(d, at) {
		const f = this.frame, n = Math.min(f.data.length - f.got, d.length - at);
		d.copy(f.data, f.got, at, at + n);
		f.got += n;
		if (f.got === f.data.length) {
			this.frame = null;
			this.frames.push(f);
			this.heard?.(f);
		}
		return at + n;
	}

	// The Close of the server, once it is here: { code, reason }
	get close() {
		const f = this.frames.at(-1);
		if (f?.op !== CLOSE) return null;
		if (!f.data.length) return { code: 1005, reason: Buffer.alloc(0) };
		return { code: f.data.length >= 2 ? f.data.readUInt16BE(0) : -1, reason: f.data.subarray(2) };
	}

	// Our side has ended, too.
	gone() {
		return this.until('the end without a reset', () => this.closed && !this.error, { late: true });
	}

	destroy() {
		this.socket.destroy();
	}
}
