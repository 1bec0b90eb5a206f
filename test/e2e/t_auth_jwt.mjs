// Who a client is, says its token: from each place it may come from, until it expires, whatever the request says.
import fs from 'node:fs';
import { test, assert, until, within } from './lib/scenario.mjs';
import { Client, WebSocket } from './lib/client.mjs';
import { wsgated } from './lib/gateway.mjs';
import { freePort } from './lib/proc.mjs';
import { keyFile, ec, rsa, secret, seconds } from './lib/tokens.mjs';
import { recv, send } from './lib/nats.mjs';
import { upgrade } from './lib/raw.mjs';

const bearer = (token) => ({ headers: { Authorization: `Bearer ${token}` } });
const everywhere = ['bearer', 'cookie', 'query', 'protocol'];

// A gateway whose services are all behind one key.
async function rig(t, { keys = [secret('one')], rule = {}, config = {} } = {}) {
	const file = keyFile(t, 'keys.json', keys);
	const pair = await t.pair({ log: { level: 'trace' }, auth: { '*': { type: 'jwt', keys: [file], token: everywhere, ...rule } }, ...config });
	return { ...pair, file, key: keys[0] };
}

const alice = (more = {}) => ({ sub: 'alice', service: 'chat', exp: seconds(600), ...more });

async function refused(gw, where, opts, status, error) {
	const r = await Client.refused(gw.wsUrl(where), opts);
	assert.equal(r.status, status, r.body);
	const www = r.headers['www-authenticate'] ?? '';
	if (status === 401) assert.match(www, /^Bearer realm="wsgate"/);
	if (error) assert.match(www, new RegExp(`error="${error}"`));
	else assert.doesNotMatch(www, /error=/);
	return r;
}

// It is connected as chat/alice: both ways.
async function talks(bus, c, i) {
	await c.send(`up ${i}`);
	await until('what she sent', async () => (await bus.stored(send('chat', 'alice'))).some((m) => m.text === `up ${i}`));
	await bus.publish(recv('chat', 'alice'), `down ${i}`);
	await until('what she got', () => c.texts().includes(`down ${i}`));
}

await test('a token in each place, and in no log', async (t) => {
	const { gw, bus, key } = await rig(t);
	const token = key.sign(alice());
	const other = key.sign(alice({ sub: 'bob' }));
	const ways = [
		['chat/', bearer(token)],
		['', bearer(token)],
		['chat/alice/', bearer(token)],
		['', { headers: { Authorization: `bearer   ${token}` } }],
		['chat/', { cookies: { token } }],
		['', { cookies: { token, service: 'chat', user: 'alice' } }],
		[`chat/?token=${token}`, {}],
		[`/ws/?x=1&token=${token}&y=2`, {}],
	];
	for (const [i, [where, opts]] of ways.entries()) await talks(bus, await t.client(gw, where, opts), i);
	// a place that comes first counts
	await talks(bus, await t.client(gw, `chat/?token=${other}`, { cookies: { token } }), 'first');
	await refused(gw, `chat/?token=${token}&token=${other}`, {}, 400, 'invalid_request');
	await refused(gw, 'chat/', { cookies: { service: 'x' } }, 401);
	await refused(gw, 'chat/alice', { headers: { Authorization: 'Basic YTpi' } }, 401);
	await refused(gw, `chat/?token=${key.sign(alice({ exp: seconds(-60) }))}`, {}, 401, 'invalid_token');
	await refused(gw, 'chat/', bearer(`${token.slice(0, -9)}AAAAAAAAA`), 401, 'invalid_token');
	await refused(gw, 'chat/', bearer('x'.repeat(9000)), 401, 'invalid_token');
	const log = gw.log();
	for (const secretText of [token, other, token.split('.')[1], token.split('.')[2], 'xxxxxxxxx', 'YTpi'])
		assert.ok(!log.includes(secretText), `in the log: ${secretText}`);
});

await test('as a subprotocol: another one is answered, the token never', async (t) => {
	const { gw, key } = await rig(t);
	const token = `wsgate.token.${key.sign(alice())}`;
	const answer = async (...offered) => {
		const r = await t.raw(gw);
		await r.write(upgrade('/ws/chat/', { 'Sec-WebSocket-Protocol': offered }));
		const { status, headers } = await r.response();
		assert.equal(status, 101);
		assert.ok(!JSON.stringify(headers).includes('eyJ'));
		return headers['sec-websocket-protocol'];
	};
	assert.equal(await answer(`chat, ${token}`), 'chat');
	assert.equal(await answer(`${token},v2 , chat`), 'v2');
	assert.equal(await answer(token, 'v2'), 'v2');
	assert.equal(await answer(token), undefined);
	assert.equal(await answer(`wsgate.token.x, ${token}`).catch((e) => e.code), 'ERR_ASSERTION');
	const ws = new WebSocket(gw.wsUrl('chat/'), ['mine', token]);
	await within('a connection', new Promise((open, fail) => ws.once('open', open).once('error', fail)));
	assert.equal(ws.protocol, 'mine');
	ws.terminate();
	assert.ok(!gw.log().includes('eyJ'), 'no token in the log');
});

await test('the request may say the same as the token, and nothing else', async (t) => {
	const { gw, key } = await rig(t);
	const opts = bearer(key.sign(alice()));
	await t.client(gw, 'chat/alice', opts);
	await refused(gw, 'chat/bob', opts, 403);
	await refused(gw, 'game/alice', opts, 403, 'insufficient_scope');
	await refused(gw, '', { ...opts, cookies: { service: 'chat', user: 'bob' } }, 403);
	await refused(gw, '', { ...opts, cookies: { service: 'game' } }, 403, 'insufficient_scope');
	await refused(gw, 'chat/alice', bearer(key.sign({ sub: 'alice', exp: seconds(9) })), 403, 'insufficient_scope');
	await refused(gw, 'chat/alice', bearer(key.sign({ service: 'chat', exp: seconds(9) })), 401, 'invalid_token');
	await t.client(gw, 'chat/alice', bearer(key.sign(alice({ service: ['game', 'chat'] }))));
	await refused(gw, '/nowhere', opts, 404);
});

await test('RSA, EC and secrets, PEM and JWK; issuer and audience', async (t) => {
	const [r, e, s] = [rsa('r'), ec('e'), secret('s')];
	const pem = ec(undefined);
	const files = [keyFile(t, 'a.json', [r, e, s]), keyFile(t, 'b.pem', pem.pem)];
	const { gw } = await rig(t, { rule: { keys: files, issuer: 'https://id.example.org', audience: ['gate', 'us'] } });
	const good = { iss: 'https://id.example.org', aud: ['x', 'us'] };
	for (const k of [r, e, s, pem]) {
		await t.client(gw, 'chat/', bearer(k.sign(alice(good))));
		await refused(gw, 'chat/', bearer(k.sign(alice({ ...good, iss: 'me' }))), 401, 'invalid_token');
		await refused(gw, 'chat/', bearer(k.sign(alice({ ...good, aud: 'them' }))), 401, 'invalid_token');
		await refused(gw, 'chat/', bearer(k.sign(alice({ ...good, nbf: seconds(60) }))), 401, 'invalid_token');
	}
	await refused(gw, 'chat/', bearer(r.sign(alice(good), { kid: 'e' })), 401, 'invalid_token');
	await refused(gw, 'chat/', bearer(r.sign(alice(good), { alg: 'none' })), 401, 'invalid_token');
	await refused(gw, 'chat/', bearer(secret('s').sign(alice(good))), 401, 'invalid_token');
});

await test('by service: its own rules, those of the rest, none', async (t) => {
	const [a, b] = [secret('a'), secret('b')];
	const { gw } = await t.pair({
		auth: {
			open: { type: 'none' },
			chat: { type: 'jwt', keys: [keyFile(t, 'a.json', [a])] },
			'*': { type: 'jwt', keys: [keyFile(t, 'b.json', [b])] },
		},
	});
	await t.client(gw, 'open/alice');
	await refused(gw, 'chat/alice', {}, 401);
	await t.client(gw, 'chat/alice', bearer(a.sign(alice())));
	await refused(gw, 'chat/alice', bearer(b.sign(alice())), 401, 'invalid_token');
	await t.client(gw, 'game/alice', bearer(b.sign(alice({ service: 'game' }))));
	// who names no service is judged by the rules of the rest: they are not those of chat
	await t.client(gw, '', bearer(b.sign(alice({ service: 'game' }))));
	await refused(gw, '', bearer(b.sign(alice())), 403);
	await refused(gw, '', bearer(b.sign(alice({ service: 'open' }))), 403);
});

await test('with sections, a service without one lets nobody in', async (t) => {
	const { gw } = await t.pair({ auth: { open: { type: 'none' } } });
	await t.client(gw, 'open/alice');
	await refused(gw, 'chat/alice', {}, 403);
	const r = await Client.refused(gw.wsUrl('open/'));
	assert.equal(r.status, 400);
	const none = await Client.refused(gw.wsUrl(''));
	assert.equal(none.status, 401);
	assert.ok(none.headers['www-authenticate'], 'it names no service: others may be open to it');
});

await test('a token that expires ends the connection with 3000', async (t) => {
	const { gw, bus, key } = await rig(t, { rule: { leeway: 0 } });
	const c = await t.client(gw, 'chat/', bearer(key.sign(alice({ exp: seconds(3) }))));
	const lasting = await t.client(gw, 'chat/', bearer(key.sign(alice({ exp: undefined }))));
	await talks(bus, c, 0);
	assert.deepEqual(await c.ended(), { code: 3000, reason: 'the token has expired' });
	await talks(bus, lasting, 1);
});

await test('a fresh token on the same connection', async (t) => {
	const { gw, bus, key } = await rig(t, { rule: { leeway: 0, refresh: 'on' } });
	const c = await t.client(gw, 'chat/', bearer(key.sign(alice({ exp: seconds(3) }))));
	const refresh = async (token) => {
		await c.send(JSON.stringify({ wsgate: 'refresh', token }));
		return JSON.parse((await c.next()).text);
	};
	const bad = [alice({ sub: 'bob' }), alice({ service: 'game' }), alice({ exp: seconds(-1) })];
	for (const claims of bad) assert.equal((await refresh(key.sign(claims))).ok, false);
	assert.equal((await refresh('nonsense')).error, 'the token is malformed');
	assert.equal((await refresh(undefined)).ok, false);
	const now = await refresh(key.sign(alice({ exp: seconds(6) })));
	assert.equal(now.ok, true);
	assert.ok(now.seconds >= 4 && now.seconds <= 6, JSON.stringify(now));
	await talks(bus, c, 0);
	// what is none of it is a message
	await c.send('{"wsgate":"other"}');
	await c.send('{"refresh":"wsgate"}');
	const stored = await bus.storedAll(send('chat', 'alice'), 3);
	assert.deepEqual(stored.map((m) => m.text), ['up 0', '{"wsgate":"other"}', '{"refresh":"wsgate"}']);
	const started = Date.now();
	assert.equal((await c.ended()).code, 3000);
	assert.ok(Date.now() - started < 7000);
	assert.ok(!/eyJ/.test(gw.log()), 'no token in the log');
});

await test('without refresh the same is a message', async (t) => {
	const { gw, bus, key } = await rig(t);
	const c = await t.client(gw, 'chat/', bearer(key.sign(alice())));
	await c.send('{"wsgate":"refresh","token":"x"}');
	assert.equal((await bus.storedAll(send('chat', 'alice'), 1))[0].text, '{"wsgate":"refresh","token":"x"}');
});

await test('keys change by a reload; a broken file changes nothing', async (t) => {
	const [a, b] = [secret('a'), secret('b')];
	const { gw, bus, file } = await rig(t, { keys: [a] });
	const c = await t.client(gw, 'chat/', bearer(a.sign(alice())));
	await refused(gw, 'chat/', bearer(b.sign(alice())), 401, 'invalid_token');
	keyFile(t, 'keys.json', [b]);
	assert.equal((await gw.ctl('reload')).code, 0);
	assert.match(gw.log(), /key files were read again files=1/);
	for (let i = 0; i < 6; i++) { // each worker
		await t.client(gw, 'chat/', bearer(b.sign(alice())));
		await refused(gw, 'chat/', bearer(a.sign(alice())), 401, 'invalid_token');
	}
	for (const broken of ['{"keys":[', '{"keys":[]}', 'hello', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n']) {
		keyFile(t, 'keys.json', broken);
		const r = await gw.ctl('reload');
		assert.notEqual(r.code, 0);
		assert.ok((r.out + r.err).includes(file), r.out + r.err);
	}
	fs.unlinkSync(file);
	assert.notEqual((await gw.ctl('reload')).code, 0);
	for (let i = 0; i < 6; i++) await t.client(gw, 'chat/', bearer(b.sign(alice())));
	assert.equal(c.closed, null);
	// a worker that comes later has them from the master
	await gw.murder('worker 0');
	await gw.murder('worker 1');
	await until('two workers', () => gw.pid('worker 0') && gw.pid('worker 1'));
	await until('a token of the new key', () => t.client(gw, 'chat/', bearer(b.sign(alice()))).then(() => true, () => false));
	keyFile(t, 'keys.json', [a, b]);
	assert.equal((await gw.ctl('reload')).code, 0);
	await talks(bus, await t.client(gw, 'chat/', bearer(a.sign(alice()))), 1);
});

await test('keys that root alone may read', async (t) => {
	if (process.getuid() !== 0) t.skip('not root');
	const a = secret('a');
	const file = keyFile(t, 'keys.json', [a]);
	fs.chmodSync(file, 0o600);
	const { gw } = await t.pair({ user: 'nobody', auth: { '*': { type: 'jwt', keys: [file] } } });
	await t.client(gw, 'chat/', bearer(a.sign(alice())));
	const b = secret('b');
	keyFile(t, 'keys.json', [b]);
	assert.equal((await gw.ctl('reload')).code, 0);
	await t.client(gw, 'chat/', bearer(b.sign(alice())));
});

await test('an expiry moves with its connection: to another worker, to another program', async (t) => {
	const { gw, bus, key } = await rig(t, { rule: { leeway: 0 }, config: { workers: 2 } });
	const soon = await Promise.all(Array.from({ length: 8 }, () => t.client(gw, 'chat/', bearer(key.sign(alice({ exp: seconds(12) }))))));
	gw.config.workers = 1;
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	await until('one worker', () => !gw.pid('worker 1'));
	gw.signal('SIGUSR2');
	await gw.replaced();
	for (const c of soon) assert.equal(c.closed, null);
	await talks(bus, soon[0], 0);
	for (const c of soon) assert.deepEqual(await c.ended(), { code: 3000, reason: 'the token has expired' });
});

await test('a start with a key file that is broken: refused, and named', async (t) => {
	const nats = await t.nats();
	const file = keyFile(t, 'keys.json', '{"keys":[]}');
	const gw = await t.gateway(nats, { start: false, config: { auth: { chat: { type: 'jwt', keys: [file] } } } });
	const check = await wsgated('-t', '-c', gw.file);
	assert.equal(check.code, 1);
	assert.match(check.err, new RegExp(`auth "chat": keys: ${file}: no key that can be used`));
	const start = await wsgated('-f', '-c', gw.file);
	assert.equal(start.code, 1);
	assert.match(start.err, /no key that can be used/);
});

await test('believing everybody from elsewhere is warned about, unless it is meant', async (t) => {
	const nats = await t.nats();
	const warned = async (listen, auth) => {
		const port = await freePort();
		const gw = await t.gateway(nats, { config: { listen: [listen.replace('PORT', port)], ...(auth ? { auth } : {}) } });
		return gw.log().split('\n').filter((l) => / warn .*believed who they say they are/.test(l)).length;
	};
	assert.equal(await warned('0.0.0.0:PORT'), 1);
	assert.equal(await warned('127.0.0.1:PORT'), 0);
	assert.equal(await warned('0.0.0.0:PORT', { '*': { type: 'none' } }), 0);
});
