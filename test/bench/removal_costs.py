#!/usr/bin/env python3
"""Two ways to take a delivered message out of a stream: MSG.DELETE, and acknowledging it through one consumer that all
gateways share. What each costs the servers, and what is left of it when a server is killed.

    test/bench/removal_costs.py [N [WAITING]]     N messages of each kind (20000), beside WAITING for absent users (0)

One server, then three with three replicas. "all": processor time of all servers, publish and removal together. The consumer's
deliveries (headers only) are read, and each is acknowledged by its reply subject, as the cheapest case.
"""
import json
import os
import shutil
import signal
import sys
import tempfile
import time

from cluster_costs import Client, Server, WINDOW, free_port

BODY = b"x" * 100


class Bench:
    def __init__(self, folder, replicas):
        n, self.replicas = (3 if replicas > 1 else 1), replicas
        ports, routes = [free_port() for _ in range(n)], [free_port() for _ in range(n)]
        self.args = [(folder, f"s{i}", ports[i], routes[i], routes) for i in range(n)]
        self.servers = [Server(*a) for a in self.args]
        self.client = None
        self.ready()
        self.stream()

    def ready(self):
        until = time.time() + 60
        while time.time() < until:
            try:
                self.client = Client(next(s.port for s in self.servers if s.proc.poll() is None))
                if "error" not in self.client.ask("$JS.API.INFO", ""):
                    self.client.sock.settimeout(120)
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.3)
        raise SystemExit("no JetStream within a minute")

    def stream(self):
        conf = {"name": "rem", "subjects": ["rem.>"], "retention": "workqueue", "storage": "file", "discard": "new",
                "num_replicas": self.replicas, "allow_direct": True, "republish": {"src": "rem.recv.>", "dest": "remlive.>"}}
        until = time.time() + 30
        while "error" in self.client.ask("$JS.API.STREAM.CREATE.rem", json.dumps(conf)):
            if time.time() > until:
                raise SystemExit("no stream")
            time.sleep(0.5)

    def info(self):
        return self.client.ask("$JS.API.STREAM.INFO.rem", "")

    def held(self):
        """Messages in the stream, once its leader says so."""
        until = time.time() + 60
        while time.time() < until:
            try:
                return self.info()["state"]["messages"]
            except (OSError, KeyError, ValueError, SystemExit):
                time.sleep(0.5)
                self.ready()
        raise SystemExit("the stream does not come back")

    def left(self, expected):
        """What an acknowledgement removes may be gone a little later than it is confirmed."""
        until = time.time() + 20
        while (n := self.held() - expected) and time.time() < until:
            time.sleep(0.2)
        return n

    def cpu(self):
        return sum(s.cpu() for s in self.servers if s.proc.poll() is None)

    def memory(self):
        return sum(s.memory() for s in self.servers)

    def cost(self, n, fn):
        before, start = self.cpu(), time.time()
        got = fn()
        self.client.flush()
        took = time.time() - start
        time.sleep(0.5)
        return (self.cpu() - before) * 1e6 / n, took, got

    def publish(self, users, each):
        """Interleaved; the sequences, in that order."""
        out = self.client.many((b"rem.recv.u%d" % u, BODY) for _ in range(each) for u in range(users))
        return [json.loads(a[1])["seq"] for a in out]

    def delete(self, seqs):
        self.client.many((b"$JS.API.STREAM.MSG.DELETE.rem", b'{"seq":%d,"no_erase":true}' % s) for s in seqs)

    # ---- the shared consumer ----

    def consumer(self, memory):
        conf = {"durable_name": "gone", "deliver_subject": "remgone", "deliver_group": "g", "ack_policy": "explicit", "headers_only": True,
                "filter_subject": "rem.recv.>", "max_ack_pending": -1, "ack_wait": 86400 * 10**9, "deliver_policy": "all", "mem_storage": memory}
        self.client.sock.sendall(b"SUB remgone g 7\r\n")
        r = self.client.ask("$JS.API.CONSUMER.DURABLE.CREATE.rem.gone", json.dumps({"stream_name": "rem", "config": conf}))
        if "error" in r:
            raise SystemExit(r["error"])

    def publish_heard(self, users, each, d):
        """As publish(), with the consumer's deliveries in between."""
        wanted, seqs, sent, c = users * each, [], 0, self.client
        while len(seqs) < wanted:
            room = WINDOW - (sent - len(seqs))
            if room > 0 and sent < wanted:
                k = min(room, wanted - sent)
                c.sock.sendall(b"".join(b"PUB rem.recv.u%d _I.p %d\r\n%s\r\n" % ((sent + i) % users, len(BODY), BODY) for i in range(k)))
                sent += k
            words, body = d.one()
            if body is not None and words[1] == b"_I.p":
                seqs.append(json.loads(body)["seq"])
        return seqs

    def no_consumer(self):
        self.client.ask("$JS.API.CONSUMER.DELETE.rem.gone", "")
        self.client.sock.sendall(b"UNSUB 7\r\n")
        self.client.flush()

    def stop(self):
        for s in self.servers:
            s.proc.kill()
            s.proc.wait()


class Deliveries:
    """Reads messages with a reply subject: HMSG <subject> <sid> <reply> <header bytes> <bytes>."""

    def __init__(self, client):
        self.c, self.replies, self.acked = client, {}, 0

    def one(self):
        words, body = self.c.next()
        if body is not None and words[1] == b"_I.a":
            self.acked += 1
        elif body is not None and b"$JS.ACK" in words[3]:
            self.replies[int(words[3].split(b".")[5])] = words[3]
        return words, body

    def read(self, n):
        while len(self.replies) < n:
            self.one()

    def acknowledge(self, subjects):
        sent = 0
        while self.acked < len(subjects):
            batch = subjects[sent:sent + WINDOW - (sent - self.acked)]
            if batch:
                self.c.sock.sendall(b"".join(b"PUB %s _I.a 4\r\n+ACK\r\n" % s for s in batch))
                sent += len(batch)
            self.one()


def by_user(seqs, users, newest_first):
    """User by user, as batches are confirmed."""
    out = []
    for u in range(users):
        mine = seqs[u::users]
        out += reversed(mine) if newest_first else mine
    return out


def one_shape(b, n, users):
    each, waiting = n // users, b.held()
    shape = f"R{b.replicas}, {users:,} users x {each}"
    publish, _, seqs = b.cost(n, lambda: b.publish(users, each))
    ways = {"oldest first": False} | ({"newest first": True} if each > 1 else {})
    for i, (how, newest) in enumerate(ways.items()):
        if i:
            _, _, seqs = b.cost(n, lambda: b.publish(users, each))
        us, took, _ = b.cost(n, lambda: b.delete(by_user(seqs, users, newest)))
        print(f"{shape:26} MSG.DELETE, {how:14} publish {publish:5.1f} + removal {us:6.1f} = all {publish + us:6.1f} us; "
              f"{n / took:7,.0f} removals/s", flush=True)
    for memory in (True, False):
        kept = "memory" if memory else "file"
        if b.left(waiting):
            raise SystemExit(f"{b.left(waiting)} messages are not removed")
        rss = b.memory()
        d = Deliveries(b.client)
        walk, took, _ = b.cost(max(waiting, 1), lambda: (b.consumer(memory), d.read(waiting)))
        note = f"; made beside {waiting:,} waiting: {took:.1f} s, {walk:.1f} us and {(b.memory() - rss) / waiting:.0f} bytes each" if waiting else ""
        d.replies.clear()

        def published():
            seqs = b.publish_heard(users, each, d)
            d.read(n)
            return seqs
        publish, _, seqs = b.cost(n, published)
        us, took, _ = b.cost(n, lambda: d.acknowledge([d.replies[s] for s in by_user(seqs, users, False)]))
        print(f"{shape:26} acknowledged, {kept:12} publish {publish:5.1f} + removal {us:6.1f} = all {publish + us:6.1f} us; "
              f"{n / took:7,.0f} removals/s{note}", flush=True)
        b.no_consumer()


def killed(b, n, how):
    """All removed and answered, then kill -9 of all servers: how many are there again?"""
    before = b.held()
    if how == "delete":
        b.delete(b.publish(n, 1))
    else:
        d = Deliveries(b.client)
        b.consumer(how == "memory")
        d.read(before)
        d.replies.clear()
        seqs = b.publish_heard(n, 1, d)
        d.read(n)
        d.acknowledge([d.replies[s] for s in seqs])
    left = b.left(before)
    for s in b.servers:
        s.proc.send_signal(signal.SIGKILL)
        s.proc.wait()
    b.servers = [Server(*a) for a in b.args]
    b.ready()
    again = b.held() - before
    there = "error" not in b.client.ask("$JS.API.CONSUMER.INFO.rem.gone", "")
    b.no_consumer()
    print(f"R{b.replicas}: {n:,} removed by {how}, {left} left; all servers killed: {again:,} there again"
          + ("" if how == "delete" else f"; the consumer is {'there' if there else 'gone'}"), flush=True)


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    waiting = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for replicas in (1, 3):
        folder = tempfile.mkdtemp(prefix="wsgate-costs-")
        b = None
        try:
            b = Bench(folder, replicas)
            if waiting:
                b.client.many((b"rem.recv.absent%d" % i, BODY) for i in range(waiting))
            one_shape(b, n, n)
            b.left(waiting)
            one_shape(b, n, n // 100)
            b.left(waiting)
            for how in ("delete", "memory", "file"):
                killed(b, n, how)
        finally:
            if b:
                b.stop()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
