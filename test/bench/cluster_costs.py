#!/usr/bin/env python3
"""What an operation costs a cluster of three nats-servers: processor time and memory of each of them.

    test/bench/cluster_costs.py [N]     N operations of each kind (20000); some two minutes, loopback, folders of its own

The client speaks NATS by itself and is not measured. "leader" has the stream (or is its leader), "other" is one of the
other two. The figures go into costs.json by hand, with the machine: model.py reads them from there.
"""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
WINDOW = 256


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, folder, name, port, route, routes):
        conf = os.path.join(folder, name + ".conf")
        urls = ", ".join(f"nats-route://127.0.0.1:{r}" for r in routes if r != route)
        cluster = f'cluster {{ name: costs, listen: "127.0.0.1:{route}", routes: [{urls}] }}\n' if urls else ""
        with open(conf, "w") as f:
            f.write(f'server_name: {name}\nlisten: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/{name}" }}\n'
                    f'max_pending: 1GB\n{cluster}')
        self.name, self.port = name, port
        self.proc = subprocess.Popen(["nats-server", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cpu(self):
        """Seconds so far."""
        with open(f"/proc/{self.proc.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        with open(f"/proc/{self.proc.pid}/status") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS"))


class Client:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.buf, self.got = b"", []
        self.sock.settimeout(2)  # until there is a leader nobody answers
        self.sock.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB _I.> 1\r\n')
        self.flush()

    def flush(self):
        self.sock.sendall(b"PING\r\n")
        while self.read(b"PONG"):
            pass

    def line(self):
        while b"\r\n" not in self.buf:
            self.more()
        line, self.buf = self.buf.split(b"\r\n", 1)
        if line == b"PING":
            self.sock.sendall(b"PONG\r\n")
        return line

    def more(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise SystemExit("a server closed the connection")
        self.buf += data

    def next(self):
        """One line's words, and what a message has behind it."""
        line = self.line()
        words, body = line.split(), None
        if words[0] in (b"MSG", b"HMSG"):
            n = int(words[-1])
            while len(self.buf) < n + 2:
                self.more()
            body, self.buf = self.buf[:n], self.buf[n + 2:]
        elif words[0] == b"-ERR":
            raise SystemExit(line.decode())
        return words, body

    def read(self, until=None):
        """One message into got; or the line that was waited for: False."""
        words, body = self.next()
        if body is not None:
            self.got.append((words[1], body))
        return words[0] != until

    def ask(self, subject, body):
        self.got.clear()
        self.sock.sendall(b"PUB %s _I.x %d\r\n%s\r\n" % (subject.encode(), len(body), body.encode()))
        while not self.got:
            self.read()
        return json.loads(self.got[0][1])

    def many(self, requests):
        """All of them, WINDOW at a time; the answers."""
        out, sent, done = [], 0, 0
        self.got.clear()
        requests = list(requests)
        while done < len(requests):
            batch = requests[sent:sent + WINDOW - (sent - done)]
            if batch:
                self.sock.sendall(b"".join(b"PUB %s _I.%d %d\r\n%s\r\n" % (s, sent + i, len(b), b)
                                           for i, (s, b) in enumerate(batch)))
                sent += len(batch)
            self.read()
            out += self.got
            done += len(self.got)
            self.got.clear()
        return out


class Rig:
    def __init__(self, folder):
        ports, routes = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
        self.servers = [Server(folder, f"s{i}", ports[i], routes[i], routes) for i in range(3)]
        self.rows = []
        deadline = time.time() + 30
        while True:
            try:
                self.clients = [Client(p) for p in ports]
                if "error" not in self.clients[0].ask("$JS.API.INFO", "") and self.stream("probe", 3, "probe") is not None:
                    break
            except (OSError, ValueError):
                pass  # no leader yet
            if time.time() > deadline:
                raise SystemExit("no cluster after half a minute")
            time.sleep(0.3)
        self.clients[0].ask("$JS.API.STREAM.DELETE.probe", "")
        for c in self.clients:
            c.sock.settimeout(30)

    def stream(self, name, replicas, prefix):
        """The number of its leader's server; None: not now."""
        conf = {"name": name, "subjects": [f"{prefix}.>"], "retention": "workqueue", "storage": "file", "discard": "new",
                "num_replicas": replicas, "allow_direct": True, "republish": {"src": f"{prefix}.recv.>", "dest": f"{prefix}live.>"}}
        self.clients[0].ask(f"$JS.API.STREAM.CREATE.{name}", json.dumps(conf))
        for _ in range(50):
            info = self.clients[0].ask(f"$JS.API.STREAM.INFO.{name}", "")
            leader = info.get("cluster", {}).get("leader")
            if leader:
                return int(leader[1:])
            time.sleep(0.1)
        return None

    def measure(self, what, key, leader, n, fn, memory=False):
        before, mem = [s.cpu() for s in self.servers], [s.memory() for s in self.servers]
        start = time.time()
        fn()
        for c in self.clients:
            c.flush()
        time.sleep(1)  # what the others do behind it; idle cost is taken off
        spent = time.time() - start
        us = [(s.cpu() - b - self.idle * spent) * 1e6 / n for s, b in zip(self.servers, before)]
        kb = [(s.memory() - m) / n for s, m in zip(self.servers, mem)]
        others = [i for i in range(3) if i != leader]
        row = {"leader_us": round(us[leader], 1), "other_us": round(statistics.mean(us[i] for i in others), 1)}
        more = ""
        if memory:  # of the others too little stays to be told from the collector's moods
            row |= {"leader_bytes": round(kb[leader]), "other_bytes": round(statistics.mean(kb[i] for i in others))}
            more = f"; {row['leader_bytes']} and {row['other_bytes']} bytes"
        self.rows.append((key, row))
        print(f"{what:58} leader {row['leader_us']:6.1f} us, others {row['other_us']:6.1f} us each{more}", flush=True)

    def rest(self):
        before = sum(s.cpu() for s in self.servers)
        time.sleep(5)
        self.idle = (sum(s.cpu() for s in self.servers) - before) / 5 / 3

    def stop(self):
        for s in self.servers:
            s.proc.terminate()
            s.proc.wait()


def subscriptions(rig, n):
    c = rig.clients[0]
    rig.measure("a subscription, at the first server", "subscription", 0, n, lambda: c.sock.sendall(
        b"".join(b"SUB live0.chat.u%d %d\r\n" % (i, i + 10) for i in range(n))), memory=True)
    rig.measure("it ends", "unsubscription", 0, n, lambda: c.sock.sendall(b"".join(b"UNSUB %d\r\n" % (i + 10) for i in range(n))))


def stream(rig, n, replicas):
    name, prefix = f"r{replicas}", f"r{replicas}"
    leader = rig.stream(name, replicas, prefix)
    at, far = rig.clients[leader], rig.clients[(leader + 1) % 3]
    tag = f"R{replicas}"
    body = b"x" * 100
    publish = [(b"%s.recv.chat.u%d" % (prefix.encode(), i), body) for i in range(n)]
    acks = []
    rig.measure(f"{tag}: publish, nobody hears", f"publish_{tag}", leader, n, lambda: acks.extend(at.many(publish)))
    how = b"STREAM.MSG" if replicas > 1 else b"DIRECT"  # as the gateway asks
    gets = [(b"$JS.API.%s.GET.%s" % (how, name.encode()), b'{"seq":%d,"next_by_subj":"%s"}' % (i + 1, publish[i][0])) for i in range(n)]
    rig.measure(f"{tag}: get near its match, asked at the leader's", f"get_{tag}", leader, n, lambda: at.many(gets))
    seqs = [json.loads(a[1])["seq"] for a in acks]
    deletes = [(b"$JS.API.STREAM.MSG.DELETE.%s" % name.encode(), b'{"seq":%d,"no_erase":true}' % s) for s in seqs]
    rig.measure(f"{tag}: MSG.DELETE", f"delete_{tag}", leader, n, lambda: at.many(deletes))
    far.sock.sendall(b"SUB %slive.> 9\r\n" % prefix.encode())
    far.flush()
    rig.measure(f"{tag}: publish, heard at another server (both of its costs)", f"publish_heard_{tag}", leader, n, lambda: (at.many(publish), far.flush()))
    far.got.clear()


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    folder = tempfile.mkdtemp(prefix="wsgate-costs-")
    rig = None
    try:
        rig = Rig(folder)
        rig.rest()
        print(f"idle: {rig.idle * 100:.1f} % of a processor each; {n} operations each", flush=True)
        subscriptions(rig, 5 * n)
        stream(rig, n, 1)
        stream(rig, n, 3)
        print(json.dumps(dict(rig.rows), indent=1))
    finally:
        if rig:
            rig.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
