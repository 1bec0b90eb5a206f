// A user with quick connections and a slow one, which lacks what the others have confirmed.
import { assert } from './scenario.mjs';
import { recv } from './nats.mjs';
import { numbers } from './client.mjs';
import { PING, PONG } from './raw.mjs';

export const BEHIND = { workers: 1, pong_timeout: '60s', delivery: { window_messages: 1 } };

// All of them have confirmed 'first'; 0 to 4 are stored, of which the quick ones have confirmed all but the last, at least, and the slow one nothing.
export async function behind(t, gw, bus) {
	const alice = recv('chat', 'alice'), quick = [await t.client(gw, 'chat/alice')], slow = await t.raw(gw);
	await slow.open('/ws/chat/alice/');
	quick.push(await t.client(gw, 'chat/alice')); // whichever is the last
	await bus.publish(alice, 'first');
	for (const c of quick) assert.equal((await c.next()).text, 'first');
	slow.send(PONG, (await slow.next(PING)).data);
	await bus.empty(alice); // by then it is known that no other gateway is there
	for (const i of numbers(5)) await bus.publish(alice, i);
	for (const c of quick) assert.deepEqual((await c.take(5)).map((m) => m.text), numbers(5)); // one at a time: four are confirmed
	return { alice, quick, slow };
}
