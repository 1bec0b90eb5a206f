// kill -9 of the master: its children end, the listeners close, and a new start works at once with what it left.
import fs from 'node:fs';
import net from 'node:net';
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { SLOW, titleOf } from '../e2e/lib/proc.mjs';
import { hold } from '../e2e/lib/hold.mjs';

const lives = (pid) => titleOf(pid).startsWith('wsgated');
const refused = (port) => new Promise((done) => {
	const s = net.connect(port, '127.0.0.1', () => (s.destroy(), done(false)));
	s.once('error', (e) => done(e.code === 'ECONNREFUSED'));
});

await test('the children end and the listeners close', async (t) => {
	const { gw } = await t.pair({ workers: 2 });
	const clients = await Promise.all(numbers(10).map((i) => t.client(gw, `chat/u${i}`)));
	const pids = gw.children().map((c) => c.pid);
	gw.restarts = true;
	gw.signal('SIGKILL');
	for (const c of clients) await c.ended();
	await until('the end of all', () => !pids.some(lives));
	assert.ok(await refused(gw.port), 'the port is closed');
	assert.ok(await refused(gw.adminPort), 'the admin port is closed');
});

await test('a new start at once: the stale pidfile is no obstacle, what was taken is stored, in order', async (t) => {
	const { nats, gw, bus } = await t.pair({ workers: 2 });
	const users = numbers(20).map((i) => `u${i}`);
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	await nats.pause();
	for (let i = 0; i < 20; i++) await Promise.all(clients.map((c) => c.send(String(i))));
	await Promise.all(clients.map((c) => c.ping()));
	const pids = gw.children().map((c) => c.pid), old = gw.proc.pid;
	gw.restarts = true;
	gw.signal('SIGKILL');
	await gw.proc.ended;
	assert.equal(Number(fs.readFileSync(gw.pidfile, 'utf8')), old, 'the pidfile is stale');
	const since = performance.now();
	await gw.start(false);
	assert.equal(gw.proc.exit, null, 'it starts');
	assert.ok(performance.now() - since < 5000 * SLOW, 'at once');
	nats.resume();
	await gw.ready();
	assert.equal(Number(fs.readFileSync(gw.pidfile, 'utf8')), gw.proc.pid);
	// The dead master's bridge and the new one may both be at it: each message once, in order.
	for (const u of users) {
		const stored = await bus.storedAll(send('chat', u), 20, 30000);
		assert.deepEqual(stored.map((m) => m.text), numbers(20), u);
	}
	await until('the end of the old ones', () => !pids.some(lives), 20000);
	const segments = () => fs.readdirSync(`${gw.dir}/run`).filter((f) => f.startsWith('segment.'));
	await until('one segment to be left', () => segments().length === 1);
	const back = await t.client(gw, 'chat/u0');
	await bus.publish(recv('chat', 'u0'), 'well');
	assert.equal((await back.next()).text, 'well');
});

await test('an orphan that stands still: a start beside it says what is wrong, and works when it has gone', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1 });
	const pid = gw.pid('worker 0');
	const go = await hold(pid);
	gw.restarts = true;
	gw.signal('SIGKILL');
	await gw.proc.ended;
	await gw.start(false).catch(() => {});
	if (gw.proc.exit) {
		assert.equal(gw.proc.exit.code, 2);
		assert.match(gw.log(), /cannot start why=.*127\.0\.0\.1:\d+/);
	}
	go();
	await until('its end', () => !lives(pid));
	if (gw.proc.exit) await gw.start();
	const c = await t.client(gw, 'chat/alice');
	await c.send('well');
	await bus.storedAll(send('chat', 'alice'), 1);
});
