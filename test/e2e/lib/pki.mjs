// Certificates of the test's own: a small authority, and what it signs, with openssl(1).
import fs from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { spawn } from 'node:child_process';
import { run, until, within } from './proc.mjs';
import { Raw, upgrade } from './raw.mjs';

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
	async ocsp(certificate) {
		const out = certificate.replace(/pem$/, 'ocsp');
		const serial = (await openssl('x509', '-in', certificate, '-noout', '-serial')).trim().split('=')[1];
		const subject = (await openssl('x509', '-in', certificate, '-noout', '-subject', '-nameopt', 'compat')).trim().replace(/^subject= ?/, '');
		fs.writeFileSync(`${out}.index`, `V\t491231235959Z\t\t${serial}\tunknown\t${subject}\n`);
		await openssl('ocsp', '-issuer', this.ca, '-cert', certificate, '-reqout', `${out}.request`, '-no_nonce');
		await openssl('ocsp', '-index', `${out}.index`, '-rsigner', this.ca, '-rkey', `${this.dir}/ca.key`, '-CA', this.ca,
			'-reqin', `${out}.request`, '-ndays', '7', '-respout', out);
		return out;
	}
}

// openssl s_client, to its end: what it says. `input` is what it sends.
export async function s_client(port, args = [], input = '') {
	const r = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args], { input });
	return r.out + r.err;
}

// The same with TLS 1.3, after the upgrade: out is all that it said until now.
export async function spoken(t, port, path, args = []) {
	const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_3', ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
	let parts = [];
	const c = {
		get out() {
			if (parts.length !== 1) parts = [Buffer.concat(parts)];
			return parts[0];
		},
		write: (bytes) => client.stdin.write(bytes),
	};
	t.clients.push(() => client.kill());
	for (const from of [client.stdout, client.stderr]) from.on('data', (d) => parts.push(d));
	await until('the handshake', () => c.out.includes('Verify return code'));
	c.write(upgrade(path));
	await until('the upgrade', () => c.out.includes('101 Switching Protocols'));
	return c;
}

// A broker, a gateway that has TLS on gw.tlsPort, an authority. section: more keys; certs: what issue() gave; natsOpts: those of t.nats()
export async function tlsPair(t, { section = {}, certs, config = {}, opts = {}, natsOpts = {}, authority = 'ca' } = {}) {
	const pki = await Pki.make(t, authority);
	const list = certs ? await certs(pki) : [await pki.issue('server')];
	const nats = await t.nats(natsOpts);
	const gw = await t.gateway(nats, { start: false, config, ...opts });
	gw.config.tls = { [`127.0.0.1:${gw.tlsPort}`]: { certificate: list.map((c) => c.certificate), key: list.map((c) => c.key), ...section } };
	gw.section = gw.config.tls[`127.0.0.1:${gw.tlsPort}`];
	gw.writeConfig();
	await gw.start();
	return { pki, nats, gw, bus: await nats.connect(), certs: list, ca: fs.readFileSync(pki.ca) };
}

// A connection without manners, as t.raw(), over TLS.
export async function rawTls(t, gw, opts = {}, port = gw.tlsPort) {
	const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...opts });
	await within('a TLS handshake', new Promise((done, fail) => {
		socket.once('secureConnect', done);
		socket.once('error', fail);
	}));
	t.clients.push(() => socket.destroy());
	socket.setNoDelay(true);
	return new Raw(socket);
}

// The name in the certificate that a client gets.
export async function nameAt(t, gw, opts = {}) {
	const r = await rawTls(t, gw, opts);
	const name = r.socket.getPeerCertificate().subject.CN;
	r.destroy();
	return name;
}
