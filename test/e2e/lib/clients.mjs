// The programs of clients/, one a library, driven over lines (clients/README). Chromium is driven in the same way.
import fs from 'node:fs';
import path from 'node:path';
import { Proc, run, until } from './proc.mjs';
import { BUILD } from './gateway.mjs';

const DIR = new URL('../clients/', import.meta.url).pathname;
const own = (file) => path.join(DIR, file);
const node = (file, ...flags) => [process.execPath, ...flags, own(file)];
const python = (file) => ['/usr/bin/python3', own(file)]; // Debian's has the modules; another may stand first in PATH
const built = (file) => [path.join(BUILD, 'test/clients', file)];

// What each of them does about a Ping, and so what it confirms, while
//   busy:  the application blocks what the library calls it on: true when the Ping is answered all the same
//   pause: the application takes nothing, its loop runs on: "all" is confirmed, "some" (read ahead, up to a limit), "none";
//          undefined where a library has no way to do that
// shows: what of a connection's life the library shows to the application
// The table in wsgate(7) says the same.
export const CLIENTS = {
	'npm ws': { cmd: node('npm_ws.mjs'), busy: false, pause: 'none' },
	'node WebSocket': { cmd: node('node_ws.mjs', '--no-warnings', '--experimental-websocket'), busy: false, shows: { pong: false } },
	'python3-websockets': { cmd: python('py_websockets.py'), busy: false, pause: 'some' },
	'python3-aiohttp': { cmd: python('py_aiohttp.py'), busy: false, pause: 'none', shows: { pong: false } },
	'python3-autobahn': { cmd: python('py_autobahn.py'), busy: false, pause: 'all' },
	'python3-websocket': { cmd: python('py_websocket_client.py'), busy: false, pause: 'none' },
	'Mojo::UserAgent': { cmd: ['perl', own('pl_mojo.pl')], busy: false },
	libwebsockets: { cmd: built('lws'), busy: false, pause: 'none' },
	wslay: { cmd: built('wslay'), busy: false, pause: 'none' },
};

export class LineClient {
	// where: a URL; opts: cookie, ca (a file), deflate
	static async start(t, name, url, opts = {}) {
		const c = new LineClient(t, CLIENTS[name].cmd, url, opts);
		t.clients.push(() => c.proc.kill());
		return c.opened();
	}

	constructor(t, cmd, url, { cookie, ca, deflate }) {
		const [program, ...args] = [...cmd, url];
		if (cookie) args.push(`cookie=${cookie}`);
		if (ca) args.push(`ca=${ca}`);
		if (deflate) args.push('deflate');
		this.proc = new Proc(program, args, { env: ca ? { NODE_EXTRA_CA_CERTS: ca, SSL_CERT_FILE: ca } : {} });
		this.taken = 0;
	}

	async opened() {
		const word = await this.next();
		if (word !== 'open') throw new Error(`not open: ${word}`);
		return this;
	}

	tell(line) {
		this.proc.child.stdin.write(`${line}\n`);
	}

	lines() {
		return this.proc.out.split('\n').slice(0, -1);
	}

	// Its next n lines.
	async take(n, ms) {
		let lines;
		await until(`${n} more lines (have ${this.lines().length - this.taken}, the last: ${this.lines().at(-1)})`, () => {
			lines = this.lines();
			return lines.length >= this.taken + n || this.proc.exit;
		}, ms);
		const part = lines.slice(this.taken, this.taken + n);
		if (part.length < n) throw new Error(`the client ended after "${part.at(-1)}": ${this.proc.err.slice(-1000)}`);
		this.taken += n;
		return part;
	}

	async next(ms) {
		return (await this.take(1, ms))[0];
	}

	unread() {
		return this.lines().slice(this.taken);
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
