
/* ---- the small client, where admin.try_out is on ---- */

const HEARD_MAX = 500;
let mine = null, place = null, confirmed = 0;

function heard(kind, text, of = '') {
	const log = $('heard'), atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
	log.append(make('li', { class: of || null }, make('span', {}, clock(Date.now())), make('span', { class: 'kind' }, kind), make('span', {}, text)));
	while (log.children.length > HEARD_MAX) log.firstChild.remove();
	if (atEnd) log.scrollTop = log.scrollHeight;
}

/* As in subjects: what NATS could not take, and all that is not ASCII, becomes %XX. */
const encode = (token) => [...new TextEncoder().encode(token)].map((b) =>
	(b <= 0x20 || b > 0x7e || '%.*>'.includes(String.fromCharCode(b)) ? `%${b.toString(16).toUpperCase().padStart(2, '0')}` : String.fromCharCode(b))).join('');
const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function address(s) {
	const secure = location.protocol === 'https:' && s.try_out.tls.length, [first] = secure ? s.try_out.tls : s.try_out.listen.length ? s.try_out.listen : s.try_out.tls;
	return `${secure || !s.try_out.listen.length ? 'wss' : 'ws'}://${location.hostname}:${first.split(':').at(-1)}/ws/`;
}

function commands() {
	const tool = latest.try_out.tool.map(quote).join(' '), service = quote($('service').value || 'chat');
	say($('command-send'), `${tool} send ${service} ${quote($('user').value || 'alice')} 'Hello from the service'`);
	say($('command-tail'), `${tool} tail ${service}`);
}

function opened(on) {
	for (const id of ['text', 'send']) $(id).disabled = !on;
	for (const id of ['service', 'user']) $(id).disabled = mine !== null;
	say($('open'), mine === null ? 'Connect' : on ? 'Close' : 'Cancel');
}

async function bytesOf(data) {
	const all = new Uint8Array(await data.arrayBuffer());
	return `${many(all.length, 'byte', 'bytes')}: ${[...all.slice(0, 32)].map((b) => b.toString(16).padStart(2, '0')).join(' ')}${all.length > 32 ? ' …' : ''}`;
}

function enter() {
	const [service, user] = [$('service').value, $('user').value];
	if ([service, user].some((t) => t === '.' || t === '..')) return heard('not possible', 'a browser takes . and .. out of a path', 'bad');
	const url = `${address(latest)}${encodeURIComponent(service)}/${encodeURIComponent(user)}/`;
	let ws, was = false;
	try {
		ws = new WebSocket(url);
	} catch (e) {
		return heard('not possible', e.message, 'bad');
	}
	mine = ws;
	place = encode(service);
	confirmed = latest.services.find((v) => v.service === place)?.confirmed ?? 0;
	heard('connecting', url);
	ws.onopen = () => {
		was = true;
		heard('open', `as user ${user} of service ${service}`);
		opened(true);
		$('text').focus({ preventScroll: true });
	};
	let turn = Promise.resolve(); // a Blob is read later, and must not be overtaken
	ws.onmessage = ({ data }) => {
		turn = turn.then(async () => heard('delivered', typeof data === 'string' ? data : await bytesOf(data), 'got'));
	};
	ws.onclose = (e) => {
		turn.then(() => heard(was ? 'closed' : 'refused', was
			? `${e.code} ${CODES[e.code] ?? ''}${e.reason ? `: ${e.reason}` : ''}`
			: 'a browser does not tell a page why; “Refused and ended” below counts it by status', e.code === 1000 ? '' : 'bad'));
		mine = null;
		opened(false);
	};
	opened(false);
}

/* Browsers answer Pings by themselves, and no page sees it: the gateway's own figures tell. */
function pongs(s) {
	const row = mine?.readyState === WebSocket.OPEN && s.services.find((v) => v.service === place);
	if (!row) return;
	const n = row.confirmed - confirmed;
	if (n > 0) heard('Pong', `confirmed ${many(n, 'message', 'messages')} of ${plainName(place)}, the gateway says${row.unconfirmed ? `; ${count(row.unconfirmed)} not yet` : ''}`);
	confirmed = row.confirmed;
}

$('enter').addEventListener('submit', (e) => {
	e.preventDefault();
	if (mine) mine.close(1000);
	else enter();
});
$('speak').addEventListener('submit', (e) => {
	e.preventDefault();
	if (mine?.readyState !== WebSocket.OPEN) return;
	mine.send($('text').value);
	heard('sent', $('text').value);
	$('text').value = '';
});
for (const id of ['service', 'user']) $(id).addEventListener('input', commands);
for (const b of document.querySelectorAll('[data-copy]')) {
	b.addEventListener('click', async () => {
		const from = $(b.dataset.copy);
		try {
			await navigator.clipboard.writeText(from.textContent);
			say($('spoken'), 'copied');
			b.textContent = 'Copied';
			setTimeout(() => (b.textContent = 'Copy'), 1500);
		} catch {
			getSelection().selectAllChildren(from);
		}
	});
}
document.addEventListener('status', ({ detail: s }) => {
	$('try').hidden = !s.try_out;
	if (!s.try_out) return;
	commands();
	pongs(s);
});
