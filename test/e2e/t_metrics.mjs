// /metrics, /status.json and /live say what was done, whatever died meanwhile, and to nobody else.
import http from 'node:http';
import WebSocket from 'ws';
import { test, assert, until, within, SLOW } from './lib/scenario.mjs';
import { run } from './lib/proc.mjs';
import { recv } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';

// { 'wsgate_x{a="b"}': 1 }
async function metrics(gw) {
	const r = await gw.admin('/metrics');
	assert.equal(r.status, 200, r.text);
	return Object.fromEntries(r.text.split('\n').filter((l) => l && l[0] !== '#').map((l) => [l.slice(0, l.lastIndexOf(' ')), Number(l.slice(l.lastIndexOf(' ') + 1))]));
}
const status = async (gw) => JSON.parse((await gw.admin('/status.json')).text);

// Each client sends n messages and gets as many.
async function traffic({ bus, gw }, clients, service, n) {
	const before = (await metrics(gw)).wsgate_stored_messages_total;
	await Promise.all(clients.map(async (c, i) => {
		for (let k = 0; k < n; k++) {
			await bus.publish(recv(service, `u${i}`), 'y'.repeat(100 + i));
			await c.next();
			await c.send('x'.repeat(10 + i));
		}
	}));
	await bus.empty('ws.recv.>');
	await until('all stored', async () => (await metrics(gw)).wsgate_stored_messages_total === before + n * clients.length);
	await until('all removed', async () => (await metrics(gw)).wsgate_removed_messages_total === (await metrics(gw)).wsgate_sent_messages_total);
}

// Counters and what histograms are made of: name → value.
const counters = (m) => Object.entries(m).filter(([k]) => /_(total|bucket|count|sum)(\{|$)/.test(k) && !/process_cpu/.test(k));
function noneWentBack(before, after) {
	for (const [k, v] of counters(before)) assert.ok(after[k] >= v, `${k}: ${v}, then ${after[k]}`);
}

await test('figures are what was done, and promtool finds nothing to say', async (t) => {
	const rig = await t.pair({ workers: 2 }), { gw } = rig;
	const chat = await Promise.all(numbers(6).map((i) => t.client(gw, `chat/u${i}`)));
	await t.client(gw, 'other/x'); // a service may be called so
	await t.client(gw, 'a%22b%5C/x');
	await traffic(rig, chat, 'chat', 5);
	for (const path of ['/ws/', '/nothing', '/ws/chat/']) await fetch(`http://127.0.0.1:${gw.port}${path}`);
	assert.equal((await chat.pop().close(1000)).code, 1000);
	await until('one less', async () => (await metrics(gw))['wsgate_service_connections{service="chat"}'] === 5);
	const m = await metrics(gw), s = await status(gw), bytes = (n) => 5 * numbers(6).reduce((a, i) => a + n + Number(i), 0);
	const one = (k) => m[`wsgate_${k}`];
	assert.equal(one('connections_opened_total'), 8);
	assert.equal(one('received_messages_total'), 30);
	assert.equal(one('received_bytes_total'), bytes(10));
	assert.equal(one('sent_messages_total'), 30);
	assert.equal(one('sent_bytes_total'), bytes(100));
	assert.equal(one('confirmed_messages_total'), 30);
	assert.equal(one('stored_messages_total'), 30);
	assert.equal(one('removed_messages_total'), 30);
	assert.equal(one('service_sent_bytes_total{service="chat"}'), bytes(100));
	assert.equal(one('service_connections{service="other"}'), 1);
	assert.equal(one('service_connections{service="a\\"b\\\\"}'), 1);
	assert.equal(one('handshakes_refused_total{status="404"}'), 1);
	assert.equal(one('handshakes_refused_total{status="426"}'), 1);
	assert.equal(one('handshakes_refused_total{status="400"}'), 1);
	assert.equal(one('connections_closed_total{by="client",code="1000"}'), 1);
	assert.equal(one('connections{worker="0"}') + one('connections{worker="1"}'), 7);
	for (const h of ['delivery_latency', 'confirmation_latency', 'publish_latency']) assert.equal(one(`${h}_seconds_count`), 30, h);
	assert.equal(one('handshake_duration_seconds_count'), 8);
	assert.equal(one('delivery_latency_seconds_bucket{le="+Inf"}'), 30);
	assert.ok(one('delivery_latency_seconds_sum') > 0 && one('delivery_latency_seconds_sum') < 30 * SLOW);
	assert.ok(one('confirmation_latency_seconds_sum') > one('delivery_latency_seconds_sum'));
	assert.equal(one('broker_connected'), 1);
	assert.equal(one('ready'), 1);
	assert.ok(one('broker_round_trip_seconds') < 5);
	for (const p of ['bridge', 'worker 0', 'worker 1']) {
		assert.ok(one(`process_private_memory_bytes{process="${p}"}`) > 100000, p);
		assert.ok(one(`process_open_files{process="${p}"}`) > 5, p);
		assert.ok(one(`process_event_loop_lag_seconds{process="${p}"}`) < 20, p);
	}
	assert.ok(one('down_ring_peak_bytes{worker="0"}') > 0 || one('down_ring_peak_bytes{worker="1"}') > 0);
	assert.equal(s.total.messages_in, 30);
	assert.equal(s.total.bytes_out, bytes(100));
	assert.equal(s.latency.delivery.count, 30);
	assert.equal(s.ready, true);
	assert.deepEqual(s.services.map((x) => [x.service, x.connections]), [['a"b\\', 1], ['chat', 5], ['other', 1]]);
	assert.deepEqual(s.reload, { outcome: 'none', text: '', at_ms: 0, good: 0, failed: 0 });
	const lint = await run('promtool', ['check', 'metrics'], { input: (await gw.admin('/metrics')).text });
	assert.deepEqual([lint.code, lint.out, lint.err], [0, '', '']);
});

await test('what waited for a user who was away says nothing of the gateway', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1 });
	await bus.publish(recv('chat', 'late'), 'early');
	await until('a second later', () => new Date().getMilliseconds() > 900);
	await until('a second later', () => new Date().getMilliseconds() < 100);
	const c = await t.client(gw, 'chat/late');
	await c.next();
	await bus.empty('ws.recv.>');
	const m = await metrics(gw);
	assert.equal(m.wsgate_sent_messages_total, 1);
	assert.equal(m.wsgate_delivery_latency_seconds_count, 0);
	assert.equal(m.wsgate_confirmation_latency_seconds_count, 0);
	await bus.publish(recv('chat', 'late'), 'now');
	await c.next();
	await until('one counted', async () => (await metrics(gw)).wsgate_delivery_latency_seconds_count === 1);
});

for (const moves of [false, true]) await test(`a message that found no room in the ring waited all that time${moves ? ', another program or not' : ''}`, async (t) => {
	const { nats, gw, bus } = await t.pair({ workers: 1 });
	const c = await t.client(gw, 'chat/alice');
	await nats.pause();
	try {
		for (let i = 0; i < 2; i++) await c.send('x'.repeat(900000)); // more than its share
		await until('it waits', async () => (await metrics(gw)).wsgate_reading_pauses_total > 0);
		const since = performance.now();
		await until('it has waited for a second', () => performance.now() > since + 1100);
		if (moves) {
			gw.signal('SIGUSR2');
			await gw.replaced();
			await until('it is there', async () => (await metrics(gw))['wsgate_connections{worker="0"}'] === 1);
		}
	} finally {
		nats.resume();
	}
	await until('both stored', () => bus.count('ws.send.>').then((n) => n === 2));
	await until('both counted', async () => (await metrics(gw)).wsgate_publish_latency_seconds_count >= 2);
	assert.equal((await metrics(gw))['wsgate_publish_latency_seconds_bucket{le="1"}'], 0);
});

await test('no sum goes back: worker and bridge killed, then another program', async (t) => {
	const rig = await t.pair({ workers: 2 }), { gw } = rig;
	let clients = await Promise.all(numbers(6).map((i) => t.client(gw, `chat/u${i}`)));
	await traffic(rig, clients, 'chat', 3);
	const first = await metrics(gw);
	await gw.murder('bridge');
	await until('another bridge', async () => (await metrics(gw)).wsgate_bridge_starts_total === 2);
	await gw.murder('worker 1');
	await until('another worker', async () => (await metrics(gw))['wsgate_worker_starts_total{worker="1"}'] === 2);
	await gw.ready();
	await until('its connections are gone', async () => clients.filter((c) => !c.closed).length === (await status(gw)).total.connections);
	for (const c of clients) c.terminate();
	clients = await Promise.all(numbers(6).map((i) => t.client(gw, `chat/u${i}`)));
	await traffic(rig, clients, 'chat', 2);
	const second = await metrics(gw);
	noneWentBack(first, second);
	assert.equal(second.wsgate_sent_messages_total, 30);
	gw.signal('SIGUSR2');
	await gw.replaced();
	await gw.ready();
	await traffic(rig, clients, 'chat', 1);
	const third = await metrics(gw);
	noneWentBack(Object.fromEntries(Object.entries(second).filter(([k]) => !/worker_starts|reloads/.test(k))), third);
	assert.equal(third.wsgate_sent_messages_total, 36);
	assert.equal(third['wsgate_service_sent_messages_total{service="chat"}'], 36);
	assert.equal(third.wsgate_stored_messages_total, 36);
	assert.equal(third.wsgate_connections_opened_total, second.wsgate_connections_opened_total);
	assert.ok(third.wsgate_confirmation_latency_seconds_count >= 30);
	assert.equal((await status(gw)).total.messages_in, 36);
});

await test('bridge and a worker stand still: all is answered, and said', async (t) => {
	const { gw } = await t.pair({ workers: 2, hang_timeout: '60s' });
	const pids = [gw.pid('bridge'), gw.pid('worker 0')];
	for (const p of pids) process.kill(p, 'SIGSTOP');
	try {
		await until('both seen to hang', async () => {
			const m = await metrics(gw);
			return m.wsgate_bridge_up === 0 && m['wsgate_worker_up{worker="0"}'] === 0 && m['wsgate_worker_up{worker="1"}'] === 1;
		}, 15000);
		await until('not ready', async () => (await gw.status('/readyz')) === 503, 15000);
		assert.match((await gw.admin('/readyz')).text, /^not ready: the bridge does not answer\n$/);
		for (const page of ['/livez', '/metrics', '/status.json', '/']) {
			const start = performance.now();
			assert.equal(await gw.status(page), 200, page);
			assert.ok(performance.now() - start < 2000 * SLOW, page);
		}
		const s = await status(gw);
		assert.deepEqual([s.bridge.state, s.ready, s.not_ready], ['hangs', false, 'not ready: the bridge does not answer']);
	} finally {
		for (const p of pids) process.kill(p, 'SIGCONT');
	}
	await gw.ready();
});

// A request as a browser that was lied to sends it.
const ask = (gw, host, path = '/readyz', method = 'GET') => new Promise((done, fail) => {
	const r = http.request({ host: '127.0.0.1', port: gw.adminPort, path, method, headers: { host }, agent: false }, (res) => {
		let text = '';
		res.setEncoding('utf8').on('data', (d) => (text += d)).on('end', () => done({ status: res.statusCode, text, headers: res.headers }));
	});
	r.on('error', fail);
	r.end();
});

await test('names that are not known, methods, and HEAD', async (t) => {
	const { gw } = await t.pair({ admin: { hosts: ['gate.example.org'] } });
	for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', 'gate.example.org.evil.example:8001']) {
		for (const page of ['/', '/readyz', '/metrics', '/status.json', '/live', '/nothing']) assert.equal((await ask(gw, host, page)).status, 421, `${host}${page}`);
	}
	for (const host of ['127.0.0.1', `127.0.0.1:${gw.adminPort}`, 'localhost:1', 'LOCALHOST', '[::1]:8001', '192.0.2.7', 'gate.example.org', 'Gate.Example.org:8001']) assert.equal((await ask(gw, host)).status, 200, host);
	const post = await ask(gw, 'localhost', '/readyz', 'POST');
	assert.deepEqual([post.status, post.headers.allow], [405, 'GET, HEAD']);
	const head = await ask(gw, 'localhost', '/metrics', 'HEAD');
	assert.deepEqual([head.status, head.text], [200, '']);
	assert.ok(Number(head.headers['content-length']) > 1000);
	const page = await ask(gw, 'localhost', '/');
	assert.match(page.headers['content-security-policy'], /^default-src 'none'; script-src 'sha256-[\w+/]{43}='; style-src 'sha256-[\w+/]{43}='; .*connect-src 'self'; /);
	assert.doesNotMatch(page.headers['content-security-policy'], /unsafe/);
	assert.equal(page.headers['x-content-type-options'], 'nosniff');
});

function feed(gw, opts = {}) {
	const ws = new WebSocket(`ws://127.0.0.1:${gw.adminPort}/live`, opts), got = [];
	ws.on('message', (d) => got.push(JSON.parse(d.toString())));
	const opened = new Promise((done, fail) => {
		ws.once('open', done);
		ws.once('error', fail);
		ws.once('unexpected-response', (_, res) => fail(new Error(`status ${res.statusCode}`)));
	});
	return { ws, got, opened };
}

await test('/live: each second what is new, with the history first; not for pages of others', async (t) => {
	const { gw } = await t.pair({ workers: 1, ping_interval: '1s', pong_timeout: '2s', limits: { idle_timeout: '1s' } });
	await until('a first sample', async () => (await status(gw)).history.at_ms.length);
	const f = feed(gw, { origin: `http://127.0.0.1:${gw.adminPort}` });
	t.clients.push(() => f.ws.terminate());
	await within('the feed', f.opened);
	const c = await t.client(gw, 'chat/alice');
	await until('it is seen', () => f.got.at(-1)?.total.connections === 1);
	f.ws.send('what is there to say?'); // nobody listens, and nobody minds
	await until('a new sample', () => f.got.slice(1).some((x) => x.history.at_ms.length === 1), 15000);
	await until('more than the times of an idle client', () => f.got.length > 6, 15000);
	assert.equal(f.ws.readyState, WebSocket.OPEN);
	assert.ok(f.got[0].history.at_ms.length >= 1);
	const at = f.got.flatMap((x) => x.history.at_ms);
	assert.deepEqual(at, [...new Set(at)], 'each sample once');
	const s = await status(gw), last = f.got.at(-1);
	assert.deepEqual(Object.keys(last).sort(), Object.keys(s).sort());
	for (const [k, v] of Object.entries(s.history)) if (Array.isArray(v)) assert.equal(v.length, s.history.at_ms.length, k);
	assert.equal((await c.ended()).code, 1001, 'a client is closed that was idle for so long');
	await until('who looks is no client', async () => (await status(gw)).total.connections === 0);
	assert.equal((await metrics(gw))['wsgate_connections_opened_total'], 1);
	assert.equal(f.ws.readyState, WebSocket.OPEN);
	for (const opts of [{ origin: 'http://evil.example' }, { origin: 'null' }]) await assert.rejects(feed(gw, opts).opened, /status 403/);
	await assert.rejects(feed(gw, { headers: { host: 'evil.example' } }).opened, /status 421/);
	await feed(gw).opened; // a program sends no Origin
	assert.equal(await gw.status('/live'), 426);
});

await test('warnings of all processes, and how the last reload went', async (t) => {
	const { gw } = await t.pair({ workers: 1 });
	await gw.murder('bridge');
	await until('it is said', async () => (await status(gw)).warnings.some((w) => w.process === 'master' && /killed by a signal/.test(w.text)));
	assert.equal((await gw.ctl('reload')).code, 0);
	assert.equal((await status(gw)).reload.outcome, 'good'); // each worker's word, since the answer
	gw.config.max_header = '1';
	gw.writeConfig();
	gw.signal('SIGHUP');
	await until('a bad one', async () => (await metrics(gw))['wsgate_reloads_total{outcome="failed"}'] === 1);
	const s = await status(gw), m = await metrics(gw);
	assert.deepEqual([s.reload.outcome, s.reload.good, s.reload.failed], ['failed', 1, 1]);
	assert.match(s.reload.text, /max_header/);
	assert.equal(m.wsgate_last_reload_successful, 0);
	assert.ok(Math.abs(m.wsgate_last_reload_timestamp_seconds - Date.now() / 1000) < 60);
	const [w] = s.warnings;
	assert.deepEqual([w.process, w.level], ['master', 'error']);
	assert.match(w.text, /^the new configuration was refused.*max_header/);
	// A worker that is born now knows all of it.
	await gw.murder('worker 0');
	await gw.ready();
	assert.equal((await status(gw)).reload.failed, 1);
	assert.ok((await status(gw)).warnings.length >= 3);
});
