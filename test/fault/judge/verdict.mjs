// What the records prove, when all is over.

// Refusals of the contract: the client was told that its messages were not stored.
const REFUSED = [1008, 1009, 1013];

// Every message that the publisher saw acknowledged reached its user.
function checkDown(records) {
	let lost = 0;
	for (const u of records.users.values()) {
		for (let n = 0; n < u.begun; n++) {
			if (u.got[n] || !u.ackAt[n] || records.exempt(u, n)) continue;
			lost++;
			records.blame(`${u.name}: ${n} is lost, acknowledged at ${(u.ackAt[n] / 1000).toFixed(3)} as ${u.ackSeq[n]}`);
		}
	}
	return lost;
}

// What a gateway took, and all before a completed close handshake, is stored; of the rest, what was sent first.
function checkConn(records, u, c) {
	let lost = 0, hole = -1;
	const refused = REFUSED.includes(c.code);
	for (const k of c.sent) {
		if (u.seq[k] !== undefined) {
			if (hole >= 0) records.blame(`${u.name}: ${k} is stored, ${hole} before it on connection ${c.id} is not`);
			hole = -1; // said once
			continue;
		}
		if (u.sentAt[k] < records.wipedAt) continue;
		if (hole < 0) hole = k;
		const must = !refused && (k <= c.taken || (c.completed && c.closeAt));
		if (!must) continue;
		lost++;
		records.blame(`${u.name}: ${k} is not stored; connection ${c.id} ended ${c.code} "${c.reason}" at ${(c.endAt / 1000).toFixed(3)}, ` +
			`taken up to ${c.taken}, ${c.closeAt ? 'closed by us' : c.cutByUs ? 'cut by us' : 'ended by the gateway'}`);
	}
	return lost;
}

const sending = (u, k) => `${k} (connection ${u.sentBy[k].id}, worker ${u.sentBy[k].slot}, ${(u.sentAt[k] / 1000).toFixed(3)})`;

// The highest sequence of what the same gateway had taken before the connection opened.
// What another one has taken does not count: one that is cut off stores it later.
function floorOf(u, c) {
	let floor = -1;
	if (c.gate === undefined) return floor;
	for (const a of u.conns) {
		if (a.gate !== c.gate || a.openAt >= c.openAt) continue;
		// Those that had ended took no more; behind a completed close all is stored.
		const upto = c.beside.get(a) ?? (a.completed && a.closeAt && !REFUSED.includes(a.code) ? Infinity : a.taken);
		for (const k of a.sent) if (k <= upto && u.seq[k] > floor) floor = u.seq[k];
	}
	return floor;
}

// On a connection in the order of sending; behind a message that was taken before the connection opened.
function checkOrder(records, u) {
	for (const c of u.conns) {
		let last = floorOf(u, c);
		for (const k of c.sent) {
			const seq = u.seq[k];
			if (seq < last) records.blame(`${u.name}: ${sending(u, k)} is stored as ${seq}, behind ${sending(u, u.seq.indexOf(last))}, which is ${last}`);
			else if (seq !== undefined) last = seq;
		}
	}
}

const AWAY = ['broker-stop', 'broker-kill', 'broker-pause', 'broker-wipe'];
const CUTS_ALL = ['kill-all', 'kill-master'];

// The bridge's death disconnects nobody, a worker's only its own clients. What excuses an end; null: nothing has to, undefined: nothing does.
// Behind a load balancer nobody knows whose client it was: a fault of one gateway excuses the end of each, and what excused how many is
// counted, to be looked at by who knows how many there could be.
function checkEnds(records, u, c, grace) {
	if (!c.endAt || c.cutByUs || (c.completed && c.closeAt)) return null;
	const from = c.endAt - 6000 - records.lagSince(c.endAt - 6000, c.endAt), to = c.endAt + 500;
	// We rested for up to three seconds, and then this very process was kept from answering.
	if (c.code === 3008 && records.lagSince(c.endAt - 10500, c.endAt) > 5000) return 'we stood still';
	// Gateways that end are told apart by what they say.
	if (records.faultIn(['roll'], from, to) && [1001, 1006].includes(c.code)) return 'a gateway was stopped';
	if (records.faultIn(CUTS_ALL, from, to, undefined, c.gate)) return 'a gateway was killed';
	const slot = records.slotOf(c);
	if (records.faultIn(['kill-worker'], from, to, slot === undefined ? undefined : `worker ${slot}`, c.gate)) return 'a worker was killed';
	// A worker that is not wanted any more closes what cannot move: what is opening, or closing.
	if (c.code === 1012 && (c.closeAt || c.endAt - c.openAt < 1000) && records.faultIn(['resize'], from, to, undefined, c.gate)) return 'fewer workers';
	// It stood still for longer than its lease: who is left may lack messages, and is told to come back.
	if (c.code === 1012 && /was cut off/.test(c.reason) && records.faultIn(['stop-all', 'cut-gate', 'upgrade', 'broker-kill', 'broker-stop', 'broker-pause'], c.endAt - 20000, to, undefined, c.gate)) return 'a gateway was cut off';
	// Who is cut off sends its clients away, some each second.
	if (records.faultIn(['cut-gate'], c.endAt - 2 * grace, to) && (REFUSED.includes(c.code) || c.code === 1006 || c.closeAt)) return 'a gateway was cut off';
	if (records.faultIn(['stop-all'], c.endAt - 6000, to, undefined, c.gate)) return 'a gateway stood still'; // no Pong in time
	if (records.faultIn(AWAY, c.endAt - grace, to) && (REFUSED.includes(c.code) || c.closeAt)) return 'the broker was away';
	// A close that could not be stored within the grace ends without a Close, as the contract says.
	if (c.closeAt && c.endAt - c.closeAt > 1900 && records.faultIn(['kill-bridge', 'stop-bridge', 'stop-worker'], c.closeAt - 12000, to, undefined, c.gate)) return 'its Close waited';
	if (c.code === 1006 && records.faultIn(AWAY, c.endAt - grace, to) && c.sent.some((k) => !(u.storedAt[k] < c.endAt))) return 'the broker was away';
	records.blame(`${u.name}: connection ${c.id} (worker ${c.slot}) ended ${c.code} "${c.reason}" at ${(c.endAt / 1000).toFixed(3)} without a cause` +
		`${c.closeAt ? `; its Close went out at ${(c.closeAt / 1000).toFixed(3)}` : ''}`);
	return undefined;
}

// grace: the gateways' broker.grace, in ms
export function verdict(records, { grace }) {
	if (!(grace > 0)) throw new Error(`verdict: grace ${grace}`);
	const v = { lostDown: checkDown(records), lostUp: 0, cutOff: 0, ends: new Map() };
	for (const u of records.users.values()) {
		for (const c of u.conns) {
			v.lostUp += checkConn(records, u, c);
			const why = checkEnds(records, u, c, grace);
			if (why) v.ends.set(why, (v.ends.get(why) ?? 0) + 1);
			v.cutOff += why === undefined;
		}
		checkOrder(records, u);
	}
	return v;
}

const table = (map) => [...map].map(([k, n]) => `${k} ${n}`).join(', ') || 'none';

export function percentile(list, p) {
	const sorted = Float64Array.from(list).sort();
	return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] : 0;
}

export function figures(records, faults, v) {
	const c = records.count, sum = (m) => [...m.values()].reduce((a, b) => a + b, 0);
	return [
		`faults      ${faults.total} injected (${table(faults.injected)}); ${faults.kills} processes killed`,
		`to clients  ${c.published} published, ${c.delivered} delivered, ${v.lostDown} lost, ${sum(records.doubles)} doubled (${table(records.doubles)})`,
		`to service  ${c.sent} sent, ${c.stored} delivered, ${v.lostUp} lost, ${sum(records.storedTwice)} stored twice (${table(records.storedTwice)})`,
		`connections ${c.opened} opened, ${c.refused} refused, ${v.cutOff} ended without a cause, with one ${sum(v.ends)} (${table(v.ends)})`,
		`latency     to clients ${percentile(records.downLatency, 0.5).toFixed(1)} ms median, ${percentile(records.downLatency, 0.99).toFixed(0)} ms p99; ` +
			`longest pause ${(records.longestDown / 1000).toFixed(2)} s to a client, ${(records.longestUp / 1000).toFixed(2)} s to the service; ` +
			`the last removal ${((records.emptied ?? NaN) / 1000).toFixed(1)} s after the last delivery`,
	];
}
