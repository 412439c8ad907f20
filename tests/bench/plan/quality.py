#!/usr/bin/env python3
"""Holds the planner against an exact solver (glpsol of glpk-utils) on small random clusters.

    tests/bench/plan/quality.py PROGRAM [--cases 200] [--first 0]

Each case is planned --offline and also written as a mixed integer programme: is there a placement
that obeys every rule, and how full is the fullest host at best? The planner must find one exactly
where there is one, and be within 5 % of the best. Shards are small, so that time, which the planner
looks at first, makes no difference.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
OVERHEAD = 32 * MIB
WITHIN = 1.05
GAP = 0.01  # of the solver: proving the last percent can take minutes
LIMIT_S = 10


@dataclass
class Database:
    uid: int
    primaries: int
    replicas: int
    shard_bytes: int
    rack_aware: bool
    persistent: bool
    avoid: list = field(default_factory=list)
    use: list = field(default_factory=list)

    @property
    def need(self):
        """Of one shard: its data, a tenth for copy-on-write where it forks, process and backlog."""
        forks = self.persistent or self.replicas > 0
        return self.shard_bytes + (self.shard_bytes // 10 if forks else 0) + OVERHEAD


class Case:
    """Databases and hosts; every shard has a number in the order of their databases."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.databases = []
        left = 12
        for uid in range(1, rng.randint(1, 3) + 1):
            replicas = rng.choice((0, 0, 1, 1, 2))
            primaries = rng.randint(1, 4)
            if primaries * (1 + replicas) > left:
                continue
            left -= primaries * (1 + replicas)
            self.databases.append(Database(
                uid, primaries, replicas, rng.randint(50, 400) * MIB, rng.random() < 0.5,
                rng.random() < 0.3,
            ))
        if not self.databases:
            self.databases.append(Database(1, 2, 1, 300 * MIB, False, False))
        racks = rng.choice(([None], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", None]))
        count = rng.randint(2, 5)
        second = rng.random() < 0.2
        total = sum(d.need * d.primaries * (1 + d.replicas) for d in self.databases)
        fill = rng.uniform(0.3, 1.0)
        self.hosts = [{
            "name": f"h{i}", "addr": f"10.0.0.{i}", "cores": 64,
            "memory": int(total / count / fill * rng.choice((1, 1, 1, 0.6, 1.5))),
            **({"rack": r} if (r := rng.choice(racks)) else {}),
            **({"second_rack": rng.choice("xy")} if second else {}),
            **({"max_redis_servers": rng.randint(2, 5)} if rng.random() < 0.2 else {}),
            **({"replaces": i} if rng.random() < 0.5 else {}),
        } for i in range(1, count + 1)]
        for d in self.databases:
            if rng.random() < 0.15:
                d.avoid = [rng.randint(1, count)]
            if rng.random() < 0.15:
                d.use = rng.sample(range(1, count + 1), rng.randint(1, count))

    def ccs(self):
        """As a support package's ccs-redis.json. No shard was on a node that a host replaces."""
        keys = {"cluster": {"name": "q"}, "bdb:all": [str(d.uid) for d in self.databases]}
        keys["node:all"] = [str(i + 1) for i in range(len(self.hosts))]
        for i in range(len(self.hosts)):
            keys[f"node:{i + 1}"] = {"addr": f"10.9.0.{i + 1}", "status": "active"}
        shard = 0
        for d in self.databases:
            edges = [16384 * i // d.primaries for i in range(d.primaries + 1)]
            for copy in range(1 + d.replicas):
                for a, b in zip(edges, edges[1:]):
                    shard += 1
                    keys[f"redis:{shard}"] = {
                        "bdb_uid": str(d.uid), "node_uid": "99", "port": str(20000 + shard),
                        "role": "slave" if copy else "master", "assigned_slots": f"{a}-{b - 1}",
                    }
            keys[f"bdb:{d.uid}"] = {
                "name": f"db{d.uid}", "type": "redis", "status": "active",
                "shards_count": str(d.primaries), "port": str(12000 + d.uid),
                "sharding": "enabled" if d.primaries > 1 else "disabled",
                "replication": "enabled" if d.replicas else "disabled",
                "memory_size": str(d.shard_bytes * d.primaries * (1 + d.replicas)),
                "rack_aware": "enabled" if d.rack_aware else "disabled",
                "data_persistence": "aof" if d.persistent else "disabled",
                "avoid_nodes": ",".join(map(str, d.avoid)),
                "use_nodes": ",".join(map(str, d.use)),
            }
        return keys

    def groups(self):
        """(database, [shard of a primary and of its replicas]) for each primary."""
        first = 0
        for d in self.databases:
            for p in range(d.primaries):
                yield d, [first + p + c * d.primaries for c in range(1 + d.replicas)]
            first += d.primaries * (1 + d.replicas)

    def racks(self, level):
        return sorted({h[level] for h in self.hosts if level in h})

    def allowed(self, d, host):
        node = host.get("replaces")
        usable = [h["replaces"] for h in self.hosts if h.get("replaces") in d.use]
        if node in d.avoid or (usable and node not in d.use):
            return False
        if d.rack_aware and d.replicas:
            return all(level in host or len(self.racks(level)) < 2 for level in ("rack", "second_rack"))
        return True

    def programme(self):
        """In the LP format of CPLEX, which glpsol reads."""
        rows, shards = [], []
        for d, group in self.groups():
            shards += [(s, d) for s in group]
            for h, host in enumerate(self.hosts):
                if len(group) > 1:
                    rows.append(" + ".join(f"x{s}_{h}" for s in group) + " <= 1")
                if not self.allowed(d, host):
                    rows += [f"x{s}_{h} = 0" for s in group]
            for level in ("rack", "second_rack"):
                for rack in self.racks(level) if d.rack_aware and len(self.racks(level)) > 1 else []:
                    inside = [h for h, host in enumerate(self.hosts) if host.get(level) == rack]
                    for replica in group[1:]:
                        rows.append(" + ".join(
                            f"x{s}_{h}" for s in (group[0], replica) for h in inside) + " <= 1")
        for d in self.databases if len(self.racks("rack")) > 2 else []:
            firsts = [group[0] for other, group in self.groups() if other is d]
            for rack in self.racks("rack") if len(firsts) > 1 else []:
                inside = [h for h, host in enumerate(self.hosts) if host.get("rack") == rack]
                rows.append(" + ".join(f"x{s}_{h}" for s in firsts for h in inside)
                            + f" <= {len(firsts) // 2}")
        for s, _ in shards:
            rows.append(" + ".join(f"x{s}_{h}" for h in range(len(self.hosts))) + " = 1")
        for h, host in enumerate(self.hosts):
            rows.append(" + ".join(f"{d.need / MIB} x{s}_{h}" for s, d in shards)
                        + f" - {host['memory'] / MIB} t <= 0")
            if "max_redis_servers" in host:
                rows.append(" + ".join(f"x{s}_{h}" for s, _ in shards)
                            + f" <= {host['max_redis_servers']}")
        binary = " ".join(f"x{s}_{h}" for s, _ in shards for h in range(len(self.hosts)))
        body = "\n".join(f" r{i}: {row}" for i, row in enumerate(rows))
        return f"Minimize\n o: t\nSubject To\n{body}\nBounds\n 0 <= t <= 1\nBinary\n {binary}\nEnd\n"


def solve(case, folder):
    """(the least fill of the fullest host or None, whether that is proven); None: no placement."""
    model, solution = folder / "case.lp", folder / "case.sol"
    model.write_text(case.programme())
    done = subprocess.run(
        ["glpsol", "--lp", str(model), "--tmlim", str(LIMIT_S), "--cuts", "--mipgap", str(GAP),
         "-o", str(solution)], stdout=subprocess.PIPE, check=True, text=True,
    )
    found = re.search(r"Objective:\s+o = ([-\d.e+]+)", solution.read_text())
    status = re.search(r"Status:\s+(.*)", solution.read_text()).group(1)
    best = None if "UNDEFINED" in status or "EMPTY" in status else float(found.group(1))
    return best, "TIME LIMIT" not in done.stdout


def plan(program, case, folder):
    """The same of the planner's."""
    (folder / "ccs.json").write_text(json.dumps(case.ccs()))
    (folder / "hosts.json").write_text(json.dumps({"hosts": case.hosts}))
    done = subprocess.run(
        [str(program), "plan", str(folder / "ccs.json"), "--hosts", str(folder / "hosts.json"),
         "--offline", "--json"], stdout=subprocess.PIPE, check=False,
    )
    assert done.returncode in (0, 4), done.returncode
    document = json.loads(done.stdout)
    assert document["feasible"] == (done.returncode == 0)
    if not document["feasible"]:
        return None
    return max(h["planned_memory"] / h["memory"] for h in document["hosts"])


def compare(program, seed):
    """(the best, the planner's, what is wrong or None) of one case.

    What the solver finds in its time is held against the planner even if it isn't proven best.
    """
    with tempfile.TemporaryDirectory() as folder:
        case = Case(seed)
        (best, proven), got = solve(case, Path(folder)), plan(program, case, Path(folder))
    if (best is None and got is not None and proven) or (best is not None and got is None):
        return best, got, f"seed {seed}: the solver says {best}, the planner {got}"
    if best is not None and got > best * (WITHIN - GAP):
        return best, got, f"seed {seed}: {got:.4f} full, {best:.4f} is possible"
    if best is not None and proven and got < best * (1 - GAP) - 1e-3:
        return best, got, f"seed {seed}: {got:.4f} full breaks a rule: {best:.4f} is the least"
    return best, got, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("program")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    feasible, wrong, worst = 0, [], 1.0
    for seed in range(args.first, args.first + args.cases):
        best, got, error = compare(args.program, seed)
        feasible += best is not None
        if best and got:
            worst = max(worst, got / best)
        if error:
            wrong.append(error)
    print(f"{args.cases} cases, {feasible} feasible; the fullest host at worst {worst:.3f} of the "
          f"optimum; {len(wrong)} wrong")
    for error in wrong:
        print(error)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
