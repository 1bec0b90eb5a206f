// Limits per address, per user and per connection: over all workers, applied by reload, given back by whoever dies.
import { test, assert, until, stays } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { TEXT, CLOSE, frame, request, upgrade } from './lib/raw.mjs';

async function reload(gw, limits) {
	gw.config.limits = { ...gw.config.limits, ...limits };
	gw.writeConfig();
	const r = await gw.ctl('reload');
	assert.equal(r.code, 0, r.err);
}

const many = (t, gw, n, opts) => Promise.all(numbers(n).map((i) => t.client(gw, `chat/u${i}`, opts)));
const refused = async (gw, status, opts) => {
	const no = await Client.refused(gw.wsUrl('chat/one-more'), opts);
	assert.equal(no.status, status, no.body);
	assert.match(no.headers['retry-after'] ?? '', /^\d+$/);
	return no;
};
// Every worker has some of them.
const spread = (gw, n) => until('some on each worker', async () => ((await gw.ctl('status')).out.match(/^worker \d .* [1-9]\d* connections/gm) ?? []).length === n);
const room = (t, gw, opts) => until('room for one', () => t.client(gw, 'chat/next', opts).catch(() => null));

await test('connections of one address, counted over all workers: 429', async (t) => {
	const { gw } = await t.pair({ workers: 3, limits: { connections_per_address: 30 } });
	const all = await many(t, gw, 30);
	await spread(gw, 3);
	for (let i = 0; i < 6; i++) assert.match((await refused(gw, 429)).body, /address/);
	const other = await many(t, gw, 5, { localAddress: '127.0.0.2' });
	await all[0].close();
	await room(t, gw);
	await refused(gw, 429);
	await reload(gw, { connections_per_address: 31 });
	await room(t, gw);
	await refused(gw, 429);
	await reload(gw, { connections_per_address: 0 });
	await many(t, gw, 10);
	for (const c of [...all.slice(1), ...other]) assert.ok(c.open);
});

await test('sockets that never send a request count for their address', async (t) => {
	const { gw } = await t.pair({ workers: 2, limits: { connections_per_address: 8 } });
	const silent = await Promise.all(numbers(9).map(() => t.raw(gw)));
	const no = await until('one of them too many', () => silent.find((r) => r.finished));
	assert.equal((await no.response()).status, 429);
	assert.equal((await request(t, gw, upgrade('/ws/chat/alice/'))).status, 429);
	silent.find((r) => r !== no).destroy();
	await room(t, gw);
});

await test('beyond the limit of an address a socket does not last, whatever it goes on sending', async (t) => {
	const { gw } = await t.pair({ workers: 1, limits: { connections_per_address: 1 } });
	await t.client(gw, 'chat/alice');
	const r = await t.raw(gw);
	assert.equal((await r.response()).status, 429);
	const more = setInterval(() => r.socket.writable && r.socket.write('x'), 500);
	r.socket.on('error', () => {});
	try {
		await until('its end', () => r.socket.destroyed || r.socket.errored);
	} finally {
		clearInterval(more);
	}
});

await test('what a killed worker had does not count for its addresses', async (t) => {
	const { gw } = await t.pair({ workers: 3, max_workers: 3, limits: { connections_per_address: 30 } });
	await many(t, gw, 30);
	await spread(gw, 3);
	await gw.murder('worker 1');
	await until('a successor', () => gw.pid('worker 1'));
	const again = [];
	await until('thirty once more', async () => {
		const c = await t.client(gw, `chat/n${again.length}`).catch(() => null);
		if (c) again.push(c);
		const shown = [...(await gw.ctl('status')).out.matchAll(/^worker \d .* (\d+) connections/gm)];
		return shown.reduce((n, m) => n + Number(m[1]), 0) === 30;
	});
	await refused(gw, 429);
});

await test('connections that move to other workers are counted where they are', async (t) => {
	const { gw } = await t.pair({ workers: 3, limits: { connections_per_address: 60 } });
	const all = await many(t, gw, 60);
	await spread(gw, 3);
	gw.restarts = true;
	gw.config.workers = 1;
	await reload(gw, {});
	await until('one worker', () => gw.children().filter((c) => /worker \d/.test(c.title)).length === 1);
	await refused(gw, 429);
	await Promise.all(all.map((c) => c.close()));
	await until('all are gone', async () => (await gw.ctl('sessions')).out.trim() === '');
	await until('room for sixty', () => many(t, gw, 60).catch(() => null), 5000);
	await refused(gw, 429);
});

await test('one connection more of a user: rejected with 429', async (t) => {
	const { gw, bus } = await t.pair({ workers: 2, limits: { connections_per_user: 3 } });
	const tabs = [];
	for (let i = 0; i < 3; i++) tabs.push(await t.client(gw, 'chat/alice'));
	for (let i = 0; i < 4; i++) assert.match((await Client.refused(gw.wsUrl('chat/alice'))).body, /user/);
	assert.equal((await Client.refused(gw.wsUrl('chat/alice'))).status, 429);
	await t.client(gw, 'chat/bob');
	await t.client(gw, 'mail/alice');
	await bus.publish(recv('chat', 'alice'), 'to three');
	for (const c of tabs) assert.equal((await c.next()).text, 'to three');
	await bus.empty('ws.recv.>');
	await gw.murder('bridge');
	await until('another bridge', () => gw.pid('bridge'));
	await until('it knows them', async () => (await Client.refused(gw.wsUrl('chat/alice'))).status === 429);
	await tabs[1].close();
	await until('room for one', () => t.client(gw, 'chat/alice').catch(() => null));
	assert.equal((await Client.refused(gw.wsUrl('chat/alice'))).status, 429);
	await reload(gw, { connections_per_user: 0 });
	await t.client(gw, 'chat/alice');
});

await test('one who got no answer in time does not count, however long he stays', async (t) => {
	const { gw } = await t.pair({ workers: 1, handshake_timeout: '1s', limits: { connections_per_user: 1 } });
	const r = await t.raw(gw);
	const go = await hold(gw.pid('bridge'));
	await r.write(upgrade('/ws/chat/alice/'));
	assert.equal((await r.response()).status, 503);
	go();
	const going = setInterval(() => r.write('x'), 200); // else it ends soon
	t.atEnd(() => clearInterval(going));
	await (await Client.connect(gw.wsUrl('chat/alice'))).close();
	assert.equal(r.finished, 'end', 'our side only');
});

await test('one connection more of a user: the oldest is superseded with 4001', async (t) => {
	const { gw, bus } = await t.pair({ workers: 3, limits: { connections_per_user: 2, user_policy: 'supersede' } });
	const tabs = [];
	for (let i = 0; i < 8; i++) tabs.push(await t.client(gw, 'chat/alice'));
	for (const c of tabs.slice(0, 6)) assert.equal((await c.ended()).code, 4001);
	await bus.publish(recv('chat', 'alice'), 'to two');
	for (const c of tabs.slice(6)) assert.equal((await c.next()).text, 'to two');
	await bus.empty('ws.recv.>');
	assert.ok(tabs.slice(6).every((c) => c.open));
});

await test('a user whose connections are moved has no more of them', async (t) => {
	const { gw } = await t.pair({ workers: 3, limits: { connections_per_user: 6, user_policy: 'supersede' } });
	const tabs = [];
	for (let i = 0; i < 6; i++) tabs.push(await t.client(gw, 'chat/alice'));
	gw.restarts = true;
	gw.config.workers = 1;
	await reload(gw, {});
	await until('one worker', () => gw.children().filter((c) => /worker \d/.test(c.title)).length === 1);
	await stays('all six', () => tabs.every((c) => c.open), 500);
	await t.client(gw, 'chat/alice');
	await until('one is superseded', () => tabs.some((c) => c.closed));
	await stays('no other', () => tabs.filter((c) => c.closed).length === 1, 500);
});

await test('handshakes a second: 503, and soon there is room again', async (t) => {
	const { gw } = await t.pair({ workers: 1, limits: { handshakes_per_second: 5 } });
	const answers = await Promise.all(numbers(40).map(() => request(t, gw, upgrade('/ws/chat/alice/'))));
	const fine = answers.filter((a) => a.status === 101).length, no = answers.filter((a) => a.status === 503);
	assert.ok(fine >= 5 && fine < 30, `${fine} of 40`);
	assert.equal(fine + no.length, 40);
	assert.match(no[0].body, /handshakes/);
	assert.match(no[0].headers['retry-after'], /^\d+$/);
	await until('room again', () => Client.connect(gw.wsUrl('chat/bob')).then((c) => !c.terminate(), () => false));
});

async function paced(t, limits, messages) {
	const { gw, bus } = await t.pair({ workers: 1, ping_interval: '500ms', pong_timeout: '5s', limits: { burst: '500ms', ...limits } });
	const c = await t.client(gw, 'chat/fast'), calm = await t.client(gw, 'chat/calm');
	const start = performance.now();
	for (const m of messages) c.send(m);
	await calm.send('at once');
	await bus.storedAll(send('chat', 'calm'), 1);
	assert.ok((await bus.count(send('chat', 'fast'))) < messages.length, 'the fast one waits');
	await bus.publish(recv('chat', 'fast'), 'a delivery meanwhile');
	assert.equal((await c.next()).text, 'a delivery meanwhile');
	const stored = await bus.storedAll(send('chat', 'fast'), messages.length);
	assert.deepEqual(stored.map((m) => m.text), messages);
	assert.ok(performance.now() - start > 4000, 'slowed down');
	assert.match(gw.log(), /a client is over its rate/);
	await bus.empty('ws.recv.>');
	assert.deepEqual(await c.close(), { code: 1000, reason: '' });
}

await test('messages a second: read more slowly, not closed, and in order', (t) => paced(t, { messages_per_second: 20 }, numbers(120)));

await test('bytes a second: read more slowly, not closed, and in order', (t) => paced(t, { bytes_per_second: '200k' }, numbers(120).map((i) => i.padEnd(10000, '.'))));

await test('a limit on the rate that is taken away frees who waits', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, limits: { messages_per_second: 2, burst: '100ms' } });
	const c = await t.client(gw, 'chat/fast');
	for (const m of numbers(300)) c.send(m);
	await until('it waits', () => gw.log().includes('a client is over its rate'));
	await reload(gw, { messages_per_second: 0 });
	await bus.storedAll(send('chat', 'fast'), 300);
});

await test('a client that would wait for minutes goes on with a new rate', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, limits: { bytes_per_second: '1k', burst: '100ms' } });
	const c = await t.client(gw, 'chat/fast');
	await c.send(Buffer.alloc(300000));
	await c.send('behind it');
	await until('it waits', () => / ms=\d{5,} /.test(gw.log()));
	await reload(gw, { bytes_per_second: '1m' });
	assert.equal((await bus.storedAll(send('chat', 'fast'), 2))[1].text, 'behind it');
});

await test('closed while it waits for its rate: what it had sent is stored, and its Close answered', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '2s', limits: { bytes_per_second: '1k', burst: '100ms' } });
	const c = await t.client(gw, 'chat/fast');
	for (const i of numbers(30)) c.send(`${i} `.padEnd(9000, '.')).catch(() => {});
	await until('it waits', () => / ms=\d{5,} /.test(gw.log()));
	await bus.publish(recv('chat', 'fast'), 'to be confirmed');
	assert.equal((await c.next()).text, 'to be confirmed');
	assert.equal((await gw.ctl('close', 'chat', 'fast')).code, 0);
	assert.equal((await c.ended()).code, 4002);
	assert.deepEqual((await bus.storedAll(send('chat', 'fast'), 30)).map((m) => m.text.split(' ')[0]), numbers(30).map(String));
	await bus.empty(recv('chat', 'fast'));
});

await test('closed, and it only goes on sending over its rate: not for long', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '5s', limits: { messages_per_second: 10, burst: '100ms' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/fast/');
	const some = Buffer.alloc(1004 * 1000, frame(TEXT, 'x'.repeat(996)));
	const flood = async () => {
		while (!r.finished) await Promise.race([r.write(some), r.ended(60000)]);
	};
	const flooding = flood();
	await until('it waits', () => gw.log().includes('a client is over its rate'));
	assert.equal((await gw.ctl('close', 'chat', 'fast')).code, 0);
	assert.equal((await r.next(CLOSE)).code, 4002);
	await until('its end', async () => (await gw.sessions()).length === 0, 15000);
	await flooding;
	const stored = await bus.count(send('chat', 'fast'));
	assert.ok(stored > 4000 && stored < 14000, String(stored));
});

await test('a message in too many frames: 1008; as many as allowed are fine', async (t) => {
	const { gw, bus } = await t.pair({ limits: { fragments: 5 } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	const pieces = (n) => Buffer.concat(numbers(n).map((_, i) => frame(i ? 0 : TEXT, 'x', { fin: i === n - 1 })));
	await r.write(Buffer.concat([pieces(5), pieces(1), pieces(5)]));
	assert.deepEqual((await bus.storedAll(send('chat', 'alice'), 3)).map((m) => m.text), ['xxxxx', 'x', 'xxxxx']);
	await r.write(pieces(6));
	assert.equal((await r.next(CLOSE)).code, 1008);
	assert.equal(await bus.count(send('chat', 'alice')), 3);
});

await test('a connection without messages: 1001; one with some, either way, stays', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, ping_interval: '500ms', limits: { idle_timeout: '2s' } });
	const idle = await t.client(gw, 'chat/idle'), up = await t.client(gw, 'chat/up'), down = await t.client(gw, 'chat/down');
	const tick = setInterval(() => {
		up.send('.').catch(() => {});
		bus.publish(recv('chat', 'down'), '.').catch(() => {});
	}, 300);
	const end = await idle.ended();
	clearInterval(tick);
	assert.deepEqual(end, { code: 1001, reason: 'idle for too long' });
	assert.ok(up.open && down.open);
	assert.equal((await up.ended()).code, 1001);
	assert.equal((await down.ended()).code, 1001);
});

await test('old connections: 1012, not all at once; a reload applies it', async (t) => {
	const { gw } = await t.pair({ workers: 2, limits: {} });
	const all = await many(t, gw, 20);
	const times = [];
	for (const c of all) c.end.then(() => times.push(performance.now()));
	await reload(gw, { connection_age: '5s' });
	for (const c of all) assert.equal((await c.ended()).code, 1012);
	assert.ok(times.at(-1) - times[0] > 50, `within ${times.at(-1) - times[0]} ms`);
	assert.match(gw.log(), /connection opened/);
});
