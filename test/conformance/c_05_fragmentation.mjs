// 5: messages in fragments, and what may not stand between them.
import { good, bad, section } from './lib/suite.mjs';
import { BINARY, PONG, TEXT, binary, close, cont, more, ping, pieces, pong, text } from './lib/wire.mjs';

const two = [text('fragment1', more), cont('fragment2')], both = [TEXT, 'fragment1fragment2'];
const held = [text('fragment1', more), ping('ping payload'), cont('fragment2')];
const nothing = (last) => [cont('non-continuation payload', last), text('Hello, world!')];
const five = [text('fragment1', more), cont('fragment2', more), ping('pongme 1!'), cont('fragment3', more), cont('fragment4', more), ping('pongme 2!'), cont('fragment5')];
const fiveOut = [[PONG, 'pongme 1!'], [PONG, 'pongme 2!'], [TEXT, 'fragment1fragment2fragment3fragment4fragment5']];

export const cases = [
	bad('5.1', 'a Ping in two fragments', [ping('fragment1', more), cont('fragment2')], 1002),
	bad('5.2', 'a Pong in two fragments', [pong('fragment1', more), cont('fragment2')], 1002),
	good('5.3', 'text in two fragments', two, [both], { ways: ['segment'] }),
	good('5.4', 'the same, frame by frame', two, [both], { ways: ['frames'] }),
	good('5.5', 'the same, octet by octet', two, [both], { ways: ['bytes'] }),
	good('5.6', 'text in two fragments, a Ping between', held, [[PONG, 'ping payload'], both], { ways: ['segment'] }),
	good('5.7', 'the same, frame by frame', held, [[PONG, 'ping payload'], both], { ways: ['frames'] }),
	good('5.8', 'the same, octet by octet', held, [[PONG, 'ping payload'], both], { ways: ['bytes'] }),
	bad('5.9', 'a last continuation of nothing, then text', nothing({}), 1002, [], { ways: ['segment', 'early'] }),
	bad('5.10', 'the same, frame by frame', nothing({}), 1002, [], { ways: ['frames'] }),
	bad('5.11', 'the same, octet by octet', nothing({}), 1002, [], { ways: ['bytes'] }),
	bad('5.12', 'a continuation of nothing that is not the last, then text', nothing(more), 1002, [], { ways: ['segment', 'early'] }),
	bad('5.13', 'the same, frame by frame', nothing(more), 1002, [], { ways: ['frames'] }),
	bad('5.14', 'the same, octet by octet', nothing(more), 1002, [], { ways: ['bytes'] }),
	bad('5.15', 'text in two fragments, a continuation of nothing, text', [...two, cont('fragment3', more), text('unfragmented')], 1002, [both]),
	bad('5.16', 'continuations of nothing before messages', [cont('fragment1', more), text('fragment2', more), cont('fragment3')], 1002),
	bad('5.17', 'last continuations of nothing before messages', [cont('fragment1'), text('fragment2', more), cont('fragment3')], 1002),
	bad('5.18', 'two fragments that both begin a message', [text('fragment1', more), text('fragment2')], 1002),
	good('5.19', 'text in five fragments, Pings between', five, fiveOut, { ways: ['frames', 'bytes'] }),
	good('5.20', 'the same without a pause', five, fiveOut, { ways: ['segment'] }),
	// more than the original has
	bad('5.21.1', 'a Close in two fragments', [close(1000, 'x', more), cont('fragment2')], 1002),
	bad('5.21.2', 'a Close in fragments inside a message', [text('a', more), close(1000, 'x', more), cont('b')], 1002),
	bad('5.21.3', 'a Ping in fragments inside a message', [binary('a', more), ping('', more), cont('b')], 1002),
	bad('5.21.4', 'text inside a binary message', [binary('a', more), text('b', more), cont('c')], 1002),
	bad('5.21.5', 'binary inside text, behind a Ping', [text('a', more), ping('p'), binary('b')], 1002, [[PONG, 'p']]),
	good('5.22.1', 'empty fragments alone', [text('', more), cont('', more), cont('')], [[TEXT, '']]),
	good('5.22.2', 'empty binary fragments alone', [binary('', more), cont('')], [[BINARY, '']]),
	good('5.22.3', 'empty fragments before, between and behind', [binary('', more), cont('a', more), cont('', more), cont('b', more), cont('')], [[BINARY, 'ab']]),
	good('5.22.4', 'messages of all kinds, one behind the other',
		[text('1', more), cont('2'), binary('3'), binary('4', more), cont('', more), cont('5'), text('6'), text('', more), cont('7')],
		[[TEXT, '12'], [BINARY, '3'], [BINARY, '45'], [TEXT, '6'], [TEXT, '7']]),
];

const any = Buffer.from(Array.from({ length: 700 }, (_, i) => (i * 11) & 255));
for (const [i, size] of [1, 2, 3, 125, 126, 127, 300, 699].entries()) {
	const fragments = pieces(BINARY, any, size);
	cases.push(good(`5.23.${i + 1}`, `700 bytes in fragments of ${size}`, fragments, [[BINARY, any]]));
	const open = fragments.map((f) => ({ ...f, fin: false })), asks = (k) => k % 50 === 0;
	cases.push(good(`5.24.${i + 1}`, 'the same with Pings among them, and an empty fragment as the last',
		[...open.flatMap((f, k) => (asks(k) ? [f, ping(`${k}`)] : [f])), cont('')],
		[...open.flatMap((_, k) => (asks(k) ? [[PONG, `${k}`]] : [])), [BINARY, any]]));
}

await section(import.meta, '5 fragmentation', cases);
