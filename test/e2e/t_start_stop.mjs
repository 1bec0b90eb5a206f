// Starting, stopping and refusing to start: signals, exit codes, the pidfile, the configuration check.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until } from './lib/scenario.mjs';
import { configText, wsgated } from './lib/gateway.mjs';
import { titleOf } from './lib/proc.mjs';
import { CLOSE, PING } from './lib/raw.mjs';

await test('process titles, pidfile, one worker for each that was asked for', async (t) => {
	const { gw } = await t.pair({ workers: 3 });
	assert.equal(fs.readFileSync(gw.pidfile, 'utf8').trim(), String(gw.proc.pid));
	assert.equal(titleOf(gw.proc.pid), 'wsgated: master');
	await until('all titles', () => gw.children().map((c) => c.title).sort().join() ===
		'wsgated: bridge,wsgated: worker 0,wsgated: worker 1,wsgated: worker 2');
});

for (const sig of ['SIGTERM', 'SIGINT']) {
	await test(`${sig}: 1001 to the clients, exit 0, no pidfile`, async (t) => {
		const { gw, bus } = await t.pair({ drain_timeout: '20s' });
		const all = await Promise.all(Array.from({ length: 20 }, (_, i) => t.client(gw, `chat/u${i}`)));
		await Promise.all(all.map((c) => c.send('last words')));
		gw.signal(sig);
		for (const c of all) assert.equal((await c.ended()).code, 1001);
		assert.deepEqual(await gw.exited(), { code: 0, signal: null });
		assert.equal(fs.existsSync(gw.pidfile), false);
		assert.equal(await bus.count('ws.send.>'), 20, 'what was taken is stored');
	});
}

await test('a draining gateway is not ready and takes nobody', async (t) => {
	const { gw } = await t.pair({ drain_timeout: '5s' });
	const all = await Promise.all(Array.from({ length: 10 }, (_, i) => t.client(gw, `chat/u${i}`)));
	gw.signal('SIGTERM');
	await until('/readyz 503 or the end', async () => gw.proc.exit || (await gw.status('/readyz')) !== 200);
	for (const c of all) assert.equal((await c.ended()).code, 1001);
	assert.equal((await gw.exited()).code, 0);
});

await test('a draining gateway refuses connects at once', async (t) => {
	const { bus, gw } = await t.pair({ drain_timeout: '10s', pong_timeout: '60s' });
	const r = await t.raw(gw); // answers no Ping: the drain takes its time
	await r.open('/ws/chat/alice/');
	await bus.publish('ws.recv.chat.alice', 'x');
	await r.next(9);
	gw.signal('SIGTERM');
	await until('a refused connect', () => t.raw(gw).then((s) => s.destroy(), (e) => e.code === 'ECONNREFUSED'));
	assert.equal(gw.proc.exit, null, 'still draining');
	assert.equal(await gw.status('/readyz'), 503);
	r.destroy();
	assert.equal((await gw.exited()).code, 0);
});

await test('signals that were blocked by who started it: it heeds them, and replaces a dead worker', async (t) => {
	const block = 'import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); os.execvp(sys.argv[1], sys.argv[1:])';
	const gw = await t.gateway(await t.nats(), { via: ['python3', '-c', block] });
	const pid = await gw.murder('worker 0');
	await until('a successor', () => gw.pid('worker 0') && gw.pid('worker 0') !== pid);
	gw.signal('SIGHUP');
	await until('a reload', () => /reloaded/.test(gw.log()));
	gw.signal('SIGTERM');
	assert.deepEqual(await gw.exited(10000), { code: 0, signal: null });
});

await test('QUIT stops at once', async (t) => {
	const { gw, bus } = await t.pair({ drain_timeout: '60s', pong_timeout: '60s' });
	const r = await t.raw(gw); // answers neither Ping nor Close: a drain would wait for it
	await r.open('/ws/chat/alice/');
	await bus.publish('ws.recv.chat.alice', 'x');
	await r.next(PING);
	const pids = [gw.proc.pid, ...gw.children().map((c) => c.pid)];
	assert.equal(pids.length, 4);
	gw.signal('SIGQUIT');
	assert.deepEqual(await gw.exited(5000), { code: 0, signal: null });
	await r.ended();
	assert.ok(!r.frames.some((f) => f.opcode === CLOSE), 'nobody is told');
	await until('the end of them all', () => pids.every((pid) => !/^wsgated/.test(titleOf(pid))), 5000);
	assert.equal(fs.existsSync(gw.pidfile), false);
});

await test('the children end when the master is killed', async (t) => {
	const { gw } = await t.pair({ workers: 2 });
	const pids = gw.children().map((c) => c.pid);
	const c = await t.client(gw, 'chat/alice');
	process.kill(gw.proc.pid, 'SIGKILL');
	await gw.proc.ended;
	await c.ended();
	await until('the end of the children', () => pids.every((p) => !/^wsgated/.test(titleOf(p))), 15000);
});

await test('a second instance is refused with 2', async (t) => {
	const { gw, nats } = await t.pair();
	const other = await t.gateway(nats, { start: false });
	other.config.pidfile = gw.pidfile;
	other.writeConfig();
	const r = await wsgated('-f', '-c', other.file);
	assert.equal(r.code, 2, r.err);
	assert.match(r.err, /pid|running/i);
	assert.equal(fs.readFileSync(gw.pidfile, 'utf8').trim(), String(gw.proc.pid));
	assert.equal(await gw.status('/readyz'), 200, 'the first one does not notice');
});

await test('a port that is taken is refused with 2', async (t) => {
	const { gw, nats } = await t.pair();
	for (const what of ['listen', 'admin']) {
		const other = await t.gateway(nats, { start: false });
		if (what === 'listen') other.config.listen = gw.config.listen;
		else other.config.admin = gw.config.admin;
		other.writeConfig();
		const r = await wsgated('-f', '-c', other.file);
		assert.equal(r.code, 2, `${what}: ${r.err}`);
		assert.match(r.err, new RegExp(String(what === 'listen' ? gw.port : gw.adminPort)), 'names the port');
	}
	assert.equal(await gw.status('/readyz'), 200);
});

await test('a faulty configuration: 1, with file, line and key', async (t) => {
	const file = path.join(t.dir, 'bad.conf');
	for (const [text, line, key] of [
		['# fine\nworkers = 2\nno_such_key = 1\n', 3, 'no_such_key'],
		['workers = many\n', 1, 'workers'],
		['\n\nping_interval = 5y\n', 3, 'ping_interval'],
		['broker {\n\turl = "nats://a:1"\n\tgrace = -1s\n}\n', 3, 'grace'],
		['listen = {"nowhere"}\n', 1, 'listen'],
		['delivery {\n confirm = maybe\n}\n', 2, 'confirm'],
		['origin { allow = {"https://*"} }\n', 1, 'allow'],
		['broker { type = "carrier-pigeon" }\n', 1, 'type'],
	]) {
		fs.writeFileSync(file, text);
		for (const args of [['-t'], ['-f']]) {
			const r = await wsgated(...args, '-c', file);
			assert.equal(r.code, 1, `${args} ${text}: ${r.err}`);
			assert.ok((r.out + r.err).includes(`${file}:${line}`), `${text}: ${r.err}`);
			assert.ok((r.out + r.err).includes(key), `${text}: ${r.err}`);
		}
	}
	const r = await wsgated('-t', '-c', path.join(t.dir, 'absent.conf'));
	assert.equal(r.code, 1);
	assert.match(r.err, /absent\.conf/);
	assert.equal((await wsgated('-t', '-c', file, '-o', 'workers=x')).code, 1);
	fs.writeFileSync(file, configText({ user: '' }));
	const log = path.join(t.dir, 'not there', 'x.log');
	for (const [set, why] of [[`log.target=${log}`, /log\.target: .*No such file/], [`log.target=${t.dir}`, /log\.target: .*directory/],
		...(process.getuid() ? [] : [['user=nobody-of-that-name', /user: nobody-of-that-name: there is no such user/]])]) {
		const no = await wsgated('-t', '-c', file, '-o', set);
		assert.equal(no.code, 1);
		assert.match(no.err, why);
	}
	const good = path.join(t.dir, 'new.log');
	assert.equal((await wsgated('-t', '-c', file, '-o', `log.target=${good}`)).code, 0);
	assert.equal(fs.existsSync(good), false, 'nothing is made');
});

await test('-t accepts a good one, -T prints what loads back equal, -o overrides', async (t) => {
	const file = path.join(t.dir, 'good.conf');
	fs.writeFileSync(file, configText({ user: '', workers: 3, ping_interval: '7s', max_message: '64k', listen: ['127.0.0.1:9999', '[::1]:9999'],
		broker: { url: 'nats://a:1,nats://b:2' }, origin: { allow: ['same', 'https://*.example.org'] } }));
	assert.equal((await wsgated('-t', '-c', file)).code, 0);
	const first = await wsgated('-T', '-c', file, '-o', 'broker.grace=17s', '-o', 'origin.allow=any,same');
	assert.equal(first.code, 0, first.err);
	assert.match(first.out, /17s/);
	assert.match(first.out, /64k|65536/);
	const again = path.join(t.dir, 'again.conf');
	fs.writeFileSync(again, first.out);
	const second = await wsgated('-T', '-c', again);
	assert.equal(second.code, 0, second.err);
	assert.equal(second.out, first.out);
	assert.match((await wsgated('-V')).out, /\d+\.\d+\.\d+/);
});

await test('NATS_BROKER_URL and PUBSUB_BROKER', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { config: { broker: { url: 'nats://127.0.0.1:1' } }, env: { NATS_BROKER_URL: nats.url, PUBSUB_BROKER: 'nats' } });
	await (await t.client(gw, 'chat/alice')).ping();
	const bad = await t.gateway(nats, { start: false, env: { PUBSUB_BROKER: 'rabbit' } });
	await bad.start(false);
	assert.equal((await bad.exited()).code, 1);
	assert.match(bad.log(), /PUBSUB_BROKER/);
});
