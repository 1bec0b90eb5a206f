// A thousand reloads in a row, under load both ways: nobody notices, and nothing is left behind.
import fs from 'node:fs';
import { test, assert, until, SLOW } from './lib/scenario.mjs';
import { recv, send } from './lib/nats.mjs';
import { Client, numbers } from './lib/client.mjs';
import { freePort, titleOf } from './lib/proc.mjs';

const HOW_OFTEN = SLOW > 1 ? 100 : 1000, WARM_UP = HOW_OFTEN / 10, USERS = 5;

// What the processes of a gateway hold. Memory of their own alone: pages of shared files come as they are used.
function holdings(gw) {
	return [gw.proc.pid, ...gw.children().map((c) => c.pid)].map((pid) => ({
		pid,
		fds: fs.readdirSync(`/proc/${pid}/fd`).length,
		maps: fs.readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').length,
		kb: Number(/^Pss_Anon:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]),
	}));
}

// Numbers both ways and visitors, while fn() runs: at an even pace, so that two such times are alike.
async function underLoad(gw, bus, clients, totals, fn) {
	let going = true;
	const upwards = (async () => {
		for (; going; totals.sent++) {
			await Promise.all(clients.map((c) => c.send(String(totals.sent))));
			await new Promise((go) => setTimeout(go, 10));
		}
	})();
	const downwards = (async () => {
		for (; going; totals.given++) {
			await Promise.all(clients.map((_, i) => bus.publish(recv('chat', `u${i}`), String(totals.given))));
			await new Promise((go) => setTimeout(go, 10));
		}
	})();
	const visitors = (async () => { // none is turned away
		for (; going; totals.came++) {
			(await Client.connect(gw.wsUrl(`chat/visitor${totals.came % 9}`))).terminate();
			await new Promise((go) => setTimeout(go, 10));
		}
	})();
	await fn();
	going = false;
	await Promise.all([upwards, downwards, visitors]);
	await until('all given', () => clients.every((c) => c.got.length >= totals.given), 40000);
	await bus.empty('ws.recv.>', 40000);
	await until('no visitors', async () => (await gw.ctl('sessions')).out.split('\n').filter((l) => /visitor/.test(l)).length === 0);
}

await test(`${HOW_OFTEN} reloads in a row under load leave as much as before`, async (t) => {
	const { gw, bus } = await t.pair({ workers: 2, log: { level: 'info' } });
	const more = await freePort(), admins = [gw.adminPort, await freePort()];
	const clients = await Promise.all(numbers(USERS).map((i) => t.client(gw, `chat/u${i}`)));
	const up = await bus.work('workers', 'ws.send.>');
	const totals = { sent: 0, given: 0, came: 0 };
	const one = { ...gw.config }, other = {
		...gw.config,
		ping_interval: '20s', handshake_timeout: '7s', max_header: '12k', hang_timeout: '20s', drain_timeout: '3s',
		echo_path: '/echo',
		listen: [...gw.config.listen, `127.0.0.1:${more}`],
		origin: { allow: ['any', 'https://*.example.org'] },
		identity: { sources: ['cookie', 'path'], user_cookie: 'usr' },
		delivery: { window: '128k', window_messages: 32, user_buffer: '64k' },
		log: { level: 'debug', format: 'json' },
		admin: { listen: `127.0.0.1:${admins[1]}` },
		stream: { max_age: '6d' },
		broker: { ...gw.config.broker, grace: '31s' },
	};
	const rounds = async (n) => {
		for (let i = 0; i < n; i++) {
			gw.config = i % 2 ? one : other;
			gw.writeConfig();
			const r = await gw.ctl('reload');
			assert.equal(r.code, 0, r.err);
			assert.match(r.out, /1[0-9] keys changed, 0 need a restart|2[0-9] keys changed, 0 need a restart/);
		}
	};
	await underLoad(gw, bus, clients, totals, () => rounds(WARM_UP));
	const before = holdings(gw);
	// Nor is all memory given back at once; what never is, is named below. A sanitizer keeps what was freed.
	const modest = (now, then) => now.every((h, i) => SLOW > 1 || (h.kb < then[i].kb + 256 && h.maps <= then[i].maps + 4));
	let then, now = before;
	// A single peak of the load may leave more; what is not given back grows each time.
	for (let i = 0; i < 2; i++) {
		then = now;
		await underLoad(gw, bus, clients, totals, () => rounds(HOW_OFTEN));
		// descriptors of callers and of a message on its way are there for a moment
		await until('as many descriptors', () => holdings(gw).every((h, k) => h.fds <= before[k].fds));
		await until('as much memory', () => modest(holdings(gw), then)).catch(() => {});
		now = holdings(gw);
		if (modest(now, then)) break;
	}
	const what = now.map((h, i) => `${titleOf(h.pid)}: ${JSON.stringify(then[i])}, then ${JSON.stringify(h)}`).join('\n');
	if (process.env.WSGATE_SAY) console.log(what);
	assert.deepEqual(now.map((h) => h.pid), before.map((h) => h.pid), 'the same processes');
	assert.ok(modest(now, then), what);
	assert.ok(totals.came > HOW_OFTEN / 10 && totals.given > HOW_OFTEN / 10, JSON.stringify(totals));
	for (const c of clients) {
		assert.deepEqual(c.texts(), numbers(totals.given));
		assert.equal(c.closed, null);
	}
	await until('all stored', () => up.length >= USERS * totals.sent, 40000);
	for (const i of numbers(USERS)) {
		assert.deepEqual(up.filter((m) => m.subject === send('chat', `u${i}`)).map((m) => m.text), numbers(totals.sent));
	}
}, { ms: 400000 });
