// A worker that stood still, or was kept from the processor, for longer than its clients may take: what they answered in
// time lies in their sockets, and counts; who called lies in its queue, and is served.
import { test, assert, sleep, stays, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { Raw, TEXT, upgrade } from '../e2e/lib/raw.mjs';
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

await test('who called a worker that stood still, and was killed then, is served by its successor', async (t) => {
	const { gw, bus } = await t.pair({ workers: 2 }), N = 30;
	const pid = gw.pid('worker 0');
	await hold(pid);
	const callers = await Promise.all(numbers(N).map(() => t.raw(gw)));
	await Promise.all(callers.map((r, i) => r.write(upgrade(`/ws/chat/u${i}/`))));
	// Those of the other one are answered; the rest is in the kernel's queue.
	const waiting = () => callers.filter((r) => !r.buf.length);
	await until('the other worker', async () => (await gw.sessions()).length === N - waiting().length && waiting().length < N);
	const left = waiting();
	assert.ok(left.length > 0 && left.every((r) => !r.finished), 'nobody came to the worker that stands still');
	await stays('unanswered', () => left.every((r) => !r.buf.length && !r.finished), 300);
	gw.restarts = true;
	process.kill(pid, 'SIGKILL');
	for (const r of callers) assert.equal((await r.response()).status, 101);
	assert.ok(gw.pid('worker 0') !== pid);
	await Promise.all(callers.map((r, i) => r.send(TEXT, `from ${i}`)));
	for (const i of numbers(N)) assert.equal((await bus.storedAll(send('chat', `u${i}`), 1))[0].text, `from ${i}`);
});
