// The broker stands still for ten seconds while clients send all they can: no process grows, nothing is lost.
import { test, assert, until, sleep } from '../e2e/lib/scenario.mjs';
import { SLOW } from '../e2e/lib/proc.mjs';
import { send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { rss } from './lib/memory.mjs';

const users = numbers(50).map((i) => `u${i}`);

await test('the broker paused for 10 s while clients send all they can: bounded, then all of it is stored', async (t) => {
	const p = await t.pair({ workers: 2 });
	const clients = await Promise.all(users.map((u) => t.client(p.gw, `chat/${u}`)));
	const pad = 'x'.repeat(2000), sent = users.map(() => 0);
	const pump = (c, i) => {
		while (!c.closed && c.ws.bufferedAmount < 256 * 1024 && sent[i] < 400) c.ws.send(`${sent[i]++} ${pad}`);
	};
	await p.nats.pause();
	const since = performance.now(), sizes = [];
	while (performance.now() - since < 10000) {
		clients.forEach(pump);
		sizes.push(rss(p.gw));
		await sleep(250);
	}
	// Those who wait hold one message and a read's worth each; nothing grows with the time.
	const third = Math.floor(sizes.length / 3);
	assert.ok(sizes.at(-1) - sizes[third] < 4 << 20, `grew from ${sizes[third]} to ${sizes.at(-1)} bytes`);
	const came = performance.now();
	p.nats.resume();
	await until('a first message', async () => (await p.bus.count('ws.send.>')) > 0);
	console.log(`everything flows again after ${(performance.now() - came).toFixed(0)} ms`);
	assert.ok(performance.now() - came < 10000 * SLOW);
	while (sent.some((n) => n < 400)) {
		clients.forEach(pump);
		await sleep(10);
	}
	await Promise.all(clients.map((c) => c.close()));
	for (const u of users.slice(0, 5)) assert.deepEqual((await p.bus.stored(send('chat', u))).map((m) => m.text.split(' ')[0]), numbers(400));
	assert.equal(await p.bus.count('ws.send.>'), 400 * users.length);
}, { ms: 120000 });
