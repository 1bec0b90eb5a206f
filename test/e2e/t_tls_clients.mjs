// Clients' certificates: asked for, verified, and the user's name.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { Client } from './lib/client.mjs';
import { Pki, tlsPair, rawTls } from './lib/pki.mjs';
import { upgrade } from './lib/raw.mjs';

const file = (c) => ({ cert: fs.readFileSync(c.certificate), key: fs.readFileSync(c.key) });

async function rig(t, client_verify, identity) {
	const clients = await Pki.make(t, 'clients');
	const r = await tlsPair(t, { section: { client_verify, client_ca: clients.ca }, config: { identity } });
	const alice = file(await clients.issue('alice', { client: true, names: 'email:alice@example.org,URI:urn:user:alice,DNS:alice.example.org' }));
	return { ...r, clients, alice };
}

// How a request with a certificate is answered; an error when TLS refuses.
async function answer(t, gw, path, opts, headers) {
	const r = await rawTls(t, gw, opts);
	await r.write(upgrade(path, headers));
	const a = await r.response();
	r.destroy();
	return a;
}

await test('require: none, or one of strangers, is refused by TLS; TLS 1.2 and 1.3', async (t) => {
	const { gw, alice } = await rig(t, 'require', { sources: ['cert'] });
	const strangers = file(await (await Pki.make(t, 'strangers')).issue('eve', { client: true }));
	for (const version of ['TLSv1.2', 'TLSv1.3']) {
		const v = { minVersion: version, maxVersion: version };
		await assert.rejects(answer(t, gw, '/ws/chat/', v), /certificate required|handshake|without an HTTP answer|alert/i);
		await assert.rejects(answer(t, gw, '/ws/chat/', { ...v, ...strangers }), /unknown ca|handshake|without an HTTP answer|alert/i);
		assert.equal((await answer(t, gw, '/ws/chat/', { ...v, ...alice })).status, 101);
	}
	assert.match(gw.log(), /TLS handshake failed why="peer did not return a certificate"/);
	assert.match(gw.log(), /TLS handshake failed why="certificate verify failed"/);
});

await test('the user is that of the certificate: by cn, email, uri, dns; also when the session is taken up again', async (t) => {
	const { gw, bus, ca, alice } = await rig(t, 'require', { sources: ['cert'] });
	for (const [cert_user, user] of [['cn', 'alice'], ['email', 'alice@example.org'], ['uri', 'urn:user:alice'], ['dns', 'alice.example.org']]) {
		gw.config.identity.cert_user = cert_user;
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
		const c = await Client.connect(gw.wssUrl('chat/'), { ca, ...alice });
		const subject = (await gw.ctl('subject', 'chat', user)).out;
		await c.send(cert_user);
		await bus.storedAll(/ws\.send\.\S+/.exec(subject)[0], 1);
		await c.close();
	}
	let session;
	const first = await rawTls(t, gw, alice);
	first.socket.once('session', (s) => (session = s));
	await first.open('/ws/chat/');
	await until('a ticket', () => session);
	const again = await rawTls(t, gw, { session });
	assert.ok(again.socket.isSessionReused());
	await again.write(upgrade('/ws/chat/bob/'));
	assert.equal((await again.response()).status, 403);
});

await test('paths and cookies: the certificate goes before all', async (t) => {
	const { gw, bus, alice, ca } = await rig(t, 'optional', { sources: ['cert', 'path'] });
	const status = async (path, opts = alice, headers = {}) => (await answer(t, gw, path, opts, headers)).status;
	assert.equal(await status('/ws/chat/'), 101);
	assert.equal(await status('/ws/chat/alice'), 101);
	assert.equal(await status('/ws/chat/bob/'), 403);
	assert.equal(await status('/ws/chat'), 404);
	assert.equal(await status('/ws/'), 401);
	assert.equal(await status('/ws/', alice, { Cookie: 'service=chat; user=bob' }), 101);
	await until('alice, not bob', () => /connection opened .*service=chat user=alice/.test(gw.log()));
	assert.doesNotMatch(gw.log(), /user=bob addr/);
	assert.equal(await status('/ws/chat/bob/', {}), 101); // without a certificate: the path
	gw.config.identity.sources = ['cert'];
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	assert.equal(await status('/ws/chat/bob/', {}), 401);
	assert.equal(await status('/ws/', {}, { Cookie: 'service=chat; user=bob' }), 401);
	assert.equal((await Client.refused(gw.wsUrl('chat/bob'))).status, 401); // nor where there is no TLS
	const c = await Client.connect(gw.wssUrl('chat/'), { ca, ...alice });
	await bus.publish(recv('chat', 'alice'), 'to alice');
	assert.equal((await c.next()).text, 'to alice');
	await bus.empty('ws.recv.>');
});

await test('a service with rules of its own judges who has a certificate, however he names it', async (t) => {
	const clients = await Pki.make(t, 'clients'), keys = path.join(t.dir, 'keys.json');
	fs.writeFileSync(keys, JSON.stringify({ kty: 'oct', k: Buffer.alloc(32, 7).toString('base64url') }));
	const { gw } = await tlsPair(t, { section: { client_verify: 'require', client_ca: clients.ca },
		config: { identity: { sources: ['cert'] }, auth: { '*': { type: 'none' }, billing: { type: 'jwt', keys: [keys] } } } });
	const alice = file(await clients.issue('alice', { client: true }));
	const status = async (where, cookie) => (await answer(t, gw, where, alice, cookie && { Cookie: cookie })).status;
	for (const [sources, auth] of [[['cert'], {}], [['cert', 'cookie'], {}], [['cert', 'path'], {}], [['cert'], { '*': null, chat: { type: 'none' } }]]) {
		gw.config.identity.sources = sources;
		for (const [k, v] of Object.entries(auth)) {
			delete gw.config.auth[k];
			if (v) gw.config.auth[k] = v;
		}
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
		assert.equal(await status('/ws/billing/'), 401);
		assert.equal(await status('/ws/', 'service=billing'), 401);
		assert.equal(await status('/ws/', 'service=billing; user=alice'), 401);
		assert.equal(await status('/ws/chat/'), 101);
		assert.equal(await status('/ws/', 'service=chat'), 101);
		assert.equal(await status('/ws/', 'service=chat; user=bob'), 101);
	}
	await until('alice, always', () => /service=chat user=alice/.test(gw.log()));
	assert.doesNotMatch(gw.log(), /connection opened .*(user=bob|service=billing)/);
});

await test('another client_ca: a ticket from before lets nobody in', async (t) => {
	const { gw, alice } = await rig(t, 'require', { sources: ['cert'] });
	for (const version of ['TLSv1.2', 'TLSv1.3']) {
		let session;
		const first = await rawTls(t, gw, { ...alice, minVersion: version, maxVersion: version });
		first.socket.once('session', (s) => (session = s));
		await first.open('/ws/chat/');
		session ??= version === 'TLSv1.2' ? first.socket.getSession() : undefined;
		await until('a ticket', () => session);
		const before = gw.section.client_ca;
		gw.section.client_ca = (await Pki.make(t, `new${version}`)).ca;
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
		await first.send(9, 'still here');
		await first.next(10);
		await assert.rejects(answer(t, gw, '/ws/chat/', { session, minVersion: version, maxVersion: version }), /certificate required|handshake|without an HTTP answer|alert/i);
		gw.section.client_ca = before;
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
	}
});
