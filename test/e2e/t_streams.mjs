// Several streams: each service has one, and what becomes of a stream concerns its own users alone.
import fs from 'node:fs';
import { test, assert, until, stays } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client } from './lib/client.mjs';
import { run } from './lib/proc.mjs';
import { spoil, stateOf } from './lib/streams.mjs';
import { WSGATED } from './lib/gateway.mjs';

const two = { 'ws-chat': { services: ['chat', 'ro.oms'], max_age: '1h' }, 'ws-shop': { services: ['shop'], max_messages_per_user: 5 } };

async function pair(t, config = {}) {
	const p = await t.pair({ streams: two, ...config });
	// Ready is a gateway that serves one of them.
	await both(p.gw);
	return { ...p, chat: p.bus.on('ws-chat'), shop: p.bus.on('ws-shop'), jsm: await p.bus.jsm() };
}

const both = (gw, n = 2) => until('all streams', async () => (await gw.figures()).streams.filter((s) => s.state === 'connected').length === n, 30000);
const subjects = async (jsm, name) => (await jsm.streams.info(name)).config.subjects.sort();

await test('each service has its messages in its own stream, both ways', async (t) => {
	const { gw, bus, chat, shop, jsm } = await pair(t);
	assert.deepEqual(await subjects(jsm, 'ws-chat'), ['ws.recv.chat.>', 'ws.recv.ro%2Eoms.>', 'ws.send.chat.>', 'ws.send.ro%2Eoms.>']);
	assert.deepEqual(await subjects(jsm, 'ws-shop'), ['ws.recv.shop.>', 'ws.send.shop.>']);
	assert.equal((await jsm.streams.info('ws-chat')).config.max_age, 3600e9);
	assert.equal((await jsm.streams.info('ws-shop')).config.max_age, 7 * 86400e9);
	assert.equal((await jsm.streams.info('ws-shop')).config.max_msgs_per_subject, 5);
	await assert.rejects(jsm.streams.info('websockets'), /not found/);
	// Both streams count from 1: marks of one must mean nothing in the other.
	await bus.publish(recv('chat', 'ann'), 'waited');
	for (let i = 0; i < 4; i++) await bus.publish(recv('shop', 'ann'), `waited ${i}`);
	const a = await t.client(gw, 'chat/ann'), b = await t.client(gw, 'shop/ann'), c = await t.client(gw, 'ro.oms/ann');
	assert.equal((await a.next()).text, 'waited');
	assert.deepEqual((await b.take(4)).map((m) => m.text), [0, 1, 2, 3].map((i) => `waited ${i}`));
	await bus.publish(recv('ro%2Eoms', 'ann'), 'live');
	assert.equal((await c.next()).text, 'live');
	await a.send('from a');
	await b.send('from b');
	assert.equal((await chat.storedAll(send('chat', 'ann'), 1))[0].text, 'from a');
	assert.equal((await shop.storedAll(send('shop', 'ann'), 1))[0].text, 'from b');
	await chat.empty('ws.recv.>');
	await shop.empty('ws.recv.>');
	assert.equal((await gw.ctl('send', 'shop', 'ann', 'by hand')).code, 0);
	assert.equal((await b.next()).text, 'by hand');
	for (const client of [a, b, c]) assert.equal(client.got.length, client.taken);
});

await test('a service that is in no section is not there', async (t) => {
	const { gw, bus } = await pair(t);
	assert.equal((await Client.refused(gw.wsUrl('other/ann'))).status, 404);
	const r = await fetch(gw.wsUrl('other/ann').replace('ws:', 'http:'));
	assert.equal(r.status, 426); // it asked for no upgrade
	await assert.rejects(bus.publish(recv('other', 'ann'), 'x'), /503/);
	const said = await gw.ctl('send', 'other', 'ann', 'x');
	assert.equal(said.code !== 0 && /no stream section has that service/.test(said.err), true, said.err);
	assert.match(gw.log(), /status=404 why="there is no such service"/);
});

await test('what the operator sees of each', async (t) => {
	const { gw, bus } = await pair(t);
	const a = await t.client(gw, 'chat/ann'), b = await t.client(gw, 'chat/bob');
	await bus.publish(recv('chat', 'ann'), '1');
	await bus.publish(recv('chat', 'bob'), '1');
	await a.next();
	await b.next();
	await a.send('x');
	await until('the figures', async () => {
		const s = await stateOf(gw, 'ws-chat');
		return s.users === 2 && s.delivered === 2 && s.stored === 1;
	});
	assert.deepEqual((await gw.figures()).streams.map((s) => [s.stream, s.state, s.reconnects]),
		[['ws-chat', 'connected', 0], ['ws-shop', 'connected', 0]]);
	const text = (await gw.ctl('status')).out;
	assert.match(text, /^stream {3}ws-chat: connected for .*, 2 users, 1 stored, 2 delivered/m);
	const metrics = (await gw.admin('/metrics')).text;
	assert.match(metrics, /^wsgate_stream_connected\{stream="ws-shop"\} 1$/m);
	assert.match(metrics, /^wsgate_stream_users\{stream="ws-chat"\} 2$/m);
	assert.match(metrics, /^wsgate_broker_connected 1$/m);
	assert.equal((await gw.ctl('check')).code, 0);
	// Counted again by another bridge, and not on top.
	await gw.murder('bridge');
	await gw.ready();
	await until('the users again', async () => (await stateOf(gw, 'ws-chat')).users === 2);
});

await test('one stream is deleted and made again: users of the other do not notice', async (t) => {
	const { gw, bus, jsm, chat } = await pair(t);
	const a = await t.client(gw, 'chat/ann'), b = await t.client(gw, 'shop/bob');
	await bus.publishAll(50, (i) => [recv('chat', 'ann'), String(i)]);
	await a.take(50);
	await chat.empty('ws.recv.>');
	const { config } = await jsm.streams.info('ws-chat');
	await jsm.streams.delete('ws-chat');
	await jsm.streams.add(config).catch(() => {});
	await bus.publish(recv('shop', 'bob'), 'meanwhile');
	assert.equal((await b.next()).text, 'meanwhile');
	await until('a message in the new one', () => bus.publish(recv('chat', 'ann'), 'new life').then(() => true, () => false));
	assert.equal((await a.next(40000)).text, 'new life');
	await a.send('up');
	await chat.storedAll(send('chat', 'ann'), 1);
	await bus.publish(recv('shop', 'bob'), 'after');
	assert.equal((await b.next()).text, 'after');
	await until('another session for that one', async () => (await stateOf(gw, 'ws-chat')).reconnects > 0, 40000);
	assert.equal((await stateOf(gw, 'ws-shop')).reconnects, 0);
	assert.equal(a.closed ?? b.closed, null);
}, { ms: 120000 });

await test('one stream is away: the other takes more than the rings hold, and its own messages wait', async (t) => {
	const { gw, bus, jsm, chat, shop } = await pair(t, { max_message: '16k', workers: 1 });
	const a = await t.client(gw, 'chat/ann'), b = await t.client(gw, 'shop/bob');
	const mend = await spoil(gw, jsm, 'ws-chat');
	const worker = await shop.work('worker', 'ws.send.shop.>');
	await a.send('kept');
	const n = 400, size = 12000; // 4.8 MB through a ring of 1 MiB
	for (let i = 0; i < n; i++) await b.send(Buffer.alloc(size, i % 256));
	await until('all of them at the service', () => worker.length === n, 40000);
	assert.deepEqual(worker.map((m) => m.data[0]), [...Array(n).keys()].map((i) => i % 256));
	await bus.publish(recv('shop', 'bob'), 'down');
	assert.equal((await b.next()).text, 'down');
	assert.equal((await gw.figures()).broker.state, 'connected in part');
	assert.equal((await gw.status('/readyz')), 200);
	assert.match((await gw.admin('/metrics')).text, /^wsgate_broker_connected 0$/m);
	const check = await gw.ctl('check');
	assert.notEqual(check.code, 0);
	assert.match(check.out, /stream ws-chat +FAULT away/);
	// What waits survives the bridge.
	const known = () => gw.log().match(/the stream does not serve any more/g)?.length ?? 0;
	const before = known();
	await gw.murder('bridge');
	await gw.ready();
	await until('the next one to know', () => known() > before); // else it makes its own while the other is being deleted
	await mend();
	assert.equal((await chat.storedAll(send('chat', 'ann'), 1))[0].text, 'kept');
	assert.equal(a.closed ?? b.closed, null);
}, { ms: 120000 });

await test('one stream is away for longer than the grace: its users are sent away, the others stay', async (t) => {
	const { gw, bus, jsm } = await pair(t, { broker: { grace: '1s' } });
	const a = await t.client(gw, 'chat/ann'), b = await t.client(gw, 'shop/bob');
	const mend = await spoil(gw, jsm, 'ws-chat');
	await until('the end of the first', () => a.closed, 20000);
	assert.equal(a.closed.code, 1013);
	const refused = await t.client(gw, 'chat/ann').then(() => 'let in', (e) => e.message);
	assert.match(refused, /503/);
	const again = await t.client(gw, 'shop/carl');
	await bus.publish(recv('shop', 'carl'), 'x');
	assert.equal((await again.next()).text, 'x');
	assert.equal(b.closed, null);
	await mend();
	const back = await t.client(gw, 'chat/ann');
	await until('a message', () => bus.publish(recv('chat', 'ann'), 'y').then(() => true, () => false));
	assert.equal((await back.next()).text, 'y');
}, { ms: 120000 });

await test('a killed bridge, then a killed worker: both streams go on where they were', async (t) => {
	const { gw, bus, chat, shop } = await pair(t);
	const a = await t.client(gw, 'chat/ann'), b = await t.client(gw, 'shop/bob');
	for (let round = 0; round < 3; round++) {
		for (const [c, service, user] of [[a, 'chat', 'ann'], [b, 'shop', 'bob']]) {
			await bus.publish(recv(service, user), `down ${round}`);
			await c.send(`up ${round}`);
		}
		await until('a bridge', () => gw.pid('bridge'));
		await gw.murder('bridge');
		await gw.ready();
	}
	for (const c of [a, b]) assert.deepEqual((await c.take(3)).map((m) => m.text), [0, 1, 2].map((i) => `down ${i}`));
	assert.deepEqual((await chat.storedAll(send('chat', 'ann'), 3)).map((m) => m.text), ['up 0', 'up 1', 'up 2']);
	assert.deepEqual((await shop.storedAll(send('shop', 'bob'), 3)).map((m) => m.text), ['up 0', 'up 1', 'up 2']);
	for (const i of [0, 1]) await gw.murder(`worker ${i}`);
	await until('both workers', () => gw.children().length === 3);
	await gw.ready();
	const c = await t.client(gw, 'chat/ann');
	await bus.publish(recv('chat', 'ann'), 'again');
	await until('the new one', () => c.got.some((m) => m.text === 'again'));
	await chat.empty('ws.recv.>');
	await shop.empty('ws.recv.>');
}, { ms: 90000 });

await test('all is killed: a new gateway goes on with what lies in the rings, and with the marks', async (t) => {
	const { gw, bus, jsm, chat, shop } = await pair(t);
	const a = await t.client(gw, 'chat/ann');
	const mend = await spoil(gw, jsm, 'ws-chat');
	await a.send('in the ring');
	await until('it in the ring', async () => (await gw.figures()).workers.some((w) => w.up_ring_bytes > 0));
	await gw.massacre();
	await mend(false);
	await gw.start();
	await both(gw);
	assert.equal((await chat.storedAll(send('chat', 'ann'), 1))[0].text, 'in the ring');
	await bus.publish(recv('shop', 'bob'), 'x');
	assert.equal((await (await t.client(gw, 'shop/bob')).next()).text, 'x');
	await shop.empty('ws.recv.>');
}, { ms: 120000 });

await test('a reload takes more services and streams, and lets none go', async (t) => {
	const { gw, bus, jsm } = await pair(t);
	const a = await t.client(gw, 'chat/ann');
	const reload = async (streams) => {
		gw.config.streams = streams;
		gw.writeConfig();
		return gw.ctl('reload');
	};
	assert.match((await reload({ 'ws-chat': { services: ['chat', 'ro.oms', 'news'], max_age: '2h' }, 'ws-shop': two['ws-shop'], 'ws-more': { services: ['more'] } })).out, /1 keys changed, 0 need a restart/);
	assert.match(gw.log(), /a new stream shares its way to the broker with another one until a restart.*streams=3 ways=2/);
	await both(gw, 3);
	for (const service of ['news', 'more']) {
		const c = await t.client(gw, `${service}/ann`);
		await until('the subject', () => bus.publish(recv(service, 'ann'), service).then(() => true, () => false));
		assert.equal((await c.next()).text, service);
		await c.send('up');
		await bus.on(service === 'news' ? 'ws-chat' : 'ws-more').storedAll(send(service, 'ann'), 1);
	}
	await until('the limit', async () => (await jsm.streams.info('ws-chat')).config.max_age === 7200e9);
	assert.ok((await subjects(jsm, 'ws-chat')).includes('ws.send.news.>'));
	// One that goes, one that moves, none at all: all stay as they are.
	const gone = { 'ws-chat': { services: ['chat'] }, 'ws-shop': two['ws-shop'], 'ws-more': { services: ['more'] } };
	const moved = { 'ws-chat': { services: ['chat', 'news'] }, 'ws-shop': { services: ['shop', 'ro.oms'] }, 'ws-more': { services: ['more'] } };
	for (const streams of [gone, moved, {}]) assert.match((await reload(streams)).out, /0 keys changed, 1 need a restart/);
	assert.match(gw.log(), /needs a restart, and all stream sections stay as they are/);
	await bus.publish(recv('chat', 'ann'), 'still');
	assert.equal((await a.next()).text, 'still');
	await (await t.client(gw, 'ro.oms/ann')).close();
	// A stream that cannot be: those that are there go on.
	await jsm.streams.add({ name: 'theirs', subjects: ['ws.recv.late.>'] });
	await reload({ 'ws-chat': { services: ['chat', 'ro.oms', 'news'] }, 'ws-shop': two['ws-shop'], 'ws-more': { services: ['more'] }, 'ws-late': { services: ['late'] } });
	await until('the error', () => /does not serve any more.*stream=ws-late/.test(gw.log()), 20000);
	assert.match(await t.client(gw, 'late/ann').then(() => 'let in', (e) => e.message), /503/);
	await bus.publish(recv('chat', 'ann'), 'still');
	assert.equal((await a.next()).text, 'still');
}, { ms: 120000 });

await test('a reload adds a stream while the bridge can make no thread: its clients wait, the others notice nothing', async (t) => {
	const { gw, bus } = await pair(t);
	const a = await t.client(gw, 'chat/ann');
	const bridge = gw.pid('bridge');
	const memory = async (bytes) => assert.equal((await run('prlimit', ['--pid', String(bridge), `--as=${bytes}:`])).code, 0);
	// Room for what a reload takes, none for a thread's stack.
	await memory(Number(fs.readFileSync(`/proc/${bridge}/statm`, 'utf8').split(' ')[0]) * 4096 + (1 << 20));
	gw.config.streams = { ...two, 'ws-more': { services: ['more'] } };
	gw.writeConfig();
	assert.match((await gw.ctl('reload')).out, /1 keys changed, 0 need a restart/);
	await until('the error', () => /cannot begin with another stream.*stream=ws-more/.test(gw.log()));
	assert.match(await t.client(gw, 'more/ann').then(() => 'let in', (e) => e.message), /503/);
	await bus.publish(recv('chat', 'ann'), 'meanwhile');
	assert.equal((await a.next()).text, 'meanwhile');
	await memory('unlimited');
	await both(gw, 3);
	const c = await t.client(gw, 'more/ann');
	await bus.publish(recv('more', 'ann'), 'first');
	assert.equal((await c.next()).text, 'first');
	assert.equal(gw.pid('bridge'), bridge);
});

await test('the program is replaced, and services have other streams: who stays goes on, who moved comes back', async (t) => {
	const { gw, bus, jsm, chat, shop } = await pair(t);
	const a = await t.client(gw, 'chat/ann'), b = await t.client(gw, 'shop/bob'), c = await t.client(gw, 'ro.oms/carl');
	await bus.publish(recv('chat', 'ann'), 'before');
	await a.next();
	// The second stream gets the higher epochs, so that the marks of the first say less than what it had.
	const mend = await spoil(gw, jsm, 'ws-shop');
	await mend();
	await until('a message of the new one', () => bus.publish(recv('shop', 'bob'), 'new').then(() => true, () => false));
	await b.next(40000);
	gw.config.streams = { 'ws-chat': { services: ['chat', 'shop'] }, 'ws-rooms': { services: ['rooms'] } };
	gw.writeConfig();
	await jsm.streams.delete('ws-shop');
	await jsm.streams.add({ name: 'ws-shop', subjects: ['elsewhere'] }); // the old program does not make it again
	gw.signal('SIGUSR2');
	await gw.replaced(30000);
	await both(gw);
	await until('those that moved', () => b.closed && c.closed, 20000);
	assert.deepEqual([b.closed.code, c.closed.code], [1012, 1008]);
	await bus.publish(recv('chat', 'ann'), 'after');
	assert.equal((await a.next()).text, 'after');
	const again = await t.client(gw, 'shop/bob');
	await until('its subject', () => bus.publish(recv('shop', 'bob'), 'y').then(() => true, () => false));
	assert.equal((await again.next()).text, 'y');
	await chat.empty('ws.recv.chat.>');
	assert.equal(a.closed, null);
	assert.ok(shop);
}, { ms: 120000 });

await test('from one stream for all to a section with its name: connections and marks stay', async (t) => {
	const { gw, bus } = await t.pair();
	const a = await t.client(gw, 'chat/ann');
	for (let i = 0; i < 3; i++) await bus.publish(recv('chat', 'ann'), String(i));
	await a.take(3);
	gw.config.streams = { websockets: { services: ['chat'] } };
	gw.writeConfig();
	assert.match((await gw.ctl('reload')).out, /0 keys changed, 1 need a restart/);
	gw.signal('SIGUSR2');
	await gw.replaced(30000);
	await gw.ready();
	await bus.publish(recv('chat', 'ann'), 'after');
	assert.equal((await a.next()).text, 'after');
	assert.equal(a.got.length, a.taken);
	await bus.empty('ws.recv.>');
	assert.match(await t.client(gw, 'shop/ann').then(() => 'let in', (e) => e.message), /404/);
}, { ms: 90000 });

// The example of wsgate(7), as it stands there.
function example() {
	const page = fs.readFileSync(new URL('../../man/wsgate.7', import.meta.url), 'utf8');
	const text = page.slice(page.indexOf('that has another stream now, moved there'));
	const [, code] = text.match(/\.Bd [^\n]*\n([\s\S]*?)\.Ed/);
	return code.replace(/\\e/g, '\\').replace(/\\\(ga/g, '`').replace(/\\\(aq/g, "'");
}

await test('from one stream to several, as wsgate(7) says: what waits is moved', async (t) => {
	const { gw, bus } = await t.pair();
	for (let i = 0; i < 20; i++) await bus.publish(recv(i % 2 ? 'chat' : 'shop', `u${i % 4}`), String(i));
	const a = await t.client(gw, 'chat/sender');
	await a.send('unread');
	await bus.storedAll(send('chat', 'sender'), 1);
	gw.signal('SIGTERM');
	await gw.exited();
	// "nats stream edit"
	const jsm = await bus.jsm(), { config } = await jsm.streams.info('websockets');
	await jsm.streams.update('websockets', { ...config, subjects: ['ws.send.shop.>', 'ws.recv.shop.>'] });
	gw.config.streams = { websockets: { services: ['shop'] }, 'ws-chat': { services: ['chat'] } };
	gw.writeConfig();
	await gw.start();
	await both(gw);
	const early = await t.client(gw, 'chat/u1');
	await new (Object.getPrototypeOf(async () => {}).constructor)('jsm', 'js', example())(jsm, bus.js);
	assert.deepEqual((await early.take(5)).map((m) => m.text), ['1', '5', '9', '13', '17']);
	assert.deepEqual((await (await t.client(gw, 'chat/u3')).take(5)).map((m) => m.text), ['3', '7', '11', '15', '19']);
	assert.deepEqual((await (await t.client(gw, 'shop/u0')).take(5)).map((m) => m.text), ['0', '4', '8', '12', '16']);
	const [up] = await bus.on('ws-chat').storedAll(send('chat', 'sender'), 1);
	assert.deepEqual([up.text, up.headers['Ws-Type']], ['unread', 'text']);
	assert.deepEqual(await bus.left('ws.*.chat.>'), []);
}, { ms: 90000 });

await test('two gateways: a user on both, by two streams', async (t) => {
	const { nats, gw, bus, chat, shop } = await pair(t);
	const other = await t.gateway(nats, { config: { streams: two } });
	await both(other);
	const all = [];
	for (const g of [gw, other]) for (const s of ['chat', 'shop']) all.push([s, await t.client(g, `${s}/ann`)]);
	for (const s of ['chat', 'shop']) for (let i = 0; i < 5; i++) await bus.publish(recv(s, 'ann'), `${s} ${i}`);
	for (const [s, c] of all) assert.deepEqual((await c.take(5)).map((m) => m.text), [0, 1, 2, 3, 4].map((i) => `${s} ${i}`));
	await chat.empty('ws.recv.>');
	await shop.empty('ws.recv.>');
	await stays('nobody is told to come back', () => all.every(([, c]) => c.closed === null), 1500);
});

await test('two gateways do not hear each other by one of two streams: the figure is of that one', async (t) => {
	const beats = '"wsgate.beat.ws-shop"';
	const nats = await t.nats({
		login: 'gate:secret',
		conf: `authorization { users = [ { user: "gate", password: "secret", permissions: { publish: { deny: [${beats}] }, subscribe: { deny: [${beats}] } } } ] }`,
	});
	const gates = [await t.gateway(nats, { config: { streams: two } }), await t.gateway(nats, { config: { streams: two } })];
	for (const g of gates) {
		await both(g);
		await until('the warning', () => /does not let this user do what the gateway needs/.test(g.log()));
	}
	// By the other stream they do: who is connected to both is known to both.
	const a = await t.client(gates[0], 'chat/ann'), b = await t.client(gates[1], 'chat/ann');
	for (const g of gates) await until('each other', async () => (await g.figures()).bridge.shared_users === 1);
	for (const g of gates) assert.equal((await g.figures()).bridge.gateways, 0);
	for (const c of [a, b]) await c.close();
});

await test('the subjects of one service are taken from a stream that is in use: they are given back, and nothing is lost', async (t) => {
	const { gw, bus, jsm } = await pair(t);
	const a = await t.client(gw, 'chat/ann'), b = await t.client(gw, 'ro.oms/ann');
	const { config } = await jsm.streams.info('ws-chat'), all = await subjects(jsm, 'ws-chat');
	await jsm.streams.update('ws-chat', { ...config, subjects: ['ws.send.chat.>', 'ws.recv.chat.>'] });
	await b.send('taken away');
	await a.send('of another service');
	await until('its word', () => /the stream was changed, and does not serve so.*stream=ws-chat/.test(gw.log()));
	await until('all as before', async () => (await subjects(jsm, 'ws-chat')).join() === all.join());
	for (const [service, text] of [['ro%2Eoms', 'taken away'], ['chat', 'of another service']])
		assert.deepEqual((await bus.on('ws-chat').storedAll(send(service, 'ann'), 1)).map((m) => m.text), [text]);
	for (const c of [a, b]) assert.equal(c.closed, null);
});

await test('subjects that another stream has: refused at start, and it says what to do', async (t) => {
	const nats = await t.nats();
	const bus = await nats.connect();
	await (await bus.jsm()).streams.add({ name: 'websockets', subjects: ['ws.>'] });
	const gw = await t.gateway(nats, { config: { streams: two }, start: false });
	for (const more of [['-f'], []]) { // in the background, too
		const r = await run(WSGATED, [...more, '-c', gw.file]);
		assert.equal(r.code, 2);
		assert.match(r.err, /cannot have the subjects ws\.send\.(chat|shop)\.> .*see \\?"Several streams\\?" in wsgate\(7\)/);
	}
	assert.ok(fs.existsSync(gw.file));
});
