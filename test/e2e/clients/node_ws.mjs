// Node's own WebSocket (undici): the interface of browsers, which knows no Ping, no headers and no pause.
// A certificate's authority comes from NODE_EXTRA_CA_CERTS.
import { busy, bytes, message, numbered, obey, options, say } from './lines.mjs';

const { url, cookie } = options();
const ws = new WebSocket(url, cookie ? { headers: { Cookie: cookie } } : undefined);
ws.binaryType = 'arraybuffer';
ws.onopen = () => say('open');
ws.onmessage = ({ data }) => say(typeof data === 'string' ? message('text', Buffer.from(data)) : message('binary', new Uint8Array(data)));
ws.onclose = ({ code, reason }) => {
	say(`closed ${code} ${reason}`);
	process.exit();
};
obey({
	text: (n, size) => {
		for (let i = 0; i < n; i++) ws.send(numbered(i, size));
	},
	binary: (size) => ws.send(bytes(size)),
	close: (code, ...reason) => ws.close(Number(code), reason.join(' ')),
	busy,
});
