// The judge, briefly: what a run of hours does, with seeds that once found something.
import { test } from '../e2e/lib/scenario.mjs';
import { judge } from './judge.mjs';

// Places given away twice (11, 12), marks that a bridge's death lost (13).
for (const [seed, kinds] of [
	[11, undefined],
	[13, ['kill-worker', 'kill-bridge', 'kill-twice', 'stop-worker', 'stop-bridge', 'kill-all']],
]) await test(`judge, seed ${seed}`, (t) => judge(t, { seed, seconds: 8, users: 100, rate: 300, mean: 300, kinds }), { ms: 110000 });

// Users of two services, each of which has a stream of its own.
await test('judge, two streams', (t) => judge(t, { seed: 17, seconds: 10, users: 100, rate: 300, mean: 300, streams: 2 }), { ms: 110000 });

// Users whose devices are on three gateways; each of those is killed, and stands still.
await test('judge, several gateways', (t) => judge(t, {
	seed: 5, seconds: 12, users: 60, rate: 200, mean: 400, gates: 3, workers: 1, config: { broker: { grace: '3s' } },
	kinds: ['kill-worker', 'kill-bridge', 'kill-all', 'stop-bridge', 'stop-all', 'broker-pause'],
}), { ms: 150000 });
