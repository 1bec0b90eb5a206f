// What the parser of npm ws, as a server, makes of the same bytes.
import { createRequire } from 'node:module';
import { BINARY, PONG, TEXT } from './wire.mjs';

const { Receiver } = createRequire(new URL('../../e2e/package.json', import.meta.url))('ws');

// { out: [[op, data]], code }: as model() says it, 0 when it wants more.
export function oracle(wire, pieces) {
	return new Promise((done) => {
		const r = new Receiver({ isServer: true, binaryType: 'nodebuffer', allowSynchronousEvents: true });
		const out = [];
		let code = 0;
		const end = () => done({ out, code });
		r.on('message', (data, binary) => out.push([binary ? BINARY : TEXT, data]));
		r.on('ping', (data) => out.push([PONG, data]));
		r.on('conclude', (c) => {
			code = c;
			end();
		});
		r.on('error', (e) => {
			code = e[Object.getOwnPropertySymbols(e).find((s) => s.description === 'status-code')];
			end();
		});
		r.on('finish', () => code || end());
		for (const p of pieces) r.write(Buffer.from(p));
		if (!code) r.end();
	});
}
