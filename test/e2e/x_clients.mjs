// Clients that are large to install (a JDK, Go, GNOME's libraries): make check-clients.
import { CLIENTS } from './lib/clients.mjs';
import { testClients } from './lib/clientsteps.mjs';

await testClients(Object.fromEntries(Object.entries(CLIENTS).filter(([, what]) => what.large)));
