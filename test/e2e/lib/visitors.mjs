// Connects without end: none is to be refused or reset.
import net from 'node:net';
import { numbers } from './client.mjs';
import { until } from './proc.mjs';

// A TCP connect and a request, again and again, eight at a time. What went wrong is put into `faults`. Returns a function
// that ends it when at least so many have come.
export function visitors(gw, faults) {
	let going = true, came = 0;
	const one = () => new Promise((done) => {
		const s = net.connect(gw.port, '127.0.0.1', () => s.write('GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'));
		let got = '';
		s.setEncoding('latin1').on('data', (d) => (got += d));
		s.on('error', (e) => faults.push(e.code));
		s.on('close', () => {
			if (!got.startsWith('HTTP/1.1 404')) faults.push(got || 'nothing');
			came++;
			done();
		});
	});
	const all = numbers(8).map(async () => {
		while (going) await one();
	});
	return async (least) => {
		await until(`${least} visitors`, () => came >= least);
		going = false;
		await Promise.all(all);
	};
}
