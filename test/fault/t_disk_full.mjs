// A disk is full. The broker's: nothing that was acknowledged is lost, and nothing that clients gave. The shared memory's: no more workers.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { recv, send } from '../e2e/lib/nats.mjs';
import { numbers } from '../e2e/lib/client.mjs';
import { WSGATED } from '../e2e/lib/gateway.mjs';
import { run } from '../e2e/lib/proc.mjs';
import { smallDisk } from './lib/room.mjs';

await test("the broker's disk is full, then has room again", async (t) => {
	const nats = await t.nats({ start: false });
	const disk = await smallDisk(t, path.join(nats.dir, 'js'), '16m');
	nats.opts.within = disk.within;
	await nats.start();
	const gw = await t.gateway(nats), bus = await nats.connect();
	const users = numbers(20).map((i) => `u${i}`), pad = 'x'.repeat(4000);
	const clients = await Promise.all(users.map((u) => t.client(gw, `chat/${u}`)));
	const js = bus.nc.jetstream({ timeout: 500 });
	// All but half a megabyte is somebody else's.
	const { bavail, bsize } = fs.statfsSync(disk.root);
	const ballast = path.join(disk.root, 'ballast');
	fs.writeFileSync(ballast, Buffer.alloc(bavail * bsize - (512 << 10)));
	// For users who are not there, so that it stays; and from clients.
	let acked = 0, failed = 0, sent = 0;
	while (failed < 3 && acked < 1000) await js.publish(recv('chat', 'absent'), `${acked} ${pad}`).then(() => acked++, () => failed++);
	assert.ok(failed, 'the disk is large');
	for (; sent < 20; sent++) await Promise.all(clients.map((c) => c.send(`${sent} ${pad}`)));
	await Promise.all(clients.map((c) => c.ping()));
	// Room again. The server stops JetStream when its disk is full; 2.9 does not even end in good order then.
	fs.rmSync(ballast);
	await nats.proc.kill();
	await nats.start();
	for (const u of users) {
		const stored = await bus.storedAll(send('chat', u), sent, 30000);
		assert.deepEqual(stored.map((m) => m.text.split(' ')[0]), numbers(sent), u);
	}
	assert.deepEqual(clients.map((c) => c.closed), clients.map(() => null));
	const absent = await t.client(gw, 'chat/absent');
	const got = await absent.take(acked, 30000);
	assert.deepEqual([...new Set(got.map((m) => m.text.split(' ')[0]))].slice(0, acked), numbers(acked));
}, { ms: 120000 });

await test('shared memory for some of the workers that a reload asks for: they are not kept', async (t) => {
	const nats = await t.nats(), gw = await t.gateway(nats, { config: { workers: 1 }, start: false });
	const disk = await smallDisk(t, gw.config.runtime_dir, '48m');
	fs.chmodSync(disk.root, 0o750);
	gw.opts.via = disk.within;
	await gw.start();
	const free = () => {
		const { bavail, bsize } = fs.statfsSync(disk.root);
		return bavail * bsize >> 10;
	};
	const before = free();
	gw.config.workers = 4;
	gw.writeConfig();
	gw.signal('SIGHUP');
	await until('its refusal', () => /nothing has changed why=.*cannot allocate/.test(gw.log()));
	assert.ok(before - free() < 1000, `${before - free()} kB less`);
	gw.config.workers = 2;
	gw.writeConfig();
	gw.signal('SIGHUP');
	await until('two workers', () => gw.pid('worker 1'));
	assert.ok(before - free() > 4000);
	await gw.ready();
	for (const i of numbers(20)) await (await t.client(gw, `chat/u${i}`)).ping();
});

// The file itself, and what each worker has in it.
for (const size of ['8k', '4m']) {
	await test(`no room for the shared memory on a disk of ${size}: the start ends with 2 and a line; with room it goes well`, async (t) => {
		const nats = await t.nats(), gw = await t.gateway(nats, { config: { workers: 2 }, start: false });
		const disk = await smallDisk(t, gw.config.runtime_dir, size), [cmd, ...within] = disk.within;
		fs.chmodSync(disk.root, 0o750);
		const r = await run(cmd, [...within, WSGATED, '-f', '-c', gw.file]);
		assert.deepEqual([r.code, r.signal], [2, null], r.err);
		const said = r.err.trim().split('\n').filter((l) => !/^\S+ (warn|info|debug) /.test(l));
		assert.equal(said.length, 1, r.err);
		assert.match(said[0], /runtime_dir .*: cannot (make|allocate) .*shared.memory.*: No space left on device; /);
		assert.deepEqual(fs.readdirSync(disk.root).filter((f) => f.includes('segment')), []);
		assert.equal((await run(cmd, [...within, 'mount', '-o', 'remount,size=64m', gw.config.runtime_dir])).code, 0);
		gw.opts.via = disk.within;
		await gw.start();
		await (await t.client(gw, 'chat/alice')).ping();
	});
}
