// Subprotocols: of those that a service speaks the client gets the first one that it offers, and never one that it did not.
import http from 'node:http';
import { test, assert } from './lib/scenario.mjs';
import { Chrome } from './lib/chrome.mjs';
import { freePort } from './lib/proc.mjs';
import { keyFile, secret, seconds } from './lib/tokens.mjs';
import { upgrade } from './lib/raw.mjs';

async function answer(t, gw, where, offered, headers = {}) {
	const r = await t.raw(gw);
	await r.write(upgrade(`/ws/${where}`, { ...(offered === null ? {} : { 'Sec-WebSocket-Protocol': offered }), ...headers }));
	const a = await r.response();
	assert.equal(a.status, 101, a.body);
	r.destroy();
	return a.headers['sec-websocket-protocol'];
}

const services = { '*': { protocols: ['v1', 'v2'] }, 'a.b@c.org': { protocols: ['v3'] }, mute: { protocols: [] } };

await test('the first that is offered and spoken, by service', async (t) => {
	const { gw } = await t.pair({ service: services });
	const rows = [
		['chat/alice', 'v2, v1', 'v2'],
		['chat/alice', ['x', 'v1,v2'], 'v1'],
		['chat/alice', 'V1, v1x, v3', undefined],
		['chat/alice', null, undefined],
		['chat/alice', '', undefined],
		['a.b@c.org/alice', 'v1, v3', 'v3'],
		['a.b%40c.org/alice', 'v1', undefined],
		['mute/alice', 'v1', undefined],
	];
	for (const [where, offered, want] of rows) assert.equal(await answer(t, gw, where, offered), want, `${where} ${offered}`);
	assert.equal(await answer(t, gw, '', 'v3', { Cookie: 'service=a.b@c.org; user=bob' }), 'v3');
	gw.config.service = { chat: { protocols: ['v9'] } };
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	assert.match(gw.log(), /changed key=service/);
	assert.equal(await answer(t, gw, 'chat/alice', 'v1, v9'), 'v9');
	assert.equal(await answer(t, gw, 'other/alice', 'v1, v9'), undefined);
});

await test('with a token among them: the token is never the one', async (t) => {
	const key = secret('one');
	const rule = { type: 'jwt', keys: [keyFile(t, 'keys.json', [key])], token: ['protocol'] };
	const { gw } = await t.pair({ auth: { '*': rule }, service: { chat: { protocols: ['v1', 'v2'] } } });
	const token = (service) => `wsgate.token.${key.sign({ sub: 'alice', service, exp: seconds(600) })}`;
	assert.equal(await answer(t, gw, 'chat/', `${token('chat')}, mine, v2, v1`), 'v2');
	assert.equal(await answer(t, gw, 'chat/', `mine, ${token('chat')}`), undefined, 'not one that the service does not speak');
	assert.equal(await answer(t, gw, '', `v1, ${token('chat')}`), 'v1', 'the service is named by the token');
	assert.equal(await answer(t, gw, 'news/', `mine, ${token('news')}`), 'mine', 'nothing is known of what it speaks');
});

await test('a browser sees which one it is, and connects with none of them to nobody', async (t) => {
	const port = await freePort();
	const server = http.createServer((_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>wsgate</title>'));
	await new Promise((done) => server.listen(port, '127.0.0.1', done));
	t.atEnd(() => server.closeAllConnections());
	t.atEnd(() => server.close());
	const { gw } = await t.pair({ service: services, origin: { allow: ['any'] } });
	const js = await (await Chrome.start(t)).page(`http://127.0.0.1:${port}/`);
	const open = (list) => js(`new Promise((done) => { const w = new WebSocket("${gw.wsUrl('chat/alice/')}", ${JSON.stringify(list)}); w.onopen = () => done(w.protocol); w.onclose = (e) => done(e.code); })`);
	assert.equal(await open(['x', 'v2', 'v1']), 'v2');
	assert.equal(await open(['x']), 1006);
}, { ms: 120000 });
