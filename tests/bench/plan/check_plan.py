#!/usr/bin/env python3
"""Holds plans against the hard rules, knowing nothing of how they are made.

    tests/bench/plan/check_plan.py PROGRAM [--cases 500] [--first 0]

Each case is a random cluster and random hosts; what `plan --offline` makes of them is read from its
JSON, and each rule is counted anew from the CCS file and hosts.json. Small cases come often, some
have dozens of hosts.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

MIB = 1 << 20
SERVER = 32 * MIB  # a process and its replication backlog
SLOTS = 16384
LEVELS = ("rack", "second_rack")


# --- random clusters ---


def random_host(rng, i, racks, seconds, average):
    host = {"name": f"h{i}", "addr": f"10.{i >> 8}.{i & 255}.1", "cores": rng.choice((1, 4, 16)),
            "memory": int(average * rng.choice((0.5, 1, 1, 1, 1.5)))}
    if racks and rng.random() < 0.95:
        host["rack"] = rng.choice(racks)
    if seconds:
        host["second_rack"] = rng.choice(seconds)
    if rng.random() < 0.15:
        host["max_redis_servers"] = rng.randint(1, 12)
    if rng.random() < 0.2:
        host["disk"] = int(average * rng.uniform(2, 6))
    if rng.random() < 0.5:
        host["replaces"] = i
    return host


def random_database(rng, uid, nodes):
    primaries = rng.choice((1, 1, 2, 3, 3, 5, 8))
    return {
        "uid": uid, "primaries": primaries, "replicas": rng.choice((0, 1, 1, 1, 2)),
        "bytes": rng.randint(20, 600) * MIB, "rack_aware": rng.random() < 0.5,
        "aof": rng.random() < 0.3, "sparse": rng.random() < 0.3,
        "avoid": rng.sample(range(1, nodes + 1), 1) if rng.random() < 0.15 else [],
        "use": rng.sample(range(1, nodes + 1), rng.randint(1, nodes)) if rng.random() < 0.15 else [],
    }


def random_case(seed):
    """(CCS as ccs-redis.json, hosts.json)"""
    rng = random.Random(seed)
    count = rng.choice((2, 3, 4, 6, 10, rng.randint(11, 60)))
    databases = [random_database(rng, uid, count) for uid in range(1, rng.randint(1, 2 + count // 3) + 1)]
    total = sum((d["bytes"] * 1.1 + SERVER) * d["primaries"] * (1 + d["replicas"]) for d in databases)
    average = total / count / rng.uniform(0.3, 1.0)
    racks = rng.choice(([], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d", "e"]))
    seconds = rng.choice(([], [], ["x", "y"]))
    hosts = [random_host(rng, i, racks, seconds, average) for i in range(1, count + 1)]
    return write_ccs(rng, databases, count), {"hosts": hosts}


def write_ccs(rng, databases, nodes):
    keys = {"cluster": {"name": "random"}, "node:all": [str(n) for n in range(1, nodes + 1)],
            "bdb:all": [str(d["uid"]) for d in databases]}
    for n in range(1, nodes + 1):
        keys[f"node:{n}"] = {"addr": f"10.99.{n >> 8}.{n & 255}", "status": "active"}
    shard = 0
    for d in databases:
        edges = [SLOTS * i // d["primaries"] for i in range(d["primaries"] + 1)]
        for copy in range(1 + d["replicas"]):
            for a, b in zip(edges, edges[1:]):
                shard += 1
                keys[f"redis:{shard}"] = {
                    "bdb_uid": str(d["uid"]), "node_uid": str(rng.randint(1, nodes)),
                    "role": "slave" if copy else "master", "assigned_slots": f"{a}-{b - 1}",
                    "port": str(20000 + shard)}
        keys[f"bdb:{d['uid']}"] = {
            "name": f"db{d['uid']}", "type": "redis", "status": "active", "port": str(12000 + d["uid"] % 5),
            "shards_count": str(d["primaries"]), "sharding": on(d["primaries"] > 1),
            "replication": on(d["replicas"]), "rack_aware": on(d["rack_aware"]),
            "memory_size": str(d["bytes"] * d["primaries"] * (1 + d["replicas"])),
            "data_persistence": "aof" if d["aof"] else "disabled",
            "shards_placement": "sparse" if d["sparse"] else "dense",
            "avoid_nodes": ",".join(map(str, d["avoid"])), "use_nodes": ",".join(map(str, d["use"]))}
    return keys


def on(value):
    return "enabled" if value else "disabled"


# --- the rules ---


class Facts:
    """What the CCS file and hosts.json say, without the program."""

    def __init__(self, ccs, hosts):
        self.hosts = {h["name"]: h for h in hosts["hosts"]}
        self.databases = {k.partition(":")[2]: v for k, v in ccs.items()
                          if k.startswith("bdb:") and k != "bdb:all"}
        self.shards = {k.partition(":")[2]: v for k, v in ccs.items() if k.startswith("redis:")}
        self.racks = {level: {h[level] for h in hosts["hosts"] if level in h} for level in LEVELS}

    def data_bytes(self, shard):
        """Its share of the database's memory, which its replicas count in."""
        of = [s for s in self.shards.values() if s["bdb_uid"] == shard["bdb_uid"]]
        return int(self.databases[shard["bdb_uid"]]["memory_size"]) // len(of)

    def need(self, shard):
        db, data = self.databases[shard["bdb_uid"]], self.data_bytes(shard)
        forks = db["data_persistence"] != "disabled" or db["replication"] == "enabled"
        return data + (data // 10 if forks else 0) + SERVER

    def disk(self, shard):
        kept = self.databases[shard["bdb_uid"]]["data_persistence"] != "disabled"
        return self.data_bytes(shard) * (3 if kept else 2)

    def numbers(self, uid, field):
        return {int(n) for n in self.databases[uid][field].split(",") if n}


def broken_rules(ccs, hosts, document):
    """What the plan's placement breaks, a text each."""
    facts, broken = Facts(ccs, hosts), []
    on_host = {name: [] for name in facts.hosts}
    for database in document["databases"]:
        if database["skipped"]:
            continue
        shards = {s["uid"]: s for s in database["shards"]}
        known = {uid for uid, s in facts.shards.items() if s["bdb_uid"] == database["uid"]}
        if set(shards) != known:
            broken.append(f"db:{database['uid']}: shards {sorted(set(shards) ^ known)} are lost or new")
        for s in shards.values():
            if s["host"] not in on_host:
                broken.append(f"shard:{s['uid']} has no host")
            else:
                on_host[s["host"]].append(s)
        if all(s["host"] in on_host for s in shards.values()):
            broken += database_rules(facts, database["uid"], shards)
    for name, shards in on_host.items():
        broken += host_rules(facts, facts.hosts[name], shards)
    listening = Counter((s["addr"], port) for shards in on_host.values() for s in shards
                        for port in (s["port"], s["bus_port"]) if port)
    broken += [f"{addr}:{port} is given {n} times" for (addr, port), n in listening.items() if n > 1]
    return broken


def database_rules(facts, uid, shards):
    primaries = [s for s in shards.values() if s["role"] == "primary"]
    covered = Counter(slot for s in primaries for a, b in s["slots"] for slot in range(a, b + 1))
    if set(covered.values()) != {1} or len(covered) != SLOTS:
        yield f"db:{uid}: its primaries have {len(covered)} slots, some {max(covered.values())} times"
    for s in shards.values():
        if s["role"] == "replica":
            yield from replica_rules(facts, uid, s, shards)
    if len(primaries) > 1 and len(facts.racks["rack"]) > 2:
        in_rack = Counter(facts.hosts[s["host"]].get("rack") for s in primaries)
        for rack, n in in_rack.items():
            if rack is not None and n > len(primaries) // 2:
                yield f"db:{uid}: {n} of {len(primaries)} primaries are in rack {rack}"
    node_of = {s["host"]: facts.hosts[s["host"]].get("replaces") for s in shards.values()}
    avoid, use = facts.numbers(uid, "avoid_nodes"), facts.numbers(uid, "use_nodes")
    offered = {h.get("replaces") for h in facts.hosts.values()} & use
    for host, node in node_of.items():
        if node in avoid or (offered and node not in use):
            yield f"db:{uid}: {host} stands for node {node}, which is not to be used"


def replica_rules(facts, uid, replica, shards):
    group = [s for s in shards.values() if replica["primary"] in (s["uid"], s["primary"])]
    if facts.shards[replica["primary"]]["assigned_slots"] != facts.shards[replica["uid"]]["assigned_slots"]:
        yield f"shard:{replica['uid']}: its primary has other slots"
    if sum(s["host"] == replica["host"] for s in group) > 1:
        yield f"shard:{replica['uid']}: on {replica['host']} with another copy"
    if facts.databases[uid]["rack_aware"] != "enabled":
        return
    for level in LEVELS:
        here, there = (facts.hosts[s["host"]].get(level) for s in (replica, shards[replica["primary"]]))
        if len(facts.racks[level]) > 1 and (here is None or here == there):
            yield f"shard:{replica['uid']}: in the {level} of its primary, {here}"


def host_rules(facts, host, shards):
    name = host["name"]
    memory = sum(facts.need(facts.shards[s["uid"]]) for s in shards)
    disk = sum(facts.disk(facts.shards[s["uid"]]) for s in shards)
    if memory > host["memory"]:
        yield f"{name}: {memory} bytes of memory planned, {host['memory']} are there"
    if disk > host.get("disk", disk):
        yield f"{name}: {disk} bytes of disk planned, {host['disk']} are there"
    if len(shards) > host.get("max_redis_servers", len(shards)):
        yield f"{name}: {len(shards)} servers, {host['max_redis_servers']} may be"
    if any(s["addr"] != host["addr"] for s in shards):
        yield f"{name}: a shard has another address"


# --- one case ---


def plan(program, seed):
    """(ccs, hosts, the plan's document)"""
    ccs, hosts = random_case(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ccs.json").write_text(json.dumps(ccs))
        (folder / "hosts.json").write_text(json.dumps(hosts))
        done = subprocess.run(
            [str(program), "plan", str(folder / "ccs.json"), "--hosts", str(folder / "hosts.json"),
             "--offline", "--json"], stdout=subprocess.PIPE, check=False)
    assert done.returncode in (0, 4), f"seed {seed}: exit status {done.returncode}"
    document = json.loads(done.stdout)
    assert document["feasible"] == (done.returncode == 0), f"seed {seed}"
    return ccs, hosts, document


def check(program, seed):
    """(whether it is feasible, what is broken)"""
    ccs, hosts, document = plan(program, seed)
    if not document["feasible"]:
        assert document["blockers"], f"seed {seed}: refused without a reason"
        return False, []
    return True, [f"seed {seed}: {text}" for text in broken_rules(ccs, hosts, document)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("program")
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    results = [check(args.program, seed) for seed in range(args.first, args.first + args.cases)]
    broken = [text for _, texts in results for text in texts]
    print(f"{len(results)} cases, {sum(f for f, _ in results)} feasible; {len(broken)} rules broken")
    for text in broken:
        print(text)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
