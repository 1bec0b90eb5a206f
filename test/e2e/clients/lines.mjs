// What the clients in JavaScript share: lines out, lines in, the messages of the protocol (README).
import fs from 'node:fs';
import readline from 'node:readline';

const TABLE = Int32Array.from({ length: 256 }, (_, n) => {
	for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
	return n;
});

// As zlib has it (Node's own is not in all versions).
export function crc32(bytes) {
	let c = -1;
	for (const b of bytes) c = (c >>> 8) ^ TABLE[(c ^ b) & 255];
	return (~c >>> 0).toString(16).padStart(8, '0');
}

export const message = (kind, bytes) => `message ${kind} ${bytes.length} ${crc32(bytes)}`;
export const numbered = (i, size) => String(i).padEnd(size, '.');
export const bytes = (size) => Uint8Array.from({ length: size }, (_, k) => k & 255);

export const say = (line) => fs.writeSync(1, `${line}\n`);

export function options() {
	const opts = Object.fromEntries(process.argv.slice(3).map((a) => [a.split('=')[0], a.slice(a.indexOf('=') + 1)]));
	return { url: process.argv[2], ...opts };
}

// Nothing else runs meanwhile: that is the point.
export function busy(file) {
	const cell = new Int32Array(new SharedArrayBuffer(4));
	say('busy');
	while (fs.existsSync(file)) Atomics.wait(cell, 0, 0, 20);
	say('idle');
}

// Calls table[word](...rest of the line).
export function obey(table) {
	readline.createInterface({ input: process.stdin }).on('line', (line) => {
		const [word, ...rest] = line.split(' ');
		if (table[word]) table[word](...rest);
		else say(`error no ${word} here`);
	});
}
