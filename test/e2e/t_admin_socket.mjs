// The admin listener as a Unix socket: who may, by which names, through reloads, replacements and leftovers.
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { test, assert, until } from './lib/scenario.mjs';
import { wsgated } from './lib/gateway.mjs';
import { run, titleOf } from './lib/proc.mjs';

const ask = (socketPath, page = '/readyz', host = 'whatever.example') => new Promise((done, fail) => {
	const r = http.get({ socketPath, path: page, headers: { host }, agent: false }, (res) => {
		let text = '';
		res.setEncoding('utf8').on('data', (d) => (text += d)).on('end', () => done({ status: res.statusCode, text }));
	});
	r.on('error', fail);
});
const answers = (p) => ask(p).then((r) => r.status === 200, () => false);

await test('a Unix socket beside the address, or alone; it comes and goes with a reload', async (t) => {
	const one = path.join(t.dir, 'one'), two = path.join(t.dir, 'a folder', 'x'.repeat(90), 'two');
	fs.mkdirSync(path.dirname(two), { recursive: true });
	fs.symlinkSync(path.dirname(two), path.join(t.dir, 'short'));
	const { gw } = await t.pair({ admin: { socket: one } });
	assert.equal((await ask(one)).text, 'ready\n');
	assert.match((await ask(one, '/metrics')).text, /^wsgate_ready 1$/m);
	assert.equal((await ask(one, '/status.json')).status, 200);
	assert.equal((await gw.admin('/readyz')).status, 200);
	const st = fs.statSync(one);
	assert.deepEqual([st.isSocket(), st.mode & 0o777, st.uid], [true, 0o660, process.getuid()]);
	gw.config.admin.socket = two; // longer than an address may be
	gw.config.admin.listen = '';
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	await until('the other one', () => answers(path.join(t.dir, 'short/two')));
	assert.equal(fs.existsSync(one), false);
	await until('no address', async () => (await gw.status('/readyz')) === 0);
	gw.config.admin.listen = `127.0.0.1:${gw.adminPort}`;
	gw.writeConfig();
	assert.equal((await gw.ctl('reload')).code, 0);
	await gw.ready();
	gw.signal('SIGTERM');
	assert.equal((await gw.exited()).code, 0);
	assert.equal(fs.existsSync(two), false);
});

await test('what a dead one left is taken over; another program, or a file, is not', async (t) => {
	const p = path.join(t.dir, 'admin.sock');
	const { gw, nats } = await t.pair({ admin: { socket: p } });
	await gw.massacre();
	await until('the end of its children', () => gw.family.every((pid) => !titleOf(pid)));
	assert.equal(fs.existsSync(p), true);
	await gw.start();
	assert.equal(await answers(p), true);
	const other = await t.gateway(nats, { config: { admin: { socket: p }, subject_prefix: 'other', stream: { name: 'other' } }, start: false });
	const r = await wsgated('-f', '-c', other.file);
	assert.equal(r.code, 2);
	assert.match(r.err, /admin\.socket: another program listens on .*admin\.sock/);
	assert.equal(await answers(p), true, 'it is not in its way');
	const file = path.join(t.dir, 'a file');
	fs.writeFileSync(file, 'mine');
	other.config.admin.socket = file;
	other.writeConfig();
	assert.match((await wsgated('-f', '-c', other.file)).err, /it is there, and no socket/);
	assert.equal(fs.readFileSync(file, 'utf8'), 'mine');
	other.config.admin.socket = 'relative';
	other.writeConfig();
	assert.match((await wsgated('-t', '-c', other.file)).err, /admin\.socket: "relative" must be a path from \/ on/);
});

await test('another program takes it over: nobody is refused meanwhile; one that fails leaves it', async (t) => {
	const p = path.join(t.dir, 'admin.sock');
	const { gw } = await t.pair({ admin: { socket: p } });
	const inode = fs.statSync(p).ino;
	let refused = 0, asked = 0, stop = false;
	const asking = (async () => {
		while (!stop) {
			await new Promise((done) => {
				const s = net.connect(p, () => s.end('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'));
				let got = '';
				s.on('data', (d) => (got += d));
				s.on('error', () => {});
				s.on('close', () => {
					asked++;
					if (!got.startsWith('HTTP/1.1 200')) refused++;
					done();
				});
			});
		}
	})();
	gw.signal('SIGUSR2');
	await gw.replaced();
	await gw.ready();
	const before = asked;
	await until('asked meanwhile', () => asked > before + 20);
	stop = true;
	await asking;
	assert.equal(refused, 0);
	assert.equal(fs.statSync(p).ino, inode, 'the same socket');
	await until('the old one gone', () => gw.proc.exit);
	assert.equal(await answers(p), true);
	gw.config.max_header = '1'; // a fault: the new program ends before it serves
	gw.writeConfig();
	gw.signal('SIGUSR2');
	await until('it goes on', () => /the running one goes on/.test(gw.log()));
	assert.equal(await answers(p), true);
});

await test("another program with another user: the socket is that one's group's", async (t) => {
	if (process.getuid() !== 0) return;
	const p = path.join(t.dir, 'admin.sock'), [before, after] = ['nobody', 'daemon'];
	const group = async (user) => Number((await run('id', ['-g', user])).out);
	const { gw } = await t.pair({ user: before, admin: { socket: p } });
	assert.equal(fs.statSync(p).gid, await group(before));
	gw.config.user = after;
	gw.writeConfig();
	gw.signal('SIGUSR2');
	await gw.replaced();
	await gw.ready();
	await until('the old one gone', () => gw.proc.exit);
	const st = fs.statSync(p);
	assert.deepEqual([st.isSocket(), st.mode & 0o777, st.gid], [true, 0o660, await group(after)]);
	await until('an answer', () => answers(p));
	gw.signal('SIGTERM');
	await until('its end', () => !fs.existsSync(p));
});
