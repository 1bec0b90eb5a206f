// HTTP before the upgrade: every refusal has its status, its headers and a body that says why.
import { test, assert, until, stays } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { ACCEPT, KEY, TEXT, frame, request, upgrade } from './lib/raw.mjs';
import { Client, numbers } from './lib/client.mjs';

const P = '/ws/chat/alice/';
const big = 'x'.repeat(20000);

const rows = [
	['400', 'garbage', '\x16\x03\x01\x02\x00garbage\r\n\r\n'],
	['400', 'no request line', '\x00\x00\x00\x00\r\n\r\n'],
	['505', 'HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
	['400', 'no Host', upgrade(P, { Host: null })],
	['400', 'two Hosts', upgrade(P, { Host: ['a', 'b'] })],
	['400', 'no key', upgrade(P, { 'Sec-WebSocket-Key': null })],
	['400', 'two keys', upgrade(P, { 'Sec-WebSocket-Key': [KEY, KEY] })],
	['400', 'a short key', upgrade(P, { 'Sec-WebSocket-Key': 'c2hvcnQ=' })],
	['400', 'a key that is no base64', upgrade(P, { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' })],
	['400', 'an empty key', upgrade(P, { 'Sec-WebSocket-Key': '' })],
	['400', 'a folded header', upgrade(P, { 'X-Fold': 'a\r\n b' })],
	['400', 'a space before the colon', upgrade(P).replace('Host:', 'Host :')],
	['400', 'NUL in a header', upgrade(P, { 'X-Nul': 'a\0b' })],
	['400', 'a body', `${upgrade(P, { 'Content-Length': '3' })}abc`],
	['400', 'chunked', `${upgrade(P, { 'Transfer-Encoding': 'chunked' })}0\r\n\r\n`],
	['400', 'a bad escape', upgrade('/ws/chat/%zz/')],
	['400', 'an empty token', upgrade('/ws//alice/')],
	['400', 'a token too long', upgrade(`/ws/chat/${'x'.repeat(129)}/`)],
	['401', 'no identity', upgrade('/ws/')],
	['401', 'no identity in cookies', upgrade('/ws/', { Cookie: 'a=b' })],
	['403', 'a foreign origin', upgrade(P, { Origin: 'https://evil.example' })],
	['403', 'origin null', upgrade(P, { Origin: 'null' })],
	['404', 'another path', upgrade('/')],
	['404', 'a path too deep', upgrade('/ws/chat/alice/more')],
	['404', 'a path like ours', upgrade('/wsx/chat/alice')],
	['405', 'POST', upgrade(P, {}, { method: 'POST' })],
	['405', 'DELETE', upgrade(P, {}, { method: 'DELETE' })],
	['414', 'a request line too long', upgrade(`/ws/chat/alice/?${big}`)],
	['431', 'a header too large', upgrade(P, { 'X-Big': big })],
	['431', 'headers too large together', upgrade(P, Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`X-${i}`, 'y'.repeat(100)])))],
	['426', 'no upgrade', `GET ${P} HTTP/1.1\r\nHost: a\r\n\r\n`],
	['426', 'another upgrade', upgrade(P, { Upgrade: 'h2c' })],
	['426', 'version 8', upgrade(P, { 'Sec-WebSocket-Version': '8' })],
	['426', 'no version', upgrade(P, { 'Sec-WebSocket-Version': null })],
];

const must = {
	401: (h) => assert.ok(h['www-authenticate'], 'WWW-Authenticate'),
	405: (h) => assert.match(h.allow ?? '', /GET/),
	426: (h, what) => {
		if (what.includes('version')) {
			assert.equal(h['sec-websocket-version'], '13');
		} else {
			assert.equal(h.upgrade?.toLowerCase(), 'websocket');
			assert.match(h.connection ?? '', /upgrade/i);
		}
	},
};

await test('the table of refusals', async (t) => {
	const { gw } = await t.pair();
	const head = await t.raw(gw);
	await head.write(upgrade(P, {}, { method: 'HEAD' }));
	await head.ended();
	assert.match(head.buf.toString(), /^HTTP\/1.1 405 [^]*Content-Length: [1-9][^]*\r\n\r\n$/); // the length that a body would have

	const wrong = [];
	for (const [status, what, bytes] of rows) {
		try {
			const a = await request(t, gw, bytes, 5000);
			assert.equal(String(a.status), status);
			assert.ok(a.body.trim().length > 2, 'a text body');
			assert.match(a.headers['content-type'] ?? '', /text\/plain/);
			must[status]?.(a.headers, what);
		} catch (e) {
			wrong.push(`${status} ${what}: ${e.message.split('\n').join(' ')}`);
		}
		// A refused request never ends or blocks a process.
		assert.equal((await request(t, gw, upgrade(P))).status, 101, `after ${what}`);
	}
	assert.deepEqual(wrong, []);
});

await test('the answer to a good handshake', async (t) => {
	const { gw } = await t.pair();
	for (const h of [{}, { Upgrade: 'WebSocket' }, { Connection: 'keep-alive, Upgrade' }, { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' },
		{ 'Sec-WebSocket-Protocol': 'chat, superchat' }, { Cookie: 'service=other; user=other' }]) {
		const a = await request(t, gw, upgrade(P, h));
		assert.equal(a.status, 101, JSON.stringify(h));
		assert.equal(a.headers['sec-websocket-accept'], ACCEPT);
		assert.equal(a.headers.upgrade.toLowerCase(), 'websocket');
		assert.match(a.headers.connection, /upgrade/i);
		assert.equal(a.headers['sec-websocket-protocol'], undefined);
	}
});

await test('a refusal ends the connection; nothing hangs', async (t) => {
	const { gw } = await t.pair();
	const r = await t.raw(gw);
	await r.write(upgrade('/nothing'));
	assert.equal((await r.response()).status, 404);
	await r.ended();
});

await test('408 for a handshake that takes too long', async (t) => {
	const { gw } = await t.pair({ handshake_timeout: '500ms' });
	const silent = await t.raw(gw);
	const slow = await t.raw(gw);
	await slow.write(upgrade(P).slice(0, -4));
	for (const r of [silent, slow]) {
		assert.equal((await r.response(5000)).status, 408);
		await r.ended(5000);
	}
	gw.config.handshake_timeout = '10s'; // for who must come in time
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	const c = await t.client(gw, 'chat/alice');
	await c.ping();
});

await test('503 and Retry-After when full, and room again afterwards', async (t) => {
	const { gw } = await t.pair({ workers: 1, max_workers: 1, max_connections: 4, echo_path: '/echo' });
	const all = [], echo = `ws://127.0.0.1:${gw.port}/echo`;
	all.push(await Client.connect(echo)); // counts like others
	for (let i = 1; i < 4; i++) all.push(await t.client(gw, `chat/u${i}`));
	for (const url of [gw.wsUrl('chat/one-more'), echo]) {
		const no = await Client.refused(url);
		assert.equal(no.status, 503);
		assert.match(no.headers['retry-after'] ?? '', /^\d+$/);
	}
	await all[0].ping();
	await all.pop().close();
	await until('room for one', () => Client.connect(gw.wsUrl('chat/next')).then((c) => all.push(c), () => false));
	for (const c of all) c.terminate();
});

await test('full is full, also for those who come at once', async (t) => {
	const { gw } = await t.pair({ workers: 1, max_workers: 1, max_connections: 10 });
	const all = await Promise.all(numbers(100).map(() => t.raw(gw)));
	const go = await hold(gw.pid('bridge')); // all wait for its answer together
	await Promise.all(all.map((r, i) => r.write(upgrade(`/ws/chat/u${i}/`))));
	await stays('waiting', () => all.every((r) => r.buf.length === 0), 300);
	go();
	const got = await Promise.all(all.map((r) => r.response()));
	assert.deepEqual([101, 503].map((s) => got.filter((a) => a.status === s).length), [10, 90]);
	assert.ok(got.every((a) => a.status === 101 || a.headers['retry-after']));
	for (const r of all) r.destroy();
	await until('room for one', () => Client.connect(gw.wsUrl('chat/next')).then((c) => c.close(), () => false));
});

await test('the handshake byte by byte', async (t) => {
	const { gw, bus } = await t.pair();
	const r = await t.raw(gw);
	for (const b of Buffer.from(upgrade(P))) await r.write(Buffer.from([b]));
	assert.equal((await r.response()).status, 101);
	for (const b of frame(TEXT, 'in pieces, too')) await r.write(Buffer.from([b]));
	assert.equal((await bus.storedAll('ws.send.chat.alice', 1))[0].text, 'in pieces, too');
});

await test('the first frames in the same packet as the handshake', async (t) => {
	const { gw, bus } = await t.pair();
	const r = await t.raw(gw);
	await r.write(Buffer.concat([Buffer.from(upgrade(P)), frame(TEXT, 'at once'), frame(TEXT, 'and more'), frame(TEXT, 'cut here').subarray(0, 9)]));
	assert.equal((await r.response()).status, 101);
	assert.deepEqual((await bus.storedAll('ws.send.chat.alice', 2)).map((m) => m.text), ['at once', 'and more']);
});

await test('two requests in one packet get one answer', async (t) => {
	const { gw } = await t.pair();
	const r = await t.raw(gw);
	await r.write(upgrade('/nothing') + upgrade(P));
	assert.equal((await r.response()).status, 404);
	await r.ended();
	assert.equal(r.buf.length, 0, 'no second answer');
});
