// TLS 1.3 where the worker has the keys, and OpenSSL is gone behind the handshake: connections move with them.
import fs from 'node:fs';
import { test, assert, until, SLOW } from './lib/scenario.mjs';
import { Client, numbers } from './lib/client.mjs';
import { recv, send } from './lib/nats.mjs';
import { tlsPair, rawTls, spoken } from './lib/pki.mjs';
import { PING, TEXT, frame } from './lib/raw.mjs';
import { notInTime } from './lib/moving.mjs';
import { between, counted, scenarios, upgraded } from './lib/tls_moving.mjs';

const section = { ktls: 'off' }; // whatever this kernel can
const KINDS = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'].map((ciphers) => ({ ciphers, minVersion: 'TLSv1.3' }));

await scenarios({ kinds: KINDS, versions: ['TLSv1.3'], section, kernel: false });

await test('new keys (KeyUpdate), ours too: here, in another program, and again', async (t) => {
	const { gw, bus } = await tlsPair(t, { section });
	const client = await spoken(t, gw.tlsPort, '/ws/chat/k/');
	let n = 0;
	const alive = async () => {
		client.write(frame(TEXT, `up ${++n}`));
		assert.equal((await bus.storedAll(send('chat', 'k'), n)).at(-1).text, `up ${n}`);
		await bus.publish(recv('chat', 'k'), `down ${n}`);
		await until('the message', () => client.out.includes(`down ${n}`));
	};
	for (const command of ['K', 'k', 'K']) { // of s_client: with a request for ours, without
		client.write(`${command}\n`);
		await until('new keys', () => client.out.toString('latin1').split('KEYUPDATE').length > n / 2 + 1);
		await alive();
		await upgraded(gw);
		await alive();
	}
	await counted(gw, { tls: 1, ktls: 0 });
});

await test('a client that has room for small records alone goes over, too', async (t) => {
	const { gw, bus } = await tlsPair(t, { section });
	const c = await spoken(t, gw.tlsPort, '/ws/chat/small/', ['-maxfraglen', '512']);
	for (const end of ['here', 'there']) {
		const text = 'x'.repeat(5000) + end;
		await bus.publish(recv('chat', 'small'), text);
		await until('it all', () => c.out.includes(text));
		await upgraded(gw);
	}
	await counted(gw, { tls: 1, ktls: 0 });
});

await test('new keys for one who has room for small records, and does not read them now: he gets all when he does', async (t) => {
	const { gw, bus } = await tlsPair(t, { section, config: { workers: 1, delivery: { confirm: 'write', window: '64m', user_buffer: '64m' } } });
	let passed = 0;
	const way = await between(t, gw.tlsPort, (d) => (passed++, d));
	const c = await spoken(t, way.port, '/ws/chat/k/', ['-nbio', '-maxfraglen', '512']);
	way.slow(true);
	const text = (i) => `${i}`.padEnd(1000000, '.');
	await bus.publishAll(16, (i) => [recv('chat', 'k'), text(i)]);
	await until('all to be given', async () => (await gw.figures()).workers[0].messages_out === 16);
	for (let i = 0; i < 5; i++) {
		c.write('K\n');
		await until('new keys', () => c.out.toString('latin1').split('KEYUPDATE').length > i + 1);
		const soFar = passed;
		c.write(frame(PING, 'x'));
		await until('the Ping on its way', () => passed > soFar); // s_client looks for commands where a read begins
	}
	way.slow(false);
	// s_client's own words come between.
	await until('it all', () => c.out.reduce((n, b) => n + (b === 0x2e), 0) >= 16 * (1000000 - 2), 30000);
	await bus.empty(recv('chat', 'k'));
});

await test('a record that is cut anywhere, and comes to an end in another program', async (t) => {
	const { gw, bus } = await tlsPair(t, { section, config: { workers: 1 } });
	const cuts = [1, 4, 5, 6, 20, 30]; // bytes of the header, of the data, of the tag
	const held = [];
	const all = await Promise.all(cuts.map(async (cut, i) => {
		let hold = false;
		const middle = await between(t, gw.tlsPort, (d) => {
			if (!hold) return d;
			hold = false;
			held[i] = d.subarray(cut);
			return d.subarray(0, cut);
		});
		const r = await rawTls(t, gw, {}, middle.port);
		await r.open(`/ws/chat/cut${i}/`);
		hold = true;
		await r.send(TEXT, `cut at ${cut}`);
		await until('held back', () => held[i]);
		return middle;
	}));
	await upgraded(gw);
	for (const [i, middle] of all.entries()) middle.pass(held[i]);
	for (const [i, cut] of cuts.entries()) assert.equal((await bus.storedAll(send('chat', `cut${i}`), 1))[0].text, `cut at ${cut}`);
	await counted(gw, { tls: cuts.length, ktls: 0 });
});

await test('a handshake that moves and cannot be finished in time: its 503 can be read', async (t) => {
	const { gw } = await tlsPair(t, { section, config: { workers: 2, handshake_timeout: '5s' } });
	const raws = await Promise.all(numbers(40).map(() => rawTls(t, gw)));
	await notInTime(gw, raws);
	for (const r of raws) if (r.finished) assert.equal(r.finished, 'end'); // not an alert
});

await test('OpenSSL is gone when a connection is open: 300 of TLS 1.3 take less than a third of what 300 of TLS 1.2 take', async (t) => {
	const { gw, ca } = await tlsPair(t, { section, config: { workers: 1 } });
	const kb = () => Number(/^Pss_Anon:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${gw.pid('worker 0')}/smaps_rollup`, 'utf8'))[1]);
	const open = async (n, maxVersion) => {
		const before = kb();
		for (const i of numbers(n)) await Client.connect(gw.wssUrl(`chat/u${i}`), { ca, maxVersion });
		return kb() - before;
	};
	await open(20, 'TLSv1.3'); // what all share
	const little = await open(300, 'TLSv1.3'), much = await open(300, 'TLSv1.2');
	if (process.env.WSGATE_SAY) console.log(`${little} KiB, ${much} KiB`);
	if (SLOW === 1) assert.ok(little < much / 3, `${little} KiB, ${much} KiB`); // a sanitizer keeps what was freed
});
