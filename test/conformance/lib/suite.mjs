// Cases and how they are judged. A case is a row: what a client sends, and all that the server may answer, in order.
//
//   good(id, what, frames, out)             answers `out`; then the client's Close 1000 is answered by the same
//   bad(id, what, frames, code, out)        answers `out`, and fails the connection with that Close
//   ends(id, what, frames, code, out)       the client closes by itself: its last frame is a Close; the answer's code
//
// out: [[opcode, payload], …]. opts (last argument): ways (instead of all), fin (the client ends its side right behind its last
// byte), plain (only there: not through TLS as well, and to no user). frames may be a function, for what is large. Instead of frames: pieces, as they are written;
// and the code 0: nothing of it asks for a Close. cut: makes pieces of the bytes of frames, in any other way. offer: of permessage-deflate; frames(terms) gets what was agreed on, or null; `out` is
// what the answers mean, and `packed` how many of them must come compressed at least. declined: the offer must not be taken.
//
// Each case runs in these ways:
//   frames     each frame in a write of its own          bytes    byte by byte (chop() says how, of what is large)
//   segment    all of them in one write                  early    bad ones alone: no byte behind the one that is wrong
//
// Each time: exactly these frames, whole, unmasked, without reserved bits; one Close, with that code and a reason in UTF-8; then
// the server ends its side, first; what the client sends after that is ignored, and no RST answers it.
import { pathToFileURL } from 'node:url';
import { test, assert } from '../../e2e/lib/scenario.mjs';
import { tlsPair, Pki } from '../../e2e/lib/pki.mjs';
import { until } from '../../e2e/lib/proc.mjs';
import { Peer } from './peer.mjs';
import { Inflater, agreed } from './deflate.mjs';
import { model, Utf8 } from './model.mjs';
import { BINARY, CLOSE, PING, TEXT, chop, chopTo, close, encode, frame } from './wire.mjs';

export { test, assert };

export const isMain = (meta) => pathToFileURL(process.argv[1]).href === meta.url;

export const row = (kind, id, what, frames, code, out = [], opts = {}) =>
	({ kind, id, what, frames, code, out: out.map(([op, data]) => [op, Buffer.from(data)]), ...opts });
export const good = (id, what, frames, out, opts) => row('good', id, what, frames, 1000, out, opts);
export const bad = (id, what, frames, code, out, opts) => row('bad', id, what, frames, code, out, opts);
export const ends = (id, what, frames, code, out, opts) => row('ends', id, what, frames, code, out, opts);

const WAYS = ['frames', 'bytes', 'segment', 'early'];
const turn = () => new Promise((done) => setImmediate(done));

const name = { [TEXT]: 'text', [BINARY]: 'binary', [PING]: 'ping', 10: 'pong', [CLOSE]: 'close' };
const show = (frames) => frames.map(([op, data]) => `${name[op] ?? op}(${data.length <= 12 ? JSON.stringify(data.toString('latin1')) : data.length})`).join(' ') || 'nothing';

function waysOf(c) {
	const marks = Array.isArray(c.frames) && c.frames.some((f) => f.op === undefined);
	return (c.ways ?? WAYS).filter((w) => w !== 'early' || (c.kind === 'bad' && !marks && !c.offer));
}

// The case as pieces to write, and what to wait for between them.
function* script(c, way, terms) {
	if (c.pieces) return yield* c.pieces;
	const frames = typeof c.frames === 'function' ? c.frames(terms) : c.frames;
	let segment = [];
	for (const f of c.kind === 'good' ? [...frames, close(1000)] : frames) {
		if (f.op === undefined) {
			if (segment.length) yield Buffer.concat(segment);
			segment = [];
			yield f;
			continue;
		}
		const b = encode(f);
		if (way === 'bytes') yield* chop(b);
		else if (way > 0) yield* chopTo(b, way);
		else if (way === 'frames') yield b;
		else segment.push(b);
	}
	if (c.cut) yield* c.cut(Buffer.concat(segment));
	else if (segment.length) yield way === 'early' ? early(c, Buffer.concat(segment)) : Buffer.concat(segment);
}

function early(c, wire) {
	const m = model(wire, { max: c.max });
	assert.equal(m.code, c.code, 'the table and the model agree');
	assert.equal(show(m.out), show(c.out), 'the table and the model agree');
	return wire.subarray(0, m.at);
}

async function play(peer, c, way, terms) {
	let n = 0;
	for (const piece of script(c, way, terms)) {
		if (piece.failed) {
			await peer.until('the Close at once', () => peer.close);
		} else if (piece.answered) {
			await peer.until('the answers so far', () => peer.frames.length >= piece.answered);
		} else if (!peer.socket.destroyed) {
			const sent = peer.write(piece);
			if (peer.socket.writableNeedDrain) await sent;
			else if (++n < 4096 || n % 16 === 0) await turn(); // many pieces: some go out together
		}
	}
}

// Nothing more counts, and nobody minds.
async function afterwards(peer) {
	// After two seconds without a byte the server may be gone: a machine that is slower than that proves nothing.
	for (let i = 0; i < 2 && performance.now() - peer.wrote < 1500; i++) {
		await peer.write(Buffer.concat([encode(frame(TEXT, 'too late')), encode(frame(PING, '')), encode(frame(15, 'x'))]));
		await turn();
	}
	peer.socket.end();
	await peer.gone();
}

function same(got, want, what) {
	assert.equal(show(got), show(want), what);
	for (const [i, [, data]] of want.entries()) assert.ok(got[i][1].equals(data), `${what}: number ${i} is another`);
}

// Frames of the server as messages.
function unpack(c, frames, terms, least) {
	const inflater = terms && new Inflater(terms, c.strict);
	const got = frames.map((f) => {
		assert.ok(f.fin && (f.rsv === 0 || (terms && f.op < CLOSE && f.rsv === 4)), 'reserved bits, or fragments');
		return [f.op, f.rsv ? inflater.message(f.data) : f.data];
	});
	const packed = frames.filter((f) => f.rsv).length;
	assert.ok(packed >= least, `${packed} answers came compressed`);
	return got;
}

// kept: for a user behind the broker: gives what its service got, once it is as many
export async function judge(peer, c, way, kept) {
	const out = kept ? c.out.filter(([op]) => op >= CLOSE) : c.out;
	const terms = agreed(c.offer ?? '', peer.answer.headers['sec-websocket-extensions']);
	assert.equal(!terms, !c.offer || c.declined === true, `the answer to the offer: ${peer.answer.headers['sec-websocket-extensions']}`);
	await play(peer, c, way, terms);
	if (!c.code) await peer.until('all answers', () => peer.frames.length >= out.length, { ms: c.ms });
	if (c.fin || !c.code) peer.socket.end();
	if (!c.code) {
		await peer.gone();
		same(unpack(c, peer.frames, terms, 0), out, 'the answers, and no Close');
		return;
	}
	await peer.until('the Close', () => peer.close, { ms: c.ms });
	await peer.until('the end of the server\'s side', () => peer.ended);
	same(unpack(c, peer.frames.slice(0, -1), terms, (!kept && c.packed) || 0), out, 'the answers');
	assert.ok(peer.frames.at(-1).rsv === 0, 'reserved bits in the Close');
	assert.equal(peer.close.code, c.code, 'the code of the Close');
	const reason = new Utf8();
	assert.ok(reason.feed(peer.close.reason) < 0 && !reason.inside, 'the reason is UTF-8');
	if (!c.fin) await afterwards(peer);
	else await peer.gone();
	const messages = c.out.filter(([op]) => op < CLOSE);
	if (kept) same(await kept(messages.length), messages, 'the messages to the service');
}

// Runs jobs, so many at a time; the faults, one line each.
export async function many(jobs, parallel) {
	const wrong = [], queue = jobs.values();
	const one = async () => {
		for (const job of queue) {
			try {
				await job.run();
			} catch (e) {
				wrong.push(`${job.name}: ${e.message.split('\n').slice(0, 4).join(' ')}`);
			}
		}
	};
	await Promise.all(Array.from({ length: parallel }, one));
	return wrong;
}

export function verdict(wrong, runs) {
	if (!wrong.length) return;
	const more = wrong.length > 30 ? [`and ${wrong.length - 30} more`] : [];
	throw new Error([`${wrong.length} of ${runs} runs failed:`, ...wrong.slice(0, 30), ...more].join('\n'));
}

const echoConfig = { echo_path: '/echo', max_message: '16m', log: { level: 'info' } };

// Without a broker: the echo needs none.
export async function echoServer(t, config = {}, opts = {}) {
	const pki = await Pki.make(t);
	const { certificate, key } = await pki.issue('server');
	const gw = await t.gateway(await t.nats({ start: false }), { config: { ...echoConfig, ...config }, start: false, ...opts });
	gw.config.tls = { [`127.0.0.1:${gw.tlsPort}`]: { certificate: [certificate], key: [key] } };
	gw.writeConfig();
	await gw.start(false);
	return gw;
}

export const openEcho = (gw, secure, headers) => Peer.open({ port: secure ? gw.tlsPort : gw.port, secure }, '/echo', headers);

// Opens connections for cases: { open() -> peer, kept, done() }. To a user: each connection is one of its own, and a service listens.
async function target(t, transport, config, compression = {}) {
	if (transport !== 'user') {
		const gw = await echoServer(t, { ...config, compression });
		return { open: async (headers) => ({ peer: await openEcho(gw, transport === 'TLS', headers) }), done: () => {} };
	}
	const { gw, bus } = await t.pair({ log: { level: 'info' }, compression });
	const users = new Map();
	bus.nc.subscribe('ws.send.conf.*', { callback: (_, m) => users.get(m.subject).push([{ text: TEXT, binary: BINARY }[m.headers.get('Ws-Type')], Buffer.from(m.data)]) });
	await bus.nc.flush();
	return {
		open: async (headers) => {
			const user = `u${users.size}`, got = [];
			users.set(`ws.send.conf.${user}`, got);
			const peer = await Peer.open({ port: gw.port }, `/ws/conf/${user}/`, headers);
			return { peer, got, kept: async (n) => (await until(`${n} messages to the service`, () => got.length >= n), got) };
		},
		done: () => bus.nc.flush(),
	};
}

// A section on the echo path, plain and through TLS, and to users behind the broker: one test each. opts: parallel (connections
// at a time), config (of the echo), compression (of the gateway), ms,
// transports. A file that is imported for its cases runs none.
export async function section(meta, title, cases, { parallel = 24, config = {}, compression, ms = 120000, transports = ['plain', 'TLS', 'user'] } = {}) {
	if (!isMain(meta)) return;
	assert.equal(new Set(cases.map((c) => c.id)).size, cases.length, 'a number twice');
	for (const transport of transports) {
		const mine = cases.filter((c) => transport === 'plain' || !c.plain);
		const runs = mine.flatMap((c) => waysOf(c).map((way) => ({ c, way }))).filter(({ way }) => transport !== 'user' || way !== 'frames');
		await test(`${title}, ${transport}: ${mine.length} cases, ${runs.length} runs`, async (t) => {
			const to = await target(t, transport, config, compression), ends = [];
			const jobs = runs.map(({ c, way }) => ({
				name: `${c.id} ${c.what} (${way})`,
				run: async () => {
					const { peer, got, kept } = await to.open(c.offer ? { 'Sec-WebSocket-Extensions': c.offer } : {});
					try {
						await judge(peer, c, way, kept);
						ends.push(() => got && assert.equal(got.length, c.out.filter(([op]) => op < CLOSE).length, `${c.id}: messages that came later`));
					} finally {
						peer.destroy();
					}
				},
			}));
			verdict(await many(jobs, parallel), runs.length);
			await to.done();
			for (const end of ends) end();
		}, { ms });
	}
}
