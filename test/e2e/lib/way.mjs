import net from 'node:net';
import { freePort } from './proc.mjs';

// A way to the broker on which what a gateway says takes `delay` ms, in its order, and no more than `rate` bytes pass in a second (0: any).
export async function slowWay(t, nats) {
	const way = { delay: 0, rate: 0, open: true, port: await freePort() };
	const sockets = new Set();
	way.cut = () => {
		way.open = false;
		for (const s of sockets) s.destroy();
	};
	const server = net.createServer((s) => {
		if (!way.open) return void s.destroy();
		const up = net.connect(nats.port, '127.0.0.1');
		let due = 0;
		for (const x of [s, up]) sockets.add(x.on('error', () => {}).on('close', () => [s, up].forEach((y) => y.destroy())));
		s.on('data', (d) => {
			due = Math.max(due, performance.now() + way.delay);
			if (way.rate) {
				due += d.length / way.rate * 1000;
				s.pause();
			}
			setTimeout(() => {
				up.write(d);
				s.resume();
			}, due - performance.now());
		});
		up.on('data', (d) => s.write(d));
	});
	await new Promise((done) => server.listen(way.port, '127.0.0.1', done));
	t.atEnd(() => {
		server.close();
		for (const s of sockets) s.destroy();
	});
	return way;
}
