// NKeys, JWTs and certificates for brokers of the tests.
import fs from 'node:fs';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import nkeys from 'nkeys.js';

// { seed, public } of a user ("U"), account ("A") or operator ("O").
export function nkey(kind = 'U') {
	const pair = { U: nkeys.createUser, A: nkeys.createAccount, O: nkeys.createOperator }[kind]();
	return { pair, seed: Buffer.from(pair.getSeed()).toString(), public: pair.getPublicKey() };
}

const b64 = (x) => Buffer.from(x).toString('base64url');
const base32 = (buf) => {
	let bits = '', out = '';
	for (const b of buf) bits += b.toString(2).padStart(8, '0');
	for (let i = 0; i < bits.length; i += 5) out += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[parseInt(bits.slice(i, i + 5).padEnd(5, '0'), 2)];
	return out;
};

// A claim of NATS, version 2, signed by `issuer`.
export function jwt(issuer, subject, name, nats) {
	const claim = { iat: Math.floor(Date.now() / 1000), iss: issuer.public, name, sub: subject, nats: { version: 2, ...nats } };
	claim.jti = base32(createHash('sha512-256').update(JSON.stringify(claim)).digest());
	const head = `${b64(JSON.stringify({ typ: 'JWT', alg: 'ed25519-nkey' }))}.${b64(JSON.stringify(claim))}`;
	return `${head}.${b64(issuer.pair.sign(Buffer.from(head)))}`;
}

export function credentials(userJwt, seed) {
	return `-----BEGIN NATS USER JWT-----\n${userJwt}\n------END NATS USER JWT------\n\n` +
		`-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`;
}

// An operator with one account and one user: what nats-server needs, and a credentials file.
export function operator() {
	const o = nkey('O'), sys = nkey('A'), a = nkey('A'), u = nkey('U');
	const limits = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1,
		mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
	const account = (key, name) => jwt(o, key.public, name, { type: 'account', limits: { ...limits, ...(key === sys ? { mem_storage: 0, disk_storage: 0 } : {}) }, default_permissions: { pub: {}, sub: {} } });
	const user = (key) => jwt(a, key.public, 'gate', { type: 'user', subs: -1, data: -1, payload: -1, pub: {}, sub: {} });
	return {
		conf: `operator: ${jwt(o, o.public, 'op', { type: 'operator' })}\nresolver: MEMORY\n` +
			`system_account: ${sys.public}\n` +
			`resolver_preload: { ${sys.public}: ${account(sys, 'sys')}, ${a.public}: ${account(a, 'acc')} }\n`,
		creds: credentials(user(u), u.seed),
		other: () => { // another user of the account
			const k = nkey('U');
			return credentials(user(k), k.seed);
		},
		stranger: credentials(user(nkey('U')), u.seed), // seed of somebody else
	};
}

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] });

// A certificate authority of its own in a folder: certificate(name, { days, san, ca }) makes PEM files.
export class Authority {
	constructor(dir) {
		this.dir = dir;
		fs.mkdirSync(dir);
		this.ca = path.join(dir, 'ca.pem');
		this.caKey = path.join(dir, 'ca-key.pem');
		openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
			'-subj', `/CN=test ${randomBytes(4).toString('hex')}`, '-keyout', this.caKey, '-out', this.ca);
	}

	certificate(name, { expired = false, san = 'DNS:localhost', usage = 'serverAuth,clientAuth' } = {}) {
		const key = path.join(this.dir, `${name}-key.pem`), cert = path.join(this.dir, `${name}.pem`);
		const req = path.join(this.dir, `${name}.csr`), ext = path.join(this.dir, `${name}.ext`);
		fs.writeFileSync(ext, `subjectAltName=${san}\nextendedKeyUsage=${usage}\n`);
		openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`, '-keyout', key, '-out', req);
		// x509 -req takes a number of days, a negative one too: it ended yesterday
		openssl('x509', '-req', '-in', req, '-CA', this.ca, '-CAkey', this.caKey, '-CAcreateserial',
			'-days', expired ? '-1' : '2', '-extfile', ext, '-out', cert);
		return { key, cert };
	}
}
