"""Turns of a client on a cluster of three primaries with replicas, with and without a backup beside it."""

import json
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


def save_and_copy(live, folder):
    """What is done by hand: BGSAVE on the primaries, then a copy of their files."""
    save_primaries(live)
    place = folder / "copies"
    for server in live.servers[:3]:
        (place / str(server.port)).mkdir(parents=True, exist_ok=True)
        command = ["rclone", "copy"] if shutil.which("rclone") else ["cp"]
        subprocess.run([*command, str(server.folder / "dump.rdb"), str(place / str(server.port))], check=True)


def cpu_of(pid):
    """Seconds of a process, and of those that it has started."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(words[2]) == os.getpgid(pid):
            total += sum(int(word) for word in words[11:15])  # also of children that have ended
    return total / os.sysconf("SC_CLK_TCK")


def write_much(live, names, mib):
    """Compressible by half, to all shards."""
    for server, name in zip(live.servers[:3], names):
        with server.connect() as c:
            for _ in c.pipeline([("SET", f"{{{name}}}:s:{i % 1000}", os.urandom(VALUE // 2).hex())
                                 for i in range(mib * 1024 * 1024 // VALUE)]):
                pass


def metric(path, name):
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith(f"recluster_{name}{{"):
                return int(line.split()[-1])
    return 0


def measure_archive(live, names, folder):
    """What an archive of much that is written costs: its bytes, seconds of a core, and how late the location has it."""
    place = folder / "archive"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    metrics = folder / "metrics"
    process = subprocess.Popen(
        [str(PROGRAM), "backup", live.addresses()[0], "--to", str(place), "--follow", "--spool", str(folder / "spool"),
         "--segment", "2s", "--metrics", str(metrics)],
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    redis_server.wait_until(lambda: len(list(place.glob("base-*"))) == 3, "the data sets", 120)
    before = cpu_of(process.pid)
    seconds = timed(lambda: write_much(live, names, MIB))
    wrote = time.time()
    redis_server.wait_until(lambda: metric(metrics, "archive_archived_time_seconds") >= wrote, "the archive", 120)
    lag = time.time() - wrote
    used = cpu_of(process.pid) - before
    time.sleep(11)  # the index
    process.terminate()
    process.wait()
    stream = sum(int(p.name.split("-")[5].split(".")[0]) - int(p.name.split("-")[4]) for p in place.glob("stream-*"))
    stored = sum(p.stat().st_size for p in place.glob("stream-*"))
    print(f"  archive: {stream / 2**20:.0f} MiB of stream in {seconds:.1f} s, {stream / 2**20 / used:.0f} MiB/s a core; at the "
          f"location {lag:.1f} s after the last write (segments of 2 s); stored in {stored / stream:.2f} of its size")
    return place, stream


def measure_recovery(live, net, folder, place, stream):
    """A recovery from data sets and streams: most of it is that a server loads the commands."""
    for server in live.servers:
        server.kill()
    hosts = [{"name": f"h{i}", "addr": net.host(i + 1), "link": "local", "base_dir": str(folder / f"base {i}")} for i in range(3)]
    (folder / "hosts.json").write_text(json.dumps({"hosts": hosts}))
    seconds = timed(lambda: subprocess.run(
        [str(PROGRAM), "recover", str(place / "ccs-redis.rdb"), "--hosts", str(folder / "hosts.json"), "--state",
         str(folder / "state"), "--source", f"db:1={place}", "--no-replicas", "--yes", "--old-cluster-is-dead", "redis"],
        check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    print(f"  recover from it: {seconds:.1f} s for {3 * MIB} MiB of data and {stream / 2**20:.0f} MiB of commands, three servers "
          f"at once")


def sizes(live, folder):
    found = {}
    for kind in ("none", "gzip", "zstd"):
        place = folder / f"sets {kind}"
        place.mkdir()
        subprocess.run([str(PROGRAM), "backup", live.addresses()[0], "--to", str(place), "--compress", kind],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found[kind] = sum(p.stat().st_size for p in place.glob("bk*.aof*"))
        shutil.rmtree(place)
    print("  sizes: " + ", ".join(f"{kind} {n / found['none']:.2f}" for kind, n in found.items()))


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
                f"BGSAVE + {'rclone' if shutil.which('rclone') else 'cp'}": lambda: save_and_copy(live, folder),
            }
            seconds = {kind: [] for kind in speeds}
            for _ in range(RUNS):
                for kind, work in speeds.items():
                    seconds[kind].append(timed(work))
            report(found, seconds)
            write_much(live, names, 1)
            sizes(live, folder)
            place, stream = measure_archive(live, names, folder)
            measure_recovery(live, net, folder, place, stream)
        finally:
            redis_server.kill_all_below(folder)


def report(found, seconds):
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
