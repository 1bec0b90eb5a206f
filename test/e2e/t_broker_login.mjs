// Every way to log in to the broker, wrong ones among them, TLS, and secrets that change while it runs.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until } from './lib/scenario.mjs';
import { BUILD, wsgated } from './lib/gateway.mjs';
import { SLOW } from './lib/proc.mjs';
import { Authority, nkey, operator } from './lib/nkey.mjs';

const SECRET = 'very-geheim';
// A sanitizer keeps what was freed.
const inMemory = process.getuid() === 0 && SLOW === 1;

// A file for the gateway's master alone; its folder is closed to others.
function keep(t, name, text) {
	const file = path.join(t.dir, name);
	fs.writeFileSync(file, text, { mode: 0o600 });
	return file;
}

const asRoot = process.getuid() === 0 ? 'nobody' : '';

async function gateway(t, nats, broker, opts = {}) {
	fs.chmodSync(t.dir, 0o711);
	return t.gateway(nats, { ...opts, config: { user: asRoot, broker, ...opts.config } });
}

async function serves(t, gw, user = 'ann') {
	const c = await t.client(gw, `chat/${user}`);
	assert.match((await gw.ctl('send', 'chat', user, 'hello')).out, /stored/);
	assert.equal((await c.next()).text, 'hello');
	await c.send('back');
	await c.close();
}

// Nowhere that a person looks.
async function hidden(gw, secret) {
	const seen = [gw.log(), (await gw.ctl('status')).out, (await gw.ctl('check')).out, (await wsgated('-T', '-c', gw.file)).out];
	for (const text of seen) assert.ok(!text.includes(secret), text.slice(0, 500));
}

// Whether a process has it anywhere in its memory.
function remembers(pid, secret) {
	const fd = fs.openSync(`/proc/${pid}/mem`, 'r'), needle = Buffer.from(secret);
	try {
		for (const line of fs.readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
			const m = /^(\w+)-(\w+) rw-p/.exec(line);
			if (!m) continue;
			const from = parseInt(m[1], 16), size = parseInt(m[2], 16) - from;
			if (size > 64 << 20) continue;
			const buf = Buffer.alloc(size);
			try {
				fs.readSync(fd, buf, 0, size, from);
			} catch { continue; }
			if (buf.includes(needle)) return line;
		}
	} finally {
		fs.closeSync(fd);
	}
	return null;
}

async function refusedLogin(t, nats, broker, why) {
	const gw = await gateway(t, nats, broker, { ready: false });
	await until('the reason', () => /cannot connect to the broker.*/.test(gw.log()));
	assert.match(gw.log().match(/cannot connect to the broker.*/)[0], why);
	assert.equal(gw.proc.exit, null); // it tries again
	assert.equal(await gw.status('/readyz'), 503);
	return gw;
}

await test('user and password, from a file', async (t) => {
	const nats = await t.nats({ conf: `authorization { user: "gate", password: "${SECRET}" }` });
	const gw = await gateway(t, nats, { url: nats.url, user: 'gate', password_file: keep(t, 'pw', `${SECRET}\n`) });
	await serves(t, gw);
	await hidden(gw, SECRET);
});

await test('user and password, from a file: no worker ever has them in its memory', async (t) => {
	if (process.getuid() !== 0) t.skip('not root');
	const nats = await t.nats({ conf: `authorization { user: "gate", password: "${SECRET}" }` });
	const gw = await gateway(t, nats, { url: nats.url, user: 'gate', password_file: keep(t, 'pw', `${SECRET}\n`) });
	const workers = () => gw.children().filter((c) => c.title.includes('worker'));
	assert.ok(remembers(gw.pid('bridge'), SECRET));
	for (const c of workers()) assert.equal(remembers(c.pid, SECRET), null, c.title);
	// And after a reload with another one, in those that get it told and in one that is born with it.
	fs.writeFileSync(path.join(t.dir, 'pw'), 'wrong-geheim');
	assert.equal((await gw.ctl('reload')).code, 0);
	await until('the bridge to have it', () => remembers(gw.pid('bridge'), 'wrong-geheim'));
	await gw.murder('worker 0');
	await until('its successor', () => gw.pid('worker 0'));
	for (const c of workers()) assert.equal(remembers(c.pid, SECRET) ?? remembers(c.pid, 'wrong-geheim'), null, c.title);
});

await test('the password in the configuration, and in the URL: shown nowhere', async (t) => {
	const nats = await t.nats({ conf: `authorization { user: "gate", password: "${SECRET}" }` });
	const gw = await gateway(t, nats, { url: nats.url, user: 'gate', password: SECRET });
	await serves(t, gw);
	await hidden(gw, SECRET);
	if (inMemory) assert.equal(remembers(gw.pid('worker 0'), SECRET), null);
	gw.config.broker = { url: `nats://gate:${SECRET}@127.0.0.1:${nats.port}` };
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	await until('the new login', () => (gw.log().match(/connected to the broker/g) ?? []).length > 1);
	await serves(t, gw, 'bob');
	await hidden(gw, SECRET);
});

await test('a login in the environment, and on the command line', async (t) => {
	const nats = await t.nats({ conf: `authorization { user: "gate", password: "${SECRET}" }` });
	for (const opts of [
		{ env: { NATS_BROKER_URL: `nats://gate:${SECRET}@127.0.0.1:${nats.port}` } },
		{ env: { GATE_PASSWORD: SECRET }, broker: { url: `nats://gate:\${GATE_PASSWORD}@127.0.0.1:${nats.port}` } },
		{ args: ['-o', `broker.url=nats://127.0.0.1:${nats.port}`, '-o', 'broker.user=gate', '-o', `broker.password=${SECRET}`] },
	]) {
		const gw = await gateway(t, nats, opts.broker ?? {}, { ...opts, start: false });
		fs.writeFileSync(gw.file, fs.readFileSync(gw.file, 'utf8').replace('\\${', '${'));
		await gw.start();
		assert.ok(!gw.log().includes(SECRET));
		if (inMemory) assert.equal(remembers(gw.pid('worker 0'), SECRET), null);
		for (const pid of [gw.master, ...gw.children().map((c) => c.pid)]) {
			for (const f of ['cmdline', 'environ']) assert.ok(!fs.readFileSync(`/proc/${pid}/${f}`, 'latin1').includes(SECRET), f);
		}
	}
});

await test('a path with "broker." in it is no login: the page still says how wsgatectl is called', async (t) => {
	const nats = await t.nats();
	const dir = path.join(t.dir, 'broker.bin');
	fs.symlinkSync(BUILD, dir);
	for (const joined of [false, true]) {
		const program = path.join(dir, 'wsgated');
		const gw = await t.gateway(nats, { start: false, program, config: { admin: { try_out: 'on' } } });
		gw.file = path.join(gw.dir, 'broker.conf');
		gw.writeConfig();
		if (joined) gw.opts.args = [`-c${gw.file}`];
		await gw.start();
		const { tool } = JSON.parse((await gw.admin('/status.json')).text).try_out;
		assert.deepEqual(tool, [path.join(dir, 'wsgatectl'), '-c', gw.file]);
	}
});

await test('wrong password: said, tried again, and taken when it is right', async (t) => {
	const nats = await t.nats({ conf: `authorization { user: "gate", password: "${SECRET}" }` });
	const file = keep(t, 'pw', 'wrong-one');
	const gw = await refusedLogin(t, nats, { url: nats.url, user: 'gate', password_file: file }, /[Aa]uthoriz/);
	const ctl = await gw.ctl('send', 'chat', 'ann', 'x');
	assert.equal(ctl.code, 2);
	assert.match(ctl.err, /Authentication Violation/);
	fs.writeFileSync(file, SECRET);
	assert.equal((await gw.ctl('reload')).code, 0);
	await gw.ready();
	await serves(t, gw);
	await hidden(gw, SECRET);
	await hidden(gw, 'wrong-one');
});

await test('token, from a file', async (t) => {
	const nats = await t.nats({ conf: `authorization { token: "${SECRET}" }` });
	await serves(t, await gateway(t, nats, { url: nats.url, token_file: keep(t, 'token', SECRET) }));
	await refusedLogin(t, nats, { url: nats.url, token: 'another' }, /[Aa]uthoriz/);
});

await test('NKey', async (t) => {
	const key = nkey(), nats = await t.nats({ conf: `authorization { users = [ { nkey: ${key.public} } ] }` });
	const gw = await gateway(t, nats, { url: nats.url, nkey_file: keep(t, 'seed', `${key.seed}\n`) });
	await serves(t, gw);
	await hidden(gw, key.seed);
	await refusedLogin(t, nats, { url: nats.url, nkey_file: keep(t, 'seed2', nkey().seed) }, /[Aa]uthoriz/);
	await refusedLogin(t, nats, { url: nats.url, nkey_file: keep(t, 'seed3', `SUAAAA${'A'.repeat(52)}`) }, /no seed of a user|[Aa]uthoriz/);
});

await test('credentials file', async (t) => {
	const op = operator(), nats = await t.nats({ conf: op.conf });
	const file = keep(t, 'creds', op.creds), gw = await gateway(t, nats, { url: nats.url, credentials_file: file });
	await serves(t, gw);
	await hidden(gw, op.creds.split('\n')[1]);
	await hidden(gw, op.creds.match(/SU\w+/)[0]);
	// Another one, at a reload, under clients that stay.
	const c = await t.client(gw, 'chat/bob');
	fs.writeFileSync(file, op.other());
	assert.equal((await gw.ctl('reload')).code, 0);
	await until('the new login', () => (gw.log().match(/connected to the broker/g) ?? []).length > 1);
	assert.match((await gw.ctl('send', 'chat', 'bob', 'hello')).out, /stored/);
	assert.equal((await c.next()).text, 'hello');
	await refusedLogin(t, nats, { url: nats.url, credentials_file: keep(t, 'creds2', op.stranger) }, /[Aa]uth/);
});

function tlsConf(server, ca) {
	return `tls { cert_file: "${server.cert}", key_file: "${server.key}"${ca ? `, ca_file: "${ca}", verify: true` : ''}, timeout: 5 }`;
}

await test('TLS: an authority and a client certificate of our own', async (t) => {
	const ca = new Authority(path.join(t.dir, 'ca')), server = ca.certificate('server'), client = ca.certificate('client');
	const nats = await t.nats({ conf: tlsConf(server, ca.ca) }), url = `tls://localhost:${nats.port}`;
	const ours = { url, tls_ca: ca.ca, tls_certificate: client.cert, tls_key: client.key };
	await serves(t, await gateway(t, nats, ours));
	// By an address that is in no certificate, under the name that it has.
	await serves(t, await gateway(t, nats, { ...ours, url: `nats://127.0.0.1:${nats.port}`, tls_server_name: 'localhost' }));
	await refusedLogin(t, nats, { ...ours, tls_certificate: '', tls_key: '' }, /SSL|TLS|closed|Connection/i);
	await refusedLogin(t, nats, { ...ours, tls_server_name: 'elsewhere.example' }, /hostname mismatch|verify failed/);
});

await test('TLS: an authority that we do not know, an expired certificate', async (t) => {
	const ca = new Authority(path.join(t.dir, 'ca')), other = new Authority(path.join(t.dir, 'other'));
	const nats = await t.nats({ conf: tlsConf(ca.certificate('server')) }), url = `tls://localhost:${nats.port}`;
	await refusedLogin(t, nats, { url, tls_ca: other.ca }, /verify failed|unable to get/);
	await refusedLogin(t, nats, { url }, /verify failed|unable to get/);
	await serves(t, await gateway(t, nats, { url, tls_verify: 'off' }));
	const late = await t.nats({ conf: tlsConf(ca.certificate('late', { expired: true })) });
	await refusedLogin(t, late, { url: `tls://localhost:${late.port}`, tls_ca: ca.ca }, /expired|verify failed/);
});

await test('a broker without TLS, when TLS is asked for', async (t) => {
	const nats = await t.nats();
	await refusedLogin(t, nats, { url: `tls://127.0.0.1:${nats.port}` }, /secure|TLS/i);
});

await test('a new password while messages are under way: nothing is lost', async (t) => {
	const first = `authorization { users = [ { user: a, password: one }, { user: b, password: two } ] }`;
	const nats = await t.nats({ conf: first });
	const gw = await gateway(t, nats, { url: nats.url, user: 'a', password: 'one' });
	const bus = await nats.connect({ user: 'a', pass: 'one' });
	const c = await t.client(gw, 'chat/ann');
	let stop = false, n = 0;
	const traffic = (async () => {
		for (; !stop; n++) {
			await bus.publish('ws.recv.chat.ann', `${n}`);
			await c.send(`${n}`);
		}
	})();
	for (let i = 1; i <= 3; i++) {
		gw.config.broker = { url: nats.url, user: i % 2 ? 'b' : 'a', password: i % 2 ? 'two' : 'one' };
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
		await until(`login ${i}`, () => (gw.log().match(/connected to the broker/g) ?? []).length > i);
	}
	stop = true;
	await traffic;
	await until('all of it', () => c.got.length >= n);
	assert.deepEqual(c.got.map((m) => m.text), [...Array(n).keys()].map(String));
	const stored = await bus.storedAll('ws.send.chat.ann', n);
	assert.deepEqual(stored.map((m) => m.text), [...Array(n).keys()].map(String));
});

await test('a file with a secret that is not there: the start fails, a reload changes nothing', async (t) => {
	const nats = await t.nats();
	const gw = await gateway(t, nats, { url: nats.url });
	gw.config.broker = { url: nats.url, token_file: '/nonexistent/token' };
	gw.writeConfig();
	const r = await gw.ctl('reload');
	assert.equal(r.code, 2);
	assert.match(r.out + r.err, /broker.token_file: cannot be read/);
	assert.equal((await wsgated('-t', '-c', gw.file)).code, 1);
	assert.equal((await gw.ctl('status')).code, 0); // needs no secret
	await serves(t, gw).catch((e) => assert.match(e.message, /stored/));
});

// The list of PERMISSIONS in wsgate(7), as it stands there.
function permissions() {
	const page = fs.readFileSync(new URL('../../man/wsgate.7', import.meta.url), 'utf8');
	const text = page.slice(page.indexOf('.Sh PERMISSIONS')), end = text.indexOf('A service, say');
	const subjects = (s) => [...s.matchAll(/^(?:\.Li )?((?:\$JS|\$KV|ws|_INBOX)[^\s,]*)/gm)].map((m) => m[1]);
	const [, publish, subscribe, more] = text.slice(0, end).match(/\.It publish([\s\S]*)\.It subscribe([\s\S]*?)\.El([\s\S]*)/);
	return { publish: subjects(publish), subscribe: subjects(subscribe), more: subjects(more) };
}

await test('the permissions of wsgate(7) are enough, and none is left out', async (t) => {
	const p = permissions(), list = (l) => `[ ${l.map((s) => `"${s}"`).join(', ')} ]`;
	assert.ok(p.publish.length > 5 && p.subscribe.length === 4, JSON.stringify(p));
	assert.deepEqual(p.more, ['ws.recv.>', 'ws.send.>']);
	const conf = `authorization { users = [ { user: all, password: pw },
		{ user: ctl, password: pw, permissions: { publish: ${list([...p.publish, 'ws.recv.>'])}, subscribe: ${list([...p.subscribe, 'ws.send.>'])} } },
		{ user: gate, password: pw, permissions: { publish: ${list(p.publish)}, subscribe: ${list(p.subscribe)} } } ] }`;
	const nats = await t.nats({ conf }), bus = await nats.connect({ user: 'all', pass: 'pw' });
	const gw = await gateway(t, nats, { url: nats.url, user: 'gate', password: 'pw' }, { config: { max_message: 4096, stream: { max_age: '1h' } } });
	const c = await t.client(gw, 'chat/ann');
	for (let i = 0; i < 5; i++) await bus.publish('ws.recv.chat.ann', `${i}`);
	await until('them', () => c.got.length === 5);
	await bus.empty('ws.recv.>');
	await c.send('back');
	await bus.storedAll('ws.send.chat.ann', 1);
	gw.config.stream = { max_age: '2h' }; // STREAM.UPDATE
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	await until('the stream to follow', async () => (await (await bus.jsm()).streams.info('websockets')).config.max_age === 7200e9);
	assert.equal((await gw.ctl('send', 'chat', 'ann', 'x')).code, 2); // for services and operators
	const login = ['-o', 'broker.user=ctl'];
	assert.equal((await gw.ctl(...login, 'send', 'chat', 'ann', 'x')).code, 0);
	assert.doesNotMatch(gw.log(), /does not let|[Pp]ermission/);
});

await test('with several streams: the same for each, with its name, and its beats', async (t) => {
	const p = permissions(), names = ['ws-chat', 'ws-shop'];
	const each = (l) => l.flatMap((s) => /websockets/.test(s) ? names.map((n) => s.replace('websockets', n)) : s === 'wsgate.beat' ? names.map((n) => `${s}.${n}`) : [s]);
	const list = (l) => `[ ${each(l).map((s) => `"${s}"`).join(', ')} ]`;
	const conf = `authorization { users = [ { user: all, password: pw },
		{ user: gate, password: pw, permissions: { publish: ${list(p.publish)}, subscribe: ${list(p.subscribe)} } } ] }`;
	const nats = await t.nats({ conf }), bus = await nats.connect({ user: 'all', pass: 'pw' });
	const config = { streams: { 'ws-chat': { services: ['chat'] }, 'ws-shop': { services: ['shop'] } } };
	const gw = await gateway(t, nats, { url: nats.url, user: 'gate', password: 'pw' }, { config });
	await until('both streams', async () => (await gw.figures()).streams.every((s) => s.state === 'connected'));
	const c = await t.client(gw, 'chat/ann');
	const d = await t.client(gw, 'shop/ann');
	for (const [client, service] of [[c, 'chat'], [d, 'shop']]) {
		await bus.publish(`ws.recv.${service}.ann`, service);
		assert.equal((await client.next()).text, service);
		await client.send('back');
		await bus.on(`ws-${service}`).storedAll(`ws.send.${service}.ann`, 1);
		await bus.on(`ws-${service}`).empty('ws.recv.>');
	}
	assert.doesNotMatch(gw.log(), /does not let|[Pp]ermission/);
});
