// permessage-deflate (RFC 7692) on the client's side: what an answer may say to an offer, and messages through node's zlib.
// A window that lives on is given to zlib as a dictionary: for raw deflate that is the same.
import zlib from 'node:zlib';

const FLUSH = { finishFlush: zlib.constants.Z_SYNC_FLUSH };
const TAIL = Buffer.from([0, 0, 255, 255]);

function params(text) {
	const [name, ...list] = text.split(';').map((s) => s.trim());
	return { name, params: new Map(list.map((p) => p.split('=')).map(([k, v]) => [k.trim(), v?.trim().replace(/^"(.*)"$/, '$1')])) };
}

const bits = (v) => /^(8|9|1[0-5])$/.test(v ?? '') && Number(v);

// What was agreed on, or null without an answer; throws when RFC 7692 7.1 does not allow it for any of these offers.
export function agreed(offers, answer) {
	if (answer === undefined) return null;
	const a = params(answer), said = a.params;
	const wrong = (why) => new Error(`the answer ${JSON.stringify(answer)} to ${JSON.stringify(offers)}: ${why}`);
	if (a.name !== 'permessage-deflate') throw wrong('another extension');
	for (const [k, v] of said) {
		if (k.endsWith('_no_context_takeover') ? v !== undefined : !/^(server|client)_max_window_bits$/.test(k) || !bits(v)) throw wrong(k);
	}
	const fits = offers.split(',').map(params).some(({ name, params: asked }) => {
		const server = bits(said.get('server_max_window_bits')) || 15;
		return name === a.name && (!asked.has('server_no_context_takeover') || said.has('server_no_context_takeover')) &&
			(!asked.has('server_max_window_bits') || (said.has('server_max_window_bits') && server <= bits(asked.get('server_max_window_bits')))) &&
			(!said.has('client_max_window_bits') || asked.has('client_max_window_bits')) &&
			!(bits(said.get('client_max_window_bits')) > (bits(asked.get('client_max_window_bits')) || 15));
	});
	if (!fits) throw wrong('no offer asks for it');
	return {
		serverBits: bits(said.get('server_max_window_bits')) || 15,
		clientBits: bits(said.get('client_max_window_bits')) || 15,
		serverContext: !said.has('server_no_context_takeover'),
		clientContext: !said.has('client_no_context_takeover'),
	};
}

// zlib has no window of 8 bits for raw deflate: then runs alone, which look one byte back.
function deflateOptions(windowBits, more) {
	return windowBits > 8 ? { windowBits, ...more } : { windowBits: 9, strategy: zlib.constants.Z_RLE, ...more };
}

// Compresses messages, one after the other.
export class Deflater {
	constructor(terms, opts = {}) {
		this.terms = terms;
		this.opts = opts;
		this.before = Buffer.alloc(0);
	}

	message(payload, how = this.opts) {
		const { clientBits, clientContext } = this.terms, data = Buffer.from(payload);
		const dictionary = this.before.length ? { dictionary: this.before } : {};
		const out = zlib.deflateRawSync(data, { ...FLUSH, ...deflateOptions(clientBits, how), ...dictionary });
		if (clientContext && clientBits > 8) this.before = Buffer.concat([this.before, data]).subarray(-(1 << clientBits));
		return out.subarray(-4).equals(TAIL) ? out.subarray(0, -4) : Buffer.concat([out, Buffer.from([0])]); // 7.2.1
	}
}

// Decompresses what the server sends. strict: output in pieces of 64 bytes, so that no distance goes beyond the window unseen.
export class Inflater {
	constructor(terms, strict) {
		this.terms = terms;
		this.opts = strict ? { chunkSize: 64 } : {};
		this.before = Buffer.alloc(0);
	}

	message(data) {
		const { serverBits, serverContext } = this.terms;
		const dictionary = this.before.length ? { dictionary: this.before } : {};
		const out = zlib.inflateRawSync(Buffer.concat([data, TAIL]), { ...FLUSH, windowBits: serverBits, ...this.opts, ...dictionary });
		return this.seen(out, serverContext);
	}

	seen(data, context) {
		if (context) this.before = Buffer.concat([this.before.subarray(-32768), data]).subarray(-(1 << this.terms.serverBits));
		return data;
	}
}
