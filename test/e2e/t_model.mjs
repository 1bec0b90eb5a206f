// The model behind CAPACITY in wsgate(7): it runs, knows where each cost is from, and what comes back evens out without a storm.
import fs from 'node:fs';
import { test, assert } from './lib/scenario.mjs';
import { run } from './lib/proc.mjs';

const bench = new URL('../bench/', import.meta.url).pathname;
const model = (...args) => run('python3', [`${bench}model.py`, ...args]);

await test('every cost is a number with its source', async () => {
	const { costs, machine } = JSON.parse(fs.readFileSync(`${bench}costs.json`, 'utf8'));
	assert.ok(machine.includes('nats-server'));
	for (const [name, c] of Object.entries(costs)) assert.ok(c.value > 0 && c.from, name);
});

await test('for the page, and for others; what makes no sense is refused', async () => {
	const page = fs.readFileSync(new URL('../../man/wsgate.7', import.meta.url), 'utf8');
	const r = await model();
	assert.equal(r.code, 0, r.err);
	const [, minutes] = /95 % of its share after +(\d+) min/.exec(r.out);
	const [, rate] = /most connections a second that it gets, of 10 seconds +(\d+) \/s/.exec(r.out);
	const [, anyway] = /come again, all gateways +(\d+) \/s/.exec(r.out);
	assert.ok(Number(minutes) < 20 && Number(rate) < 2 * Number(anyway), `${minutes} minutes, ${rate}/s beside ${anyway}/s`);
	assert.ok(page.includes(`that is ${anyway} a second`), 'wsgate(7) says otherwise');
	const few = await model('--users', '5000', '--gateways', '2', '--replicas', '1', '--age', '600');
	assert.equal(few.code, 0, few.err);
	assert.match(few.out, /5,000 users on 2 gateways/);
	assert.equal((await model('--users', '0')).code, 2);
});
