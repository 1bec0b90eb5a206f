// The client's network is cut without a FIN.
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { PyClient } from '../e2e/lib/pyclient.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { inOwnNetwork, otherMachine } from './lib/room.mjs';

inOwnNetwork();

const listenAll = { listen: ['0.0.0.0:18000'] };

async function far(t, machine, user) {
	return PyClient.connect(t, `ws://${machine.addr}:18000/ws/chat/${user}`, undefined, machine.within);
}

await test('cut off for good: the gateway notices by the Pong, and what was not confirmed goes to the next connection', async (t) => {
	const { gw, bus } = await t.pair({ ...listenAll, ping_interval: '1s', pong_timeout: '3s' });
	const machine = await otherMachine(t);
	const c = await far(t, machine, 'alice');
	await bus.publish(recv('chat', 'alice'), 'before');
	assert.deepEqual(await c.next(), { text: 'before' });
	await bus.empty(recv('chat', 'alice'));
	await machine.cut();
	for (const i of numbers(10)) await bus.publish(recv('chat', 'alice'), i);
	const other = await t.client({ wsUrl: (w) => `ws://127.0.0.1:18000/ws/${w}` }, 'chat/bob');
	await bus.publish(recv('chat', 'bob'), 'not concerned');
	assert.equal((await other.next(2500)).text, 'not concerned');
	await until('the gateway to give it up', async () => !(await gw.ctl('sessions', 'chat', 'alice')).out.trim(), 40000);
	assert.equal(await bus.count(recv('chat', 'alice')), 10, 'nothing that it did not confirm is removed');
	await machine.heal();
	const again = await far(t, machine, 'alice');
	for (const i of numbers(10)) assert.deepEqual(await again.next(), { text: i });
	await bus.empty(recv('chat', 'alice'));
});

await test('cut off for a while: TCP brings all of it, both ways, and nobody is disconnected', async (t) => {
	const { gw, bus } = await t.pair({ ...listenAll, ping_interval: '2s', pong_timeout: '30s' });
	const machine = await otherMachine(t);
	const c = await far(t, machine, 'alice');
	await machine.cut();
	for (const i of numbers(20)) {
		await bus.publish(recv('chat', 'alice'), i);
		c.tell({ send: i });
	}
	assert.equal(await bus.count(send('chat', 'alice')), 0);
	assert.equal(await bus.count(recv('chat', 'alice')), 20);
	await machine.heal();
	for (const i of numbers(20)) assert.deepEqual(await c.next(), { text: i });
	assert.deepEqual((await bus.storedAll(send('chat', 'alice'), 20)).map((m) => m.text), numbers(20));
	await bus.empty(recv('chat', 'alice'));
	assert.deepEqual((await gw.sessions('chat', 'alice')).map((s) => s.state), ['open']);
});

await test('half open: a machine that vanished costs its place until the Pong is missed, not longer', async (t) => {
	const { gw, bus } = await t.pair({ ...listenAll, ping_interval: '1s', pong_timeout: '1s' });
	const machine = await otherMachine(t);
	const gone = await Promise.all(numbers(5).map((i) => far(t, machine, `u${i}`)));
	await machine.cut();
	for (const c of gone) await c.proc.kill(); // its RST reaches nobody
	await until('the gateway to give them up', async () => !(await gw.ctl('sessions', 'chat')).out.trim());
	await bus.publish(recv('chat', 'u0'), 'waits');
	await machine.heal();
	assert.deepEqual(await (await far(t, machine, 'u0')).next(), { text: 'waits' });
});
