#!/usr/bin/env python3
"""Many users on many gateways, on paper: what the broker and the gateways have to do, from what each operation costs.

    make model      or      test/bench/model.py [--users 1000000] [--gateways 20] [--brokers 3] [--replicas 3] …

The costs are those of costs.json, each with its source; nothing else is known here. A processor is one of the machine that
they were measured on. What no measurement says is printed as such. wsgate(7), CAPACITY, is written from this.
"""
import argparse
import heapq
import json
import os
import random


class Costs:
    def __init__(self, path):
        with open(path) as f:
            self.rows = json.load(f)["costs"]
        self.used = set()

    def __call__(self, name):
        self.used.add(name)
        return self.rows[name]["value"]


def line(what, value, note=""):
    print(f"  {what:<66} {value:>14}" + (f"   {note}" if note else ""))


def cores(us_a_second):
    return f"{us_a_second / 1e6:,.2f} cpu"


def size(n):
    return f"{n / 2 ** 30:,.2f} GiB" if n >= 2 ** 30 else f"{n / 2 ** 20:,.0f} MiB"


def sessions(c, a):
    print(f"\n{a.users:,} users on {a.gateways} gateways, {a.brokers} brokers in a cluster, nobody says anything")
    each = a.users / a.gateways
    line("connections of each gateway", f"{each:,.0f}")
    line("memory of each gateway", size(each * c("gateway_connection_bytes")))
    own = a.users / a.brokers
    line("subscriptions of each broker: of its own gateways", f"{own:,.0f}")
    line("  and, by routes, of the others'", f"{a.users - own:,.0f}", "every server knows every user of the cluster")
    line("memory for them in each broker", size(own * c("subscription_own_bytes") + (a.users - own) * c("subscription_routed_bytes")))
    beats = a.gateways * (a.gateways - 1)
    line("beats, delivered", f"{beats:,.0f} /s", "one a second from each gateway to each other one")


def traffic(c, a):
    print("\nTraffic: what ends first is the one leader of a stream, which stores, copies and removes each message")
    r = f"R{a.replicas}"
    out_us, in_us = c("deliver_broker_us"), c("send_broker_us")
    factor = (c(f"publish_heard_{r}_leader_us") + c(f"delete_{r}_leader_us")) / (c("publish_heard_R1_leader_us") + c("delete_R1_leader_us"))
    factor = max(1, factor)  # less is the measurement's noise
    publish = c(f"publish_{r}_leader_us") / c("publish_R1_leader_us")
    follow = c(f"publish_heard_{r}_other_us") + c(f"delete_{r}_other_us")
    most = c("stream_delivered_per_second") / factor
    line(f"leader's CPU a message to a client, {r}", f"{out_us * factor:,.0f} us", f"{out_us:.0f} us measured with one server, times {factor:.2f}")
    line("  each other server's", f"{follow:,.0f} us", "replica, or the way to a gateway there")
    line(f"leader's CPU a message from a client, {r}", f"{in_us * publish:,.0f} us", f"{in_us:.0f} us, times {publish:.2f}")
    line("messages a second that one stream delivered and removed, R1", f"{c('stream_delivered_per_second'):,.0f}")
    line(f"  {r}: by the ratio of its CPU, not measured", f"{most:,.0f}")
    print(f"\n  {'messages to each user':<24} {'to clients':>12} {'from clients':>13} {'leaders of streams':>20} {'streams at half':>16} {'gateways':>12}")
    print(f"  {'and from each, an hour':<24} {'a second':>12} {'a second':>13} {'cpu together':>20} {'of their most':>16} {'cpu together':>12}")
    for hourly in a.rates:
        rate = a.users * hourly / 3600
        broker = rate * (out_us * factor + in_us * publish)
        # A message in costs the leader a share of what one out does.
        load = rate * (1 + in_us * publish / (out_us * factor)) / (most / 2)
        gateway = rate * (c("deliver_gateway_us") + c("send_gateway_us"))
        print(f"  {hourly:<24} {rate:>12,.0f} {rate:>13,.0f} {broker / 1e6:>20,.2f} {max(1, -(-load // 1)):>16,.0f} {gateway / 1e6:>12,.2f}")
    window = a.users * a.rates[-1] / 3600 * a.duplicates
    line(f"identifiers remembered at the last rate, {a.duplicates} s", size(window * c("duplicate_bytes")), "in the leader and each replica")


def storms(c, a):
    print("\nStorms")
    r, rest = f"R{a.replicas}", a.gateways - 1
    each = a.users / a.gateways
    print(f" one gateway dies: {each:,.0f} users come to {rest} others")
    line("at each of them", f"{each / rest:,.0f} users", f"{each / rest * c('open_gateway_us') / 1e6:,.2f} s of cpu")
    subs = each * (c("subscription_own_us") + (a.brokers - 1) * c("subscription_routed_us"))
    gets = each * c("gets_of_an_opening") * (c(f"get_{r}_leader_us"))
    line("in all brokers together: subscriptions and first looks", f"{(subs + gets) / 1e6:,.1f} s of cpu")
    print(f" one broker of {a.brokers} dies: its gateways connect to another one, every leader may change, every user is looked at again")
    moved = a.users / a.brokers
    line("subscriptions said again", f"{moved:,.0f}", f"{moved * (c('subscription_own_us') + (a.brokers - 2) * c('subscription_routed_us')) / 1e6:,.1f} s of cpu")
    gets = a.users * c(f"get_{r}_leader_us") / 1e6
    line("gets: a look at each user", f"{a.users:,.0f}", f"{gets:,.1f} s of cpu, of the leaders")
    line("a leader is missed for", f"{c('election_seconds'):.0f} s", "nothing is stored or delivered meanwhile")
    print(" all users come back at once, a message waits for each")
    line("the stream's leader, all in one stream", f"{a.users * c('waiting_broker_us') / 1e6:,.0f} s of cpu", f"about 1/n in n streams with n leaders; {r}: more, not measured")
    line("each gateway", f"{each * (c('waiting_gateway_us') + c('open_gateway_us')) / 1e6:,.1f} s of cpu")
    print(" the same with 10 waiting for each, interleaved")
    line("the stream's leader, all in one stream", f"{a.users * 10 * c('interleaved_broker_us') / 1e6:,.0f} s of cpu")


def evens(c, a):
    """A gateway returns empty; the balancer gives to the least loaded. Connections end between 80 and 100 % of the age."""
    print(f"\nOne of {a.gateways} gateways comes back empty; limits.connection_age = {a.age / 3600:g} h, a balancer that gives to the one with the fewest")
    rng, scale = random.Random(1), max(1, a.users // 200000)
    users = a.users // scale
    count = [users // (a.gateways - 1)] * (a.gateways - 1) + [0]
    due = []
    for g in range(a.gateways - 1):
        for _ in range(count[g]):
            life = a.age * rng.uniform(0.8, 1)
            due.append((rng.uniform(0, life), g))  # their ages are as they come
    heapq.heapify(due)
    fair, even, opened, most = users / a.gateways, None, [0] * a.gateways, 0
    bucket, k = {}, 0
    while due and due[0][0] < a.age:
        at, g = heapq.heappop(due)
        count[g] -= 1
        to = min(range(a.gateways), key=count.__getitem__)
        count[to] += 1
        heapq.heappush(due, (at + a.age * rng.uniform(0.8, 1), to))
        k = int(at / 10)
        bucket[k, to] = bucket.get((k, to), 0) + 1
        if even is None and count[-1] >= 0.95 * fair:
            even = at
    most = max(bucket.values()) * scale / 10
    line("connections that end by their age, and come again, all gateways", f"{a.users / (a.age * 0.9):,.0f} /s", "as on every day: the return adds none")
    line("the one that is back has 95 % of its share after", f"{even / 60:,.0f} min")
    line("most connections a second that it gets, of 10 seconds", f"{most:,.0f} /s", f"{most * c('open_gateway_us') / 1e6 * 100:.1f} % of a cpu")
    line("without an age: until users leave by themselves", "not known")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--users", type=int, default=1000000)
    p.add_argument("--gateways", type=int, default=20)
    p.add_argument("--brokers", type=int, default=3)
    p.add_argument("--replicas", type=int, choices=[1, 3], default=3)
    p.add_argument("--rates", type=float, nargs="+", default=[1, 6, 12, 60], help="messages to and from each user, an hour")
    p.add_argument("--duplicates", type=int, default=60, help="stream.duplicate_window, seconds")
    p.add_argument("--age", type=float, default=4 * 3600, help="limits.connection_age, seconds")
    p.add_argument("--costs", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "costs.json"))
    a = p.parse_args()
    if a.users < 1 or a.gateways < 2 or a.brokers < 3:
        p.error("a user, two gateways and three brokers are the least")
    c = Costs(a.costs)
    sessions(c, a)
    traffic(c, a)
    storms(c, a)
    evens(c, a)
    print("\nCosts, and where they are from:")
    for name in sorted(c.used):
        print(f"  {name:<32} {c.rows[name]['value']:>9,}  {c.rows[name]['from']}")


main()
