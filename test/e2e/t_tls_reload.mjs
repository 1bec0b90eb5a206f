// A reload reads certificates again: new handshakes get the new ones, connections stay; a bad file changes nothing.
import fs from 'node:fs';
import { X509Certificate } from 'node:crypto';
import { test, assert, until } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { tlsPair, rawTls, nameAt } from './lib/pki.mjs';
import { wsgated } from './lib/gateway.mjs';
import { freePort } from './lib/proc.mjs';

async function reload(gw) {
	gw.writeConfig();
	const r = await gw.ctl('reload');
	assert.equal(r.code, 0, r.err);
	return r.out;
}

await test('a new certificate in the same file, by SIGHUP: old connections stay, new ones get it', async (t) => {
	const { gw, bus, pki, certs, ca } = await tlsPair(t);
	const old = await Promise.all(numbers(20).map((i) => Client.connect(gw.wssUrl(`chat/u${i}`), { ca })));
	assert.equal(await nameAt(t, gw), 'server');
	const expires = async () => Number((await gw.admin('/metrics')).text.match(/^wsgate_tls_certificate_expiry_timestamp_seconds\{listen="127.+"\} (\d+)$/m)[1]);
	const until30 = Date.parse(new X509Certificate(fs.readFileSync(certs[0].certificate)).validTo) / 1000;
	assert.equal(await expires(), until30);
	const next = await pki.issue('renewed', { kind: 'rsa', days: 40 });
	fs.copyFileSync(next.certificate, certs[0].certificate);
	fs.copyFileSync(next.key, certs[0].key);
	gw.signal('SIGHUP');
	await until('the reload', () => /reloaded/.test(gw.log()));
	assert.match(gw.log(), /certificates were read again sections=1\n/);
	for (let i = 0; i < 8; i++) assert.equal(await nameAt(t, gw), 'renewed');
	assert.ok(Math.abs(await expires() - until30 - 10 * 86400) < 300);
	for (const [i, c] of old.entries()) {
		await bus.publish(recv('chat', `u${i}`), 'still here');
		assert.equal((await c.next()).text, 'still here');
		await c.send('me too');
		assert.equal(c.closed, null);
	}
	await gw.murder('worker 0'); // its successor has the new one from its birth
	await gw.ready();
	for (let i = 0; i < 8; i++) assert.equal(await nameAt(t, gw), 'renewed');
});

await test('a broken file: the reload fails and names it, the old certificate stays, also in a worker born later', async (t) => {
	const { gw, pki, certs } = await tlsPair(t);
	const { certificate, key } = certs[0];
	const good = { certificate: fs.readFileSync(certificate), key: fs.readFileSync(key) };
	const other = await pki.issue('other');
	const cases = [
		[certificate, 'nonsense', /server\.pem: there is no certificate in it/],
		[certificate, good.certificate.subarray(0, 200), /server\.pem: /],
		[certificate, fs.readFileSync(other.certificate), /server\.key: is not the key of the certificate/],
		[key, 'nonsense', /server\.key: there is no private key in it/],
		[key, '', /server\.key: there is no private key in it/],
	];
	for (const [file, bytes, fault] of cases) {
		fs.writeFileSync(file, bytes);
		const r = await gw.ctl('reload');
		assert.notEqual(r.code, 0);
		assert.match(r.err, fault);
		assert.match(r.err, /tls "127.0.0.1:\d+"/);
		const check = await wsgated('-t', '-c', gw.file);
		assert.equal(check.code, 1);
		assert.match(check.err, fault);
		assert.equal(await nameAt(t, gw), 'server');
		fs.writeFileSync(certificate, good.certificate);
		fs.writeFileSync(key, good.key);
	}
	fs.unlinkSync(key);
	assert.match((await gw.ctl('reload')).err, /tls\.key: .*server\.key.*No such file/);
	await gw.murder('worker 1');
	await gw.ready();
	for (let i = 0; i < 8; i++) assert.equal(await nameAt(t, gw), 'server');
	fs.writeFileSync(key, good.key);
	gw.section.ciphers = 'NO-SUCH-CIPHER';
	gw.writeConfig();
	assert.match((await gw.ctl('reload')).err, /ciphers: no cipher match/);
	delete gw.section.ciphers;
	await reload(gw);
});

await test('a key with a passphrase: refused at the start, nobody is asked', async (t) => {
	const { gw, certs } = await tlsPair(t);
	const { run } = await import('./lib/proc.mjs');
	const r = await run('openssl', ['pkey', '-in', certs[0].key, '-aes256', '-passout', 'pass:secret', '-out', `${certs[0].key}.enc`]);
	assert.equal(r.code, 0, r.err);
	gw.section.key = [`${certs[0].key}.enc`];
	gw.writeConfig();
	const check = await wsgated('-t', '-c', gw.file);
	assert.equal(check.code, 1);
	assert.match(check.err, /the key has a passphrase/);
	assert.match((await gw.ctl('reload')).err, /the key has a passphrase/);
	gw.section.key = [certs[0].key];
	await reload(gw);
});

await test('sections come, change and go; the same port with TLS and without', async (t) => {
	const { gw, pki, certs, ca } = await tlsPair(t);
	const stays = await Client.connect(gw.wssUrl('chat/stays'), { ca });
	const second = await freePort();
	const more = await pki.issue('more');
	gw.config.tls[`127.0.0.1:${second}`] = { certificate: more.certificate, key: more.key };
	assert.match(await reload(gw), /1 keys changed/);
	assert.match(gw.log(), /changed key="tls sections"/);
	const at = async (port) => {
		const r = await rawTls(t, gw, {}, port);
		const name = r.socket.getPeerCertificate().subject.CN;
		r.destroy();
		return name;
	};
	for (let i = 0; i < 6; i++) assert.deepEqual([await at(second), await at(gw.tlsPort)], ['more', 'server']);
	// The first section goes, and its port speaks without TLS; the second changes its certificate.
	delete gw.config.tls[`127.0.0.1:${gw.tlsPort}`];
	gw.config.tls[`127.0.0.1:${second}`] = { certificate: certs[0].certificate, key: certs[0].key };
	gw.config.listen.push(`127.0.0.1:${gw.tlsPort}`);
	await reload(gw);
	for (let i = 0; i < 6; i++) {
		assert.equal(await at(second), 'server');
		const c = await Client.connect(gw.wsUrl('chat/plain').replace(gw.port, gw.tlsPort));
		await c.close();
	}
	await stays.ping();
	// And back: TLS alone.
	gw.config.listen = [];
	gw.config.tls = { [`127.0.0.1:${gw.tlsPort}`]: { certificate: more.certificate, key: more.key } };
	await reload(gw);
	for (let i = 0; i < 6; i++) assert.equal(await at(gw.tlsPort), 'more');
	await assert.rejects(at(second), /ECONNREFUSED/);
	await assert.rejects(Client.connect(gw.wsUrl('chat/plain')), /ECONNREFUSED/);
	await stays.ping();
	assert.equal(stays.closed, null);
});

await test('an address with TLS and without: refused with its name', async (t) => {
	const { gw } = await tlsPair(t);
	gw.config.listen.push(`localhost:${gw.tlsPort}`);
	gw.writeConfig();
	assert.match((await gw.ctl('reload')).err, /127.0.0.1:\d+ is in use with TLS and without/);
});
