// Requests that two readers would read in two ways, and names that try to write lines into the log.
import { test, assert, until } from './lib/scenario.mjs';
import { CLOSE, TEXT, frame, closeFrame, request, upgrade } from './lib/raw.mjs';

const P = '/ws/chat/alice/';
const smuggled = upgrade('/ws/chat/smuggled/');

const rows = [
	[400, 'a body that is a request', `${upgrade(P, { 'Content-Length': String(smuggled.length) })}${smuggled}`],
	[400, 'two lengths', upgrade(P, { 'Content-Length': ['0', '5'] })],
	[400, 'a length of +0', upgrade(P, { 'Content-Length': '+0' })],
	[400, 'a length of 0, 0', upgrade(P, { 'Content-Length': '0, 0' })],
	[400, 'a negative length', upgrade(P, { 'Content-Length': '-1' })],
	[400, 'a huge length', upgrade(P, { 'Content-Length': '18446744073709551616' })],
	[400, 'length and chunks', `${upgrade(P, { 'Content-Length': '5', 'Transfer-Encoding': 'chunked' })}0\r\n\r\n`],
	[400, 'chunks in disguise', upgrade(P, { 'Transfer-Encoding': 'xchunked' })],
	[400, 'a folded Transfer-Encoding', upgrade(P, { 'Transfer-Encoding': '\r\n chunked' })],
	[400, 'a fold in front', upgrade(P).replace('Host:', ' X: y\r\nHost:')],
	[400, 'a fold by tab', upgrade(P, { Cookie: 'service=chat;\r\n\tuser=bob' })],
	[400, 'bare LF', upgrade(P).replaceAll('\r\n', '\n')],
	[400, 'one bare LF', upgrade(P, { 'X-A': 'a\nHost: evil' })],
	[400, 'bare CR', upgrade(P, { 'X-A': 'a\rHost: evil' })],
	[400, 'NUL in a name', upgrade(P, { 'X-\0': 'a' })],
	[400, 'NUL in a value', upgrade(P, { Cookie: 'service=chat; user=a\0b' })],
	[400, 'NUL in the target', upgrade('/ws/chat/al\0ice/')],
	[400, 'a space before the colon', upgrade(P).replace('Host:', 'Host :')],
	[400, 'two Hosts', upgrade(P, { Host: ['127.0.0.1', '127.0.0.1'] })],
	[400, 'a Host with a path', upgrade(P, { Host: '127.0.0.1/evil' })],
	[400, 'a Host with userinfo', upgrade(P, { Host: 'a@127.0.0.1' })],
	[400, 'two keys', upgrade(P, { 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'AAAAAAAAAAAAAAAAAAAAAA=='] })],
	[400, 'two versions', upgrade(P, { 'Sec-WebSocket-Version': ['13', '13'] })],
	[400, 'two cookies of one name', upgrade('/ws/', { Cookie: 'service=chat; user=alice; user=bob' })],
	[400, 'the same in two lines', upgrade('/ws/', { Cookie: ['service=chat; user=alice', 'user=bob'] })],
	[403, 'two origins, one of them ours', upgrade(P, { Origin: ['http://127.0.0.1', 'http://evil.example'] })],
	[403, 'an origin and another behind it', upgrade(P, { Origin: 'http://127.0.0.1, http://evil.example' })],
	[400, 'an encoded slash, dot and NUL are no path', upgrade('/ws/chat/%00%2f%')],
	[404, 'dots in the path', upgrade('/ws/../ws/chat/alice/')],
	[400, 'a target with a space', upgrade('/ws/chat/alice/ x')],
	[505, 'HTTP/1.0', upgrade(P, {}, { version: 'HTTP/1.0' })],
];

await test('what two readers would take in two ways is refused, and what is behind it is nobody\'s', async (t) => {
	const { gw, bus } = await t.pair();
	const heard = await bus.listen('ws.>');
	const wrong = [];
	for (const [status, what, bytes] of rows) {
		const r = await t.raw(gw);
		await r.write(bytes);
		const a = await r.response(5000).catch((e) => ({ status: e.message }));
		if (a.status !== status) wrong.push(`${what}: ${a.status}, not ${status}`);
		await r.write(Buffer.concat([Buffer.from(smuggled), frame(TEXT, 'smuggled')]));
		await r.ended();
		if (r.buf.length) wrong.push(`${what}: a second answer`);
	}
	assert.deepEqual(wrong, []);
	assert.equal((await gw.ctl('sessions')).out.trim(), '');
	assert.deepEqual(heard, []);
});

await test('a second request behind an upgrade is no request: 1002', async (t) => {
	const { gw } = await t.pair();
	const r = await t.raw(gw);
	await r.write(upgrade(P) + smuggled);
	assert.equal((await r.response()).status, 101);
	assert.equal((await r.next(CLOSE)).code, 1002);
	await r.ended();
	assert.ok(!gw.log().includes('user=smuggled'));
});

const evil = [
	'a\nwarn worker 0: forged', 'a\r\n2026-01-01T00:00:00.000Z error master: forged', '\x1b[2J\x1b[31mforged', 'a" user=root "', 'a\\', '{"forged":1}\n',
	'\u2028forged', '\u202eforged', '\x00\x07forged', 'a=b c=d',
];

for (const format of ['text', 'json']) {
	await test(`names, paths, origins and reasons write no line of their own into the log: ${format}`, async (t) => {
		const { gw } = await t.pair({ log: { level: 'debug', format } });
		for (const name of evil) {
			const r = await t.raw(gw);
			await r.open(`/ws/chat/${encodeURIComponent(name)}/`);
			await r.write(closeFrame(4000, 'x\nforged reason'));
			await r.ended();
			const bad = await t.raw(gw);
			await bad.open(`/ws/chat/${encodeURIComponent(name)}/`);
			await bad.write(frame(3, name));
			await bad.ended();
			await request(t, gw, upgrade(`/nothing/${encodeURIComponent(name)}`));
			await request(t, gw, upgrade(P, { Origin: `http://evil/${encodeURIComponent(name)}` }));
			await request(t, gw, upgrade(P, { Origin: Buffer.from('http://\u202eevil').toString('latin1') }));
		}
		for (const [what, n] of [['client fault', 1], ['handshake refused', 3]])
			await until(`"${what}" of all`, () => gw.log().endsWith('\n') && gw.log().split(what).length === n * evil.length + 1);
		const lines = gw.log().trimEnd().split('\n');
		for (const l of lines) {
			if (format === 'json') assert.doesNotThrow(() => JSON.parse(l), l);
			else assert.match(l, /^\d{4}-\d\d-\d\dT[\d:.]+Z (error|warn|info|debug|trace) (master|bridge|worker \d+)(: |$)/);
			assert.ok(!/[\x00-\x1f\x7f\u0080-\u009f\u2028\u2029\u202a-\u202e]/.test(l), `a control character: ${JSON.stringify(l)}`);
			assert.ok(!/^\S+ (warn|error) .*: forged/.test(l), l);
		}
		for (const n of lines.filter((l) => l.includes('forged'))) assert.ok(/user=|path=|origin=|"user"|"path"|"origin"|reason/.test(n), n);
	});
}
