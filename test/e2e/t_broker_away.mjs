// The broker may be absent at start, go away and come back: clients stay, nothing is lost.
import { test, assert, until } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { Proc } from './lib/proc.mjs';
import { slowWay } from './lib/way.mjs';

await test('broker absent at start: not ready, 503; when it comes, all works', async (t) => {
	const nats = await t.nats({ start: false });
	const gw = await t.gateway(nats, { config: { broker: { grace: '500ms' } }, ready: false });
	assert.equal(await gw.status('/livez'), 200);
	assert.equal(await gw.status('/readyz'), 503);
	const no = await Client.refused(gw.wsUrl('chat/alice'));
	assert.equal(no.status, 503);
	assert.match(no.headers['retry-after'] ?? '', /^\d+$/);
	await nats.start();
	await gw.ready();
	const bus = await nats.connect();
	const c = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'hello');
	assert.equal((await c.next()).text, 'hello');
	await c.send('up');
	await bus.storedAll(send('chat', 'alice'), 1);
});

await test('broker away for longer than the grace: 503, then well again', async (t) => {
	const { nats, gw, bus } = await t.pair({ broker: { grace: '500ms' } });
	const before = await t.client(gw, 'chat/before');
	await nats.stop();
	await until('/readyz 503', async () => (await gw.status('/readyz')) === 503);
	assert.equal((await before.ended()).code, 1013, 'who is there is told to try again later');
	const no = await Client.refused(gw.wsUrl('chat/alice'));
	assert.equal(no.status, 503);
	assert.match(no.headers['retry-after'] ?? '', /^\d+$/);
	await nats.start();
	await gw.ready();
	const c = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'hello');
	assert.equal((await c.next()).text, 'hello');
});

for (const [how, end] of [['stopped', (n) => n.stop()], ['killed', async (n) => n.proc.kill()]]) {
	await test(`broker ${how} and started again while clients stay`, async (t) => {
		const { nats, gw, bus } = await t.pair();
		const users = await Promise.all(numbers(20).map((i) => t.client(gw, `chat/u${i}`)));
		const up = await bus.work('workers', 'ws.send.>');
		await Promise.all(users.map((c, i) => c.send(`before ${i}`)));
		await until('the first messages', () => up.length === 20);
		await end(nats);
		await Promise.all(users.map((c, i) => c.send(`meanwhile ${i}`)));
		await nats.start();
		await Promise.all(users.map((_, i) => bus.publish(recv('chat', `u${i}`), 'down')));
		for (const c of users) assert.equal((await c.next(30000)).text, 'down');
		const mine = (i, what) => up.some((m) => m.subject === send('chat', `u${i}`) && m.text === `${what} ${i}`);
		await until('what was sent meanwhile', () => users.every((_, i) => mine(i, 'meanwhile')), 30000);
		await Promise.all(users.map((c, i) => c.send(`after ${i}`)));
		await until('what was sent afterwards', () => users.every((_, i) => mine(i, 'after')), 30000);
		users.forEach((_, i) => {
			const order = [...new Set(up.filter((m) => m.subject === send('chat', `u${i}`)).map((m) => m.text.split(' ')[0]))];
			assert.deepEqual(order, ['before', 'meanwhile', 'after']);
		});
		assert.deepEqual(users.map((c) => c.closed), users.map(() => null));
		await bus.empty('ws.recv.>', 30000);
	}, { ms: 120000 });
}

await test('a way to the broker on which the last of what is sent takes longer than an answer may: all is stored, and little is sent twice', async (t) => {
	const nats = await t.nats(), bus = await nats.connect(), way = await slowWay(t, nats), all = numbers(24);
	const gw = await t.gateway(nats, { config: { workers: 4, max_message: '1000k', broker: { url: `nats://127.0.0.1:${way.port}` } } });
	const clients = await Promise.all(all.map((i) => t.client(gw, `chat/u${i}`)));
	way.rate = 1.5e6; // 24 MB take 16 s
	await Promise.all(clients.map((c) => c.send(Buffer.alloc(1000000, 'x'))));
	await until('all stored', async () => (await gw.figures()).bridge.stored === all.length, 60000);
	for (const i of all) await bus.storedAll(send('chat', `u${i}`), 1);
	assert.ok((await gw.figures()).bridge.retries <= all.length / 2, `${(await gw.figures()).bridge.retries} retries`);
	for (const c of clients) await c.close();
}, { ms: 90000 });

await test('a broker without JetStream is named as such', async (t) => {
	const { Proc, freePort } = await import('./lib/proc.mjs');
	const port = await freePort();
	const plain = new Proc('nats-server', ['-a', '127.0.0.1', '-p', String(port)], { env: { PATH: `${process.env.PATH}:/usr/sbin` } });
	t.atEnd(() => plain.kill());
	const gw = await t.gateway({ url: `nats://127.0.0.1:${port}` }, { start: false });
	await gw.start(false).catch(() => {});
	await until('a word about JetStream', () => /jetstream/i.test(gw.log()));
	if (!gw.proc.exit) assert.equal(await gw.status('/readyz'), 503);
	else assert.equal(gw.proc.exit.code, 2);
});

// The port of a server that is behind a cut: its queue is full, and SYNs are dropped.
async function cutOff(t) {
	const script = `
import socket, sys
s = socket.socket()
s.bind(("0.0.0.0", 0))
s.listen(0)
c = [socket.socket() for i in range(4)]
for one in c:
	one.setblocking(False)
	one.connect_ex(("127.0.0.1", s.getsockname()[1]))
print(s.getsockname()[1], flush=True)
sys.stdin.read()`;
	const p = new Proc('python3', ['-c', script]);
	t.atEnd(() => p.kill());
	return Number(await until('a port', () => p.out.trim()));
}

for (const [how, signals] of [['TERM', ['SIGTERM']], ['TERM twice', ['SIGTERM', 'SIGTERM']]]) {
	await test(`broker behind a cut, ${how}: the bridge ends by itself, though its threads wait for a server`, async (t) => {
		const port = await cutOff(t), nats = await t.nats({ start: false });
		const streams = Object.fromEntries(numbers(3).map((i) => [`s${i}`, { services: [`s${i}`] }]));
		const gw = await t.gateway(nats, { config: { workers: 1, broker: { url: [1, 2, 3].map((i) => `nats://127.0.0.${i}:${port}`).join() }, streams }, ready: false });
		await until('its bridge', () => gw.log().includes('ready pid='));
		for (const s of signals) gw.signal(s);
		assert.deepEqual(await gw.exited(), { code: 0, signal: null });
		assert.doesNotMatch(gw.log(), /killed/);
	});
}
