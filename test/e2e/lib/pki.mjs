// Certificates of the test's own: a small authority, and what it signs, with openssl(1).
import fs from 'node:fs';
import path from 'node:path';
import { run } from './proc.mjs';

async function openssl(...args) {
	const r = await run('openssl', args);
	if (r.code !== 0) throw new Error(`openssl ${args.join(' ')}: ${r.err}`);
	return r.out;
}

const KEYS = { ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], rsa: ['-newkey', 'rsa:2048'] };

export class Pki {
	static async make(t, name = 'ca') {
		const p = new Pki(path.join(t.dir, name));
		fs.mkdirSync(p.dir);
		await openssl('req', '-x509', ...KEYS.ec, '-nodes', '-days', '30', '-subj', `/CN=${name}`,
			'-keyout', `${p.dir}/ca.key`, '-out', p.ca);
		return p;
	}

	constructor(dir) {
		this.dir = dir;
		this.ca = path.join(dir, 'ca.pem');
		this.serial = 1000;
	}

	// { certificate, key }: paths. names: "DNS:a.example,IP:127.0.0.1"
	async issue(name, { kind = 'ec', names = 'DNS:localhost,IP:127.0.0.1', subject = `/CN=${name}`, days = 30, client = false } = {}) {
		const at = path.join(this.dir, name);
		const key = `${at}.key`, certificate = `${at}.pem`;
		await openssl('req', '-new', ...KEYS[kind], '-nodes', '-subj', subject, '-keyout', key, '-out', `${at}.csr`);
		fs.writeFileSync(`${at}.ext`, `${names ? `subjectAltName=${names}\n` : ''}extendedKeyUsage=${client ? 'clientAuth' : 'serverAuth'}\n`);
		await openssl('x509', '-req', '-in', `${at}.csr`, '-CA', this.ca, '-CAkey', `${this.dir}/ca.key`, '-set_serial', String(this.serial++),
			'-days', String(days), '-extfile', `${at}.ext`, '-out', certificate);
		return { certificate, key };
	}

	// An OCSP response for a certificate: its path.
	async ocsp(certificate, days = 7) {
		const out = certificate.replace(/pem$/, 'ocsp');
		const serial = (await openssl('x509', '-in', certificate, '-noout', '-serial')).trim().split('=')[1];
		const subject = (await openssl('x509', '-in', certificate, '-noout', '-subject', '-nameopt', 'compat')).trim().replace(/^subject= ?/, '');
		fs.writeFileSync(`${out}.index`, `V\t491231235959Z\t\t${serial}\tunknown\t${subject}\n`);
		await openssl('ocsp', '-index', `${out}.index`, '-rsigner', this.ca, '-rkey', `${this.dir}/ca.key`, '-CA', this.ca,
			'-issuer', this.ca, '-cert', certificate, '-ndays', String(days), '-respout', out, '-noverify');
		return out;
	}
}

// openssl s_client, to its end: what it says. `input` is what it sends.
export async function s_client(port, args = [], input = '') {
	const r = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args], { input });
	return r.out + r.err;
}
