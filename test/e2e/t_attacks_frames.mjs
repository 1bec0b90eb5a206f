// Attacks through open connections: floods of tiny frames and Pings, fragments without end, a client that never reads.
import { test, assert, sleep, until } from './lib/scenario.mjs';
import { Attack, atMost, cost, figures, latency } from './lib/besieged.mjs';
import { recv } from './lib/nats.mjs';

const SANE_MS = 10000;

// A service reads what the clients send, all the while: a stream that is full refuses what others publish, too. Returns what ends it.
function readAll(bus) {
	let going = true;
	const reading = (async () => {
		// late, perhaps: then the next one does
		for (; going; await sleep(300)) await (await bus.jsm()).streams.purge(bus.stream, { filter: 'ws.send.>' }).catch(() => {});
	})();
	return () => {
		going = false;
		return reading;
	};
}

async function besieged(t, kind, n, config, during = async () => {}) {
	const { gw, bus } = await t.pair({ workers: 2, log: { level: 'info' }, stream: { max_bytes: '512m' }, ...config });
	const c = await t.client(gw, 'chat/calm');
	const calm = await latency(bus, c, 'calm');
	const before = cost(gw);
	const attack = await Attack.start(t, gw, kind, n);
	const enough = readAll(bus);
	let under;
	try {
		under = await latency(bus, c, 'calm', 40);
		await during({ gw, bus, c, attack });
	} finally {
		await enough();
	}
	const most = cost(gw), its = await attack.figures();
	await attack.end();
	await until('all sockets are given back', () => cost(gw).fds <= before.fds + 2, 60000);
	await c.ping();
	assert.ok(c.open);
	figures(`${kind} ${n}`, { 'ms before': calm, 'ms under attack': under, 'KiB before': before.kib, 'under attack': most.kib, after: cost(gw).kib,
		'MB sent by it': Math.round(its.bytes / 1e6), paused: gw.log().includes('a client is over its rate') });
	assert.ok(under.p95 < SANE_MS, `${under.p95} ms`);
	return { growth: most.kib - before.kib };
}

await test('twenty clients that flood messages of one byte', async (t) => {
	const { growth } = await besieged(t, 'frames', 20, {});
	atMost(growth, 100000, 'tiny messages');
}, { ms: 180000 });

await test('the same with a limit on the rate: others do not notice', async (t) => {
	const { growth } = await besieged(t, 'frames', 20, { limits: { messages_per_second: 300, burst: '1s' } });
	atMost(growth, 20000, 'limited');
}, { ms: 120000 });

await test('twenty clients that flood Pings and read nothing', async (t) => {
	const { growth } = await besieged(t, 'pings', 20, {});
	atMost(growth, 20 * 200 + 10000, 'Pings');
}, { ms: 120000 });

await test('messages in 100,000 frames of one byte, never ended: a small multiple of what they carry', async (t) => {
	const { growth } = await besieged(t, 'fragments', 50, { workers: 1 }, async ({ gw }) => {
		await until('all is read', () => cost(gw).kib > 50 * 100);
	});
	atMost(growth, 50 * 2 * 100 + 6000, '5,000 KiB in frames of one byte');
}, { ms: 120000 });

await test('twenty clients that send and never read what they are sent', async (t) => {
	const { growth } = await besieged(t, 'deaf', 20, { pong_timeout: '5s', broker: { full_timeout: '500ms' } }, async ({ bus }) => {
		for (let i = 0; i < 20; i++) await bus.publishAll(200, () => [recv('chat', `attacker${i}`), Buffer.alloc(10000)]);
	});
	atMost(growth, 20 * 1024 + 100000, 'unread');
}, { ms: 180000 });
