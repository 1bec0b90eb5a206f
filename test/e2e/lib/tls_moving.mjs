// TLS without OpenSSL behind the handshake, in the kernel (kTLS) or in the worker: nothing is different, but that connections move.
import fs from 'node:fs';
import net from 'node:net';
import { test, assert, until } from './scenario.mjs';
import { recv, send } from './nats.mjs';
import { Client, numbers } from './client.mjs';
import { Pki, tlsPair as pair, rawTls } from './pki.mjs';
import { CLOSE, PING, PONG, TEXT, closeFrame, frame } from './raw.mjs';
import { OPEN, handedOver, inTheMiddle } from './moving.mjs';

// Of all workers: { tls, ktls }
export async function counts(gw) {
	const text = (await gw.admin('/metrics')).text;
	const sum = (name) => [...text.matchAll(new RegExp(`^${name}{.*} (\\d+)$`, 'gm'))].reduce((n, m) => n + Number(m[1]), 0);
	return { tls: sum('wsgate_tls_connections'), ktls: sum('wsgate_ktls_connections') };
}

// A worker of a program that was replaced a moment ago may still answer.
export const counted = (gw, want) => until(`counts of ${JSON.stringify(want)}`, async () => JSON.stringify(await counts(gw)) === JSON.stringify(want));

export async function upgraded(gw) {
	gw.signal('SIGUSR2');
	await gw.replaced(60000);
	await gw.ready(60000);
}

// Between client and gateway; bytes of the client go through change(). { port, pass(bytes): as if the client sent them }
export async function between(t, port, change) {
	let pass, down;
	const server = net.createServer((a) => {
		const b = net.connect(port, '127.0.0.1');
		pass = (bytes) => b.write(bytes);
		down = b;
		a.on('data', (d) => b.write(change(d)));
		b.on('data', (d) => a.write(d));
		for (const [x, y] of [[a, b], [b, a]]) x.on('close', () => y.destroy()).on('error', () => y.destroy());
	});
	await new Promise((up) => server.listen(0, '127.0.0.1', up));
	t.atEnd(() => server.close());
	// slow(true): nothing comes down any more.
	return { port: server.address().port, pass: (bytes) => pass(bytes), slow: (yes) => (yes ? down.pause() : down.resume()) };
}

/*
 * kinds: options of a client, of each kind of connection that moves; versions: of TLS; section: of
 * the configuration; kernel: it has the keys.
 */
export async function scenarios({ kinds, versions, section = {}, kernel }) {
	const tlsPair = (t, how = {}) => pair(t, { ...how, section: { ...section, ...how.section } });
	const all = (n) => ({ tls: n, ktls: kernel ? n : 0 });

	await test('each cipher: both ways up to a megabyte, in another program, and to the end', async (t) => {
		const { gw, bus, ca } = await tlsPair(t, { section: { ciphers: 'ECDHE+AESGCM:ECDHE+CHACHA20' } });
		const big = (1 << 20) - 1024;
		let rounds = 0;
		const clients = await Promise.all(kinds.map((k, i) => Client.connect(gw.wssUrl(`chat/u${i}`), { ca, ...k })));
		const round = async (word) => {
			rounds++;
			for (const [i, c] of clients.entries()) {
				for (const text of [word, word.repeat(20000), 'x'.repeat(big), '']) {
					await bus.publish(recv('chat', `u${i}`), text);
					assert.ok((await c.next(30000)).text === text, `${kinds[i].ciphers}: ${text.length}`);
				}
				await Promise.all([word, word.repeat(20000), 'y'.repeat(big)].map((text) => c.send(text)));
				const stored = await bus.storedAll(send('chat', `u${i}`), 3 * rounds, 30000);
				assert.ok(stored.length === 3 * rounds);
				assert.ok([word, word.repeat(20000), 'y'.repeat(big)].every((text, k) => stored.at(k - 3).text === text), kinds[i].ciphers);
			}
		};
		await counted(gw, all(kinds.length));
		await round('before');
		await upgraded(gw);
		await counted(gw, all(kinds.length));
		await round('behind');
		for (const [i, c] of clients.entries()) assert.deepEqual(await c.close(1000 + (i && 3000)), { code: 1000 + (i && 3000), reason: '' });
		await until('nobody', async () => (await counts(gw)).tls === 0);
	}, { ms: 240000 });

	await test('a new program, in the middle of everything: nothing lost, doubled or reordered, nobody closed', async (t) => {
		const rig = await tlsPair(t, { config: { workers: 2, pong_timeout: '240s', delivery: { window: '8m' } } });
		let turn = 0;
		const version = () => ({ maxVersion: versions[turn++ % versions.length] });
		const over = {
			raw: (gw) => rawTls(t, gw, version()),
			client: (gw, where) => Client.connect(gw.wssUrl(where), { ca: rig.ca, ...version() }),
		};
		const holds = await inTheMiddle(over, rig, OPEN);
		const before = await counts(rig.gw);
		assert.deepEqual(before, all(before.tls));
		assert.ok(before.tls >= 40);
		for (let i = 0; i < 2; i++) await upgraded(rig.gw);
		const left = await handedOver(rig.gw, 2);
		assert.deepEqual(left, [[before.tls, 0], [before.tls, 0]]);
		await counted(rig.gw, before);
		await holds();
		assert.doesNotMatch(rig.gw.log(), /code=1012/);
	}, { ms: 300000 });

	await test('fewer workers: they move, too; users by certificate, and one that has sent no request', async (t) => {
		const authority = await Pki.make(t, 'clients');
		const anna = await authority.issue('anna', { client: true });
		const files = { cert: fs.readFileSync(anna.certificate), key: fs.readFileSync(anna.key) };
		const { gw, bus, ca } = await tlsPair(t, {
			section: { client_verify: 'optional', client_ca: authority.ca },
			config: { workers: 3, identity: { sources: ['cert', 'path'] } },
		});
		const list = await Promise.all(numbers(20).map((i) => Client.connect(gw.wssUrl(`chat/u${i}`), { ca })));
		const named = await Promise.all(numbers(6).map(() => Client.connect(gw.wssUrl('chat/'), { ca, ...files })));
		const half = await rawTls(t, gw);
		gw.restarts = true;
		gw.config.workers = 1;
		gw.writeConfig();
		assert.equal((await gw.ctl('reload')).code, 0);
		await half.open('/ws/chat/late/'); // waited for, and moved
		await until('one worker', () => gw.children().filter((c) => /worker \d/.test(c.title)).length === 1, 60000);
		await bus.publish(recv('chat', 'anna'), 'by certificate');
		for (const c of named) assert.equal((await c.next()).text, 'by certificate');
		for (const c of [...list, ...named]) {
			await c.ping();
			assert.equal(c.closed, null);
		}
		await half.send(PING, 'x');
		assert.equal((await half.next(PONG)).data.toString(), 'x');
		await counted(gw, all(27));
	}, { ms: 120000 });

	await test('close_notify: theirs is an end without a Close, ours comes behind the last byte; here and in another program', async (t) => {
		const { gw, bus } = await tlsPair(t);
		const open = async (user, opts) => {
			const r = await rawTls(t, gw, opts);
			await r.open(`/ws/chat/${user}/`);
			return r;
		};
		for (const moved of [false, true]) {
			const [a, b, c] = [await open('a'), await open('b', { maxVersion: versions[0] }), await open('c')];
			const closes = gw.log().match(/connection ends why="peer ended"/g)?.length ?? 0;
			if (moved) await upgraded(gw);
			await counted(gw, all(3));
			await a.send(TEXT, 'last words');
			a.socket.end();
			await until('the end of a', async () => (await counts(gw)).tls === 2);
			assert.equal((await bus.storedAll(send('chat', 'a'), moved ? 2 : 1)).length, moved ? 2 : 1);
			for (const r of [b, c]) {
				await r.write(closeFrame(4321, 'bye'));
				assert.equal((await r.next(CLOSE)).code, 4321);
				assert.equal(await r.ended(), 'end'); // not a cut connection, which would be an error
				r.destroy();
			}
			await until('nobody', async () => (await counts(gw)).tls === 0);
			assert.ok(gw.log().match(/connection ends why="peer ended"/g).length > closes);
		}
		// Thrown out in the middle of much that does not fit its socket: all comes, and in order.
		const slow = await open('slow');
		slow.socket.pause();
		const big = 'z'.repeat(700000);
		for (let i = 0; i < 4; i++) await bus.publish(recv('chat', 'slow'), big);
		await until('much unsent', () => /./.test(gw.log()) && slow.socket.readableLength > 0);
		const done = gw.ctl('close', 'chat', 'slow', '--reason', 'enough');
		slow.socket.resume();
		const seen = new Set();
		await until('the Close', async () => {
			for (const f of slow.frames) {
				if (f.opcode === PING && !seen.has(f)) {
					seen.add(f);
					await slow.send(PONG, f.data);
				}
			}
			return slow.frames.some((f) => f.opcode === CLOSE);
		}, 60000);
		await done;
		assert.ok(slow.data().length > 0);
		for (const f of slow.data()) assert.equal(f.data.length, big.length);
		await slow.write(closeFrame(slow.frames.find((f) => f.opcode === CLOSE).code));
		assert.equal(await slow.ended(), 'end');
	}, { ms: 180000 });

	await test('a record that was changed on its way: the end of that connection, others go on', async (t) => {
		const { gw, ca } = await tlsPair(t);
		const other = await Client.connect(gw.wssUrl('chat/other'), { ca });
		for (const version of versions) {
			let spoil = false;
			const { port } = await between(t, gw.tlsPort, (d) => {
				if (spoil) d[d.length - 1] ^= 1;
				return d;
			});
			const r = await rawTls(t, gw, { maxVersion: version }, port);
			await r.open('/ws/chat/a/');
			spoil = true;
			await r.send(TEXT, 'not this');
			await r.ended();
			await until('the log', () => gw.log().split('client fault reason="a record that was not encrypted with its key"').length > 1);
			await until('the other alone', async () => (await counts(gw)).tls === 1);
		}
		await other.ping();
		await other.close();
	});
}
