// A process that stands still: a signal alone is only a wish, each thread has to follow it.
import fs from 'node:fs';
import { until } from './proc.mjs';

export const stateOf = (pid, task = pid) => {
	try {
		const stat = fs.readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8');
		return stat[stat.lastIndexOf(')') + 2];
	} catch {
		return undefined; // gone
	}
};

// Stops it; returns what makes it go on.
export async function hold(pid) {
	process.kill(pid, 'SIGSTOP');
	await until(`process ${pid} to stand still`, () => fs.readdirSync(`/proc/${pid}/task`).every((id) => 'Tt'.includes(stateOf(pid, id) ?? 'T')));
	return () => process.kill(pid, 'SIGCONT');
}
