// 4: opcodes that mean nothing.
import { bad, section } from './lib/suite.mjs';
import { PONG, TEXT, cont, frame, more, ping, text } from './lib/wire.mjs';

const hello = 'Hello, world!';
export const cases = [];
for (const [group, kind, from] of [[1, 'data', 3], [2, 'control', 11]]) {
	for (let i = 0; i < 5; i++) {
		const op = from + i, id = `4.${group}.${i + 1}`;
		cases.push(bad(id, `${kind} opcode ${op}, alone`, [frame(op)], 1002));
		cases.push(bad(`${id}a`, 'with payload', [frame(op, 'reserved')], 1002));
		cases.push(bad(`${id}b`, 'behind text, before a Ping', [text(hello), frame(op, 'x'), ping()], 1002, [[TEXT, hello]]));
		cases.push(bad(`${id}c`, 'behind a fragment and a Ping', [text(hello, more), ping('p'), frame(op, 'x'), cont(hello)], 1002, [[PONG, 'p']]));
		cases.push(bad(`${id}d`, 'not the last fragment', [frame(op, 'x', more)], 1002));
		cases.push(bad(`${id}e`, 'large', [frame(op, Buffer.alloc(70000))], 1002));
	}
}

await section(import.meta, '4 opcodes', cases);
