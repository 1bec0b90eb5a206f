// 9: large messages, in one frame, in many, in small pieces; many messages one after the other; and where the limit is.
// The pieces are those of the section: byte by byte means here what chop() makes of large frames.
import { good, bad, section } from './lib/suite.mjs';
import { BINARY, TEXT, binary, cont, frame, more, pieces, text } from './lib/wire.mjs';

const K = 1024, M = 1024 * K;
const any = Buffer.from(Array.from({ length: 65521 }, (_, i) => (i * 31 + (i >> 8)) & 255));
const kinds = [[TEXT, 'text', Buffer.alloc(16 * M, 'Grüße, мир, 世界, 🌍; ')], [BINARY, 'binary', Buffer.alloc(16 * M, any)]];
// no character is cut at the end
const part = (op, data, n) => {
	const b = Buffer.from(data.subarray(0, n));
	let end = n - 4;
	while (op === TEXT && (b[end] & 0xc0) === 0x80) end--;
	return op === TEXT ? b.fill('.', end) : b;
};
const slow = { ms: 60000 };
const name = (n) => (n % M === 0 ? `${n / M} MiB` : n % K === 0 ? `${n / K} KiB` : `${n} bytes`);

const large = [], small = [];
for (const [k, [op, kind, data]] of kinds.entries()) {
	for (const [i, n] of [64 * K, 256 * K, M, 4 * M, 8 * M, 16 * M].entries()) {
		const b = part(op, data, n);
		large.push(good(`9.${k + 1}.${i + 1}`, `${kind} of ${name(n)}`, [frame(op, '', { data: b })], [[op, b]], { ways: n <= M ? ['segment', 'bytes'] : ['segment'], plain: n >= 4 * M && op === TEXT, ...slow }));
	}
	const four = part(op, data, 4 * M);
	for (const [i, n] of [64, 256, K, 4 * K, 16 * K, 64 * K, 256 * K, M, 4 * M].entries()) {
		large.push(good(`9.${k + 3}.${i + 1}`, `${kind} of 4 MiB in fragments of ${name(n)}`, () => pieces(op, four, n), [[op, four]],
			{ ways: n < 16 * K ? ['segment'] : ['frames'], plain: n < K || op === TEXT, ...slow }));
	}
	const one = part(op, data, M);
	for (const [i, n] of [64, 128, 256, 512, K, 2 * K].entries())
		large.push(good(`9.${k + 5}.${i + 1}`, `${kind} of 1 MiB in pieces of ${n}`, [frame(op, one)], [[op, one]], { ways: [n], plain: n < K && op === BINARY, ...slow }));
	for (const [i, n] of [0, 16, 64, 256, K, 4 * K].entries()) {
		const b = n ? part(op, data, n) : Buffer.alloc(0), all = Array.from({ length: 1000 }, () => [op, b]);
		small.push(good(`9.${k + 7}.${i + 1}`, `1000 times ${kind} of ${n}, each awaited`, all.flatMap((_, j) => [frame(op, b), { answered: j + 1 }]), all, { ways: ['frames'], plain: op === BINARY }));
		small.push(good(`9.${k + 7}.${i + 1}p`, `1000 times ${kind} of ${n}, none awaited`, all.map(() => frame(op, b)), all, { ways: ['segment'], plain: op === TEXT }));
	}
}

await section(import.meta, '9 large messages', large, { parallel: 3, transports: ['plain', 'TLS'] });
await section(import.meta, '9 many messages', small, { parallel: 6, transports: ['plain', 'TLS'] });

// More than the original has: the limit itself, in bytes of the message, whatever its frames.
const max = 10000, full = Buffer.alloc(max, 'x'), limit = { max };
const tooBig = (id, what, frames, out) => bad(id, what, frames, 1009, out, limit);
const cases = [
	good('9.9.1', 'text as large as it may be', [text(full)], [[TEXT, full]]),
	good('9.9.2', 'in two fragments', [binary(full.subarray(1), more), cont('x')], [[BINARY, full]]),
	good('9.9.3', 'in fragments of one byte', pieces(TEXT, full.subarray(0, 3000), 1), [[TEXT, full.subarray(0, 3000)]], { ways: ['segment'] }),
	good('9.9.4', 'two of them', [text(full), binary(full)], [[TEXT, full], [BINARY, full]]),
	tooBig('9.10.1', 'one byte more', [text('first'), text(`${full}x`)], [[TEXT, 'first']]),
	tooBig('9.10.2', 'one byte more in an own fragment', [binary(full, more), cont('x')]),
	tooBig('9.10.3', 'in the third fragment', [text('x', more), cont(full.subarray(1), more), cont('', more), cont('y')]),
	tooBig('9.10.4', 'announced alone: 65535 bytes', [binary('', { form: 16, length: 65535 })]),
	tooBig('9.10.5', 'announced alone: 4 GiB', [binary('', { form: 64, length: 2n ** 32n })]),
	tooBig('9.10.6', 'announced alone: the most there is', [text('', { form: 64, length: 2n ** 63n - 1n })]),
	tooBig('9.10.7', 'announced alone, in a fragment that makes the sum overflow', [text('12345', more), cont('', { form: 64, length: 2n ** 63n - 1n })]),
];
await section(import.meta, '9 the limit', cases, { config: { max_message: max }, transports: ['plain', 'TLS'] });
