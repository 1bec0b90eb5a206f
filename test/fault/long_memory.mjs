// No memory, in a worker or in the bridge: what cannot be done is refused or waits; nothing is lost, others are served.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until, sleep } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { BUILD } from '../e2e/lib/gateway.mjs';
import { Client, numbers } from '../e2e/lib/client.mjs';
import { PING, PONG, TEXT } from '../e2e/lib/raw.mjs';

async function start(t, workers, more = {}) {
	const file = path.join(t.dir, 'failing'), nats = await t.nats(), bus = await nats.connect();
	fs.writeFileSync(file, Buffer.alloc(4096));
	const gw = await t.gateway(nats, { program: path.join(BUILD, 'test/fault/wsgated'), env: { WSGATE_FAILING: file }, config: { workers, ...more } });
	gw.restarts = true; // who cannot go on may end and begin anew
	const fd = fs.openSync(file, 'r+');
	t.atEnd(() => fs.closeSync(fd));
	const fail = (title, permille) => fs.writeSync(fd, new Uint8Array(new Uint32Array([title ? gw.pid(title) : 0, permille]).buffer), 0, 8, 0);
	return { nats, gw, bus, fail };
}

// A user with a client that comes back, a publisher that waits for its answers, and what both know.
class Life {
	constructor(p, name) {
		Object.assign(this, { p, name, got: new Set(), must: new Set(), sent: 0, taken: 0, acked: 0, stop: false, cuts: 0 });
	}

	async listen() {
		while (!this.stop) {
			const c = await Client.connect(this.p.gw.wsUrl(`chat/${this.name}`)).catch(() => null);
			if (!c) {
				await sleep(20);
				continue;
			}
			const first = this.sent; // of this connection: what an earlier one did not get through is another matter
			c.ws.on('pong', (d) => {
				this.taken++;
				for (let n = Number(d) - 1; n >= first && !this.must.has(n); n--) this.must.add(n);
			});
			const life = this.sent + 20 + (this.sent * 7) % 60; // then another one: handshakes take memory
			while (!c.closed && !this.stop && this.sent < life) {
				const text = String(this.sent++);
				if (!c.open) break;
				c.ws.send(text, { fin: false }); // in fragments, which are put together
				c.ws.send('', { fin: true });
				c.ws.ping(String(this.sent));
				await sleep(5);
			}
			if (c.closed) this.cuts++;
			else await c.close(1000, 30000).catch(() => this.cuts++);
			c.terminate();
			c.got.forEach((m) => this.got.add(Number(m.text)));
		}
	}

	async publish() {
		while (!this.stop) {
			await this.p.bus.publish(recv('chat', this.name), String(this.acked));
			this.acked++;
			await sleep(5);
		}
	}

	run() {
		this.done = Promise.all([this.listen(), this.publish()]);
	}
}

async function verdict(p, lives) {
	for (const l of lives) l.stop = true;
	await Promise.all(lives.map((l) => l.done));
	for (const l of lives) {
		const c = await Client.connect(p.gw.wsUrl(`chat/${l.name}`));
		await until(`all for ${l.name}`, () => {
			c.got.forEach((m) => l.got.add(Number(m.text)));
			return l.got.size >= l.acked;
		});
		c.terminate();
		const stored = (await p.bus.stored(send('chat', l.name))).map((m) => Number(m.text)), have = new Set(stored);
		assert.deepEqual(stored, [...have].sort((a, b) => a - b), `${l.name}: order, once`);
		assert.deepEqual([...l.must].filter((n) => !have.has(n)), [], `${l.name}: taken and not stored`);
	}
}

for (const [title, permille] of [['worker 0', 30], ['worker 0', 1000], ['bridge', 30], ['bridge', 300]]) {
	await test(`${permille} of 1000 allocations fail in ${title === 'bridge' ? 'the bridge' : 'a worker'}`, async (t) => {
		const p = await start(t, 2);
		const lives = numbers(20).map((i) => new Life(p, `u${i}`));
		lives.forEach((l) => l.run());
		await until('a flow', () => lives.every((l) => l.got.size + l.taken > 20 || l.taken > 20));
		for (let i = 0; i < 4 || (i < 40 && !/no memory/.test(p.gw.log())); i++) { // few allocations on a busy machine
			p.fail(title, permille);
			await sleep(400); // a shortage as such
			p.fail(null, 0);
			await until('the process', () => p.gw.pid(title));
			assert.equal(await p.gw.status('/livez'), 200);
		}
		await p.gw.ready(30000);
		const at = lives.map((l) => l.taken);
		await until('a flow again', () => lives.every((l, i) => l.taken > at[i] + 20), 30000);
		assert.match(p.gw.log(), /no memory/);
		if (permille === 1000) assert.match(p.gw.log(), /error worker 0: a connection ends for lack of memory why=/);
		await verdict(p, lives);
		if (title === 'bridge') assert.equal(lives.reduce((n, l) => n + l.cuts, 0), 0, 'the bridge disconnects nobody');
	}, { ms: 120000 });
}

// Seconds of a processor that a process has used.
function used(pid) {
	const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
	return (Number(stat[11]) + Number(stat[12])) / 100;
}

await test('no memory for what a connection is given: it waits, and the bridge sleeps meanwhile', async (t) => {
	const p = await start(t, 1, { delivery: { window_messages: 1 } }), r = await t.raw(p.gw);
	await r.open('/ws/chat/alice/');
	for (const text of ['first', 'second']) await p.bus.publish(recv('chat', 'alice'), text);
	assert.equal((await r.next(TEXT)).data.toString(), 'first');
	const ping = await r.next(PING), pid = p.gw.pid('bridge');
	p.fail('bridge', 1000);
	await r.send(PONG, ping.data);
	await until('its confirmation', async () => (await p.gw.figures()).total.unconfirmed === 0);
	const before = used(pid);
	await sleep(2000);
	const after = used(pid);
	p.fail(null, 0);
	assert.ok(after - before < 0.5, `${after - before} s of 2`);
	assert.equal((await r.next(TEXT)).data.toString(), 'second');
	assert.equal(p.gw.pid('bridge'), pid);
});
