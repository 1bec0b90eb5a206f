// The page of the admin listener, in headless Chromium, with real traffic.
import { test, assert, until } from './lib/scenario.mjs';
import { Chrome } from './lib/chrome.mjs';
import { run } from './lib/proc.mjs';
import { recv, send } from './lib/nats.mjs';
import { numbers } from './lib/client.mjs';

const IMG = '<img src=x onerror=hacked=1>'; // a service
const encoded = IMG.replaceAll(' ', '%20').replaceAll('>', '%3E');

async function metrics(gw) {
	const { text } = await gw.admin('/metrics');
	return Object.fromEntries(text.split('\n').filter((l) => l && l[0] !== '#').map((l) => [l.slice(7, l.lastIndexOf(' ')), Number(l.slice(l.lastIndexOf(' ') + 1))]));
}

const HELPERS = `
	window.cells = (id) => [...document.querySelectorAll('#' + id + ' tbody tr')].map((tr) => [...tr.children].map((td) => (td.firstChild ?? td).textContent));
	window.heads = (id) => [...document.querySelectorAll('#' + id + ' thead th')].map((th) => th.textContent);
	window.tile = (n) => [...document.querySelectorAll('#tiles > div')][n].innerText;
	window.seen = [];
	new MutationObserver(() => seen.push(document.getElementById('words').textContent)).observe(document.getElementById('words'), { childList: true, characterData: true, subtree: true });
	true`;

async function open(t, gw) {
	const chrome = await Chrome.start(t);
	const js = await chrome.page(`http://127.0.0.1:${gw.adminPort}/`);
	await js(HELPERS);
	await until('figures on the page', () => js('document.querySelectorAll("#workers tbody tr td").length > 1'));
	// Rows of a table as objects; numbers as numbers where they are whole.
	const rows = async (id) => {
		const { heads, cells } = await js(`({ heads: heads('${id}'), cells: cells('${id}') })`);
		return cells.map((r) => Object.fromEntries(r.map((v, i) => [heads[i], /^[\d,]+$/.test(v) ? Number(v.replaceAll(',', '')) : v])));
	};
	return Object.assign(js, { rows });
}

async function traffic({ gw, bus }, clients, service, n) {
	const before = (await metrics(gw)).stored_messages_total;
	await Promise.all(clients.map(async (c, i) => {
		const each = Array.from({ length: n });
		await Promise.all(each.map(() => bus.publish(recv(service, `u${i}`), 'y'.repeat(100 + i))));
		for (const _ of each) await c.next();
		for (const _ of each) await c.send('x'.repeat(10 + i));
	}));
	let m;
	await until('all stored and removed', async () => {
		m = await metrics(gw);
		return m.stored_messages_total === before + n * clients.length && m.removed_messages_total === m.sent_messages_total;
	}).catch((e) => { throw new Error(`${e.message}: ${before} + ${n * clients.length}, ${JSON.stringify(m)}`); });
}

// What the page says is what /metrics says, once it has heard of it.
async function sameFigures(js, gw) {
	const seen = {};
	await until('the same figures', async () => {
		const m = await metrics(gw); // a connection that has just ended may not be counted out yet
		const services = Object.fromEntries((await js.rows('services')).map((r) => [r.Service, r]));
		const ended = await js.rows('endings'), latency = Object.fromEntries((await js.rows('latency')).map((r) => [r.What, r]));
		Object.assign(seen, { tiles: await js('[0, 1, 2].map(tile)'), services, workers: await js.rows('workers'), ended, latency, broker: await js('document.getElementById("broker").innerText') });
		try {
			for (const [shown, name] of [['chat', 'chat'], [IMG, encoded]]) {
				const r = services[shown], of = (k) => m[`service_${k}{service="${name}"}`];
				assert.deepEqual([r.connections, r.sent, r.received], [of('connections'), of('sent_messages_total'), of('received_messages_total')], shown);
			}
			for (const w of seen.workers) assert.equal(w.connections, m[`connections{worker="${w.Worker}"}`], 'connections of a worker');
			const sum = (k) => seen.workers.reduce((n, w) => n + w[k], 0);
			assert.deepEqual([sum('sent'), sum('received')], [m.sent_messages_total, m.received_messages_total]);
			assert.ok(seen.tiles[1].includes(`${m.sent_messages_total.toLocaleString('en')} in all`), 'tile: sent');
			assert.ok(seen.tiles[2].includes(`${m.received_messages_total.toLocaleString('en')} in all`), 'tile: received');
			assert.ok(new RegExp(`^Connections\\s+${sum('connections')}\\s`).test(seen.tiles[0]), 'tile: connections');
			for (const [shown, name] of [['Handshake', 'handshake_duration'], ['Broker to client', 'delivery_latency'], ['Broker to Pong', 'confirmation_latency'], ['Client to broker', 'publish_latency']]) {
				assert.equal(latency[shown]['in all'], m[`${name}_seconds_count`], shown);
			}
			const refused = Object.entries(m).filter(([k, n]) => k.startsWith('handshakes_refused_total') && n).map(([k, n]) => [/"(.*)"/.exec(k)[1], n]);
			assert.deepEqual(ended.filter((r) => r.What === 'refused').map((r) => [String(r.code), r.times]).sort(), refused.sort());
			assert.ok(seen.broker.includes(`${m.stored_messages_total.toLocaleString('en')} messages,`), 'stored');
			return true;
		} catch (e) {
			seen.fault = e.message;
			return false;
		}
	}, 10000).catch((e) => {
		throw new Error(`${e.message}: ${JSON.stringify(seen, null, 1)}`);
	});
}

await test('figures are those of /metrics, names are text, nothing breaks the policy', async (t) => {
	const rig = await t.pair({ workers: 2 }), { gw } = rig;
	const chat = await Promise.all(numbers(6).map((i) => t.client(gw, `chat/u${i}`)));
	const odd = [await t.client(gw, `${encodeURIComponent(IMG)}/u0`)];
	for (const path of ['/ws/', '/nothing', '/nothing', '/ws/chat/']) await fetch(`http://127.0.0.1:${gw.port}${path}`);
	await traffic(rig, chat, 'chat', 4);
	await traffic(rig, odd, encoded, 2);
	const js = await open(t, gw);
	await sameFigures(js, gw);
	await traffic(rig, chat, 'chat', 200); // and as it goes on
	await chat.pop().close(1000);
	await sameFigures(js, gw);
	assert.ok((await metrics(gw)).sent_messages_total > 1000);

	const sorted = async () => (await js.rows('services')).map((r) => r.Service);
	assert.deepEqual(await sorted(), ['chat', IMG]); // by connections
	const press = (n) => js(`document.querySelectorAll('#services thead button')[${n}].click()`);
	await press(0);
	assert.deepEqual(await sorted(), [IMG, 'chat']);
	assert.equal(await js('document.querySelector("#services th[aria-sort]").ariaSort'), 'ascending');
	await press(0);
	assert.deepEqual(await sorted(), ['chat', IMG]);

	await until('a curve', () => js('document.querySelector("svg path:not(.under)")?.getAttribute("d").length > 10'), 30000);
	const spoken = 'document.querySelectorAll("svg.curve")[1].ariaValueText';
	await js('document.querySelectorAll("svg.curve")[1].dispatchEvent(new KeyboardEvent("keydown", { key: "Home" }))');
	assert.match(await js(spoken), /^\d\d:\d\d:\d\d: to clients .*, from clients /);
	assert.ok(await js('document.querySelectorAll("svg.curve")[1].querySelectorAll("circle, .mark").length > 0'), 'a mark');

	for (const width of [390, 768, 1280]) {
		await js.call('Emulation.setDeviceMetricsOverride', { width, height: 800, deviceScaleFactor: 1, mobile: width < 500 });
		assert.ok(await js('document.documentElement.scrollWidth <= innerWidth'), `it fits into ${width} pixels`);
	}
	assert.deepEqual(await js('[document.images.length, typeof hacked, document.getElementById("try").hidden]'), [0, 'undefined', true]);
	assert.deepEqual(js.complaints, []);
	await js('document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=hacked=1><b style=color:red>x</b>")');
	await until('that this would have been seen', () => js.complaints.filter((c) => /Content Security Policy/.test(c)).length >= 2);
	assert.equal(await js('typeof hacked'), 'undefined');
}, { ms: 120000 });

await test('the small client: sends, is written to by the line to copy, shows Pong and close code', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { start: false, config: { admin: { try_out: 'on' } } });
	gw.config.origin = { allow: [`http://127.0.0.1:${gw.adminPort}`] };
	gw.writeConfig();
	await gw.start();
	const bus = await nats.connect();
	const js = await open(t, gw);
	const said = () => js('[...document.querySelectorAll("#heard li")].map((li) => [...li.children].slice(1).map((s) => s.textContent).join(": "))');
	const hears = (what) => until(`${what} in the log`, async () => (await said()).find((l) => what.test(l)));
	const put = (id, text) => js(`document.getElementById('${id}').value = ${JSON.stringify(text)}; document.getElementById('${id}').dispatchEvent(new Event('input'))`);
	await until('it is there', () => js('!document.getElementById("try").hidden'));
	await put('service', 'chat room');
	await put('user', "o'hara@c.org");
	await js('document.getElementById("enter").requestSubmit()');
	await hears(/^open: as user o'hara@c\.org of service chat room$/);
	await put('text', '<b>grüß</b> dich');
	await js('document.getElementById("speak").requestSubmit()');
	const [m] = await bus.storedAll(send('chat%20room', "o'hara@c%2Eorg"), 1);
	assert.deepEqual([m.text, m.headers['Ws-Type']], ['<b>grüß</b> dich', 'text']);
	assert.ok((await said()).includes('sent: <b>grüß</b> dich'));

	const line = await js('document.getElementById("command-send").textContent');
	const r = await run('sh', ['-c', line]);
	assert.equal(r.code, 0, `${line}\n${r.err}`);
	await hears(/^delivered: Hello from the service$/);
	await hears(/^Pong: confirmed 1 message of chat room/);
	await bus.publish(recv('chat%20room', "o'hara@c%2Eorg"), new Uint8Array([255, 0, 16]));
	await hears(/^delivered: 3 bytes: ff 00 10$/);
	assert.equal((await gw.ctl('close', 'chat room', "o'hara@c.org")).code, 0);
	await hears(/^closed: 4002 closed by an operator or a service/);
	assert.deepEqual(js.complaints, []);

	await put('service', '..');
	await js('document.getElementById("enter").requestSubmit()');
	await hears(/^not possible: /);
	await put('service', 'chat');
	gw.config.origin = { allow: ['same'] };
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	await js('document.getElementById("enter").requestSubmit()');
	await hears(/^refused: /);
}, { ms: 120000 });

await test('its worker is killed, or stands still; the broker goes: it says so, and comes back', async (t) => {
	const { gw, nats } = await t.pair({ workers: 1, hang_timeout: '120s' });
	const js = await open(t, gw);
	const words = () => js('document.getElementById("words").textContent');
	const old = () => js('document.querySelector("main").classList.contains("old")');
	gw.restarts = true;
	await js('seen.length = 0');
	await gw.murder('worker 0');
	await until('it has said so', () => js('seen.some((s) => /^Not connected to the gateway since \\d\\d:\\d\\d:\\d\\d/.test(s))'));
	await until('the successor serves it', async () => !(await old()) && !/^Not connected/.test(await words()));

	const pid = gw.pid('worker 0');
	process.kill(pid, 'SIGSTOP');
	try {
		await until('silence is noticed', async () => /^Not connected/.test(await words()) && (await old()), 20000);
	} finally {
		process.kill(pid, 'SIGCONT');
	}
	await until('it is back', async () => !(await old()), 30000);

	await nats.proc.kill();
	await until('the broker is away', async () => /the broker is away/i.test(await js('document.getElementById("state").innerText')));
	assert.match(await js('document.title'), /^⚠ /);
	await nats.start();
	await until('it is not', async () => !/away/.test(await js('document.getElementById("state").innerText')), 30000);
	assert.deepEqual(js.complaints.filter((c) => !/WebSocket connection to/.test(c)), []);
}, { ms: 180000 });

await test('a worker that was told to end: its last figures are no fault', async (t) => {
	const { gw } = await t.pair({ workers: 2, hang_timeout: '120s' });
	const js = await open(t, gw), pid = gw.pid('worker 1');
	const said = () => js('document.getElementById("state").innerText');
	const marks = () => js('[...document.querySelectorAll("#workers tbody tr")].filter((tr) => tr.firstChild.textContent === "1").flatMap((tr) => [...tr.children].map((td) => td.className)).filter((c) => /bad|warn/.test(c))');
	process.kill(pid, 'SIGSTOP');
	const since = performance.now();
	await until('a second without a turn', () => performance.now() > since + 1200);
	process.kill(pid, 'SIGCONT');
	await until('that this is said', async () => /worker 1 had no time/i.test(await said()));
	assert.notDeepEqual(await marks(), []);
	gw.config.workers = 1;
	gw.restarts = true;
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	await until('that it has ended', async () => (await js.rows('workers')).some((r) => r.Worker === 1 && r.state === 'ended'));
	await until('that all is well', async () => (await js('document.getElementById("words").textContent')) === 'All is well.', 5000);
	assert.deepEqual(await marks(), []);
}, { ms: 120000 });

await test('drained: it says so, as something that was asked for, and that it is taken back', async (t) => {
	const { gw } = await t.pair({ workers: 1 });
	const js = await open(t, gw);
	const words = () => js('document.getElementById("words").textContent');
	await until('all well', async () => (await words()) === 'All is well.', 45000);
	await t.client(gw, 'chat/alice');
	assert.equal((await gw.ctl('drain', '--wait')).code, 0);
	await until('that it is drained', async () => /^Drained by an operator for .*: not ready; no connection is left\.$/.test(await words()), 45000);
	assert.equal(await js('document.getElementById("words").className'), 'warn');
	assert.equal((await gw.ctl('undrain')).code, 0);
	await until('all well again', async () => (await words()) === 'All is well.', 45000);
}, { ms: 180000 });
