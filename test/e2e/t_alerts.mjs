// What is shipped for Prometheus and Grafana: well formed, about figures that exist, and explained.
import fs from 'node:fs';
import { tlsPair } from './lib/pki.mjs';
import { test, assert } from './lib/scenario.mjs';
import { run } from './lib/proc.mjs';

const root = new URL('../../', import.meta.url).pathname;
const RULES = `${root}etc/examples/prometheus-alerts.yml`;
const BOARD = `${root}etc/examples/grafana-dashboard.json`;
// Names of metrics in an expression.
const names = (text) => [...new Set(text.match(/\bwsgate_[a-z_]+/g))];

await test('rules: promtool finds them good, and each comes when it should', async () => {
	const check = await run('promtool', ['check', 'rules', RULES]);
	assert.equal(check.code, 0, check.out + check.err);
	const r = await run('promtool', ['test', 'rules', `${root}test/e2e/alerts.yml`]);
	assert.equal(r.code, 0, r.out + r.err);
	const page = fs.readFileSync(`${root}man/wsgated.8`, 'utf8');
	const alerts = [...fs.readFileSync(RULES, 'utf8').matchAll(/alert: (\w+)/g)].map((m) => m[1]);
	const explained = [...page.matchAll(/^\.It Li (Wsgate\w+)/gm)].map((m) => m[1]);
	assert.deepEqual(explained.sort(), alerts.sort());
});

await test('every figure that rules and dashboard name is there', async (t) => {
	const { gw } = await tlsPair(t, { config: { workers: 1 } }); // and a section from its certificate on
	await t.client(gw, 'chat/alice'); // a service has figures from its first client on
	const text = (await gw.admin('/metrics')).text;
	const board = JSON.parse(fs.readFileSync(BOARD, 'utf8'));
	const panels = board.panels.filter((p) => p.type !== 'row');
	assert.ok(panels.length > 20 && panels.every((p) => p.targets.length && p.targets.every((x) => x.expr)));
	const exprs = panels.flatMap((p) => p.targets.map((x) => x.expr)).join('\n') + board.templating.list.map((v) => v.query).join('\n');
	const rules = fs.readFileSync(RULES, 'utf8').split('\n').filter((l) => /expr:/.test(l)).join('\n');
	for (const n of names(`${exprs}\n${rules}`)) assert.match(text, new RegExp(`^${n}[ {]`, 'm'), n);
	// Their labels, too.
	for (const l of ['worker', 'process', 'service', 'status', 'code', 'by']) assert.match(text, new RegExp(`\\b${l}="`));
});
