// Attacks with sockets and handshakes: other users go on, memory stays bounded, and all is given back.
import { test, assert, until } from './lib/scenario.mjs';
import { Attack, atMost, cost, figures, latency } from './lib/besieged.mjs';
import { request, upgrade } from './lib/raw.mjs';

const SANE_MS = 5000; // of a round trip, on a machine that runs the attack as well

async function besieged(t, kind, n, config, during = async () => {}) {
	const { gw, bus } = await t.pair({ workers: 2, log: { level: 'info' }, ...config });
	const c = await t.client(gw, 'chat/calm');
	const calm = await latency(bus, c, 'calm');
	const before = cost(gw);
	const attack = await Attack.start(t, gw, kind, n);
	const under = await latency(bus, c, 'calm');
	const most = cost(gw), its = await attack.figures();
	await during({ gw, bus, c, attack, before, most, its });
	await attack.end();
	await until('all sockets are given back', () => cost(gw).fds <= before.fds + 2, 30000);
	await c.ping();
	assert.ok(c.open);
	figures(`${kind} ${n}`, { 'ms before': calm, 'ms under attack': under, 'KiB before': before.kib, 'under attack': most.kib, after: cost(gw).kib,
		sockets: most.fds - before.fds, answers: its.answers });
	assert.ok(under.p95 < SANE_MS, `${under.p95} ms`);
	return { before, most, its };
}

await test('2,000 sockets whose requests never end: cut off in time, little memory each', async (t) => {
	const { before, most } = await besieged(t, 'slowloris', 2000, { handshake_timeout: '3s' }, async ({ attack }) => {
		await until('all were cut off once', async () => ((await attack.figures()).answers['408'] ?? 0) > 2000, 30000);
	});
	atMost(most.kib - before.kib, 2200 * 8, '2,000 sockets');
}, { ms: 120000 });

await test('sockets of one address with a limit: it holds but a few, however many come', async (t) => {
	const { its } = await besieged(t, 'slowloris', 100, { limits: { connections_per_address: 40 } }, async ({ gw, attack }) => {
		await until('many were refused', async () => ((await attack.figures()).answers['429'] ?? 0) > 2000, 40000);
		assert.ok(cost(gw).fds < 1000);
	});
	assert.ok(its.answers['429'] > 0);
}, { ms: 120000 });

await test('a flood of handshakes', async (t) => {
	const { before, most } = await besieged(t, 'handshakes', 50, {});
	atMost(most.kib - before.kib, 60000, 'handshakes');
}, { ms: 120000 });

await test('a flood of handshakes with a limit: most get 503 early', async (t) => {
	await besieged(t, 'handshakes', 50, { limits: { handshakes_per_second: 100 } }, async ({ attack }) => {
		await until('most are refused', async () => {
			const { answers } = await attack.figures();
			return answers['503'] > 500 && answers['503'] > (answers['101'] ?? 0);
		}, 40000);
	});
}, { ms: 120000 });

await test('10,000 half-closed sockets: those that ended are dropped, those that do not end are not waited for', async (t) => {
	await besieged(t, 'halves', 10000, { max_connections: 12000 }, async ({ gw, before, its }) => {
		assert.ok(its.open > 4000 || its.ended > 4000, JSON.stringify(its));
		await until('none is held', () => cost(gw).fds <= before.fds + 2, 30000);
		assert.equal((await request(t, gw, upgrade('/ws/chat/next/'))).status, 101);
	});
}, { ms: 180000 });
