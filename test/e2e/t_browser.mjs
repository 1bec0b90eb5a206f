// A page in headless Chromium: what a browser's own WebSocket makes of it.
import http from 'node:http';
import { test, assert, until } from './lib/scenario.mjs';
import { Chrome } from './lib/chrome.mjs';
import { recv, send } from './lib/nats.mjs';
import { freePort } from './lib/proc.mjs';

const PAGE = `<!doctype html><title>wsgate</title><script>
const got = [];
let ws, closed = null;
function open(url) {
	return new Promise((done) => {
		closed = null;
		ws = new WebSocket(url);
		ws.binaryType = 'arraybuffer';
		ws.onopen = () => done('open');
		ws.onmessage = (m) => got.push(typeof m.data === 'string' ? m.data : 'bytes:' + new Uint8Array(m.data).join());
		ws.onclose = (e) => { closed = e.code; done('closed ' + e.code); };
	});
}
</script>`;

await test('a browser by path and by cookies', async (t) => {
	const port = await freePort();
	const server = http.createServer((_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end(PAGE));
	await new Promise((done) => server.listen(port, '127.0.0.1', done));
	t.atEnd(() => server.closeAllConnections());
	t.atEnd(() => server.close());
	const { gw, bus } = await t.pair({ origin: { allow: [`http://127.0.0.1:${port}`] } });
	await bus.publish(recv('chat', 'alice'), 'you were away');
	const chrome = await Chrome.start(t);
	const js = await chrome.page(`http://127.0.0.1:${port}/`);

	assert.equal(await js(`open("${gw.wsUrl('chat/alice/')}")`), 'open');
	await until('the waiting message', async () => (await js('got.join()')) === 'you were away');
	await bus.empty('ws.recv.>');
	await js('ws.send("grüß dich"); ws.send(new Uint8Array([0, 255]))');
	const stored = await bus.storedAll(send('chat', 'alice'), 2);
	assert.equal(stored[0].text, 'grüß dich');
	assert.deepEqual([...stored[1].data], [0, 255]);
	await bus.publish(recv('chat', 'alice'), new Uint8Array([255, 1]));
	await until('the bytes', async () => (await js('got.at(-1)')) === 'bytes:255,1');
	await js('ws.close(1000)');
	await until('the close', async () => (await js('closed')) === 1000);

	// Cookies go to every port of a host.
	assert.equal(await js(`document.cookie = "service=chat"; document.cookie = "user=bob"; open("${gw.wsUrl('')}")`), 'open');
	await js('ws.send("from bob")');
	await bus.storedAll(send('chat', 'bob'), 1);
	gw.signal('SIGTERM');
	await until('1001', async () => (await js('closed')) === 1001);
	assert.equal((await gw.exited()).code, 0);
}, { ms: 120000 });

await test('a page of another origin is kept out', async (t) => {
	const { gw } = await t.pair();
	const chrome = await Chrome.start(t);
	// The gateway's own 404 page has its origin; "localhost" is another one than 127.0.0.1.
	const same = await chrome.page(`http://127.0.0.1:${gw.port}/`);
	const open = `new Promise((done) => { const w = new WebSocket("${gw.wsUrl('chat/alice/')}"); w.onopen = () => done("open"); w.onclose = (e) => done(e.code); })`;
	assert.equal(await same(open), 'open');
	const foreign = await chrome.page(`http://127.0.0.1:${gw.adminPort}/`);
	assert.equal(await foreign(open), 1006);
}, { ms: 120000 });
