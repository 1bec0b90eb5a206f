// TLS 1.2 (RFC 5246, 5288) with records of the test's own behind the handshake: what no library sends.
import crypto from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { Duplex } from 'node:stream';
import { assert } from './scenario.mjs';
import { within } from './proc.mjs';

export const HANDSHAKE = 22;
export const DATA = 23;

// RFC 5246 5
function prf(secret, label, seed, size) {
	const hmac = (data) => crypto.createHmac('sha256', secret).update(data).digest();
	const all = Buffer.concat([Buffer.from(label), seed]);
	let a = all, out = Buffer.alloc(0);
	while (out.length < size) {
		a = hmac(a);
		out = Buffer.concat([out, hmac(Buffer.concat([a, all]))]);
	}
	return out.subarray(0, size);
}

export class Tls12 {
	// Ended with the test.
	static async connect(t, gw) {
		const c = new Tls12();
		let heard = Buffer.alloc(0), line = '';
		c.socket = net.connect(gw.tlsPort, '127.0.0.1');
		c.socket.on('error', () => {});
		t.atEnd(() => c.socket.destroy());
		const way = new Duplex({
			read() {},
			write(d, _, done) { c.key ? done() : c.socket.write(d, done); },
		});
		c.socket.on('data', (d) => {
			if (heard.length < 100) heard = Buffer.concat([heard, d]);
			if (!c.key) way.push(d); // it would answer with records of its own, in our order
		});
		c.socket.on('close', () => way.destroy());
		const s = tls.connect({ socket: way, rejectUnauthorized: false, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'ECDHE+AESGCM+AES128' });
		s.on('error', () => {});
		s.on('keylog', (l) => { line = l.toString(); });
		await within('the handshake', new Promise((done) => s.once('secureConnect', done)));
		const [label, client, master] = line.trim().split(' ');
		assert.equal(label, 'CLIENT_RANDOM');
		const random = heard.subarray(11, 43); // of ServerHello, which begins the first record
		const keys = prf(Buffer.from(master, 'hex'), 'key expansion', Buffer.concat([random, Buffer.from(client, 'hex')]), 40);
		c.key = keys.subarray(0, 16);
		c.iv = keys.subarray(32, 36);
		c.seq = 1n; // Finished was 0
		return c;
	}

	// The record of that type, with its place in the order.
	record(type, body) {
		const seq = Buffer.alloc(8);
		seq.writeBigUInt64BE(this.seq++);
		const head = Buffer.from([type, 3, 3, 0, 0]), aad = Buffer.concat([seq, head]);
		aad.writeUInt16BE(body.length, 11);
		head.writeUInt16BE(body.length + 24, 3);
		const c = crypto.createCipheriv('aes-128-gcm', this.key, Buffer.concat([this.iv, seq]));
		c.setAAD(aad);
		return Buffer.concat([head, seq, c.update(body), c.final(), c.getAuthTag()]);
	}

	// Back when it is written, or the socket is closed.
	async write(type, body) {
		await new Promise((done) => this.socket.write(this.record(type, body), done));
		await new Promise(setImmediate);
	}
}
