// Two gateways behind HAProxy or nginx, one of which stops, and comes back: no client is turned away.
import fs from 'node:fs';
import { test, assert, until } from './lib/scenario.mjs';
import { Client, numbers } from './lib/client.mjs';
import { Front } from './lib/fronts.mjs';
import { Pki } from './lib/pki.mjs';

async function rig(t, kind, more = {}) {
	const nats = await t.nats();
	const config = { proxy: { networks: ['127.0.0.1'], forwarded: 'x-forwarded-for' }, drain_timeout: '20s', ...more };
	const gates = [await t.gateway(nats, { config: { ...config, drain_delay: kind === 'haproxy' ? '4s' : 0 } }), await t.gateway(nats, { config })];
	const certificate = await (await Pki.make(t)).issue('server');
	const front = await Front.start(t, kind, gates, { certificate });
	return { gates, front };
}

// Comes and goes until it is told to end; returns what went wrong.
function traffic(front) {
	const faults = [];
	let going = true, came = 0;
	const all = numbers(4).map(async (k) => {
		for (let i = 0; going; i++) {
			await Client.connect(`ws://127.0.0.1:${front.port}/ws/chat/passer${k}-${i}`).then((c) => (came++, c.close()), (e) => faults.push(e.message));
		}
	});
	return { faults, came: () => came, end: async () => (going = false, await Promise.all(all)) };
}

const count = async (gw) => (await gw.sessions()).filter((s) => s.user.startsWith('stays')).length;

for (const kind of ['haproxy', 'nginx']) {
	await test(`${kind}: a gateway that stops gets no new ones, and gets them again when it is back`, async (t) => {
		const { gates: [one, two], front } = await rig(t, kind);
		const stay = await Promise.all(numbers(12).map((k) => front.client(`chat/stays${k}`)));
		const mine = await count(one);
		assert.ok(mine > 2 && (await count(two)) === 12 - mine, `${mine} of 12`); // spread over both
		const passers = traffic(front);
		await until('passers-by', () => passers.came() > 20);
		one.signal('SIGTERM');
		if (kind === 'haproxy') {
			const log = () => fs.readFileSync(`${front.dir}.log`, 'utf8');
			await until('HAProxy to notice', () => /gateways\/gate1 is DOWN/.test(log()));
			assert.deepEqual([stay.filter((c) => c.closed).length, await count(one)], [0, mine], 'out before its connections end');
		}
		assert.deepEqual(await one.exited(), { code: 0, signal: null });
		const ended = () => stay.filter((c) => c.closed).map((c) => c.closed.code);
		await until('the last Close to come through', () => ended().length >= mine);
		assert.deepEqual(ended(), Array(mine).fill(1001));
		const before = passers.came();
		await until('more passers-by', () => passers.came() > before + 20);
		one.config.drain_delay = 0;
		one.writeConfig();
		await one.start();
		await until('one that stays at the gateway that is back', async () => {
			await front.client(`chat/stays-again${passers.came()}`);
			return (await count(one)) > 0;
		});
		await passers.end();
		assert.deepEqual(passers.faults, []);
	});

	await test(`${kind}: a gateway that is drained gets no new ones, and gets them again when that is taken back`, async (t) => {
		const { gates: [one], front } = await rig(t, kind);
		const stay = await Promise.all(numbers(12).map((k) => front.client(`chat/stays${k}`)));
		const mine = await count(one);
		assert.ok(mine > 2, `${mine} of 12`);
		const passers = traffic(front);
		await until('passers-by', () => passers.came() > 20);
		assert.equal((await one.ctl('drain', '--time', '2', '--wait')).code, 0);
		const ended = () => stay.filter((c) => c.closed).map((c) => c.closed.code);
		await until('the last Close to come through', () => ended().length >= mine);
		assert.deepEqual(ended(), Array(mine).fill(1012));
		const before = passers.came();
		await until('more passers-by', () => passers.came() > before + 20);
		assert.equal((await one.figures()).total.connections, 0);
		assert.equal((await one.ctl('undrain')).code, 0);
		await until('one that stays at the gateway that is back', async () => {
			await front.client(`chat/stays-again${passers.came()}`);
			return (await count(one)) > 0;
		});
		await passers.end();
		assert.deepEqual(passers.faults, []);
	});
}

await test('the one that is back gets its share by connection_age, and no storm', async (t) => {
	const N = 60, { gates: [one, two], front } = await rig(t, 'haproxy', { limits: { connection_age: '10s' } });
	const opened = [], faults = [];
	let going = true;
	const all = numbers(N).map(async (k) => {
		while (going) {
			const c = await front.client(`chat/stays${k}`).catch((e) => (faults.push(e.message), null));
			opened.push(performance.now());
			await c?.end; // and at once again
		}
	});
	await until('all of them', async () => (await count(one)) + (await count(two)) === N);
	assert.equal((await one.ctl('drain', '--time', '4', '--wait')).code, 0);
	await until('all at the other one', async () => (await count(two)) === N);
	assert.equal((await one.ctl('undrain')).code, 0);
	const back = performance.now();
	await until('its share', async () => (await count(one)) >= 0.4 * N, 40000);
	const after = opened.filter((ms) => ms >= back).sort((a, b) => a - b);
	for (const ms of after) assert.ok(after.filter((x) => x >= ms && x < ms + 1000).length < N / 2, 'half of all within a second');
	assert.ok((await count(two)) >= 0.3 * N);
	going = false;
	t.dropClients();
	await Promise.all(all);
	assert.deepEqual(faults, []);
});
