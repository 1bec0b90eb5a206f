// The admin listener: liveness, readiness, and a plain refusal for the rest.
import { test, assert } from './lib/scenario.mjs';

await test('/livez, /readyz, and 404 for what is not there', async (t) => {
	const { gw } = await t.pair();
	for (const page of ['/livez', '/readyz']) {
		const r = await gw.admin(page);
		assert.equal(r.status, 200, page);
		assert.match(r.headers.get('content-type') ?? '', /text\/plain/, page);
	}
	assert.equal(await gw.status('/nothing'), 404);
	const c = await t.client(gw, 'chat/alice'); // the pages do not disturb the clients
	await c.ping();
});
