"""What is measured: one function a row. Each returns {figure: number} and raises Failure when what
it saw is no measurement."""

import socket
import subprocess
import time

from rig import SIZE, Failure, Program, cpu_seconds, family, pss_bytes


# The server's CPU for a publish on the machine on which the program that this one replaces was
# measured (12 to 13 us): what costs so much there costs more or less on another.
PUBLISH_US = 12.5


def opened(program, limit):
    ready = program.await_event("ready", limit)
    if ready["failed"]:
        why = ready["error"] or f"HTTP {ready['status']}"
        raise Failure(f"{ready['failed']} connections could not be opened, the last: {why}")
    return ready


def us(after, before, who, messages):
    return (after[who] - before[who]) * 1e6 / messages


# ---- one side of a comparison ----


def deliver(rig, users, each, yardstick, first=0):
    """service -> client: a publisher, and gateway with clients or yardstick."""
    count = ["-n", each]
    if yardstick:
        far = rig.yard(*count, "-U", users, "-N", "live")
        far.await_event("ready", rig.limit)
        pids = [far.pid]
    else:
        far = rig.load(*count, "-c", users, "recv")
        opened(far, rig.limit)
        pids = rig.gate_pids
    pub = rig.yard(*count, "-U", users, "-e", "pub")
    pub.await_event("ready", rig.limit)
    rig.settle()
    before = rig.cpu(pids)
    pub.go()
    done = far.await_event("done", rig.limit)
    end = pub.await_event("done", rig.limit)
    rig.settle()
    after = rig.cpu(pids)
    pub.finish()
    last = far.finish() or done
    total = users * each
    if end["stored"] != total or not end["empty"]:
        raise Failure(f"{end['stored']} of {total} messages were stored, "
                      f"{'all' if end['empty'] else 'not all'} removed")
    if not yardstick and (last["gaps"] or last["bad"] or last["lost"]):
        raise Failure(f"clients: {last['gaps']} messages missing, {last['bad']} garbled, "
                      f"{last['lost']} connections lost")
    return {"rate": total / (done["last"] - end["first"]),
            "settled": total / (end["empty"] - end["first"]),
            "cpu": us(after, before, "own", total), "nats": us(after, before, "nats", total)}


def send(rig, users, each, yardstick, headers=()):
    """client -> service: gateway with clients or yardstick, and a service that listens."""
    count = ["-n", each]
    drain = rig.yard(*count, "-U", users, "drain")
    drain.await_event("ready", rig.limit)
    if yardstick:
        near = rig.yard(*count, "-U", users, *headers, "send")
        near.await_event("ready", rig.limit)
        pids = [near.pid]
    else:
        near = rig.load(*count, "-c", users, "-k", "send")
        opened(near, rig.limit)
        pids = rig.gate_pids
    rig.settle()
    before = rig.cpu(pids)
    started = time.monotonic()
    near.go()
    got = drain.await_event("done", rig.limit)
    rig.settle()
    after = rig.cpu(pids)
    last = near.finish()
    total = users * each
    repeats = drain.finish()["received"] - total
    waiting = rig.yard("waiting").finish()["waiting"]
    rig.purge()
    if not yardstick and last["clean"] != users:
        raise Failure(f"{users - last['clean']} of {users} clients had no clean Close")
    if waiting != total:
        raise Failure(f"{waiting} messages are in the stream, not {total}")
    return {"rate": total / (got["last"] - started), "repeats": repeats,
            "cpu": us(after, before, "own", total), "nats": us(after, before, "nats", total)}


def pair(measure, rig, users, messages):
    each = max(messages // users, 1)
    gate = measure(rig, users, each, False)
    rig.gate_same()
    bare = measure(rig, users, each, True)
    out = {f"gateway_{k}": v for k, v in gate.items()}
    out.update({f"bare_{k}": v for k, v in bare.items()})
    rate = "settled" if "settled" in gate else "rate"
    out["rate_ratio"] = gate[rate] / bare[rate]
    out["cpu_ratio"] = gate["cpu"] / gate["nats"]
    out["all_cpu"] = gate["cpu"] + gate["nats"]
    return out


# ---- rows ----


def publish(rig, users, each):
    """The server's CPU for a publish, with its republish: nobody reads or removes."""
    pub = rig.yard("-n", each, "-U", users, "pub")
    pub.await_event("ready", rig.limit)
    rig.settle()
    before = rig.cpu([])
    pub.go()
    pub.await_event("done", rig.limit)
    rig.settle()
    after = rig.cpu([])
    pub.finish()
    rig.purge()
    return us(after, before, "nats", users * each)


def row_deliver(rig, users, messages):
    return pair(deliver, rig, users, messages)


def row_deliver_100(rig, users, messages):
    """And as it would be on the machine of PUBLISH_US."""
    out = row_deliver(rig, users, messages)
    out["publish_nats"] = publish(rig, users, max(messages // users, 1))
    out["all_scaled"] = out["all_cpu"] * PUBLISH_US / out["publish_nats"]
    return out


def row_send(rig, users, messages):
    out = pair(send, rig, users, messages)
    # without its headers a message is not stored once, and nobody knows whose it is
    like = send(rig, users, max(messages // users, 1), True, ["-H"])
    out |= {f"like_{k}": v for k, v in like.items()}
    out["like_ratio"] = out["gateway_rate"] / like["rate"]
    return out


def latency(rig, users, rate, seconds, yardstick):
    each = max(rate * seconds // users, 1)
    count = ["-n", each, "-U", users]
    if yardstick:
        far = rig.yard(*count, "listen")
        far.await_event("ready", rig.limit)
        pids = [far.pid]
    else:
        far = rig.load("-n", each, "-c", users, "recv")
        opened(far, rig.limit)
        pids = rig.gate_pids
    pub = rig.yard(*count, "-r", rate, "pub")
    pub.await_event("ready", rig.limit)
    rig.settle()
    before = rig.cpu(pids)
    pub.go()
    done = far.await_event("done", rig.limit)
    pub.await_event("done", rig.limit)
    rig.settle()
    after = rig.cpu(pids)
    pub.finish()
    far.finish()
    rig.purge()
    return {"p50": done["late"][0], "p99": done["late"][2],
            "cpu": us(after, before, "own", each * users),
            "nats": us(after, before, "nats", each * users)}


def row_latency(rig, users, rate, seconds):
    gate, bare = (latency(rig, users, rate, seconds, y) for y in (False, True))
    return {"gateway_p50_us": gate["p50"], "gateway_p99_us": gate["p99"],
            "gateway_cpu": gate["cpu"], "gateway_nats": gate["nats"],
            "bare_p50_us": bare["p50"], "bare_p99_us": bare["p99"], "bare_nats": bare["nats"],
            "p50_ratio": gate["p50"] / max(bare["p50"], 1),
            "p99_ratio": gate["p99"] / max(bare["p99"], 1)}


def opened_bare(rig, count, tls):
    """Connections a CPU second of a program that only opens them."""
    door, port = rig.door(tls)
    before = cpu_seconds(family(door.pid))
    load = rig.load(*(["-S"] if tls else []), "-c", count, "idle", port=port)
    opened(load, rig.limit)
    spent = cpu_seconds(family(door.pid)) - before
    load.kill()  # the door answers no Close
    door.finish()
    return count / max(spent, 1e-6)


def row_idle(rig, count, tls=False):
    bare = opened_bare(rig, count, tls)
    rig.settle()
    before, nats_before = pss_bytes(rig.gate_pids), pss_bytes([rig.nats.pid])
    cpu = cpu_seconds(rig.gate_pids)
    load = rig.load("-S", "-c", count, "idle", port=rig.tls_port) if tls else \
        rig.load("-c", count, "idle")
    ready = opened(load, rig.limit)
    rig.settle()  # half a second later it looks for messages once more
    cpu = cpu_seconds(rig.gate_pids) - cpu
    after, nats_after = pss_bytes(rig.gate_pids), pss_bytes([rig.nats.pid])
    last = load.finish()
    per_cpu_second = count / max(cpu, 1e-6)
    if last["unclean"]:
        raise Failure(f"{last['unclean']} idle connections ended badly")
    return {"kib_per_connection": (after - before) / count / 1024,
            "nats_kib_per_connection": (nats_after - nats_before) / count / 1024,
            "opened_per_second": count / max(ready["opened_to"] - ready["opened_from"], 1e-6),
            "opened_per_cpu_second": per_cpu_second, "bare_per_cpu_second": bare,
            "bare_ratio": per_cpu_second / bare}


def signatures():
    """What one processor does alone: P-256 signatures a second, by OpenSSL's own measure."""
    out = subprocess.run(["openssl", "speed", "-seconds", "2", "ecdsap256"], check=True, text=True,
                         capture_output=True).stdout
    return float(out.split("256 bits ecdsa")[1].split()[3])


def row_tls(rig, count):
    out = row_idle(rig, count, True)
    out["signatures"] = signatures()
    out["cpu_ratio"] = out["opened_per_cpu_second"] / out["signatures"]
    return out


def fill(rig, users, each):
    pub = rig.yard("-n", each, "-U", users, "pub")
    pub.await_event("ready", rig.limit)
    pub.go()
    pub.await_event("done", rig.limit)
    pub.finish()


def waiting(rig, users, each, yardstick):
    """Messages of absent users, who all come at once."""
    fill(rig, users, each)
    rig.settle()
    pids = [rig.nats.pid]
    if yardstick:
        far = rig.yard("-n", each, "-U", users, "fetch")
        far.await_event("ready", rig.limit)
        before = rig.cpu([far.pid])
        began = time.monotonic()
        far.go()
        done = far.await_event("done", rig.limit)
        after = rig.cpu([far.pid])
        end = done["removed_at"]
    else:
        pids = rig.gate_pids
        before = rig.cpu(pids)
        began = time.monotonic()
        far = rig.load("-n", each, "-c", users, "recv")
        opened(far, rig.limit)
        done = far.await_event("done", rig.limit)
        while rig.yard("waiting").finish()["waiting"]:
            if time.monotonic() - began > rig.limit:
                raise Failure("what was delivered is not removed")
        end = time.monotonic()
        after = rig.cpu(pids)
        if done["gaps"] or done["bad"] or done["lost"]:
            raise Failure(f"{done['gaps']} messages missing, {done['lost']} connections lost")
    far.finish()
    total = users * each
    return {"seconds": end - began, "delivered_seconds": done["last"] - began,
            "cpu": us(after, before, "own", total), "nats": us(after, before, "nats", total)}


def row_waiting(rig, users, each):
    gate = waiting(rig, users, each, False)
    rig.gate_same()
    bare = waiting(rig, users, each, True)
    out = {f"gateway_{k}": v for k, v in gate.items()}
    out.update({f"bare_{k}": v for k, v in bare.items()})
    out["rate_ratio"] = bare["seconds"] / gate["seconds"]
    out["nats_ratio"] = gate["nats"] / bare["nats"]
    return out


def echo(rig, pids, port, path, count, each, size, window):
    load = rig.load("-n", each, "-c", count, "-w", window, *(["-P", path] if path else []), "echo", port=port,
                    size=size)
    opened(load, rig.limit)
    before = cpu_seconds(pids)
    load.go()
    done = load.await_event("done", rig.limit)
    cpu = cpu_seconds(pids) - before
    load.finish()
    if done["received"] != count * each or done["bad"]:
        raise Failure(f"{done['received']} of {count * each} echoes came back")
    return count * each / cpu, count * each / (done["last"] - done["first"])


def row_echo(rig, count, messages, size, window=1):
    each = max(messages // count, 1)
    ours, our_rate = echo(rig, rig.gate_pids, rig.port, "/echo", count, each, size, window)
    ws = Program(rig, "node", rig.here / "echo.mjs")
    port = ws.await_event("ready", rig.limit)["port"]
    theirs, their_rate = echo(rig, [ws.pid], port, "/", count, max(each // 4, 1), size,
                              window)
    ws.finish()
    return {"gateway_per_cpu_second": ours, "ws_per_cpu_second": theirs, "ratio": ours / theirs,
            "gateway_per_second": our_rate, "ws_per_second": their_rate}


def stuck_client(rig):
    """A client that never reads, of a user of its own."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", rig.port))
    s.sendall(b"GET /ws/stuck/0/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
              b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
              b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    if b" 101 " not in s.recv(64):
        raise Failure("the client that is not to read was not let in")
    return s


def row_stuck(rig, messages, users, rate, seconds):
    free = latency(rig, users, rate, seconds, False)
    rig.settle()
    before = pss_bytes(rig.gate_pids)
    client = stuck_client(rig)
    pub = rig.yard("-s", "stuck", "-n", messages, "-U", 1, "pub")
    pub.await_event("ready", rig.limit)
    pub.go()
    pub.await_event("done", rig.limit)
    pub.finish()
    grown = pss_bytes(rig.gate_pids) - before
    beside = latency(rig, users, rate, seconds, False)  # ends with a purge
    client.close()
    return {"grown_kib": grown / 1024, "p99_us": free["p99"], "p99_beside_us": beside["p99"],
            "p99_ratio": beside["p99"] / max(free["p99"], 1)}


def row_growth(rig, idle, users, messages):
    """The same traffic, alone and beside many who are only connected."""
    each = max(messages // users, 1)
    alone = deliver(rig, users, each, False)
    others = rig.load("-f", 1000000, "-c", idle, "idle")
    opened(others, rig.limit)
    beside = deliver(rig, users, each, False)
    others.finish()
    return {"alone_cpu": alone["cpu"], "beside_cpu": beside["cpu"],
            "cpu_ratio": beside["cpu"] / alone["cpu"], "alone_nats": alone["nats"],
            "beside_nats": beside["nats"]}
