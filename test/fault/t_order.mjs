// What a user sends on several connections is stored in the order in which the gateway took it.
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { hold } from '../e2e/lib/hold.mjs';

const WORKERS = 3;

// One connection of the user to each worker.
async function oneEach(t, gw, user) {
	const there = async () => new Set((await gw.sessions('chat', user)).map((s) => s.worker));
	const all = new Map();
	for (let i = 0; i < 100 && all.size < WORKERS; i++) {
		const before = new Set((await gw.sessions('chat', user)).map((s) => s.conn));
		const c = await t.client(gw, `chat/${user}`);
		const mine = (await gw.sessions('chat', user)).find((s) => !before.has(s.conn));
		if (all.has(mine.worker)) await c.close();
		else all.set(mine.worker, c);
	}
	assert.equal((await there()).size, WORKERS);
	return [...all.entries()].sort(([a], [b]) => b - a).map(([, c]) => c);
}

// One after the other, from the last worker to the first and again.
async function sendInTurn(clients, n) {
	for (const i of numbers(n)) {
		const c = clients[i % clients.length];
		await c.send(i);
		await c.ping(i);
	}
}

async function inOrder(bus, user, texts) {
	assert.deepEqual((await bus.storedAll(send('chat', user), texts.length)).map((m) => m.text), texts);
}

await test('on three workers in turn, while the bridge stands still', async (t) => {
	const { gw, bus } = await t.pair({ workers: WORKERS });
	const clients = await oneEach(t, gw, 'alice');
	const go = await hold(gw.pid('bridge'));
	await sendInTurn(clients, 30);
	go();
	await inOrder(bus, 'alice', numbers(30));
});

await test('on three workers in turn, while there is no bridge', async (t) => {
	const { gw, bus } = await t.pair({ workers: WORKERS });
	const clients = await oneEach(t, gw, 'alice');
	const go = await hold(gw.proc.pid);
	process.kill(gw.pid('bridge'), 'SIGKILL');
	gw.restarts = true;
	await sendInTurn(clients, 30);
	go();
	await inOrder(bus, 'alice', numbers(30));
});

await test('on three workers in turn, and two of them die while the bridge stands still', async (t) => {
	const { gw, bus } = await t.pair({ workers: WORKERS });
	const clients = await oneEach(t, gw, 'alice');
	const go = await hold(gw.pid('bridge'));
	await sendInTurn(clients, 30);
	for (const n of [2, 0]) await gw.murder(`worker ${n}`);
	await clients[1].send('the last');
	await clients[1].ping();
	go();
	await inOrder(bus, 'alice', [...numbers(30), 'the last']);
});
