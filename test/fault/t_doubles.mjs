// What a client confirmed does not come again, whoever was away when it confirmed.
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { titleOf } from '../e2e/lib/proc.mjs';
import { hold } from '../e2e/lib/hold.mjs';

const users = numbers(30).map((i) => `u${i}`);

// Everybody gets 0, 1, 2 and has answered the Ping behind it, while the bridge stands still or is dead.
async function confirmed(t, { gw, bus }, away) {
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	// Before it is known that no other gateway holds them, nothing would be removed.
	await Promise.all(users.map((u) => bus.publish(recv('chat', u), 'first')));
	for (const c of clients) assert.equal((await c.next()).text, 'first');
	await bus.empty('ws.recv.>');
	const pinged = clients.map((c) => new Promise((done) => c.ws.on('ping', () => c.got.length === 4 && done())));
	clients.forEach((c) => c.ws.pause());
	for (let i = 0; i < 3; i++) await Promise.all(users.map((u) => bus.publish(recv('chat', u), String(i))));
	const given = async () => (await gw.figures()).total.messages_out;
	await until('the workers to write all of it', async () => (await given()) === 4 * users.length);
	const back = await away();
	clients.forEach((c) => c.ws.resume());
	await Promise.all(pinged);
	return { back, clients };
}

async function closeAll(clients) {
	for (const c of clients) assert.equal((await c.close()).code, 1000);
}

// The master stands still, so that the bridge has no successor meanwhile.
async function noBridge(gw) {
	const go = await hold(gw.proc.pid);
	process.kill(gw.pid('bridge'), 'SIGKILL');
	gw.restarts = true;
	return go;
}

// The bridge remembers them until all is removed, and the broker does not answer.
async function removalsAsked({ gw }) {
	const figure = async (what) => Number(new RegExp(`(\\d+) ${what}`).exec((await gw.ctl('status')).out)[1]);
	await until('the bridge to ask for the removal of all', async () => (await figure('removals under way')) === 3 * users.length);
	assert.equal(await figure('users'), users.length);
}

async function comeBack(t, { gw, bus }) {
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	await Promise.all(users.map((u) => bus.publish(recv('chat', u), 'new')));
	for (const c of clients) assert.equal((await c.next()).text, 'new', 'it got again what it had confirmed');
	await bus.empty('ws.recv.>');
}

await test('confirmed, closed and back while the bridge stands still: nothing comes twice', async (t) => {
	const p = await t.pair({ workers: 2 });
	const { back: go, clients } = await confirmed(t, p, () => hold(p.gw.pid('bridge')));
	await closeAll(clients);
	const back = comeBack(t, p);
	const opening = async () => (await p.gw.sessions()).filter((s) => s.state === 'opening').length;
	await until('the handshakes to wait', async () => (await opening()) === users.length);
	go();
	await back;
});

await test('confirmed and closed while there is no bridge: its successor removes it', async (t) => {
	const p = await t.pair({ workers: 2 });
	const { back, clients } = await confirmed(t, p, () => noBridge(p.gw));
	await closeAll(clients);
	back();
	await comeBack(t, p);
});

await test('confirmed to a worker that dies while there is no bridge: the next bridge removes it', async (t) => {
	const p = await t.pair({ workers: 1 });
	const first = await p.gw.murder('bridge'); // from here on its successors wait a little
	await until('a successor', () => (p.gw.pid('bridge') ?? first) !== first);
	const { back, clients } = await confirmed(t, p, () => noBridge(p.gw));
	await Promise.all(clients.map((c) => c.ping())); // behind the Pongs
	process.kill(p.gw.pid('worker 0'), 'SIGKILL');
	await Promise.all(clients.map((c) => c.ended()));
	back();
	await comeBack(t, p);
});

await test('confirmed and closed, and the bridge dies before it is removed: its successor removes it', async (t) => {
	const p = await t.pair({ workers: 2 });
	const { clients } = await confirmed(t, p, () => p.nats.pause());
	await closeAll(clients);
	await removalsAsked(p);
	// What the dead bridge asked for is lost with the broker.
	await p.gw.murder('bridge');
	await p.nats.proc.kill();
	await p.nats.start();
	await p.gw.ready();
	await comeBack(t, p);
});

await test('confirmed to a worker that died, others came to its successor, and the bridge dies: its successor removes it', async (t) => {
	const p = await t.pair({ workers: 1 }), { gw } = p;
	const { clients } = await confirmed(t, p, () => p.nats.pause());
	await closeAll(clients);
	await removalsAsked(p);
	const old = await gw.murder('worker 0');
	await until('a successor', () => (gw.pid('worker 0') ?? old) !== old);
	for (const i of numbers(2 * users.length)) await t.client(gw, `chat/other${i}`);
	await gw.murder('bridge');
	await p.nats.proc.kill();
	await p.nats.start();
	await gw.ready();
	await comeBack(t, p);
});

await test('confirmed and closed, and the master dies while its bridge has still to remove it: the next start gives nothing again', async (t) => {
	const p = await t.pair({ workers: 2 }), { gw } = p;
	const bridge = gw.pid('bridge');
	const { back: go, clients } = await confirmed(t, p, () => hold(bridge));
	await closeAll(clients);
	gw.restarts = true;
	gw.signal('SIGKILL');
	await gw.proc.ended;
	await gw.start();
	await comeBack(t, p);
	go();
	await until('the end of the old bridge', () => !titleOf(bridge).startsWith('wsgated'));
});

await test('confirmed, and everything dies before it is removed: the next start removes it', async (t) => {
	const p = await t.pair({ workers: 2 });
	const { clients } = await confirmed(t, p, () => p.nats.pause());
	await Promise.all(clients.map((c) => c.ping())); // behind the Pongs
	await removalsAsked(p);
	await p.gw.massacre();
	await p.nats.proc.kill();
	await p.nats.start();
	await p.gw.start();
	await comeBack(t, p);
});

await test('given by a dead bridge, confirmed before its successor reaches the broker: it does not come again', async (t) => {
	const p = await t.pair({ workers: 2 }), { gw, bus, nats } = p;
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	const pinged = clients.map((c) => new Promise((done) => c.ws.on('ping', () => c.got.length === 3 && done())));
	const go = await Promise.all(['worker 0', 'worker 1'].map((title) => hold(gw.pid(title))));
	for (let i = 0; i < 3; i++) await Promise.all(users.map((u) => bus.publish(recv('chat', u), String(i))));
	await until('all of it to lie in the rings', async () => / 90 delivered/.test((await gw.ctl('status')).out));
	await nats.pause();
	const old = await gw.murder('bridge');
	// It has looked at all connections when their users are there.
	await until('a successor', async () => (gw.pid('bridge') ?? old) !== old && / 30 users/.test((await gw.ctl('status')).out));
	go.forEach((f) => f());
	await Promise.all(pinged);
	for (const c of clients) await c.close(); // without a bridge it may end without a Close
	nats.resume();
	await gw.ready();
	await comeBack(t, p);
});
