// Three streams in a cluster, each led by another server: the death of a leader, and of a gateway, with all of them in use.
import { test, assert, sleep, until } from '../e2e/lib/scenario.mjs';
import { judge, services } from '../fault/judge.mjs';
import { now } from '../fault/judge/records.mjs';
import { inOwnNetwork } from '../fault/lib/room.mjs';
import { Site, onlyItsOwn } from './site.mjs';

inOwnNetwork();

const all = services(3);

// The longest pause to a client, of each service.
function pauses(records, from) {
	return all.map(({ service }) => {
		let most = 0;
		for (const u of records.users.values()) {
			if (u.service !== service) continue;
			for (let n = 0; n < u.begun; n++) if (u.ackAt[n] > from && u.firstAt[n]) most = Math.max(most, u.firstAt[n] - u.ackAt[n]);
		}
		return most;
	});
}

async function flows(records) {
	const count = () => [records.count.delivered, records.count.stored], [down, up] = count();
	await until('traffic both ways', () => count()[0] > down + 50 && count()[1] > up + 50, 60000);
}

await test('three streams with a leader each: one dies, then a gateway: nothing is lost, order is kept', async (t) => {
	const streams = all.map((s) => s.stream);
	const site = new Site(t, { config: { streams: Object.fromEntries(all.map((s) => [s.stream, { services: [s.service] }])) }, streams });
	await site.build();
	await site.whole();
	await site.spread();
	assert.equal(new Set(await Promise.all(streams.map((s) => site.leader(s)))).size, streams.length);
	const script = async (records) => {
		await flows(records);
		const s = await site.leader(streams[0]), from = now(), f = records.fault('broker-kill');
		await s.stop('SIGKILL');
		await sleep(3000); // how long it is away
		s.start();
		await site.whole();
		f.until = now();
		records.returns.push({ at: now(), kind: 'broker-kill' });
		await flows(records);
		console.log(`  the leader of the first stream was away: longest pause to a client ${pauses(records, from).map((ms) => `${(ms / 1000).toFixed(2)} s`).join(', ')} by stream`);
		const g = site.gates[0], k = records.fault('kill-all');
		for (const pid of [g.proc.pid, ...g.children().map((c) => c.pid)]) process.kill(pid, 'SIGKILL');
		await g.proc.ended;
		await g.start();
		k.until = now();
		await flows(records);
	};
	const { verdict } = await judge(t, { site, streams: 3, script, seed: 2, users: 90, rate: 150, life: 6000, config: {} });
	onlyItsOwn(verdict, 90);
}, { ms: 300000 });
