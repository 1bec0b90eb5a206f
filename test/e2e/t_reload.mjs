// SIGHUP, SIGUSR1 and the control socket: what changes takes effect, and nobody is disconnected.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test, assert, until, stays } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { recv, send } from './lib/nats.mjs';
import { CLOSE, PING, PONG, upgrade } from './lib/raw.mjs';
import { Client, numbers } from './lib/client.mjs';
import { Proc, freePort, run, titleOf } from './lib/proc.mjs';
import { WSGATED, WSGATECTL, configText } from './lib/gateway.mjs';

// Lays `change` over the configuration, asks for a reload, and waits for its outcome.
async function reload(gw, change = {}) {
	for (const [k, v] of Object.entries(change)) {
		gw.config[k] = v !== null && typeof v === 'object' && !Array.isArray(v) ? { ...gw.config[k], ...v } : v;
	}
	gw.writeConfig();
	const r = await gw.ctl('reload');
	assert.equal(r.code, 0, r.err);
	return r.out;
}

const at = (port, where) => `ws://127.0.0.1:${port}/ws/${where}`;

function refusesConnects(port) {
	return new Promise((done) => {
		const s = net.connect(port, '127.0.0.1');
		s.once('connect', () => { s.destroy(); done(false); });
		s.once('error', (e) => done(e.code === 'ECONNREFUSED'));
	});
}

await test('a faulty file changes nothing, and the log names file, line and key', async (t) => {
	const { gw } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	const good = fs.readFileSync(gw.file, 'utf8');
	for (const [text, line, key] of [
		[`ping_interval = 5y\n${good}`, 1, 'ping_interval'],
		[`${good}no_such_key = 1\n`, good.split('\n').length, 'no_such_key'],
	]) {
		fs.writeFileSync(gw.file, text);
		const before = gw.log().length;
		gw.signal('SIGHUP');
		await until('the fault in the log', () => gw.log().slice(before).includes('nothing has changed'));
		const said = gw.log().slice(before);
		assert.ok(said.includes(`${gw.file}:${line}: ${key}`), said);
		// The tool reads the file too: it needs an intact one to find the daemon.
		const intact = path.join(t.dir, 'intact.conf');
		fs.writeFileSync(intact, good);
		const r = await run(WSGATECTL, ['-c', intact, 'reload']);
		assert.equal(r.code, 2);
		assert.ok(r.err.includes(`${gw.file}:${line}: ${key}`), r.err);
		assert.match((await run(WSGATECTL, ['-c', intact, 'status'])).out, /^reload .* failed: /m);
	}
	fs.unlinkSync(gw.file);
	gw.signal('SIGHUP');
	await until('a file that is not there', () => /cannot be opened/.test(gw.log()));
	gw.writeConfig();
	assert.equal(await gw.status('/readyz'), 200);
	await c.ping();
	assert.match(await reload(gw), /0 keys changed/);
	assert.match((await gw.ctl('status')).out, /^reload .* good: /m);
});

await test('limits, origins, identity and echo path: new handshakes; those who are there stay', async (t) => {
	const { gw, bus } = await t.pair();
	const c = await t.client(gw, 'chat/alice', { origin: `http://127.0.0.1:${gw.port}` });
	const foreign = { origin: 'https://a.example.org' };
	assert.equal((await Client.refused(gw.wsUrl('chat/bob'), foreign)).status, 403);
	await reload(gw, { origin: { allow: ['https://*.example.org'] } });
	await t.client(gw, 'chat/bob', foreign);
	assert.equal((await Client.refused(gw.wsUrl('chat/bob'), { origin: `http://127.0.0.1:${gw.port}` })).status, 403);
	await reload(gw, { identity: { sources: ['cookie'], service_cookie: 'svc', user_cookie: 'usr' } });
	assert.equal((await Client.refused(gw.wsUrl(''), { cookies: { service: 'chat', user: 'carol' } })).status, 401);
	const carol = await t.client(gw, '', { cookies: { svc: 'chat', usr: 'carol' } });
	await bus.publish(recv('chat', 'carol'), 'hello');
	assert.equal((await carol.next()).text, 'hello');
	const big = { cookies: { svc: 'chat', usr: 'dave' }, headers: { 'X-Padding': 'x'.repeat(3000) } };
	await t.client(gw, '', big);
	await reload(gw, { max_header: '2k' });
	assert.equal((await Client.refused(gw.wsUrl(''), big)).status, 431);
	await reload(gw, { echo_path: '/echo' });
	const echo = await t.client(gw, '/echo');
	await echo.send('again');
	assert.equal((await echo.next()).text, 'again');
	await c.send('still here');
	await bus.storedAll(send('chat', 'alice'), 1);
	assert.equal(c.closed, null);
});

await test('timeouts reach connections that are there', async (t) => {
	const { gw } = await t.pair({ ping_interval: '1h', pong_timeout: '1h', handshake_timeout: '1h' });
	const good = await t.client(gw, 'chat/alice');
	const mute = await t.raw(gw); // answers no Ping
	await mute.open('/ws/chat/bob/');
	let pings = 0;
	good.ws.on('ping', () => pings++);
	await reload(gw, { ping_interval: '200ms', pong_timeout: '3s', handshake_timeout: '300ms' });
	await until('Pings', () => pings >= 3);
	await mute.ended();
	assert.equal(good.closed, null);
	const late = await t.raw(gw);
	assert.equal((await late.response()).status, 408);
});

await test('a shorter pong_timeout: a Pong that is owed has it from the reload on', async (t) => {
	const { gw, bus } = await t.pair({ ping_interval: '1h', pong_timeout: '1h' });
	const [owes, mute] = [await t.raw(gw), await t.raw(gw)];
	await owes.open('/ws/chat/alice/');
	await mute.open('/ws/chat/bob/');
	for (const u of ['alice', 'bob']) await bus.publish(recv('chat', u), 'x');
	const ping = await owes.next(PING);
	await mute.next(PING);
	const since = performance.now();
	await until('longer than what is allowed soon', () => performance.now() > since + 3200);
	await reload(gw, { pong_timeout: '3s' });
	await stays('open', () => ![...owes.frames, ...mute.frames].some((f) => f.opcode === CLOSE));
	await owes.send(PONG, ping.data);
	await bus.empty(recv('chat', 'alice'));
	assert.equal((await mute.next(CLOSE)).code, 3008);
	assert.ok(!owes.frames.some((f) => f.opcode === CLOSE));
});

await test('max_header and handshake_timeout: a request that has begun keeps those of its connection', async (t) => {
	const { gw } = await t.pair({ workers: 1 });
	const begun = await t.raw(gw), big = { 'X-Padding': 'x'.repeat(3000) };
	await begun.write('GET /ws/chat/alice HTTP/1.1\r\n');
	await reload(gw, { max_header: '2k', handshake_timeout: '200ms' });
	const late = await t.raw(gw);
	await late.write('GET /ws/chat/alice HTTP/1.1\r\n');
	assert.equal((await late.response()).status, 408);
	await begun.write(upgrade('', big).replace(/^.*\r\n/, ''));
	assert.equal((await begun.response()).status, 101);
	await reload(gw, { handshake_timeout: '10s' }); // for who must come in time
	assert.equal((await Client.refused(gw.wsUrl('chat/alice'), { headers: big })).status, 431);
});

await test('proof of receipt, window and text', async (t) => {
	const { gw, bus } = await t.pair({ delivery: { window_messages: 2 }, pong_timeout: '1h', ping_interval: '1h' });
	const r = await t.raw(gw); // answers no Ping: two messages, no more
	await r.open('/ws/chat/alice/');
	for (const i of numbers(6)) await bus.publish(recv('chat', 'alice'), i);
	await until('two messages', () => r.data().length === 2);
	await stays('two messages', () => r.data().length === 2, 300);
	await reload(gw, { delivery: { window_messages: 4 } });
	await until('four messages', () => r.data().length === 4);
	await reload(gw, { delivery: { confirm: 'write' } });
	await until('all messages', () => r.data().length === 6);
	await bus.empty(recv('chat', 'alice'));
	await reload(gw, { delivery: { text: 'binary' } });
	await bus.publish(recv('chat', 'alice'), 'x');
	await until('a binary one', () => r.data().length === 7);
	assert.equal(r.data()[6].opcode, 2);
});

await test('log level and format, in every process', async (t) => {
	const { gw } = await t.pair({ log: { level: 'info' } });
	await reload(gw, { log: { level: 'trace' } });
	await until('lines of all', () => {
		const log = gw.log();
		return ['bridge', 'worker 0', 'worker 1', 'master'].every((p) => new RegExp(`(trace|debug) ${p}: `).test(log)) ||
			reload(gw).then(() => false);
	});
	await reload(gw, { log: { level: 'info', format: 'json' } });
	const before = gw.log().length;
	const c = await t.client(gw, 'chat/alice');
	await reload(gw, { ping_interval: '24s' });
	const lines = gw.log().slice(before).trim().split('\n').map((l) => JSON.parse(l));
	assert.ok(lines.some((l) => l.message === 'changed' && l.key === 'ping_interval' && l.value === '24s'));
	assert.ok(!lines.some((l) => ['debug', 'trace'].includes(l.level)));
	await c.ping();
});

await test('keys that need a restart are named and stay', async (t) => {
	const { gw } = await t.pair();
	const out = await reload(gw, { max_connections: 5000, stream: { name: 'another' }, ping_interval: '20s' });
	assert.match(out, /1 keys changed, 2 need a restart/);
	assert.match(gw.log(), /needs a restart.*key=max_connections/);
	assert.match(gw.log(), /needs a restart.*key=stream\.name/);
	assert.match(gw.log(), /changed key=ping_interval value=20s/);
});

await test('listeners come and go', async (t) => {
	const { gw, bus } = await t.pair();
	const first = await t.client(gw, 'chat/alice');
	const more = await freePort(), admin = await freePort();
	await reload(gw, { listen: [`127.0.0.1:${gw.port}`, `127.0.0.1:${more}`] });
	const second = await Client.connect(at(more, 'chat/bob'));
	await reload(gw, { listen: [`127.0.0.1:${more}`] });
	assert.ok(await refusesConnects(gw.port));
	await Promise.all(numbers(20).map(async (i) => (await Client.connect(at(more, `chat/u${i}`))).terminate()));
	// All addresses instead of one, on the same port, and back.
	await reload(gw, { listen: [`0.0.0.0:${more}`] });
	const third = await Client.connect(at(more, 'chat/carol'));
	await reload(gw, { listen: [`localhost:${more}`, `127.0.0.1:${more}`] });
	await (await Client.connect(at(more, 'chat/dave'))).close();
	// One that cannot be opened: nothing changes.
	gw.config.listen = [`127.0.0.1:${gw.nats.port}`, `127.0.0.1:${gw.port}`];
	gw.writeConfig();
	const r = await gw.ctl('reload');
	assert.equal(r.code, 2);
	assert.ok(r.err.includes(`127.0.0.1:${gw.nats.port}`), r.err);
	assert.ok(await refusesConnects(gw.port));
	await (await Client.connect(at(more, 'chat/eve'))).close();
	// The admin listener moves, goes and comes back.
	await reload(gw, { listen: [`127.0.0.1:${gw.port}`], admin: { listen: `127.0.0.1:${admin}` } });
	assert.ok(await refusesConnects(gw.adminPort));
	const old = gw.adminPort;
	gw.adminPort = admin;
	assert.equal(await gw.status('/readyz'), 200);
	await reload(gw, { admin: { listen: '' } });
	assert.ok(await refusesConnects(admin));
	gw.adminPort = old;
	for (const host of ['127.0.0.1', '0.0.0.0', '127.0.0.1']) { // to all addresses of its port and back
		await reload(gw, { admin: { listen: `${host}:${old}` } });
		assert.equal(await gw.status('/readyz'), 200);
		assert.equal(await fetch(`http://127.0.0.2:${old}/livez`).then(() => true, () => false), host === '0.0.0.0');
	}
	// A port of clients becomes the admin listener's, and back; one for the other.
	const [clients, other] = [gw.port, await freePort()];
	for (const [port, to, host] of [[other, clients, '127.0.0.1'], [clients, other, '0.0.0.0'], [other, clients, '0.0.0.0'], [clients, other, '127.0.0.1']]) {
		await reload(gw, { listen: [`${host}:${port}`], admin: { listen: `127.0.0.1:${to}` } });
		gw.adminPort = to;
		await until('it there', async () => (await gw.status('/readyz')) === 200);
		await until('clients there', () => Client.connect(at(port, 'chat/frank')).then((x) => x.close(), () => false));
	}
	for (const [c, u] of [[first, 'alice'], [second, 'bob'], [third, 'carol']]) {
		await bus.publish(recv('chat', u), 'hello');
		assert.equal((await c.next()).text, 'hello');
		c.terminate();
	}
});

await test('who believes everybody from elsewhere only now is warned', async (t) => {
	const { gw } = await t.pair();
	const warnings = () => gw.log().split('believed who they say they are').length - 1;
	assert.equal(warnings(), 0);
	await reload(gw, { listen: [`0.0.0.0:${gw.port}`] });
	assert.equal(warnings(), 1);
	await reload(gw, { auth: { '*': { type: 'none' } } });
	assert.equal(warnings(), 1);
	delete gw.config.auth;
	await reload(gw);
	assert.equal(warnings(), 2);
});

// As if it had no descriptor left; the end puts it right.
async function withoutDescriptors(pid, fn) {
	const used = new Set(fs.readdirSync(`/proc/${pid}/fd`).map(Number));
	const limit = (n) => run('prlimit', [`--pid=${pid}`, `--nofile=${n}`]);
	await limit(`${numbers(used.size + 1).find((i) => !used.has(i))}:20000`);
	await fn();
	await limit('20000:20000');
}

await test('a listener that a worker has no descriptor for is there after the next reload', async (t) => {
	const { gw } = await t.pair({ workers: 1 });
	const more = await freePort();
	gw.config.listen = [`127.0.0.1:${gw.port}`, `127.0.0.1:${more}`];
	gw.writeConfig();
	await withoutDescriptors(gw.pid('worker 0'), async () => {
		const r = await gw.ctl('reload');
		assert.equal(r.code, 2);
		assert.match(r.err, /descriptor/);
	});
	await reload(gw);
	for (const port of [gw.port, more]) await (await Client.connect(at(port, 'chat/alice'))).close();
});

await test('a worker that is killed comes back with the new listeners and the new configuration', async (t) => {
	const { gw } = await t.pair({ workers: 1 });
	const more = await freePort();
	await reload(gw, { listen: [`127.0.0.1:${more}`], origin: { allow: [] } });
	await gw.murder('worker 0');
	const no = await until('a successor', () => Client.refused(at(more, 'chat/alice'), { origin: 'http://x' }).catch(() => null));
	assert.equal(no.status, 403);
	assert.ok(await refusesConnects(gw.port));
	await gw.murder('bridge');
	await (await Client.connect(at(more, 'chat/alice'))).close();
});

await test('more workers', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1 });
	const first = await t.client(gw, 'chat/alice');
	await reload(gw, { workers: 4 });
	await until('four workers', () => gw.children().filter((c) => /worker \d/.test(c.title)).length === 4);
	const all = await Promise.all(numbers(40).map((i) => t.client(gw, `chat/u${i}`)));
	const busy = /^worker (\d).* ([1-9]\d*) connections/gm;
	await until('connections in new workers', async () => [...(await gw.ctl('status')).out.matchAll(busy)].length >= 3);
	await Promise.all(all.map((c, i) => c.send(`up ${i}`)));
	await Promise.all(all.map((_, i) => bus.publish(recv('chat', `u${i}`), `down ${i}`)));
	for (const [i, c] of all.entries()) assert.equal((await c.next()).text, `down ${i}`);
	await until('all stored', async () => (await bus.count('ws.send.>')) === 40);
	await bus.empty('ws.recv.>');
	await gw.murder('bridge'); // its successor knows them
	await gw.murder('worker 3');
	await bus.publish(recv('chat', 'alice'), 'last');
	assert.equal((await first.next()).text, 'last');
	await until('five processes', () => gw.children().length === 5);
	await gw.ready();
});

await test('more workers that cannot be: no shared memory is kept for them', async (t) => {
	const { gw } = await t.pair({ workers: 1 });
	const kilobytes = () => fs.statSync(path.join(gw.config.runtime_dir, 'segment')).blocks / 2;
	const before = kilobytes(), { listen } = gw.config;
	gw.config.workers = 4;
	gw.config.listen = [...listen, `127.0.0.1:${gw.nats.port}`];
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 2);
	const more = kilobytes() - before;
	assert.ok(more < 1000, `${more} kB more`);
	await reload(gw, { listen });
	await until('four workers', () => gw.children().filter((c) => /worker \d/.test(c.title)).length === 4);
	assert.ok(kilobytes() > 3 * before);
	await gw.murder('worker 3'); // and each is as good as any
	await gw.ready();
	await until('all well', async () => (await gw.ctl('check')).code === 0);
	for (const i of numbers(20)) await (await t.client(gw, `chat/u${i}`)).ping();
});

// Numbers both ways while fn() runs; all must come, in order, and nobody be disconnected.
async function underLoad(t, gw, bus, users, fn) {
	const clients = await Promise.all(numbers(users).map((i) => t.client(gw, `chat/u${i}`)));
	const up = await bus.work('workers', 'ws.send.>');
	let going = true, sent = 0, given = 0;
	const upwards = (async () => {
		for (; going; sent++) {
			await Promise.all(clients.map((c) => c.send(String(sent))));
			await new Promise((r) => setTimeout(r, 5));
		}
	})();
	const downwards = (async () => {
		for (; going; given++) await Promise.all(clients.map((_, i) => bus.publish(recv('chat', `u${i}`), String(given))));
	})();
	await fn();
	going = false;
	await Promise.all([upwards, downwards]);
	assert.ok(sent > 0 && given > 0);
	for (const c of clients) {
		await c.take(given, 40000);
		assert.deepEqual(c.texts(), numbers(given));
		assert.equal(c.closed, null);
	}
	await until('all stored', () => up.length >= users * sent, 40000);
	for (const i of numbers(users)) {
		assert.deepEqual(up.filter((m) => m.subject === send('chat', `u${i}`)).map((m) => m.text), numbers(sent));
	}
	await bus.empty('ws.recv.>', 40000);
}

await test('another broker.url: nothing lost, nothing twice, nobody disconnected', async (t) => {
	const { gw, bus, nats } = await t.pair();
	await underLoad(t, gw, bus, 10, async () => {
		for (const url of [`nats://localhost:${nats.port}`, `nats://127.0.0.1:1,nats://127.0.0.1:${nats.port}`, nats.url]) {
			const before = gw.log().length;
			await reload(gw, { broker: { url } });
			await until('the broker again', () => /bridge: connected to the broker/.test(gw.log().slice(before)));
		}
	});
	assert.ok(!gw.log().includes('calls a first publish a duplicate'));
	assert.match(gw.log(), /changed key=broker\.url value="\(not shown\)"/);
}, { ms: 120000 });

await test('from one broker to another', async (t) => {
	const { gw, bus } = await t.pair();
	const other = await t.nats();
	const otherBus = await other.connect();
	const c = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'from the first');
	assert.equal((await c.next()).text, 'from the first');
	await bus.empty(recv('chat', 'alice'));
	await reload(gw, { broker: { url: other.url } });
	await c.send('to the second');
	await until('the stream there', () => otherBus.count('ws.send.>').then((n) => n === 1, () => false));
	await otherBus.publish(recv('chat', 'alice'), 'from the second');
	assert.equal((await c.next()).text, 'from the second');
	await otherBus.empty(recv('chat', 'alice'));
	assert.equal(await bus.count('ws.send.>'), 0);
	assert.equal(c.closed, null);
});

await test('stream limits are brought to the stream, without a pause', async (t) => {
	const { gw, bus } = await t.pair();
	const info = async () => (await (await bus.jsm()).streams.info('websockets')).config;
	const before = (await info()).max_age;
	await reload(gw, { stream: { max_age: '30d', duplicate_window: '90s' } });
	await until('max_age of the stream', async () => (await info()).max_age === 30 * 86400e9);
	assert.notEqual(before, 30 * 86400e9);
	assert.ok(!gw.log().includes('the broker is away'));
});

await test('status answers also while the master stands still', async (t) => {
	const { gw } = await t.pair();
	const go = await hold(gw.proc.pid);
	const r = await gw.ctl('status');
	go();
	assert.equal(r.code, 0, r.err);
	assert.match(r.out, /^reload .*unknown/m);
	assert.match(r.out, /^broker .*connected/m);
	await until('its word', async () => /^reload .*none since the start/m.test((await gw.ctl('status')).out));
});

await test('signals in a burst: the last file wins', async (t) => {
	const { gw } = await t.pair();
	for (let i = 0; i < 30; i++) {
		gw.config.ping_interval = `${30 + i}s`;
		gw.writeConfig();
		gw.signal('SIGHUP');
	}
	await until('the last value', () => gw.log().includes('changed key=ping_interval value=59s') || (gw.signal('SIGHUP'), false));
	await gw.ctl('reload');
});

await test('a process that stands still is named; when it goes on, it has all', async (t) => {
	const { gw } = await t.pair({ workers: 1, hang_timeout: 0 });
	const go = await hold(gw.pid('worker 0'));
	gw.config.origin = { allow: [] };
	gw.writeConfig();
	const r = await gw.ctl('reload');
	go();
	assert.equal(r.code, 2);
	assert.match(r.err, /worker 0 did not answer in time/);
	assert.match(gw.log(), /a process did not answer for the new configuration in time child="worker 0"/);
	assert.equal((await Client.refused(gw.wsUrl('chat/a'), { origin: 'http://x' })).status, 403);
	assert.match(await reload(gw), /0 keys changed/);
});

await test('USR1: all processes write to the new file', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { start: false });
	const log = path.join(t.dir, 'wsgated.log'), old = `${log}.1`;
	gw.opts.args = ['-o', `log.target=${log}`];
	await gw.start();
	const read = (f) => (fs.existsSync(f) ? fs.readFileSync(f, 'utf8') : '');
	await until('lines', () => /bridge: /.test(read(log)));
	fs.renameSync(log, old);
	gw.signal('SIGUSR1');
	await until('the new file', () => /log file opened again/.test(read(log)));
	await reload(gw, { log: { level: 'trace' } });
	await reload(gw, { ping_interval: '21s' });
	const size = read(old).length;
	for (const p of ['master', 'bridge', 'worker 0', 'worker 1']) {
		await until(`a line of ${p}`, () => read(log).includes(` ${p}: `));
	}
	assert.equal(read(old).length, size);
});

await test('another log.target, in the background; as another user', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { start: false });
	const dir = path.join(t.dir, 'logs'), read = (f) => (fs.existsSync(f) ? fs.readFileSync(f, 'utf8') : '');
	fs.mkdirSync(dir, { mode: 0o700 });
	fs.chmodSync(t.dir, 0o755);
	const [one, two, gone] = ['one', 'two', 'one.1'].map((f) => path.join(dir, f));
	const root = process.getuid() === 0;
	const text = (target) => configText({ ...gw.config, user: root ? 'nobody' : '', log: { level: 'debug', target } });
	fs.writeFileSync(gw.file, text(one));
	const start = new Proc(WSGATED, ['-c', gw.file]);
	assert.equal((await start.ended).code, 0, start.err);
	const pid = Number(fs.readFileSync(gw.pidfile, 'utf8'));
	t.atEnd(async () => {
		process.kill(pid, 'SIGTERM');
		await until('the end', () => !titleOf(pid).startsWith('wsgated'));
	});
	await until('ready', async () => (await gw.status('/readyz')) === 200);
	fs.renameSync(one, gone);
	process.kill(pid, 'SIGUSR1');
	await until('the file again', () => /opened again/.test(read(one)));
	fs.writeFileSync(gw.file, text(two));
	assert.equal((await gw.ctl('reload')).code, 0);
	let c = await Client.connect(gw.wsUrl('chat/alice'));
	fs.writeFileSync(gw.file, text(two).replace('debug', 'trace'));
	assert.equal((await gw.ctl('reload')).code, 0);
	assert.equal((await gw.ctl('reload')).code, 0);
	for (const p of ['master', 'bridge', 'worker 0', 'worker 1']) await until(`a line of ${p}`, () => read(two).includes(` ${p}: `));
	// Those that were born while it went elsewhere have other descriptors where the file's was.
	const children = () => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
	fs.writeFileSync(gw.file, text('syslog'));
	assert.equal((await gw.ctl('reload')).code, 0);
	const before = children();
	for (const child of before) process.kill(child, 'SIGKILL');
	await until('others', () => children().length === before.length && !children().some((child) => before.includes(child)));
	await until('ready', async () => (await gw.status('/readyz')) === 200);
	const after = children(), some = [];
	while (some.length < 40) some.push(await t.client(gw, `chat/u${some.length}`));
	fs.writeFileSync(gw.file, text(one));
	assert.equal((await gw.ctl('reload')).code, 0);
	for (c of some) await c.ping();
	assert.deepEqual(children(), after);
	for (const p of ['master', 'worker 0', 'worker 1']) await until(`a line of ${p}`, () => read(one).includes(` ${p}: `));
	fs.writeFileSync(gw.file, text(path.join(t.dir, 'no/such/folder/log')));
	const r = await gw.ctl('reload');
	assert.equal(r.code, 2);
	assert.match(r.err, /log\.target/);
	if (root) {
		const other = await run('setpriv', ['--reuid=12345', '--regid=12345', '--clear-groups', WSGATECTL, '-c', gw.file, 'reload']);
		assert.equal(other.code, 2, 'somebody else may not');
		fs.writeFileSync(gw.file, text(two));
		const mine = await run('setpriv', ['--reuid=nobody', '--regid=nogroup', '--clear-groups', WSGATECTL, '-c', gw.file, 'reload']);
		assert.equal(mine.code, 0, mine.err);
	}
	await c.ping();
	c.terminate();
});

await test('wsgatectl close', async (t) => {
	const { gw } = await t.pair();
	const alice = await Promise.all(numbers(4).map(() => t.client(gw, 'chat/a.b%20c')));
	const bob = await t.client(gw, 'chat/bob');
	const r = await gw.ctl('close', 'chat', 'a.b c');
	assert.equal(r.code, 0, r.err);
	assert.match(r.out, /^4 connections/);
	for (const c of alice) assert.equal((await c.ended()).code, 4002);
	assert.match((await gw.ctl('close', 'chat', 'nobody')).out, /^0 connections/);
	for (const bad of [['--code', '1006'], ['--code', '2999'], ['--code', '5000'], ['--code'], ['--what', 'x'], ['--reason', 'x'.repeat(124)]]) {
		assert.equal((await gw.ctl('close', 'chat', 'bob', ...bad)).code, 1, String(bad));
	}
	await bob.ping();
	assert.equal((await gw.ctl('close', 'chat', 'bob', '--code', '1012', '--reason', 'back soon, ünd so')).code, 0);
	assert.deepEqual(await bob.ended(), { code: 1012, reason: 'back soon, ünd so' });
});

await test('reload without a gateway: 2', async (t) => {
	const nats = await t.nats({ start: false });
	const gw = await t.gateway(nats, { start: false });
	for (const words of [['reload'], ['close', 'chat', 'alice']]) {
		const r = await gw.ctl(...words);
		assert.equal(r.code, 2);
		assert.match(r.err, /is wsgated running/);
	}
});
