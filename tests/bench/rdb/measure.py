"""measure.py BUILD DIR: see run.sh."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))

from harness import network, redis_server  # noqa: E402

BUILD, DIR = map(Path, sys.argv[1:])
SMALL = Path(__file__).parents[3] / "fixtures/rdb/facts.rdb"
ROUNDS = 3
# file, how many times as fast as redis-check-rdb the scan shall be
TARGETS = {"short": 5, "long": 4, "lzf": 12, "packed": 8}
GZ_TARGET, CRC_TARGET, SPLIT_TARGET = 5, 5.0, 0.5
PARTS = 6


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


def digest_of(folder, file=None, more=()):
    """What a server that starts on the file says: its number of keys, and the XOR of what DEBUG DIGEST
    makes of each key (its name, value and expiry) and of the database."""
    folder.mkdir()
    if file:
        (folder / "dump.rdb").symlink_to(file)
    server = redis_server.Server(folder, "127.0.0.1", network.free_port("127.0.0.1"), enable_debug_command="yes")
    try:
        redis_server.start_daemon(server.config)
        redis_server.wait_until(server._answers, "the load", 120)
        with server.connect() as c:
            for command in more:
                c.call(*command)
            return c.call("DBSIZE"), int(c.call("DEBUG", "DIGEST"), 16)
    finally:
        server.kill()
        shutil.rmtree(folder)


def compare_keys(name):
    """The outputs of a split in servers against the input in one, key by key. What the database itself
    adds to each digest goes where their number is even: one key more stands in a server of its own."""
    parts, folder = DIR / "parts", DIR / "server"
    for path in (parts, folder):
        shutil.rmtree(path, ignore_errors=True)
    parts.mkdir()
    subprocess.run(
        [BUILD / "recluster", "rdb", "split", DIR / f"{name}.rdb", "--shards", str(PARTS), "--out", parts],
        check=True, stdout=subprocess.DEVNULL,
    )
    marker = [("SET", "only here", "and there")]
    keys, xor = digest_of(folder, DIR / f"{name}.rdb", marker)
    found, of_marker = digest_of(folder, None, marker)
    xor ^= of_marker
    outputs = sorted(parts.iterdir())
    for output in outputs:
        count, digest = digest_of(folder, output)
        found += count
        xor ^= digest
    shutil.rmtree(parts)
    good = len(outputs) == PARTS and keys == found and keys > 1 and xor == 0
    print(f"{f'split {name} 1->{PARTS}, in servers':34} {keys - 1:12} keys, {'each equal   ok' if good else 'DIFFERENT'}",
          flush=True)
    return good


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
        _, split = bench("split", PARTS, path)
        _, stamp = bench("stamp", path)
        good &= row(
            f"split {name} 1->{PARTS} against scan", f"{mb / split:5.0f} against {mb / engine:4.0f} MB/s",
            engine / split, SPLIT_TARGET,
        )
        print(f"{'stamp ' + name:34} {mb / stamp:18.0f} MB/s")
        good &= compare_keys(name)
    return 0 if good else 1


sys.exit(main())
