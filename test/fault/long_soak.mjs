// The judge, longer, with seeds of its own each time: those of a run that failed are in its lines. SEEDS=n,n takes others.
import { test } from '../e2e/lib/scenario.mjs';
import { judge } from './judge.mjs';

const first = Math.floor(Math.random() * 1e6);
const seeds = (process.env.SEEDS ?? `${first},${first + 1},${first + 2}`).split(',').map(Number);
for (const seed of seeds) await test(`judge, seed ${seed}`, (t) => judge(t, { seed, seconds: 60 }), { ms: 400000 });

await test(`judge, an emptied broker, seed ${seeds[0]}`, (t) => judge(t, {
	seed: seeds[0], seconds: 40, kinds: ['broker-wipe', 'broker-kill', 'kill-bridge', 'kill-worker', 'kill-all', 'stop-bridge'],
}), { ms: 400000 });

await test(`judge, hundreds of users, seed ${seeds[0]}`, (t) => judge(t, {
	seed: seeds[0], seconds: 40, users: 600, rate: 1500, life: 15000, mean: 1000,
}), { ms: 400000 });
