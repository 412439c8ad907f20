"""See run.sh."""

import os
import resource
import sqlite3
import statistics
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
from harness.http_server import Nginx  # noqa: E402
from program import Recovery  # noqa: E402

MIB = int(os.environ.get("BENCH_MIB", "1024"))
BATCH, POOL = 20_000, 5000
RUNS = int(os.environ.get("BENCH_RUNS", "3"))


def length(n):
    """A length as RDB files have it."""
    return bytes([n]) if n < 64 else (0x4000 | n).to_bytes(2, "big")


def write_rdb(path, value_bytes, hexadecimal=False, mib=MIB):
    """So many MiB of strings that don't compress, or by half, with the hints of sizes that servers write; gives the
    number of keys."""
    head = length(value_bytes)
    ends = [head + os.urandom(value_bytes // 2).hex().encode() for _ in range(POOL)] if hexadecimal else [
        head + os.urandom(value_bytes)]
    keys = (mib << 20) // (1 + 13 + len(ends[0]))
    with open(path, "wb") as f:
        f.write(b"REDIS0010\xfe\x00\xfb\x80" + keys.to_bytes(4, "big") + b"\x00")
        for start in range(0, keys, BATCH):
            f.write(b"".join(
                b"\x00\x0c%012d" % i + ends[i * 7919 % len(ends)] for i in range(start, min(start + BATCH, keys))
            ))
        f.write(b"\xff" + bytes(8))
    return keys


def processor_seconds():
    """Of all processes that this one waited for, and those that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def server_seconds(pid_file):
    """Of a server that still runs."""
    fields = Path(f"/proc/{int(pid_file.read_text())}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class World:
    """A dead database, with a replica or without, and hosts for it."""

    def __init__(self, folder, value_bytes, replicas=1, hexadecimal=False, mib=MIB):
        self.net = network.Network()
        self.cluster = DeadCluster(folder, self.net)
        self.made = self.cluster.add(
            "bench", replicas=replicas, password="one", keys=None, memory_size=str(MIB << 23)
        )
        name = ccs_file.backup_name(STAMP, self.made.database, 1, self.made.database.shards[0])
        self.keys = write_rdb(self.cluster.backups / name, value_bytes, hexadecimal, mib)
        self.recovery = Recovery(folder, self.net, self.cluster)
        self.recovery.add_hosts(replicas + 1).defaults["memory"] = f"{MIB * 12}M"
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
        before = processor_seconds()
        start = time.monotonic()
        self.recovery.recover(*options, timeout=600)
        whole = time.monotonic() - start
        self.processor = processor_seconds() - before, sum(map(server_seconds, top.rglob("redis.pid")))
        with sqlite3.connect(f"file:{self.recovery.state}?mode=ro", uri=True) as db:
            def span(first, last):
                (took_ms,) = db.execute(
                    "SELECT (SELECT max(ended_ms) FROM task WHERE kind = ?) - min(started_ms)"
                    " FROM task WHERE kind = ?", (last, first),
                ).fetchone()
                return (took_ms or 0) / 1000
            times = whole, span("fetch", "fetch"), span("load_shard", "attach_replica")
            (keys,) = set(db.execute("SELECT keys FROM placement WHERE keys IS NOT NULL"))
        assert keys == (self.keys,), (keys, self.keys)
        self.recovery.end()
        subprocess.run(["rm", "-rf", str(top)], check=True)
        return times

    def close(self):
        self.net.close()


def with_world(value_bytes, measure, **more):
    with tempfile.TemporaryDirectory(prefix="recluster-bench-") as folder:
        world = World(Path(folder), value_bytes, **more)
        try:
            measure(world)
        finally:
            redis_server.kill_all_below(folder)
            world.close()


def name_of(value_bytes):
    return f"{MIB} MiB, values of {value_bytes} bytes"


def two_loads(world):
    """Seconds that two servers of nobody's take to load the file side by side: no way is faster."""
    (backup,) = world.cluster.backups.iterdir()
    with tempfile.TemporaryDirectory(prefix="recluster-bench-", dir=world.recovery.folder) as folder:
        servers = [redis_server.Server(Path(folder) / f"n{i}", world.net.addr(100), 21000 + i) for i in range(2)]
        try:
            start = time.monotonic()
            for server in servers:
                os.link(backup, server.folder / "dump.rdb")
                redis_server.start_daemon(server.config)
            for server in servers:
                redis_server.wait_until(server._answers, "a load", 300)
            return time.monotonic() - start
        finally:
            redis_server.kill_all_below(folder)


def replicas(value_bytes, target):
    """In turn, as one machine is not always as fast; medians."""
    ways = {"same file on both": (), "with --fast-load": ("--fast-load",), "full sync": ("--full-sync",)}

    def measure(world):
        times = {name: [] for name in ways}
        alone = []
        for _ in range(RUNS):
            alone.append(two_loads(world))
            for name, options in ways.items():
                times[name].append(world.run(*options))
        median = {name: [statistics.median(t) for t in zip(*runs)] for name, runs in times.items()}
        print(f"  {'two loads, no more':18} ready after {statistics.median(alone):5.1f} s")
        for name, (whole, fetch, ready) in median.items():
            print(f"  {name:18} ready after {ready:5.1f} s (fetched in {fetch:.1f} s,"
                  f" whole recovery {whole:.1f} s)")
        theirs = median.pop("full sync")
        for name, ours in median.items():
            print(f"  {name}:", end="")
            told(theirs[2] / ours[2], target)

    print(f"primary and replica ready, {name_of(value_bytes)}:")
    with_world(value_bytes, measure)


def two_copies(world, program):
    """Processor seconds of bringing the file onto two hosts with nothing looked at."""
    (backup,) = world.cluster.backups.iterdir()
    copy = world.recovery.folder / "copy"
    before = processor_seconds()
    for _ in range(2):
        with open(copy, "wb") as to:
            subprocess.run([*program, str(backup)], stdout=to, check=True)
    copy.unlink()
    return processor_seconds() - before


def processor(value_bytes, packed=False):
    """What all processes of ours take, on both sides, against what the servers take: of a tiny file, which
    tells what a recovery of any size takes, and of one of MIB. No way to bring the files onto the hosts takes less
    than the copies."""
    always = []

    def measure_tiny(world):
        for _ in range(RUNS):
            world.run()
            always.append(world.processor[0])

    def measure(world):
        if packed:
            (backup,) = world.cluster.backups.iterdir()
            subprocess.run(["gzip", "-1", str(backup.rename(backup.with_suffix("")))], check=True)
        program = ["gzip", "-dc"] if packed else ["cat"]
        shares = {"ours": [], "ours, less those": [], f"two copies by {program[0]}": []}
        constant = statistics.median(always)
        print(f"  ours {constant:.2f} s for a tiny file")
        for _ in range(RUNS):
            copies = two_copies(world, program)
            world.run()
            ours, servers = world.processor
            print(f"  ours {ours:.2f} s, servers {servers:.2f} s, two copies by {program[0]} {copies:.2f} s")
            for name, seconds in zip(shares, (ours, ours - constant, copies)):
                shares[name].append(seconds / servers)
        for name, of in shares.items():
            print(f"  {name + ', to the servers:':36} {statistics.median(of):.2f}"
                  f"{'   wanted: 0.15 or less' if name == 'ours' and not packed else ''}")

    print(f"processor time of a recovery, primary and replica, {name_of(value_bytes)}"
          f"{', gzip' if packed else ''}:")
    with_world(value_bytes, measure_tiny, mib=1)
    with_world(value_bytes, measure, hexadecimal=packed)


def fast_load(value_bytes):
    def measure(world):
        # Alone: what a load takes must not depend on another one beside it.
        usual, fast = (world.run("--full-sync", "--until", "load", *more) for more in ((), ("--fast-load",)))
        print(f"  usual {usual[0]:.1f} s, --fast-load {fast[0]:.1f} s, fetch {usual[1]:.1f} s of it")
        told((usual[0] - usual[1]) / (fast[0] - fast[1]), 0)

    print(f"one load, {name_of(value_bytes)}:")
    with_world(value_bytes, measure)


def landing(value_bytes, packed=False, replicas=0):
    """Servers on two cores, their file from an HTTP server over a line of 1 Gbit/s; RUNS of each, in turn."""
    def measure(world):
        (backup,) = world.cluster.backups.iterdir()
        plain = backup.rename(backup.with_suffix(""))
        if packed:
            subprocess.run(["gzip", "-1", str(plain)], check=True)
        with tempfile.TemporaryDirectory(prefix="recluster-bench-web-") as folder:
            web = Nginx(Path(folder), world.cluster.backups, world.net.addr(9), 8080).start()
            world.recovery.sources = {f"db:{world.made.database.uid}": web.url}
            ways = {"never": [], "always": []}
            try:
                for _ in range(RUNS):
                    for when, times in ways.items():
                        times.append(world.run("--until", "load", "--load-while-landing", when))
            finally:
                redis_server.kill_all_below(folder)
        whole = {}
        for when, times in ways.items():
            whole[when] = statistics.median(t[0] for t in times)
            print(f"  {when:6}  {whole[when]:5.2f} s, fetch {statistics.median(t[1] for t in times):.2f} s of it"
                  f" (runs: {' '.join(f'{t[0]:.2f}' for t in times)})")
        told(whole["never"] / whole["always"], 0 if packed else 1.1, 2)

    print(f"{replicas + 1} load(s) over 1 Gbit/s, --load-while-landing, {name_of(value_bytes)}"
          f"{', gzip' if packed else ''}:")
    with_world(value_bytes, measure, replicas=replicas, hexadecimal=packed)


def in_slow_network():
    """Runs this again where the loopback interface has 1 Gbit/s."""
    tc = "ip link set lo up && tc qdisc add dev lo root tbf rate 1gbit burst 256kb latency 50ms"
    again = [sys.executable, __file__, "landing-here"]
    subprocess.run(["unshare", "-n", "sh", "-c", f"{tc} && exec \"$@\"", "sh", *again], check=True)


def told(ratio, target, digits=1):
    print(f"  {ratio:.{digits}f} times as fast" + (f" (target {target})" if target else ""), flush=True)


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
        elif word == "processor":
            processor(100)
            processor(10_000)
            processor(100, packed=True)
        elif word == "fast-load":
            fast_load(100)
        elif word == "landing":
            in_slow_network()
        elif word == "landing-here":
            landing(100)
            landing(100, replicas=1)
            landing(10_000)
            landing(100, packed=True)
        elif word == "runbook":
            bench_runbook.main()
        else:
            sys.exit(f"there is no bench '{word}'")


main()
