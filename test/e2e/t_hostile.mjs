// Clients and moments that once went wrong: hangs, loops, order, "all was well" when it was not.
import { test, assert, until, stays } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { recv, send } from './lib/nats.mjs';
import { TEXT, CLOSE, PING, PONG, frame, closeFrame } from './lib/raw.mjs';

const figure = async (gw, what) => Number(new RegExp(`(\\d+) ${what}`).exec((await gw.ctl('status')).out)[1]);

await test('a tab that answers no Ping costs no reading while its window is shut', async (t) => {
	const { bus, gw } = await t.pair({ pong_timeout: '60s' });
	const a = await t.client(gw, 'chat/alice');
	const b = await t.raw(gw);
	await b.open('/ws/chat/alice/');
	for (let i = 0; i < 12; i++) await bus.publish(recv('chat', 'alice'), Buffer.alloc(100000, 'z'));
	await a.take(12);
	await b.next(PING);
	const before = await figure(gw, 'gets');
	const start = performance.now();
	await until('two idle seconds', () => performance.now() - start > 2000);
	assert.ok((await figure(gw, 'gets')) - before < 50, 'it reads again and again');
	for (let n = 0; n < 12 && b.frames.filter((f) => f.opcode < 3).length < 12; n++) {
		const ping = b.frames.filter((f) => f.opcode === PING).at(-1);
		await b.send(PONG, ping.data);
		await until('more', () => b.frames.filter((f) => f.opcode === PING).at(-1) !== ping || b.frames.filter((f) => f.opcode < 3).length === 12);
	}
	assert.equal(b.frames.filter((f) => f.opcode < 3).length, 12);
});

async function limited(t) {
	const { bus, gw } = await t.pair({ workers: 1, broker: { full_timeout: '500ms' } });
	const jsm = await bus.jsm();
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	await r.send(TEXT, 'first');
	await bus.storedAll(send('chat', 'alice'), 1);
	const info = await jsm.streams.info('websockets');
	await jsm.streams.update('websockets', { ...info.config, max_msgs_per_subject: 1, discard_new_per_subject: true });
	return { bus, gw, r };
}

await test('refused while a Pong is awaited, then the client closes: not 1000', async (t) => {
	const { bus, gw, r } = await limited(t);
	await bus.publish(recv('chat', 'alice'), 'down');
	await r.next(PING);
	await r.send(TEXT, 'lost');
	await until('the refusal', () => gw.log().includes("a client's message was refused"));
	await r.write(closeFrame(1000));
	assert.equal((await r.next(CLOSE)).code, 1013);
});

await test('refused, and the Close is read before the notice of it: not 1000', async (t) => {
	const { gw, r } = await limited(t);
	const pid = gw.pid('worker 0');
	await r.send(TEXT, 'lost');
	await until('the first try', () => gw.log().includes("a client's message waits for the broker"));
	const go = await hold(pid);
	await until('the refusal', () => gw.log().includes("a client's message was refused"));
	await r.write(closeFrame(1000));
	go();
	assert.equal((await r.next(CLOSE)).code, 1013);
});

async function say(t, gw, user, text) {
	const inMessages = async () => (await gw.figures()).total.messages_in;
	const before = await inMessages();
	const r = await t.raw(gw);
	await r.open(`/ws/chat/${user}/`);
	await r.send(TEXT, text);
	await until('it is taken', async () => (await inMessages()) > before);
	r.destroy();
}

async function ordered(bus, n) {
	for (let i = 0; i < n; i++)
		assert.deepEqual((await bus.storedAll(send('chat', `u${i}`), 2, 30000)).map((m) => m.text), ['m1', 'm2'], `u${i}`);
}

await test('order holds over a killed bridge for users who changed workers', async (t) => {
	const { nats, gw, bus } = await t.pair({ broker: { grace: '1h' } });
	await nats.stop();
	for (let i = 0; i < 12; i++) {
		await say(t, gw, `u${i}`, 'm1');
		await say(t, gw, `u${i}`, 'm2');
	}
	await gw.murder('bridge');
	await until('a new bridge', () => gw.pid('bridge'));
	await nats.start();
	await ordered(bus, 12);
});

await test('order holds when everything dies after a worker had died', async (t) => {
	const { nats, gw, bus } = await t.pair({ workers: 1, broker: { grace: '1h' } });
	await nats.stop();
	for (let i = 0; i < 5; i++) await say(t, gw, `u${i}`, 'm1');
	await gw.murder('worker 0');
	await until('a successor', async () => gw.pid('worker 0') && (await t.raw(gw).then((r) => r.open('/ws/chat/x/'), () => false)));
	for (let i = 0; i < 5; i++) await say(t, gw, `u${i}`, 'm2').catch((e) => { throw e; });
	await gw.massacre();
	await nats.start();
	await gw.start();
	await ordered(bus, 5);
});

await test('a client that floods Pings and reads nothing is closed', async (t) => {
	const { gw } = await t.pair({ pong_timeout: '1s', ping_interval: '1s' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	r.socket.pause();
	const many = Buffer.concat(Array.from({ length: 500 }, () => frame(PING, Buffer.alloc(125, 'x'))));
	for (let i = 0; i < 200 && r.socket.writableLength < 8e6; i++) r.write(many);
	await until('its end', async () => (await gw.ctl('sessions')).out.trim() === '', 15000);
});

await test('a client that answers no Ping and never stops to send is closed', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, pong_timeout: '200ms' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	const many = Buffer.alloc(6 << 20, frame(PONG));
	const more = async () => {
		while (!r.finished && !r.frames.some((f) => f.opcode === CLOSE)) await Promise.race([r.write(many), r.ended(60000)]);
	};
	const flood = more();
	await bus.publish(recv('chat', 'alice'), 'hello');
	assert.equal((await r.next(CLOSE, 15000)).code, 3008);
	await flood;
});

await test('one user whose subject is full does not hold up a worker', async (t) => {
	const { bus, gw } = await t.pair({ workers: 1, broker: { full_timeout: '60s' }, stream: { max_messages_per_user: 100 } });
	const s = await t.raw(gw);
	await s.open('/ws/chat/stuck/');
	for (let i = 0; i < 100; i++) await s.send(TEXT, 'fill');
	await bus.storedAll(send('chat', 'stuck'), 100);
	await s.send(TEXT, 'the 101st');
	await until('it waits', () => gw.log().includes("a client's message waits for the broker"));
	const users = await Promise.all(Array.from({ length: 8 }, (_, i) => t.client(gw, `chat/u${i}`)));
	for (let k = 0; k < 50; k++) for (const c of users) c.send(Buffer.alloc(20000, 'y'));
	for (const c of users) assert.deepEqual(await c.close(1000, 20000), { code: 1000, reason: '' });
	assert.equal(await bus.count('ws.send.chat.*'), 100 + 8 * 50);
});

await test('tiny messages without end of one client: so many of them are taken at a time, and others are served', async (t) => {
	const { nats, gw, bus } = await t.pair({ workers: 1 });
	const flood = await t.client(gw, 'chat/flood'), other = await t.client(gw, 'chat/other');
	await nats.stop();
	await until('the broker to be away', async () => (await gw.figures()).broker.state !== 'connected');
	for (let i = 0; i < 5000; i++) flood.ws.send(String(i));
	await until('its share to be used up', async () => (await gw.figures()).workers[0].paused > 0);
	const { messages_in: taken, up_ring_bytes: bytes } = (await gw.figures()).workers[0];
	assert.ok(taken <= 257, `${taken} were taken`);
	assert.ok(bytes < 256 * 200, `${bytes} bytes are in the ring`);
	await other.send('hello');
	await nats.start();
	await bus.storedAll(send('chat', 'other'), 1);
	assert.deepEqual((await bus.storedAll(send('chat', 'flood'), 5000)).map((m) => m.text), [...Array(5000).keys()].map(String));
}, { ms: 60000 });

await test('a slow link gets all, and the answer to its Close', async (t) => {
	const { bus, gw } = await t.pair({ workers: 1, pong_timeout: '60s', delivery: { window: '16m' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	r.socket.pause();
	for (let i = 0; i < 12; i++) await bus.publish(recv('chat', 'alice'), Buffer.alloc(900000, 'z'));
	await until('all given', async () => (await gw.sessions()).some((s) => s.messages_out === 12));
	await r.write(closeFrame(1000));
	r.socket.on('data', () => r.socket.pause());
	const tick = setInterval(() => r.socket.resume(), 20);
	await until('the end', () => r.finished, 30000);
	clearInterval(tick);
	assert.equal(r.frames.filter((f) => f.opcode < 3).length, 12);
	assert.equal(r.frames.at(-1).opcode, CLOSE);
});

await test('what the clients of a dead worker had confirmed is removed', async (t) => {
	const { bus, gw } = await t.pair({ workers: 1, pong_timeout: '60s', hang_timeout: '0s' });
	const N = 400, rs = [];
	for (let i = 0; i < N; i++) {
		rs.push(await t.raw(gw));
		await rs[i].open(`/ws/chat/u${i}/`);
	}
	await Promise.all(rs.map((_, i) => bus.publish(recv('chat', `u${i}`), 'hello')));
	await until('all have it', () => rs.every((r) => r.frames.some((f) => f.opcode === PING)));
	const go = await hold(gw.pid('bridge'));
	for (const r of rs) r.send(PONG, r.frames.find((f) => f.opcode === PING).data);
	const confirmed = async () => (await gw.sessions()).filter((s) => s.messages_out > s.unconfirmed).length;
	await until('all Pongs', async () => (await confirmed()) === N);
	await gw.murder('worker 0');
	go();
	await bus.empty('ws.recv.>');
});

await test('many tabs of one user cost each message once, not once for each pair', async (t) => {
	const { bus, gw } = await t.pair();
	const tabs = await Promise.all(Array.from({ length: 300 }, () => t.client(gw, 'chat/alice')));
	await bus.publishAll(30, (i) => [recv('chat', 'alice'), String(i)], 10);
	for (const c of tabs) assert.equal((await c.take(30)).at(-1).text, '29');
	await bus.empty(recv('chat', 'alice'));
	await stays('no doubles', () => tabs.every((c) => c.got.length === 30));
});
