"""measure.py BUILD DIR: see run.sh."""

import resource
import subprocess
import sys
from pathlib import Path

BUILD, DIR = map(Path, sys.argv[1:])
SMALL = Path(__file__).parents[3] / "fixtures/rdb/facts.rdb"
ROUNDS = 3
# file, how many times as fast as redis-check-rdb the scan shall be
TARGETS = {"short": 5, "long": 4, "lzf": 12, "packed": 8}
GZ_TARGET, CRC_TARGET, SPLIT_TARGET = 5, 5.0, 0.5


def cpu_of(*command):
    """Best processor time of several runs on the file that is the last word, without the program's
    own start: what it takes for a tiny file. The bench's files are small beside real backups."""
    return best_cpu_of(*command) - best_cpu_of(*command[:-1], SMALL)


def best_cpu_of(*command):
    times = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def bench(*args):
    """Bytes and seconds of the engine alone."""
    out = subprocess.run(
        [BUILD / "tests/unit/rdb/bench_rdb", *map(str, args)], check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.split()
    return int(out[0]), float(out[1])


def row(what, figure, ratio, target):
    verdict = "ok" if ratio >= target else "MISSED"
    print(f"{what:34} {figure:>28} {ratio:6.1f} x   target {target:4} x   {verdict}", flush=True)
    return ratio >= target


def main():
    good = True
    size, took = bench("crc")
    good &= row("CRC64, GB/s", "", size / took / 1e9, CRC_TARGET)
    for name, target in TARGETS.items():
        path = DIR / f"{name}.rdb"
        mb = path.stat().st_size / 1e6
        check = cpu_of("redis-check-rdb", path)
        scan = cpu_of(BUILD / "recluster", "rdb", "scan", path)
        good &= row(f"scan {name}", f"{mb / scan:5.0f} against {mb / check:4.0f} MB/s", check / scan, target)
        plain = DIR / "plain.rdb"
        packed = path.with_suffix(".rdb.gz")
        if packed.exists():
            unpack = best_cpu_of("sh", "-c", f"gzip -dc '{packed}' > '{plain}'")
            both = unpack + cpu_of("redis-check-rdb", plain)
            plain.unlink()
            scan_gz = cpu_of(BUILD / "recluster", "rdb", "scan", packed)
            good &= row(
                f"scan {name}.rdb.gz, by plain bytes", f"{mb / scan_gz:5.0f} against {mb / both:4.0f} MB/s",
                both / scan_gz, GZ_TARGET,
            )
        size, engine = bench("scan", path)
        _, split = bench("split", 6, path)
        _, stamp = bench("stamp", path)
        good &= row(
            f"split {name} 1->6 against scan", f"{mb / split:5.0f} against {mb / engine:4.0f} MB/s",
            engine / split, SPLIT_TARGET,
        )
        print(f"{'stamp ' + name:34} {mb / stamp:18.0f} MB/s")
    return 0 if good else 1


sys.exit(main())
