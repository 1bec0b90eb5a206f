// A service says who may come in: allowed, refused, late, silent, nonsense, remembered, and while processes die.
import { test, assert, until, stays } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { Client, numbers } from './lib/client.mjs';
import { upgrade } from './lib/raw.mjs';
import { recv } from './lib/nats.mjs';

const rules = { type: 'callout', headers: ['Authorization', 'X-Who'], timeout: '2s' };

// answer(question, subject) -> an object, a text, bytes, or undefined for silence. Returns what was asked.
function service(bus, subject, answer) {
	const asked = [];
	bus.nc.subscribe(subject, {
		callback: (_, m) => {
			const q = JSON.parse(Buffer.from(m.data).toString());
			asked.push(q);
			const a = answer(q, m.subject);
			if (a !== undefined) m.respond(Buffer.from(typeof a === 'string' || Buffer.isBuffer(a) ? a : JSON.stringify(a)));
		},
	});
	return bus.nc.flush().then(() => asked);
}

async function refused(gw, where, status, opts = {}) {
	const r = await Client.refused(gw.wsUrl(where), opts);
	assert.equal(r.status, status, r.body);
	return r;
}

await test('allowed, and named; what is told', async (t) => {
	const { gw, bus } = await t.pair({ log: { level: 'trace' }, auth: { '*': rules } });
	const asked = await service(bus, 'wsauth.>', (q) => ({ allow: true, user: q.user ?? 'alice' }));
	const c = await t.client(gw, 'chat/?a=%41&b=eyJsecret', { headers: { Authorization: 'Bearer eyJtoken', 'X-Who': 'me', 'X-Other': 'no' } });
	assert.deepEqual(asked, [{
		service: 'chat', path: '/ws/chat/', query: 'a=%41&b=eyJsecret', address: '127.0.0.1',
		headers: { Authorization: ['Bearer eyJtoken'], 'X-Who': ['me'] },
	}]);
	await bus.publish(recv('chat', 'alice'), 'hello');
	assert.equal((await c.next()).text, 'hello');
	await t.client(gw, 'a.b/bob');
	assert.deepEqual([asked[1].service, asked[1].user], ['a.b', 'bob']);
	await t.client(gw, '', { cookies: { service: 'chat', user: 'carol' } });
	assert.deepEqual([asked[2].service, asked[2].user, asked[2].path], ['chat', 'carol', '/ws/']);
	await t.client(gw, 'chat/', { headers: { 'X-Who': Buffer.from([0xe9, 0x22]).toString('latin1') } });
	assert.deepEqual(asked[3].headers, { 'X-Who': ['é"'] });
	await refused(gw, '', 401);
	assert.ok(!gw.log().includes('eyJ'), 'no credentials in the log');
});

await test('a service that was silent, and answers again: the questions nobody waits for are in no one\'s way', async (t) => {
	const { gw, bus } = await t.pair({ max_connections: 8000, auth: { '*': { ...rules, timeout: '1s' } } });
	let silent = true;
	const asked = await service(bus, 'wsauth.chat', () => (silent ? undefined : { allow: true }));
	const raws = [];
	for (let i = 0; i < 1200; i += 100) {
		const some = await Promise.all(numbers(100).map(() => t.raw(gw)));
		some.forEach((r, k) => r.write(upgrade(`/ws/chat/u${i + k}`, { 'X-Who': String(i + k) })));
		raws.push(...some);
	}
	await until('as many questions as there may be', () => asked.length >= 1024);
	for (const r of raws) assert.equal((await r.response()).status, 504);
	silent = false;
	await t.client(gw, 'chat/alice');
});

await test('a service that never answers does not keep others from getting answers', async (t) => {
	const { gw, bus } = await t.pair({ max_connections: 8000, auth: { '*': { ...rules, timeout: '30s' } } });
	const asked = await service(bus, 'wsauth.stuck', () => undefined);
	await service(bus, 'wsauth.chat', () => ({ allow: true }));
	for (let i = 0; i < 4200; i += 100) {
		const some = await Promise.all(numbers(100).map(() => t.raw(gw)));
		some.forEach((r, k) => r.write(upgrade(`/ws/stuck/u${i + k}`, { 'X-Who': String(i + k) })));
	}
	await until('as many questions as there may be', () => asked.length >= 1024);
	const c = await t.client(gw, 'chat/alice');
	await c.send('hello');
	await bus.storedAll('ws.send.chat.alice', 1);
	assert.ok(asked.length < 2048, String(asked.length));
});

await test('who cannot come in is not asked about', async (t) => {
	const { nats, gw, bus } = await t.pair({ broker: { grace: '300ms' }, auth: { '*': rules }, streams: { 'ws-chat': { services: ['chat'] } } });
	const asked = await service(bus, 'wsauth.>', () => ({ allow: true }));
	await refused(gw, 'other/alice', 404);
	assert.equal((await gw.ctl('drain', '--time', '1', '--wait')).code, 0);
	assert.match((await refused(gw, 'chat/alice', 503)).body, /drained/);
	assert.equal((await gw.ctl('undrain')).code, 0);
	await nats.stop();
	await until('the end of the grace', async () => /away for too long/.test((await Client.refused(gw.wsUrl('chat/alice'))).body));
	await nats.start();
	assert.deepEqual(asked, []);
	await (await until('its return', () => t.client(gw, 'chat/alice').catch(() => null))).ping();
});

await test('names that are not UTF-8 are not asked about: 400, and no remembered answer of another user', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, auth: { open: { type: 'none' }, '*': rules } });
	const asked = await service(bus, 'wsauth.>', () => ({ allow: true, cache: 60 }));
	await t.client(gw, 'chat/J%C3%B6rg');
	await refused(gw, 'chat/J%F6rg', 400);
	await refused(gw, 'ch%E4t/alice', 400);
	assert.deepEqual(asked.map((q) => q.user), ['Jörg']);
	await t.client(gw, 'open/J%F6rg');
});

await test('the subject has the service in it, encoded', async (t) => {
	const { gw, bus } = await t.pair({ auth: { '*': rules } });
	const subjects = [];
	await service(bus, 'wsauth.>', (q, subject) => subjects.push(subject) && { allow: true });
	await t.client(gw, 'a.b%20c%2A/bob');
	assert.deepEqual(subjects, ['wsauth.a%2Eb%20c%2A']);
});

await test('refused, with a status and a reason', async (t) => {
	const { gw, bus } = await t.pair({ auth: { '*': rules } });
	const answers = {
		plain: { allow: false }, login: { allow: false, status: 401, reason: 'log in first' },
		many: { allow: false, status: 429 }, long: { allow: false, reason: `two\nlines ${'x'.repeat(900)}` },
		other: { allow: true, user: 'somebody' }, nobody: { allow: true }, old: { allow: true, user: 'old', expires: 1000 },
	};
	await service(bus, 'wsauth.chat', (q) => answers[q.user ?? 'nobody']);
	assert.match((await refused(gw, 'chat/plain', 403)).body, /not allowed/);
	const login = await refused(gw, 'chat/login', 401);
	assert.equal(login.body, 'log in first\n');
	assert.match(login.headers['www-authenticate'], /^Bearer/);
	assert.ok((await refused(gw, 'chat/many', 429)).headers['retry-after'] > 0);
	assert.match((await refused(gw, 'chat/long', 403)).body, /^two\?lines x+\n$/);
	await refused(gw, 'chat/other', 403); // the path names another user than the answer
	await refused(gw, 'chat/', 502);
	await refused(gw, 'chat/old', 401);
});

await test('late 504, rubbish 502, nobody 502', async (t) => {
	const { gw, bus } = await t.pair({ auth: { slow: { ...rules, timeout: '500ms' }, '*': { ...rules, timeout: '8s' } } });
	assert.match((await refused(gw, 'chat/alice', 502)).body, /^no service says/);
	const rubbish = ['', 'hello', '[]', '{}', '{"allow":1}', '{"allow":true,"user":""}', '{"allow":true,"user":7}', '{"allow":false,"status":200}',
		'{"allow":true,"expires":"soon"}', '{"allow":true,"allow":false}', `{"allow":true,"x":"${'x'.repeat(5000)}"}`,
		Buffer.from([0xff, 0xfe]), Buffer.from('{"allow":true,"user":"alice","x":"\xff\xfe"}', 'latin1')];
	let n = 0;
	const asked = await service(bus, 'wsauth.chat', () => rubbish[n++]);
	for (const [i, answer] of rubbish.entries()) {
		assert.match((await refused(gw, 'chat/alice', 502)).body, /answers nonsense/, String(answer).slice(0, 60));
		assert.equal(asked.length, i + 1);
	}
	assert.match(gw.log(), /a callout has no good answer why="no service says who may come in"/);
	assert.match(gw.log(), /a callout has no good answer why="the service that knows who may come in answers nonsense"/);
	await service(bus, 'wsauth.slow', () => undefined);
	await refused(gw, 'slow/alice', 504);
	await stays('the gateway', () => gw.proc.exit === null, 300);
});

await test('remembered as long as the answer says, for the same request alone', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, auth: { '*': rules } });
	const asked = await service(bus, 'wsauth.chat', (q) => ({ allow: q.user !== 'eve', cache: q.user === 'short' ? 1 : 60 }));
	for (let i = 0; i < 3; i++) await t.client(gw, 'chat/alice');
	for (let i = 0; i < 3; i++) await refused(gw, 'chat/eve', 403);
	assert.deepEqual(asked.map((q) => q.user), ['alice', 'eve']);
	await t.client(gw, 'chat/alice', { headers: { 'X-Who': 'another' } });
	assert.equal(asked.length, 3);
	await t.client(gw, 'chat/short');
	await until('a second question', async () => {
		(await t.client(gw, 'chat/short')).terminate();
		return asked.length > 4;
	});
	assert.equal((await gw.ctl('reload')).code, 0);
	await t.client(gw, 'chat/alice');
	assert.equal(asked.at(-1).user, 'alice');
});

await test('remembered no longer than it holds: what has expired is asked about again', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, auth: { '*': rules } });
	const expires = [2, 60].map((s) => Math.floor(Date.now() / 1000) + s);
	const asked = await service(bus, 'wsauth.chat', () => ({ allow: true, cache: 60, expires: expires[asked.length - 1] }));
	const c = await t.client(gw, 'chat/alice');
	assert.equal((await c.ended()).code, 3000);
	await until('the time, by every clock', () => Date.now() > expires[0] * 1000);
	await (await t.client(gw, 'chat/alice')).ping();
	assert.equal(asked.length, 2);
	await t.client(gw, 'chat/alice');
	assert.equal(asked.length, 2);
});

await test('what expires ends with 3000', async (t) => {
	const { gw, bus } = await t.pair({ auth: { '*': rules } });
	await service(bus, 'wsauth.chat', () => ({ allow: true, expires: Math.floor(Date.now() / 1000) + 2 }));
	const c = await t.client(gw, 'chat/alice');
	assert.equal((await c.ended()).code, 3000);
});

await test('a bridge that is killed meanwhile: its successor asks again', async (t) => {
	const { gw, bus } = await t.pair({ auth: { '*': { ...rules, timeout: '20s' } }, handshake_timeout: '30s' });
	let silent = true;
	const asked = await service(bus, 'wsauth.chat', () => (silent ? undefined : { allow: true }));
	const coming = Promise.all(Array.from({ length: 10 }, (_, i) => t.client(gw, `chat/u${i}`)));
	await until('ten questions', () => asked.length === 10);
	silent = false;
	await gw.murder('bridge');
	const clients = await coming;
	for (const c of clients) await c.ping();
});

await test('a broker that is away for a moment: asked when it is back', async (t) => {
	const { nats, gw, bus } = await t.pair({ auth: { '*': { ...rules, timeout: '20s' } }, handshake_timeout: '30s' });
	await service(bus, 'wsauth.chat', () => ({ allow: true }));
	await nats.stop();
	await until('its loss', () => /the broker is away/.test(gw.log()));
	const come = () => t.client(gw, 'chat/alice').catch((e) => {
		if (!e.message.includes('502')) throw e; // the gateway was back before the service
		return come();
	});
	const coming = come();
	await nats.start();
	await (await coming).ping();
});

await test('many at a time, some who do not wait', async (t) => {
	const { gw, bus } = await t.pair({ auth: { '*': { ...rules, timeout: '20s' } }, handshake_timeout: '30s' });
	await service(bus, 'wsauth.chat', () => ({ allow: true }));
	const impatient = Array.from({ length: 50 }, async (_, i) => {
		const r = await t.raw(gw);
		await r.write(`GET /ws/chat/i${i} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
		r.destroy();
	});
	const all = await Promise.all(Array.from({ length: 200 }, (_, i) => t.client(gw, `chat/u${i}`)));
	await Promise.all(impatient);
	await Promise.all(all.map((c) => c.ping()));
});

await test('not allowed by the broker: 502, and a hint in the log', async (t) => {
	const nats = await t.nats({
		login: 'gate:secret',
		conf: `authorization { users = [
			{ user: "all", password: "secret" },
			{ user: "gate", password: "secret", permissions: { publish: { allow: ">", deny: ["wsauth.>"] } } }
		] }`,
	});
	const gw = await t.gateway(nats, { config: { auth: { '*': rules } } });
	await refused(gw, 'chat/alice', 502);
	await until('the hint', () => /PERMISSIONS in wsgate\(7\)/.test(gw.log())); // by another process than the refusal
});

// What PERMISSIONS in wsgate(7) lists, and no more.
await test('with the permissions that the page lists', async (t) => {
	const nats = await t.nats({
		login: 'gate:secret',
		conf: `authorization { users = [
			{ user: "all", password: "secret" },
			{ user: "auth", password: "secret", permissions: { subscribe: ["wsauth.>"], publish: ["_INBOX.>"] } },
			{ user: "gate", password: "secret", permissions: { publish: [ "ws.send.>", "wsdead.>", "wsauth.>", "wslive.>", "wsgate.beat",
				"$JS.API.STREAM.INFO.websockets", "$JS.API.STREAM.CREATE.websockets", "$JS.API.STREAM.UPDATE.websockets",
				"$JS.API.STREAM.MSG.DELETE.websockets", "$JS.API.DIRECT.GET.websockets", "$JS.API.STREAM.MSG.GET.websockets",
				"$JS.API.CONSUMER.LIST.websockets", "$JS.API.STREAM.NAMES" ],
				subscribe: [ "wslive.>", "wsgate.beat", "_INBOX.>", "$JS.EVENT.ADVISORY.STREAM.*.websockets" ] } }
		] }`,
	});
	const [bus, all] = [await nats.connect({ user: 'auth', pass: 'secret' }), await nats.connect({ user: 'all', pass: 'secret' })];
	const gw = await t.gateway(nats, { config: { auth: { '*': rules } } });
	await service(bus, 'wsauth.>', () => ({ allow: true }));
	const c = await t.client(gw, 'chat/alice');
	await all.publish(recv('chat', 'alice'), 'hello');
	assert.equal((await c.next()).text, 'hello');
	await c.send('up');
	await all.storedAll('ws.send.chat.alice', 1);
	assert.doesNotMatch(gw.log(), /does not let/);
});

await test('questions that wait while the worker or the program is replaced', async (t) => {
	const { gw, bus } = await t.pair({ auth: { '*': { ...rules, timeout: '20s' } }, handshake_timeout: '30s' });
	const waiting = [];
	bus.nc.subscribe('wsauth.chat', { callback: (_, m) => waiting.push(m) });
	await bus.nc.flush();
	const coming = Array.from({ length: 10 }, (_, i) => t.client(gw, `chat/u${i}`));
	await until('ten questions', () => waiting.length === 10);
	gw.config.workers = 1;
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	for (const m of waiting) m.respond('{"allow":true}');
	for (const c of await Promise.all(coming)) await c.ping();
	await until('one worker', () => !gw.pid('worker 1'));
	const late = Array.from({ length: 5 }, (_, i) => Client.refused(gw.wsUrl(`chat/v${i}`)));
	await until('five more', () => waiting.length === 15);
	gw.signal('SIGUSR2');
	for (const r of await Promise.all(late)) {
		assert.equal(r.status, 503); // at once: nobody would answer
		assert.equal(r.body, 'this gateway is being replaced\n');
		assert.ok(r.headers['retry-after'] > 0);
	}
	await gw.replaced();
	for (const c of await Promise.all(coming)) await c.ping();
});

await test('other rules while a question is under way: its answer is nobody\'s, and who waits is asked for by the new ones', async (t) => {
	const { gw, bus } = await t.pair({ auth: { '*': { ...rules, timeout: '20s' } }, handshake_timeout: '30s' });
	const held = [];
	bus.nc.subscribe('wsauth.chat', { callback: (_, m) => held.push(m) });
	const asked = await service(bus, 'wsauth.admin', () => ({ allow: false }));
	const reload = async () => {
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
	};
	const named = Client.refused(gw.wsUrl(''), { cookies: { service: 'chat', svc: 'admin', user: 'alice' } });
	await until('a question', () => held.length === 1);
	gw.config.identity = { service_cookie: 'svc' };
	await reload();
	held[0].respond('{"allow":true}');
	assert.equal((await named).status, 403);
	assert.equal(asked.length, 1);
	const told = t.client(gw, 'chat/bob', { headers: { 'X-Who': 'me' } });
	await until('another', () => held.length === 2);
	gw.config.auth = { '*': { ...gw.config.auth['*'], headers: ['X-Other'] } };
	await reload();
	held[1].respond('{"allow":false}');
	await until('it again, by the new rules', () => held.length === 3);
	assert.deepEqual(JSON.parse(Buffer.from(held[2].data).toString()).headers, {});
	held[2].respond('{"allow":true}');
	await (await told).ping();
	const unruled = Client.refused(gw.wsUrl('chat/carol'));
	await until('the last one', () => held.length === 4);
	gw.config.auth = { other: gw.config.auth['*'] };
	await reload();
	assert.equal((await unruled).status, 503);
});

await test('no room to ask: 503', async (t) => {
	const { gw, bus } = await t.pair({ workers: 1, max_message: '16k', auth: { open: { type: 'none' }, '*': { ...rules, timeout: '300ms' } } });
	await service(bus, 'wsauth.chat', () => ({ allow: true }));
	const clients = await Promise.all(Array.from({ length: 12 }, (_, i) => t.client(gw, `open/u${i}`)));
	const go = await hold(gw.pid('bridge'));
	let r;
	await until('a ring that is full', async () => {
		for (const [k, c] of clients.entries()) for (let i = 0; i < 100; i++) c.ws.send('x'.repeat(k % 2 ? 12000 : 150));
		r = await Client.refused(gw.wsUrl('chat/alice'));
		return r.status === 503;
	});
	assert.ok(r.headers['retry-after'] > 0);
	go();
	await until('room again', () => t.client(gw, 'chat/alice').then(() => true, () => false));
});

await test('while the broker is away, who waits fills no ring with questions', async (t) => {
	const { nats, gw, bus } = await t.pair({ workers: 1, auth: { open: { type: 'none' }, '*': { ...rules, timeout: '30s' } }, handshake_timeout: '40s' });
	await service(bus, 'wsauth.chat', () => ({ allow: true }));
	const c = await t.client(gw, 'open/alice'), held = async () => (await gw.figures()).workers[0].up_ring_bytes;
	await nats.stop();
	await until('its loss', () => /the broker is away/.test(gw.log()));
	c.ws.send('kept in front of all questions');
	await until('it', async () => (await held()) > 0);
	const raws = await Promise.all(numbers(100).map(() => t.raw(gw)));
	for (const [i, r] of raws.entries()) r.write(upgrade(`/ws/chat/u${i}`, { 'X-Who': String(i).padEnd(3000, '.') }));
	await stays('no questions', async () => (await held()) < 3000, 3500);
	await nats.start();
	for (const r of raws) assert.ok([101, 502].includes((await r.response()).status)); // 502: the gateway was back before the service
	await bus.storedAll('ws.send.open.alice', 1);
});

await test('a drain, or a stop, answers who waits, and says which', async (t) => {
	const { gw, bus } = await t.pair({ drain_timeout: '20s', auth: { '*': { ...rules, timeout: '20s' } }, handshake_timeout: '30s' });
	const asked = await service(bus, 'wsauth.chat', () => undefined);
	const drained = Client.refused(gw.wsUrl('chat/alice'));
	await until('a question', () => asked.length === 1);
	assert.equal((await gw.ctl('drain', '--time', '1')).code, 0);
	assert.deepEqual([(await drained).status, (await drained).body], [503, 'this gateway is drained: it takes no connections for now\n']);
	assert.equal((await gw.ctl('undrain')).code, 0);
	const waiting = Client.refused(gw.wsUrl('chat/alice'));
	await until('another question', () => asked.length === 2);
	const before = Date.now();
	gw.signal('SIGTERM');
	assert.deepEqual([(await waiting).status, (await waiting).body], [503, 'this gateway is stopping\n']);
	assert.equal((await gw.exited()).code, 0);
	assert.ok(Date.now() - before < 10000);
});
