// Start, a hundred sessions that talk, some through TLS, a reload, stop: no leak and no error, says valgrind, in any process.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { SLOW } from '../e2e/lib/proc.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { Client, numbers } from '../e2e/lib/client.mjs';
import { Pki } from '../e2e/lib/pki.mjs';

await test('valgrind finds nothing', async (t) => {
	if (SLOW > 1) t.skip('a sanitizer is in it already');
	const nats = await t.nats(), bus = await nats.connect(), words = path.join(t.dir, 'valgrind-%p.log');
	const gw = await t.gateway(nats, {
		start: false,
		config: { workers: 2, seccomp: 'off', hang_timeout: '0s', handshake_timeout: '60s', pong_timeout: '60s', drain_timeout: '20s' },
		under: ['valgrind', '--quiet', '--soname-synonyms=somalloc=libjemalloc*', '--leak-check=full', '--show-leak-kinds=definite,indirect', '--errors-for-leak-kinds=definite,indirect',
			'--error-exitcode=99', `--log-file=${words}`],
	});
	const pki = await Pki.make(t), ca = fs.readFileSync(pki.ca);
	gw.config.tls = { [`127.0.0.1:${gw.tlsPort}`]: await pki.issue('server') };
	gw.writeConfig();
	await gw.start(false);
	await gw.ready(120000);
	const users = numbers(100).map((i) => `u${i}`), clients = [];
	for (const [i, u] of users.entries()) clients.push(await (i % 3 ? t.client(gw, `chat/${u}`) :
		Client.connect(gw.wssUrl(`chat/${u}`), { ca, maxVersion: i % 2 ? 'TLSv1.2' : 'TLSv1.3' })));
	await Promise.all(users.map((u) => bus.publish(recv('chat', u), 'down')));
	for (const c of clients) assert.equal((await c.next(60000)).text, 'down');
	await Promise.all(clients.map((c) => c.send('up')));
	for (const u of users) await bus.storedAll(send('chat', u), 1, 60000);
	gw.signal('SIGHUP');
	await until('the reload', () => /reload/.test(gw.log()) && /applied|reloaded/.test(gw.log()), 60000);
	for (const c of clients.slice(0, 50)) assert.equal((await c.close(1000, 60000)).code, 1000);
	await bus.empty('ws.recv.>', 60000);
	gw.signal('SIGTERM');
	assert.deepEqual(await gw.exited(90000), { code: 0, signal: null });
	const found = fs.readdirSync(t.dir).filter((f) => f.startsWith('valgrind-'));
	assert.ok(found.length >= 4, `${found.length} processes`);
	for (const f of found) assert.equal(fs.readFileSync(path.join(t.dir, f), 'utf8'), '', f);
}, { ms: 400000 });
