// What people connect with, each through the same steps (lib/clientsteps.mjs). What is large to install: x_clients.mjs.
import { CLIENTS, nodeHasWebSocket } from './lib/clients.mjs';
import { testClients } from './lib/clientsteps.mjs';

if (!(await nodeHasWebSocket())) CLIENTS['node WebSocket'].lacks = `Node ${process.version} has none of its own`;
await testClients(Object.fromEntries(Object.entries(CLIENTS).filter(([, what]) => !what.large)));
