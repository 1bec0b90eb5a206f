// TLS where the kernel has the keys (kTLS). make check-ktls finds such a kernel.
import { test, assert, until } from './lib/scenario.mjs';
import { send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { tlsPair, spoken } from './lib/pki.mjs';
import { TEXT, frame } from './lib/raw.mjs';
import { counted, counts, scenarios, upgraded } from './lib/tls_moving.mjs';

const KINDS = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-CHACHA20-POLY1305'].map((ciphers) => ({ ciphers, maxVersion: 'TLSv1.2' }))
	.concat(['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'].map((ciphers) => ({ ciphers, minVersion: 'TLSv1.3' })));

await scenarios({ kinds: KINDS, versions: ['TLSv1.2', 'TLSv1.3'], kernel: true });

await test('new keys (KeyUpdate): closed with 1012, and what came before is stored', async (t) => {
	const { gw, bus } = await tlsPair(t);
	for (const moved of [false, true]) {
		const client = await spoken(t, gw.tlsPort, '/ws/chat/k/');
		if (moved) await upgraded(gw);
		client.write(frame(TEXT, 'before'));
		await bus.storedAll(send('chat', 'k'), moved ? 2 : 1);
		client.write('K\n'); // s_client's command
		const reason = 'new keys: please come back';
		await until('the Close', () => client.out.includes(Buffer.concat([Buffer.from([0x88, reason.length + 2, 1012 >> 8, 1012 & 255]), Buffer.from(reason)])));
		await until('its end', async () => (await counts(gw)).tls === 0);
	}
}, { ms: 120000 });

await test('ktls = off: the worker has the keys; of TLS 1.2 OpenSSL, and a new program closes with 1012', async (t) => {
	const { gw, ca } = await tlsPair(t, { section: { ktls: 'off' } });
	const list = await Promise.all(numbers(5).map((i) => Client.connect(gw.wssUrl(`chat/u${i}`), { ca, maxVersion: 'TLSv1.2' })));
	await counted(gw, { tls: 5, ktls: 0 });
	await upgraded(gw);
	for (const c of list) assert.equal((await c.ended()).code, 1012);
});
