// A worker that stood still, or was kept from the processor, for longer than its clients may take: what they answered in
// time lies in their sockets, and counts.
import { test, assert, sleep, until } from '../e2e/lib/scenario.mjs';
import { recv } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { Raw, upgrade } from '../e2e/lib/raw.mjs';
import { hold } from '../e2e/lib/hold.mjs';

const MANY = 400; // more than a worker looks at in one turn

await test('Pongs that came meanwhile: nobody is given up, and what they confirm is removed', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '4s' });
	const clients = await Promise.all(numbers(MANY).map((i) => t.client(gw, `chat/u${i}`)));
	const pinged = clients.map((c) => new Promise((done) => c.ws.once('ping', done)));
	clients.forEach((c) => c.ws.pause());
	await Promise.all(numbers(MANY).map((i) => bus.publish(recv('chat', `u${i}`), 'x')));
	await until('all given', async () => (await gw.figures()).total.messages_out === MANY);
	await (await t.client(gw, 'chat/last')).close(); // what is counted is written, too
	const go = await hold(gw.pid('worker 0'));
	clients.forEach((c) => c.ws.resume());
	await Promise.all(pinged);
	await sleep(4500); // the time for the Pongs is over
	go();
	await bus.empty('ws.recv.>');
	assert.equal(clients.filter((c) => c.closed).length, 0);
});

await test('handshakes that came meanwhile are taken', async (t) => {
	const { gw } = await t.pair({ workers: 1, handshake_timeout: '4s' });
	const raws = await Promise.all(numbers(MANY).map(() => Raw.connect(gw.port)));
	await Promise.all(raws.map((r) => r.write('GET ')));
	await (await t.client(gw, 'chat/last')).close(); // those before it are accepted
	const go = await hold(gw.pid('worker 0'));
	await Promise.all(raws.map((r, i) => r.write(upgrade(`/ws/chat/u${i}`).slice('GET '.length))));
	await sleep(4500);
	go();
	assert.deepEqual([...new Set((await Promise.all(raws.map((r) => r.response()))).map((a) => a.status))], [101]);
	raws.forEach((r) => r.socket.destroy());
});

await test('who answers no Ping is given up all the same, though he goes on sending', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '1s' });
	const c = await t.client(gw, 'chat/mute', { autoPong: false });
	await bus.publish(recv('chat', 'mute'), 'x');
	await c.next();
	const more = setInterval(() => c.open && c.ws.send('y'), 5);
	assert.equal((await c.ended()).code, 3008);
	clearInterval(more);
});
