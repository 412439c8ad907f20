"""Turns of a client on a cluster of three primaries with replicas, with and without a backup beside it."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "fixtures"), str(ROOT / "tests" / "system")]

from harness import network, one_moment, redis_server, slots  # noqa: E402
from live_cluster import LiveCluster  # noqa: E402

PROGRAM = os.environ.get("RECLUSTER", ROOT / "build" / "recluster")
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
MIB = int(os.environ.get("BENCH_MIB", "100"))
VALUE = 1000


def fill(live, names):
    for server, name in zip(live.servers[:3], names):
        with server.connect() as c:
            for _ in c.pipeline([("SET", f"{{{name}}}:{i}", os.urandom(VALUE)) for i in range(MIB * 1024 * 1024 // VALUE)]):
                pass
    for server in live.servers[3:]:
        redis_server.wait_for_replica(server, 120)


def latencies(live, names, until):
    """A client that writes to all shards in turn, in ms."""
    connections = [s.connect() for s in live.servers[:3]]
    times = []
    while not until():
        for c, name in zip(connections, names):
            start = time.perf_counter()
            c.call("SET", f"{{{name}}}client", "x" * 100)
            times.append((time.perf_counter() - start) * 1000)
        time.sleep(0.001)
    for c in connections:
        c.close()
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100], times[-1]


def run_backup(live, place):
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    subprocess.run(
        [str(PROGRAM), "backup", live.addresses()[0], "--to", str(place), "--compress", "none", "--forks", "3"],
        check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def beside(live, names, work):
    """The client's latencies while the work is repeated for a turn."""
    deadline = time.monotonic() + SECONDS
    stop = threading.Event()

    def repeat():
        while time.monotonic() < deadline:
            work()
        stop.set()
    thread = threading.Thread(target=repeat)
    thread.start()
    found = latencies(live, names, stop.is_set)
    thread.join()
    return found


def save_primaries(live):
    for server in live.servers[:3]:
        with server.connect() as c:
            c.call("BGSAVE")
    for server in live.servers[:3]:
        with server.connect() as c:
            redis_server.wait_until(lambda c=c: c.info("persistence")["rdb_bgsave_in_progress"] == "0", "BGSAVE", 60)


def follow(live, names, folder):
    place = folder / "archive"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    process = subprocess.Popen(
        [str(PROGRAM), "backup", live.addresses()[0], "--to", str(place), "--follow", "--spool", str(folder / "spool")],
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(3)
    found = beside(live, names, lambda: time.sleep(0.1))
    process.terminate()
    process.wait()
    shutil.rmtree(folder / "spool", ignore_errors=True)
    return found


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rdb_by_cli(live, folder, at_once):
    commands = [["redis-cli", "-h", s.addr, "-p", str(s.port), "--rdb", str(folder / f"{s.port}.rdb")]
                for s in live.servers[3:]]
    processes = []
    for command in commands:
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        if not at_once:
            processes[-1].wait()
    assert all(p.wait() == 0 for p in processes)


def main():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder, net = Path(name), network.Network()
        live = LiveCluster(folder / "live", net).start()
        names = one_moment.tags([[r] for r in slots.split(3)])
        try:
            fill(live, names)
            kinds = {
                "without": lambda: beside(live, names, lambda: time.sleep(0.1)),
                "backup": lambda: beside(live, names, lambda: run_backup(live, folder / "sets")),
                "archive": lambda: follow(live, names, folder),
                "BGSAVE": lambda: beside(live, names, lambda: save_primaries(live)),
            }
            found = {kind: [] for kind in kinds}
            for _ in range(RUNS):
                for kind, work in kinds.items():
                    found[kind].append(work())
            speeds = {
                "backup": lambda: run_backup(live, folder / "sets"),
                "--rdb, one by one": lambda: rdb_by_cli(live, folder, False),
                "--rdb, at once": lambda: rdb_by_cli(live, folder, True),
            }
            seconds = {kind: [] for kind in speeds}
            for _ in range(RUNS):
                for kind, work in speeds.items():
                    seconds[kind].append(timed(work))
        finally:
            redis_server.kill_all_below(folder)
        base = [statistics.median(column) for column in zip(*found["without"])]
        print(f"{RUNS} turns of {SECONDS:g} s each, {MIB} MiB a shard; medians, and their ratio to those without a backup")
        for kind, rows in found.items():
            middle = [statistics.median(column) for column in zip(*rows)]
            print(f"  {kind:8}" + "".join(
                f"  {what} {ms:.3f} ms ({ms / b:.2f})" for what, ms, b in zip(("p50", "p99", "max"), middle, base)))
        ours = statistics.median(seconds["backup"])
        for kind, rows in seconds.items():
            s = statistics.median(rows)
            print(f"  {kind:18} {s:.2f} s, {3 * MIB / s:.0f} MiB/s ({s / ours:.2f} of a backup's time)")


if __name__ == "__main__":
    main()
