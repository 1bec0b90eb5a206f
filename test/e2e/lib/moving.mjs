// Connections in the middle of something, to be moved to another worker: what each must find there.
import { assert, stays, until } from './scenario.mjs';
import { hold } from './hold.mjs';
import { recv, send } from './nats.mjs';
import { PING, PONG, TEXT, BINARY, frame, upgrade } from './raw.mjs';

const indexes = (n) => Array.from({ length: n }, (_, i) => i);
const EACH = 6; // SO_REUSEPORT spreads as it likes: some of each kind are on a worker that moves

async function each(n, one) {
	return Promise.all(indexes(n).map(one));
}

// A message in pieces, and the last piece cut within its frame.
async function fragmented(t, { gw, bus }) {
	const tail = frame(0, 'lo, world');
	const all = await each(EACH, async (i) => {
		const r = await t.raw(gw);
		await r.open(`/ws/chat/frag${i}/`);
		await r.send(TEXT, 'Hel', { fin: false });
		await r.send(PING, 'are you there');
		await r.next(PONG); // all before it is parsed
		await r.write(tail.subarray(0, 3 + i));
		return r;
	});
	return async () => {
		await each(EACH, (i) => all[i].write(tail.subarray(3 + i)));
		for (const i of indexes(EACH)) {
			const stored = await bus.storedAll(send('chat', `frag${i}`), 1);
			assert.deepEqual(stored.map((m) => m.text), ['Hello, world']);
		}
	};
}

// A control frame cut in its payload, inside a fragmented message.
async function cutControl(t, { gw }) {
	const ping = frame(PING, 'x'.repeat(100));
	const all = await each(EACH, async (i) => {
		const r = await t.raw(gw);
		await r.open(`/ws/chat/cut${i}/`);
		await r.send(BINARY, 'a', { fin: false });
		await r.write(ping.subarray(0, 50));
		return r;
	});
	return () => each(EACH, async (i) => {
		await all[i].write(ping.subarray(50));
		assert.equal((await all[i].next(PONG)).data.toString(), 'x'.repeat(100));
	});
}

// More than the socket takes, to a client that does not read.
async function halfWritten(t, { gw, bus }) {
	const big = 'abcdefghij'.repeat(80000);
	const all = await each(EACH, async (i) => {
		const r = await t.raw(gw);
		await r.open(`/ws/chat/half${i}/`);
		r.socket.pause();
		for (let k = 0; k < 8; k++) await bus.publish(recv('chat', `half${i}`), `${k}${big}`);
		return r;
	});
	return async () => {
		for (const r of all) r.socket.resume();
		await each(EACH, async (i) => {
			let answered = 0;
			await until('all of it', async () => {
				for (; answered < all[i].frames.length; answered++) {
					const f = all[i].frames[answered];
					if (f.opcode === PING) await all[i].send(PONG, f.data);
				}
				return all[i].data().length === 8 && (await bus.left(recv('chat', `half${i}`))).length === 0;
			}, 30000);
			for (const [k, f] of all[i].data().entries()) assert.ok(f.data.length === big.length + 1 && f.data.toString('latin1') === `${k}${big}`, `message ${k} is whole`);
		});
	};
}

// Given, and not confirmed: the Pong that belongs to the old worker's Ping confirms it.
async function unconfirmed(t, { gw, bus }) {
	const all = await each(EACH, async (i) => {
		const r = await t.raw(gw);
		await r.open(`/ws/chat/mute${i}/`);
		await bus.publish(recv('chat', `mute${i}`), 'once');
		return { r, ping: await r.next(PING) };
	});
	return () => each(EACH, async (i) => {
		const { r, ping } = all[i];
		assert.equal(await bus.count(recv('chat', `mute${i}`)), 1, 'stays until the Pong');
		await r.send(PONG, ping.data);
		await bus.empty(recv('chat', `mute${i}`));
		assert.equal(r.data().length, 1, 'not given again');
	});
}

// Connected, and nothing said so far.
async function fresh(t, { gw }) {
	const all = await each(EACH, () => t.raw(gw));
	return () => each(EACH, async (i) => {
		await all[i].write(upgrade(`/ws/chat/fresh${i}/`));
		assert.equal((await all[i].response()).status, 101);
	});
}

// Both ways without a pause: each message once and in order, and one connection to the service.
export async function traffic(t, { gw, bus }, users = 20) {
	const clients = await each(users, (i) => t.client(gw, `load/u${i}`));
	const ups = await each(users, (i) => bus.listen(send('load', `u${i}`)));
	const texts = (word, n) => indexes(n).map((k) => `${word} ${k}`);
	let going = true, rounds = 0;
	const run = (async () => {
		for (; going; rounds++) {
			await Promise.all(clients.map(async (c, i) => {
				await c.send(`up ${rounds}`);
				await bus.publish(recv('load', `u${i}`), `down ${rounds}`);
			}));
		}
	})();
	await until('some rounds', () => rounds > 3, 30000);
	return async () => {
		const before = rounds;
		await until('more rounds', () => rounds > before + 3, 30000);
		going = false;
		await run;
		// Heard once; but for a bridge that ended, on a slow machine, before the broker had answered: what it said is said again.
		const hasty = /messages of clients are not stored yet/.test(gw.log());
		const once = (heard) => (hasty ? [...new Map(heard.map((m) => [m.headers['Nats-Msg-Id'], m])).values()] : heard);
		for (const [i, c] of clients.entries()) {
			assert.equal(c.closed, null, `client ${i} is connected`);
			await until(`all for client ${i}`, () => c.got.length >= rounds, 30000);
			assert.deepEqual(c.texts(), texts('down', rounds));
			await until(`all from client ${i}`, async () => (await bus.count(send('load', `u${i}`))) >= rounds && ups[i].at(-1)?.text === `up ${rounds - 1}`, 30000);
			assert.deepEqual(once(ups[i]).map((m) => m.text), texts('up', rounds));
			assert.equal(await bus.count(send('load', `u${i}`)), rounds);
			assert.equal(new Set(ups[i].map((m) => m.headers['Ws-Conn'])).size, 1, 'one connection to the service');
		}
		await bus.empty('ws.recv.load.>');
		return rounds;
	};
}

// With a request that may yet ask who it is, a connection through TLS stays.
export const OPEN = [fragmented, cutControl, halfWritten, unconfirmed];

// All of them at once. Returns what must hold afterwards.
export async function inTheMiddle(t, rig, kinds = [...OPEN, fresh]) {
	const checks = [];
	for (const make of kinds) checks.push(await make(t, rig));
	checks.push(await traffic(t, rig));
	return async () => {
		for (const check of checks.reverse()) await check();
	};
}

// What masters said of n upgrades: of each [moved, left].
export const handedOver = (gw, n) => until('its word of each', () => {
	const said = [...gw.log().matchAll(/connections are with the new program moved=(\d+) left=(\d+)/g)].map((m) => [Number(m[1]), Number(m[2])]);
	return said.length === n && said;
});

// Handshakes that move, and cannot be finished in time: 503, and no 101 before it. Of two workers, with a handshake_timeout of 5 s.
export async function notInTime(gw, raws) {
	const bridge = gw.pid('bridge');
	await hold(bridge);
	await Promise.all(raws.map((r, i) => r.write(upgrade(`/ws/chat/u${i}/`))));
	await stays('no answer', () => raws.every((r) => !r.buf.length), 300);
	const pid = gw.pid('worker 0');
	const go = await hold(pid);
	gw.signal('SIGUSR2');
	await until('worker 1 gives', () => /worker 1: accepts no more/.test(gw.log()));
	process.kill(bridge, 'SIGKILL');
	const first = await Promise.any(raws.map((r) => r.response()));
	assert.equal(first.status, 503);
	go();
	await gw.replaced();
}
