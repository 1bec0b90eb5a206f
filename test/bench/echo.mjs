// What the raw echo is measured against: npm ws, as its documentation has it. Prints its port.
import { createRequire } from 'node:module';
const require = createRequire(new URL('../e2e/package.json', import.meta.url));
const { WebSocketServer } = require('ws');

const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
wss.on('connection', (ws) => ws.on('message', (data, binary) => ws.send(data, { binary })));
wss.on('listening', () => console.log(JSON.stringify({ event: 'ready', port: wss.address().port })));
process.stdin.resume();
process.stdin.on('end', () => process.exit());
