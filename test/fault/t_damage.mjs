// Damaged records in shared memory: refused, logged, and at the cost of that worker alone.
import fs from 'node:fs';
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { hold } from '../e2e/lib/hold.mjs';

// Overwrites `bytes` in the segment, `before` bytes in front of the text.
function scribble(gw, text, before, bytes) {
	const file = `${gw.dir}/run/segment`, fd = fs.openSync(file, 'r+'), needle = Buffer.from(text);
	const chunk = Buffer.alloc(4 << 20), { size } = fs.fstatSync(fd);
	let found = 0;
	for (let at = 0; at < size; at += chunk.length - needle.length) {
		const n = fs.readSync(fd, chunk, 0, chunk.length, at);
		for (let i = -1; (i = chunk.subarray(0, n).indexOf(needle, i + 1)) >= 0; found++) fs.writeSync(fd, bytes, 0, bytes.length, at + i - before);
	}
	fs.closeSync(fd);
	return found;
}

const START = (1n << 32n) - 65536n; // RING_START

// Where each slot has the words of its down ring, head and tail: the last of an array of such pairs.
function downWords(gw) {
	const data = fs.readFileSync(`${gw.dir}/run/segment`), found = [];
	const isWord = (at) => at + 8 <= data.length && data.readBigUInt64LE(at) >= START && data.readBigUInt64LE(at) < START + (1n << 24n);
	const isPair = (at) => isWord(at) && isWord(at + 64);
	for (let at = 0, n = 0; at < data.length; at += n ? 128 : 64) {
		if (isPair(at)) {
			n++;
			continue;
		}
		if (n > 8) found.push(at - 128);
		n = 0;
	}
	return found;
}

// A client on each worker; several, as it comes.
async function spread(t, gw) {
	const clients = await Promise.all(numbers(20).map((i) => t.client(gw, `chat/u${i}`)));
	const slots = new Map();
	for (const line of (await gw.ctl('sessions')).out.split('\n')) {
		const m = /^\S+ +(u\d+) .*\b([0-9a-f]{2})[0-9a-f]{14}\b/.exec(line); // the worker is the first byte of the id
		if (m) slots.set(m[1], Number.parseInt(m[2], 16));
	}
	return clients.map((c, i) => ({ c, user: `u${i}`, slot: slots.get(`u${i}`) }));
}

async function othersServe({ gw, bus }, all, gone) {
	const others = all.filter((x) => x.slot !== gone);
	assert.ok(others.length > 0 && others.length < all.length);
	assert.deepEqual(others.map((x) => x.c.closed), others.map(() => null), 'only its own clients are disconnected');
	for (const { c, user } of others) {
		await bus.publish(recv('chat', user), `still ${user}`);
		await until('a message', () => c.got.some((m) => m.text === `still ${user}`));
		await c.send('here');
		await bus.storedAll(send('chat', user), 1);
	}
	assert.equal(await gw.status('/readyz'), 200);
}

for (const [what, before, bytes] of [
	['the header of a record', 48 + 6, Buffer.from([0xff, 0xff, 0xff, 0x7f, 9, 9, 9, 9])],
	['what a record says about itself', 6 + 12, Buffer.from([0xff, 0xff, 0xff, 0xff])],
	['when a record was written', 6 + 32, Buffer.alloc(8, 0xff)],
]) {
	await test(`up ring: ${what} is damaged`, async (t) => {
		const p = await t.pair({ workers: 2 }), { gw, bus } = p;
		const all = await spread(t, gw), victim = all[0], title = `worker ${victim.slot}`, pid = gw.pid(title);
		const go = await hold(gw.pid('bridge'));
		await victim.c.send('needle of the haystack');
		await victim.c.ping();
		gw.restarts = true;
		// Before the text: service and user ("chat", "u0"), the record's own fields (40), its header (8).
		assert.equal(scribble(gw, 'needle of the haystack', before, bytes), 1);
		go();
		await until('the end of that worker', () => gw.pid(title) !== pid && victim.c.closed);
		assert.match(gw.log(), /up ring is damaged/);
		await othersServe(p, all, victim.slot);
		// And its successors, in both rings.
		for (let i = 0; i < 3; i++) {
			await until('a successor', () => gw.pid(title));
			const again = await spread(t, gw);
			for (const { c, user } of again) await c.send(`${i}`);
			for (const { user } of again) await until('it', async () => (await bus.stored(send('chat', user))).some((m) => m.text === `${i}`));
			again.forEach(({ c }) => c.terminate());
			await gw.murder(title);
		}
		assert.equal(gw.log().match(/up ring is damaged/g).length, 1);
	});
}

await test('down ring: a damaged record ends the worker once, and the message comes to the next connection', async (t) => {
	const p = await t.pair({ workers: 2 }), { gw, bus } = p;
	const all = await spread(t, gw), victim = all[0], title = `worker ${victim.slot}`, pid = gw.pid(title);
	const go = await hold(pid);
	await bus.publish(recv('chat', victim.user), 'needle of the haystack');
	gw.restarts = true;
	await until('the record', () => scribble(gw, 'needle of the haystack', 16 + 32 + 8, Buffer.from([0xff, 0xff, 0xff, 0x7f])));
	go();
	await until('the end of that worker', () => gw.pid(title) !== pid && victim.c.closed);
	assert.match(gw.log(), /down ring is damaged: this worker ends/);
	await othersServe(p, all, victim.slot);
	await until('a successor', () => gw.pid(title));
	for (let i = 0; i < 10; i++) {
		const c = await t.client(gw, `chat/${victim.user}`);
		if (i === 0) assert.equal((await c.next()).text, 'needle of the haystack');
		await c.ping();
	}
	assert.equal(gw.log().match(/down ring is damaged/g).length, 1);
});

for (const [word, at] of [['head', 0], ['tail', 64]]) {
	await test(`down ring: its ${word} is damaged where a worker has died: its successor serves`, async (t) => {
		const p = await t.pair({ workers: 2 }), { gw, bus } = p;
		const all = await spread(t, gw), victim = all[0], title = `worker ${victim.slot}`;
		await hold(gw.pid(title));
		const go = await hold(gw.pid('bridge')), words = downWords(gw);
		assert.equal(words.length, 2);
		const fd = fs.openSync(`${gw.dir}/run/segment`, 'r+');
		fs.writeSync(fd, Buffer.alloc(8, 0x40), 0, 8, words[victim.slot] + at);
		fs.closeSync(fd);
		await gw.murder(title);
		go();
		await until('its clients to come back to it', async () => {
			const again = await Promise.all(numbers(20).map((i) => t.client(gw, `chat/new${i}`).catch(() => null)));
			if (again.some((c) => !c)) return false;
			for (let i = 0; i < again.length; i++) await bus.publish(recv('chat', `new${i}`), 'hello');
			await until('all served, or cut off', () => again.every((c) => c.closed || c.got.length));
			const slots = (await gw.sessions()).filter((s) => s.user.startsWith('new')).map((s) => s.worker);
			again.forEach((c) => c.terminate());
			return again.every((c) => c.got.length) && slots.includes(victim.slot);
		});
		await othersServe(p, all, victim.slot);
	});
}
