// Memory of the gateway's processes, without what they share.
import fs from 'node:fs';

// Private bytes of one process.
export function privateBytes(pid) {
	let bytes = 0;
	for (const line of fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1').split('\n')) {
		const m = /^Private_(?:Clean|Dirty): +(\d+) kB/.exec(line);
		if (m) bytes += Number(m[1]) * 1024;
	}
	return bytes;
}

// Anonymous memory of all: the segment is a file, and not in it.
export function rss(gw) {
	let bytes = 0;
	for (const pid of [gw.proc.pid, ...gw.children().map((c) => c.pid)])
		bytes += Number(/^RssAnon:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1'))[1]) * 1024;
	return bytes;
}
