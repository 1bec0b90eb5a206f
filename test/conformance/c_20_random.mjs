// 20: conversations at random, cut at random, faults in half of them. What must come of one is decided twice: by npm ws where
// all of it is valid, and by the model.
//
//   N=20000 SEED=7 node test/conformance/c_20_random.mjs        one by one; a failure names its seed
import { assert, row, section } from './lib/suite.mjs';
import { model } from './lib/model.mjs';
import { oracle } from './lib/oracle.mjs';
import { compressedConversation, conversation, cut, damage, dice } from './lib/random.mjs';
import { encode } from './lib/wire.mjs';

const first = Number(process.env.SEED ?? 1), N = Number(process.env.N ?? 400);

// The limits of echoServer(), and of a user: max_message's default, and never more than the broker's largest payload less 1 KiB.
const MAX = { plain: 16 << 20, TLS: 16 << 20, user: (1 << 20) - 1024 };

async function drawn(seed, max) {
	const r = dice(seed), frames = conversation(r), whole = r() < 0.5;
	const wire = whole ? Buffer.concat(frames.map(encode)) : damage(r, frames);
	const { out, code } = model(wire, { max });
	if (whole) {
		const ws = await oracle(wire, cut(r, wire));
		assert.deepEqual([ws.code, ws.out], [code, out], `seed ${seed}: npm ws and the model agree`);
	}
	return row('random', `seed ${seed}`, whole ? 'valid' : 'damaged', [], code, out, { pieces: cut(r, wire), ways: ['cut'], ms: 30000 });
}

for (const [k, transport] of ['plain', 'TLS', 'user'].entries()) {
	const cases = [];
	for (let i = 0; i < (transport === 'plain' ? N : N / 2); i++) cases.push(await drawn(first + k * N + i, MAX[transport]));
	await section(import.meta, `20 random conversations from seed ${first}`, cases, { transports: [transport], ms: 60000 + N * 60 });
}

// Compressed in all manners: what must come back is what went in.
const compressed = Array.from({ length: N }, (_, i) => {
	const seed = first + 3 * N + i, r = dice(seed), { offer, out, frames } = compressedConversation(r);
	return row('random', `seed ${seed}`, offer, frames, 1000, out, { offer, cut: (b) => cut(r, b), ways: ['cut'], ms: 30000 });
});
for (const context of ['no', 'yes'])
	await section(import.meta, `20 compressed, context ${context}`, compressed, { compression: { enabled: 'yes', threshold: 1, context, window_bits: 13 }, transports: ['plain'], ms: 60000 + N * 60 });
