// 1: frames of all lengths, in all three forms of a length; pieces of all sizes.
import { good, bad, section } from './lib/suite.mjs';
import { BINARY, TEXT, binary, text, frame } from './lib/wire.mjs';

const SIZES = [0, 125, 126, 127, 128, 65535, 65536];
const any = Buffer.from(Array.from({ length: 70000 }, (_, i) => (i * 7 + (i >> 8)) & 255)); // each byte value
const ascii = Buffer.from(any.map((b) => 32 + b % 95));
const kinds = [[1, 'text', TEXT, ascii], [2, 'binary', BINARY, any]];
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);
const all = (op, data, sizes) => sizes.map((n) => [op, data.subarray(0, n)]);
const sent = (list) => list.map(([op, data]) => frame(op, data));

export const cases = [];
for (const [k, kind, op, data] of kinds) {
	for (const [i, n] of SIZES.entries()) cases.push(good(`1.${k}.${i + 1}`, `${kind} of ${n} bytes`, [frame(op, data.subarray(0, n))], [[op, data.subarray(0, n)]]));
	cases.push(good(`1.${k}.8`, `${kind} of 65536 bytes in pieces of 997`, [frame(op, data.subarray(0, 65536))], [[op, data.subarray(0, 65536)]], { ways: [997] }));
}

// From here on in section 1: more than the original has.
for (const [k, kind, op, data] of kinds) {
	const small = all(op, data, range(0, 300)), edge = all(op, data, [...range(65530, 65542), 16384, 16383, 16385, 32768, 69999]);
	cases.push(good(`1.3.${k}`, `${kind} of each length up to 299`, sent(small), small));
	cases.push(good(`1.4.${k}`, `${kind} of lengths around the third form`, sent(edge), edge));
	const mixed = all(op, data, [0, 1, 125, 126, 0, 70, 300]);
	const pieces = [...range(1, 17), 31, 64, 125, 300];
	cases.push(good(`1.5.${k}`, `${kind} in pieces of 1 to 300 bytes, whatever the frames`, sent(mixed), mixed, { ways: pieces, plain: k === 2 }));
	const large = all(op, data, [65536, 3, 65535, 0, 70000]);
	cases.push(good(`1.6.${k}`, `${kind}, large, in pieces of 14 to 65536 bytes`, sent(large), large, { ways: [14, 997, 1460, 16384, 65535, 65536], plain: k === 1 }));
}
const longs = [
	['1.7.1', '125 bytes with a length of 16 bits', text('x'.repeat(125), { form: 16 })],
	['1.7.2', 'none with a length of 16 bits', binary('', { form: 16 })],
	['1.7.3', '125 bytes with a length of 64 bits', text('x'.repeat(125), { form: 64 })],
	['1.7.4', '65535 bytes with a length of 64 bits', binary(any.subarray(0, 65535), { form: 64 })],
	['1.7.5', 'a length with the top bit set', binary('x', { form: 64, length: 2n ** 63n })],
	['1.7.6', 'a length of ones alone', binary('x', { form: 64, length: 2n ** 64n - 1n })],
	['1.7.7', 'text without a mask', text('x', { mask: false })],
	['1.7.8', 'binary of 65536 bytes without a mask', binary(any.subarray(0, 65536), { mask: false })],
	['1.7.9', 'an empty frame without a mask', binary('', { mask: false })],
];
for (const [id, what, f] of longs) cases.push(bad(id, what, [text('first'), f, text('never')], 1002, [[TEXT, 'first']]));

await section(import.meta, '1 framing', cases);
