// 2: Pings and Pongs.
import { good, bad, section } from './lib/suite.mjs';
import { PING, PONG, TEXT, BINARY, binary, more, cont, ping, pong, text } from './lib/wire.mjs';

const range = (n) => Array.from({ length: n }, (_, i) => i);
const raw = Buffer.from(range(125).map((i) => 254 - i));
const ten = range(10).map((i) => `payload-${i}`);

export const cases = [
	good('2.1', 'a Ping without payload', [ping()], [[PONG, '']]),
	good('2.2', 'a Ping with text', [ping('Hello, world!')], [[PONG, 'Hello, world!']]),
	good('2.3', 'a Ping with bytes that are no text', [ping(Buffer.from([0, 255, 254, 253, 252, 251, 0, 255]))],
		[[PONG, Buffer.from([0, 255, 254, 253, 252, 251, 0, 255])]]),
	good('2.4', 'a Ping of 125 bytes', [ping(raw)], [[PONG, raw]]),
	bad('2.5', 'a Ping of 126 bytes', [ping(Buffer.alloc(126, 254))], 1002),
	good('2.6', 'a Ping of 125 bytes, octet by octet', [ping(raw)], [[PONG, raw]], { ways: [1, 2, 3, 7, 130] }),
	good('2.7', 'a Pong that nobody asked for, without payload', [pong()]),
	good('2.8', 'the same with payload', [pong('unsolicited pong payload')]),
	good('2.9', 'the same, then a Ping', [pong('unsolicited'), ping('ping payload')], [[PONG, 'ping payload']]),
	good('2.10', 'ten Pings', ten.map((p) => ping(p)), ten.map((p) => [PONG, p])),
	good('2.11', 'ten Pings, octet by octet', ten.map((p) => ping(p)), ten.map((p) => [PONG, p]), { ways: [1, 2, 5, 11] }),
	// more than the original has
	good('2.12', 'Pings of each length', range(126).map((n) => ping(raw.subarray(0, n))), range(126).map((n) => [PONG, raw.subarray(0, n)])),
	bad('2.13', 'a Pong of 126 bytes', [pong(Buffer.alloc(126))], 1002),
	bad('2.14', 'a Ping whose length takes 16 bits', [ping('x', { form: 16 })], 1002),
	bad('2.15', 'a Ping whose length takes 64 bits', [ping('x', { form: 64 })], 1002),
	bad('2.16', 'a Ping without a mask', [ping('x', { mask: false })], 1002),
	good('2.17', 'a thousand Pings and messages, all answered in order',
		range(1000).map((i) => (i % 3 ? ping(`p${i}`) : i % 2 ? text(`t${i}`) : binary(`b${i}`))),
		range(1000).map((i) => (i % 3 ? [PONG, `p${i}`] : [i % 2 ? TEXT : BINARY, `${i % 2 ? 't' : 'b'}${i}`]))),
	good('2.18', 'Pings between all fragments of a message',
		[text('a', more), ping('1'), cont('b', more), ping('2'), pong('3'), cont('', more), ping('4'), cont('c')],
		[[PONG, '1'], [PONG, '2'], [PONG, '4'], [TEXT, 'abc']]),
	bad('2.19', 'a Ping after which the connection fails is answered', [ping('before'), { ...ping('x'), op: 11 }], 1002, [[PONG, 'before']]),
	bad('2.20', 'a Ping with a reserved bit', [ping('x', { rsv: 4 })], 1002),
];

await section(import.meta, '2 pings and pongs', cases);
