// The judge: numbered messages both ways for many users while faults are injected, then a verdict from its own
// records.
//
//   node test/fault/judge.mjs [--seed N] [--seconds N | --faults N | --kills N] [--users N] [--workers N]
//       [--rate N] [--mean MS] [--life MS] [--gates N] [--streams N] [--tls F] [--faults-of kind,kind] [--log level]
//
// --streams: the users are of so many services, each of which has a stream of its own. --tls: such a part of the connections.
// The seed gives the schedule of faults. The last lines are figures, and what was found wrong.
import fs from 'node:fs';
import { pathToFileURL } from 'node:url';
import { test, until, sleep } from '../e2e/lib/scenario.mjs';
import { STREAM } from '../e2e/lib/nats.mjs';
import { Pki } from '../e2e/lib/pki.mjs';
import { ALL_KINDS, Faults } from './judge/faults.mjs';
import { Clients } from './judge/clients.mjs';
import { Random } from './judge/random.mjs';
import { Records, now } from './judge/records.mjs';
import { DURABLE, Service } from './judge/service.mjs';
import { figures, verdict } from './judge/verdict.mjs';

const DEFAULTS = { seed: 1, seconds: 20, faults: 0, kills: 0, users: 200, workers: 3, gates: 1, streams: 1, rate: 600, mean: 400, life: 4000, tls: 0.3, log: 'info' };
const NAME = 'judge'; // of the service

// [{ service, stream }]
export const services = (n) => [...Array(n).keys()].map((i) => n > 1 ? { service: `${NAME}${i}`, stream: `ws-${NAME}${i}` } : { service: NAME, stream: STREAM });

function progress(o, records, faults, from) {
	if (!o.progress) return () => {};
	const timer = setInterval(() => {
		const c = records.count;
		process.stderr.write(`${((now() - from) / 1000).toFixed(0)} s: ${faults.total} faults, ${faults.kills} kills, ` +
			`${c.published} down, ${c.sent} up, ${c.opened} connections, ${records.wrong.length} wrong\n`);
	}, 5000);
	return () => clearInterval(timer);
}

// A user's messages in the stream, and what each gateway says of him.
async function whoseIsIt(gates, bus, subject, say) {
	const [name, user] = subject.split('.').slice(-2);
	say(`${user}: ${(await bus.stored(subject)).map((m) => `${m.seq} ${m.text.slice(0, 12)}`)}`);
	for (const [i, gw] of gates.entries()) for (const line of (await gw.ctl('sessions', name, user)).out.trim().split('\n')) if (line) say(`gateway ${i}: ${line}`);
}

// One of the users whose messages stay.
async function whatIsLeft(gates, bus, say) {
	const left = await bus.left('ws.recv.>');
	say(`${left.length} users`);
	for (const subject of left.slice(0, 3)) await whoseIsIt(gates, bus, subject, say);
	for (const gw of gates) for (const line of (await gw.ctl('status')).out.trim().split('\n')) say(line);
}

// All processes live, the broker answers, everybody is connected and has everything.
async function settle(t, gates, root, records, all, service, clients) {
	const patience = 60000;
	clients.settle();
	await service.stop();
	for (const g of gates) await g.ready(patience);
	await until('everybody to be connected', () => clients.allOpen, patience);
	clients.quiet = true;
	const lacks = () => [...records.users.values()].filter((u) => u.ackAt.some((at, n) => at && !u.got[n] && !records.exempt(u, n)));
	await until('the last messages to clients', () => lacks().length === 0, patience).catch(async (e) => {
		records.blame(`${e.message}: ${lacks().map((u) => u.name).slice(0, 5)}`);
		for (const u of lacks().slice(0, 5)) await whoseIsIt(gates, root.on(all.find((a) => a.service === u.service).stream), `ws.recv.${u.service}.${u.name}`, (line) => records.blame(line));
	});
	// After a restart of the broker and of the bridge the slow walk over all queues (a minute) may have to find some.
	const emptied = now();
	for (const bus of all.map((s) => root.on(s.stream))) {
		await bus.empty('ws.recv.>', 10000).catch(() => whatIsLeft(gates, bus, (line) => console.log(`left: ${line}`)));
		await bus.empty('ws.recv.>', 2.5 * patience).then(() => (records.emptied = now() - emptied)).catch(async (e) => {
			records.blame(e.message);
			await whatIsLeft(gates, bus, (line) => records.blame(line));
		});
	}
	clients.closeAll();
	await until('all closes', () => clients.allGone, patience).catch((e) => records.blame(e.message));
	// A killed nats-server (2.9) may forget acknowledgements and miscount what is pending: then silence for longer than
	// ack_wait must do.
	let info, seen = -1, since = now();
	const restarted = records.faults.some((f) => /^broker-(kill|wipe|stop)/.test(f.kind));
	await until('the last messages to the service', async () => {
		const jsm = await root.jsm();
		info = (await Promise.all(all.map((s) => jsm.consumers.info(s.stream, DURABLE)))).find((i) => i.num_pending || i.num_ack_pending);
		if (!info) return true;
		if (records.count.stored !== seen) since = now();
		seen = records.count.stored;
		return restarted && now() - since > 15000;
	}, patience).catch((e) => records.blame(`${e.message}: ${info?.num_pending} pending, ${info?.num_ack_pending} unacknowledged`));
}

// In ms; the same for all. 30s: what wsgated has without it.
function graceOf(gates) {
	const all = new Set(gates.map((g) => g.config.broker.grace ?? '30s'));
	const [, n, unit] = /^(\d+)(ms|s)$/.exec([...all].join());
	return Number(n) * (unit === 's' ? 1000 : 1);
}

// options.site: brokers and gateways that are there, behind a load balancer; options.script: faults in an order of its own.
export async function judge(t, options) {
	const o = { ...DEFAULTS, ...options };
	const nats = o.site ?? await t.nats();
	const all = services(o.streams);
	const config = { workers: o.workers, max_workers: o.workers, log: { level: o.log }, ...o.config };
	if (o.streams > 1) config.streams = Object.fromEntries(all.map((s) => [s.stream, { services: [s.service] }]));
	const gates = o.site?.gates ?? [];
	const pki = o.site ? null : await Pki.make(t), server = await pki?.issue('server');
	for (let i = gates.length; i < o.gates; i++) {
		const gw = await t.gateway(nats, { config, start: false });
		gw.config.tls = { [`127.0.0.1:${gw.tlsPort}`]: server };
		gw.writeConfig();
		await gw.start();
		gates.push(gw);
	}
	const records = new Records();
	const traffic = new Random(o.seed + 1000003);
	const clients = new Clients(records, o.site ? [o.site.lb] : gates, traffic, { rate: o.rate, life: o.life, tls: o.tls, ca: pki && fs.readFileSync(pki.ca) });
	const service = new Service(records, nats, traffic, { rate: o.rate, streams: all.map((s) => s.stream) });
	const faults = new Faults(records, gates, nats, new Random(o.seed), { kinds: o.kinds, mean: o.mean, workers: o.workers });
	const lag = records.watchLag();
	t.atEnd(() => (clients.end(), service.end(), clearInterval(lag)));
	for (let i = 0; i < o.users; i++) clients.add(records.user(`u${i}`, all[i % all.length].service), i % 10 === 9 ? 2 : 1);
	clients.start();
	await service.start();
	const from = now();
	const quiet = progress(o, records, faults, from);
	if (o.script) await o.script(records);
	else await faults.run((f) => (o.kills ? f.kills >= o.kills : o.faults ? f.total >= o.faults : now() - from > o.seconds * 1000));
	const bus = await nats.connect();
	try {
		await settle(t, gates, bus, records, all, service, clients);
	} catch (e) {
		records.blame(`does not settle: ${e.message}`);
	}
	quiet();
	await sleep(0);
	const v = verdict(records, { grace: graceOf(gates) });
	for (const line of [`seed ${o.seed}, ${((now() - from) / 1000).toFixed(0)} s, ${o.users} users`, ...figures(records, faults, v)]) console.log(line);
	if (records.wrong.length) {
		for (const f of records.faults.slice(-400)) if (o.history) console.log(`  ${(f.at / 1000).toFixed(3)} ${f.kind} ${f.target ?? ''} ${f.until ? `until ${(f.until / 1000).toFixed(3)}` : ''}`);
		throw new Error(`${records.wrong.length} wrong with seed ${o.seed}:\n${records.wrong.slice(0, 40).join('\n')}`);
	}
	return { records, faults, verdict: v };
}

function options(argv) {
	const o = { progress: true };
	for (let i = 0; i < argv.length; i++) {
		const key = argv[i].replace(/^--/, '');
		if (key === 'history') o.history = true;
		else if (key === 'faults-of') o.kinds = argv[++i].split(',');
		else if (key === 'log') o.log = argv[++i];
		else if (key in DEFAULTS) o[key] = Number(argv[++i]);
		else throw new Error(`judge: no option ${argv[i]}`);
	}
	for (const k of o.kinds ?? []) if (!ALL_KINDS.includes(k)) throw new Error(`judge: no fault ${k} (there are: ${ALL_KINDS.join(' ')})`);
	return o;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
	const o = options(process.argv.slice(2));
	await test(`judge, seed ${o.seed ?? DEFAULTS.seed}`, (t) => judge(t, o), { ms: 24 * 3600 * 1000 });
}
