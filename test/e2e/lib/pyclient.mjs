// Drives pyclient.py: the same use as client.mjs with the other library.
import { Proc, until } from './proc.mjs';

const SCRIPT = new URL('pyclient.py', import.meta.url).pathname;

export class PyClient {
	// within: a command that starts it somewhere else (nsenter …)
	static async connect(t, url, cookies, within = []) {
		const args = cookies ? [`Cookie:${Object.entries(cookies).map(([k, v]) => `${k}=${v}`).join('; ')}`] : [];
		// Debian's python has the module; another one may stand first in PATH.
		const [cmd, ...rest] = [...within, '/usr/bin/python3', SCRIPT, url, ...args];
		const c = new PyClient(new Proc(cmd, rest));
		t.atEnd(() => c.proc.kill());
		const first = await c.next();
		if (!first.open) throw new Error(`python client: ${JSON.stringify(first)}`);
		return c;
	}

	constructor(proc) {
		this.proc = proc;
		this.taken = 0;
	}

	// The next thing it says: { text }, { hex }, { closed }
	async next(ms) {
		let lines;
		await until('a word of the python client', () => {
			lines = this.proc.out.split('\n').slice(0, -1);
			return lines.length > this.taken || this.proc.exit;
		}, ms);
		if (lines.length <= this.taken) throw new Error(`python client ended: ${this.proc.err}`);
		return JSON.parse(lines[this.taken++]);
	}

	tell(cmd) {
		this.proc.child.stdin.write(`${JSON.stringify(cmd)}\n`);
	}
}
