// What a child, or a library in it, says on standard error before it dies reaches the log, in the background, too.
import fs from 'node:fs';
import path from 'node:path';
import { test, assert, until } from '../e2e/lib/scenario.mjs';
import { BUILD } from '../e2e/lib/gateway.mjs';
import { Client } from '../e2e/lib/client.mjs';
import { childrenOf, run } from '../e2e/lib/proc.mjs';

const PROGRAM = path.join(BUILD, 'test/fault/wsgated'), WORDS = /^failing: these are the last words$/m;

await test('the last words of worker and bridge are in the log file, also after it was opened anew', async (t) => {
	const nats = await t.nats(), failing = path.join(t.dir, 'failing'), log = path.join(t.dir, 'own.log');
	fs.writeFileSync(failing, Buffer.alloc(4096));
	const gw = await t.gateway(nats, { start: false, config: { workers: 1, log: { target: log, level: 'debug' } } });
	const started = await run(PROGRAM, ['-c', gw.file], { env: { WSGATE_FAILING: failing } });
	assert.equal(started.code, 0, started.err);
	const master = Number(fs.readFileSync(gw.pidfile, 'utf8'));
	t.atEnd(async () => {
		for (const pid of [...childrenOf(master).map((c) => c.pid), master]) try {
			process.kill(pid, 'SIGKILL');
		} catch { /* gone */ }
	});
	const pid = (title) => childrenOf(master).find((c) => c.title.startsWith(`wsgated: ${title}`))?.pid;
	const fd = fs.openSync(failing, 'r+');
	const fell = (who) => fs.writeSync(fd, new Uint8Array(new Uint32Array([who, 1001]).buffer), 0, 8, 0);
	for (const title of ['worker 0', 'bridge']) {
		const old = path.join(t.dir, `${title}.old`), who = await until(title, () => pid(title));
		// As logrotate does: the words must not go to the old one.
		fs.renameSync(log, old);
		process.kill(master, 'SIGUSR1');
		await until('the new log', () => fs.existsSync(log));
		await until('the child to follow', () => fs.readlinkSync(`/proc/${who}/fd/2`) === log);
		fell(who);
		// Something to do for both.
		Client.connect(gw.wsUrl('chat/alice'), { handshakeTimeout: 1000 }).then((c) => c.terminate(), () => {});
		const signal = new RegExp(`killed by a signal child="?${title}"? pid=${who} .*name=ABRT`);
		await until('the signal in the log', () => signal.test(fs.readFileSync(log, 'utf8')));
		assert.match(fs.readFileSync(log, 'utf8'), WORDS);
	}
	fs.closeSync(fd);
	process.kill(master, 'SIGTERM');
	await until('the end', () => !fs.existsSync(`/proc/${master}`), 30000);
});
