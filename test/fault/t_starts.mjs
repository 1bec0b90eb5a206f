// A child that dies whenever it starts: its master waits longer each time, and says why it died.
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { childrenOf } from '../e2e/lib/proc.mjs';
import { recv } from '../e2e/lib/nats.mjs';

for (const title of ['worker 0', 'bridge']) {
	await test(`${title} is killed at each start: the master does not spin, the others serve`, async (t) => {
		const { gw, bus } = await t.pair({ workers: 2 });
		const killed = new Map();
		gw.restarts = true;
		const since = performance.now();
		await until('six deaths', () => {
			const c = childrenOf(gw.proc.pid).find((x) => x.title === `wsgated: ${title}` && !killed.has(x.pid));
			if (c) {
				process.kill(c.pid, 'SIGKILL');
				killed.set(c.pid, performance.now());
			}
			return killed.size >= 6;
		});
		const at = [...killed.values()], gaps = at.slice(1).map((x, i) => x - at[i]);
		const waits = [0, 100, 200, 400, 800];
		waits.forEach((ms, i) => assert.ok(gaps[i] >= ms, `came back after ${gaps.map((g) => g.toFixed(0))} ms`));
		assert.ok(performance.now() - since < 10000);
		for (const pid of killed.keys())
			await until('its death in the log', () => new RegExp(`killed by a signal child="?${title}"? pid=${pid} .*name=KILL`).test(gw.log()));
		assert.equal(await gw.status('/livez'), 200);
		await until('a successor', () => gw.pid(title));
		await gw.ready(30000);
		const c = await t.client(gw, 'chat/alice');
		await bus.publish(recv('chat', 'alice'), 'well');
		assert.equal((await c.next()).text, 'well');
	});
}
