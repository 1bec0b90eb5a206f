// The broker goes and comes back: all flows again, and the time that it took is printed.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until, sleep } from '../e2e/lib/scenario.mjs';
import { SLOW } from '../e2e/lib/proc.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';

const users = numbers(50).map((i) => `u${i}`);

// From the broker's return until a message came to each user and one of each is stored.
async function flowsAgain({ bus, gw }, clients, came, number) {
	await Promise.all(clients.map((c) => c.send(`up ${number}`)));
	const down = Promise.all(users.map(async (u) => {
		for (;;) {
			const ok = await bus.nc.jetstream({ timeout: 300 }).publish(recv('chat', u), `down ${number}`, { msgID: `${u} ${number}` }).then(() => true, () => false);
			if (ok) return;
		}
	}));
	await until('all to have it', () => clients.every((c) => c.got.some((m) => m.text === `down ${number}`)));
	await down;
	for (const u of users) await bus.storedAll(send('chat', u), number);
	const took = performance.now() - came;
	console.log(`everything flows again after ${took.toFixed(0)} ms`); // two seconds are promised; what a busy machine makes of it is no verdict
	assert.ok(took < 10000 * SLOW, `${took.toFixed(0)} ms until everything flowed again`);
	assert.deepEqual(clients.map((c) => c.closed), clients.map(() => null), 'nobody is disconnected');
	assert.equal(await gw.status('/readyz'), 200);
}

await test('the broker stopped, killed, paused: all flows again', async (t) => {
	const p = await t.pair();
	const clients = await Promise.all(users.map((u) => t.client(p.gw, `chat/${u}`)));
	const faults = [
		[() => p.nats.stop(), () => p.nats.start()],
		[() => p.nats.proc.kill(), () => p.nats.start()],
		[() => p.nats.pause(), () => p.nats.resume()],
	];
	for (const [i, [away, back]] of faults.entries()) {
		await away();
		await sleep(1000); // an absence as such
		const came = performance.now();
		await back();
		await flowsAgain(p, clients, came, i + 1);
	}
	await p.bus.empty('ws.recv.>');
});

await test('the broker comes back with an empty store: what is new flows both ways, what was taken is stored', async (t) => {
	const p = await t.pair();
	const clients = await Promise.all(users.map((u) => t.client(p.gw, `chat/${u}`)));
	await Promise.all(users.map((u) => p.bus.publish(recv('chat', u), 'old')));
	await Promise.all(clients.map((c) => c.next()));
	await p.nats.proc.kill();
	fs.rmSync(path.join(p.nats.dir, 'js'), { recursive: true });
	await Promise.all(clients.map((c) => c.send('up 1')));
	await Promise.all(clients.map((c) => c.ping()));
	const came = performance.now();
	await p.nats.start();
	clients.forEach((c) => (c.got.length = c.taken = 0));
	await until('the stream', () => p.bus.count().then(() => true, () => false));
	for (const u of users) await p.bus.storedAll(send('chat', u), 1);
	await flowsAgain(p, clients, came, 2);
	assert.ok(clients.every((c) => c.got.length === 1), 'nothing old, nothing twice');
});
