// 3: reserved bits, none of which anybody has asked for.
import { bad, section } from './lib/suite.mjs';
import { BINARY, CLOSE, CONT, PING, PONG, TEXT, close, cont, binary, frame, more, ping, pong, text } from './lib/wire.mjs';

const hello = 'Hello, world!';
export const cases = [
	bad('3.1', 'text with RSV 1', [text(hello, { rsv: 1 })], 1002),
	bad('3.2', 'text, text with RSV 2, a Ping', [text(hello), text(hello, { rsv: 2 }), ping()], 1002, [[TEXT, hello]]),
	bad('3.3', 'text, text with RSV 3, a Ping', [text(hello), text(hello, { rsv: 3 }), ping()], 1002, [[TEXT, hello]]),
	bad('3.4', 'text, text with RSV 4, a Ping', [text(hello), text(hello, { rsv: 4 }), ping()], 1002, [[TEXT, hello]]),
	bad('3.5', 'binary with RSV 5', [binary(Buffer.from([0, 255, 254, 253, 252, 251, 0, 255]), { rsv: 5 })], 1002),
	bad('3.6', 'a Ping with RSV 6', [ping(hello, { rsv: 6 })], 1002),
	bad('3.7', 'a Close with RSV 7', [close(1000, '', { rsv: 7 })], 1002),
];

// more than the original has: each kind of frame with each of the bits, alone and inside a message
const kinds = [['text', TEXT], ['binary', BINARY], ['a Ping', PING], ['a Pong', PONG], ['a Close', CLOSE], ['a continuation', CONT]];
for (const [k, [kind, op]] of kinds.entries()) {
	for (let rsv = 1; rsv < 8; rsv++) {
		const f = frame(op, op === CLOSE ? Buffer.from([3, 232]) : 'x', { rsv });
		const first = op >= 8 || op === CONT ? [text('one', more)] : [];
		cases.push(bad(`3.8.${k + 1}.${rsv}`, `${kind} with RSV ${rsv}`, [ping('p'), ...first, f, cont('never'), pong()], 1002, [[PONG, 'p']]));
	}
}

await section(import.meta, '3 reserved bits', cases);
