// Any bytes make a valid user; two users never share a subject, and none is a wildcard.
import { test, assert } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client } from './lib/client.mjs';

// What the two tokens become in a subject (the contract's rule, written here again).
export const token = (name) => [...Buffer.from(name)].map((b) => {
	const c = String.fromCharCode(b);
	return b <= 0x20 || b > 0x7e || '%.*>'.includes(c) ? `%${b.toString(16).toUpperCase().padStart(2, '0')}` : c;
}).join('');
const pathToken = (name) => [...Buffer.from(name)].map((b) => `%${b.toString(16).padStart(2, '0')}`).join('');

const names = ['*', '>', 'a.b', 'a b', 'é', 'a', 'b', '%2A', '%', 'a/b', '?', '😀', 'A', '%61', 'x'.repeat(128), 'x'.repeat(127), 'é'.repeat(64)];

for (const by of ['path', 'cookie']) {
	await test(`strange users by ${by}, no crosstalk`, async (t) => {
		const { bus, gw } = await t.pair();
		const users = await Promise.all(names.map(async (name) => ({
			name,
			client: by === 'path' ? await t.client(gw, `s.v/${pathToken(name)}`)
				: await t.client(gw, '', { cookies: { service: 's.v', user: name } }),
		})));
		for (const u of users) await bus.publish(recv('s%2Ev', token(u.name)), `for ${u.name}`);
		for (const u of users) await u.client.send(`from ${u.name}`);
		for (const u of users) {
			assert.equal((await u.client.next()).text, `for ${u.name}`);
			const stored = await bus.storedAll(send('s%2Ev', token(u.name)), 1);
			assert.deepEqual(stored.map((m) => m.text), [`from ${u.name}`]);
		}
		await bus.empty('ws.recv.>');
		assert.equal(await bus.count('ws.send.>'), names.length);
		for (const u of users) assert.equal(u.client.got.length, 1, `${u.name} got somebody else's message`);
	});
}

await test('a user by path and by cookie is the same', async (t) => {
	const { bus, gw } = await t.pair();
	const all = [await t.client(gw, 'chat/a.b%40c.org'), await t.client(gw, '', { cookies: { service: 'chat', user: 'a.b@c.org' } }),
		await t.client(gw, '', { cookies: { service: 'chat', user: '"a.b@c.org"' } })];
	await bus.publish(recv('chat', 'a%2Eb@c%2Eorg'), 'x');
	for (const c of all) assert.equal((await c.next()).text, 'x');
});

await test('empty and overlong tokens are refused', async (t) => {
	const { gw } = await t.pair();
	const status = async (where, opts) => (await Client.refused(gw.wsUrl(where), opts)).status;
	const long = 'x'.repeat(129);
	assert.equal(await status(`chat/${long}`), 400);
	assert.equal(await status(`${long}/alice`), 400);
	assert.equal(await status(`chat/${'%C3%A9'.repeat(65)}`), 400, 'bytes count, not characters');
	assert.equal(await status('', { cookies: { service: 'chat', user: long } }), 400);
	assert.equal(await status('', { cookies: { service: long, user: 'a' } }), 400);
	assert.equal(await status('', { cookies: { service: 'chat', user: '' } }), 400);
	assert.equal(await status('', { cookies: { service: '', user: 'a' } }), 400);
	assert.equal(await status('/ws//alice/'), 400);
	assert.equal(await status('chat/%zz'), 400);
	assert.equal(await status('chat/%2'), 400);
	assert.equal(await status('', { cookies: { service: 'chat' } }), 401);
	const c = await t.client(gw, `${'x'.repeat(128)}/${'y'.repeat(128)}`);
	await c.close();
});
