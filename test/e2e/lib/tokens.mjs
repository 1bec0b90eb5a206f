// JSON Web Tokens, made with what Node has itself.
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const b64 = (s) => Buffer.from(s).toString('base64url');
export const seconds = (offset = 0) => Math.floor(Date.now() / 1000) + offset;

// A key: jwk is what the gateway gets, sign(claims, header) a token.
function key(alg, kid, jwk, make) {
	return {
		kid,
		jwk: { ...jwk, kid, use: 'sig' },
		sign(claims, header = {}) {
			const head = { alg, typ: 'JWT', kid, ...header };
			const input = `${b64(JSON.stringify(head))}.${b64(JSON.stringify(claims))}`;
			return `${input}.${make(input).toString('base64url')}`;
		},
	};
}

export function secret(kid, bits = 256) {
	const k = crypto.randomBytes(bits / 8);
	return key('HS256', kid, { kty: 'oct', k: k.toString('base64url') }, (input) => crypto.createHmac('sha256', k).update(input).digest());
}

export function rsa(kid) {
	const { publicKey, privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
	const k = key('RS256', kid, publicKey.export({ format: 'jwk' }), (input) => crypto.sign('sha256', input, privateKey));
	return { ...k, pem: publicKey.export({ format: 'pem', type: 'spki' }) };
}

export function ec(kid) {
	const { publicKey, privateKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
	const k = key('ES256', kid, publicKey.export({ format: 'jwk' }), (input) => crypto.sign('sha256', input, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
	return { ...k, pem: publicKey.export({ format: 'pem', type: 'spki' }) };
}

// A file of keys in the folder of a test; keys may also be a text. Returns its path.
export function keyFile(t, name, keys) {
	const file = path.join(t.dir, name);
	fs.writeFileSync(file, typeof keys === 'string' ? keys : JSON.stringify({ keys: keys.map((k) => k.jwk) }));
	return file;
}
