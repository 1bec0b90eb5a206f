// What compression costs and saves: memory of the worker for each connection, its CPU time for each message. make bench-compression
//
//     [CONNECTIONS=1000] [MESSAGES=2000] node test/bench/compression.mjs
//
// One worker, JSON texts. Memory is PSS before the connections, when they are open, and after one message each way. CPU time is
// the worker's alone, from the first message to the last Pong; the same messages go to one connection, and to ten of one user.
import fs from 'node:fs';
import zlib from 'node:zlib';
import { test, until } from '../e2e/lib/scenario.mjs';
import { recv } from '../e2e/lib/nats.mjs';
import { PING, PONG, TEXT, Raw } from '../e2e/lib/raw.mjs';

const CONNECTIONS = Number(process.env.CONNECTIONS ?? 1000), MESSAGES = Number(process.env.MESSAGES ?? 2000);
const OFFER = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' };
const WAYS = {
	off: {},
	'on, level 1': { enabled: 'on', threshold: 1 },
	'on, level 6': { enabled: 'on', threshold: 1, level: 6 },
	'with context': { enabled: 'on', threshold: 1, context: 'on' },
};

let seed = 1;
const any = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
function json(size) {
	let text = '[';
	while (text.length < size) text += `{"id":${any(1000000)},"user":"user${any(5000)}@example.org","state":"${['new', 'paid', 'shipped'][any(3)]}","amount":${any(100000) / 100},"time":"2026-11-${10 + any(20)}T${10 + any(14)}:${10 + any(50)}:${10 + any(50)}Z"},`;
	return text.slice(0, size);
}

// A client that counts what it gets, answers Pings, and looks at nothing.
class Sink extends Raw {
	static async connect(port) {
		return Object.setPrototypeOf(await Raw.connect(port), Sink.prototype);
	}

	parse() {
		super.parse();
		for (const f of this.frames.splice(0)) {
			if (f.opcode === PING) this.send(PONG, f.data);
			if (f.opcode === TEXT) {
				this.got = (this.got ?? 0) + 1;
				this.bytes = (this.bytes ?? 0) + f.data.length;
			}
		}
	}
}

async function rig(t, compression) {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { config: { workers: 1, log: { level: 'warn' }, compression } });
	const pid = gw.pid('worker 0');
	const connect = async (user) => {
		const c = await Sink.connect(gw.port);
		t.clients.push(() => c.destroy());
		await c.open(`/ws/bench/${user}/`, OFFER);
		return c;
	};
	const pss = () => Number(/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]);
	const cpu = () => Number(fs.readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1000;
	return { gw, bus: await nats.connect(), connect, pss, cpu };
}

const row = (...cells) => console.log(cells.map((c, i) => (i ? String(c).padStart(16) : String(c).padEnd(24))).join(''));

console.log(`kB a connection (${CONNECTIONS} of them)`);
row('', 'idle', 'after a message');
for (const [name, compression] of Object.entries(WAYS)) {
	if (name === 'on, level 6') continue;
	await test(`memory, ${name}`, async (t) => {
		const { bus, connect, pss } = await rig(t, compression);
		await (await connect('first')).send(TEXT, 'what is made once');
		const before = pss(), all = [];
		for (let i = 0; i < CONNECTIONS; i++) all.push(await connect(`u${i}`));
		const idle = pss(), text = json(1000);
		const deflated = zlib.deflateRawSync(text, { finishFlush: zlib.constants.Z_SYNC_FLUSH, windowBits: 12 }).subarray(0, -4);
		for (const [i, c] of all.entries()) {
			await bus.publish(recv('bench', `u${i}`), text);
			await c.send(TEXT, compression.enabled ? deflated : text, { rsv: compression.enabled ? 4 : 0 });
		}
		await until('all of it', () => all.every((c) => c.got === 1), 60000);
		await bus.empty('ws.recv.>');
		row(name, ((idle - before) / CONNECTIONS).toFixed(2), ((pss() - before) / CONNECTIONS).toFixed(2));
	}, { ms: 240000 });
}

console.log(`\nCPU time of the worker, microseconds a message (${MESSAGES} of them), and how long it became`);
row('', ...[200, 1000, 4000, 16000].flatMap((n) => [`${n} B`, `x 10 tabs`]));
for (const [name, compression] of Object.entries(WAYS)) {
	await test(`CPU, ${name}`, async (t) => {
		const { bus, connect, cpu } = await rig(t, compression);
		const cells = [];
		for (const size of [200, 1000, 4000, 16000]) {
			const texts = Array.from({ length: 50 }, () => json(size));
			const subject = recv('bench', `s${size}`), subjects = recv('bench', `t${size}`);
			for (const [where, n] of [[subject, 1], [subjects, 10]]) {
				const all = [];
				for (let i = 0; i < n; i++) all.push(await connect(where.split('.').at(-1)));
				const begin = cpu();
				await bus.publishAll(MESSAGES, (i) => [where, texts[i % 50], { 'Ws-Type': 'text' }], 100);
				await until('all of it', () => all.every((c) => c.got === MESSAGES), 60000);
				await bus.empty(where, 60000);
				const us = (cpu() - begin) / MESSAGES;
				cells.push(n === 1 ? `${us.toFixed(1)}, ${Math.round((100 * all[0].bytes) / (MESSAGES * size))} %` : us.toFixed(1));
				for (const c of all) c.destroy();
			}
		}
		row(name, ...cells);
	}, { ms: 240000 });
}
