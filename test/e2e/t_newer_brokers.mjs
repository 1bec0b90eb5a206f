// What is used of brokers newer than those that we have, against a program that answers as they are documented to.
import { connect, headers } from 'nats';
import { test, assert, until, stays } from './lib/scenario.mjs';
import { numbers } from './lib/client.mjs';
import { Newer } from './lib/newer.mjs';

// As a server before us left it, with what 2.11 adds by itself, and with a member of its own that must go back.
const OLD = { name: 'websockets', subjects: ['ws.>'], retention: 'workqueue', storage: 'file', discard: 'new', discard_new_per_subject: false, max_msgs_per_subject: -1,
	max_age: 604800e9, max_bytes: -1, max_msgs: -1, max_consumers: -1, max_msg_size: -1, num_replicas: 1, duplicate_window: 60e9, allow_direct: true, mirror_direct: false,
	sealed: false, deny_delete: false, deny_purge: false, allow_rollup_hdrs: false, compression: 's2', consumer_limits: {}, allow_msg_ttl: true,
	metadata: { '_nats.ver': '2.11.4', '_nats.level': '1', '_nats.req.level': '1', owner: 'us' } };

// One that three servers have, and that needs no update.
const OF_THREE = { ...OLD, num_replicas: 3, republish: { src: 'ws.recv.>', dest: 'wslive.>' } };

async function service(t, broker) {
	const nc = await connect({ servers: `127.0.0.1:${broker.port}` });
	t.atEnd(() => nc.close());
	return (user, text) => nc.request(`ws.recv.chat.${user}`, text, { timeout: 5000 });
}

const sum = async (gw, name) => Number(new RegExp(`^wsgate_${name}_sum ([0-9.]+)$`, 'm').exec((await gw.admin('/metrics')).text)[1]);

await test('a stream without republish gets it by an update, and keeps all else that it has', async (t) => {
	const broker = await Newer.start(t, { stream: structuredClone(OLD) });
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	assert.deepEqual(broker.refused, []);
	assert.ok(broker.updates.length >= 1);
	const { republish, ...rest } = broker.updates.at(-1);
	assert.deepEqual([republish.src, republish.dest], ['ws.recv.>', 'wslive.>']);
	assert.deepEqual(rest, OLD);
	const c = await t.client(gw, 'chat/alice'), publish = await service(t, broker);
	for (const i of numbers(20)) await publish('alice', i);
	assert.deepEqual((await c.take(20)).map((m) => m.text), numbers(20));
	await until('all removed', () => broker.stored.size === 0);
	await c.send('up');
	await until('stored', () => [...broker.stored.values()].some((m) => m.subject === 'ws.send.chat.alice'));
});

await test('one that it makes has nothing that such a server does not know', async (t) => {
	const broker = await Newer.start(t);
	const gw = await t.gateway(broker, { config: { workers: 1, stream: { max_messages_per_user: 100, max_bytes: '100m' } } });
	assert.deepEqual(broker.refused, []);
	assert.equal(broker.updates[0].discard_new_per_subject, true);
	const publish = await service(t, broker);
	for (const i of numbers(5)) await publish('bob', i); // before he is there
	const c = await t.client(gw, 'chat/bob');
	assert.deepEqual((await c.take(5)).map((m) => m.text), numbers(5));
	await until('all removed', () => broker.stored.size === 0);
});

// "yes" or "no": whether it takes messages for clients, or may.
const CONSUMERS = [['yes', { filter_subject: 'ws.recv.chat.ann' }], ['yes', { filter_subject: 'ws.recv.*.ann' }], ['yes', { filter_subject: 'ws.*.chat.ann' }],
	['yes', { filter_subject: 'ws.>' }], ['yes', {}], ['yes', { filter_subject: '' }], ['no', { filter_subject: 'ws.send.chat.ann' }], ['no', { filter_subject: 'ws.send.>' }],
	['no', { filter_subject: 'ws.received.>' }], ['yes', { filter_subjects: ['ws.send.>', 'ws.recv.chat.*'] }], ['yes', { filter_subjects: ['ws.recv.chat.bob', 'ws.send.chat.bob'] }],
	['yes', { filter_subjects: ['ws.send.chat.eve', 'ws.*.chat.eve'] }], ['no', { filter_subjects: ['ws.send.chat.ann', 'ws.send.*.bob', 'ws.send.shop.>'] }]];

await test('consumers of somebody else on messages for clients are reported at the start, whatever form their filter has', async (t) => {
	const broker = await Newer.start(t, { stream: structuredClone(OF_THREE) });
	broker.consumers = CONSUMERS.map(([takes, config], i) => ({ stream_name: 'websockets', name: `${takes}-${i}`, config: { durable_name: `${takes}-${i}`, ack_policy: 'explicit', ...config } }));
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	const said = gw.log().split('\n').filter((l) => l.includes(' warn bridge: a consumer of somebody else takes messages for clients away'));
	assert.deepEqual(said.map((l) => /consumer=(\S+)/.exec(l)[1]), broker.consumers.map((c) => c.name).filter((n) => n.startsWith('yes')));
});

await test('a stream that somebody else is just making is waited for', async (t) => {
	const broker = await Newer.start(t, { inTheMaking: 1 });
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	assert.ok(gw.log().includes('a time of creation that makes no sense'));
	const c = await t.client(gw, 'chat/alice'), publish = await service(t, broker);
	await publish('alice', 'x');
	assert.equal((await c.next()).text, 'x');
});

// nats-server 2.9.10 does not always say so. The next look comes after half a minute only.
for (const what of ['a removal', 'a get', 'a publish']) {
	await test(`the stream is deleted and nobody says so: ${what} shows it`, async (t) => {
		const broker = await Newer.start(t);
		const gw = await t.gateway(broker, { config: { workers: 1 } });
		const publish = await service(t, broker);
		const c = await t.client(gw, 'chat/alice');
		await publish('alice', 'before');
		if (what === 'a removal') broker.vanishAt = 'STREAM.MSG.DELETE';
		assert.equal((await c.next()).text, 'before');
		if (what === 'a publish') {
			await until('the removal', () => broker.stored.size === 0);
			broker.vanish();
			await c.send('up');
		} else if (what === 'a get') {
			await publish('bob', 'x');
			broker.vanishAt = 'DIRECT.GET';
			await t.client(gw, 'chat/bob');
		}
		await until('it to be missed', () => gw.log().includes('the stream was deleted or made again'), 15000);
		await until('another one', () => broker.config !== null);
		await publish('alice', 'new life');
		assert.equal((await c.next()).text, 'new life');
		if (what === 'a publish') await until('stored', () => [...broker.stored.values()].some((m) => m.subject === 'ws.send.chat.alice'));
		assert.equal(c.closed, null);
	});
}

for (const pong of ['before', 'after']) {
	await test(`a new leader has another message under a sequence that was delivered, and confirmed ${pong} that`, async (t) => {
		const broker = await Newer.start(t, { stream: structuredClone(OF_THREE), drops: 1 });
		const gw = await t.gateway(broker, { config: { workers: 1 } });
		const publish = await service(t, broker);
		const c = await t.client(gw, 'chat/alice', { autoPong: false }), pings = [];
		c.ws.on('ping', (mark) => pings.push(mark));
		await publish('alice', 'a');
		await until('its ping', () => pings.length === 1);
		if (pong === 'before') {
			c.ws.pong(pings[0]);
			await until('its removal, which is dropped', () => broker.asked['STREAM.MSG.DELETE'] === 1);
		}
		broker.elect(1, 'ws.recv.chat.bob', 'b');
		broker.drops = 0;
		if (pong === 'after') c.ws.pong(pings[0]);
		await publish('alice', 'c');
		await until('another ping', () => pings.length === 2);
		c.ws.pong(pings[1]);
		await until('the rest to go', () => [...broker.stored.values()].every((m) => m.subject.endsWith('bob')));
		await stays('for the one that was dropped', () => broker.stored.size === 1, 7000);
		assert.equal((await (await t.client(gw, 'chat/bob')).next()).text, 'b');
	});
}

await test('a new leader has less than what was delivered: all marks begin anew', async (t) => {
	const broker = await Newer.start(t, { stream: structuredClone(OF_THREE) });
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	const publish = await service(t, broker);
	const c = await t.client(gw, 'chat/alice');
	for (const i of numbers(10)) await publish('alice', i);
	await c.take(10);
	await until('all removed', () => broker.stored.size === 0);
	broker.seq = 4;
	broker.elect(5, 'ws.recv.chat.bob', 'b');
	await until('it to be noticed', () => gw.log().includes('the stream lost messages that were delivered'));
	await gw.ready();
	await publish('alice', 'again');
	assert.equal((await c.next()).text, 'again');
	assert.equal(c.closed, null);
});

for (const away of ['mute', 'nobody']) {
	await test(`a server stays, but its stream does not answer (${away}): the session ends, and begins when it does`, async (t) => {
		const broker = await Newer.start(t);
		const gw = await t.gateway(broker, { config: { workers: 1, broker: { grace: '500ms' } } });
		const c = await t.client(gw, 'chat/alice');
		const sessions = () => gw.log().split('connected to the broker').length - 1;
		const given_up = () => gw.log().split('the stream does not answer: the session ends').length - 1;
		broker.away = away;
		await c.send('up');
		await stays('as long as an election takes', () => given_up() === 0, 5000);
		await until('it to be given up', () => given_up() === 1, 30000);
		await until('/readyz 503', async () => (await gw.status('/readyz')) === 503);
		await stays('without a session', () => sessions() === 1 && given_up() === 1, 3000);
		broker.away = '';
		await gw.ready();
		assert.equal(sessions(), 2);
		const d = await t.client(gw, 'chat/bob'), publish = await service(t, broker);
		await publish('bob', 'x');
		assert.equal((await d.next()).text, 'x');
	}, { ms: 80000 });
}

await test('a server stays, but its stream does not answer: another one of broker.url is found', async (t) => {
	const brokers = [await Newer.start(t), await Newer.start(t)];
	const gw = await t.gateway({ url: brokers.map((b) => b.url).join(',') }, { config: { workers: 1 } });
	const [one, other] = brokers[0].clients.size ? brokers : brokers.reverse();
	const c = await t.client(gw, 'chat/alice');
	one.away = 'nobody';
	await c.send('up');
	await until('the other one', () => other.clients.size > 0 && [...other.stored.values()].some((m) => m.subject === 'ws.send.chat.alice'), 40000);
	assert.equal(c.closed, null);
}, { ms: 60000 });

await test('a first publish that the broker calls a duplicate is an error in the log; one that is repeated is none', async (t) => {
	const broker = await Newer.start(t);
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	const c = await t.client(gw, 'chat/alice');
	const said = () => gw.log().split('\n').filter((l) => l.includes('the broker calls a first publish a duplicate'));
	const up = () => [...broker.stored.values()].filter((m) => m.subject === 'ws.send.chat.alice').map((m) => m.body.toString());
	broker.lostAcks = 1;
	await c.send('repeated');
	await until('the second answer', async () => (await gw.figures()).bridge.duplicates === 1, 30000);
	assert.deepEqual([said(), up(), broker.lostAcks], [[], ['repeated'], 0]);
	broker.duplicate = true;
	await c.send('mistaken for another');
	await until('the error', () => said().length > 0);
	broker.duplicate = false;
	await c.send('new');
	await until('the next one', () => up().length > 1);
	assert.deepEqual(up(), ['repeated', 'new']);
	assert.equal(said().length, 1);
	assert.match(said()[0], / error .* msg_id=\S+.* user=alice/);
	assert.equal((await gw.figures()).bridge.duplicates, 2);
	assert.equal(c.closed, null);
}, { ms: 80000 });

// The slow round takes a minute for so many.
async function crowd(t, broker, config) {
	const gw = await t.gateway(broker, { config: { workers: 1, ...config } });
	const all = await Promise.all(numbers(200).map((i) => t.client(gw, `chat/u${i}`)));
	await stays('all of them', () => all.every((c) => !c.closed), 1500); // the second look is over
	return { gw, some: all.filter((_, i) => i % 10 === 0), unseen: () => all.forEach((_, i) => i % 10 === 0 && broker.storeUnseen(`ws.recv.chat.u${i}`, 'unseen')) };
}

await test('copies were lost while the stream did not answer: all is read again when it does', async (t) => {
	const broker = await Newer.start(t), { gw, some, unseen } = await crowd(t, broker);
	broker.away = 'nobody';
	await some[0].send('up');
	await stays('a moment', () => !gw.log().includes('the session ends'), 2000);
	unseen();
	broker.away = '';
	for (const c of some) assert.equal((await c.next(6000)).text, 'unseen');
	assert.equal(gw.log().split('connected to the broker').length - 1, 1);
}, { ms: 60000 });

await test('a new leader of which nobody told: all is read again', async (t) => {
	const broker = await Newer.start(t, { stream: structuredClone(OF_THREE) });
	broker.leader = 'n1';
	const { gw, some, unseen } = await crowd(t, broker);
	unseen();
	broker.leader = 'n2';
	broker.edit({}); // it looks now
	for (const c of some) assert.equal((await c.next(6000)).text, 'unseen');
	assert.ok(gw.log().includes('the stream has a new leader'));
}, { ms: 60000 });

// Each user's messages between all others', before anybody is there.
async function waiting(publish, users, each, text = (i) => String(i)) {
	for (const i of numbers(each)) await Promise.all(users.map((u) => publish(u, text(Number(i)))));
}

await test('many waiting messages of a user come with few requests', async (t) => {
	const broker = await Newer.start(t);
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	const publish = await service(t, broker);
	await waiting(publish, ['alice', 'bob'], 200);
	assert.ok(gw.log().includes('the server answers a direct get with many messages'));
	broker.asked['DIRECT.GET'] = 0;
	const clients = [await t.client(gw, 'chat/alice'), await t.client(gw, 'chat/bob')];
	await publish('alice', '200'); // live, behind all that
	assert.deepEqual((await clients[0].take(201)).map((m) => m.text), numbers(201));
	assert.deepEqual((await clients[1].take(200)).map((m) => m.text), numbers(200));
	await until('all removed', () => broker.stored.size === 0);
	assert.ok(broker.batches.messages >= 400, `${broker.batches.messages} in batches`);
	assert.ok(broker.asked['DIRECT.GET'] < 60, `${broker.asked['DIRECT.GET']} requests`);
	assert.deepEqual([clients[0].got.length, clients[1].got.length], [201, 200]);
});

await test('an API below level 1 is asked for one message at a time', async (t) => {
	const broker = await Newer.start(t, { version: '2.10.22', level: 0 });
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	const publish = await service(t, broker);
	await waiting(publish, ['alice'], 50);
	const c = await t.client(gw, 'chat/alice');
	assert.deepEqual((await c.take(50)).map((m) => m.text), numbers(50));
	assert.equal(broker.batches.asked, 0);
	assert.ok(!gw.log().includes('many messages'));
	assert.ok(broker.asked['DIRECT.GET'] >= 50);
});

await test('batches: some servers are older, some ends and some parts are lost, some messages are too large for one', async (t) => {
	const broker = await Newer.start(t, { olderEvery: 3, lostEvery: 29, partLostEvery: 31 });
	const gw = await t.gateway(broker, { config: { workers: 1, delivery: { window_messages: 8, user_buffer: '16k' } } });
	const publish = await service(t, broker);
	const text = (i) => (i % 40 === 7 ? `${i} ${'x'.repeat(200000)}` : `${i} ${'y'.repeat(1000)}`), N = 80;
	await waiting(publish, ['alice', 'bob', 'carol'], N, text);
	const clients = await Promise.all(['alice', 'bob', 'carol'].map((u) => t.client(gw, `chat/${u}`)));
	for (const c of clients) assert.deepEqual((await c.take(N, 60000)).map((m) => m.text.split(' ')[0]), numbers(N));
	await until('all removed', () => broker.stored.size === 0, 30000);
	for (const [what, n] of Object.entries(broker.batches)) assert.ok(n > 0, what);
	assert.ok(clients.every((c) => !c.closed && c.got.length === N));
}, { ms: 120000 });

await test('what a service writes into the header of batches misleads nobody', async (t) => {
	for (const level of [0, 1]) {
		const broker = await Newer.start(t, { level, olderEvery: 2 });
		const gw = await t.gateway(broker, { config: { workers: 1 } });
		const nc = await connect({ servers: `127.0.0.1:${broker.port}` });
		const h = headers();
		h.set('Nats-Num-Pending', '0');
		for (const i of numbers(6)) await nc.request('ws.recv.chat.eve', i, { headers: h, timeout: 5000 });
		const c = await t.client(gw, 'chat/eve');
		assert.deepEqual((await c.take(6, 30000)).map((m) => m.text), numbers(6));
		await until('all removed', () => broker.stored.size === 0, 30000);
		await nc.close();
	}
}, { ms: 120000 });

await test('many users who return: the stream is read once, in batches, of which parts are lost', async (t) => {
	const broker = await Newer.start(t, { olderEvery: 7, partLostEvery: 701 });
	const gw = await t.gateway(broker, { config: { workers: 2 } });
	const publish = await service(t, broker), users = numbers(200).map((n) => `u${n}`), EACH = 20;
	await waiting(publish, users, EACH);
	broker.asked['DIRECT.GET'] = 0;
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	for (const c of clients) assert.deepEqual((await c.take(EACH, 60000)).map((m) => m.text), numbers(EACH));
	await until('all removed', () => broker.stored.size === 0, 30000);
	assert.ok(clients.every((c) => c.got.length === EACH));
	assert.ok(broker.asked['DIRECT.GET'] < users.length * EACH / 2, `${broker.asked['DIRECT.GET']} requests`);
}, { ms: 120000 });

await test('a stream with replicas is read from its leader: those may lack messages', async (t) => {
	const broker = await Newer.start(t, { stream: { ...structuredClone(OLD), num_replicas: 3 } });
	broker.get = (reply) => broker.status(reply, 404, 'Message Not Found'); // a replica that lacks them all
	const gw = await t.gateway(broker, { config: { workers: 1, stream: { replicas: 3 } } });
	const nc = await connect({ servers: `127.0.0.1:${broker.port}` }), N = 60;
	t.atEnd(() => nc.close());
	const h = headers();
	h.set('Ws-Type', 'binary');
	h.set('Nats-Sequence', '7'); // nobody's but the server's
	for (const i of numbers(N)) await nc.request('ws.recv.chat.alice', i, { headers: i % 2 ? h : undefined, timeout: 5000 });
	await nc.request('ws.recv.chat.alice', '', { timeout: 5000 });
	const c = await t.client(gw, 'chat/alice');
	assert.deepEqual((await c.take(N + 1)).map((m) => m.text ?? m.data.toString()), [...numbers(N), '']);
	await until('all removed', () => broker.stored.size === 0);
	assert.equal(broker.asked['DIRECT.GET'], undefined);
	await waiting(await service(t, broker), numbers(150).map((n) => `u${n}`), 10);
	const many = await Promise.all(numbers(150).map((n) => t.client(gw, `chat/u${n}`)));
	for (const m of many) assert.deepEqual((await m.take(10, 60000)).map((x) => x.text), numbers(10));
	await until('all removed', () => broker.stored.size === 0, 30000);
	assert.equal(broker.asked['DIRECT.GET'], undefined);
}, { ms: 120000 });

await test('a stream that is given replicas while all runs: from then on its leader is asked', async (t) => {
	const broker = await Newer.start(t, { stream: { ...structuredClone(OF_THREE), num_replicas: 1 } });
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	const publish = await service(t, broker);
	await publish('alice', 'one');
	const c = await t.client(gw, 'chat/alice');
	assert.equal((await c.next()).text, 'one');
	await until('removed', () => broker.stored.size === 0);
	broker.edit({ num_replicas: 3 });
	await until('a new session', () => /the stream's replicas were changed/.test(gw.log()) && (gw.log().match(/connected to the broker/g) ?? []).length === 2);
	broker.get = (reply) => broker.status(reply, 404, 'Message Not Found'); // a replica that lacks them all
	await publish('bob', 'two');
	const d = await t.client(gw, 'chat/bob');
	assert.equal((await d.next()).text, 'two');
	await until('removed', () => broker.stored.size === 0);
	assert.ok(c.open);
}, { ms: 60000 });

await test('latencies count from the broker\'s time stamp where copies have one', async (t) => {
	const broker = await Newer.start(t, { stampMs: 4000 });
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	const c = await t.client(gw, 'chat/alice'), publish = await service(t, broker);
	await stays('the client, longer than that', () => !c.closed, 4500); // what is older than it does not count
	await publish('alice', 'old');
	await c.next();
	await until('four seconds', async () => (await sum(gw, 'delivery_latency_seconds')) >= 4);
	await until('of the proof, too', async () => (await sum(gw, 'confirmation_latency_seconds')) >= 4);

	const now = await t.pair({ workers: 1 }); // 2.9: none
	const d = await t.client(now.gw, 'chat/alice');
	await now.bus.publish('ws.recv.chat.alice', 'new');
	await d.next();
	await until('it to be counted', async () => /^wsgate_confirmation_latency_seconds_count 1$/m.test((await now.gw.admin('/metrics')).text));
	assert.ok((await sum(now.gw, 'delivery_latency_seconds')) < 4);
});

await test('removals that the server drops, because too many wait, are asked for again', async (t) => {
	const broker = await Newer.start(t, { drops: 3 });
	const gw = await t.gateway(broker, { config: { workers: 1 } });
	const c = await t.client(gw, 'chat/alice'), publish = await service(t, broker);
	for (const i of numbers(30)) await publish('alice', i);
	assert.deepEqual((await c.take(30)).map((m) => m.text), numbers(30));
	await until('all removed', () => broker.stored.size === 0, 30000);
	await until('the gateway to know', async () => (await gw.figures()).bridge.removals_pending === 0, 30000);
});
