
/* ---- what a status says, in words ---- */

const ERROR_MS = 5 * 60 * 1000, LAG_US = 100000, LONG_LAG_US = 500000, NEARLY = 0.9, LONG = 100;
const capital = (s) => s.charAt(0).toUpperCase() + s.slice(1);

function familyFaults(s, bad, warn) {
	if (s.bridge.state !== 'running') bad(`the bridge to the broker ${s.bridge.state === 'hangs' ? 'hangs' : `is ${s.bridge.state}`}: nothing is stored or delivered`);
	if (!s.workers.some((w) => w.state === 'running')) bad('no worker is running');
	for (const w of s.workers) {
		if (w.state === 'hangs') warn(`worker ${w.worker} hangs`);
		else if (w.state === 'not running') warn(`worker ${w.worker} is not running`);
	}
	for (const [name, p] of [['the bridge', s.bridge.process], ...s.workers.filter((w) => w.state !== 'ended').map((w) => [`worker ${w.worker}`, w.process])]) {
		if (p.lag_us > LONG_LAG_US) warn(`${name} had no time for its clients for ${seconds(p.lag_us / 1e6)}, a moment ago`);
		if (p.max_files && p.files > p.max_files * NEARLY) warn(`${name} has ${count(p.files)} of ${count(p.max_files)} open files`);
	}
}

function drainText(s) {
	const { state, since_seconds, left_seconds } = s.drain, open = many(s.total.connections, 'connection', 'connections');
	const now = state === 'leaving' ? 'connections are closed when load balancers had time to know' : state === 'draining' ? `${open} left, for ${seconds(left_seconds)} at most` : 'no connection is left';
	return `drained by an operator for ${age(since_seconds)}: not ready; ${now}`;
}

/* What is not as it should be: { bad, text }, worst first. */
function faults(s) {
	const all = [], bad = (text) => all.push({ bad: true, text }), warn = (text) => all.push({ bad: false, text });
	const errors = s.warnings.filter((w) => w.level === 'error' && s.time_ms - w.at_ms < ERROR_MS).length;
	if (!s.running) bad('the gateway has ended');
	if (s.drain.state !== 'no' && s.running) warn(drainText(s));
	else if (!s.ready) bad(s.not_ready);
	if (s.broker.state === 'away') bad(`the broker is away for ${age(s.broker.since_seconds)}: clients stay, and their messages wait`);
	if (s.broker.state === 'connected in part')
		for (const st of s.streams.filter((st) => st.state !== 'connected'))
			bad(`the stream ${st.stream} is ${st.state === 'away' ? `away for ${age(st.since_seconds)}: messages of its services wait` : st.state}`);
	familyFaults(s, bad, warn);
	if (s.total.connections >= s.max_connections) bad(`no room for more than ${count(s.max_connections)} connections (max_connections)`);
	else if (s.total.connections > s.max_connections * NEARLY) warn(`${count(s.total.connections)} of ${count(s.max_connections)} connections (max_connections)`);
	if (s.total.behind) warn(`${many(s.total.behind, 'connection is', 'connections are')} behind: slower than what comes for them, and served from the stream`);
	if (s.reload.outcome === 'failed') warn(`the last new configuration was refused: ${s.reload.text}`);
	if (errors) warn(`${many(errors, 'error', 'errors')} in the log in the last 5 minutes: see below`);
	return all.sort((a, b) => b.bad - a.bad);
}

function sayState(s) {
	const all = faults(s), first = all[0], rest = all.length > 1 || (first && first.text.length > LONG) ? all : [];
	const words = !first ? 'All is well.' : rest.length
		? `${all.length === 1 ? 'One thing is' : `${count(all.length)} things are`} not well${first.bad ? '' : ', but all is served'}.`
		: `${capital(first.text)}.`;
	tell(words, !first ? '' : first.bad ? 'bad' : 'warn', rest.map((f) => `${capital(f.text)}.`));
	say($('beside'), `${many(s.total.connections, 'connection', 'connections')} of ${many(s.bridge.users, 'user', 'users')}; ${s.broker.state === 'connected' ? `connected to the broker for ${age(s.broker.since_seconds)}` : `the broker: ${s.broker.state}`}; up for ${age(s.uptime_seconds)}.`);
}

function tell(words, kind, notes) {
	const el = $('words');
	say(el, words);
	el.className = kind;
	const list = $('notes');
	if (notes.join('\n') !== [...list.children].map((li) => li.textContent).join('\n')) list.replaceChildren(...notes.map((n) => make('li', {}, n)));
	document.title = `${kind ? '⚠ ' : ''}${words} – wsgate`;
}

/* ---- lists of facts ---- */

/* rows: name → text, in the same order each time. */
function facts(el, rows) {
	if (el.children.length !== rows.length * 2) el.replaceChildren(...rows.flatMap(([k]) => [make('dt', {}, k), make('dd')]));
	for (const [i, [, text]] of rows.entries()) say(el.children[2 * i + 1], text);
}

function tiles(s) {
	const t = s.total, d = s.latency.delivery, of = [
		['Connections', count(t.connections), `of ${count(s.max_connections)} at most`],
		['To clients', rate(t.messages_out_per_second), `${byteRate(t.bytes_out_per_second)}, ${count(t.messages_out)} in all`],
		['From clients', rate(t.messages_in_per_second), `${byteRate(t.bytes_in_per_second)}, ${count(t.messages_in)} in all`],
		['Broker to client', seconds(d.last_minute_p50_seconds), d.last_minute_count ? `median; 99${NB}%: ${seconds(d.last_minute_p99_seconds)}` : 'nothing in the last minute'],
		['Not confirmed', count(t.unconfirmed), `${count(t.behind)} behind, ${bytes(s.bridge.buffered_bytes)} waiting`],
	];
	const el = $('tiles');
	if (!el.children.length) el.append(...of.map(([k]) => make('div', {}, make('dt', {}, k), make('dd'), make('dd'))));
	for (const [i, [, main, more]] of of.entries()) {
		say(el.children[i].children[1], main);
		say(el.children[i].children[2], more);
	}
}

function brokerFacts(s) {
	const b = s.bridge;
	facts($('broker'), [
		['State', `${s.broker.state}${s.broker.since_seconds ? `, for ${age(s.broker.since_seconds)}` : ''}`],
		['Server', s.broker.server || NONE],
		['Round trip', b.rtt_us ? seconds(b.rtt_us / 1e6) : NONE],
		['Reconnects', count(b.reconnects)],
		['Stored', `${many(b.stored, 'message', 'messages')}, ${bytes(b.stored_bytes)}`],
		['Removed', `${count(b.removals)}; ${count(b.removals_pending)} to be removed`],
		['Being stored', `${count(b.publishing)}; ${count(b.retries)} repeated, ${count(b.refused)} refused`],
		['Read again', `${count(b.rereads)}; ${many(b.gaps, 'gap', 'gaps')} closed, users looked at again ${many(b.rescans, 'time', 'times')}`],
		['Set aside', count(b.aside)],
		['Other gateways', b.gateways ? `${count(b.gateways)}, with ${count(b.shared_users)} of our users connected there, too` : NONE],
		...(s.streams.length < 2 ? [] : s.streams.map((st) => [`Stream ${st.stream}`,
			`${st.state} for ${age(st.since_seconds)}; ${many(st.users, 'user', 'users')}, ${count(st.stored)} stored, ${count(st.delivered)} delivered, ${count(st.removals_pending)} to be removed`])),
	]);
}

function gatewayFacts(s) {
	const r = s.reload, b = s.bridge;
	facts($('gateway'), [
		['Version', s.version],
		['Up for', `${age(s.uptime_seconds)}, since ${new Date(s.time_ms - s.uptime_seconds * 1000).toLocaleString('en-GB')}`],
		['Master', `process ${s.pid}`],
		['Bridge', `process ${b.pid}, ${b.state}, up for ${age(b.uptime_seconds)}`],
		['Bridge starts', count(b.starts)],
		['Bridge memory', `${bytes(b.process.private)}; an event waited ${seconds(b.process.lag_us / 1e6)} at worst`],
		['Connected users', count(b.users)],
		['Last reload', r.outcome === 'none' ? 'none yet' : `${r.outcome}, ${clock(r.at_ms)}${r.text ? `: ${r.text}` : ''}`],
		['Reloads', `${count(r.good)} good, ${count(r.failed)} refused`],
	]);
}

/* ---- services: sums come, rates are made here ---- */

const RATE_MS = 5000;
let sums = []; // { at_ms, of: Map(service → row) }, the last few seconds

function serviceRates(s) {
	const now = { at_ms: s.time_ms, of: new Map(s.services.map((v) => [v.service, v])) };
	sums = sums.filter((o) => o.at_ms < now.at_ms && now.at_ms - o.at_ms < RATE_MS + 1500);
	const then = sums[0];
	sums.push(now);
	return s.services.map((v) => {
		const was = then?.of.get(v.service), per = (k) => (was && v[k] >= was[k] ? (v[k] - was[k]) * 1000 / (now.at_ms - then.at_ms) : null);
		return { ...v, in_rate: per('messages_in'), out_rate: per('messages_out') };
	});
}

/* A percent-encoded name as it is, unless that could not be told from another one. */
function plainName(encoded) {
	try {
		const name = decodeURIComponent(encoded);
		return /^[\p{L}\p{N}\p{P}\p{S}]+( [\p{L}\p{N}\p{P}\p{S}]+)*$/u.test(name) ? name : encoded;
	} catch {
		return encoded;
	}
}

/* ---- why connections were refused and ended ---- */

const CODES = {
	1000: 'done', 1001: 'going away', 1002: 'protocol error', 1003: 'cannot take this data', 1005: 'closed without a code', 1006: 'connection lost, without a Close',
	1007: 'not UTF-8, or bad compression', 1008: 'policy', 1009: 'too big', 1011: 'fault of the server', 1012: 'restart', 1013: 'try again later',
	3000: 'credential expired', 3003: 'forbidden', 3008: 'no Pong in time', 4001: 'superseded by a newer connection', 4002: 'closed by an operator or a service',
};
const STATUSES = {
	400: 'malformed', 401: 'no identity', 403: 'not allowed', 404: 'no such path', 405: 'not GET', 408: 'too slow', 414: 'request line too long',
	426: 'no WebSocket, or another version', 429: 'too many', 431: 'headers too large', 502: 'bad answer of the callout', 503: 'full, draining or no broker', 504: 'no answer of the callout',
};

const ENDINGS = [['refused_by_status', 'refused', STATUSES], ['closed_by_client', 'closed by the client', CODES], ['closed_by_gateway', 'closed by the gateway', CODES]];

function endings(s) {
	return ENDINGS.flatMap(([key, kind, words]) => Object.entries(s.endings[key]).map(([code, n]) => ({ kind, code, words: words[code] ?? '', n })));
}

function warnings(s) {
	const list = $('warnings'), key = JSON.stringify(s.warnings);
	if (list.dataset.key === key) return;
	list.dataset.key = key;
	const day = (ms) => (s.time_ms - ms > 86400000 ? `${new Date(ms).toLocaleDateString('en-GB')} ` : '');
	list.replaceChildren(...s.warnings.map((w) => make('li', {}, make('span', { class: 'quiet' }, day(w.at_ms) + clock(w.at_ms)),
		make('span', { class: w.level === 'error' ? 'error' : 'warn' }, w.level === 'error' ? 'error' : 'warning'), make('span', { class: 'quiet' }, w.process), make('span', {}, w.text))));
	if (!s.warnings.length) list.append(make('li', { class: 'none' }, make('span', { class: 'quiet' }, 'None.')));
}
