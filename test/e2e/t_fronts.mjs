// nginx, HAProxy and Apache in front, with the samples of etc/examples: what passes, whose address, who answers Pings, and
// what their time for a silent connection does with ours.
import { test, assert, stays, until } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { Front } from './lib/fronts.mjs';
import { tlsPair } from './lib/pki.mjs';
import { PING, PONG } from './lib/raw.mjs';

const FORWARDED = { networks: ['127.0.0.1'], forwarded: 'x-forwarded-for' };
const PROXY = { networks: ['127.0.0.1'], protocol: 'v1v2' };
const big = (1 << 20) - 1024;

async function rig(t, kind, config = {}, opts = {}) {
	const { gw, bus, certs, ca } = await tlsPair(t, { config });
	const front = await Front.start(t, kind, gw, { certificate: certs[0], ...opts });
	return { gw, bus, ca, front };
}

const session = async (gw, user) => (await gw.sessions()).find((s) => s.user === user);

// Both ways, in order, small and large; Pings of the client are answered.
async function carries(c, bus, user) {
	const subject = user.replace('.', '%2E').replace('%', '%25');
	await bus.publishAll(200, (i) => [recv('chat', subject), String(i)]);
	assert.deepEqual((await c.take(200)).map((m) => m.text), numbers(200));
	await bus.publish(recv('chat', subject), 'x'.repeat(big));
	assert.equal((await c.next()).text.length, big);
	const got = await bus.listen(send('chat', subject));
	for (const i of numbers(200)) c.ws.send(i);
	await c.send('y'.repeat(big));
	await until('all of it', () => got.length === 201);
	assert.deepEqual(got.slice(0, 200).map((m) => m.text), numbers(200));
	assert.equal(got[200].data.length, big);
	await c.ping();
	await bus.empty(recv('chat', subject));
}

for (const kind of ['nginx', 'haproxy', 'apache']) {
	await test(`${kind}: by path, by cookie, with TLS; origins, addresses, close codes`, async (t) => {
		const { gw, bus, ca, front } = await rig(t, kind, { proxy: FORWARDED });
		const alice = await front.client('chat/alice', { localAddress: '127.0.0.2', headers: { 'X-Forwarded-For': '6.6.6.6' }, origin: `http://127.0.0.1:${front.port}` });
		await carries(alice, bus, 'alice');
		assert.match((await session(gw, 'alice')).addr, /^127\.0\.0\.2:/); // not what the client claims
		assert.deepEqual(await alice.close(4321), { code: 4321, reason: '' });

		const cookie = await front.client('', { cookies: { service: 'chat', user: 'bob' } });
		await carries(cookie, bus, 'bob');
		assert.equal((await gw.ctl('close', 'chat', 'bob', '--reason', 'bye')).code, 0);
		assert.deepEqual(await cookie.ended(), { code: 4002, reason: 'bye' });

		const tls = await front.client('chat/tls/?x=1', { ca, origin: `https://localhost:${front.tlsPort}` });
		await carries(tls, bus, 'tls');
		await tls.close();

		// Names arrive as the client wrote them.
		const odd = await front.client('chat/a%2Fb%25.c/');
		await bus.publish(recv('chat', 'a/b%25%2Ec'), 'for the odd one');
		assert.equal((await odd.next()).text, 'for the odd one');

		assert.equal((await Client.refused(`ws://127.0.0.1:${front.port}/ws/chat/eve`, { origin: 'https://evil.example' })).status, 403);
		const no = await fetch(`http://127.0.0.1:${front.port}/ws/chat/eve/`);
		assert.equal(no.status, 426);
	});

	await test(`${kind}: it answers no Pings: what the client has not confirmed stays`, async (t) => {
		const { bus, front } = await rig(t, kind, { pong_timeout: '60s' });
		const r = await front.raw('/ws/chat/mute/');
		await bus.publish(recv('chat', 'mute'), 'x');
		const ping = await r.next(PING);
		await stays('the message', async () => (await bus.count(recv('chat', 'mute'))) === 1, 700);
		await r.send(PONG, ping.data);
		await bus.empty(recv('chat', 'mute'));
	});
}

for (const kind of ['nginx stream', 'haproxy tcp']) {
	await test(`${kind}: bytes alone, and the client's address in a PROXY header`, async (t) => {
		const { gw, bus, ca, front } = await rig(t, kind, { proxy: PROXY });
		const tls = kind === 'haproxy tcp' ? { ca } : {};
		const c = await front.client('chat/alice', { localAddress: '127.0.0.3', ...tls });
		await carries(c, bus, 'alice');
		assert.match((await session(gw, 'alice')).addr, /^127\.0\.0\.3:\d+/);
		assert.deepEqual(await c.close(4321), { code: 4321, reason: '' });
	});
}

// The samples' 75 s made short. A Ping of ours in time keeps a connection; without one it is cut, without a Close.
const SILENT = {
	nginx: { 'proxy_read_timeout 75s': 'proxy_read_timeout 2s' },
	'nginx stream': { 'proxy_timeout 75s': 'proxy_timeout 2s' },
	haproxy: { 'timeout tunnel 75s': 'timeout tunnel 2s' },
	'haproxy tcp': { 'timeout client 75s': 'timeout client 2s', 'timeout server 75s': 'timeout server 2s' },
	apache: { 'timeout=75': 'timeout=2\n\tTimeout 2' }, // the greater of both counts
};

async function silent({ t, gw, certs, ca }, kind, calm) {
	const front = await Front.start(t, kind, gw, { certificate: certs[0], instead: SILENT[kind] });
	const opts = kind === 'haproxy tcp' ? { ca } : {};
	const name = kind.replace(' ', '-');
	const kept = await front.client(`chat/kept-${name}`, opts);
	await stays(`the connection through ${kind}`, () => !kept.closed, 6000);
	await calm();
	// Bytes of one side alone are bytes.
	const talks = await front.client(`chat/talks-${name}`, opts);
	const talk = setInterval(() => talks.ws.send('x'), 300);
	t.atEnd(() => clearInterval(talk));
	assert.equal((await kept.ended()).code, 1006, kind);
	await stays(`the one that talks through ${kind}`, () => !talks.closed, 3000);
	clearInterval(talk);
	assert.equal((await talks.ended()).code, 1006, kind);
	await until('the end of their sessions', async () => !(await gw.sessions()).some((s) => s.user.endsWith(name)));
}

await test('our Pings outlast the time for silence of each of them, and each cuts without', async (t) => {
	const pairs = await Promise.all([FORWARDED, PROXY].map((proxy, i) => tlsPair(t, { authority: `ca${i}`, config: { proxy, ping_interval: '1s' } })));
	const kinds = Object.keys(SILENT);
	let kept = 0;
	// when all have seen that it is kept: no Pings any more
	const quiet = async (gw) => {
		gw.config.ping_interval = '60s';
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
	};
	const calm = async () => {
		if (++kept === kinds.length) for (const { gw } of pairs) await quiet(gw);
		await until('all of them', () => kept === kinds.length);
	};
	await Promise.all(kinds.map((kind) => silent({ t, ...pairs[/tcp|stream/.test(kind) ? 1 : 0] }, kind, calm)));
});
