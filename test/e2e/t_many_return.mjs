// Some hundred users come back at once to messages that lie between each other's: the stream is read once for all of
// them, and each gets his own, in order, whatever happens meanwhile.
import { test, assert, until } from './lib/scenario.mjs';
import { recv, STREAM } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';

const BEGINS = 'many users have many messages waiting';
const OVER = 'the stream was read once';

// Message by message: one of each user, then the next of each.
const interleaved = (bus, users, each) => bus.publishAll(users.length * each, (i) => [recv('chat', users[i % users.length]), String(Math.floor(i / users.length))]);

const come = (t, gw, users) => Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));

const got = (clients) => clients.reduce((sum, c) => sum + c.got.length, 0);

await test('300 users who come back at once, while others stay away, some come and go, and the bridge dies', async (t) => {
	const { bus, gw } = await t.pair({ workers: 2, max_workers: 2, max_message: '1k' });
	const here = numbers(300).map((n) => `u${n}`), away = numbers(60).map((n) => `away${n}`), EACH = 40;
	await interleaved(bus, [...here, ...away], EACH);
	const dead = await bus.listen('wsdead.>');
	await bus.publish(recv('chat', 'u7'), 'x'.repeat(2000)); // larger than any client may get
	const gone = await bus.storedAll(recv('chat', 'away0'), EACH); // holes: nobody waits for them any more
	for (const m of gone) await (await bus.jsm()).streams.deleteMessage(STREAM, m.seq, false);
	const clients = await come(t, gw, here);
	await until('the common reading', () => gw.log().includes(BEGINS));
	const left = clients.slice(0, 40);
	for (const c of left) c.terminate();
	await until('a third of the messages', () => got(clients) > here.length * EACH / 3, 60000);
	await gw.murder('bridge');
	const back = await come(t, gw, here.slice(0, 40));
	await interleaved(bus, here, 1); // "0" once more: live, behind all that waits
	const stayed = clients.slice(40);
	await until('everything', () => stayed.every((c) => c.got.length > EACH || c.closed), 60000);
	for (const [i, c] of stayed.entries()) {
		assert.equal(c.closed, null, here[40 + i]);
		assert.deepEqual(c.texts(), [...numbers(EACH), '0'], here[40 + i]);
	}
	for (const [i, c] of back.entries()) { // from where the first connection had come to, or before
		await until(`the last message of ${here[i]}`, () => c.texts().at(-1) === '0' && (c.got.length > 1 || left[i].got.length >= EACH), 30000);
		const first = EACH + 1 - c.got.length;
		assert.ok(first >= 0 && first <= left[i].got.length, `${here[i]}: from ${first}, after ${left[i].got.length}`);
		assert.deepEqual(c.texts(), [...numbers(EACH), '0'].slice(first), here[i]);
	}
	await until('the dead one', () => dead.length > 0);
	assert.deepEqual([...new Set(dead.map((m) => m.subject))], ['wsdead.chat.u7']); // once more after the bridge's death, perhaps
	for (const u of [...here, away[0]]) await bus.empty(recv('chat', u), 60000);
	for (const u of away.slice(1)) assert.equal((await bus.storedAll(recv('chat', u), EACH)).length, EACH, u);
}, { ms: 180000 });

await test('the stream is made anew while it is read for many', async (t) => {
	const { bus, gw } = await t.pair({ workers: 2, max_workers: 2 });
	const users = numbers(250).map((n) => `u${n}`), EACH = 60;
	await interleaved(bus, users, EACH);
	const clients = await come(t, gw, users);
	await until('the common reading', () => gw.log().includes(BEGINS));
	// Made by the gateway: removals of the old one that are on their way would hit a new one that was there already.
	await (await bus.jsm()).streams.delete(STREAM);
	await until('it to be made again', () => gw.log().split('stream created').length > 2, 40000);
	for (const u of users) await bus.publish(recv('chat', u), 'new life');
	await until('the new ones', () => clients.every((c) => c.texts().at(-1) === 'new life'), 60000);
	for (const c of clients) assert.deepEqual(c.texts(), [...numbers(c.got.length - 1), 'new life']);
	await bus.empty('ws.recv.>', 60000);
	assert.ok(gw.log().includes(OVER));
}, { ms: 180000 });
