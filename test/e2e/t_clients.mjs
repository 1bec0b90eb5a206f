// What people connect with, each through the same steps (lib/clientsteps.mjs). What is large to install: x_clients.mjs.
import { CLIENTS, nodeHasWebSocket } from './lib/clients.mjs';
import { testClients } from './lib/clientsteps.mjs';

// Before the first test: after a test, nothing but another one keeps node alive.
if (!(await nodeHasWebSocket())) {
	console.log(`Node ${process.version} has no WebSocket of its own: left out`);
	delete CLIENTS['node WebSocket'];
}
await testClients(Object.fromEntries(Object.entries(CLIENTS).filter(([, what]) => !what.large)));
