// Behind a proxy: the PROXY protocol, X-Forwarded-For and Forwarded, from those who are listed and from nobody else.
import net from 'node:net';
import tls from 'node:tls';
import { test, assert, until } from './lib/scenario.mjs';
import { send } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';
import { tlsPair } from './lib/pki.mjs';
import { Raw, TEXT, frame, upgrade } from './lib/raw.mjs';

// A socket from another loopback address.
async function from(t, gw, localAddress) {
	const r = new Raw(net.connect({ port: gw.port, host: '127.0.0.1', localAddress, allowHalfOpen: true, noDelay: true }));
	t.clients.push(() => r.destroy());
	await until('a connection', () => !r.socket.connecting);
	return r;
}

const P = (user) => `/ws/chat/${user}/`;
const v1 = (addr, port = 4711) => `PROXY ${addr.includes(':') ? 'TCP6' : 'TCP4'} ${addr} ${addr.includes(':') ? '::1' : '127.0.0.1'} ${port} 80\r\n`;
function v2(command, family, body, tlv = Buffer.alloc(0)) {
	const head = Buffer.from([13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x20 | command, family, 0, 0]);
	head.writeUInt16BE(body.length + tlv.length, 14);
	return Buffer.concat([head, body, tlv]);
}
const inet = Buffer.from([198, 51, 100, 9, 127, 0, 0, 1, 0x12, 0x67, 0, 80]);

// The address that the gateway has for a user.
async function addrOf(gw, user) {
	const line = await until(`${user} in the sessions`, async () => (await gw.ctl('sessions')).out.split('\n').find((l) => l.includes(`chat/${user}`) || l.includes(` ${user} `)));
	return /(\[[0-9a-f:]+\]|\d+\.\d+\.\d+\.\d+):(\d+)/.exec(line)?.[0];
}

async function opens(t, gw, user, before, headers = {}, local) {
	const r = await from(t, gw, local);
	await r.write(Buffer.concat([Buffer.from(before), Buffer.from(upgrade(P(user), headers))]));
	const a = await r.response();
	assert.equal(a.status, 101, a.body);
	return r;
}

const listed = (more) => ({ workers: 2, proxy: { networks: ['127.0.0.1', '10.0.0.0/8', '2001:db8:1::/48'], ...more } });

await test('PROXY headers, versions 1 and 2, say who the client is', async (t) => {
	const { gw, bus } = await t.pair(listed({ protocol: 'v1v2' }));
	await opens(t, gw, 'one', v1('192.0.2.1'));
	assert.equal(await addrOf(gw, 'one'), '192.0.2.1:4711');
	await opens(t, gw, 'six', v1('2001:db8::77'));
	assert.equal(await addrOf(gw, 'six'), '[2001:db8::77]:4711');
	await opens(t, gw, 'two', v2(1, 0x11, inet, Buffer.alloc(3000, 0xee)));
	assert.equal(await addrOf(gw, 'two'), '198.51.100.9:4711');
	for (const [user, head] of [['local', v2(0, 0, Buffer.alloc(0))], ['unix', v2(1, 0x31, Buffer.alloc(216))], ['unknown', 'PROXY UNKNOWN\r\n']]) {
		await opens(t, gw, user, head);
		assert.match(await addrOf(gw, user), /^127\.0\.0\.1:/);
	}
	// Byte by byte, and what is behind it is not lost.
	const r = await from(t, gw);
	for (const b of Buffer.concat([v2(1, 0x11, inet, Buffer.alloc(9)), Buffer.from(upgrade(P('bytes')))])) await r.write(Buffer.from([b]));
	assert.equal((await r.response()).status, 101);
	assert.equal(await addrOf(gw, 'bytes'), '198.51.100.9:4711');
	await r.write(frame(TEXT, 'hello'));
	assert.equal((await bus.storedAll(send('chat', 'bytes'), 1))[0].text, 'hello');
	assert.match(gw.log(), /connection opened .*user=one addr=192\.0\.2\.1:4711/);
});

await test('a proxy that sends no PROXY header is refused; anybody else is taken as it is', async (t) => {
	const { gw } = await t.pair(listed({ protocol: 'v1v2', forwarded: 'x-forwarded-for' }));
	for (const bytes of [upgrade(P('alice')), 'PROXY TCP4 1.2.3.4\r\n', v2(1, 0x11, inet.subarray(0, 11)), v2(2, 0x11, inet), '\x16\x03\x01\x02\x00']) {
		const r = await from(t, gw);
		await r.write(bytes);
		await r.ended();
		assert.equal(r.buf.length, 0, 'an answer');
	}
	assert.match(gw.log(), /warn worker \d: no valid PROXY header from a proxy: the connection is closed addr=127\.0\.0\.1:/);
	const check = await from(t, gw); // a health check
	check.socket.end();
	await check.ended();
	await opens(t, gw, 'plain', '', { 'X-Forwarded-For': '192.0.2.66' }, '127.0.0.2');
	assert.match(await addrOf(gw, 'plain'), /^127\.0\.0\.2:/);
	const spoof = await from(t, gw, '127.0.0.2');
	await spoof.write(v1('192.0.2.66') + upgrade(P('spoof')));
	assert.equal((await spoof.response()).status, 400);
});

await test('X-Forwarded-For: the first address from the right that is none of our proxies', async (t) => {
	const { gw } = await t.pair(listed({ forwarded: 'x-forwarded-for' }));
	for (const [user, xff, want] of [
		['a', '192.0.2.1', '192.0.2.1:0'],
		['b', '6.6.6.6, 192.0.2.1', '192.0.2.1:0'],
		['c', '6.6.6.6, 192.0.2.1, 10.1.2.3', '192.0.2.1:0'],
		['d', ['6.6.6.6', '192.0.2.1:99, 10.1.2.3', '10.4.5.6'], '192.0.2.1:99'],
		['e', '10.1.1.1, 10.2.2.2', '10.1.1.1:0'],
		['f', '6.6.6.6, junk, 10.2.2.2', '10.2.2.2:0'],
		['g', '2001:db8::5, 2001:db8:1::2', '[2001:db8::5]:0'],
	]) {
		await opens(t, gw, user, '', { 'X-Forwarded-For': xff, Forwarded: 'for=7.7.7.7' });
		assert.equal(await addrOf(gw, user), want, `${user} ${xff}`);
	}
	await opens(t, gw, 'none', '');
	assert.match(await addrOf(gw, 'none'), /^127\.0\.0\.1:/);
	await opens(t, gw, 'other', '', { 'X-Forwarded-For': '192.0.2.1' }, '127.0.0.3');
	assert.match(await addrOf(gw, 'other'), /^127\.0\.0\.3:/);
});

await test('Forwarded; one that a client broke is refused', async (t) => {
	const { gw } = await t.pair(listed({ forwarded: 'forwarded' }));
	await opens(t, gw, 'a', '', { Forwarded: 'for=6.6.6.6, for="192.0.2.1:5";proto=https, for=10.0.0.1', 'X-Forwarded-For': '7.7.7.7' });
	assert.equal(await addrOf(gw, 'a'), '192.0.2.1:5');
	await opens(t, gw, 'b', '', { Forwarded: 'For="[2001:db8::9]"' });
	assert.equal(await addrOf(gw, 'b'), '[2001:db8::9]:0');
	const r = await from(t, gw);
	await r.write(upgrade(P('c'), { Forwarded: 'for="6.6.6.6, for=192.0.2.1' }));
	assert.equal((await r.response()).status, 400);
});

await test('the PROXY header and X-Forwarded-For in a row', async (t) => {
	const { gw } = await t.pair(listed({ protocol: 'v1v2', forwarded: 'x-forwarded-for' }));
	await opens(t, gw, 'row', v1('10.9.9.9'), { 'X-Forwarded-For': '6.6.6.6, 192.0.2.1' });
	assert.equal(await addrOf(gw, 'row'), '192.0.2.1:0');
	await opens(t, gw, 'direct', v1('192.0.2.8'), { 'X-Forwarded-For': '6.6.6.6' });
	assert.equal(await addrOf(gw, 'direct'), '192.0.2.8:4711');
});

await test('limits go by the address that a proxy names, not by its own', async (t) => {
	const { gw } = await t.pair({ ...listed({ protocol: 'v1v2' }), limits: { connections_per_address: 3 } });
	for (const i of numbers(4)) for (const k of numbers(3)) await opens(t, gw, `u${i}${k}`, v1(`192.0.2.${i}`));
	const no = await from(t, gw);
	await no.write(v1('192.0.2.2') + upgrade(P('more')));
	const a = await no.response();
	assert.equal(a.status, 429);
	assert.match(gw.log(), /handshake refused status=429 .*addr=192\.0\.2\.2:4711/);
	// IPv6: one /64 is one address.
	for (const k of numbers(3)) await opens(t, gw, `six${k}`, v1(`2001:db8:5:5::${k}`));
	const six = await from(t, gw);
	await six.write(v1('2001:db8:5:5:ffff::1') + upgrade(P('more')));
	assert.equal((await six.response()).status, 429);
	await opens(t, gw, 'other', v1('2001:db8:5:6::1'));
});

await test('plain HTTP on a TLS port, behind a proxy: 400 says so', async (t) => {
	const { gw } = await tlsPair(t, { config: listed({ protocol: 'v1v2' }) });
	const r = await from(t, { port: gw.tlsPort });
	await r.write(v1('192.0.2.7') + upgrade(P('alice')));
	const a = await r.response();
	assert.equal(a.status, 400);
});

await test('one too many of an address behind a proxy, with TLS: the end, and nothing in plain text', async (t) => {
	const { gw } = await tlsPair(t, { config: { ...listed({ protocol: 'v1v2' }), limits: { connections_per_address: 1 } } });
	const shake = async (addr) => {
		const r = await from(t, { port: gw.tlsPort });
		await r.write(v1(addr));
		let text = '';
		r.socket.on('data', (d) => { text += d.toString('latin1'); });
		const s = tls.connect({ socket: r.socket, rejectUnauthorized: false });
		const how = await new Promise((done) => {
			s.once('secureConnect', () => done('open'));
			for (const e of ['error', 'close']) s.once(e, () => done('ended'));
		});
		return { s, how, text: () => text };
	};
	const first = await shake('192.0.2.1');
	assert.equal(first.how, 'open');
	const more = await shake('192.0.2.1');
	more.s.write(upgrade(P('more')));
	if (more.how === 'open') await new Promise((done) => more.s.once('close', done));
	assert.doesNotMatch(more.text(), /HTTP/);
	assert.equal((await shake('192.0.2.2')).how, 'open');
});

// It has been read: another one of that address is one too many.
async function announced(t, gw, addr) {
	const r = await from(t, gw);
	await r.write(v1(addr));
	await until('its header to be read', async () => {
		const other = await from(t, gw);
		await other.write(v1(addr) + upgrade(P('other')));
		return (await other.response()).status === 429;
	});
	return r;
}

await test('a PROXY header is no request: nobody waits for what is behind it, and its time begins there', async (t) => {
	const { gw } = await t.pair({ ...listed({ protocol: 'v1v2' }), workers: 1, limits: { connections_per_address: 1 }, handshake_timeout: '120s', drain_timeout: '120s' });
	const late = await announced(t, gw, '192.0.2.1'), since = performance.now();
	await until('a second without a request', () => performance.now() > since + 1100);
	await late.write(upgrade(P('late')));
	assert.equal((await late.response()).status, 101);
	const sum = Number(/^wsgate_handshake_duration_seconds_sum (.*)$/m.exec((await gw.admin('/metrics')).text)[1]);
	assert.ok(sum > 0 && sum < 1, String(sum));
	const idle = await announced(t, gw, '192.0.2.2');
	late.destroy();
	gw.signal('SIGTERM');
	assert.equal((await gw.exited()).code, 0);
	assert.equal(idle.buf.length, 0);
});

await test('a reload lists a proxy, and counts what it says', async (t) => {
	const { gw } = await t.pair({ limits: { connections_per_address: 2 } });
	gw.config.proxy = { networks: ['127.0.0.1'], forwarded: 'x-forwarded-for' };
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	for (const k of numbers(5)) await opens(t, gw, `u${k}`, '', { 'X-Forwarded-For': `192.0.2.${k}` });
	await opens(t, gw, 'again', '', { 'X-Forwarded-For': '192.0.2.3' });
	const r = await from(t, gw);
	await r.write(upgrade(P('more'), { 'X-Forwarded-For': '192.0.2.3' }));
	assert.equal((await r.response()).status, 429);
});
