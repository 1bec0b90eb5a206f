// Headless Chromium, driven through its DevTools protocol.
import fs from 'node:fs';
import path from 'node:path';
import WebSocket from 'ws';
import { Proc, until, within } from './proc.mjs';

function binary() {
	for (const dir of process.env.PATH.split(':').concat('/usr/bin')) {
		for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
			if (fs.existsSync(path.join(dir, name))) return path.join(dir, name);
		}
	}
	throw new Error('no chromium: scripts/deps check');
}

export class Chrome {
	// flags: more of the command line
	static async start(t, flags = []) {
		const proc = new Proc(binary(), ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
			'--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
			'--disable-extensions', '--mute-audio', ...flags, '--remote-debugging-port=0',
			`--user-data-dir=${path.join(t.dir, 'chromium')}`, 'about:blank']);
		t.atEnd(() => proc.kill());
		let m;
		await until('chromium', () => proc.exit || (m = /DevTools listening on (ws:\S+)/.exec(proc.err)), 60000);
		if (!m) throw new Error(`chromium ended: ${proc.err.slice(-1000)}`);
		const c = new Chrome();
		c.ws = new WebSocket(m[1]);
		c.ws.on('message', (d) => c.hear(JSON.parse(d)));
		c.ws.on('error', () => {});
		await within('the DevTools connection', new Promise((done) => c.ws.once('open', done)));
		return c;
	}

	constructor() {
		this.id = 0;
		this.waiting = new Map();
		this.complaints = new Map(); // by session
	}

	hear({ id, result, error, method, params, sessionId }) {
		if (method === 'Runtime.exceptionThrown') this.complaints.get(sessionId)?.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
		if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level)) this.complaints.get(sessionId)?.push(params.entry.text);
		const w = this.waiting.get(id);
		this.waiting.delete(id);
		if (error) w?.fail(new Error(error.message));
		else w?.done(result);
	}

	call(method, params = {}, sessionId) {
		const id = ++this.id;
		const answer = new Promise((done, fail) => this.waiting.set(id, { done, fail }));
		this.ws.send(JSON.stringify({ id, method, params, sessionId }));
		return within(method, answer, 30000);
	}

	// A page, loaded; the returned function evaluates an expression in it (a promise is awaited). Its `complaints` are what
	// the page threw, and the browser had to say about it (content security policy…); `call` is the DevTools protocol.
	async page(url) {
		const { targetId } = await this.call('Target.createTarget', { url: 'about:blank' });
		const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
		const complaints = [];
		this.complaints.set(sessionId, complaints);
		for (const domain of ['Log', 'Runtime', 'Page']) await this.call(`${domain}.enable`, {}, sessionId);
		await this.call('Page.navigate', { url }, sessionId);
		const evaluate = async (expression) => {
			const r = await this.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, sessionId);
			if (r.exceptionDetails) throw new Error(r.exceptionDetails.exception?.description ?? r.exceptionDetails.text);
			return r.result.value;
		};
		await until('the page', async () => (await evaluate('location.href + document.readyState')) === `${url}complete`);
		return Object.assign(evaluate, { complaints, call: (method, params) => this.call(method, params, sessionId) });
	}
}
