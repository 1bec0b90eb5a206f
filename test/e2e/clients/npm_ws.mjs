// npm ws
import fs from 'node:fs';
import WebSocket from 'ws';
import { busy, bytes, message, numbered, obey, options, say } from './lines.mjs';

const { url, cookie, ca, deflate } = options();
const ws = new WebSocket(url, {
	headers: cookie ? { Cookie: cookie } : {},
	ca: ca && fs.readFileSync(ca),
	maxPayload: 64 << 20,
	perMessageDeflate: deflate !== undefined,
});
ws.on('open', () => say('open'));
ws.on('unexpected-response', (_, res) => {
	say(`refused ${res.statusCode}`);
	process.exit();
});
ws.on('message', (data, binary) => say(message(binary ? 'binary' : 'text', data)));
ws.on('pong', (data) => say(`pong ${data}`));
ws.on('error', (e) => say(`error ${e.message}`));
ws.on('close', (code, reason) => {
	say(`closed ${code} ${reason}`);
	process.exit();
});
obey({
	text: (n, size) => {
		for (let i = 0; i < n; i++) ws.send(numbered(i, size));
	},
	binary: (size) => ws.send(bytes(size)),
	ping: (word) => ws.ping(word),
	close: (code, ...reason) => ws.close(Number(code), reason.join(' ')),
	busy,
	pause: () => {
		ws.pause();
		say('paused');
	},
	resume: () => {
		ws.resume();
		say('resumed');
	},
});
