// origin.allow: same, any, lists with a wildcard label; no Origin is no browser.
import { test, assert } from './lib/scenario.mjs';
import { request, upgrade } from './lib/raw.mjs';

async function status(t, gw, origin, host = `127.0.0.1:${gw.port}`) {
	return (await request(t, gw, upgrade('/ws/chat/alice/', { Host: host, Origin: origin }))).status;
}

await test('origin same (the default)', async (t) => {
	const { gw } = await t.pair();
	assert.equal(await status(t, gw, null), 101, 'no Origin');
	assert.equal(await status(t, gw, `http://127.0.0.1:${gw.port}`), 101);
	assert.equal(await status(t, gw, `http://127.0.0.1:${gw.port + 1}`), 403, 'another port');
	assert.equal(await status(t, gw, `http://localhost:${gw.port}`), 403, 'another name');
	assert.equal(await status(t, gw, `http://127.0.0.1:${gw.port}.evil.example`), 403);
	assert.equal(await status(t, gw, 'http://127.0.0.1'), 403);
	assert.equal(await status(t, gw, 'http://example.org', 'example.org'), 101, 'default port on both sides');
	assert.equal(await status(t, gw, 'http://EXAMPLE.org', 'example.org'), 101, 'case does not matter');
	assert.equal(await status(t, gw, 'https://example.org', 'example.org'), 101, 'a proxy before us speaks TLS');
	assert.equal(await status(t, gw, 'https://example.org', 'example.com'), 403);
	assert.equal(await status(t, gw, ''), 403, 'an empty one');
});

await test('origin any', async (t) => {
	const { gw } = await t.pair({ origin: { allow: ['any'] } });
	for (const o of [null, 'https://evil.example', 'null']) assert.equal(await status(t, gw, o), 101, String(o));
});

await test('origin from a list', async (t) => {
	const { gw } = await t.pair({ origin: { allow: ['https://*.example.org', 'http://app.local:3000'] } });
	for (const [o, want] of [
		[null, 101],
		['https://a.example.org', 101],
		['https://a.example.org:443', 101],
		['http://a.example.org', 403],
		['https://a.example.org:8443', 403],
		['https://evil-example.org', 403],
		['https://a.example.org.evil.com', 403],
		['http://app.local:3000', 101],
		['http://app.local', 403],
		['http://app.local:30000', 403],
	]) assert.equal(await status(t, gw, o), want, String(o));
	assert.equal(await status(t, gw, `http://127.0.0.1:${gw.port}`), 403, 'same is not in the list');
});
