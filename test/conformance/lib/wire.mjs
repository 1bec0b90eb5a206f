// Frames as data, and the bytes that they become. A case's frames are data until it runs: large payloads are shared.
import crypto from 'node:crypto';

export const CONT = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

// One frame. opts: fin, rsv (0-7), mask (false: none), form (16, 64: a length written in that many bits, however short),
// length (announced instead of the true one)
export const frame = (op, payload = '', opts = {}) => ({ op, data: Buffer.from(payload), fin: true, rsv: 0, mask: true, ...opts });
export const text = (payload, opts) => frame(TEXT, payload, opts);
export const binary = (payload, opts) => frame(BINARY, payload, opts);
export const cont = (payload, opts) => frame(CONT, payload, opts);
export const ping = (payload, opts) => frame(PING, payload, opts);
export const pong = (payload, opts) => frame(PONG, payload, opts);
export const close = (code, reason = '', opts) =>
	frame(CLOSE, code === undefined ? '' : Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]), opts);
export const more = { fin: false };
// Between two frames: what comes behind is sent only when the server has failed the connection.
export const FAILED = { failed: true };
// The same for everything that was expected so far: sent only when it is here.
export const ANSWERED = { answered: true };

// A message in frames of so many bytes.
export function pieces(op, payload, size) {
	const data = Buffer.from(payload), out = [];
	for (let at = 0; at === 0 || at < data.length; at += size)
		out.push({ ...frame(at ? CONT : op), data: data.subarray(at, at + size), fin: at + size >= data.length });
	return out;
}

function head(f) {
	const n = f.length ?? f.data.length;
	const form = f.form ?? (n < 126 ? 7 : n < 65536 ? 16 : 64);
	const b = Buffer.alloc(2 + (form === 7 ? 0 : form / 8));
	b[0] = (f.fin ? 0x80 : 0) | (f.rsv << 4) | f.op;
	b[1] = (f.mask ? 0x80 : 0) | (form === 7 ? n : form === 16 ? 126 : 127);
	if (form === 16) b.writeUInt16BE(Number(n), 2);
	if (form === 64) b.writeBigUInt64BE(BigInt(n), 2);
	return b;
}

export function encode(f) {
	const h = head(f);
	if (!f.mask) return Buffer.concat([h, f.data]);
	const n = f.data.length, out = Buffer.allocUnsafe(h.length + 4 + n);
	h.copy(out);
	const key = crypto.randomBytes(4), at = h.length + 4, data = f.data;
	key.copy(out, h.length);
	for (let i = 0; i < n; i++) out[at + i] = data[i] ^ key[i & 3];
	return out;
}

// The ways to send the same bytes. "bytes": one at a time; of what is longer than 2 KiB the first and the last 24 bytes are,
// and between them pieces of a prime length, so that every header and tail is cut everywhere and no cut is aligned.
const BYTEWISE = 2048, EDGE = 24, PRIMES = [7, 61, 997, 16381, 65521];

export function chop(b) {
	const whole = b.length <= BYTEWISE, out = [];
	const size = PRIMES.find((p) => b.length / p < 500) ?? PRIMES.at(-1);
	for (let at = 0; at < b.length;) {
		const edge = whole || at < EDGE || at >= b.length - EDGE;
		const n = edge ? 1 : Math.min(size, b.length - EDGE - at);
		out.push(b.subarray(at, at + n));
		at += n;
	}
	return out;
}

export function chopTo(b, size) {
	const out = [];
	for (let at = 0; at < b.length; at += size) out.push(b.subarray(at, at + size));
	return out;
}
