// 1,000 connections that come and go while messages flow: no gap in anybody's sequence.
import { test, assert, sleep, until } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';

const USERS = 50, ROUNDS = 20;

await test('1,000 connections that come and go lose nothing', async (t) => {
	const { bus, gw } = await t.pair();
	let stop = false;
	const sent = Array(USERS).fill(0);
	const publisher = (async () => {
		while (!stop) {
			await Promise.all(sent.map((_, u) => bus.publish(recv('chat', `u${u}`), String(sent[u]++))));
			await sleep(10); // about 5,000 a second, not as fast as it goes
		}
	})();
	const seen = sent.map(() => new Set());
	await Promise.all(sent.map(async (_, u) => {
		for (let round = 0; round < ROUNDS; round++) {
			const c = await t.client(gw, `chat/u${u}`);
			await c.take(1 + ((u * 7 + round * 3) % 10));
			if ((u + round) % 3 === 0) c.terminate();
			else if ((u + round) % 3 === 1) c.ws._socket.resetAndDestroy();
			else c.ws.close(1000);
			await c.ended();
			const texts = c.texts().map(Number);
			texts.forEach((n, i) => assert.ok(i === 0 || n > texts[i - 1], `u${u}: ${n} after ${texts[i - 1]} on one connection`));
			texts.forEach((n) => seen[u].add(n));
		}
	}));
	stop = true;
	await publisher;
	// One more connection each takes the rest.
	await Promise.all(sent.map(async (n, u) => {
		const c = await t.client(gw, `chat/u${u}`);
		await until(`the rest of u${u}`, () => {
			c.got.forEach((m) => seen[u].add(Number(m.text)));
			return seen[u].size >= n;
		});
		await bus.empty(recv('chat', `u${u}`));
		await c.close();
		assert.deepEqual([...seen[u]].sort((a, b) => a - b).map(String), numbers(n), `u${u} has a gap`);
	}));
}, { ms: 150000 });
