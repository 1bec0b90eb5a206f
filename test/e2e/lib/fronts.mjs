// The proxies that people put in front, each with the sample of etc/examples, in a folder of its own.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Client } from './client.mjs';
import { Raw } from './raw.mjs';
import { Proc, freePort, until } from './proc.mjs';

const EXAMPLES = new URL('../../../etc/examples/', import.meta.url).pathname;
const ROOT = process.getuid() === 0;

// A sample, with what a test must put in another place: every key of `instead` must be there.
function sample(file, instead) {
	let text = fs.readFileSync(path.join(EXAMPLES, file), 'utf8');
	for (const [what, by] of Object.entries(instead)) {
		if (!text.includes(what)) throw new Error(`${file}: no "${what}"`);
		text = text.replaceAll(what, by);
	}
	return text;
}

function accepts(port) {
	return new Promise((done) => {
		const s = net.connect(port, '127.0.0.1', () => done(true));
		s.once('error', () => done(false));
		s.once('connect', () => s.destroy());
	});
}

export class Front {
	// gw: one, or several where the sample has room for several; opts: certificate { certificate, key }, instead { text: other text of the sample }
	static async start(t, kind, gw, opts = {}) {
		const f = new Front();
		f.t = t;
		f.dir = path.join(t.dir, `front${Front.n++}`);
		fs.mkdirSync(f.dir);
		f.port = await freePort();
		f.tlsPort = await freePort();
		const [cmd, ...args] = kinds[kind](f, gw, { instead: {}, ...opts });
		f.proc = new Proc(cmd, args, { logfile: path.join(t.dir, `${path.basename(f.dir)}.log`), env: { PATH: `${process.env.PATH}:/usr/sbin` } });
		t.atEnd(() => f.proc.kill());
		for (const port of f.ports ?? [f.port, f.tlsPort]) {
			await until(`${kind} on ${port}`, async () => {
				if (f.proc.exit) throw new Error(`${kind} ended: ${fs.readFileSync(path.join(t.dir, `${path.basename(f.dir)}.log`), 'utf8')}`);
				return accepts(port);
			});
		}
		return f;
	}

	file(name, text) {
		const at = path.join(this.dir, name);
		fs.writeFileSync(at, text);
		return at;
	}

	// A client (npm ws) by this proxy. where: as Gateway.wsUrl(); with opts.ca by TLS.
	async client(where, opts = {}) {
		const url = opts.ca ? `wss://localhost:${this.tlsPort}` : `ws://127.0.0.1:${this.port}`;
		const c = await Client.connect(`${url}${where.startsWith('/') ? where : `/ws/${where}`}`, opts);
		this.t.clients.push(() => c.terminate());
		return c;
	}

	// A client that answers nothing by itself.
	async raw(where) {
		const r = await Raw.connect(this.port);
		this.t.clients.push(() => r.destroy());
		await r.open(where);
		return r;
	}
}
Front.n = 0;

const pair = (cert) => fs.readFileSync(cert.certificate, 'utf8') + fs.readFileSync(cert.key, 'utf8');

function nginxMain(f, rest, first = '') {
	return `${first}
daemon off;
master_process on;
worker_processes 1;
${ROOT ? 'user root;' : ''}
pid ${f.dir}/pid;
error_log stderr info;
events { worker_connections 1000; }
${rest}`;
}

const kinds = {
	nginx(f, gw, { certificate, instead }) {
		const site = f.file('site.conf', sample('nginx.conf', {
			'server 127.0.0.1:8000;': [gw].flat().map((g) => `server 127.0.0.1:${g.port} fail_timeout=1s;`).join('\n\t'),
			'listen 80;': `listen 127.0.0.1:${f.port};`,
			'listen 443 ssl;': `listen 127.0.0.1:${f.tlsPort} ssl;`,
			'/etc/ssl/certs/ws.example.org.pem': certificate.certificate,
			'/etc/ssl/private/ws.example.org.key': certificate.key,
			...instead,
		}));
		const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((k) => `${k}_temp_path ${f.dir}/${k};`).join(' ');
		return ['nginx', '-e', 'stderr', '-p', f.dir, '-c', f.file('nginx.conf', nginxMain(f, `http {\naccess_log off;\n${temp}\ninclude ${site};\n}\n`))];
	},

	'nginx stream'(f, gw, { instead }) {
		f.ports = [f.port];
		const stream = sample('nginx-stream.conf', {
			'server 127.0.0.1:8000;': `server 127.0.0.1:${gw.port};`,
			'listen 8080;': `listen 127.0.0.1:${f.port};`,
			...instead,
		});
		return ['nginx', '-e', 'stderr', '-p', f.dir, '-c', f.file('nginx.conf', nginxMain(f, stream, 'load_module /usr/lib/nginx/modules/ngx_stream_module.so;'))];
	},

	haproxy(f, gw, { certificate, instead }) {
		const gates = [gw].flat().map((g, i) => `server gate${i + 1} 127.0.0.1:${g.port} port ${g.adminPort}`);
		const text = sample('haproxy.cfg', {
			'server gate1 127.0.0.1:8000 port 8001': gates.join('\n\t'),
			'bind :80': `bind 127.0.0.1:${f.port}`,
			'bind :443': `bind 127.0.0.1:${f.tlsPort}`,
			'/etc/haproxy/ws.example.org.pem': f.file('pair.pem', pair(certificate)),
			...instead,
		});
		return ['haproxy', '-db', '-f', f.file('haproxy.cfg', `global\n\tmaxconn 1000\n\tlog stderr format raw local0\n${text}`)];
	},

	'haproxy tcp'(f, gw, { instead }) {
		f.ports = [f.tlsPort];
		const text = sample('haproxy-tcp.cfg', {
			'127.0.0.1:8443 send-proxy-v2 port 8001\n\t#': `127.0.0.1:${gw.tlsPort} send-proxy-v2 port ${gw.adminPort}\n\t#`,
			'bind :443': `bind 127.0.0.1:${f.tlsPort}`,
			...instead,
		});
		return ['haproxy', '-db', '-f', f.file('haproxy.cfg', `global\n\tmaxconn 1000\n\tlog stderr format raw local0\n${text}`)];
	},

	apache(f, gw, { certificate, instead }) {
		const site = f.file('site.conf', sample('apache.conf', {
			'http://127.0.0.1:8000': `http://127.0.0.1:${gw.port}`,
			'*:80>': `127.0.0.1:${f.port}>`,
			'*:443>': `127.0.0.1:${f.tlsPort}>`,
			'/etc/ssl/certs/ws.example.org.pem': certificate.certificate,
			'/etc/ssl/private/ws.example.org.key': certificate.key,
			...instead,
		}));
		const modules = ['mpm_event', 'authz_core', 'macro', 'proxy', 'proxy_http', 'socache_shmcb', 'ssl'];
		const main = `ServerRoot ${f.dir}
PidFile ${f.dir}/pid
DefaultRuntimeDir ${f.dir}
Mutex file:${f.dir} default
ErrorLog /dev/stderr
LogLevel warn
${modules.map((m) => `LoadModule ${m}_module /usr/lib/apache2/modules/mod_${m}.so`).join('\n')}
${ROOT ? 'User www-data\nGroup www-data' : ''}
ServerName localhost
Listen 127.0.0.1:${f.port}
Listen 127.0.0.1:${f.tlsPort}
Include ${site}
`;
		return ['apache2', '-DFOREGROUND', '-f', f.file('apache2.conf', main)];
	},
};
