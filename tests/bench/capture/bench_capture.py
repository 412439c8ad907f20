"""Turns of a client on a cluster of three primaries with replicas, with and without `capture --follow` beside it."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "fixtures"), str(ROOT / "tests" / "system")]

from harness import network, redis_server, slots  # noqa: E402
from live_cluster import LiveCluster  # noqa: E402

PROGRAM = os.environ.get("RECLUSTER", ROOT / "build" / "recluster")
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))


def cpu_of(pids):
    """Seconds of the processor that the processes have taken."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def turn(live, pids):
    """One client at a modest rate: (p50, p99 in ms, processor seconds of all servers)."""
    keys = [next(k for k in (f"key:{i}" for i in range(10**6)) if slots.holds([r], slots.of_key(k.encode())))
            for r in slots.split(3)]
    connections = [s.connect() for s in live.servers[:3]]
    before, times, deadline = cpu_of(pids), [], time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for c, key in zip(connections, keys):
            start = time.perf_counter()
            c.call("SET", key, "x" * 100)
            times.append((time.perf_counter() - start) * 1000)
        time.sleep(0.001)
    for c in connections:
        c.close()
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100], cpu_of(pids) - before


def main():
    with tempfile.TemporaryDirectory() as name:
        folder, net = Path(name), network.Network()
        live = LiveCluster(folder / "live", net).start()
        pids = [int(s.pid_file.read_text()) for s in live.servers]
        kinds = {"without": None, "every 10 s": "10s", "every 1 s": "1s"}
        found = {kind: [] for kind in kinds}
        try:
            for _ in range(RUNS):
                for kind, every in kinds.items():
                    process = None
                    if every:
                        (folder / "ccs").mkdir(exist_ok=True)
                        process = subprocess.Popen(
                            [str(PROGRAM), "capture", "--follow", "--every", every, *live.addresses(), "--to",
                             str(folder / "ccs"), "--spool", str(folder / "spool")],
                            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                        time.sleep(1)
                    found[kind].append(turn(live, pids))
                    if process:
                        process.terminate()
                        process.wait()
        finally:
            redis_server.kill_all_below(folder)
        base = [statistics.median(column) for column in zip(*found["without"])]
        print(f"{RUNS} turns of {SECONDS:g} s each; medians, and their ratio to those without capture")
        for kind, rows in found.items():
            p50, p99, cpu = (statistics.median(column) for column in zip(*rows))
            print(f"  {kind:11} p50 {p50:.3f} ms ({p50 / base[0]:.2f})  p99 {p99:.3f} ms ({p99 / base[1]:.2f})  "
                  f"servers {cpu:.2f} s ({cpu / base[2]:.2f})")


if __name__ == "__main__":
    main()
