// 21: the same cases while the program is replaced: a connection goes to a new worker between any two bytes.
import fs from 'node:fs';
import path from 'node:path';
import { WSGATED } from '../e2e/lib/gateway.mjs';
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { cases as compressions } from './c_13_compression_terms.mjs';
import { cases as fragmentation } from './c_05_fragmentation.mjs';
import { cases as utf8 } from './c_06_utf8.mjs';
import { cases as closing } from './c_07_closing.mjs';
import { cases as framing } from './c_01_framing.mjs';
import { cases as opcodes } from './c_04_opcodes.mjs';
import { cases as pings } from './c_02_pings.mjs';
import { cases as reserved } from './c_03_reserved_bits.mjs';
import { echoServer, judge, many, openEcho, verdict } from './lib/suite.mjs';
import { agreed } from './lib/deflate.mjs';
import { model } from './lib/model.mjs';
import { below, compressedConversation, conversation, dice } from './lib/random.mjs';
import { close, encode, frame } from './lib/wire.mjs';

const ROUNDS = 3, EXTENSIONS = 'sec-websocket-extensions';

async function replace(gw) {
	gw.install();
	gw.signal('SIGUSR2');
	await gw.replaced();
}

async function server(t, config) {
	const program = path.join(t.dir, 'wsgated');
	fs.copyFileSync(WSGATED, program);
	return echoServer(t, { ...config, drain_timeout: '20s' }, { program }); // who is slow to end is not cut off
}

// What comes before the byte that decides is sent in so many parts, with a move behind each; then the rest.
function inParts(r, c, terms) {
	const own = c.offer ? c.frames(terms) : c.frames, frames = c.kind === 'good' ? [...own, close(1000)] : own;
	const wire = Buffer.concat(frames.map(encode)), end = c.offer ? wire.length - 1 : model(wire).at - 1;
	const at = [...Array.from({ length: ROUNDS }, () => below(r, end + 1)).sort((a, b) => a - b), wire.length];
	return at.map((to, i) => wire.subarray(i ? at[i - 1] : 0, to));
}

const plainOnes = (c) => Array.isArray(c.frames) && !c.plain && !c.fin && c.frames.every((f) => f.op !== undefined);

// All of them at once: a part of each, a move of all, the next part.
async function moved(gw, cases, seed) {
	const r = dice(seed), runs = cases.map((c) => ({ c }));
	const wrong = await many(runs.map((run) => ({
		name: run.c.id,
		run: async () => {
			run.peer = await openEcho(gw, false, run.c.offer ? { [EXTENSIONS]: run.c.offer } : {});
			run.parts = inParts(r, run.c, agreed(run.c.offer ?? '', run.peer.answer.headers[EXTENSIONS]));
		},
	})), 48);
	verdict(wrong, runs.length);
	for (let i = 0; i < ROUNDS; i++) {
		await Promise.all(runs.map(({ peer, parts }) => peer.write(parts[i])));
		await replace(gw);
	}
	wrong.push(...await many(runs.map(({ c, peer, parts }) => ({
		name: `${c.id} ${c.what} (parts of ${parts.map((p) => p.length)})`,
		run: () => judge(peer, { ...c, pieces: parts.slice(-1) }),
	})), 100));
	verdict(wrong, runs.length);
	const went = [...gw.log().matchAll(/connections are with the new program moved=(\d+) left=(\d+)/g)].map((m) => m.slice(1).map(Number));
	assert.deepEqual(went, Array.from({ length: ROUNDS }, () => [runs.length, 0]), 'all of them moved, each time');
}

await test('21.1 each case, and moves in the middle of it', async (t) => {
	const cases = [framing, pings, reserved, opcodes, fragmentation, utf8, closing].flat().filter(plainOnes);
	const random = Array.from({ length: 200 }, (_, i) => {
		const frames = conversation(dice(i)), { out, code } = model(Buffer.concat(frames.map(encode)));
		return { kind: 'ends', id: `random ${i}`, what: '', frames, out, code };
	});
	await moved(await server(t), [...cases, ...random], 21);
}, { ms: 180000 });

for (const context of ['no', 'yes']) {
	await test(`21.2 compressed messages, and moves in the middle of them (context ${context})`, async (t) => {
		const mine = compressions.filter((c) => c.kind === 'good' && typeof c.frames === 'function' && !c.echoOnly).filter((c, i) => i % 4 === 0);
		const random = Array.from({ length: 100 }, (_, i) => ({ kind: 'ends', id: `random ${i}`, what: '', code: 1000, ...compressedConversation(dice(i)) }));
		await moved(await server(t, { compression: { enabled: 'yes', threshold: 1, context } }), [...mine, ...random], 22);
	}, { ms: 180000 });
}

await test('21.4 clients that read nothing: what waits on both sides goes along', async (t) => {
	const gw = await server(t), out = Array.from({ length: 600 }, (_, i) => [2, Buffer.alloc(39990 + (i % 20), i)]);
	const wire = [...out.map(([op, data]) => frame(op, data)), close(1000)].map(encode);
	const peers = await Promise.all(Array.from({ length: 4 }, () => openEcho(gw, false)));
	for (const p of peers) {
		p.socket.pause();
		for (const b of wire) p.socket.write(b);
	}
	let left = -1, same = 0;
	const stuck = () => {
		const now = peers.reduce((n, p) => n + p.socket.writableLength, 0);
		same = now === left ? same + 1 : 0;
		left = now;
		return same >= 5 && peers.every((p) => p.socket.writableLength > 0);
	};
	await until('nobody can send any more', stuck);
	for (let i = 0; i < ROUNDS; i++) await replace(gw);
	for (const p of peers) p.socket.resume();
	const judged = await many(peers.map((peer, i) => ({ name: `client ${i}`, run: () => judge(peer, { kind: 'ends', code: 1000, out, pieces: [], ms: 30000 }) })), 8);
	verdict(judged, peers.length);
	assert.match(gw.log(), /connections are with the new program moved=4 left=0/);
}, { ms: 120000 });

await test('21.3 cases of sections 2 to 7, again and again while programs follow one another', async (t) => {
	const gw = await server(t);
	const cases = [pings, reserved, opcodes, fragmentation, closing].flat().filter(plainOnes);
	let going = true, runs = 0;
	const wrong = [];
	const round = async () => {
		while (going) {
			const jobs = cases.flatMap((c) => ['segment', 'bytes'].map((way) => ({
				name: `${c.id} ${c.what} (${way})`,
				run: async () => {
					if (!going) return;
					const peer = await openEcho(gw);
					runs++;
					await judge(peer, c, way).finally(() => peer.destroy());
				},
			})));
			wrong.push(...await many(jobs, 32));
		}
	};
	const all = round();
	for (let i = 0; i < 4; i++) {
		const before = runs;
		await until('some of them', () => runs > before + 100);
		await replace(gw);
	}
	going = false;
	await all;
	verdict(wrong, runs);
}, { ms: 180000 });
