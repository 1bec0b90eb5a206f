// TLS: the same as without, for clients of both kinds; what is negotiated; sessions taken up again by any worker.
import net from 'node:net';
import { test, assert, until } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { PyClient } from './lib/pyclient.mjs';
import { tlsPair, rawTls, nameAt, s_client, spoken } from './lib/pki.mjs';
import { run } from './lib/proc.mjs';
import { TEXT, CLOSE, PONG, PING, frame, closeFrame, upgrade } from './lib/raw.mjs';

await test('both ways, up to a megabyte, with TLS 1.2 and 1.3, plain and TLS side by side', async (t) => {
	const { gw, bus, ca } = await tlsPair(t);
	const big = (1 << 20) - 1024;
	const plain = await t.client(gw, 'chat/alice');
	for (const version of ['TLSv1.2', 'TLSv1.3']) {
		const c = await Client.connect(gw.wssUrl('chat/alice'), { ca, minVersion: version, maxVersion: version });
		await until('the log line', () => gw.log().includes(`tls=${version}`));
		await bus.publish(recv('chat', 'alice'), 'x'.repeat(big));
		for (const one of [c, plain]) assert.equal((await one.next()).text, 'x'.repeat(big));
		await c.send('y'.repeat(big));
		await c.send(Buffer.alloc(70000, 7));
		assert.deepEqual(await c.close(1000), { code: 1000, reason: '' });
	}
	const stored = await bus.storedAll(send('chat', 'alice'), 4);
	assert.deepEqual(stored.map((m) => m.data.length), [big, 70000, big, 70000]);
	await bus.empty('ws.recv.>');
	assert.equal(plain.closed, null);
});

await test('python3-websockets and curl', async (t) => {
	const { gw, bus, pki } = await tlsPair(t);
	const py = await PyClient.connect(t, gw.wssUrl('chat/py'), undefined, ['env', `SSL_CERT_FILE=${pki.ca}`]);
	await bus.publish(recv('chat', 'py'), 'hello');
	assert.deepEqual(await py.next(), { text: 'hello' });
	py.tell({ send: 'z'.repeat(40000) });
	assert.equal((await bus.storedAll(send('chat', 'py'), 1))[0].text.length, 40000);
	py.tell({ close: 1000 });
	assert.deepEqual(await py.next(), { closed: 1000 });
	const curl = await run('curl', ['-sS', '--cacert', pki.ca, '-o', '-', '-w', '%{http_code} %{http_version}', `https://localhost:${gw.tlsPort}/ws/`, '--connect-to', `::127.0.0.1:`]);
	assert.match(curl.out, /426 1\.1$/, curl.err);
});

await test('close codes, pings and a fault reach the client', async (t) => {
	const { gw, ca } = await tlsPair(t);
	const r = await rawTls(t, gw, { ca, rejectUnauthorized: true });
	await r.open('/ws/chat/a/');
	await r.send(PING, 'x');
	assert.equal((await r.next(PONG)).data.toString(), 'x');
	await r.write(closeFrame(4321, 'bye'));
	assert.equal((await r.next(CLOSE)).code, 4321);
	assert.equal(await r.ended(), 'end'); // close_notify, then the end
	const bad = await rawTls(t, gw);
	await bad.open('/ws/chat/a/');
	await bad.send(TEXT, Buffer.from([0xff]));
	assert.equal((await bad.next(CLOSE)).code, 1007);
	assert.equal(await bad.ended(), 'end');
});

await test('TLS 1.3: keys are renewed in the midst of it, as often as the client likes', async (t) => {
	const { gw, bus } = await tlsPair(t, { section: { ktls: 'off' } }); // the kernel does not get them
	const client = await spoken(t, gw.tlsPort, '/ws/chat/k/');
	for (let i = 0; i < 3; i++) {
		client.write('K\n'); // s_client's command: both sides' keys
		await until('new keys', () => client.out.toString('latin1').split('KEYUPDATE').length > i + 1);
		client.write(frame(PING, `p${i}`));
		await until('the Pong', () => client.out.includes(Buffer.concat([Buffer.from([0x8a, 2]), Buffer.from(`p${i}`)])));
		await bus.publish(recv('chat', 'k'), `down ${i}`);
		await until('the message', () => client.out.includes(`down ${i}`));
	}
});

// Between client and gateway: passes on a byte at a time, each in a packet of its own.
async function drip(t, port) {
	const server = net.createServer((a) => {
		const b = net.connect({ port, host: '127.0.0.1', noDelay: true });
		const queue = [];
		let busy = false;
		const pump = () => {
			if (busy || !queue.length) return;
			busy = true;
			b.write(queue.shift(), () => setImmediate(() => {
				busy = false;
				pump();
			}));
		};
		a.on('data', (d) => {
			for (const byte of d) queue.push(Buffer.from([byte]));
			pump();
		});
		b.pipe(a);
		for (const s of [a, b]) s.on('error', () => {}).on('close', () => (a.destroy(), b.destroy()));
	});
	await new Promise((done) => server.listen(0, '127.0.0.1', done));
	t.atEnd(() => server.close());
	return server.address().port;
}

await test('byte by byte: handshake, records, many frames in one record', async (t) => {
	const { gw, bus } = await tlsPair(t);
	const port = await drip(t, gw.tlsPort);
	for (const version of ['TLSv1.2', 'TLSv1.3']) {
		const r = await rawTls(t, gw, { minVersion: version, maxVersion: version }, port);
		await r.open(`/ws/chat/${version}/`);
		await r.write(Buffer.concat(numbers(20).map((i) => frame(TEXT, i))));
		const stored = await bus.storedAll(send('chat', version.replace('.', '%2E')), 20);
		assert.deepEqual(stored.map((m) => m.text), numbers(20));
		await r.write(frame(TEXT, 'half').subarray(0, 5));
		await r.send(PING, ''); // it completes nothing
		r.destroy();
	}
});

await test('request, frames and the end in one write: nothing that lies in OpenSSL is forgotten', async (t) => {
	const { gw, bus } = await tlsPair(t);
	const all = await Promise.all(numbers(20).map(async (i) => {
		const r = await rawTls(t, gw);
		const pieces = Buffer.concat([Buffer.from(upgrade(`/ws/chat/u${i}/`)), ...numbers(30).map((k) => frame(TEXT, k.repeat(2000))), closeFrame(1000)]);
		r.socket.end(pieces); // close_notify behind it
		await r.response();
		return r;
	}));
	for (const [i, r] of all.entries()) {
		assert.equal((await r.next(CLOSE)).code, 1000);
		await r.ended();
		assert.equal(await bus.count(send('chat', `u${i}`)), 30);
	}
});

await test('a slow reader: what it cannot take waits, and comes in order', async (t) => {
	const { gw, bus } = await tlsPair(t, { config: { pong_timeout: '60s', delivery: { window: '64m', window_messages: 1000, user_buffer: '32m' } } });
	const r = await rawTls(t, gw);
	await r.open('/ws/chat/slow/');
	r.socket.pause();
	for (const i of numbers(60)) await bus.publish(recv('chat', 'slow'), `${i} ${'x'.repeat(500000)}`);
	const other = await t.client(gw, 'chat/other');
	await bus.publish(recv('chat', 'other'), 'at once');
	assert.equal((await other.next()).text, 'at once');
	r.socket.resume();
	let answered = 0;
	await until('all of it', async () => {
		for (const f of r.frames.slice(answered)) if (f.opcode === PING) await r.send(PONG, f.data);
		answered = r.frames.length;
		return r.data().length === 60;
	});
	assert.deepEqual(r.data().map((f) => f.data.toString().split(' ')[0]), numbers(60));
	assert.ok(r.data().every((f) => f.data.length > 500000));
});

await test('certificates by name, by kind of key, and ALPN', async (t) => {
	const { gw } = await tlsPair(t, {
		certs: async (p) => [
			await p.issue('ec', { names: 'DNS:a.test,DNS:b.test' }),
			await p.issue('rsa', { kind: 'rsa', names: 'DNS:a.test' }),
			await p.issue('wild', { names: 'DNS:*.wild.test,DNS:wild.test' }),
			await p.issue('exact', { names: 'DNS:x.wild.test' }),
		],
	});
	const at = (servername, opts) => nameAt(t, gw, { servername, ...opts });
	assert.equal(await at('a.test'), 'ec');
	assert.equal(await at('a.test', { sigalgs: 'RSA-PSS+SHA256' }), 'rsa');
	assert.equal(await at('a.test', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }), 'rsa');
	assert.equal(await at('A.Wild.Test'), 'wild');
	assert.equal(await at('wild.test'), 'wild');
	assert.equal(await at('x.wild.test'), 'exact');
	assert.equal(await at('a.b.wild.test'), 'ec');
	assert.equal(await at('elsewhere'), 'ec');
	assert.equal(await nameAt(t, gw), 'ec');
	await until('the name in the log', async () => {
		const c = await Client.connect(gw.wssUrl('chat/alice'), { servername: 'b.test', rejectUnauthorized: false });
		c.terminate();
		return /connection opened .* tls=TLSv1.3 sni=b.test/.test(gw.log());
	});
	assert.match(await s_client(gw.tlsPort, ['-alpn', 'h2,http/1.1']), /ALPN protocol: http\/1\.1/);
	assert.match(await s_client(gw.tlsPort, ['-alpn', 'h2']), /no application protocol/);
	for (const group of ['X25519', 'P-256', 'P-384']) assert.match(await s_client(gw.tlsPort, ['-groups', group]), /New, TLSv1.3/);
	for (const group of ['ffdhe8192', 'P-521']) assert.match(await s_client(gw.tlsPort, ['-groups', group]), /alert handshake failure/);
	assert.match(await s_client(gw.tlsPort, ['-tls1_2']), /Cipher is ECDHE-ECDSA-AES128-GCM-SHA256/);
	assert.match(await s_client(gw.tlsPort, ['-tls1_1']), /alert protocol version|no protocols available/);
});

await test('min_version, ciphers: as configured', async (t) => {
	const { gw } = await tlsPair(t, { section: { min_version: '1.3', ciphersuites: 'TLS_AES_256_GCM_SHA384' } });
	assert.match(await s_client(gw.tlsPort), /Cipher is TLS_AES_256_GCM_SHA384/);
	assert.match(await s_client(gw.tlsPort, ['-tls1_2']), /alert protocol version/);
});

await test('OCSP: the response that belongs to the certificate is stapled, one for another is refused', async (t) => {
	const { gw, pki, certs } = await tlsPair(t);
	assert.match(await s_client(gw.tlsPort, ['-status']), /OCSP response: no response sent/);
	gw.section.ocsp = [await pki.ocsp(certs[0].certificate)];
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	assert.match(await s_client(gw.tlsPort, ['-status']), /OCSP Response Status: successful[^]*Cert Status: good/);
	assert.match(await s_client(gw.tlsPort, ['-status', '-tls1_2']), /OCSP Response Status: successful/);
	const other = await pki.issue('other');
	gw.section.ocsp = [await pki.ocsp(other.certificate)];
	gw.writeConfig();
	assert.match((await gw.ctl('reload')).err, /other.ocsp: is for none of the certificates/);
	assert.match(await s_client(gw.tlsPort, ['-status']), /OCSP Response Status: successful/);
});

// Resumed or not, on connections that come to all workers.
async function resumptions(t, gw, version) {
	const first = await rawTls(t, gw, { minVersion: version, maxVersion: version });
	let session = version === 'TLSv1.2' ? first.socket.getSession() : null;
	first.socket.once('session', (s) => (session = s));
	await first.open('/ws/chat/alice/');
	await until('a ticket', () => session);
	const again = [];
	for (let i = 0; i < 12; i++) {
		const r = await rawTls(t, gw, { session, minVersion: version, maxVersion: version });
		await r.open('/ws/chat/alice/');
		again.push(r.socket.isSessionReused());
		r.destroy();
	}
	first.destroy();
	return { session, again };
}

await test('sessions are taken up again by every worker, after a reload, a killed worker and two new keys', async (t) => {
	const { gw } = await tlsPair(t, { config: { workers: 3, tls_ticket_interval: '1h' } });
	for (const version of ['TLSv1.2', 'TLSv1.3']) {
		const { session, again } = await resumptions(t, gw, version);
		assert.deepEqual([...new Set(again)], [true], version);
		assert.equal((await gw.ctl('reload')).code, 0);
		const r = await rawTls(t, gw, { session, minVersion: version, maxVersion: version });
		assert.ok(r.socket.isSessionReused(), `${version} after a reload`);
	}
	await gw.murder('worker 0');
	await gw.ready();
	const { session, again } = await resumptions(t, gw, 'TLSv1.3');
	assert.deepEqual([...new Set(again)], [true]);
	const keys = () => (gw.log().match(/a new key for TLS tickets/g) ?? []).length;
	gw.config.tls_ticket_interval = '2s';
	gw.config.log = { level: 'debug' };
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	const before = keys();
	const reused = async () => {
		const r = await rawTls(t, gw, { session });
		const yes = r.socket.isSessionReused();
		r.destroy();
		return yes;
	};
	await until('one new key', () => keys() > before);
	assert.ok(await reused());
	await until('four new keys', () => keys() > before + 4);
	assert.equal(await reused(), false);
	gw.config.tls_ticket_interval = 0;
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	assert.doesNotMatch(await s_client(gw.tlsPort), /New Session Ticket/);
	assert.match(await s_client(gw.tlsPort), /New, TLSv1.3/);
});

await test('origin "same" knows the scheme: a page without TLS is another one', async (t) => {
	const { gw, ca } = await tlsPair(t);
	const host = `127.0.0.1:${gw.tlsPort}`;
	const c = await Client.connect(gw.wssUrl('chat/alice'), { ca, origin: `https://${host}` });
	await c.close();
	assert.equal((await Client.refused(gw.wssUrl('chat/alice'), { ca, origin: `http://${host}` })).status, 403);
});
