// stream.max_age ends a message's life: what was not received until then is gone, and the rest comes, in order, to everybody.
import { SLOW, test, assert, stays, until } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';
import { Newer } from './lib/newer.mjs';

// One that answers no Ping, but so many when it is told to: one is under way at a time.
async function deaf(t, gw, where) {
	const c = await t.client(gw, where, { autoPong: false });
	let mark, answers = 0;
	const pong = () => {
		if (mark === undefined || answers === 0) return;
		answers--;
		c.ws.pong(mark);
		mark = undefined;
	};
	c.ws.on('ping', (data) => {
		mark = data;
		pong();
	});
	c.answer = (n = Infinity) => {
		answers = n;
		pong();
	};
	return c;
}

const settled = (gw, user) => until(`nothing owed to ${user}`, async () => {
	const [s] = await gw.sessions('chat', user), { bridge } = await gw.figures();
	return !s.behind && s.unconfirmed === 0 && bridge.removals_pending === 0;
});

const texts = (c) => c.got.map((m) => m.text);

for (const kill of [false, true]) {
	await test(`a hole in a backlog, behind what was given, and before one who comes later${kill ? '; the bridge is killed in it' : ''}`, async (t) => {
		const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '60s', delivery: { window_messages: 4, user_buffer: '1k' }, stream: { max_age: `${3 * SLOW}s`, duplicate_window: '1s' } });
		const jsm = await bus.jsm(), N = 40;
		const publish = (users, from, n) => bus.publishAll(n * users.length, (i) => [recv('chat', users[i % users.length]), String(from + Math.floor(i / users.length))]);
		const c = await deaf(t, gw, 'chat/given'), m = await deaf(t, gw, 'chat/marked'), idle = await deaf(t, gw, 'chat/idle');
		await publish(['given', 'marked', 'idle', 'absent'], 0, N);
		for (const one of [c, m, idle]) await one.take(4);
		m.answer(4);
		await m.take(4); // those before are confirmed
		await bus.empty('ws.recv.>'); // the rest ends by itself
		if (kill) {
			await gw.murder('bridge');
			await gw.ready();
		}
		// Who has nothing new to come is not owed anything either.
		idle.answer();
		await settled(gw, 'idle');
		assert.ok(idle.got.length < N, 'nothing was lost: the test came too late');

		await jsm.streams.update('websockets', { max_age: 3600e9 });
		await publish(['given', 'marked', 'idle', 'absent'], 1000, N);
		const absent = await t.client(gw, 'chat/absent');
		c.answer();
		m.answer();
		for (const one of [c, m, idle, absent]) await until('the last one', () => one.got.at(-1)?.text === String(1000 + N - 1) || one.closed);
		assert.deepEqual(texts(absent), numbers(N, 1000));
		for (const [one, had] of [[c, 4], [m, 8], [idle, 4]]) {
			const old = texts(one).filter((x) => Number(x) < 1000);
			assert.deepEqual(texts(one).slice(0, had), numbers(had));
			assert.deepEqual(old, [...old].sort((a, b) => a - b));
			assert.deepEqual(texts(one).slice(old.length), numbers(N, 1000));
			assert.ok(old.length < N && new Set(old).size === old.length, `${old}`);
		}
		await bus.empty('ws.recv.>');
		for (const user of ['given', 'marked', 'idle', 'absent']) await settled(gw, user);
		assert.ok(!gw.log().includes('the broker does not remove a message'));
	}, { ms: 90000 });
}

// What 2.11 can: a message has a life of its own.
await test('holes in the middle of a backlog and at its end', async (t) => {
	const broker = await Newer.start(t), N = 30;
	const gw = await t.gateway(broker, { config: { workers: 1, pong_timeout: '60s', delivery: { window_messages: 4, user_buffer: '1k' } } });
	const c = await deaf(t, gw, 'chat/alice');
	for (const i of numbers(N)) broker.store(recv('chat', 'alice'), '', Buffer.alloc(0), Buffer.from(i));
	await c.take(4);
	const lost = (i) => i === 2 || (i > 10 && i < 20) || i % 7 === 0 || i > 26; // one that was given, too
	for (const m of [...broker.stored.values()]) if (lost(Number(m.body))) broker.stored.delete(m.seq);
	c.answer();
	const left = numbers(N).filter((i) => !lost(Number(i)) || Number(i) < 4);
	await until('the last one', () => c.got.at(-1).text === left.at(-1) || c.closed);
	await until('all removed', () => broker.stored.size === 0);
	const asked = broker.asked['DIRECT.GET'];
	await stays('few looks for what was last', () => broker.asked['DIRECT.GET'] - asked <= 24, 3500);
	broker.store(recv('chat', 'alice'), '', Buffer.alloc(0), Buffer.from('new'));
	await until('a new one', () => c.got.at(-1).text === 'new' || c.closed);
	const old = texts(c).slice(0, -1);
	assert.deepEqual(old.filter((i) => left.includes(i)), left);
	assert.deepEqual(old, [...old].sort((a, b) => a - b));
	assert.ok(old.length < N && new Set(old).size === old.length, `${old}`);
	await settled(gw, 'alice');
	assert.ok(!gw.log().includes('the broker does not remove a message'));
}, { ms: 60000 });
