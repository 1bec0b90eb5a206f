// 12: compressed messages of many kinds and sizes, without and with context; whole and in fragments.
// The original sends 1000 of each; FULL=1 does so, too. Here it is some hundred kilobytes of each.
import fs from 'node:fs';
import { good, section } from './lib/suite.mjs';
import { Deflater } from './lib/deflate.mjs';
import { BINARY, TEXT, pieces } from './lib/wire.mjs';

const K = 1024;
const prose = fs.readFileSync(new URL('../../man/wsgate.conf.5', import.meta.url));
const json = Buffer.from(JSON.stringify(Array.from({ length: 3000 }, (_, i) => ({ id: i * 7919, name: `Größe ${i % 17}`, on: i % 3 === 0, at: [i / 7, i * i] }))));
const image = Buffer.from(Array.from({ length: 200 * K }, (_, i) => ((i >> 4) & 63) + ((i >> 10) & 63) + ((i * 2654435761) >>> 29)));
const html = Buffer.from(Array.from({ length: 2000 }, (_, i) => `<tr class="row${i % 2}"><td>${i}</td><td><a href="/item/${i * 31}">Été № ${i}</a></td></tr>\n`).join(''));
const noise = Buffer.from(Array.from({ length: 200 * K }, (_, i) => Math.imul(i ^ (i >>> 7), 2654435761) >>> 24));
const sources = [['JSON', TEXT, json], ['an image', BINARY, image], ['prose', TEXT, prose], ['HTML', TEXT, html], ['noise', BINARY, noise]];

// [size, fragments of (0: whole)]
export const sizes = [[16], [64], [256], [K], [4 * K], [8 * K], [16 * K], [32 * K], [64 * K], [128 * K],
	[8 * K, 256], [16 * K, 256], [32 * K, 256], [64 * K, 256], [128 * K, 256], [128 * K, K], [128 * K, 4 * K], [128 * K, 32 * K]];

const inside = (byte) => (byte & 0xc0) === 0x80;

// From anywhere in the source, as long as asked for; of text no character is cut.
function slice(op, source, n, i) {
	let at = (i * 7919) % source.length;
	while (op === TEXT && inside(source[at])) at++;
	const all = Buffer.concat([source.subarray(at), source, source]), b = Buffer.from(all.subarray(0, n));
	let end = n;
	while (op === TEXT && inside(all[end])) end--;
	return b.fill('.', end);
}

export function messages(op, source, n, most) {
	const count = process.env.FULL ? 1000 : Math.max(3, Math.min(most, Math.floor(200 * K / n)));
	return Array.from({ length: count }, (_, i) => [op, slice(op, source, n, i)]);
}

// Compressed by the terms that were agreed on, in fragments.
export const compressed = (list, size) => (terms) => {
	const d = new Deflater(terms);
	return list.flatMap(([op, data]) => {
		const frames = pieces(op, d.message(data), size || Infinity);
		frames[0].rsv = 4;
		return frames;
	});
};

export const ways = (n, size) => (size ? ['segment'] : n <= 64 ? ['frames', 'bytes', 'segment'] : ['frames', 997]);

function table(most) {
	return sources.flatMap(([what, op, source], k) => sizes.map(([n, size], i) => {
		const list = messages(op, source, n, most);
		return good(`12.${k + 1}.${i + 1}`, `${list.length} times ${what} of ${n}${size ? ` in fragments of ${size}` : ''}`, compressed(list, size), list,
			{ offer: 'permessage-deflate; client_max_window_bits', ways: ways(n, size), packed: what === 'noise' || n < 256 ? 0 : list.length, ms: 60000 });
	}));
}

const on = { enabled: 'yes', threshold: 1 };
await section(import.meta, '12 compression', table(20), { compression: on, parallel: 6, transports: ['plain'] });
await section(import.meta, '12 with context', table(20), { compression: { ...on, context: 'yes' }, parallel: 6, transports: ['plain'] });
await section(import.meta, '12 with context', table(5).slice(0, 54), { compression: { ...on, context: 'yes', window_bits: 15, level: 9 }, parallel: 6, transports: ['TLS', 'user'] });
