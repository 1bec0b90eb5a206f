// Fewer workers, a new program, a stop: connections with TLS 1.2 cannot move, where their keys are OpenSSL's. None ends because workers become fewer.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, sleep, stays, until } from './lib/scenario.mjs';
import { OTHER_LAYOUT, WSGATED } from './lib/gateway.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { tlsPair as pair, rawTls } from './lib/pki.mjs';
import { upgrade } from './lib/raw.mjs';
import { visitors } from './lib/visitors.mjs';

// Whatever this kernel can: k_ktls.mjs has the other ones.
const tlsPair = (t, how = {}) => pair(t, { ...how, section: { ktls: 'off' } });
const maxVersion = 'TLSv1.2';

async function resize(gw, workers) {
	gw.restarts = true; // they end
	gw.config.workers = workers;
	gw.writeConfig();
	const r = await gw.ctl('reload');
	assert.equal(r.code, 0, r.err);
}

const workers = (gw) => gw.children().filter((c) => /worker \d/.test(c.title)).length;
const settled = (gw, n) => until(`${n} workers`, () => workers(gw) === n);
const retiring = async (gw) => ((await gw.ctl('status')).out.match(/, retiring/g) ?? []).length;

// Both ways, for all of them.
async function alive(bus, all, word) {
	await Promise.all(all.map((c, i) => bus.publish(recv('chat', `u${i}`), word)));
	for (const [i, c] of all.entries()) {
		assert.equal((await c.next()).text, word, `u${i}`);
		assert.equal(c.closed, null);
		await c.send(`${word} from ${i}`);
	}
	for (const i of all.keys()) await until(`${word} of u${i} stored`, async () => (await bus.stored(send('chat', `u${i}`))).at(-1)?.text === `${word} from ${i}`);
	await bus.empty('ws.recv.>');
}

await test('four to one: no connection ends, with TLS or without; a worker ends when its last one has', async (t) => {
	const { gw, bus, ca } = await tlsPair(t, { config: { workers: 4, drain_timeout: '1s' } });
	const all = await Promise.all(numbers(120).map((i) => (i % 2 ? t.client(gw, `chat/u${i}`) : Client.connect(gw.wssUrl(`chat/u${i}`), { ca, maxVersion }))));
	await alive(bus, all, 'before');
	await resize(gw, 1);
	await until('three that retire', async () => (await retiring(gw)) === 3);
	assert.match(gw.log(), /a worker retires when its connections with TLS have ended child="worker 3" connections=\d+/);
	await alive(bus, all, 'meanwhile');
	// New ones come to the one that stays.
	const more = await Promise.all(numbers(20).map((i) => Client.connect(gw.wssUrl(`chat/more${i}`), { ca, maxVersion })));
	assert.equal(workers(gw), 4);
	for (const c of all.filter((_, i) => i % 2 === 0)) assert.equal((await c.close()).code, 1000);
	await settled(gw, 1);
	for (const [i, c] of all.entries()) assert.equal(c.closed === null, i % 2 === 1);
	for (const c of more) {
		assert.equal(c.closed, null);
		await c.close();
	}
});

await test('a worker that retires takes no share of the handshakes there may be', async (t) => {
	const { gw, ca } = await tlsPair(t, { config: { workers: 2, limits: { handshakes_per_second: 0 } } });
	await Promise.all(numbers(40).map((i) => Client.connect(gw.wssUrl(`chat/u${i}`), { ca, maxVersion })));
	gw.config.limits.handshakes_per_second = 20;
	await resize(gw, 1);
	await until('one that retires', async () => (await retiring(gw)) === 1);
	const raws = await Promise.all(numbers(18).map(() => t.raw(gw)));
	raws.forEach((r, i) => r.write(upgrade(`/ws/chat/more${i}`)));
	for (const r of raws) assert.equal((await r.response()).status, 101);
});

await test('a drain while a worker retires: who stays with it is closed, too; taken back before, it retires on', async (t) => {
	const { gw, ca } = await tlsPair(t, { config: { workers: 2, drain_timeout: '30s' } });
	const all = await Promise.all(numbers(40).map((i) => Client.connect(gw.wssUrl(`chat/u${i}`), { ca, maxVersion })));
	await resize(gw, 1);
	await until('one that retires', async () => (await retiring(gw)) === 1);
	assert.equal((await gw.ctl('drain', '--time', '3600')).code, 0);
	await until('both drain', () => (gw.log().match(/worker \d: draining/g) ?? []).length === 2);
	assert.equal((await gw.ctl('undrain')).code, 0);
	await until('it retires', async () => (await retiring(gw)) === 1);
	assert.ok(all.filter((c) => !c.closed).length > 30);
	const r = await gw.ctl('drain', '--time', '2', '--wait');
	assert.deepEqual([r.code, r.err], [0, '']);
	for (const c of all) assert.equal((await c.ended()).code, 1012);
	assert.equal((await gw.ctl('undrain')).code, 0);
	await settled(gw, 1);
});

await test('wanted again before its last connection ended: it goes on, and gets new ones; a hand-over to it, too', async (t) => {
	const { gw, bus, ca } = await tlsPair(t, { config: { workers: 3 } });
	const all = await Promise.all(numbers(30).map((i) => Client.connect(gw.wssUrl(`chat/u${i}`), { ca, maxVersion })));
	const pids = () => numbers(3).map((i) => gw.pid(`worker ${i}`)).join();
	const before = pids();
	const faults = [];
	const end = visitors(gw, faults);
	for (let i = 0; i < 3; i++) {
		await resize(gw, 1);
		await until('two that retire', async () => (await retiring(gw)) === 2);
		await resize(gw, 3);
		await until('none that retires', async () => (await retiring(gw)) === 0);
	}
	await end(20);
	assert.deepEqual([...new Set(faults)], []);
	assert.equal(pids(), before);
	await alive(bus, all, 'still here');
	await until('new ones on each', async () => {
		(await Client.connect(gw.wssUrl('chat/new'), { ca, maxVersion })).terminate();
		return numbers(3).every((i) => gw.log().match(new RegExp(`worker ${i}: connection opened`, 'g')).length > 12);
	});
	// One that went on takes what others give.
	const plain = await Promise.all(numbers(30).map((i) => t.client(gw, `chat/p${i}`)));
	await resize(gw, 2);
	await until('one that retires', async () => (await retiring(gw)) === 1);
	for (const c of plain) await c.ping();
	assert.doesNotMatch(gw.log(), /cannot take a connection/);
	for (const c of all) assert.equal(c.closed, null);
	// And gives its own to a new program, not to those of before.
	await resize(gw, 3);
	await until('none that retires', async () => (await retiring(gw)) === 0);
	plain.push(...await Promise.all(numbers(60).map((i) => t.client(gw, `chat/q${i}`))));
	gw.signal('SIGUSR2');
	await gw.replaced();
	await gw.ready();
	for (const c of all) assert.equal((await c.ended()).code, 1012);
	for (const c of plain) await c.ping();
	assert.ok(plain.every((c) => !c.closed));
}, { ms: 90000 });

await test('a worker that retires is killed: it is not started again; a stop ends it at once', async (t) => {
	const { gw, ca } = await tlsPair(t, { config: { workers: 3 } });
	const all = await Promise.all(numbers(30).map((i) => Client.connect(gw.wssUrl(`chat/u${i}`), { ca, maxVersion })));
	await resize(gw, 1);
	await until('two that retire', async () => (await retiring(gw)) === 2);
	await gw.murder('worker 2');
	await until('the end of its connections', () => all.some((c) => c.closed?.code === 1006));
	await settled(gw, 2);
	// As well as one that ended by itself.
	await until('nobody to be missing', async () => !/not running/.test((await gw.ctl('status')).out));
	assert.match((await gw.ctl('status')).out, /^worker 2 +ended, after start 1$/m);
	const check = await gw.ctl('check');
	assert.match(check.out, /^processes +good +2 workers, 0 of them not well; bridge running$/m);
	assert.equal(check.code, 0, check.out);
	assert.doesNotMatch((await gw.admin('/metrics')).text, /^wsgate_worker_\w+\{worker="2"/m);
	gw.signal('SIGTERM');
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
	const codes = (await Promise.all(all.map((c) => c.ended()))).map((e) => e.code);
	assert.ok(codes.every((c) => c === 1001 || c === 1006), codes.join());
});

await test('a new program: connections with TLS 1.2 are closed with 1012 and come back; those without go over', async (t) => {
	const { gw, bus, ca } = await tlsPair(t, { config: { workers: 2, drain_timeout: '20s' } });
	const plain = await Promise.all(numbers(10).map((i) => t.client(gw, `chat/p${i}`)));
	const tls = await Promise.all(numbers(20).map((i) => Client.connect(gw.wssUrl(`chat/t${i}`), { ca, maxVersion })));
	await resize(gw, 1); // one of two retires; that is no reason to wait
	await until('one that retires', async () => (await retiring(gw)) === 1);
	gw.signal('SIGUSR2');
	await gw.replaced();
	await gw.ready();
	for (const c of tls) assert.equal((await c.ended()).code, 1012);
	for (const [i, c] of plain.entries()) {
		await bus.publish(recv('chat', `p${i}`), 'hello');
		assert.equal((await c.next()).text, 'hello');
		assert.equal(c.closed, null);
	}
	for (const i of numbers(8)) {
		const c = await Client.connect(gw.wssUrl(`chat/t${i}`), { ca, maxVersion });
		await c.send('back');
		await c.close();
	}
	await until('all stored', async () => (await bus.count('ws.send.>')) === 8);
});

// The phone of alice stays with the old program for a while, for many others are closed before it; her tab went over, and has five messages.
async function stayed(t) {
	const { gw, nats, bus, ca } = await tlsPair(t, { config: { workers: 1, drain_timeout: '30s' } });
	const alice = recv('chat', 'alice'), phone = await Client.connect(gw.wssUrl('chat/alice'), { ca, maxVersion }), many = [];
	while (many.length < 200) many.push(...await Promise.all(numbers(50).map((i) => Client.connect(gw.wssUrl(`chat/t${i}`), { ca, maxVersion }))));
	const tab = await t.client(gw, 'chat/alice');
	gw.signal('SIGUSR2');
	await gw.replaced();
	await gw.ready();
	for (const i of numbers(5)) await bus.publish(alice, i);
	assert.deepEqual((await tab.take(5)).map((m) => m.text), numbers(5));
	return { gw, nats, bus, ca, alice, phone, tab };
}

await test('a new program: who stays with the old one for a while lacks nothing when it is back', async (t) => {
	const { gw, bus, ca, alice, phone, tab } = await stayed(t);
	assert.equal((await phone.ended()).code, 1012);
	const back = await Client.connect(gw.wssUrl('chat/alice'), { ca, maxVersion });
	assert.deepEqual((await back.take(5)).map((m) => m.text), numbers(5));
	await bus.publish(alice, 'last');
	assert.equal((await back.next()).text, 'last');
	await bus.empty('ws.recv.>', 30000);
	assert.equal((await tab.next()).text, 'last'); // and nothing twice
}, { ms: 90000 });

await test('the new program is killed, and another one started: who is still with the oldest lacks nothing either', async (t) => {
	const { gw, nats, bus, alice, phone, tab } = await stayed(t), old = gw.proc;
	process.kill(-gw.heir, 'SIGKILL');
	await tab.ended();
	gw.heir = null;
	const next = await t.gateway(nats, { config: { runtime_dir: gw.config.runtime_dir } });
	await next.ready();
	const again = await t.client(next, 'chat/alice');
	assert.deepEqual((await again.take(5)).map((m) => m.text), numbers(5));
	assert.equal(phone.closed, null);
	await stays('kept', async () => (await bus.stored(alice)).length === 5, 1500);
	assert.equal((await phone.ended(40000)).code, 1012);
	const back = await t.client(next, 'chat/alice');
	assert.deepEqual((await back.take(5)).map((m) => m.text), numbers(5));
	await bus.empty(alice, 30000);
	await old.ended;
	await until('one segment', () => next.segments().length === 1);
}, { ms: 120000 });

// The other one is there before, or comes afterwards; and the phone has confirmed something before, or nothing.
for (const first of [true, false]) {
	await test(`a new program: who stays with the old one lacks nothing that is confirmed at another gateway, ${first ? 'before it' : 'behind it'}`, async (t) => {
		const { gw: a, nats, bus, ca } = await tlsPair(t, { config: { workers: 1 } });
		const b = await t.gateway(nats, { config: { workers: 1 } }), alice = recv('chat', 'alice');
		await until('both to know', () => [a, b].every((g) => /another gateway is there/.test(g.log())));
		const phone = await Client.connect(a.wssUrl('chat/alice'), { ca, maxVersion });
		let tab = first && await t.client(b, 'chat/alice');
		if (first) {
			await bus.publish(alice, 'before');
			for (const c of [phone, tab]) assert.equal((await c.next()).text, 'before');
			await bus.empty(alice);
		}
		a.signal('SIGUSR2');
		await a.replaced();
		await a.ready();
		if (!first) tab = await t.client(b, 'chat/alice');
		for (const i of numbers(5)) await bus.publish(alice, i);
		assert.deepEqual((await tab.take(5)).map((m) => m.text), numbers(5));
		assert.equal((await phone.ended()).code, 1012);
		await stays('kept', async () => (await bus.stored(alice)).length === 5, 2000);
		const back = await Client.connect(a.wssUrl('chat/alice'), { ca, maxVersion });
		assert.deepEqual((await back.take(5)).map((m) => m.text), numbers(5));
		await bus.publish(alice, 'last');
		for (const c of [back, tab]) assert.equal((await c.next()).text, 'last'); // and nothing twice
	}, { ms: 90000 });
}

await test('a new program: who has TLS 1.2 and talks to the last moment gets 1012 too, and all of it is stored', async (t) => {
	const { gw, bus, ca } = await tlsPair(t, { config: { workers: 2, drain_timeout: '10s' } });
	const all = await Promise.all(numbers(20).map((i) => Client.connect(gw.wssUrl(`chat/t${i}`), { ca, maxVersion })));
	let sent = 0;
	const talk = async (c) => {
		while (c.open) {
			await c.send('x').then(() => sent++, () => {});
			await sleep(5);
		}
	};
	const talking = all.map(talk);
	await until('them to talk', () => sent > 100);
	gw.signal('SIGUSR2');
	await gw.replaced();
	for (const c of all) assert.equal((await c.ended()).code, 1012);
	await Promise.all(talking);
	await until('all stored', async () => (await bus.count('ws.send.>')) === sent);
}, { ms: 60000 });

await test('a new program: who has TLS 1.2 is told when a message of before is refused', async (t) => {
	const { gw, nats, bus, ca } = await tlsPair(t, { config: { workers: 1, drain_timeout: '1m', broker: { grace: '1h' } } });
	const c = await Client.connect(gw.wssUrl('chat/alice'), { ca, maxVersion });
	await nats.stop();
	await until('its loss', () => /the broker is away/.test(gw.log()));
	await c.send('x'.repeat(100000));
	await c.send('behind it');
	await c.ping();
	gw.signal('SIGUSR2');
	await gw.replaced();
	fs.appendFileSync(nats.file, 'max_payload: 40000\n');
	await nats.start();
	assert.equal((await c.ended(30000)).code, 1009);
	assert.equal(await bus.count('ws.send.>'), 0);
}, { ms: 90000 });

await test('a new program with another layout of shared memory: 1012 for those with TLS 1.2, the others go over', async (t) => {
	const program = path.join(t.dir, 'wsgated');
	fs.copyFileSync(WSGATED, program);
	const { gw, ca } = await tlsPair(t, { config: { workers: 2, drain_timeout: '20s' }, opts: { program } });
	const plain = await Promise.all(numbers(10).map((i) => t.client(gw, `chat/p${i}`)));
	const tls = await Promise.all(numbers(20).map((i) => Client.connect(gw.wssUrl(`chat/t${i}`), { ca, maxVersion })));
	gw.install(OTHER_LAYOUT);
	gw.signal('SIGUSR2');
	await gw.replaced();
	for (const c of tls) assert.equal((await c.ended()).code, 1012);
	for (const c of plain) {
		await c.ping();
		assert.equal(c.closed, null);
	}
});

await test('a stop: 1001 for all, and what TLS clients sent is stored', async (t) => {
	const { gw, bus, ca } = await tlsPair(t, { config: { drain_timeout: '20s' } });
	const all = await Promise.all(numbers(30).map((i) => Client.connect(gw.wssUrl(`chat/u${i}`), { ca, maxVersion })));
	const half = await rawTls(t, gw); // no request so far
	await Promise.all(all.map((c) => c.send('last words')));
	gw.signal('SIGTERM');
	for (const c of all) assert.equal((await c.ended()).code, 1001);
	await half.ended();
	assert.deepEqual(await gw.exited(), { code: 0, signal: null });
	assert.equal(await bus.count('ws.send.>'), 30);
});

await test('of a gateway that was killed no TLS connection is shown', async (t) => {
	const { gw, ca } = await tlsPair(t, { config: { workers: 1 } });
	await Client.connect(gw.wssUrl('chat/alice'), { ca, maxVersion });
	const shown = async () => [/^tls +1 connections/m.test((await gw.ctl('status')).out), (await gw.figures()).workers[0].tls];
	assert.deepEqual(await shown(), [true, 1]);
	await gw.massacre();
	await until('all to be seen dead', async () => (await gw.figures()).total.connections === 0); // until somebody reaps them
	assert.deepEqual(await shown(), [false, 0]);
});
