// Any process of the gateway may be killed at any moment; only a killed worker's clients notice.
import { test, assert, sleep, stays, until } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { titleOf } from './lib/proc.mjs';
import { BEHIND, behind } from './lib/behind.mjs';

// Publishes 0, 1, 2 … to all users until told to stop.
function flow(bus, users) {
	const f = { n: 0, stopped: false };
	f.done = (async () => {
		while (!f.stopped) {
			await Promise.all(users.map((u) => bus.publish(recv('chat', u), String(f.n))));
			f.n++;
			await sleep(5); // a steady flow, not as fast as it goes
		}
	})();
	f.stop = () => {
		f.stopped = true;
		return f.done;
	};
	return f;
}

await test('kill -9 of a worker: its clients are cut off, the others stay, a successor serves', async (t) => {
	const { gw, bus } = await t.pair({ workers: 2 });
	const users = numbers(40).map((i) => `u${i}`);
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	const f = flow(bus, users);
	await until('messages', () => f.n > 20);
	await gw.murder('worker 0');
	await until('some clients to notice', () => clients.some((c) => c.closed));
	await until('a successor', () => gw.pid('worker 0'));
	// The stranded come back, to whichever worker.
	const seen = users.map(() => new Set());
	const stay = await Promise.all(clients.map(async (c, i) => {
		await bus.publish(recv('chat', users[i]), 'mark');
		await until('a message or the end', () => c.closed || c.got.some((m) => m.text === 'mark'));
		if (!c.closed) return true;
		c.got.forEach((m) => seen[i].add(m.text));
		clients[i] = await t.client(gw, `chat/${users[i]}`);
		return false;
	}));
	assert.ok(stay.includes(true), 'the clients of the other worker stay');
	assert.ok(stay.includes(false));
	await f.stop();
	for (const [i, c] of clients.entries()) {
		await until('the last one', () => c.got.some((m) => m.text === String(f.n - 1)));
		c.got.forEach((m) => seen[i].add(m.text));
		const missing = numbers(f.n).filter((n) => !seen[i].has(n));
		assert.deepEqual(missing, [], users[i]);
	}
	await bus.empty('ws.recv.>');
	for (let i = 0; i < 20; i++) await (await t.client(gw, `chat/new${i}`)).ping();
}, { ms: 90000 });

await test('kill -9 of the bridge: nobody is cut off, both ways go on, nothing lost or doubled', async (t) => {
	const { gw, bus } = await t.pair({ workers: 2 });
	const users = numbers(20).map((i) => `u${i}`);
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	const f = flow(bus, users);
	let up = 0, sending = true;
	const sender = (async () => {
		while (sending) {
			await Promise.all(clients.map((c) => c.send(String(up))));
			await clients[0].ping(); // in step with what the gateway takes
			up++;
		}
	})();
	for (let kill = 0; kill < 3; kill++) {
		const before = [f.n, up];
		await until('messages both ways', () => f.n > before[0] + 30 && up > before[1] + 30);
		const pid = await gw.murder('bridge');
		await until('a successor', () => gw.pid('bridge') && gw.pid('bridge') !== pid);
		await until('ready', async () => (await gw.status('/readyz')) === 200);
	}
	sending = false;
	await sender;
	await f.stop();
	for (const [i, c] of clients.entries()) {
		await until(`the last message to ${users[i]}`, () => c.got.at(-1)?.text === String(f.n - 1) || c.closed, 30000);
		assert.equal(c.closed, null, 'nobody is disconnected');
		assert.deepEqual(c.texts(), numbers(f.n), `to ${users[i]}`);
		const stored = await bus.storedAll(send('chat', users[i]), up, 30000);
		assert.deepEqual(stored.map((m) => m.text), numbers(up), `from ${users[i]}`);
	}
	await bus.empty('ws.recv.>', 30000);
}, { ms: 120000 });

await test('kill -9 of everything: what was taken and not yet stored is stored by the next start', async (t) => {
	const { nats, gw, bus } = await t.pair({ workers: 2 });
	const users = numbers(10).map((i) => `u${i}`);
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	await Promise.all(clients.map((c) => c.send('before')));
	for (const u of users) await bus.storedAll(send('chat', u), 1);
	await nats.pause();
	for (let i = 0; i < 50; i++) await Promise.all(clients.map((c) => c.send(String(i))));
	await Promise.all(clients.map((c) => c.ping())); // the Pong comes behind them: all are taken
	await gw.massacre();
	for (const c of clients) await c.ended();
	nats.resume();
	await gw.start();
	for (const u of users) {
		const stored = await bus.storedAll(send('chat', u), 51, 30000);
		assert.deepEqual(stored.map((m) => m.text), ['before', ...numbers(50)], u);
	}
}, { ms: 90000 });

await test('kill -9 of everything under load, three times: no gap, order kept', async (t) => {
	const { nats, gw, bus } = await t.pair({ workers: 2 });
	const users = numbers(10).map((i) => `u${i}`);
	const seen = users.map(() => new Set());
	const f = flow(bus, users);
	const taken = users.map(() => []); // the numbers that a Pong came behind: the gateway has them, whoever dies
	const next = users.map(() => 0);
	let stop = false;
	const life = users.map(async (u, i) => {
		while (!stop) {
			const c = await Client.connect(gw.wsUrl(`chat/${u}`)).catch(() => null);
			if (!c) {
				await sleep(20); // as a client would, before it tries again
				continue;
			}
			while (!c.closed && !stop) {
				const n = next[i]++;
				c.send(String(n)).catch(() => {});
				const ok = await Promise.race([c.ping(String(n)).then(() => true, () => false), c.end.then(() => false)]);
				if (ok) taken[i].push(n);
				else break;
			}
			if (stop) await c.close();
			c.terminate();
			c.got.forEach((m) => seen[i].add(m.text));
		}
	});
	const load = (n) => {
		const from = [...next];
		return until('load', () => taken.every((list, i) => list.at(-1) >= from[i] + n));
	};
	for (let kill = 0; kill < 3; kill++) {
		await load(20);
		// Twice with some that the broker has not got yet.
		if (kill) await nats.pause();
		if (kill) await load(3);
		await gw.massacre();
		nats.resume();
		await gw.start();
	}
	await load(20);
	stop = true;
	await f.stop();
	await Promise.all(life);
	for (const [i, u] of users.entries()) {
		const missing = (stored) => taken[i].filter((n) => !stored.includes(n));
		let stored;
		await until(`the rest from ${u}`, async () => {
			stored = (await bus.stored(send('chat', u))).map((m) => Number(m.text));
			return !missing(stored).length;
		}, 10000).catch(() => assert.deepEqual(missing(stored), [], `from ${u}`));
		for (let k = 1; k < stored.length; k++) assert.ok(stored[k] > stored[k - 1], `${u}: ${stored[k]} after ${stored[k - 1]}`);
		const c = await t.client(gw, `chat/${u}`);
		await until(`the rest of ${u}`, () => {
			c.got.forEach((m) => seen[i].add(m.text));
			return seen[i].size >= f.n;
		});
		assert.deepEqual(numbers(f.n).filter((n) => !seen[i].has(n)), [], u);
	}
}, { ms: 120000 });

// Whichever of them the bridge looks at last.
for (const what of ['worker', 'bridge and worker', 'master', 'whole family']) {
	await test(`the ${what} of a user's quick connections and a slow one is killed: what the slow one lacks is kept`, async (t) => {
		const { gw, bus } = await t.pair(BEHIND);
		gw.restarts = true;
		const { alice } = await behind(t, gw, bus);
		if (what === 'whole family') {
			await gw.massacre();
			await gw.start();
		} else if (what === 'master') {
			const orphans = gw.children().map((c) => c.pid);
			process.kill(gw.proc.pid, 'SIGKILL');
			await until('the end of all', () => gw.proc.exit && !orphans.some((pid) => /^wsgated/.test(titleOf(pid))));
			await gw.start();
		} else {
			const pids = gw.children().filter((c) => (what === 'worker' ? /worker/ : /worker|bridge/).test(c.title)).map((c) => c.pid);
			for (const pid of pids) process.kill(pid, 'SIGKILL');
			await until('others', () => gw.children().length === 2 && !gw.children().some((c) => pids.includes(c.pid)));
		}
		await gw.ready();
		await stays('kept', async () => (await bus.stored(alice)).length === 5, 1500);
		const back = await t.client(gw, 'chat/alice');
		assert.deepEqual((await back.take(5)).map((m) => m.text), numbers(5));
		await bus.empty(alice);
	});
}
