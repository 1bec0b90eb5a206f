// A user on several gateways at once: they tell each other, and nobody loses what another one has confirmed.
import { test, assert, until, sleep, stays } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { recv } from './lib/nats.mjs';
import { slowWay } from './lib/way.mjs';
import { numbers } from './lib/client.mjs';
import { PING, PONG } from './lib/raw.mjs';

const figure = async (gw, name) => (await gw.figures()).bridge[name];
const ALICE = recv('chat', 'alice');

// n gateways that know each other. grace: how long one waits for its broker; it is taken for gone three seconds later.
async function several(t, n, config = {}) {
	const nats = await t.nats(), bus = await nats.connect(), gates = [];
	for (let i = 0; i < n; i++) gates.push(await t.gateway(nats, { config: { workers: 1, ...config } }));
	await until('each to know all others', () => gates.every((g) => (g.log().match(/another gateway is there/g) ?? []).length >= n - 1));
	return { nats, bus, gates };
}

await test('tabs of one user on three gateways all get everything, and nothing is left', async (t) => {
	const { bus, gates } = await several(t, 3);
	const tabs = [];
	for (const g of gates) tabs.push(await t.client(g, 'chat/alice'));
	await bus.publishAll(600, (i) => [ALICE, String(i)]);
	for (const c of tabs) assert.deepEqual((await c.take(600)).map((m) => m.text), numbers(600));
	await bus.empty(ALICE);
	for (const c of tabs) assert.equal(c.got.length, 600, 'no doubles');
	await tabs[0].close();
	await bus.publishAll(100, (i) => [ALICE, String(600 + i)]);
	for (const c of tabs.slice(1)) assert.deepEqual((await c.take(100)).map((m) => m.text), numbers(100, 600));
	await bus.empty(ALICE);
});

await test('a slower device on another gateway loses nothing', async (t) => {
	const { bus, gates: [a, b] } = await several(t, 2, { pong_timeout: '60s', delivery: { user_buffer: '16k', window: '16k' } });
	const slow = await t.client(b, 'chat/alice'), quick = await t.client(a, 'chat/alice');
	const N = 2000, text = (i) => `${i} ${'.'.repeat(1000)}`;
	slow.ws.pause();
	await bus.publishAll(N, (i) => [ALICE, text(i)]);
	await quick.take(N);
	assert.ok(await bus.count(ALICE) > N / 2, 'it waits for the other one');
	await until('that to be seen', async () => (await figure(a, 'shared_users')) === 1 && (await figure(a, 'held_users')) === 1);
	assert.match((await a.admin('/metrics')).text, /^wsgate_shared_users_waiting 1$/m);
	assert.equal(await figure(a, 'gateways'), 1);
	assert.match((await a.ctl('status')).out, /^others +1 gateways heard, 0 lost so far, 1 users there, too, 1 of them slower there, 0 not answered for yet$/m);
	slow.ws.resume();
	assert.deepEqual((await slow.take(N)).map((m) => m.text), Array.from({ length: N }, (_, i) => text(i)));
	await bus.empty(ALICE);
	assert.equal(slow.got.length, N);
	await until('nobody to wait for', async () => (await figure(a, 'held_users')) === 0);
	await slow.close();
	await until('nobody to share with', async () => (await figure(a, 'shared_users')) === 0);
});

await test('a gateway without a bridge for longer than its lease: its connections end, also with a bridge that knows nothing', async (t) => {
	const { bus, gates: [a, b] } = await several(t, 2, { broker: { grace: '2s' } });
	const cut = await t.client(a, 'chat/alice'), other = await t.client(b, 'chat/alice');
	await until('it to know the other one', async () => (await figure(a, 'gateways')) === 1);
	const go = await hold(a.proc.pid);
	process.kill(a.pid('bridge'), 'SIGKILL');
	a.restarts = true;
	await until('it to be taken for gone', () => /not heard any more/.test(b.log()));
	await bus.publish(ALICE, 'hello');
	assert.equal((await other.next()).text, 'hello');
	await bus.empty(ALICE); // and nobody has it for the other one
	go();
	assert.equal((await cut.ended()).code, 1012);
	assert.deepEqual(cut.texts(), []);
	assert.match(a.log(), /heard nothing of this one for longer than its lease/);
	assert.equal(other.closed, null);
});

await test('the death of a bridge, and a program that is replaced, give nothing up', async (t) => {
	const { bus, gates: [a, b] } = await several(t, 2, { pong_timeout: '60s', ping_interval: '60s' });
	const quick = await t.client(a, 'chat/alice'), r = await t.raw(b);
	await r.open('/ws/chat/alice/');
	await bus.publish(ALICE, '0');
	assert.equal((await quick.next()).text, '0');
	const ping = await r.next(PING);
	await b.murder('bridge');
	await b.ready();
	await stays('stored', async () => (await bus.count(ALICE)) === 1, 2500);
	b.signal('SIGUSR2');
	await b.replaced();
	await stays('stored', async () => (await bus.count(ALICE)) === 1, 2500);
	await r.send(PONG, ping.data);
	await bus.empty(ALICE);
	assert.equal(quick.got.length, 1);
});

await test('a gateway that is killed holds messages up only until it is missed', async (t) => {
	const { bus, gates: [a, b] } = await several(t, 2, { broker: { grace: '1s' } });
	const quick = await t.client(a, 'chat/alice'), r = await t.raw(b);
	await r.open('/ws/chat/alice/');
	await bus.publish(ALICE, '0');
	await quick.next();
	await r.next(PING);
	await b.massacre();
	const from = performance.now();
	await bus.empty(ALICE);
	assert.ok(performance.now() - from > 1000, `after ${performance.now() - from} ms`);
	await until('the log to say so', () => /another gateway is not heard any more/.test(a.log()));
	await b.start();
	const back = await t.client(b, 'chat/alice');
	await bus.publish(ALICE, '1');
	assert.equal((await back.next()).text, '1');
	assert.equal((await quick.next()).text, '1');
	await bus.empty(ALICE);
	assert.doesNotMatch(b.log(), /heard nothing of this one/);
	assert.equal(await figure(b, 'fenced'), 0);
	assert.equal(back.closed, null);
});

await test('a gateway that stops in good order is not waited for', async (t) => {
	const { bus, gates: [a, b] } = await several(t, 2, { broker: { grace: '60s' } });
	b.signal('SIGTERM');
	await b.exited();
	await until('its farewell', () => /another gateway has left/.test(a.log()));
	const c = await t.client(a, 'chat/alice');
	await bus.publish(ALICE, '0');
	await c.next();
	await bus.empty(ALICE, 5000);
	await until('that to be counted', async () => (await figure(a, 'gateways')) === 0);
	assert.equal(await figure(a, 'gateways_lost'), 0);
});

// All of its processes stand still; returns what makes them go on.
async function holdAll(gate) {
	const going = [];
	for (const pid of [gate.master, ...gate.children().map((c) => c.pid)]) going.unshift(await hold(pid));
	return () => going.forEach((go) => go());
}

// Two that know each other; the second one's way to the broker is such a way.
async function onSlowWay(t) {
	const { bus, nats, gates: [a] } = await several(t, 1);
	const way = await slowWay(t, nats);
	const b = await t.gateway(nats, { config: { broker: { url: `nats://127.0.0.1:${way.port}` } } });
	await until('both to know', () => [a, b].every((g) => /another gateway is there/.test(g.log())));
	return { bus, a, b, way };
}

await test('who is let in gets what is published from then on, however quickly another gateway has it removed', async (t) => {
	const { bus, a, b, way } = await onSlowWay(t);
	const here = await t.client(a, 'chat/alice');
	await bus.publish(ALICE, 'before');
	await here.next();
	await bus.empty(ALICE);
	for (way.delay of [150, 300]) {
		let busy = true;
		const others = (async () => { // removed there all the while
			for (let i = 0; busy; i++) {
				await bus.publish(ALICE, `${i}`);
				await here.next();
			}
		})();
		const there = await t.client(b, 'chat/alice');
		busy = false;
		await others;
		await bus.publish(ALICE, 'from then on');
		assert.equal((await here.next()).text, 'from then on');
		await until('it there', () => there.texts().includes('from then on') || there.closed);
		const tab = await t.client(b, 'chat/alice');
		await bus.publish(ALICE, 'and then');
		assert.equal((await here.next()).text, 'and then');
		await until('it in the tab', () => tab.texts().includes('and then')); // behind what is not known to be confirmed
		await until('it there', () => there.texts().includes('and then') || there.closed);
		await bus.empty(ALICE);
		assert.equal(there.closed ?? tab.closed, null);
		for (const c of [there, tab]) await c.close();
	}
});

await test('who comes before a new bridge has met the broker gets all from then on, or is told to come back', async (t) => {
	const { bus, a, b, way } = await onSlowWay(t);
	const users = numbers(12).map((i) => ({ at: `chat/u${i}`, subject: recv('chat', `u${i}`), sent: 0 }));
	for (const u of users) u.here = await t.client(a, u.at);
	const sessions = () => b.log().match(/connected to the broker/g).length;
	for (way.delay of [0, 5, 10, 20]) {
		const before = sessions();
		let busy = true;
		const others = users.map(async (u) => { // removed there all the while
			while (busy) {
				await bus.publish(u.subject, `${way.delay} ${u.sent++}`);
				await u.here.next();
			}
		});
		await b.murder('bridge');
		for (const u of users) {
			u.there = await t.client(b, u.at);
			u.from = u.sent; // is published from now on
		}
		await until('the broker', () => sessions() > before);
		busy = false;
		await Promise.all(others);
		for (const u of users) {
			await bus.publish(u.subject, 'end');
			await u.here.next();
			await until('it there', () => u.there.texts().includes('end') || u.there.closed);
			const lacks = numbers(u.sent).slice(u.from).filter((i) => !u.there.texts().includes(`${way.delay} ${i}`));
			if (lacks.length) await until(`the end of ${u.at}, which lacks ${lacks}`, () => u.there.closed);
			if (u.there.closed) assert.equal(u.there.closed.code, 1012);
			await u.there.close();
		}
	}
});

await test('who comes before a new bridge has met the broker stays, when others removed nothing since', async (t) => {
	const { bus, a, b, way } = await onSlowWay(t);
	const here = await t.client(a, 'chat/alice');
	const removed = async () => {
		await bus.publish(ALICE, 'before');
		await here.next();
		await bus.empty(ALICE);
	};
	await removed(); // not in its first seconds
	way.delay = 300;
	await b.murder('bridge');
	await removed();
	await sleep(200); // longer ago than a word takes from one to the other: what is younger counts as later
	const there = await t.client(b, 'chat/alice');
	assert.equal(b.log().match(/connected to the broker/g).length, 1, 'before it has a session');
	await until('it to know that she is there, too', async () => (await figure(b, 'shared_users')) === 1);
	await bus.publish(ALICE, 'after');
	for (const c of [here, there]) assert.equal((await c.next()).text, 'after');
	await bus.empty(ALICE);
	await stays('here', () => !there.closed, 500);
});

// Several, and one whose way to the broker is such a way.
async function withSlowOne(t, n) {
	const { bus, nats, gates } = await several(t, n);
	const way = await slowWay(t, nats);
	const slow = await t.gateway(nats, { config: { workers: 1, broker: { url: `nats://127.0.0.1:${way.port}` } } });
	await until('all to know', () => [...gates, slow].every((g) => (g.log().match(/another gateway is there/g) ?? []).length >= n));
	return { bus, gates, slow, way };
}

for (const delay of [0, 30]) {
	await test(`a device that comes back through another gateway gets what it had not confirmed, whatever others of its user have (${delay} ms)`, async (t) => {
		const { bus, gates: [a, c], slow: b, way } = await withSlowOne(t, 2);
		const users = await Promise.all(numbers(8).map(async (i) => {
			const at = `chat/u${i}`, slow = await t.raw(b);
			await slow.open(`/ws/${at}/`);
			return { at, slow, subject: recv('chat', `u${i}`), quick: await t.client(a, at) };
		}));
		await until('all to know', async () => (await Promise.all([a, b].map((g) => figure(g, 'shared_users')))).every((n) => n === users.length));
		for (const u of users) {
			await bus.publish(u.subject, 'its own');
			assert.equal((await u.quick.next()).text, 'its own');
			await u.slow.next(PING); // and no Pong
		}
		await until('that to be confirmed', async () => (await a.figures()).total.unconfirmed === 0);
		way.delay = delay;
		// To one that holds the user, and to one that does not.
		for (const u of users) u.late = [await t.client(a, u.at), await t.client(c, u.at)];
		for (const u of users) {
			for (const l of u.late) assert.equal((await l.next()).text, 'its own');
			u.slow.destroy();
			await bus.publish(u.subject, 'and on');
			for (const l of [u.quick, ...u.late]) assert.equal((await l.next()).text, 'and on');
			await bus.empty(u.subject);
		}
	});
}

await test('a device that comes back while its new gateway has no session gets what it had not confirmed, or is told to come back', async (t) => {
	const { bus, gates: [b], slow: a, way } = await withSlowOne(t, 1);
	const old = await t.raw(b), here = await t.client(a, 'chat/alice'), there = await t.client(b, 'chat/alice');
	await old.open('/ws/chat/alice/');
	await until('both to know', async () => (await Promise.all([a, b].map((g) => figure(g, 'shared_users')))).every((n) => n === 1));
	await bus.publish(ALICE, 'its own');
	for (const c of [here, there]) assert.equal((await c.next()).text, 'its own');
	await old.next(PING); // and no Pong
	await until('that to be confirmed', async () => (await Promise.all([a.figures(), b.figures()])).every((f, i) => f.total.unconfirmed === i));
	way.cut();
	await until('no session', () => /the broker is away/.test(a.log()));
	const late = await t.client(a, 'chat/alice');
	old.destroy();
	await until('its end', async () => (await b.sessions('chat', 'alice')).length === 1);
	way.open = true;
	await until('it, or its end', () => late.texts().includes('its own') || late.closed);
	if (late.closed) assert.equal(late.closed.code, 1012);
	await bus.empty(ALICE);
});

for (const [what, first] of [['while the one before had no session', 'client'], ['and long before it meets the broker', 'bridge']]) {
	await test(`who comes before a new bridge is there, ${what}, gets all or is told to come back`, async (t) => {
		const { bus, a, b, way } = await onSlowWay(t);
		const here = await t.client(a, 'chat/alice');
		const removed = async (text) => {
			await bus.publish(ALICE, text);
			await here.next();
			await bus.empty(ALICE);
		};
		await removed('before'); // not in its first seconds
		way.cut();
		await until('no session', () => /the broker is away/.test(b.log()));
		if (first === 'bridge') await b.murder('bridge');
		const there = await t.client(b, 'chat/alice');
		await removed('meanwhile');
		if (first === 'bridge') await here.close();
		await stays('away', () => !there.closed, 6000);
		if (first === 'client') await b.murder('bridge');
		way.open = true;
		await until('its end', () => there.closed);
		assert.equal(there.closed.code, 1012);
		assert.equal(there.got.length, 0);
	});
}

await test('cut off for a moment: nothing is removed, nobody notices', async (t) => {
	const { bus, gates: [a, b] } = await several(t, 2);
	const here = await t.client(a, 'chat/alice'), there = await t.client(b, 'chat/alice');
	await bus.publishAll(10, (i) => [ALICE, String(i)]);
	await Promise.all([here.take(10), there.take(10)]);
	await bus.empty(ALICE);
	const go = await holdAll(b);
	await bus.publishAll(10, (i) => [ALICE, String(10 + i)]);
	await here.take(10);
	await stays('stored', async () => (await bus.stored(ALICE)).length === 10, 2000);
	go();
	assert.deepEqual((await there.take(10)).map((m) => m.text), numbers(10, 10));
	await bus.empty(ALICE);
	assert.equal(there.got.length, 20);
});

await test('cut off for too long: what was kept goes, and who may lack some is told to come back', async (t) => {
	const { bus, gates: [a, b] } = await several(t, 2, { broker: { grace: '1s' } });
	const here = await t.client(a, 'chat/alice'), there = await t.client(b, 'chat/alice');
	const go = await holdAll(b);
	await bus.publishAll(10, (i) => [ALICE, String(i)]);
	await here.take(10);
	await bus.empty(ALICE);
	go();
	const end = await there.ended();
	assert.ok(there.got.length === 10 || [1006, 1012].includes(end.code), `${end.code} ${end.reason}, ${there.got.length}`);
	await until('it to learn that', () => /took this one for gone/.test(b.log()));
	await until('both to count it', async () => (await figure(a, 'gateways_lost')) === 1 && (await figure(b, 'fenced')) === 1);
	await until('nobody who is not answered for', async () => (await figure(b, 'unclear_users')) === 0);
	const back = await t.client(b, 'chat/alice');
	await bus.publish(ALICE, '10');
	assert.equal((await back.next()).text, '10');
	assert.equal((await here.next()).text, '10');
	await bus.empty(ALICE);
});
