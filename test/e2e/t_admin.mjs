// The admin listener: liveness, readiness, figures.
import { test, assert } from './lib/scenario.mjs';
import { recv } from './lib/nats.mjs';

await test('/livez, /readyz, /metrics, /status.json', async (t) => {
	const { gw, bus } = await t.pair();
	const c = await t.client(gw, 'chat/alice');
	await bus.publish(recv('chat', 'alice'), 'x');
	await c.next();
	await bus.empty('ws.recv.>');
	assert.equal(await gw.status('/livez'), 200);
	assert.equal(await gw.status('/readyz'), 200);
	const metrics = await gw.admin('/metrics');
	assert.equal(metrics.status, 200);
	assert.match(metrics.headers.get('content-type'), /text\/plain/);
	for (const line of metrics.text.split('\n')) {
		if (line && !line.startsWith('#')) assert.match(line, /^wsgate_[a-z0-9_]+(\{[^}]*\})? -?[0-9.e+-]+$/, line);
	}
	for (const [, name] of metrics.text.matchAll(/^# TYPE (\S+) counter/gm)) assert.match(name, /_total$/);
	const status = await gw.admin('/status.json');
	assert.equal(status.status, 200);
	JSON.parse(status.text);
	assert.equal(await gw.status('/nothing'), 404);
});
