// Rooms of a test's own: a network namespace for a client, a mount namespace with a small disk. They end with the
// process that holds them. Root is needed; without it the test fails and says so.
import { spawnSync } from 'node:child_process';
import { Proc, run, until } from '../../e2e/lib/proc.mjs';

async function sh(...args) {
	const r = await run(args[0], args.slice(1));
	if (r.code !== 0) throw new Error(`${args.join(' ')}: ${r.err.trim() || `exit ${r.code}`} (namespaces need root)`);
	return r.out;
}

// A process that holds new namespaces ("-n", "-m"); setup runs inside first.
async function holder(t, flags, setup = 'true') {
	const proc = new Proc('unshare', [...flags, 'sh', '-c', `${setup} && echo here && exec sleep 3600`]);
	t.atEnd(() => proc.kill());
	await until('a namespace', () => proc.out.includes('here') || proc.exit);
	if (proc.exit) throw new Error(`unshare ${flags.join(' ')}: ${proc.err.trim()} (namespaces need root)`);
	return proc.pid;
}

// Runs this very test in a network namespace of its own, where it may make interfaces as it likes.
export function inOwnNetwork() {
	if (process.env.WSGATE_OWN_NETWORK) {
		spawnSync('ip', ['link', 'set', 'lo', 'up']);
		return;
	}
	const env = { ...process.env, WSGATE_OWN_NETWORK: '1' };
	const r = spawnSync('unshare', ['-n', process.execPath, ...process.argv.slice(1)], { env, stdio: 'inherit' });
	if (r.error) console.log(`not ok a network namespace: ${r.error.message} 0`);
	process.exit(r.status ?? 1);
}

let links = 0;

// Somebody else's machine, behind a cable: { addr (ours), within, cut(), heal() }
export async function otherMachine(t) {
	const pid = await holder(t, ['-n']), n = links++, ours = `10.77.${n}.1`, theirs = `10.77.${n}.2`, dev = `far${n}`;
	const within = ['nsenter', '-t', String(pid), '-n'];
	await sh('ip', 'link', 'add', `near${n}`, 'type', 'veth', 'peer', 'name', dev, 'netns', String(pid));
	await sh('ip', 'addr', 'add', `${ours}/30`, 'dev', `near${n}`);
	await sh('ip', 'link', 'set', `near${n}`, 'up');
	await sh(...within, 'ip', 'addr', 'add', `${theirs}/30`, 'dev', dev);
	await sh(...within, 'ip', 'link', 'set', dev, 'up');
	await until('the cable', async () => /state UP/.test(await sh('ip', 'link', 'show', `near${n}`)));
	return {
		addr: ours,
		within,
		cut: () => sh(...within, 'ip', 'link', 'set', dev, 'down'), // nothing passes, nobody is told
		heal: () => sh(...within, 'ip', 'link', 'set', dev, 'up'),
	};
}

// A disk of a few bytes at `dir`: { within, root } where root is its path as seen from here.
export async function smallDisk(t, dir, size) {
	const pid = await holder(t, ['-m', '--propagation', 'private'], `mkdir -p '${dir}' && mount -t tmpfs -o size=${size} tmpfs '${dir}'`);
	return { within: ['nsenter', '-t', String(pid), '-m'], root: `/proc/${pid}/root${dir}` };
}
