// A stream that is away for the gateway, while the broker is there.
import { until } from './proc.mjs';

export const stateOf = async (gw, name) => (await gw.figures()).streams.find((s) => s.stream === name);

// It serves something else. Returns what mends it.
export async function spoil(gw, jsm, name) {
	await jsm.streams.delete(name);
	// The gateway may be quicker, and make its own again.
	await until('a stream for something else', async () => {
		await jsm.streams.add({ name, subjects: [`other.${name}.>`] }).catch(() => {});
		const now = (await jsm.streams.info(name).catch(() => null))?.config.subjects[0];
		if (now === `other.${name}.>`) return true;
		await jsm.streams.delete(name).catch(() => {});
		return false;
	});
	await until('the gateway to know', async () => (await stateOf(gw, name)).state === 'away', 40000);
	return async (seen = true) => {
		// The gateway makes its own. Trap: nats-server 2.9 breaks one that is made while another of its name is made or deleted.
		await jsm.streams.delete(name);
		if (seen) await until('the stream again', async () => (await stateOf(gw, name)).state === 'connected', 30000);
	};
}
