// Clients at random, drawn from a seed: whole conversations of frames, faults in some of them, cuts anywhere.
import { BINARY, CONT, PING, PONG, TEXT, close, encode, frame } from './wire.mjs';

// mulberry32: () -> 0 … 1
export function dice(seed) {
	let a = seed >>> 0;
	return () => {
		a = (a + 0x6d2b79f5) | 0;
		let t = Math.imul(a ^ (a >>> 15), 1 | a);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

export const below = (r, n) => Math.floor(r() * n);
export const pick = (r, list) => list[below(r, list.length)];

const SIZES = [0, 1, 2, 3, 7, 8, 31, 32, 33, 124, 125, 126, 127, 128, 255, 256, 1000, 4095, 65535, 65536, 70001];
const PLANES = [[0, 0x7f], [0x80, 0x7ff], [0x800, 0xd7ff], [0xe000, 0xffff], [0x10000, 0x10ffff]];

function size(r) {
	return r() < 0.1 ? pick(r, SIZES) : Math.floor(2 ** (r() * 10)) - 1;
}

function letters(r, n) {
	let out = '';
	while (out.length < n) {
		const [low, high] = r() < 0.5 ? PLANES[0] : pick(r, PLANES);
		out += String.fromCodePoint(low + below(r, high - low + 1));
		if (r() < 0.1) out += 'x'.repeat(below(r, 40));
	}
	return Buffer.from(out);
}

const octets = (r, n) => Buffer.from(Array.from({ length: n }, () => below(r, 256)));

function* message(r) {
	const op = r() < 0.6 ? TEXT : BINARY, n = size(r), data = op === TEXT ? letters(r, n) : octets(r, Math.min(n, 5000));
	const cuts = r() < 0.5 ? [] : Array.from({ length: below(r, 6) }, () => below(r, data.length + 1)).sort((a, b) => a - b);
	for (const [i, at] of [0, ...cuts].entries()) {
		yield frame(i ? CONT : op, data.subarray(at, cuts[i]), { fin: i === cuts.length });
		while (r() < 0.15) yield control(r);
	}
}

function control(r) {
	return frame(r() < 0.6 ? PING : PONG, octets(r, r() < 0.2 ? 125 : below(r, 30)));
}

// Frames that are all valid; the last one is a Close.
export function conversation(r) {
	const out = [];
	for (let n = below(r, 8); n >= 0; n--) {
		if (r() < 0.3) out.push(control(r));
		else out.push(...message(r));
	}
	out.push(r() < 0.1 ? close() : close(pick(r, [1000, 1001, 1011, 3000, 4999]), letters(r, below(r, 20))));
	return out;
}

// The same bytes with one bit, or byte, or piece of another kind. What comes of it, the model knows.
export function damage(r, frames) {
	const wire = Buffer.concat(frames.map(encode));
	const heads = [];
	for (let i = 0, at = 0; i < frames.length; at += encode(frames[i++]).length) heads.push(at);
	const at = r() < 0.5 ? pick(r, heads) + below(r, 4) : below(r, wire.length);
	const how = below(r, 4);
	if (how === 0) wire[Math.min(at, wire.length - 1)] ^= 1 << below(r, 8);
	else if (how === 1) wire[Math.min(at, wire.length - 1)] = below(r, 256);
	else if (how === 2) return Buffer.concat([wire.subarray(0, at), octets(r, 1 + below(r, 4)), wire.subarray(at)]);
	else return Buffer.concat([wire.subarray(0, at), wire.subarray(at + 1 + below(r, 3))]);
	return wire;
}

const PIECES = 400; // at most: a client that fails is not listened to for ever

// Pieces that come together again as the same bytes: tiny ones, large ones, all in one.
export function cut(r, b) {
	const out = [], most = pick(r, [1, 2, 5, 20, 100, 1000, 70000, Infinity]);
	for (let at = 0; at < b.length;) {
		let n = 1 + Math.floor(r() * Math.min(most, b.length));
		n = Math.max(n, Math.ceil(b.length / PIECES));
		out.push(b.subarray(at, at + n));
		at += n;
	}
	return out;
}
