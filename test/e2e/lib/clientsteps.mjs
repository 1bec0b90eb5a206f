// The same steps for every client library: all ways in, a thousand messages each way, a megabyte, Pings, closes from either
// side, compression, and what is confirmed while the application is busy.
import { test, assert, stays, until } from './scenario.mjs';
import { recv, send } from './nats.mjs';
import { tlsPair } from './pki.mjs';
import { Browser, CLIENTS, LineClient, nodeHasWebSocket, stall } from './clients.mjs';
import { bytes, message, numbered } from '../clients/lines.mjs';

const MEGABYTE = 1 << 20;
const MANY = 1000;

// In order, and nothing else.
async function down(c, bus, user, n, size) {
	await bus.publishAll(n, (i) => [recv('chat', user), numbered(i, size)]);
	const got = await c.take(n, 60000);
	assert.deepEqual(got, Array.from({ length: n }, (_, i) => message('text', Buffer.from(numbered(i, size)))));
	await bus.empty(recv('chat', user)); // confirmed
}

async function up(c, bus, user, n, size) {
	const got = await bus.listen(send('chat', user));
	c.tell(`text ${n} ${size}`);
	await until(`${n} messages from ${user} (have ${got.length})`, () => got.length >= n, 60000);
	assert.deepEqual(got.map((m) => m.text), Array.from({ length: n }, (_, i) => numbered(i, size)));
	assert.ok(got.every((m) => m.headers['Ws-Type'] === 'text'));
}

async function binary(c, bus, user, size) {
	const data = bytes(size);
	await bus.publish(recv('chat', user), data, { 'Ws-Type': 'binary' });
	assert.equal(await c.next(), message('binary', data));
	const got = await bus.listen(send('chat', user));
	c.tell(`binary ${size}`);
	await until('a binary message', () => got.length);
	assert.ok(got[0].data.equals(Buffer.from(data)));
	assert.equal(got[0].headers['Ws-Type'], 'binary');
}

// By path; all kinds of messages; a close by the client, answered when all before it is stored.
async function byPath({ gw, bus, open, what }) {
	const c = await open(gw.wsUrl('chat/path/'));
	await down(c, bus, 'path', MANY, 20);
	await up(c, bus, 'path', MANY, 20);
	await down(c, bus, 'path', 3, MEGABYTE);
	await up(c, bus, 'path', 2, MEGABYTE);
	for (const size of [0, 125, 126, 65535, 65536, MEGABYTE]) await binary(c, bus, 'path', size);
	if (what.shows?.pong !== false) {
		c.tell('ping hello');
		assert.equal(await c.next(), 'pong hello');
	}
	const before = await bus.count(send('chat', 'path'));
	c.tell('text 50 1000');
	c.tell('close 4321 good night');
	assert.match(await c.next(), /^closed 4321 ?(good night)?$/);
	// Who does not wait for the answer to its Close knows less.
	if (what.shows?.answer === false) await until('all before the Close', async () => (await bus.count(send('chat', 'path'))) === before + 50);
	assert.equal(await bus.count(send('chat', 'path')), before + 50);
}

// By cookies; a close by the operator.
async function byCookie({ gw, bus, open }) {
	const c = await open(gw.wsUrl(''), { cookie: 'service=chat; user=cookie' });
	await down(c, bus, 'cookie', 5, 100);
	await up(c, bus, 'cookie', 5, 100);
	assert.equal((await gw.ctl('close', 'chat', 'cookie', '--code', '4711', '--reason', 'go home')).code, 0);
	assert.equal(await c.next(), 'closed 4711 go home');
}

async function byTls({ gw, bus, open, ca }) {
	const c = await open(gw.wssUrl('chat/tls/', 'localhost'), { ca });
	await down(c, bus, 'tls', 100, 1000);
	await up(c, bus, 'tls', 100, 1000);
	await down(c, bus, 'tls', 1, MEGABYTE);
	await up(c, bus, 'tls', 1, MEGABYTE);
	c.tell('close 1000 ');
	assert.match(await c.next(), /^closed 1000/);
}

// The application blocks: is what was delivered confirmed? Afterwards all is there, once.
async function whileBusy({ t, gw, bus, open, what }) {
	const c = await open(gw.wsUrl('chat/busy/'));
	await down(c, bus, 'busy', 1, 10);
	const s = stall(t);
	c.tell(`busy ${s.file}`);
	assert.equal(await c.next(), 'busy');
	await bus.publish(recv('chat', 'busy'), 'meanwhile');
	const left = async () => (await bus.stored(recv('chat', 'busy'))).length;
	if (what.busy) await until('a Pong of a busy application', async () => (await left()) === 0);
	else await stays('unconfirmed', async () => (await left()) === 1, 500);
	s.end();
	assert.deepEqual((await c.take(2)).sort(), ['idle', message('text', Buffer.from('meanwhile'))]);
	await bus.empty(recv('chat', 'busy'));
}

// The application takes nothing: how much is confirmed? Afterwards all is there, once, in order.
async function whilePaused({ gw, bus, open, what }) {
	const c = await open(gw.wsUrl('chat/pause/'));
	await down(c, bus, 'pause', 1, 10);
	c.tell('pause');
	assert.equal(await c.next(), 'paused');
	const left = async () => (await bus.stored(recv('chat', 'pause'))).length;
	await bus.publish(recv('chat', 'pause'), numbered(0, 10));
	if (what.pause === 'none') await stays('unconfirmed', async () => (await left()) === 1, 500);
	else await until('a Pong of an application that takes nothing', async () => (await left()) === 0);
	for (let i = 1; i < 200; i++) await bus.publish(recv('chat', 'pause'), numbered(i, 10));
	if (what.pause === 'all') await until('all confirmed', async () => (await left()) === 0);
	else await stays('some unconfirmed', async () => (await left()) > 100, 500);
	assert.deepEqual(await c.unread(), []);
	c.tell('resume');
	assert.equal(await c.next(), 'resumed');
	assert.deepEqual(await c.take(200), Array.from({ length: 200 }, (_, i) => message('text', Buffer.from(numbered(i, 10)))));
	await bus.empty(recv('chat', 'pause'));
}

// What goes compressed, either way, with and without earlier messages in mind.
async function compressed({ gw, bus, open, what }) {
	for (const context of what.deflate === 'context' ? ['on'] : ['off', 'on']) {
		gw.config.compression = { enabled: 'on', threshold: 100, context };
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
		const sum = async (key) => JSON.parse((await gw.ctl('status', '--json')).out).workers.reduce((n, w) => n + w[key], 0);
		const before = [await sum('compressed'), await sum('decompressed')];
		const c = await open(gw.wsUrl('chat/small/'), { deflate: true });
		await down(c, bus, 'small', 50, 5000);
		await up(c, bus, 'small', 50, 5000);
		await down(c, bus, 'small', 1, MEGABYTE);
		assert.deepEqual([await sum('compressed') - before[0], await sum('decompressed') - before[1]], [51, what.deflate === 'down' ? 0 : 50]);
		c.tell('close 1000 ');
		assert.match(await c.next(), /^closed 1000/);
	}
}

async function inBrowser(t, gw, { certificate }) {
	const browser = await Browser.start(t, certificate);
	gw.config.origin = { allow: [browser.origin] };
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	return (url, opts) => browser.open(url, opts);
}

async function all(t, name, what) {
	if (what.lacks) t.skip(what.lacks);
	const { gw, bus, pki, certs } = await tlsPair(t, {
		natsOpts: { conf: 'max_payload: 2mb' },
		config: { max_message: '1m', pong_timeout: '60s', ping_interval: '60s', delivery: { window: '4m' } },
	});
	const open = what.browser ? await inBrowser(t, gw, certs[0]) : (url, opts) => LineClient.start(t, name, url, opts);
	const rig = { t, gw, bus, what, open, ca: pki.ca };
	const one = (step) => step(rig).catch((e) => {
		e.message = `${step.name}: ${e.message}`;
		throw e;
	});
	await one(byPath);
	const beside = [byCookie, byTls, whileBusy, ...(what.pause ? [whilePaused] : [])];
	if (what.browser) for (const step of beside) await one(step); // one page at a time
	else await Promise.all(beside.map(one));
	if (what.deflate) await one(compressed);
	await bus.empty('ws.recv.>');
}

// clients: CLIENTS, or a part of it.
export async function testClients(clients) {
	for (const [name, what] of Object.entries(clients)) await test(name, (t) => all(t, name, what), { ms: 120000 });
}
