// The log: one line an event, fields that say who, nothing of it forged or flooded by a client; syslog, file, last words.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until, within, SLOW } from './lib/scenario.mjs';
import { hold } from './lib/hold.mjs';
import { recv } from './lib/nats.mjs';
import { upgrade, request } from './lib/raw.mjs';
import { Proc, ownMounts, titleOf } from './lib/proc.mjs';
import { WSGATED, configText } from './lib/gateway.mjs';

const NAME = 'chat.a%0A"\\%7F%C3%A9%FFb%1B[31m%00'; // as subjects have it
const HEAD = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info|debug|trace) (master|bridge|worker \d+): (?! )/;

const linesOf = (text) => text.split('\n').slice(0, -1);

// { key: value } of a text line, as it is written there.
function fieldsOf(line) {
	const out = {};
	for (const m of line.matchAll(/ ([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]+)/g)) out[m[1]] = m[2].replace(/^"(.*)"$/, '$1');
	return out;
}

// What every line of a gateway must be, whoever caused it.
function checkText(log) {
	for (const l of linesOf(log)) {
		assert.match(l, HEAD);
		assert.match(l, /^[\x20-\x7e]*$/, 'printable ASCII alone');
	}
}

const NASTY = 'a%0A%22%5C%7F%C3%A9%FFb%1B%5B31m%00'; // newline, quote, backslash, DEL, é, no UTF-8, escape, NUL

// Whatever of a client, a service or the broker ends in a line: a fault, an end, refusals, messages set aside.
async function mischief(t, gw, bus) {
	const r = await t.raw(gw);
	await r.open(`/ws/chat/${NASTY}/`);
	await r.send(1, 'hello');
	const up = await until('its message', async () => (await bus.stored(`ws.send.${NAME}`))[0]);
	const addr = `127.0.0.1:${r.socket.localPort}`;
	await r.send(1, 'x', { rsv: 4 });
	await r.ended();
	const Host = `127.0.0.1:${gw.port}`, good = `/ws/chat/${NASTY}/`;
	await request(t, gw, upgrade(good, { Host, Origin: 'http://evil" level=error\\' }));
	await request(t, gw, upgrade(`/else"where/%0a${'\x7f'}`, { Host }));
	await request(t, gw, upgrade('/nowhere/\\"x', { Host }));
	await request(t, gw, Buffer.from('GET /\x00\xff\x1b" HTTP/1.1\r\n\r\n', 'latin1'));
	const subject = `ws.recv.${NAME}`;
	const c = await t.raw(gw);
	await c.open(good);
	await bus.publish(subject, Buffer.from([0xff]), { 'Ws-Type': 'text' });
	await bus.publish(subject, 'x'.repeat(3000)); // above max_message: set aside
	await until('what was set aside', () => /set aside/.test(gw.log()));
	await until('what is no text', () => /not UTF-8/.test(gw.log()));
	c.destroy();
	await until('its end', () => /peer ended",? ?"?conn/.test(gw.log()));
	return { conn: up.headers['Ws-Conn'], addr };
}

const LIMITS = { max_message: '2k', workers: 1 };

await test('text: who it was, and nothing that a client can forge', async (t) => {
	const { gw, bus } = await t.pair(LIMITS);
	const { conn, addr } = await mischief(t, gw, bus);
	const log = gw.log(), user = 'a\\x0a\\"\\\\\\x7f\\xc3\\xa9\\xffb\\x1b[31m\\x00';
	checkText(log);
	const line = (what) => fieldsOf(linesOf(log).find((l) => l.includes(what)) ?? assert.fail(`no "${what}"`));
	for (const what of ['connection opened', 'client fault']) assert.deepEqual(
		Object.fromEntries(Object.entries(line(what)).filter(([k]) => ['conn', 'service', 'user', 'addr'].includes(k))),
		{ conn, service: 'chat', user, addr }, what);
	for (const what of ['peer ended" conn', 'set aside', 'not UTF-8']) assert.equal(line(what).user, user, what);
	for (const what of ['peer ended" conn', 'not UTF-8']) assert.match(line(what).conn, /^[0-9a-f]{16}$/);
	assert.deepEqual(line('status=403').origin, 'http://evil\\" level=error\\\\');
	assert.equal(line('status=403').user, user);
	assert.equal(line('status=404').path, '/nowhere/\\\\\\"x');
	for (const what of ['status=403', 'status=404', 'status=400']) assert.match(line(what).addr, /^127\.0\.0\.1:\d+$/);
});

await test('json: the same, for a strict parser', async (t) => {
	const { gw, bus } = await t.pair({ ...LIMITS, log: { format: 'json' } });
	const { conn, addr } = await mischief(t, gw, bus);
	const lines = linesOf(gw.log()).map((l) => {
		assert.match(l, /^[^\x00-\x1f\x7f]*$/);
		assert.equal(Buffer.from(l).toString(), l, 'UTF-8');
		return JSON.parse(l);
	});
	for (const l of lines) {
		assert.match(l.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
		assert.ok(['error', 'warn', 'info', 'debug', 'trace'].includes(l.level) && l.process && l.message);
	}
	const fault = lines.find((l) => l.message === 'client fault');
	const user = 'a\n"\\\x7fé\ufffdb\x1b[31m\0';
	assert.deepEqual([fault.conn, fault.service, fault.user, fault.addr, fault.code], [conn, 'chat', user, addr, 1002]);
	assert.equal(lines.find((l) => l.status === 403).origin, 'http://evil" level=error\\');
	assert.equal(lines.find((l) => /set aside/.test(l.message)).user, user);
});

await test('a flood of faults and refusals: some lines, and how many there were', async (t) => {
	const { gw } = await t.pair({ workers: 1, log: { level: 'info' } });
	const rounds = 60;
	for (let i = 0; i < rounds; i++) {
		const r = await t.raw(gw);
		await r.open('/ws/chat/alice');
		await r.send(1, 'x', { rsv: 4 });
		await r.ended();
		r.destroy();
		assert.equal((await request(t, gw, upgrade('/nowhere'))).status, 404);
	}
	const count = (what) => linesOf(gw.log()).filter((l) => l.includes(`: ${what}`)).length;
	const left = (what) => linesOf(gw.log()).filter((l) => l.includes('lines were left out') && l.includes(`like="${what}"`))
		.reduce((n, l) => n + Number(fieldsOf(l).lines), 0);
	for (const what of ['client fault', 'handshake refused']) {
		// said by itself: nothing of that kind comes any more
		await until(`all of "${what}"`, () => count(what) + left(what) === rounds);
		assert.ok(count(what) <= 40 * SLOW, `${count(what)} of "${what}"`);
	}
});

await test('a full disk and a folder that is gone: it goes on, and says so later', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { start: false });
	const dir = path.join(t.dir, 'logs'), file = path.join(dir, 'wsgated.log');
	fs.mkdirSync(dir);
	fs.symlinkSync('/dev/full', file);
	gw.opts.args = ['-o', `log.target=${file}`];
	await gw.start();
	const c = await t.client(gw, 'chat/alice');
	await c.ping();
	fs.unlinkSync(file);
	gw.signal('SIGUSR1');
	const read = () => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');
	await until('what was lost, of the master', () => /warn master: log lines lost lines=\d+/.test(read()));
	await until('what was lost, of a worker', () => /warn worker \d: log lines lost lines=\d+/.test(read()));
	checkText(read());
	fs.renameSync(dir, `${dir}.1`);
	gw.signal('SIGUSR1');
	const old = () => fs.readFileSync(path.join(`${dir}.1`, 'wsgated.log'), 'utf8');
	await until('the failure, in the old file', () => /cannot open the log file again: the old one stays/.test(old()));
	const carol = await t.client(gw, 'chat/carol');
	await until('a line of a worker, in the old file', () => /connection opened.* user=carol/.test(old()));
	await c.ping();
	await carol.ping();
});

await test('what libc says in the foreground is a line of the log, too', async (t) => {
	const { gw } = await t.pair({ log: { format: 'json' } });
	fs.writeFileSync(`/proc/${gw.pid('worker 0')}/fd/2`, 'malloc(): "corrupted"\n');
	await (await t.client(gw, 'chat/alice')).ping();
	const lines = () => linesOf(gw.log()).map((l) => JSON.parse(l));
	await until('it', () => lines().some((l) => l.message === 'a process said' && l.child === 'worker 0' && l.text === 'malloc(): "corrupted"'));
	assert.ok(lines().some((l) => l.message === 'connection opened' && l.user === 'alice'), 'our own lines do not go that way');
});

await test('what libc says before it ends a process in the background', async (t) => {
	const nats = await t.nats();
	const gw = await t.gateway(nats, { start: false });
	const file = path.join(t.dir, 'background.log');
	gw.config.log = { target: file };
	gw.writeConfig();
	const start = new Proc(WSGATED, ['-c', gw.file]);
	assert.equal((await start.ended).code, 0, start.err);
	const pid = Number(fs.readFileSync(gw.pidfile, 'utf8'));
	t.atEnd(async () => {
		process.kill(pid, 'SIGTERM');
		await until('the end', () => !titleOf(pid).startsWith('wsgated'));
	});
	gw.proc = { pid };
	const read = () => fs.readFileSync(file, 'utf8');
	for (const title of ['worker 1', 'bridge']) {
		const victim = gw.pid(title);
		// longer than a line of the log, two lines, and no newline at the end
		fs.writeFileSync(`/proc/${victim}/fd/2`, `${'=7='.repeat(1500)}\n*** stack smashing detected ***: "x"\nend of ${title}`);
		process.kill(victim, 'SIGABRT');
		const end = new RegExp(`error master: killed by a signal child="?${title}"? .*name=ABRT`);
		await until(`the end of ${title}`, () => end.test(read()));
		const all = linesOf(read()), at = (re) => all.findIndex((l) => re.test(l));
		checkText(read());
		const said = at(new RegExp(`error master: a process said child="?${title}"? text="\\*\\*\\* stack smashing detected \\*\\*\\*: \\\\"x\\\\""`));
		assert.ok(said >= 0, read());
		assert.ok(at(new RegExp(`a process said .*text="end of ${title}"`)) > said);
		assert.ok(at(end) > said, 'its last words come first');
		await until('a successor', () => gw.pid(title));
	}
	await gw.ready(60000);
	gw.proc = null;
});

// A syslog daemon: prints each datagram as a line.
const SYSLOGD = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
if os.path.exists(sys.argv[1]): os.unlink(sys.argv[1])
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
while True:
    sys.stdout.buffer.write(s.recv(65536) + b'\\n')
    sys.stdout.flush()
`;

// A /dev of its own, whose log is a link to our socket.
const OWN_DEV = `set -e
old=$1 socket=$2
shift 2
mkdir "$old"
mount --rbind /dev "$old"
mount -t tmpfs tmpfs /dev
for f in null zero full random urandom; do : >/dev/$f; mount --bind "$old/$f" /dev/$f; done
ln -s "$socket" /dev/log
exec "$@"
`;

await test('syslog: priorities, and a daemon that stands still, dies and comes back', async (t) => {
	const unshare = await ownMounts();
	if (!unshare) t.skip('no mount namespaces; test_syslog alone speaks for syslog');
	const socket = path.join(t.dir, 'devlog');
	let heard = '';
	const listen = async () => {
		const p = new Proc('python3', ['-c', SYSLOGD, socket]);
		t.atEnd(() => p.kill());
		p.child.stdout.on('data', (s) => (heard += s));
		await until('the daemon', () => fs.existsSync(socket));
		return p;
	};
	let daemon = await listen();
	const nats = await t.nats();
	const gw = await t.gateway(nats, { args: ['-o', 'log.target=syslog'], config: { hang_timeout: '4s' },
		via: [...unshare, 'sh', '-c', OWN_DEV, 'sh', path.join(t.dir, 'dev'), socket] });
	const c = await t.client(gw, 'chat/alice');
	const knock = async (n) => {
		for (let i = 0; i < n; i++) assert.equal((await request(t, gw, upgrade('/nowhere'))).status, 404);
	};
	await knock(3);
	await until('refusals', () => /handshake refused/.test(heard));
	const pids = new Map([[gw.proc.pid, 'master'], ...gw.children().map((p) => [p.pid, p.title.replace('wsgated: ', '')])]);
	for (const l of linesOf(heard)) {
		const m = /^<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d wsgated\[(\d+)\]: ([^:]+): (.*)$/.exec(l);
		assert.ok(m, l);
		assert.equal(pids.get(Number(m[2])), m[3], l);
		assert.equal(m[1] >> 3, 3, 'facility daemon');
		if (/^handshake refused/.test(m[4])) assert.equal(m[1] & 7, 6);
		if (/^connection /.test(m[4])) assert.equal(m[1] & 7, 7);
	}
	const go = await hold(daemon.pid);
	await knock(300); // each some debug lines: a queue of the kernel holds a few hundred at most
	await c.ping();
	go();
	await until('what was lost', async () => (await knock(1), /<28>.*: log lines lost lines=\d+/.test(heard)));
	await daemon.kill();
	await knock(20);
	assert.equal(gw.log(), '', 'nothing goes elsewhere');
	heard = '';
	daemon = await listen();
	await until('lines of both workers, and what was lost', async () => (await knock(1),
		/: worker 0: handshake refused|: worker 0: connection/.test(heard) && /: log lines lost/.test(heard)));
	await bring(gw, nats, c);
});

async function bring(gw, nats, c) {
	const bus = await nats.connect();
	await bus.publish(recv('chat', 'alice'), 'all is well');
	assert.equal((await within('a message', c.next())).text, 'all is well');
}
