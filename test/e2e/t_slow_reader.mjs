// Clients that read little or nothing: bounded, not taken for dead while they make progress, and nobody else waits.
import fs from 'node:fs';
import { test, assert, until, sleep, stays } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';
import { tlsPair, rawTls } from './lib/pki.mjs';
import { TEXT, BINARY, CLOSE, PING, PONG, closeFrame, frame } from './lib/raw.mjs';

// One chunk each 200 ms, until it is stopped; afterwards as quick as it can.
function slowLink(r) {
	r.socket.on('data', () => r.socket.pause());
	const trickle = setInterval(() => r.socket.resume(), 200);
	return {
		stop: () => clearInterval(trickle),
		widen: () => {
			r.socket.removeAllListeners('data');
			r.socket.on('data', (d) => r.take(d));
			r.socket.resume();
		},
	};
}

await test('a tab that reads nothing falls behind, the other gets all, then it catches up', async (t) => {
	const N = 3000, pad = 'y'.repeat(1000);
	const { bus, gw } = await t.pair({ pong_timeout: '60s', delivery: { window: '64k', user_buffer: '64k' } });
	const slow = await t.client(gw, 'chat/alice');
	const quick = await t.client(gw, 'chat/alice');
	slow.ws.pause();
	await bus.publishAll(N, (i) => [recv('chat', 'alice'), `${i} ${pad}`], 300);
	assert.deepEqual((await quick.take(N)).map((m) => m.text.split(' ')[0]), numbers(N));
	assert.ok((await bus.count(recv('chat', 'alice'))) > N / 2, 'what the slow one lacks is kept');
	const { out } = await gw.ctl('status');
	const buffered = Number(/(\d+) bytes buffered/.exec(out)[1]);
	assert.ok(buffered <= 128 * 1024, `${buffered} bytes buffered`);
	slow.ws.resume();
	assert.deepEqual((await slow.take(N, 60000)).map((m) => m.text.split(' ')[0]), numbers(N));
	await bus.empty(recv('chat', 'alice'), 60000);
	assert.equal(quick.got.length, N, 'no doubles for the quick one');
}, { ms: 150000 });

await test('a slow link is not a dead one: the time for a Pong begins anew while bytes go out', async (t) => {
	const { bus, gw } = await t.pair({ pong_timeout: '3s', ping_interval: '1s', delivery: { window: '8m' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	r.socket.pause();
	const big = Buffer.alloc(900000, 'z');
	for (let i = 0; i < 8; i++) await bus.publish(recv('chat', 'alice'), big);
	const start = performance.now();
	// A little every 200 ms: far slower than pong_timeout for the whole, never still for so long.
	const link = slowLink(r);
	await until('eight seconds of a slow link', () => r.finished || performance.now() - start > 8000);
	link.stop();
	assert.equal(r.finished, false, 'closed although it made progress');
	assert.ok(r.frames.length < 8, 'the link was not slow');
	link.widen();
	await until('all of it', () => r.frames.filter((f) => f.opcode === BINARY || f.opcode === TEXT).length === 8);
	await r.send(PONG, (await r.next(PING)).data);
	await r.send(PONG, (await r.next(PING)).data);
	await bus.empty(recv('chat', 'alice'));
});

await test('the time for a Pong begins when the last of it was taken, not when it was written', async (t) => {
	const { bus, gw } = await t.pair({ pong_timeout: '4s', ping_interval: '1s', delivery: { window: '8m' } });
	for (let i = 0; i < 8; i++) await bus.publish(recv('chat', 'alice'), Buffer.alloc(900000, 'z'));
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	r.socket.pause();
	const written = performance.now();
	await until('most of the time to be over', () => performance.now() - written > 3000);
	r.socket.resume();
	const ping = await r.next(PING);
	await until('more than all of it', () => performance.now() - written > 5000);
	assert.equal(r.finished, false);
	await r.send(PONG, ping.data);
	while (r.data().length < 8) await r.send(PONG, (await r.next(PING)).data);
	await r.send(PONG, (await r.next(PING)).data);
	await bus.empty(recv('chat', 'alice'));
	assert.equal(r.frames.some((f) => f.opcode === CLOSE), false);
});

await test('a client that closes, and then takes nothing for a while, gets all that was on its way, and the Close', async (t) => {
	const { bus, gw } = await t.pair({ delivery: { window: '8m' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	r.socket.pause();
	for (let i = 0; i < 8; i++) await bus.publish(recv('chat', 'alice'), Buffer.alloc(900000, 'z'));
	await until('them to be given', async () => (await gw.figures()).total.messages_out === 8);
	await r.write(closeFrame(1000));
	const from = performance.now();
	await stays('not ended', () => !r.finished && (performance.now() - from < 4800 || gw.ctl('sessions').then(({ out }) => out.trim() !== '')), 5000);
	r.socket.resume();
	assert.equal((await r.next(CLOSE)).code, 1000);
	assert.equal(r.data().length, 8);
}, { ms: 60000 });

await test('a client that takes nothing at all is closed for its missing Pong', async (t) => {
	const { bus, gw } = await t.pair({ pong_timeout: '1s', ping_interval: '1s', delivery: { window: '8m' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	r.socket.pause();
	const big = Buffer.alloc(900000, 'z');
	for (let i = 0; i < 8; i++) await bus.publish(recv('chat', 'alice'), big);
	await until('the timeout', () => gw.ctl('sessions').then(({ out }) => out.trim() === ''));
	assert.equal(await bus.count(recv('chat', 'alice')), 8, 'nothing is lost for it');
});

await test('so does more that comes behind the Ping: what the client takes meanwhile counts', async (t) => {
	const { bus, gw } = await t.pair({ pong_timeout: '2s', ping_interval: '1s', delivery: { window: '32m' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	const big = Buffer.alloc(900000, 'z');
	r.socket.pause();
	for (let i = 0; i < 8; i++) await bus.publish(recv('chat', 'alice'), big);
	const link = slowLink(r);
	// More than it takes.
	const start = performance.now();
	let more = 0;
	while (performance.now() - start < 7000 && !r.finished) {
		await bus.publish(recv('chat', 'alice'), big);
		more++;
		await sleep(300);
	}
	link.stop();
	assert.equal(r.finished, false, 'closed although it took bytes all the time');
	assert.ok(r.frames.length < 8, 'the link was not slow');
	link.widen();
	await until('all of it', () => r.data().length === 8 + more);
});

await test('a client in the middle of a long frame cannot answer: no Pong is asked of it, no idleness said', async (t) => {
	const { bus, gw } = await t.pair({ pong_timeout: '1s', ping_interval: '30s', limits: { idle_timeout: '2s' } });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	const whole = frame(BINARY, Buffer.alloc(500000, 'u'));
	const start = performance.now();
	await r.write(whole.subarray(0, 1000));
	await bus.publish(recv('chat', 'alice'), 'meanwhile');
	const ping = await r.next(PING);
	for (let at = 1000; at < whole.length;) {
		const end = performance.now() - start > 5000 ? whole.length : at + 1000;
		await r.write(whole.subarray(at, end));
		at = end;
		await sleep(100);
	}
	await r.send(PONG, ping.data);
	await bus.empty(recv('chat', 'alice'));
	assert.equal((await bus.storedAll('ws.send.chat.alice', 1))[0].data.length, 500000);
	assert.ok(!r.frames.some((f) => f.opcode === CLOSE));
	// One that stops in the middle is dead, as ever.
	await r.write(whole.subarray(0, 1000));
	await bus.publish(recv('chat', 'alice'), 'and then');
	assert.equal((await r.next(CLOSE)).code, 3008);
});

await test('through TLS, where each message is a record: a client whose own are still on their way is not dead', async (t) => {
	const { bus, gw } = await tlsPair(t, { config: { pong_timeout: '1s', ping_interval: '30s' } });
	const r = await rawTls(t, gw);
	await r.open('/ws/chat/alice/');
	await bus.publish(recv('chat', 'alice'), 'meanwhile');
	const ping = await r.next(PING);
	const start = performance.now();
	let n = 0;
	for (; performance.now() - start < 4000; n++) {
		await r.write(frame(BINARY, 'queued before the Ping came'));
		await sleep(300);
	}
	await r.send(PONG, ping.data);
	await bus.empty(recv('chat', 'alice'));
	await bus.storedAll('ws.send.chat.alice', n);
	await bus.publish(recv('chat', 'alice'), 'and then');
	assert.equal((await r.next(CLOSE)).code, 3008, 'not before');
});

await test('unfinished messages hide no missing Pong and no idleness', async (t) => {
	const { bus, gw } = await t.pair({ pong_timeout: '400ms', ping_interval: '30s', limits: { idle_timeout: '4s' } });
	const piece = frame(BINARY, 'piece', { fin: false }), long = frame(BINARY, Buffer.alloc(20000, 'l'));
	const chats = [await t.raw(gw), await t.raw(gw)];
	for (const [i, r] of chats.entries()) {
		await r.open(`/ws/chat/u${i}/`);
		if (i === 0) await r.write(piece); // between its frames a Pong may come
		await bus.publish(recv('chat', `u${i}`), 'to be confirmed');
		await r.next(PING);
	}
	let at = 0;
	const tick = setInterval(() => {
		if (chats[0].socket.writable) chats[0].write(frame(PING, 'me'));
		// One long frame after the other, always in the middle of one.
		if (chats[1].socket.writable) chats[1].write(long.subarray(at, at += 2500));
		if (at >= long.length) at = 0;
	}, 100);
	try {
		for (const r of chats) assert.equal((await r.next(CLOSE)).code, 3008);
	} finally {
		clearInterval(tick);
	}
	const idle = await t.raw(gw);
	await idle.open('/ws/chat/idle/');
	await idle.write(piece);
	const pings = setInterval(() => idle.socket.writable && idle.write(frame(PING, 'me')), 200);
	try {
		assert.equal((await idle.next(CLOSE)).code, 1001);
	} finally {
		clearInterval(pings);
	}
});

await test('confirm none: who reads nothing costs a window of memory, not all that is published', async (t) => {
	const { bus, gw } = await t.pair({ workers: 1, delivery: { confirm: 'none' }, ping_interval: '1h' });
	const r = await t.raw(gw);
	await r.open('/ws/chat/alice/');
	r.socket.pause();
	const kb = () => Number(/^Pss_Anon:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${gw.pid('worker 0')}/smaps_rollup`, 'utf8'))[1]);
	const before = kb(), big = Buffer.alloc(900000, 'z');
	for (let i = 0; i < 60; i++) await bus.publish(recv('chat', 'alice'), big);
	await stays('most of it in the stream', async () => (await bus.stored(recv('chat', 'alice'))).length > 40, 1500);
	assert.ok(kb() - before < 20000, `${kb() - before} KiB`);
	r.socket.resume();
	await until('all of it', () => r.data().length === 60);
	await bus.empty(recv('chat', 'alice'));
});

await test('a client that floods while the stream refuses it holds up nobody else', async (t) => {
	const { bus, gw } = await t.pair({ workers: 1, broker: { full_timeout: '60s' } });
	const jsm = await bus.jsm();
	const flood = await t.raw(gw);
	await flood.open('/ws/chat/flood/');
	const other = await t.client(gw, 'chat/other');
	await flood.send(TEXT, 'first');
	await bus.storedAll('ws.send.chat.flood', 1);
	// One message per subject from now on: the flooder's next ones are refused, others' first ones are not.
	const info = await jsm.streams.info('websockets');
	await jsm.streams.update('websockets', { ...info.config, max_msgs_per_subject: 1, discard_new_per_subject: true });
	const body = 'f'.repeat(30000);
	let sent = 0;
	for (; sent < 400 && !flood.socket.writableNeedDrain; sent++) flood.send(TEXT, body);
	await other.send('still here');
	await bus.storedAll('ws.send.chat.other', 1);
	assert.deepEqual(await other.close(), { code: 1000, reason: '' }, "another user's Close waits for its own messages alone");
	await sleep(0);
	assert.equal(await bus.count('ws.send.chat.flood'), 1);
});
