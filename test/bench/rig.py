"""A broker and a gateway of the benchmarks' own, and what /proc says of them."""

import http.client
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SIZE = 100
WORKERS = 2
TICK = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A measurement that is not one."""


def progress(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


# ---- processes, as /proc has them ----


def stat_fields(pid):
    # the name, in brackets, may hold anything
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(pid):
    """pid and all that descend from it."""
    children = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            children.setdefault(int(stat_fields(entry.name)[1]), []).append(int(entry.name))
        except (OSError, IndexError):
            continue
    found = [pid]
    for p in found:
        found += children.get(p, [])
    return found


def cpu_seconds(pids):
    """User and system. /proc/PID/stat counts in ticks, and threads that ended, too; schedstat,
    where the kernel has it, counts living threads in ns. Both round down: the larger is right."""
    total = 0
    for pid in pids:
        try:
            fields = stat_fields(pid)
        except OSError:
            raise Failure(f"process {pid} ended while it was measured") from None
        fine = 0
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            try:
                fine += int((task / "schedstat").read_text().split()[0])
            except (OSError, IndexError):
                continue
        total += max((int(fields[11]) + int(fields[12])) / TICK, fine / 1e9)
    return total


def pss_bytes(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


class Program:
    """One of our own programs: told by lines, tells by lines of JSON."""

    def __init__(self, rig, *command):
        self.name = f"{pathlib.Path(command[0]).name} {command[-1]}"
        self.events = queue.Queue()
        self.proc = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=rig.log, text=True,
                                     start_new_session=True)
        self.pid = self.proc.pid
        rig.programs.append(self)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.proc.stdout:
            self.events.put(json.loads(line))
        self.events.put(None)

    def next_event(self, until, late):
        """None: it has ended."""
        try:
            return self.events.get(timeout=max(until - time.monotonic(), 0.001))
        except queue.Empty:
            raise Failure(late) from None

    def await_event(self, name, limit):
        until = time.monotonic() + limit
        while True:
            event = self.next_event(until, f'{self.name}: no "{name}" within {limit:.0f} s')
            if event is None:
                raise Failure(f"{self.name} ended without \"{name}\"")
            if event["event"] == name:
                return event

    def next_of(self, name, limit):
        """The next one that it says from now on."""
        while not self.events.empty():
            self.events.get()
        return self.await_event(name, limit)

    def go(self):
        self.proc.stdin.write("go\n")
        self.proc.stdin.flush()

    def finish(self, limit=20):
        """Ends it in good order; what it said last."""
        self.proc.stdin.close()
        last = None
        until = time.monotonic() + limit
        while (event := self.next_event(until, f"{self.name} does not end")) is not None:
            last = event
        self.proc.wait(limit)
        return last

    def kill(self):
        end_process(self.proc, signal.SIGTERM, 15)


def end_process(proc, how, limit):
    if proc.poll() is None:
        proc.send_signal(how)
        try:
            proc.wait(limit)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()


class Rig:
    """A broker and a gateway of our own, and what runs against them."""

    def __init__(self, build, limit, workers=WORKERS):
        self.workers = workers
        self.build = build
        self.limit = limit
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="wsgate-bench-"))
        self.log = open(self.dir / "bench.log", "w")
        self.programs = []
        self.nats = self.gate = self.other = None
        self.nats_port, self.port, self.admin_port = free_ports(3)
        self.url = f"nats://127.0.0.1:{self.nats_port}"

    def spawn(self, name, *command):
        with open(self.dir / f"{name}.log", "w") as log:
            return subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=log, start_new_session=True)

    def await_true(self, proc, name, what):
        until = time.monotonic() + 20
        while not what():
            if proc.poll() is not None:
                lines = (self.dir / f"{name}.log").read_text().splitlines()[-3:]
                raise Failure("\n  ".join([f"{name} ended with {proc.returncode}:"] + lines))
            if time.monotonic() > until:
                raise Failure(f"{name} is not ready within 20 s")
            time.sleep(0.02)

    def nats_ready(self):
        try:
            socket.create_connection(("127.0.0.1", self.nats_port), 1).close()
            return True
        except OSError:
            return False

    def admin(self, path):
        """What the gateway answers; None: not that it is well."""
        http_conn = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=2)
        try:
            http_conn.request("GET", path)
            answer = http_conn.getresponse()
            return answer.read().decode() if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            http_conn.close()

    def gate_ready(self):
        return self.admin("/readyz") is not None

    def gate_not_alone(self):
        return "\nwsgate_other_gateways 1\n" in (self.admin("/metrics") or "")

    def secure(self):
        """A TLS listener, with a certificate as it should be: lines for the configuration."""
        self.tls_port = free_ports(1)[0]
        self.key, self.cert = key, cert = self.dir / "key.pem", self.dir / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days",
                        "2", "-subj", "/CN=localhost"], check=True, stderr=self.log)
        return f'tls "127.0.0.1:{self.tls_port}" {{ certificate = "{cert}" key = "{key}" }}'

    def start(self, most, more=""):
        """more: lines for the gateway's configuration."""
        self.nats = self.spawn("nats-server", "nats-server", "-a", "127.0.0.1", "-p",
                               self.nats_port, "-js", "-sd", self.dir / "store")
        self.await_true(self.nats, "nats-server", self.nats_ready)
        self.gate = self.spawn_gate("wsgated", self.workers, most, self.port, f"""
admin {{ listen = "127.0.0.1:{self.admin_port}" }}
{more}
""")
        self.await_true(self.gate, "wsgated", self.gate_ready)
        self.gate_pids = family(self.gate.pid)
        if len(self.gate_pids) != 2 + self.workers:
            raise Failure(f"wsgated has {len(self.gate_pids)} processes, not {2 + self.workers}")

    def spawn_gate(self, name, workers, most, port, more):
        conf = self.dir / f"{name}.conf"
        conf.write_text(f'''user = ""
workers = {workers}
max_workers = {workers}
max_connections = {most + 1000}
drain_timeout = 1s
pidfile = "{self.dir}/{name}.pid"
runtime_dir = "{self.dir}/{name}"
listen = {{"127.0.0.1:{port}"}}
echo_path = "/echo"
broker {{ url = "{self.url}" }}
{more}''')
        return self.spawn(name, self.build / "wsgated", "-f", "-c", conf)

    def start_other(self):
        """Another gateway at the same broker, without clients."""
        port, admin_port = free_ports(2)
        self.other = self.spawn_gate("other", 1, 0, port,
                                     f'admin {{ listen = "127.0.0.1:{admin_port}" }}\n')
        self.await_true(self.other, "other", self.gate_not_alone)

    def end(self):
        for program in self.programs:
            program.kill()
        for gate in (self.other, self.gate):
            if gate:
                end_process(gate, signal.SIGTERM, 10)
        if self.nats:
            end_process(self.nats, signal.SIGTERM, 10)
        self.log.close()

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def keep_logs(self, where):
        where.mkdir(parents=True, exist_ok=True)
        for log in self.dir.glob("*.log"):
            shutil.copy(log, where / log.name)

    def load(self, *args, port=None, size=SIZE):
        return Program(self, self.build / "test/bench/load", "-p", port or self.port, "-b", size,
                       "-t", self.limit, *args)

    def yard(self, *args):
        return Program(self, self.build / "test/bench/yard", "-u", self.url, "-b", SIZE,
                       "-t", self.limit, *args)

    def door(self, tls):
        """What a bare program pays for a connection, and its port."""
        port = free_ports(1)[0]
        more = ["-c", self.cert, "-k", self.key] if tls else []
        door = Program(self, self.build / "test/bench/door", *more, "-p", port, "-w", self.workers)
        door.await_event("ready", self.limit)
        return door, port

    def purge(self):
        self.yard("purge").finish()

    def gate_same(self):
        if family(self.gate.pid) != self.gate_pids:
            raise Failure("a process of wsgated ended and was replaced")

    def settle(self):
        """Until gateway and broker have nothing to do, so that no case pays for another."""
        pids = self.gate_pids + [self.nats.pid]
        before = cpu_seconds(pids)
        for _ in range(40):
            time.sleep(0.25)
            now = cpu_seconds(pids)
            if now - before < 0.02:
                return
            before = now
        raise Failure("gateway and broker do not come to rest")

    def cpu(self, pids):
        return {"own": cpu_seconds(pids), "nats": cpu_seconds([self.nats.pid])}
