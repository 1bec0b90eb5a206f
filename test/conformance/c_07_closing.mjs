// 7: the closing handshake: every code, reasons, what comes behind it, and who ends what first.
import { good, bad, ends, section } from './lib/suite.mjs';
import { BINARY, CLOSE, PONG, TEXT, binary, close, cont, frame, more, ping, pieces, pong, text } from './lib/wire.mjs';

const hello = 'Hello World!';
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const big = Buffer.alloc(256 * 1024, 'BAsd7&jh23');
const unsound = Buffer.from('cebae1bdb9cf83cebcceb5eda080656469746564', 'hex');

export const cases = [
	good('7.1.1', 'a message, then a Close', [text(hello)], [[TEXT, hello]]),
	ends('7.1.2', 'two Closes', [close(1000), close(1000)], 1000),
	ends('7.1.3', 'a Close, then a Ping', [close(1000), ping()], 1000),
	ends('7.1.4', 'a Close, then text', [close(1000), text(hello)], 1000),
	ends('7.1.5', 'a Close inside a message', [text('fragment1', more), close(1000), cont('fragment2')], 1000),
	ends('7.1.6', '256 KiB, a Close, a Ping', [text(big), close(1000), ping()], 1000, [[TEXT, big]]),
	ends('7.3.1', 'a Close without payload', [close()], 1005),
	bad('7.3.2', 'a Close of one byte', [frame(CLOSE, 'a')], 1002),
	ends('7.3.3', 'a Close of two bytes', [close(1000)], 1000),
	ends('7.3.4', 'a Close with a reason', [close(1000, hello)], 1000),
	ends('7.3.5', 'a Close with the longest reason', [close(1000, '*'.repeat(123))], 1000),
	bad('7.3.6', 'a Close with a reason that is too long', [close(1000, '*'.repeat(124))], 1002),
	bad('7.5.1', 'a Close whose reason is no UTF-8', [close(1000, unsound)], 1007),
];
for (const [i, code] of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].entries()) {
	cases.push(ends(`7.7.${i + 1}`, `the code ${code}`, [close(code)], code));
	cases.push(ends(`7.7.${i + 1}r`, `the code ${code} with a reason`, [close(code, 'Tschüß')], code));
}
for (const [i, code] of [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999].entries()) {
	cases.push(bad(`7.9.${i + 1}`, `the code ${code}`, [close(code)], 1002));
	cases.push(bad(`7.9.${i + 1}r`, `the code ${code} with a reason`, [close(code, 'bye')], 1002));
}
for (const [i, code] of [5000, 65535].entries()) cases.push(bad(`7.13.${i + 1}`, `the code ${code}`, [close(code)], 1002));

// From here on more than the original has. 7.14: the codes that came later, those between, all that are no codes up to 1100.
for (const code of [1012, 1013, 1014, 3001, 3333, 4001, 4444]) cases.push(ends(`7.14.${code}`, `the code ${code}`, [close(code)], code));
const never = [...range(1, 998), ...range(1017, 1099), 1015, 1200, 1999, 2001, 2500, 2998, 5001, 32768, 65534];
for (const code of never) cases.push(bad(`7.14.${code}`, `the code ${code}`, [close(code)], 1002, [], { ways: ['segment'], plain: true }));

// 7.15: reasons. Cut inside a character, overlong, a surrogate; each length.
const reasons = ['e2 82', 'c0 af', 'ed a0 80', 'f4 90 80 80', 'ff', '61 80', 'f0 9f 98'];
for (const [i, r] of reasons.entries()) cases.push(bad(`7.15.${i + 1}`, `a reason with ${r}`, [close(1000, Buffer.from(r.replace(/ /g, ''), 'hex'))], 1007));
for (const n of [1, 2, 60, 122]) cases.push(ends(`7.15.l${n}`, `a reason of ${n} bytes`, [close(4000, 'r'.repeat(n))], 4000));
cases.push(ends('7.15.u', 'the longest reason of characters of three bytes', [close(1000, '€'.repeat(41))], 1000));
cases.push(ends('7.15.s', 'a reason at the end of Unicode', [close(1000, Buffer.from('f48fbfbf', 'hex'))], 1000));

cases.push(
	// 7.16: what stands before a Close is answered, what stands behind it is not there
	ends('7.16.1', 'messages and Pings before it', [text('a'), ping('1'), binary('b'), pong(), ping('2'), close(1000)], 1000, [[TEXT, 'a'], [PONG, '1'], [BINARY, 'b'], [PONG, '2']]),
	ends('7.16.2', 'faults of all kinds behind it', [close(1000), text('x', { mask: false }), frame(15, 'x'), cont('x'), close(5)], 1000),
	ends('7.16.3', 'a Close of nothing, then text that is no UTF-8', [close(), text(Buffer.from([255]))], 1005),
	ends('7.16.4', 'a megabyte behind it', [close(3000), binary(Buffer.alloc(1 << 20))], 3000),
	ends('7.16.5', 'half a frame behind it', [close(1001), binary('x', { length: 1000 })], 1001),
	ends('7.16.6', 'inside a message in many fragments, behind Pings', [...pieces(TEXT, 'a'.repeat(20), 1).slice(0, -1), ping('p'), close(1000), cont('b')], 1000, [[PONG, 'p']]),
	bad('7.16.7', 'a megabyte behind a fault', [frame(3), binary(Buffer.alloc(1 << 20)), close(1000)], 1002),
	bad('7.16.8', 'a Close behind a fault', [text('a'), frame(7), close(1000)], 1002, [[TEXT, 'a']]),
	bad('7.16.9', 'a bad Close inside a message', [text('a', more), close(1005), cont('b')], 1002),
	// 7.17: a client that ends its side right behind its last byte is told all the same
	ends('7.17.1', 'a Close and the end', [close(1000)], 1000, [], { fin: true }),
	ends('7.17.2', 'messages, a Close, the end', [text('a'), ping('p'), close(4000, 'bye')], 4000, [[TEXT, 'a'], [PONG, 'p']], { fin: true }),
	ends('7.17.3', 'half a megabyte, a Close, the end', [binary(Buffer.alloc(1 << 19, 7)), close(1000)], 1000, [[BINARY, Buffer.alloc(1 << 19, 7)]], { fin: true }),
	ends('7.17.4', 'a Close, a megabyte, the end', [close(1000), binary(Buffer.alloc(1 << 20, 7))], 1000, [], { fin: true }),
	bad('7.17.5', 'a fault and the end', [text('a'), frame(3, 'x')], 1002, [[TEXT, 'a']], { fin: true }),
	bad('7.17.6', 'a fault, a megabyte, the end', [frame(11), binary(Buffer.alloc(1 << 20))], 1002, [], { fin: true }),
);

await section(import.meta, '7 closing', cases);
