// What is used of brokers newer than those that we have, against a program that answers as they are documented to.
import { connect } from 'nats';
import { test, assert, until, stays } from './lib/scenario.mjs';
import { numbers } from './lib/client.mjs';
import { Newer } from './lib/newer.mjs';

// As a server before us left it, with what 2.11 adds by itself, and with a member of its own that must go back.
const OLD = { name: 'websockets', subjects: ['ws.>'], retention: 'workqueue', storage: 'file', discard: 'new', discard_new_per_subject: false, max_msgs_per_subject: -1,
	max_age: 604800e9, max_bytes: -1, max_msgs: -1, max_consumers: -1, max_msg_size: -1, num_replicas: 1, duplicate_window: 60e9, allow_direct: true, mirror_direct: false,
	sealed: false, deny_delete: false, deny_purge: false, allow_rollup_hdrs: false, compression: 's2', consumer_limits: {}, allow_msg_ttl: true,
	metadata: { '_nats.ver': '2.11.4', '_nats.level': '1', '_nats.req.level': '1', owner: 'us' } };

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
