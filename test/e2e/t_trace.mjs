// Trace contexts go from handshakes to services, and the log follows one user's messages, from end to end.
import { test, assert, until } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';

const TRACE = '0af7651916cd43dd8448eb211c80319c', SPAN = 'b7ad6b7169203331';
const VALID = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/;
const parts = (m) => VALID.exec(m.headers.traceparent ?? '')?.slice(1);

await test('the trace of a handshake is that of its messages, each a span of its own', async (t) => {
	const { gw, bus } = await t.pair();
	const c = await t.client(gw, 'chat/alice', { headers: { traceparent: `00-${TRACE}-${SPAN}-01` } });
	for (const x of ['one', 'two', '']) await c.send(x);
	const got = await bus.storedAll(send('chat', 'alice'), 3);
	assert.deepEqual(got.map((m) => m.text), ['one', 'two', '']);
	for (const m of got) assert.equal(parts(m)?.[0], TRACE, m.headers.traceparent);
	assert.equal(new Set([SPAN, ...got.map((m) => parts(m)[1])]).size, 4);
	// It goes along to another program.
	gw.signal('SIGUSR2');
	await gw.replaced();
	await gw.ready();
	await c.send('three');
	assert.equal(parts((await bus.storedAll(send('chat', 'alice'), 4))[3])[0], TRACE);
	for (const [user, traceparent] of [['none', undefined], ['bad', `00-${'0'.repeat(32)}-${SPAN}-01`], ['worse', 'x'.repeat(3000)]]) {
		const b = await t.client(gw, `chat/${user}`, traceparent ? { headers: { traceparent } } : {});
		await b.send('x');
		assert.equal((await bus.storedAll(send('chat', user), 1))[0].headers.traceparent, undefined);
	}
});

await test('made for all, or for nobody', async (t) => {
	const { gw, bus } = await t.pair({ trace_context: 'made' });
	const c = await t.client(gw, 'chat/alice');
	await c.send('x');
	await c.send('y');
	const [x, y] = await bus.storedAll(send('chat', 'alice'), 2);
	assert.ok(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/.test(x.headers.traceparent), x.headers.traceparent);
	assert.equal(x.headers.traceparent.slice(0, 35), y.headers.traceparent.slice(0, 35));
	assert.notEqual(x.headers.traceparent, y.headers.traceparent);
	gw.config.trace_context = 'off';
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	const d = await t.client(gw, 'chat/bob', { headers: { traceparent: `00-${TRACE}-${SPAN}-01` } });
	await d.send('x');
	assert.equal((await bus.storedAll(send('chat', 'bob'), 1))[0].headers.traceparent, undefined);
});

await test('one user is followed through worker, ring, bridge and broker, and nobody else', async (t) => {
	const { gw, bus } = await t.pair({ log: { level: 'info' } });
	const alice = await t.client(gw, 'chat/alice', { headers: { traceparent: `00-${TRACE}-${SPAN}-01` } });
	const bob = await t.client(gw, 'chat/bob');
	const steps = () => gw.log().split('\n').filter((l) => l.includes(' trace ') && l.includes('followed: '));
	const both = async (text) => {
		for (const [c, user] of [[alice, 'alice'], [bob, 'bob']]) {
			const had = await bus.count(send('chat', user));
			await bus.publish(recv('chat', user), text, { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` });
			await c.next();
			await c.send(`${text} back`);
			await bus.storedAll(send('chat', user), had + 1);
		}
		await bus.empty('ws.recv.>');
	};
	await both('before');
	assert.deepEqual(steps(), []);
	const r = await gw.ctl('trace', 'chat', 'alice');
	assert.deepEqual([r.code, r.out], [0, "the log follows this user's messages for 60 seconds\n"]);
	assert.match(gw.log(), /follows the messages of a user service=chat user=alice seconds=60/);
	await both('now'); // one each is enough: all know
	await until('all steps', () => /removed[^]*state=stored|state=stored[^]*removed/.test(steps().join('\n')));
	const seq = /seq=(\d+)/.exec(steps().find((l) => /comes from the broker/.test(l)))[1];
	const down = steps().filter((l) => l.includes(`seq=${seq} `)).map((l) => /(worker \d|bridge): followed: (.*?) seq/.exec(l).slice(1).join(': '));
	// Two processes write to one log: the reader of the ring may be quicker with its line than the writer.
	assert.deepEqual(down.map((l) => l.replace(/worker \d/, 'worker')).sort(), ['bridge: a message for the client comes from the broker', 'bridge: a message for the client goes into the ring',
		'worker: a message comes out of the ring and is written to the client', 'worker: the client has proved to have all up to there', 'bridge: all up to there is removed'].sort());
	assert.match(steps().find((l) => /comes from the broker/.test(l)), new RegExp(`age_us=\\d+ trace=00-${TRACE}-00f067aa0ba902b7-01`));
	const up = steps().filter((l) => /state=/.test(l)), id = /msg_id=(\S+)/.exec(up[0])[1];
	assert.deepEqual(up.filter((l) => l.includes(id)).map((l) => /state="?(stored|read from the ring|sent to the broker)/.exec(l)[1]), ['read from the ring', 'sent to the broker', 'stored']);
	assert.ok(up.every((l) => l.includes(`trace=00-${TRACE}-`)), up[0]);
	assert.ok(steps().some((l) => /worker \d: followed: a message of the client goes into the ring pos=\d+ bytes=8 /.test(l)));
	assert.ok(!steps().some((l) => l.includes('bob')));
	// A process that is born meanwhile knows it, and it ends when it is told to.
	await gw.murder('bridge');
	await gw.ready();
	const before = steps().length;
	await both('later');
	assert.ok(steps().slice(before).some((l) => /bridge: followed/.test(l)));
	assert.equal((await gw.ctl('trace', 'chat', 'alice', '--seconds', '0')).code, 0);
	assert.match(gw.log(), /seconds=0/);
	const quiet = steps().length;
	await both('after');
	assert.equal(steps().length, quiet);
	for (const bad of [['trace'], ['trace', 'chat'], ['trace', 'chat', 'alice', '--seconds'], ['trace', 'chat', 'alice', '--seconds', 'x'], ['trace', 'chat', 'alice', '--minutes', '1']]) assert.equal((await gw.ctl(...bad)).code, 1, bad.join(' '));
	assert.equal((await gw.ctl('trace', 'chat', 'alice', '--seconds', '1')).code, 0);
	await until('over by itself', async () => {
		const n = steps().length;
		await both('at last');
		return steps().length === n;
	});
});

await test('what no client can get keeps its trace', async (t) => {
	const { gw, bus } = await t.pair({ max_message: 1000 });
	const dead = await bus.listen('wsdead.>');
	await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'x'.repeat(2000), { traceparent: `00-${TRACE}-${SPAN}-01` });
	await until('set aside', () => dead.length);
	assert.equal(dead[0].headers.traceparent, `00-${TRACE}-${SPAN}-01`);
});
