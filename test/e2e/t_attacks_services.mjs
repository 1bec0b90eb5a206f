// Forged headers from services, and forged copies of messages: nobody else's queue is touched.
import { headers } from 'nats';
import { test, assert, until, stays } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';
import { atMost, cost, figures, latency } from './lib/besieged.mjs';

const forged = [
	{ 'Nats-Sequence': '999999999' }, { 'Nats-Sequence': '1', 'Nats-Last-Sequence': '999' }, { 'Nats-Sequence': '-1' }, { 'Nats-Sequence': '99999999999999999999999' },
	{ 'Nats-Subject': 'ws.recv.chat.bob', 'Nats-Stream': 'other' }, { 'Nats-Time-Stamp': 'yesterday' }, { Status: '404' }, { Status: '503', Description: 'no' },
	{ 'Ws-Type': 'nonsense' }, { 'Ws-Type': '' }, { 'Ws-Conn': '0000000000000000' }, { 'ws-type': 'BINARY' }, { 'Nats-Expected-Stream': 'websockets' },
	{ 'Nats-Msg-Size': '1', 'Nats-Num-Pending': '77' }, { 'X-Long': 'x'.repeat(30000) },
];

await test('forged Ws-* and Nats-* headers: each message once, in order, to its own user', async (t) => {
	const { gw, bus } = await t.pair();
	const alice = await t.client(gw, 'chat/alice'), bob = await t.client(gw, 'chat/bob');
	for (const round of ['live', 'again']) {
		for (const [i, h] of forged.entries()) await bus.publish(recv('chat', 'alice'), `${round} ${i}`, h);
		await bus.publish(recv('chat', 'alice'), `${round} plain`);
	}
	const want = ['live', 'again'].flatMap((round) => [...forged.map((_, i) => `${round} ${i}`), `${round} plain`]);
	assert.deepEqual((await alice.take(want.length)).map((m) => m.data.toString()), want);
	await bus.empty('ws.recv.>');
	assert.equal((await alice.close()).code, 1000);
	for (const [i, h] of forged.entries()) await bus.publish(recv('chat', 'alice'), `absent ${i}`, h);
	const back = await t.client(gw, 'chat/alice');
	assert.deepEqual((await back.take(forged.length)).map((m) => m.data.toString()), forged.map((_, i) => `absent ${i}`));
	await bus.empty('ws.recv.>');
	await bus.publish(recv('chat', 'bob'), 'for bob');
	assert.equal((await bob.next()).text, 'for bob');
	assert.equal(bob.got.length, 1);
});

await test('forged Nats-Msg-Id: the service that sends it loses its own message, nobody else does', async (t) => {
	const { gw, bus } = await t.pair();
	const alice = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'first', { 'Nats-Msg-Id': 'x' });
	assert.equal((await bus.publish(recv('chat', 'alice'), 'second', { 'Nats-Msg-Id': 'x' })).duplicate, true);
	await alice.send('up');
	await bus.storedAll('ws.send.chat.alice', 1);
	assert.equal((await alice.next()).text, 'first');
});

const fakes = (user) => [
	[`wslive.chat.${user}`, 'no headers', undefined],
	[`wslive.chat.${user}`, 'no number', { 'Nats-Sequence': 'abc' }],
	[`wslive.chat.${user}`, 'zero', { 'Nats-Sequence': '0' }],
	[`wslive.chat.${user}`, 'old', { 'Nats-Sequence': '1', 'Nats-Last-Sequence': '0' }],
	[`wslive.chat.${user}`, 'a gap', { 'Nats-Sequence': '5000000', 'Nats-Last-Sequence': '4999999' }],
	[`wslive.chat.nobody${user}`, 'nobody', { 'Nats-Sequence': '5', 'Nats-Last-Sequence': '4' }],
];

await test('a flood of forged copies on wslive: other users get theirs, latency and memory stay in bounds', async (t) => {
	const { gw, bus } = await t.pair({ workers: 2, log: { level: 'info' } });
	const calm = await t.client(gw, 'chat/calm');
	await Promise.all(numbers(20).map((i) => t.client(gw, `chat/victim${i}`)));
	const before = await latency(bus, calm, 'calm'), start = cost(gw);
	let going = true, sent = 0;
	const flood = (async () => {
		while (going) {
			for (const i of numbers(20)) {
				for (const [subject, text, h] of fakes(`victim${i}`)) {
					const head = h && headers();
					for (const [k, v] of Object.entries(h ?? {})) head.append(k, v);
					bus.nc.publish(subject, Buffer.from(text.padEnd(1000)), { headers: head });
					sent++;
				}
			}
			await bus.nc.flush();
		}
	})();
	await until('a flood', () => sent > 5000);
	const under = await latency(bus, calm, 'calm'), most = cost(gw);
	going = false;
	await flood;
	figures('forged copies', { sent, 'ms before': before, 'ms under attack': under, 'KiB before': start.kib, 'under attack': most.kib });
	assert.ok(under.p95 < 5000);
	atMost(most.kib - start.kib, 60000, 'forged copies');
	assert.ok(calm.got.every((m) => m.text.startsWith('down')));
	await bus.empty(recv('chat', 'calm'));
}, { ms: 120000 });

await test('copies that cannot be true change nothing for their user', async (t) => {
	const { gw, bus } = await t.pair();
	const alice = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'one');
	assert.equal((await alice.next()).text, 'one');
	for (const [subject, text, h] of fakes('alice')) {
		const head = h && headers();
		for (const [k, v] of Object.entries(h ?? {})) head.append(k, v);
		bus.nc.publish(subject, Buffer.from(text), { headers: head });
	}
	await bus.nc.flush();
	for (const i of numbers(20)) await bus.publish(recv('chat', 'alice'), `true ${i}`);
	assert.deepEqual((await alice.take(20)).map((m) => m.text), numbers(20).map((i) => `true ${i}`));
	await bus.empty('ws.recv.>');
	await stays('no copy came through', () => alice.got.length === 21, 500);
});

await test('with permissions as wsgate(7) has them a service cannot forge copies', async (t) => {
	const nats = await t.nats({ login: 'gw:gw', conf: `authorization { users = [
		{ user: gw, password: gw }
		{ user: chat, password: chat, permissions: { publish: ["ws.recv.chat.>"], subscribe: ["_INBOX.>", "ws.send.chat.>"] } }
	] }` });
	const gw = await t.gateway(nats, {});
	const bus = await nats.connect({ user: 'chat', pass: 'chat' });
	const alice = await t.client(gw, 'chat/alice');
	const errors = [];
	(async () => {
		for await (const s of bus.nc.status()) errors.push(`${s.data} ${s.permissionContext?.subject ?? ''}`);
	})().catch(() => {});
	const head = headers();
	head.append('Nats-Sequence', '2');
	head.append('Nats-Last-Sequence', '0');
	bus.nc.publish('wslive.chat.alice', Buffer.from('forged'), { headers: head });
	await bus.nc.flush();
	await until('the refusal', () => errors.some((e) => /permission/i.test(e)));
	await bus.publish(recv('chat', 'alice'), 'true');
	assert.equal((await alice.next()).text, 'true');
	assert.equal(alice.got.length, 1);
});
