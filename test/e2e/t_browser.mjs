// A page in headless Chromium: what a browser's own WebSocket makes of it.
import http from 'node:http';
import { test, assert, until } from './lib/scenario.mjs';
import { Chrome } from './lib/chrome.mjs';
import { recv, send } from './lib/nats.mjs';

const PAGE = `<!doctype html><title>wsgate</title><script>
const got = [];
let ws, closed = null, reason = null;
function open(url, binaryType = 'arraybuffer') {
	return new Promise((done) => {
		closed = null;
		ws = new WebSocket(url);
		ws.binaryType = binaryType;
		ws.onopen = () => done('open');
		ws.onmessage = async ({ data }) => {
			if (typeof data === 'string') return got.push(data);
			const blob = data instanceof Blob;
			got.push((blob ? 'blob:' : 'bytes:') + new Uint8Array(blob ? await data.arrayBuffer() : data).join());
		};
		ws.onclose = (e) => { closed = e.code; reason = e.reason; done('closed ' + e.code); };
	});
}
</script>`;

// A gateway and a page whose origin it lets in.
async function rig(t, config = {}) {
	const server = http.createServer((_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end(PAGE));
	await new Promise((done) => server.listen(0, '127.0.0.1', done));
	t.atEnd(() => server.closeAllConnections());
	t.atEnd(() => server.close());
	const origin = `http://127.0.0.1:${server.address().port}`;
	const pair = await t.pair({ origin: { allow: [origin] }, ...config });
	const chrome = await Chrome.start(t);
	return { ...pair, js: await chrome.page(`${origin}/`) };
}

await test('a browser by path and by cookies', async (t) => {
	const { gw, bus, js } = await rig(t);
	await bus.publish(recv('chat', 'alice'), 'you were away');
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
	const foreign = await chrome.page(`http://127.0.0.1:${gw.adminPort}/livez`); // which has no policy of its own
	assert.equal(await foreign(open), 1006);
}, { ms: 120000 });

await test('Blob and ArrayBuffer, both ways', async (t) => {
	const { gw, bus, js } = await rig(t);
	const last = (what) => until(what, async () => (await js('got.at(-1)')) === what);
	assert.equal(await js(`open("${gw.wsUrl('chat/alice/')}", "blob")`), 'open');
	await js('ws.send(new Blob(["Bl", new Uint8Array([0xff, 0])])); ws.send(new ArrayBuffer(3)); ws.send(new Uint8Array([9, 8, 7, 6]).subarray(1, 3)); ws.send("")');
	const stored = await bus.storedAll(send('chat', 'alice'), 4);
	assert.deepEqual(stored.map((m) => [m.headers['Ws-Type'], ...m.data]), [['binary', 66, 108, 255, 0], ['binary', 0, 0, 0], ['binary', 8, 7], ['text']]);
	await bus.publish(recv('chat', 'alice'), new Uint8Array([255, 0, 1]));
	await last('blob:255,0,1');
	await js('ws.binaryType = "arraybuffer"');
	await bus.publish(recv('chat', 'alice'), 'as bytes', { 'Ws-Type': 'binary' });
	await last(`bytes:${[...Buffer.from('as bytes')].join()}`);
	await bus.empty('ws.recv.>');
}, { ms: 120000 });

await test('a script sees codes and reasons, and comes back to what was waiting', async (t) => {
	const { gw, bus, js } = await rig(t, { max_message: '64k' });
	const open = `open("${gw.wsUrl('chat/alice/')}")`;
	const closed = (code) => until(`close ${code}`, async () => (await js('closed')) === code);
	assert.equal(await js(open), 'open');
	assert.equal((await gw.ctl('close', 'chat', 'alice', '--reason', 'bis später')).code, 0);
	await closed(4002);
	assert.equal(await js('reason'), 'bis später');

	assert.equal(await js(open), 'open');
	await js('ws.send(new ArrayBuffer(65537))');
	await closed(1009);

	assert.equal(await js(open), 'open');
	await js('ws.close(4999, "ich gehe")');
	await closed(4999);

	assert.equal(await js(open), 'open');
	for (const title of ['worker 0', 'worker 1']) await gw.murder(title);
	await closed(1006);
	await bus.publishAll(20, (i) => [recv('chat', 'alice'), `while away ${i}`]);
	await gw.ready();
	await until('another connection', async () => (await js(open)) === 'open');
	await until('what was waiting', async () => (await js('got.join()')) === Array.from({ length: 20 }, (_, i) => `while away ${i}`).join());
	await bus.empty('ws.recv.>');

	assert.equal(await js(`open("${gw.wsUrl('/nowhere')}")`), 'closed 1006'); // all that a script learns of a refusal
}, { ms: 120000 });
