// The same cases as codec.c through npm ws's Receiver, fed from memory: one line a case, bytes per second of CPU time.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { Receiver } = await import('../e2e/node_modules/ws/wrapper.mjs');
const { isValidUTF8 } = require('../e2e/node_modules/ws/lib/validation.js'); // it exports no such thing

const STREAM = 1 << 20, PIECE = 65536, RUNS = 7, RUN_US = 80000;

function fill(sample) {
	const text = Buffer.alloc(65536, 'x');
	for (let at = 0; at + sample.length <= text.length; at += sample.length) sample.copy(text, at);
	return text;
}

function makeStream(text, size, opcode) {
	const head = Buffer.alloc(size < 126 ? 2 : size < 65536 ? 4 : 10);
	head[0] = 0x80 | opcode;
	head[1] = 0x80 | (size < 126 ? size : size < 65536 ? 126 : 127);
	if (head.length === 4) head.writeUInt16BE(size, 2);
	if (head.length === 10) head.writeBigUInt64BE(BigInt(size), 2);
	const frame = Buffer.concat([head, Buffer.from(opcode === 2 ? [0x12, 0xf4, 0x56, 0x9a] : [0, 0, 0, 0]), text.subarray(0, size)]);
	const n = Math.floor(STREAM / frame.length);
	return { bytes: Buffer.concat(Array.from({ length: n }, () => frame)), messages: n, payload: n * size };
}

const cpu = () => process.cpuUsage().user + process.cpuUsage().system;

function measure(name, pass, bytes) {
	let best = 0;
	for (let k = 0; k < 20; k++) pass();
	for (let i = 0; i < RUNS; i++) {
		const begin = cpu();
		let n = 0, now;
		do {
			pass();
			n += bytes;
			now = cpu();
		} while (now - begin < RUN_US);
		best = Math.max(best, n / (now - begin) * 1e6);
	}
	console.log(`npm ws\t${name}\t${best.toFixed(0)}`);
}

function each(name, text, size, opcode) {
	const s = makeStream(text, size, opcode);
	const receiver = new Receiver({ isServer: true });
	let count = 0;
	receiver.on('message', () => count++);
	receiver.on('error', (e) => { throw e; });
	measure(name, () => {
		count = 0;
		for (let at = 0; at < s.bytes.length; at += PIECE) receiver.write(s.bytes.subarray(at, at + PIECE));
		if (count !== s.messages) throw new Error(`${name}: ${count} of ${s.messages} messages`);
	}, s.payload);
}

const ascii = fill(Buffer.from('{"id":12345,"user":"alice@example.org","state":"shipped"},'));
const mixed = fill(Buffer.from('Grüße κόσμε こんにち 😀, '));
each('binary 16 B', ascii, 16, 2);
each('binary 128 B', ascii, 128, 2);
each('binary 1 kB', ascii, 1024, 2);
each('binary 64 kB', ascii, 65536, 2);
each('text 128 B, ASCII', ascii, 128, 1);
each('text 64 kB, ASCII', ascii, 65536, 1);
measure('UTF-8 alone, ASCII', () => { for (let i = 0; i < 16; i++) if (!isValidUTF8(ascii)) throw new Error('ASCII'); }, 16 * ascii.length);
each('text 64 kB, mixed', mixed, 65536, 1);
measure('UTF-8 alone, mixed', () => { for (let i = 0; i < 16; i++) if (!isValidUTF8(mixed)) throw new Error('mixed'); }, 16 * mixed.length);
