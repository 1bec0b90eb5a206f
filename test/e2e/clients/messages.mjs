// The messages of the protocol (README), for Node and for pages.
const TABLE = Int32Array.from({ length: 256 }, (_, n) => {
	for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
	return n;
});

// As zlib has it (Node's own is not in all versions).
export function crc32(bytes) {
	let c = -1;
	for (let i = 0; i < bytes.length; i++) c = (c >>> 8) ^ TABLE[(c ^ bytes[i]) & 255];
	return (~c >>> 0).toString(16).padStart(8, '0');
}

export const message = (kind, bytes) => `message ${kind} ${bytes.length} ${crc32(bytes)}`;
export const numbered = (i, size) => String(i).padEnd(size, '.');

export function bytes(size) {
	const b = new Uint8Array(size);
	for (let k = 0; k < size; k++) b[k] = k;
	return b;
}
