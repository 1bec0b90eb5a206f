// A worker's successor takes its own places alone: no two connections ever share one.
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { hold } from '../e2e/lib/hold.mjs';

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

await test('a worker dies, then the bridge that buried it, before its successor begins: nobody waits for the dead', async (t) => {
	const { gw, bus } = await t.pair({ workers: 2 });
	for (let i = 0; i < 3; i++) { // so that its successor is late
		await gw.murder('worker 1');
		await until('a successor', () => gw.pid('worker 1'));
	}
	const users = numbers(16).map((i) => `u${i}`);
	const tabs = await Promise.all([...users, ...users].map(async (user) => ({ user, c: await t.client(gw, `chat/${user}`) })));
	const workers = new Map((await gw.sessions()).map((s) => [s.addr, s.worker]));
	for (const tab of tabs) tab.worker = workers.get(`127.0.0.1:${tab.c.ws._socket.localPort}`);
	const both = users.filter((u) => new Set(tabs.filter((tab) => tab.user === u).map((tab) => tab.worker)).size === 2);
	assert.ok(both.length, 'a user in both workers');
	const stay = tabs.filter((tab) => tab.worker === 0 && both.includes(tab.user));
	tabs.filter((tab) => tab.worker === 1).forEach((tab) => tab.c.ws.pause()); // no Pong
	await Promise.all(both.map((u) => bus.publish(recv('chat', u), 'first')));
	for (const { c } of stay) assert.equal((await c.next()).text, 'first');
	await until('all to be given', async () => (await gw.figures()).total.messages_out === 2 * both.length);
	await gw.murder('worker 1');
	await until('its burial', () => /the up ring of a dead worker is empty slot=1 generation=4/.test(gw.log()));
	await gw.murder('bridge');
	await until('successors', () => gw.pid('bridge') && gw.pid('worker 1'));
	await Promise.all(both.map((u) => bus.publish(recv('chat', u), 'second')));
	for (const { c } of stay) assert.equal((await c.next()).text, 'second');
	await bus.empty('ws.recv.>');
});
