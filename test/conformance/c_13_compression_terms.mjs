// 13: compression with every parameter; offers that can't be taken; what RFC 7692 shows; what is not to be decompressed.
import zlib from 'node:zlib';
import { good, bad, section } from './lib/suite.mjs';
import { Deflater } from './lib/deflate.mjs';
import { compressed, messages, sizes, ways } from './c_12_compression.mjs';
import { BINARY, PING, PONG, TEXT, binary, close, cont, more, ping, pong, text } from './lib/wire.mjs';

const json = Buffer.from(JSON.stringify(Array.from({ length: 2500 }, (_, i) => ({ n: i * 7919, what: `Maß ${i % 17}`, on: i % 3 === 0 }))).replace(/ß/g, 'ss'));
const hex = (s) => Buffer.from(s.replace(/ /g, ''), 'hex');
const packed = { rsv: 4 };
const plain = 'permessage-deflate';

// What the original's clients offer: with server_no_context_takeover or not, a window or none, or several offers.
const offers = ['', '; server_no_context_takeover', '; server_max_window_bits=9', '; server_max_window_bits=15',
	'; server_no_context_takeover; server_max_window_bits=9', '; server_no_context_takeover; server_max_window_bits=15'].map((o) => [plain + o]);
offers.push([offers[4][0], offers[1][0], offers[0][0]]);

export const cases = [];
for (const [k, list] of offers.entries()) {
	for (const [i, [n, size]] of sizes.entries()) {
		const all = messages(BINARY, json, n, 10);
		cases.push(good(`13.${k + 1}.${i + 1}`, `${list.join(', ')}: ${n} bytes${size ? ` in fragments of ${size}` : ''}`, compressed(all, size), all,
			{ offer: list.join(', '), ways: ways(n, size).slice(-1), packed: n < 256 ? 0 : all.length, plain: true, ms: 60000 }));
	}
}

// 13.8: each combination of the four parameters.
const bits = [8, 9, 10, 11, 12, 13, 14, 15];
const sample = Array.from({ length: 4 }, (_, i) => [TEXT, `${json.toString('latin1', 0, 1500)} ${i} ${json.toString('latin1', 0, 900)}`]);
for (const server of [null, ...bits]) {
	for (const client of [null, '', ...bits]) {
		for (const contexts of ['', '; server_no_context_takeover', '; client_no_context_takeover', '; client_no_context_takeover; server_no_context_takeover']) {
			const offer = `${plain}${contexts}${server ? `; server_max_window_bits=${server}` : ''}${client === null ? '' : client ? `; client_max_window_bits=${client}` : '; client_max_window_bits'}`;
			cases.push(good(`13.8.${cases.length}`, offer, compressed(sample), sample, { offer, ways: ['segment'], strict: true, packed: server === 8 ? 0 : 4, plain: (server ?? 12) % 3 + (client || 12) % 2 > 0 }));
		}
	}
}

// 13.9: what must not be taken, and what must, written in all ways. With an offer that is not taken RSV1 means nothing.
const taken = ['permessage-deflate; server_max_window_bits="10"', 'permessage-deflate;server_no_context_takeover;client_max_window_bits', ' permessage-deflate ; client_max_window_bits = 10 ',
	'permessage-bzip2, permessage-deflate', 'permessage-deflate; server_max_window_bits=16, permessage-deflate', ', ,permessage-deflate,,', 'x-webkit-deflate-frame, permessage-deflate; client_max_window_bits',
	'x-one; a="b, permessage-deflate; server_max_window_bits=8, c", permessage-deflate; client_no_context_takeover'];
const passed = ['permessage-deflate; server_max_window_bits', 'permessage-deflate; server_max_window_bits=7', 'permessage-deflate; server_max_window_bits=16', 'permessage-deflate; server_max_window_bits=010',
	'permessage-deflate; server_max_window_bits=""', 'permessage-deflate; server_max_window_bits=+9', 'permessage-deflate; client_max_window_bits=0', 'permessage-deflate; client_max_window_bits=99999999999999999999',
	'permessage-deflate; client_max_window_bits=8; client_max_window_bits=8', 'permessage-deflate; server_no_context_takeover=1', 'permessage-deflate; client_no_context_takeover=""',
	'permessage-deflate; server_no_context_takeover; server_no_context_takeover', 'permessage-deflate; server_max_windows_bits=9', 'permessage-deflate; x', 'permessage-bzip2', 'permessage-deflate-x',
	'permessage-deflate server_no_context_takeover', 'permessage-deflate; ', 'x-one; a="permessage-deflate, permessage-deflate"', '"permessage-deflate"', ';'];
const pair = [[TEXT, 'a'.repeat(500)], [BINARY, 'b'.repeat(500)]];
const uncompressed = pair.map(([op, data]) => ({ ...text(data), op }));
for (const [i, offer] of taken.entries()) cases.push(good(`13.9.${i + 1}`, `taken: ${offer}`, compressed(pair), pair, { offer, packed: 2, ways: ['segment'] }));
for (const [i, offer] of passed.entries()) {
	cases.push(good(`13.9.p${i + 1}`, `passed over: ${offer}`, uncompressed, pair, { offer, declined: true, ways: ['segment'] }));
	cases.push(bad(`13.9.r${i + 1}`, `passed over, and RSV1: ${offer}`, [text('a'), text('x', packed)], 1002, [[TEXT, 'a']], { offer, declined: true, ways: ['segment'] }));
}

// 13.10: the examples of RFC 7692 7.2.3, and what a deflater may do that ours does not.
const offer = `${plain}; client_max_window_bits`, hello = [TEXT, 'Hello'];
const shown = (id, what, frames, out) => cases.push(good(`13.10.${id}`, what, frames, out, { offer, ways: ['frames', 'bytes', 'segment'] }));
shown(1, 'one block', [text(hex('f2 48 cd c9 c9 07 00'), packed)], [hello]);
shown(2, 'in two fragments', [text(hex('f2 48 cd'), { ...packed, ...more }), cont(hex('c9 c9 07 00'))], [hello]);
shown(3, 'the window of the message before, where it is kept',
	(t) => [text(hex('f2 48 cd c9 c9 07 00'), packed), text(hex(t.clientContext ? 'f2 00 11 00 00' : 'f2 48 cd c9 c9 07 00'), packed)], [hello, hello]);
shown(4, 'a block without compression', [text(hex('00 05 00 fa ff 48 65 6c 6c 6f 00'), packed)], [hello]);
shown(5, 'a block that says it is the last', [text(hex('f3 48 cd c9 c9 07 00 00'), packed)], [hello]);
shown(6, 'two blocks', [text(hex('f2 48 05 00 00 00 ff ff ca c9 c9 07 00'), packed)], [hello]);
shown(7, 'an empty message', [text(hex('00'), packed), binary(hex('00'), packed)], [[TEXT, ''], [BINARY, '']]);
shown(8, 'empty fragments around it', [text('', { ...packed, ...more }), cont(hex('f2 48 cd c9 c9 07 00'), more), cont('', more), cont('')], [hello]);
shown(9, 'Pings between the fragments', [text(hex('f2'), { ...packed, ...more }), ping('1'), cont(hex('48 cd c9 c9'), more), pong('2'), ping('3'), cont(hex('07 00'))], [[PONG, '1'], [PONG, '3'], hello]);
shown(10, 'messages without compression between compressed ones', (t) => {
	const d = new Deflater(t), one = () => text(d.message(Buffer.from('Hello')), packed);
	return [one(), text('Hello'), one(), binary('x', more), cont('y'), one()];
}, [hello, hello, hello, [BINARY, 'xy'], hello]);
shown(11, 'a last block, then another one in the next message', [text(hex('f3 48 cd c9 c9 07 00 00'), packed), text(hex('f2 48 cd c9 c9 07 00'), packed)], [hello, hello]);
shown(12, 'a last block, and what looks back behind it: in the same message, in the next one where the window is kept', (t) => [
	text(hex('f3 48 cd c9 c9 07 00 f2 00 11 00 00'), packed),
	text(hex(t.clientContext ? 'f2 00 11 00 00' : 'f2 48 cd c9 c9 07 00'), packed),
	text(hex('f3 48 cd c9 c9 07 00 00'), packed),
	text(hex(t.clientContext ? 'f2 00 11 00 00' : 'f2 48 cd c9 c9 07 00'), packed),
], [[TEXT, 'HelloHello'], hello, hello, hello]);
const long = json.subarray(0, 20000), { Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE, Z_FILTERED } = zlib.constants;
for (const [i, how] of [{ level: 0 }, { level: 1 }, { level: 9 }, { strategy: Z_FIXED }, { strategy: Z_HUFFMAN_ONLY }, { strategy: Z_RLE }, { strategy: Z_FILTERED }, { memLevel: 1 }].entries()) {
	cases.push(good(`13.10.z${i + 1}`, `a deflater with ${JSON.stringify(how)}`, (t) => {
		const d = new Deflater(t, how);
		return [1, 2, 3].map(() => text(d.message(long), packed));
	}, [1, 2, 3].map(() => [TEXT, long]), { offer, ways: ['segment', 14], packed: 3 }));
}

// 13.11: what fails the connection.
const deflate = (data) => zlib.deflateRawSync(data, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).subarray(0, -4);
const first = text(deflate('before'), packed);
const fails = (id, what, frames, code, opts) => cases.push(bad(`13.11.${id}`, what, [first, ...frames, text('never')], code, [[TEXT, 'before']], { offer, ways: ['frames', 'bytes', 'segment'], ...opts }));
for (const [i, rsv] of [1, 2, 3, 5, 6, 7].entries()) fails(`1.${i + 1}`, `RSV ${rsv}`, [text(deflate('x'), { rsv })], 1002);
for (const [i, op] of [8, PING, PONG].entries()) fails(`2.${i + 1}`, `RSV1 on a control frame ${op}`, [{ ...close(1000, '', packed), op }], 1002);
fails('3.1', 'RSV1 on a second fragment', [text(deflate('x').subarray(0, 1), { ...packed, ...more }), cont('', packed)], 1002);
fails('3.2', 'RSV1 on a second fragment of a message that is not compressed', [text('x', more), cont('y', packed)], 1002);
fails('4.1', 'nothing at all', [text('', packed)], 1007);
fails('4.2', 'no deflate data', [binary('Hello', packed)], 1007);
fails('4.3', 'a block type that does not exist', [binary(hex('06'), packed)], 1007);
fails('4.4', 'cut off', [text(deflate(long).subarray(0, 500), packed)], 1007);
const unseen = Buffer.from(Array.from({ length: 300 }, (_, i) => (i * i) >> 3));
fails('4.5', 'a distance beyond the beginning', [binary(zlib.deflateRawSync(unseen, { dictionary: unseen, finishFlush: zlib.constants.Z_SYNC_FLUSH }).subarray(0, -4), packed)], 1007);
fails('4.6', 'a stored block with a wrong length', [binary(hex('00 05 00 fa fe 48 65 6c 6c 6f 00'), packed)], 1007);
fails('4.7', 'a stored block that is cut off', [binary(hex('00 05 00 fa ff 48 65'), packed)], 1007);
fails('5.1', 'text that is no UTF-8', [text(deflate(hex('61 c3 28')), packed)], 1007);
fails('5.2', 'text that ends inside a character', [text(deflate(hex('61 e2 82')), packed)], 1007);
fails('5.3', 'text that is no UTF-8, in fragments', [text(deflate(hex('ed a0 80')).subarray(0, 2), { ...packed, ...more }), cont(deflate(hex('ed a0 80')).subarray(2))], 1007);
fails('6.1', 'more than a message may have', [binary(deflate(Buffer.alloc((16 << 20) + 1)), packed)], 1009, { ms: 30000 });
fails('6.2', 'very much more: 200 MB in 200 kB', [binary(deflate(Buffer.alloc(200 << 20)), packed)], 1009, { ms: 30000 });
cases.push(good('13.11.6.3', 'just as much as it may have', [binary(deflate(Buffer.alloc(16 << 20)), packed)], [[BINARY, Buffer.alloc(16 << 20)]], { offer, ways: ['segment'], packed: 1, ms: 30000, echoOnly: true }));

const on = { enabled: 'yes', threshold: 1 };
await section(import.meta, '13 terms', cases, { compression: on, transports: ['plain'], parallel: 16 });
await section(import.meta, '13 terms, with context', cases, { compression: { ...on, context: 'yes' }, transports: ['plain', 'TLS'], parallel: 16 });
await section(import.meta, '13 terms, with context and the largest window', cases.filter((c) => !c.echoOnly), { compression: { ...on, context: 'yes', window_bits: 15 }, transports: ['user'], parallel: 16 });
