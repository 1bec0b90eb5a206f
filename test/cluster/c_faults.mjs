// Three brokers, three gateways, a load balancer: each is killed, cut off and replaced under load, and the judge watches.
// A line for each fault: how long the longest pause was, each way.
import { test, assert, until, sleep } from '../e2e/lib/scenario.mjs';
import { judge } from '../fault/judge.mjs';
import { now } from '../fault/judge/records.mjs';
import { inOwnNetwork } from '../fault/lib/room.mjs';
import { Site, onlyItsOwn } from './site.mjs';

inOwnNetwork();

// Does it, waits until it is over, and says what it cost.
async function phase(records, name, kind, fn) {
	await sleep(1500); // of quiet traffic, so that its pauses are its own
	records.longestDown = records.longestUp = 0;
	const from = now(), f = records.fault(kind);
	f.until = Infinity; // as long as it lasts
	await fn();
	f.until = now();
	records.returns.push({ at: now(), kind });
	const count = () => [records.count.delivered, records.count.stored];
	const [down, up] = count();
	await until('traffic both ways', () => count()[0] > down + 50 && count()[1] > up + 50, 60000);
	await sleep(1500);
	console.log(`  ${name.padEnd(46)} ${((now() - from) / 1000).toFixed(1).padStart(6)} s  longest pause ` +
		`${(records.longestDown / 1000).toFixed(2)} s to a client, ${(records.longestUp / 1000).toFixed(2)} s to the service`);
}

function murder(g) {
	for (const pid of [g.proc.pid, ...g.children().map((c) => c.pid)]) process.kill(pid, 'SIGKILL');
	return g.proc.ended;
}

async function all(site, records) {
	const step = (...a) => phase(records, ...a), { servers, gates } = site;
	for (const s of servers) {
		await step(`${s.name} is killed and comes back`, 'broker-kill', async () => {
			await s.stop('SIGKILL');
			await sleep(3000);
			s.start();
			await site.whole();
		});
	}
	await step('the leader is killed and comes back', 'broker-kill', async () => {
		const s = await site.leader();
		assert.ok(s, 'no leader');
		await s.stop('SIGKILL');
		await sleep(3000);
		s.start();
		await site.whole();
	});
	await step('the leader is cut off for 12 s', 'broker-kill', async () => {
		const s = await site.leader();
		await s.machine.cut();
		await sleep(12000);
		await s.machine.heal();
		await site.whole();
	});
	await step('a gateway is cut off from the brokers for 3 s', 'cut-gate', async () => {
		await gates[0].machine.cut(...servers.map((s) => s.machine));
		await sleep(3000);
		await gates[0].machine.heal(...servers.map((s) => s.machine));
		await gates[0].ready();
	});
	await step('a gateway is cut off from the brokers for 40 s', 'cut-gate', async () => {
		await gates[1].machine.cut(...servers.map((s) => s.machine));
		await sleep(40000);
		await gates[1].machine.heal(...servers.map((s) => s.machine));
		await gates[1].ready();
	});
	await step('a gateway is killed and comes back', 'kill-all', async () => {
		await murder(gates[2]);
		await sleep(3000);
		await gates[2].start();
	});
	await step('all gateways, one after the other: TERM', 'roll', async () => {
		for (const g of gates) {
			g.signal('SIGTERM');
			assert.deepEqual(await g.exited(20000), { code: 0, signal: null });
			await g.start();
		}
	});
	await step('all gateways, one after the other: USR2', 'upgrade', async () => {
		for (const g of gates) {
			g.signal('SIGUSR2');
			await g.replaced(30000);
			await g.ready();
		}
	});
}

await test('a cluster under faults: nothing is lost, order is kept', async (t) => {
	const site = new Site(t);
	await site.build();
	const { verdict } = await judge(t, { site, script: (records) => all(site, records), seed: 1, users: 90, rate: 150, life: 6000, config: {} });
	onlyItsOwn(verdict, 90);
}, { ms: 900000 });
