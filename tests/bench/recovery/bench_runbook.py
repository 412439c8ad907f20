"""`run.sh runbook`: a whole recovery by recluster and by runbook.sh, side by side."""

import gzip
import os
import random
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

from dead_cluster import STAMP, DeadCluster
from harness import ccs_file, network, redis_server, resp, slots
from harness.http_server import Nginx
from program import Recovery

SHARD_MIB = int(os.environ.get("BENCH_SHARD_MIB", "100"))
VALUE_BYTES, POOL, BATCH = 200, 1000, 20_000
STAGES = ("prepare", "transfer", "load", "open")
RUNBOOK = Path(__file__).with_name("runbook.sh")


def write_backups(made, folder):
    """Gzipped files of SHARD_MIB each, of strings that compress by half; gives the keys of each."""
    rng = random.Random(made.database.uid)
    values = [b"\x40\xc8" + rng.randbytes(VALUE_BYTES // 2).hex().encode() for _ in range(POOL)]
    primaries = made.database.primaries
    owner = [
        next(k for k, s in enumerate(primaries) if slots.holds(s.ranges, slot))
        for slot in range(slots.COUNT)
    ]
    names = [ccs_file.backup_name(STAMP, made.database, i + 1, s) for i, s in enumerate(primaries)]
    files = [gzip.open(folder / name, "wb", 1) for name in names]
    keys = [0] * len(files)
    count = len(files) * (SHARD_MIB << 20) // (14 + 2 + VALUE_BYTES)
    for f in files:
        f.write(b"REDIS0010\xfe\x00\xfb\x80" + (count // len(files)).to_bytes(4, "big") + b"\x00")
    for start in range(0, count, BATCH):
        parts = [[] for _ in files]
        for i in range(start, start + BATCH):
            key = b"%012d" % i
            parts[owner[slots.of_key(key)]].append(b"\x00\x0c" + key + values[rng.randrange(POOL)])
        for k, part in enumerate(parts):
            keys[k] += len(part)
            files[k].write(b"".join(part))
    for f in files:
        f.write(b"\xff" + bytes(8))
        f.close()
    return names, keys


class World:
    """The demo's dead cluster with more in it: three shards and one, each with a replica, four hosts."""

    def __init__(self, folder):
        self.net = network.Network()
        self.cluster = DeadCluster(folder, self.net)
        size = str((SHARD_MIB << 20) * 40)
        self.made = [
            self.cluster.add("orders", primaries=3, replicas=1, password="one", keys=None, memory_size=size),
            self.cluster.add("sessions", replicas=1, password="two", keys=None, memory_size=size,
                             data_persistence="aof", aof_policy="appendfsync-every-sec"),
        ]
        self.files = [write_backups(made, self.cluster.backups) for made in self.made]
        web = Nginx(folder / "web", self.cluster.backups, self.net.addr(5), 8080).start()
        self.recovery = Recovery(folder, self.net, self.cluster)
        self.recovery.defaults["memory"] = f"{SHARD_MIB * 40}M"
        self.recovery.sources = {f"db:{m.database.uid}": web.url for m in self.made}
        self.recovery.add_hosts(4).write()
        self.url = web.url
        self.keys = sum(sum(keys) for _, keys in self.files)

    def by_recluster(self, top):
        self.recovery.state = top / "recovery.state"
        for host in self.recovery.hosts:
            host["base_dir"] = str(top / host["name"])
        self.recovery.write_hosts()
        start = time.time()
        self.recovery.recover(timeout=900)
        end = time.time()
        with sqlite3.connect(f"file:{self.recovery.state}?mode=ro", uri=True) as db:
            steps = db.execute(
                "SELECT stage, started_ms / 1000.0, ended_ms / 1000.0, kind FROM task"
            ).fetchall()
        if os.environ.get("BENCH_STEPS"):
            for _, first, last, kind in sorted(steps, key=lambda s: s[1]):
                print(f"    {first - start:7.2f} {last - start:7.2f} {kind}")
        # The planning is counted as preparing: the runbook's layout is there already.
        steps = [(STAGES[n - 1], a, b) for n, a, b, _ in steps]
        return start, end, [("prepare", start, start)] + steps

    def by_hand(self, top):
        hosts = [self.net.host(i) for i in (1, 2, 3, 4)]
        lines, port = [], 7000
        for made, (names, _) in zip(self.made, self.files):
            for i, name in enumerate(names):
                at = len(lines)
                owned = "{}-{}".format(*made.database.primaries[i].ranges[0]) if made.sharded else "-"
                aof = "no" if made.sharded else "yes"
                lines.append(
                    f"{made.database.name} {owned} {aof} {made.password} {name} {hosts[at]} {port + at} "
                    f"{hosts[(at + 1) % 4]} {port + 100 + at}\n"
                )
        start = time.time()
        subprocess.run([str(RUNBOOK), str(top), self.url], input="".join(lines).encode(), check=True)
        end = time.time()
        steps = [line.split() for line in (top / "steps").read_text().splitlines()]
        return start, end, [(stage, float(a), float(b)) for stage, _, a, b in steps]

    def check(self, top):
        """All keys are on primaries and on replicas, in step, and clients get in."""
        count = {"master": 0, "slave": 0}
        for conf in top.rglob("redis.conf"):
            text = conf.read_text()
            at = [re.search(rf'^{name} "?([^"\n]+)', text, re.M)[1] for name in ("bind", "port")]
            sharded = "cluster-enabled yes" in text
            with resp.Connection(at[0], int(at[1]), "one" if sharded else "two") as c:
                role = c.info("replication")
                assert role["role"] == "master" or role["master_link_status"] == "up"
                count[role["role"]] += c.call("DBSIZE")
        assert count == {"master": self.keys, "slave": self.keys}, (count, self.keys)


def loading(top):
    """Seconds that each server says it spent loading."""
    seconds = {}
    for log in top.rglob("server.log"):
        text = log.read_text(errors="replace")
        own = [float(s) for s in re.findall(r"DB loaded from disk: ([0-9.]+) seconds", text)]
        stamps = [(m[0], m[1]) for m in re.findall(r" (\d\d:\d\d:\d\d\.\d+) \* (.*)", text)]
        copied = 0.0
        for stamp, words in stamps:
            h, m, s = stamp.split(":")
            at = int(h) * 3600 + int(m) * 60 + float(s)
            if words.startswith("MASTER <-> REPLICA sync: Loading DB"):
                begun = at
            elif words.startswith("MASTER <-> REPLICA sync: Finished"):
                copied += at - begun
        seconds[log.parent] = sum(own) + copied
    return seconds


def idle_seconds():
    """Of all processors together, since the machine's start."""
    user, nice, system, idle, wait = map(int, Path("/proc/stat").read_text().split()[1:6])
    return (idle + wait) / os.sysconf("SC_CLK_TCK")


def told(name, run, idle, top):
    start, end, steps = run
    busiest = max(loading(top).values())
    print(f"  {name:10} {end - start:6.1f} s", end="")
    spans = {}
    for stage in STAGES:
        of = [(a, b) for s, a, b in steps if s == stage]
        spans[stage] = max(b for _, b in of) - min(a for a, _ in of)
        print(f"   {stage} {spans[stage]:5.1f}", end="")
    busy = 1 - idle / (end - start) / os.cpu_count()
    print(f"   busiest server loaded {busiest:.1f} s, {busiest / (end - start):.0%}; processors {busy:.0%} busy",
          flush=True)
    return end - start, spans


def main():
    with tempfile.TemporaryDirectory(prefix="recluster-bench-") as folder:
        world = World(Path(folder))
        print(f"whole recovery, 4 shards of {SHARD_MIB} MiB ({world.keys:,} keys), each with a replica; seconds"
              " from the first start of a stage to its last end (stages overlap):")
        try:
            results = []
            for name, run in (("recluster", world.by_recluster), ("by hand", world.by_hand)):
                top = Path(folder) / name.replace(" ", "-")
                top.mkdir()
                before = idle_seconds()
                done = run(top)
                idle = idle_seconds() - before
                world.check(top)
                results.append(told(name, done, idle, top))
                redis_server.kill_all_below(top)
                shutil.rmtree(top)
            (ours, our_spans), (theirs, their_spans) = results
            ratios = "   ".join(f"{s} {their_spans[s] / our_spans[s]:.1f}" for s in STAGES)
            print(f"  {theirs / ours:.1f} times as fast   {ratios}", flush=True)
        finally:
            redis_server.kill_all_below(folder)
            world.net.close()
