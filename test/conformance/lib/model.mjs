// What RFC 6455 makes of the bytes of a client, written once more and differently: whole bytes in, the answer of an echo out.
// It says where the fault lies: nothing behind that byte is needed to see it.
import { BINARY, CLOSE, CONT, PING, PONG, TEXT } from './wire.mjs';

// The Unicode Standard, table 3-7: what may follow a first byte.
function followers(b) {
	if (b < 0x80) return [];
	if (b >= 0xc2 && b <= 0xdf) return [[0x80, 0xbf]];
	const last = [0x80, 0xbf];
	if (b >= 0xe0 && b <= 0xef) return [b === 0xe0 ? [0xa0, 0xbf] : b === 0xed ? [0x80, 0x9f] : last, last];
	if (b >= 0xf0 && b <= 0xf4) return [b === 0xf0 ? [0x90, 0xbf] : b === 0xf4 ? [0x80, 0x8f] : last, last, last];
	return null;
}

// Takes bytes in pieces; the index of the first impossible one, or -1. `inside`: a character is not complete.
export class Utf8 {
	wanted = [];

	feed(data) {
		for (let i = 0; i < data.length; i++) {
			const b = data[i];
			if (this.wanted.length) {
				const [low, high] = this.wanted[0];
				if (b < low || b > high) return i;
				this.wanted = this.wanted.slice(1);
			} else if (b >= 0x80) {
				const f = followers(b);
				if (!f) return i;
				this.wanted = f;
			}
		}
		return -1;
	}

	get inside() {
		return this.wanted.length > 0;
	}
}

export const closeCodeValid = (c) => [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014].includes(c) || (c >= 3000 && c <= 4999);

// { out: [[op, data]], code, at }: the frames that answer; the code of the Close (0: none), and how many bytes it takes.
export function model(wire, { max = Infinity } = {}) {
	const out = [];
	let pos = 0, message = null;
	const end = (code, at) => ({ out, code, at });
	while (pos < wire.length) {
		const b0 = wire[pos], op = b0 & 15, fin = b0 >= 128, control = op >= 8;
		if (b0 & 0x70 || ![CONT, TEXT, BINARY, CLOSE, PING, PONG].includes(op) || (control && !fin) ||
			(op === CONT ? !message : !control && message)) return end(1002, pos + 1);
		if (pos + 1 >= wire.length) return end(0, wire.length);
		const b1 = wire[pos + 1], short = b1 & 127;
		if (b1 < 128 || (control && short > 125)) return end(1002, pos + 2);
		const head = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + 4;
		if (pos + head > wire.length) return end(0, wire.length);
		const length = short === 126 ? wire.readUInt16BE(pos + 2) : short === 127 ? Number(wire.readBigUInt64BE(pos + 2)) : short;
		if ((short === 126 && length < 126) || (short === 127 && (length < 65536 || wire[pos + 2] >= 128))) return end(1002, pos + head);
		if (!control && op !== CONT) message = { op, parts: [], size: 0, utf8: op === TEXT ? new Utf8() : null };
		if (!control && message.size + length > max) return end(1009, pos + head);
		const key = wire.subarray(pos + head - 4, pos + head);
		const data = Buffer.from(wire.subarray(pos + head, pos + head + length));
		for (let i = 0; i < data.length; i++) data[i] ^= key[i & 3];
		if (!control && message.utf8) {
			const bad = message.utf8.feed(data);
			if (bad >= 0) return end(1007, pos + head + bad + 1);
		}
		if (data.length < length) return end(0, wire.length);
		pos += head + length;
		if (op === PING) out.push([PONG, data]);
		if (op === CLOSE) return closed(end, data, pos);
		if (control) continue;
		message.parts.push(data);
		message.size += length;
		if (!fin) continue;
		if (message.utf8?.inside) return end(1007, pos);
		out.push([message.op, Buffer.concat(message.parts)]);
		message = null;
	}
	return end(0, wire.length);
}

function closed(end, data, at) {
	if (!data.length) return end(1005, at);
	if (data.length < 2 || !closeCodeValid(data.readUInt16BE(0))) return end(1002, at);
	const utf8 = new Utf8();
	return end(utf8.feed(data.subarray(2)) >= 0 || utf8.inside ? 1007 : data.readUInt16BE(0), at);
}
