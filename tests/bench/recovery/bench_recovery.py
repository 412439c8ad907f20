"""See run.sh."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "fixtures"), str(ROOT / "tests" / "system")]

import bench_runbook  # noqa: E402
from dead_cluster import STAMP, DeadCluster  # noqa: E402
from harness import ccs_file, network, redis_server, slots  # noqa: E402
from program import Recovery  # noqa: E402

MIB = int(os.environ.get("BENCH_MIB", "1024"))
BATCH = 20_000


def length(n):
    """A length as RDB files have it."""
    return bytes([n]) if n < 64 else (0x4000 | n).to_bytes(2, "big")


def write_rdb(path, value_bytes):
    """MIB of strings that don't compress; gives the number of keys."""
    value = os.urandom(value_bytes)
    end = length(value_bytes) + value
    keys = (MIB << 20) // (1 + 13 + len(end))
    with open(path, "wb") as f:
        f.write(b"REDIS0010\xfe\x00")
        for start in range(0, keys, BATCH):
            f.write(b"".join(
                b"\x00\x0c%012d" % i + end for i in range(start, min(start + BATCH, keys))
            ))
        f.write(b"\xff" + bytes(8))
    return keys


class World:
    """A dead database with one primary and one replica, and two hosts for them."""

    def __init__(self, folder, value_bytes):
        self.net = network.Network()
        self.cluster = DeadCluster(folder, self.net)
        self.made = self.cluster.add(
            "bench", replicas=1, password="one", keys=None, memory_size=str(MIB << 23)
        )
        name = ccs_file.backup_name(STAMP, self.made.database, 1, self.made.database.shards[0])
        self.keys = write_rdb(self.cluster.backups / name, value_bytes)
        self.recovery = Recovery(folder, self.net, self.cluster)
        self.recovery.add_hosts(2).defaults["memory"] = f"{MIB * 12}M"
        self.recovery.write()
        self.runs = 0

    def run(self, *options):
        """Seconds of the whole recovery, of its fetches, and from the first start of a server until
        primary and replica were ready."""
        self.runs += 1
        top = self.recovery.folder / f"run-{self.runs}"
        top.mkdir()
        self.recovery.state = top / "recovery.state"
        for host in self.recovery.hosts:
            host["base_dir"] = str(top / host["name"])
        self.recovery.write_hosts()
        start = time.monotonic()
        self.recovery.recover(*options, timeout=600)
        whole = time.monotonic() - start
        with sqlite3.connect(f"file:{self.recovery.state}?mode=ro", uri=True) as db:
            def span(first, last):
                return db.execute(
                    "SELECT (SELECT max(ended_ms) FROM task WHERE kind = ?) - min(started_ms)"
                    " FROM task WHERE kind = ?", (last, first),
                ).fetchone()[0] / 1000
            times = whole, span("fetch", "fetch"), span("load_shard", "attach_replica")
            (keys,) = set(db.execute("SELECT keys FROM placement"))
        assert keys == (self.keys,), (keys, self.keys)
        self.recovery.end()
        subprocess.run(["rm", "-rf", str(top)], check=True)
        return times

    def close(self):
        self.net.close()


def with_world(value_bytes, measure):
    with tempfile.TemporaryDirectory(prefix="recluster-bench-") as folder:
        world = World(Path(folder), value_bytes)
        try:
            measure(world)
        finally:
            redis_server.kill_all_below(folder)
            world.close()


def name_of(value_bytes):
    return f"{MIB} MiB, values of {value_bytes} bytes"


def replicas(value_bytes, target):
    def measure(world):
        ours, theirs = world.run(), world.run("--full-sync")
        for name, (whole, fetch, ready) in (("same file on both", ours), ("full sync", theirs)):
            print(f"  {name:18} ready after {ready:5.1f} s (fetched in {fetch:.1f} s,"
                  f" whole recovery {whole:.1f} s)")
        told(theirs[2] / ours[2], target)

    print(f"primary and replica ready, {name_of(value_bytes)}:")
    with_world(value_bytes, measure)


def fast_load(value_bytes):
    def measure(world):
        # Alone: what a load takes must not depend on another one beside it.
        usual, fast = (world.run("--full-sync", "--until", "load", *more) for more in ((), ("--fast-load",)))
        print(f"  usual {usual[0]:.1f} s, --fast-load {fast[0]:.1f} s, fetch {usual[1]:.1f} s of it")
        told((usual[0] - usual[1]) / (fast[0] - fast[1]), 0)

    print(f"one load, {name_of(value_bytes)}:")
    with_world(value_bytes, measure)


def told(ratio, target):
    print(f"  {ratio:.1f} times as fast" + (f" (target {target})" if target else ""), flush=True)


def nodes(folder, net, count):
    return [
        redis_server.Server(
            folder / f"n{i}", net.addr(100), 21000 + i, cluster_enabled="yes",
            cluster_node_timeout=15000, repl_diskless_sync_delay=0,
        ) for i in range(count)
    ]


def until_ready(servers):
    """All nodes ok, all replicas with their link up."""
    for server in servers:
        with server.connect() as c:
            def ready(c=c):
                replication = c.info("replication")
                return b"cluster_state:ok" in c.call("CLUSTER", "INFO") and (
                    replication["role"] == "master" or replication["master_link_status"] == "up"
                )
            redis_server.wait_until(ready, "the cluster", 60)
    roles = []
    for server in servers:
        with server.connect() as c:
            roles.append(c.info("replication")["role"])
    assert roles.count("master") == roles.count("slave") == len(servers) // 2, roles


def written(servers, primaries):
    ranges = slots.split(primaries)
    redis_server.write_cluster([
        (s, [ranges[i]] if i < primaries else [], None if i < primaries else i - primaries)
        for i, s in enumerate(servers)
    ])
    for server in servers:
        redis_server.start_daemon(server.config)


def created(servers, _primaries):
    for server in servers:
        redis_server.start_daemon(server.config)
    for server in servers:
        redis_server.wait_until(server._answers, "a node")
    subprocess.run(
        ["redis-cli", "--cluster", "create", *(f"{s.addr}:{s.port}" for s in servers),
         "--cluster-replicas", "1", "--cluster-yes"], stdout=subprocess.DEVNULL, check=True,
    )


def cluster(primaries, target):
    print(f"empty cluster of {primaries} primaries and {primaries} replicas, all ok:")
    times = []
    for name, form in (("written nodes.conf", written), ("--cluster create", created)):
        net = network.Network()
        with tempfile.TemporaryDirectory(prefix="recluster-bench-") as folder:
            servers = nodes(Path(folder), net, 2 * primaries)
            try:
                start = time.monotonic()
                form(servers, primaries)
                until_ready(servers)
                times.append(time.monotonic() - start)
            finally:
                redis_server.kill_all_below(folder)
                net.close()
        print(f"  {name:18} {times[-1]:5.1f} s")
    told(times[1] / times[0], target)


def main():
    wanted = sys.argv[1:] or ["values", "cluster"]
    for word in wanted:
        if word == "values":
            replicas(100, 3)
            replicas(10_000, 2.5)
        elif word == "cluster":
            cluster(30, 2)
        elif word == "fast-load":
            fast_load(100)
        elif word == "runbook":
            bench_runbook.main()
        else:
            sys.exit(f"there is no bench '{word}'")


main()
