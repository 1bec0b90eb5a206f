// The programs of clients/, one a library, driven over lines (clients/README). Chromium is driven in the same way.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { X509Certificate, createHash } from 'node:crypto';
import { Chrome } from './chrome.mjs';
import { Proc, run, sleep, until } from './proc.mjs';
import { BUILD } from './gateway.mjs';

const DIR = new URL('../clients/', import.meta.url).pathname;
const own = (file) => path.join(DIR, file);
const node = (file, ...flags) => [process.execPath, ...flags, own(file)];
const python = (file) => ['/usr/bin/python3', '-B', own(file)]; // Debian's has the modules; another may stand first in PATH
const built = (file) => [path.join(BUILD, 'test/clients', file)];

// clients/page.html in headless Chromium. The page comes from a server of the test's own, which the gateway's configuration
// must let in: { origin: { allow: [browser.origin] } }.
export class Browser {
	// certificate: a file; whoever has it is trusted
	static async start(t, certificate) {
		const b = new Browser();
		if (certificate) {
			const spki = new X509Certificate(fs.readFileSync(certificate)).publicKey.export({ type: 'spki', format: 'der' });
			b.flags = [`--ignore-certificate-errors-spki-list=${createHash('sha256').update(spki).digest('base64')}`];
		}
		b.server = http.createServer((req, res) => b.serve(new URL(req.url, 'http://x'), res));
		await new Promise((done) => b.server.listen(0, '127.0.0.1', done));
		t.atEnd(() => b.server.close());
		t.atEnd(() => b.server.closeAllConnections());
		b.origin = `http://127.0.0.1:${b.server.address().port}`;
		b.t = t;
		return b;
	}

	// A page asks for what the client sent until the file that it names is gone.
	async serve(url, res) {
		if (url.pathname === '/busy') {
			const file = url.searchParams.get('file');
			this.client.said.push('busy');
			await until('the end of what keeps a page busy', () => !fs.existsSync(file), 60000);
			return res.writeHead(204).end();
		}
		const [file, type] = url.pathname === '/messages.mjs' ? ['messages.mjs', 'text/javascript'] : ['page.html', 'text/html'];
		res.writeHead(200, { 'content-type': type }).end(fs.readFileSync(own(file)));
	}

	async open(url, { cookie } = {}) {
		this.chrome ??= await Chrome.start(this.t, this.flags);
		const js = await this.chrome.page(`${this.origin}/`);
		await until('the script of the page', () => js('typeof connect === "function"'));
		this.client = new PageClient(js);
		for (const c of cookie?.split('; ') ?? []) await js(`document.cookie = ${JSON.stringify(c)}`);
		this.client.evaluate(`connect(${JSON.stringify(url)})`);
		return this.client.opened();
	}
}

// What each of them does about a Ping, and so what it confirms, while
//   busy:  the application blocks what the library calls it on: true when the Ping is answered all the same
//   pause: the application takes nothing, its loop runs on: "all" is confirmed, "some" (read ahead, up to a limit), "none";
//          undefined where a library has no way to do that
// deflate: permessage-deflate is "both" ways, or the client compresses nothing itself ("down"), or it does not hear of
//          client_no_context_takeover, and so works only where the gateway keeps a context ("context")
// large: only make check-clients has it
// shows: what of a connection's life the library shows to the application
// The table in wsgate(7) says the same.
export const CLIENTS = {
	'npm ws': { cmd: node('npm_ws.mjs'), deflate: 'both', busy: false, pause: 'none' },
	'node WebSocket': { cmd: node('node_ws.mjs', '--no-warnings', '--experimental-websocket'), deflate: 'down', busy: false, shows: { pong: false } },
	Chromium: { browser: true, deflate: 'both', busy: true, shows: { pong: false } },
	'python3-websockets': { cmd: python('py_websockets.py'), deflate: 'both', busy: false, pause: 'some' },
	'python3-aiohttp': { cmd: python('py_aiohttp.py'), deflate: 'both', busy: false, pause: 'none', shows: { pong: false } },
	'python3-autobahn': { cmd: python('py_autobahn.py'), deflate: 'both', busy: false, pause: 'all' },
	'python3-websocket': { cmd: python('py_websocket_client.py'), busy: false, pause: 'none' },
	'Mojo::UserAgent': { cmd: ['perl', own('pl_mojo.pl')], deflate: 'context', busy: false },
	libwebsockets: { cmd: built('lws'), deflate: 'both', busy: false, pause: 'none', shows: { answer: false } },
	wslay: { cmd: built('wslay'), busy: false, pause: 'none' },
	'java.net.http': { large: true, cmd: ['java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', path.join(BUILD, 'test/clients'), 'JavaClient'], busy: false, pause: 'none' },
	'Go gorilla/websocket': { large: true, cmd: built('gorilla'), deflate: 'both', busy: false, pause: 'none' },
	'libsoup 3': { large: true, cmd: built('soup'), deflate: 'both', busy: false, shows: { pong: false } },
};

class Lines {
	taken = 0;

	async opened() {
		const word = await this.next();
		if (word !== 'open') throw new Error(`not open: ${word}`);
		return this;
	}

	// Its next n lines.
	async take(n, ms) {
		let lines;
		await until(`${n} more lines`, async () => {
			lines = await this.lines();
			return lines.length >= this.taken + n || this.ended();
		}, ms).catch((e) => {
			throw new Error(`${e.message} (have ${lines?.length - this.taken}, the last: ${lines?.at(-1)})`);
		});
		const part = lines.slice(this.taken, this.taken + n);
		if (part.length < n) throw new Error(`the client ended after "${part.at(-1)}": ${this.ended()}`);
		this.taken += n;
		return part;
	}

	async next(ms) {
		return (await this.take(1, ms))[0];
	}

	async unread() {
		return (await this.lines()).slice(this.taken);
	}
}

class PageClient extends Lines {
	constructor(js) {
		super();
		this.js = js;
		this.said = [];
	}

	evaluate(text) {
		this.js(text).catch((e) => this.said.push(`error ${e.message}`));
	}

	tell(line) {
		this.evaluate(`tell(${JSON.stringify(line)})`);
	}

	// A busy page does not answer.
	async lines() {
		this.asked ??= this.js('lines.splice(0)').then((l) => this.said.push(...l), (e) => this.said.push(`error ${e.message}`)).finally(() => (this.asked = undefined));
		await Promise.race([this.asked, sleep(50)]);
		return this.said;
	}

	ended() {
		return false;
	}
}

export class LineClient extends Lines {
	// opts: cookie, ca (a file), deflate
	static async start(t, name, url, opts = {}) {
		const c = new LineClient(t, CLIENTS[name].cmd, url, opts);
		t.clients.push(() => c.proc.kill());
		return c.opened();
	}

	constructor(t, cmd, url, { cookie, ca, deflate }) {
		super();
		const [program, ...args] = [...cmd, url];
		if (cookie) args.push(`cookie=${cookie}`);
		if (ca) args.push(`ca=${ca}`);
		if (deflate) args.push('deflate');
		this.proc = new Proc(program, args, { env: ca ? { NODE_EXTRA_CA_CERTS: ca, SSL_CERT_FILE: ca } : {} });
	}

	tell(line) {
		this.proc.child.stdin.write(`${line}\n`);
	}

	lines() {
		return this.proc.out.split('\n').slice(0, -1);
	}

	ended() {
		return this.proc.exit && `${JSON.stringify(this.proc.exit)} ${this.proc.err.slice(-1000)}`;
	}
}

// Node has a WebSocket of its own from 21 on by itself, in 20 behind a flag.
export async function nodeHasWebSocket() {
	return (await run(process.execPath, ['--experimental-websocket', '-p', 'typeof WebSocket'])).out.trim() === 'function';
}

// A file that is there as long as the application is to be busy.
export function stall(t) {
	const file = path.join(t.dir, `busy${stall.n++}`);
	fs.writeFileSync(file, '');
	return { file, end: () => fs.rmSync(file) };
}
stall.n = 0;
