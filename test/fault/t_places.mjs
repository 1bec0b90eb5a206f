// A worker's successor takes its own places alone: no two connections ever share one.
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { hold } from './lib/hold.mjs';

await test('ends that a killed worker was not told of: its successor mixes up nobody', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1 });
	const before = await Promise.all(numbers(10).map((i) => t.client(gw, `chat/before${i}`)));
	const sessions = async (what) => (await gw.ctl('sessions')).out.split('\n').filter((l) => l.includes(what)).length;
	// The clients leave, the bridge's answer lies in the ring, and the worker dies before it reads it.
	const bridgeGoes = await hold(gw.pid('bridge'));
	before.forEach((c) => c.terminate());
	await until('the ends', async () => (await sessions('before')) === 0);
	const pid = gw.pid('worker 0'), answered = /(\d+) users/;
	await hold(pid);
	bridgeGoes();
	await until('the bridge to know', async () => answered.exec((await gw.ctl('status')).out)[1] === '0');
	await gw.murder('worker 0');
	await until('a successor', () => gw.pid('worker 0') && gw.pid('worker 0') !== pid);
	const users = numbers(25).map((i) => `u${i}`);
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	await Promise.all(clients.map((c, i) => c.send(users[i])));
	for (const u of users) assert.deepEqual((await bus.storedAll(send('chat', u), 1)).map((m) => m.text), [u]);
	await Promise.all(users.map((u) => bus.publish(recv('chat', u), u)));
	for (const [i, c] of clients.entries()) assert.equal((await c.next()).text, users[i]);
	assert.equal((await gw.sessions()).filter((s) => s.state === 'open').length, users.length);
});
