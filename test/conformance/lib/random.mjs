// Clients at random, drawn from a seed: whole conversations of frames, faults in some of them, cuts anywhere.
import zlib from 'node:zlib';
import { Deflater } from './deflate.mjs';
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

const { Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE, Z_FILTERED } = zlib.constants;
const HOWS = [{}, {}, { level: 0 }, { level: 1 }, { level: 9 }, { strategy: Z_FIXED }, { strategy: Z_HUFFMAN_ONLY }, { strategy: Z_RLE }, { strategy: Z_FILTERED }, { memLevel: 1 }];

// Messages of which most are compressed, whatever is agreed on. { offer, out, frames(terms) }; the last frame is a Close.
export function compressedConversation(r) {
	const offer = ['permessage-deflate', r() < 0.3 && 'server_no_context_takeover', r() < 0.3 && 'client_no_context_takeover',
		r() < 0.4 && `server_max_window_bits=${9 + below(r, 7)}`, r() < 0.3 ? 'client_max_window_bits' : r() < 0.5 && `client_max_window_bits=${9 + below(r, 7)}`];
	const words = Array.from({ length: 20 }, () => letters(r, 1 + below(r, 30))), out = [], items = [];
	for (let n = 1 + below(r, 10); n > 0; n--) {
		const op = r() < 0.6 ? TEXT : BINARY, some = Buffer.concat(Array.from({ length: below(r, 200) }, () => pick(r, words)));
		const data = r() < 0.1 ? (op === TEXT ? letters(r, size(r)) : octets(r, below(r, 3000))) : some;
		const cuts = r() < 0.5 ? [] : Array.from({ length: below(r, 6) }, () => r()).sort();
		const between = [...cuts, 1].map(() => (r() < 0.15 ? control(r) : null));
		for (const f of between) if (f?.op === PING) out.push([PONG, f.data]);
		items.push({ op, data, cuts, between, packed: r() < 0.8, how: pick(r, HOWS) });
		if (between.at(-1)?.op === PING) out.splice(-1, 0, [op, data]);
		else out.push([op, data]);
	}
	const frames = (terms) => {
		const d = new Deflater(terms), list = [];
		for (const { op, data, cuts, between, packed, how } of items) {
			const body = packed ? d.message(data, how) : data, at = cuts.map((c) => Math.floor(c * body.length));
			for (const [i, from] of [0, ...at].entries()) {
				list.push(frame(i ? CONT : op, body.subarray(from, at[i]), { fin: i === at.length, rsv: packed && !i ? 4 : 0 }));
				if (between[i]) list.push(between[i]);
			}
		}
		return [...list, close(1000)];
	};
	return { offer: offer.filter(Boolean).join('; '), out, frames };
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
