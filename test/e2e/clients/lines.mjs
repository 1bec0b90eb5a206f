// What the clients in JavaScript share: lines out, lines in.
import fs from 'node:fs';
import readline from 'node:readline';

export * from './messages.mjs';

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
