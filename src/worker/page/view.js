
/* ---- what is on the page ---- */

const tidy = (s) => (s < 0.001 ? `${digits(s * 1e6, 0)}${NB}µs` : s < 1 ? `${digits(s * 1e3, 0)}${NB}ms` : `${digits(s, 0)}${NB}s`);
const curves = [
	new Curve('Connections', [{ key: 'connections', label: 'open' }], { text: count, mark: count, least: 4, whole: true }),
	new Curve('Messages', [{ key: 'messages_out_per_second', label: 'to clients' }, { key: 'messages_in_per_second', label: 'from clients' }], { text: rate, mark: (n) => (n ? `${digits(n, 2)}/s` : '0'), least: 4 }),
	new Curve('Broker to client', [{ key: 'delivery_p50_seconds', label: 'median' }, { key: 'delivery_p99_seconds', label: `99${NB}%` }], { text: seconds, mark: tidy, least: 0.001, tens: true }),
	new Curve('Not confirmed by a Pong', [{ key: 'unconfirmed', label: 'messages' }], { text: count, mark: count, least: 4, whole: true }),
];
$('curves').append(...curves.map((c) => c.figure));

const number = (label, key, title, text = count) => ({ label, title, text: (r) => text(r[key]), value: (r) => r[key] });
const LATENCIES = {
	handshake: ['Handshake', 'first byte of the request to the 101 answer'], delivery: ['Broker to client', 'stored, to written to the socket'],
	confirm: ['Broker to Pong', 'stored, to proof of receipt'], publish: ['Client to broker', 'read whole, to stored'],
};
const latency = new Table($('latency'), [
	{ label: 'What', text: (r) => LATENCIES[r.name]?.[0] ?? r.name, below: (r) => LATENCIES[r.name]?.[1] ?? '', words: true },
	number('median', 'last_minute_p50_seconds', 'half took no longer', seconds), number(`90${NB}%`, 'last_minute_p90_seconds', null, seconds),
	number(`99${NB}%`, 'last_minute_p99_seconds', null, seconds), number('in the minute', 'last_minute_count', 'how many there were in the last minute'), number('in all', 'count'),
], { key: (r) => r.name });

const workers = new Table($('workers'), [
	{ label: 'Worker', text: (r) => String(r.worker), value: (r) => String(r.worker), words: true, hint: (r) => `process ${r.pid}` },
	{ label: 'state', text: (r) => (r.retiring || r.draining ? `${r.state}, leaving` : r.state), value: (r) => r.state, words: true, mark: (r) => (['running', 'ended'].includes(r.state) ? '' : 'bad') },
	number('connections', 'connections'), number('to clients', 'messages_out_per_second', 'messages a second', rate), number('sent', 'messages_out', 'messages to clients, in all'),
	number('from clients', 'messages_in_per_second', 'messages a second', rate), number('received', 'messages_in', 'messages from clients, in all'),
	number('not confirmed', 'unconfirmed', 'messages sent that no Pong has confirmed yet'),
	{ ...number('behind', 'behind', 'connections served from the stream'), mark: (r) => (r.behind ? 'warn' : '') },
	{ label: 'waits', title: 'longest time that an event had to wait, in the last 15 to 30 seconds', text: (r) => seconds(r.process.lag_us / 1e6), value: (r) => r.process.lag_us, mark: (r) => (r.state !== 'ended' && r.process.lag_us > LAG_US ? 'warn' : '') },
	{ label: 'memory', title: 'memory that nobody else has', text: (r) => bytes(r.process.private), value: (r) => r.process.private },
	{ label: 'files', title: 'open file descriptors', text: (r) => count(r.process.files), value: (r) => r.process.files },
	{ ...number('up for', 'uptime_seconds', null, age), hint: (r) => `started ${many(r.starts, 'time', 'times')}` },
], { key: (r) => String(r.worker), sort: 0, none: 'No workers.' });

const services = new Table($('services'), [
	{ label: 'Service', text: (r) => (r.service === null ? 'all others' : plainName(r.service)), value: (r) => r.service ?? '', words: true, name: true, hint: (r) => (r.service === null ? 'those that have no row of their own' : r.service) },
	number('connections', 'connections'),
	number('to clients', 'out_rate', 'messages a second', rate), number('sent', 'messages_out', 'messages to clients, in all'), number('in bytes', 'bytes_out', 'of the messages to clients', bytes),
	number('from clients', 'in_rate', 'messages a second', rate), number('received', 'messages_in', 'messages from clients, in all'), number('in bytes', 'bytes_in', 'of the messages from clients', bytes),
	number('not confirmed', 'unconfirmed', 'messages sent that no Pong has confirmed yet'), number('behind', 'behind', 'connections served from the stream'),
], { key: (r) => r.service ?? ' ', sort: 1, last: (r) => r.service === null, none: 'No client has come yet.' });

const ended = new Table($('endings'), [
	{ label: 'What', text: (r) => r.kind, value: (r) => r.kind, words: true }, { label: 'code', text: (r) => r.code, value: (r) => r.code, words: true },
	number('times', 'n'), { label: 'meaning', text: (r) => r.words, value: (r) => r.words, words: true },
], { key: (r) => r.kind + r.code, sort: 2, none: 'None yet.' });

const FEW = 15;
services.most = FEW;
$('all-services').addEventListener('click', () => {
	services.most = services.most === FEW ? Infinity : FEW;
	services.show(services.rows);
	moreServices();
});
function moreServices() {
	const n = services.rows.length;
	$('all-services').hidden = n <= FEW;
	say($('all-services'), services.most === FEW ? `Show all ${n} services` : `Show ${FEW} only`);
}

let latest = null, samples = [];

function paint() {
	const s = latest;
	if (!s || document.hidden) return;
	say($('who'), `${s.version}, ${location.host}`);
	sayState(s);
	tiles(s);
	for (const c of curves) c.show(samples, s.time_ms);
	latency.show(Object.keys(s.latency).map((name) => ({ name, ...s.latency[name] })));
	workers.show(s.workers);
	services.show(s.rated);
	moreServices();
	brokerFacts(s);
	gatewayFacts(s);
	ended.show(endings(s));
	warnings(s);
}

/* Columns become rows; what is there already, or too old, is left out. */
function remember(s) {
	const h = s.history, keys = Object.keys(h).filter((k) => Array.isArray(h[k])), have = new Set(samples.map((o) => o.at_ms));
	for (const [i, at] of h.at_ms.entries()) if (!have.has(at)) samples.push(Object.fromEntries(keys.map((k) => [k, h[k][i]])));
	samples = samples.filter((o) => o.at_ms <= s.time_ms + 60000 && s.time_ms - o.at_ms <= SPAN_MS + 5000);
}

/* ---- the feed ---- */

const SILENCE_MS = 5000, RETRY_MS = [500, 1000, 2000, 4000, 8000];
let feed = null, tries = 0, lostAt = 0, retryAt = 0, retry = null, heardAt = 0;

function connect() {
	clearTimeout(retry);
	const url = new URL(location.href), ws = new WebSocket(`${url.protocol.replace('http', 'ws')}//${url.host}${url.pathname.replace(/\/?$/, '/')}live`);
	feed = ws;
	heardAt = Date.now();
	ws.onmessage = (e) => {
		if (feed === ws) hear(JSON.parse(e.data));
	};
	ws.onclose = () => lost(ws);
}

function hear(s) {
	heardAt = Date.now();
	if (lostAt || !latest) samples = []; // it begins with all that there is
	lostAt = tries = 0;
	s.rated = serviceRates(s);
	latest = s;
	remember(s);
	document.querySelector('main').classList.remove('old');
	document.dispatchEvent(new CustomEvent('status', { detail: s }));
	paint();
}

function lost(ws) {
	if (feed !== ws) return;
	feed = null;
	lostAt ||= Date.now();
	const wait = RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2);
	retryAt = Date.now() + wait;
	retry = setTimeout(connect, wait);
	sayLost();
}

function sayLost() {
	const left = Math.ceil((retryAt - Date.now()) / 1000);
	document.querySelector('main').classList.add('old');
	tell(`Not connected to the gateway since ${clock(lostAt)}.`, 'bad', []);
	say($('beside'), `${feed || left <= 0 ? 'Trying again now' : `Trying again in ${left}${NB}s`}. ${latest ? `Figures are those of ${clock(latest.time_ms)}.` : 'Nothing is known yet.'}`);
}

/* A worker that stands still closes nothing: another one may have time. */
setInterval(() => {
	const ws = feed;
	if (ws && Date.now() - heardAt > SILENCE_MS) {
		lost(ws);
		ws.close();
	} else if (lostAt) {
		sayLost();
	}
}, 1000);
document.addEventListener('visibilitychange', paint);
window.addEventListener('online', () => {
	if (!feed) connect();
});
connect();
