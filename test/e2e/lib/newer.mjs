// A program that answers as nats-server 2.11 is documented to (ADR-31, ADR-44, release notes): one stream in memory, no more than
// a gateway and a service need. It shows what the gateway makes of newer answers, not that such servers give them.
import net from 'node:net';

const CRLF = Buffer.from('\r\n');
// Of a stream's configuration: whatever else comes is refused, as with "strict".
const KNOWN = ['name', 'description', 'subjects', 'retention', 'storage', 'discard', 'discard_new_per_subject', 'max_msgs_per_subject', 'max_age', 'max_bytes',
	'max_msgs', 'max_consumers', 'max_msg_size', 'num_replicas', 'duplicate_window', 'allow_direct', 'republish', 'mirror_direct', 'sealed', 'deny_delete',
	'deny_purge', 'allow_rollup_hdrs', 'compression', 'consumer_limits', 'metadata', 'allow_msg_ttl'];

function matches(pattern, subject) {
	const p = pattern.split('.'), s = subject.split('.');
	for (const [i, t] of p.entries()) {
		if (t === '>') return s.length > i;
		if (i >= s.length || (t !== '*' && t !== s[i])) return false;
	}
	return p.length === s.length;
}

export class Newer {
	// stream: its configuration at the beginning, or null; stampMs: how much older messages are than they say; drops: of that many
	// removals one is dropped, as when too many requests wait; olderEvery: so many direct gets are answered by a server of an older version;
	// lostEvery: the end of so many batches is lost; partLostEvery: so many messages of batches are; inTheMaking: so many answers are of a stream that somebody else is just making (2.9.10: of the year 1)
	// Later: .consumers: what others have made; .duplicate: all that has an id is called a duplicate, and not stored; .lostAcks: so many answers to such a publish are lost
	static async start(t, { version = '2.11.4', level = 1, stream = null, stampMs = 0, drops = 0, olderEvery = 0, lostEvery = 0, partLostEvery = 0, inTheMaking = 0 } = {}) {
		const n = new Newer();
		Object.assign(n, { version, level, config: stream, stampMs, drops, olderEvery, lostEvery, partLostEvery, inTheMaking, clients: new Set(), stored: new Map(), ids: new Map(), consumers: [], duplicate: false, lostAcks: 0, seq: 0, asked: {}, updates: [], refused: [] });
		n.batches = { asked: 0, messages: 0, empty: 0, older: 0, lost: 0, parts: 0, partsLost: 0 };
		n.created = '2026-01-01T00:00:00.123456789Z';
		n.server = net.createServer((s) => n.accept(s));
		await new Promise((go) => n.server.listen(0, '127.0.0.1', go));
		n.port = n.server.address().port;
		n.url = `nats://127.0.0.1:${n.port}`;
		t.atEnd(() => {
			for (const c of n.clients) c.socket.destroy();
			n.server.close();
		});
		return n;
	}

	accept(socket) {
		const c = { socket, subs: new Map(), buf: Buffer.alloc(0) };
		this.clients.add(c);
		socket.setNoDelay(true);
		socket.on('error', () => {}).on('close', () => this.clients.delete(c));
		socket.on('data', (d) => {
			c.buf = Buffer.concat([c.buf, d]);
			while (this.take(c));
		});
		socket.write(`INFO ${JSON.stringify({ server_id: 'N', server_name: 'newer', version: this.version, proto: 1, headers: true, max_payload: 1 << 20, jetstream: true })}\r\n`);
	}

	// One operation of a client. False: it is not whole yet.
	take(c) {
		const end = c.buf.indexOf(CRLF);
		if (end < 0) return false;
		const words = c.buf.subarray(0, end).toString().split(/ +/), op = words[0].toUpperCase();
		let used = end + 2;
		if (op === 'PUB' || op === 'HPUB') {
			const total = Number(words.at(-1)), head = op === 'HPUB' ? Number(words.at(-2)) : 0;
			if (c.buf.length < used + total + 2) return false;
			const body = c.buf.subarray(used, used + total), reply = words.length > (head ? 4 : 3) ? words[2] : '';
			used += total + 2;
			this.published(words[1], reply, Buffer.from(body.subarray(0, head)), Buffer.from(body.subarray(head)));
		} else if (op === 'SUB') {
			c.subs.set(words.at(-1), words[1]);
		} else if (op === 'UNSUB') {
			if (words.length === 2) c.subs.delete(words[1]);
		} else if (op === 'PING') {
			c.socket.write('PONG\r\n');
		}
		c.buf = c.buf.subarray(used);
		return true;
	}

	// To all who listen. False: nobody does.
	send(subject, reply, head, body) {
		let heard = false;
		for (const c of this.clients) {
			for (const [sid, pattern] of c.subs) {
				if (!matches(pattern, subject)) continue;
				heard = true;
				const to = `${subject} ${sid}${reply ? ` ${reply}` : ''}`;
				c.socket.write(Buffer.concat([
					Buffer.from(head.length ? `HMSG ${to} ${head.length} ${head.length + body.length}\r\n` : `MSG ${to} ${body.length}\r\n`), head, body, CRLF]));
			}
		}
		return heard;
	}

	json(reply, type, more) {
		this.send(reply, '', Buffer.alloc(0), Buffer.from(JSON.stringify({ type: `io.nats.jetstream.api.v1.${type}`, ...more })));
	}

	status(reply, code, text) {
		this.send(reply, '', Buffer.from(`NATS/1.0 ${code} ${text}\r\n\r\n`), Buffer.alloc(0));
	}

	// away: JetStream answers nothing ('mute'), or nobody is there to answer ('nobody').
	published(subject, reply, head, body) {
		if (this.away && (subject.startsWith('$JS.API.') || (reply && this.config.subjects.some((s) => matches(s, subject))))) {
			if (this.away === 'nobody') this.status(reply, 503, '');
			return undefined;
		}
		if (subject.startsWith('$JS.API.')) return this.api(subject.slice(8), reply, body);
		if (this.config && this.config.subjects.some((s) => matches(s, subject))) return this.store(subject, reply, head, body);
		if (!this.send(subject, reply, head, body) && reply) this.status(reply, 503, '');
		return undefined;
	}

	// With what a server adds behind the publisher's own.
	headed(head, more) {
		const own = head.length ? head.subarray(0, head.length - 2) : Buffer.from('NATS/1.0\r\n');
		return Buffer.concat([own, Buffer.from(`${Object.entries(more).map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n`)]);
	}

	store(subject, reply, head, body) {
		const id = /^Nats-Msg-Id: *(\S+)/mi.exec(head.toString())?.[1];
		if (id && (this.duplicate || this.ids.has(id))) return this.json(reply, 'pub_ack', { stream: this.config.name, seq: this.ids.get(id) ?? this.seq, duplicate: true });
		const last = [...this.stored.values()].filter((m) => m.subject === subject).at(-1)?.seq ?? 0;
		const m = { seq: ++this.seq, subject, head, body, stamp: new Date(Date.now() - this.stampMs).toISOString() };
		this.stored.set(m.seq, m);
		if (id) this.ids.set(id, m.seq);
		if (id && this.lostAcks > 0) this.lostAcks--;
		else if (reply) this.json(reply, 'pub_ack', { stream: this.config.name, seq: m.seq });
		const { republish } = this.config;
		if (!republish || this.noCopies || !matches(republish.src, subject)) return;
		const dest = republish.dest.replace('>', subject.slice(republish.src.length - 1));
		this.send(dest, '', this.headed(head, { 'Nats-Stream': this.config.name, 'Nats-Subject': subject, 'Nats-Sequence': m.seq, 'Nats-Time-Stamp': m.stamp, 'Nats-Last-Sequence': last }), body);
	}

	// One whose copy comes to nobody.
	storeUnseen(subject, text) {
		this.noCopies = true;
		this.store(subject, '', Buffer.alloc(0), Buffer.from(text));
		this.noCopies = false;
	}

	// A new leader, which has something else under that sequence: what broken clusters do.
	elect(seq, subject, text) {
		const m = { seq, subject, head: Buffer.alloc(0), body: Buffer.from(text), stamp: new Date().toISOString() };
		this.seq = Math.max(this.seq, seq);
		this.stored = new Map([...this.stored, [seq, m]].sort(([a], [b]) => a - b));
		this.send(`$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.${this.config.name}`, '', Buffer.alloc(0), Buffer.from('{}'));
	}

	// Somebody changes the stream's configuration.
	edit(fields) {
		Object.assign(this.config, fields);
		this.send(`$JS.EVENT.ADVISORY.STREAM.UPDATED.${this.config.name}`, '', Buffer.alloc(0), Buffer.from('{}'));
	}

	// The stream is deleted, and nobody is told.
	vanish() {
		this.config = this.vanishAt = null;
		this.stored.clear();
		this.created = new Date().toISOString();
	}

	info() {
		const seqs = [...this.stored.keys()];
		// what ADR-44 adds to answers, whatever the stream holds
		const config = this.level ? { ...this.config, metadata: { '_nats.req.level': '0', ...this.config.metadata, '_nats.ver': this.version, '_nats.level': String(this.level) } } : this.config;
		const created = this.inTheMaking-- > 0 ? '0001-01-01T00:00:00Z' : this.created;
		return { config, created, cluster: { leader: this.leader }, state: { messages: seqs.length, bytes: 0, first_seq: seqs[0] ?? this.seq + 1, last_seq: this.seq, consumer_count: 0 } };
	}

	configure(type, reply, body) {
		const config = JSON.parse(body), unknown = Object.keys(config).filter((k) => !KNOWN.includes(k));
		if (unknown.length) {
			this.refused.push(unknown);
			return this.json(reply, type, { error: { code: 400, err_code: 10025, description: `unknown field ${unknown}` } });
		}
		this.updates.push(config);
		this.config = config;
		return this.json(reply, type, this.info());
	}

	api(name, reply, body) {
		const verb = name.split('.').slice(0, -1).join('.');
		this.asked[verb] = (this.asked[verb] ?? 0) + 1;
		if (verb === this.vanishAt) this.vanish();
		if (name === 'INFO') return this.json(reply, 'account_info_response', { memory: 0, storage: 0, streams: 1, consumers: 0, limits: {}, api: { level: 1, total: 0, errors: 0 } });
		if (name.startsWith('STREAM.NAMES')) return this.json(reply, 'stream_names_response', { total: 0, offset: 0, limit: 1024, streams: null });
		if (verb === 'STREAM.CREATE') return this.configure('stream_create_response', reply, body);
		if (!this.config && verb === 'DIRECT.GET') return this.status(reply, 503, ''); // the stream itself answers these
		if (!this.config) return this.json(reply, 'stream_info_response', { error: { code: 404, err_code: 10059, description: 'stream not found' } });
		if (verb === 'STREAM.INFO') return this.json(reply, 'stream_info_response', this.info());
		if (verb === 'STREAM.UPDATE') return this.configure('stream_update_response', reply, body);
		if (verb === 'CONSUMER.LIST') return this.json(reply, 'consumer_list_response', { total: this.consumers.length, offset: 0, limit: 256, consumers: this.consumers });
		if (verb === 'DIRECT.GET') return this.get(reply, JSON.parse(body));
		if (verb === 'STREAM.MSG.GET') return this.leaderGet(reply, JSON.parse(body));
		if (verb === 'STREAM.MSG.DELETE') return this.remove(reply, JSON.parse(body));
		return this.status(reply, 503, '');
	}

	found(q) {
		return [...this.stored.values()].filter((x) => x.seq >= (q.seq ?? 1) && (!q.next_by_subj || q.next_by_subj === x.subject || matches(q.next_by_subj, x.subject)));
	}

	// As the leader of a stream answers, in a document.
	leaderGet(reply, q) {
		const m = this.found(q)[0];
		if (!m) return this.json(reply, 'stream_msg_get_response', { error: { code: 404, err_code: 10037, description: 'no message found' } });
		const hdrs = m.head.length ? { hdrs: m.head.toString('base64') } : {}, data = m.body.length ? { data: m.body.toString('base64') } : {};
		return this.json(reply, 'stream_msg_get_response', { message: { subject: m.subject, seq: m.seq, ...hdrs, ...data, time: m.stamp } });
	}

	get(reply, q) {
		const all = this.found(q);
		if (!all.length) return this.status(reply, 404, 'Message Not Found');
		const one = (m, more) => this.send(reply, '', this.headed(m.head, { 'Nats-Stream': this.config.name, 'Nats-Subject': m.subject, 'Nats-Sequence': m.seq, 'Nats-Time-Stamp': m.stamp, ...more }), m.body);
		if (!q.batch || !this.level) return one(all[0], {});
		if (++this.batches.asked % this.olderEvery === 0 && ++this.batches.older) return one(all[0], {});
		return this.batch(reply, q, all, one);
	}

	// As many as there may be, and then how many are left. Whether a message that is larger than all of max_bytes comes is not said: here
	// it does not.
	batch(reply, q, all, one) {
		let bytes = 0, sent = 0;
		for (const m of all.slice(0, q.batch)) {
			bytes += m.head.length + m.body.length;
			if (bytes > q.max_bytes) break;
			const more = { 'Nats-Num-Pending': all.length - ++sent, 'Nats-Last-Sequence': sent > 1 ? all[sent - 2].seq : 0 };
			if (++this.batches.parts % this.partLostEvery === 0) this.batches.partsLost++;
			else one(m, more);
		}
		this.batches.messages += sent;
		if (!sent) this.batches.empty++;
		if (this.batches.asked % this.lostEvery === 0 && ++this.batches.lost) return undefined;
		return this.send(reply, '', Buffer.from(`NATS/1.0 204 EOB\r\nNats-Num-Pending: ${all.length - sent}\r\nNats-Last-Sequence: ${sent ? all[sent - 1].seq : 0}\r\n\r\n`), Buffer.alloc(0));
	}

	remove(reply, q) {
		if (this.drops && this.asked['STREAM.MSG.DELETE'] % this.drops === 0) return undefined;
		const there = this.stored.delete(q.seq);
		if (!reply) return undefined;
		return this.json(reply, 'stream_msg_delete_response', there ? { success: true } : { error: { code: 404, err_code: 10043, description: 'no message found' }, success: false });
	}
}
