"""--shift-ttl: keys whose time ran out while the cluster was dead come back, with the time that they had left."""

import struct
import subprocess
import time

import pytest

from harness import ccs_file, slots
from harness.rdb_bytes import expiry, head, rdb, select, string, strings
from program import PROGRAM, USAGE

HOUR_MS = 3600 * 1000


def expiry_s(seconds):
    """The opcode of old servers."""
    return b"\xfd" + struct.pack("<i", seconds)


def cut(folder, *args, status=0):
    done = subprocess.run([str(PROGRAM), "rdb", *map(str, args)], cwd=folder, stdin=subprocess.DEVNULL,
                          capture_output=True, check=False)
    assert done.returncode == status, done.stderr.decode()
    return done.stderr.decode()


def test_records_are_copied_but_for_their_expiry(folder):
    now = int(time.time() * 1000)
    records = [
        (expiry(now), string("ms", "v" * 70000)),
        (expiry_s(now // 1000), string("s")),
        (expiry(now + 5), b"\xf8\x05" + string("idle")),
        (expiry(now + 6), b"\xf9\x07" + string("freq")),
        (b"", string("never")),
        (b"", b"\xf9\x07" + string("freq alone")),
    ]
    (folder / "a.rdb").write_bytes(rdb(head() + select(0) + b"".join(e + r for e, r in records)))
    cut(folder, "join", "a.rdb", "--out", "b.rdb", "--shift-ttl", "36h")
    data = (folder / "b.rdb").read_bytes()
    moved = [now, now // 1000 * 1000, now + 5, now + 6]
    for ms, (_, record) in zip(moved, records):
        assert b"\xfc" + struct.pack("<q", ms + 36 * HOUR_MS) + record in data
    for _, record in records[4:]:
        assert record in data
    cut(folder, "scan", "b.rdb")
    # The parts of a split are the same records.
    cut(folder, "split", "a.rdb", "--slots", "0-8191=x.rdb", "--slots", "8192-16383=y.rdb", "--shift-ttl", "36h")
    both = (folder / "x.rdb").read_bytes() + (folder / "y.rdb").read_bytes()
    assert all(b"\xfc" + struct.pack("<q", ms + 36 * HOUR_MS) + r in both for ms, (_, r) in zip(moved, records))
    cut(folder, "join", "a.rdb", "--out", "c.rdb", "--shift-ttl", "soon", status=USAGE)
    cut(folder, "scan", "a.rdb", "--shift-ttl", "1h", status=USAGE)


def test_an_expiry_behind_something_else_is_refused(folder):
    (folder / "a.rdb").write_bytes(rdb(head() + select(0) + b"\xf9\x07" + expiry(5) + string("k")))
    said = cut(folder, "join", "a.rdb", "--out", "b.rdb", "--shift-ttl", "1h", status=4)
    assert "does not begin with its expiry" in said and not (folder / "b.rdb").exists()


@pytest.mark.releases("system", "redis80", "valkey91")
@pytest.mark.parametrize("primaries, replicas, options", [
    (1, 0, []), (3, 1, []), (3, 1, ["--shards", "db:1=2"])], ids=["one", "cluster", "reshard"])
def test_keys_come_back_with_the_time_that_they_had_left(cluster, recovery, primaries, replicas, options):
    made = cluster.add("orders", primaries=primaries, replicas=replicas, keys=None)
    set_s = int(time.time()) - 3 * 24 * 3600
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(set_s))
    left = {f"key:{i}": 600 + 60 * i for i in range(40)}
    for i, shard in enumerate(made.database.primaries):
        own = [k for k in left if slots.holds(shard.ranges, slots.of_key(k.encode()))]
        records = b"".join(expiry((set_s + left[k]) * 1000) + string(k) for k in own)
        name = ccs_file.backup_name(stamp, made.database, i + 1, shard).removesuffix(".gz")
        (cluster.backups / name).write_bytes(rdb(head() + select(0) + records + strings(
            *[f"stays:{i}:{n}" for n in range(200) if slots.holds(shard.ranges, slots.of_key(f"stays:{i}:{n}".encode()))])))
    recovery.add_hosts(3).write()
    began = time.time()
    recovery.recover("--shift-ttl", "--until", "prepare", *options)
    time.sleep(1)
    recovery.resume()
    found = {}
    for shard in recovery.database(made)["shards"]:
        with recovery.connect(made, shard) as c:
            if made.sharded:
                c.call("READONLY")
            own = {k.decode(): c.call("PTTL", k) / 1000 for k in c.call("KEYS", "key:*")}
            assert c.call("KEYS", "stays:*")
            if shard["role"] == "primary":
                found.update(own)
    assert set(found) == set(left)
    for key, seconds in left.items():
        assert seconds - (time.time() - began) - 3 < found[key] <= seconds + 2, (key, seconds, found[key])


def test_without_it_they_are_gone(cluster, recovery):
    made = cluster.add("orders", keys=None)
    set_s = int(time.time()) - 3600
    name = ccs_file.backup_name(
        time.strftime("%Y%m%d-%H%M%S", time.gmtime(set_s)), made.database, 1, made.database.primaries[0])
    (cluster.backups / name.removesuffix(".gz")).write_bytes(
        rdb(head() + select(0) + expiry((set_s + 60) * 1000) + string("gone") + string("stays")))
    recovery.add_hosts(1).write()
    recovery.recover()
    told = recovery.run("report", "--state", recovery.state)
    assert told.says("not restored: 1. A recovery with --shift-ttl") and told.fits
    checked = recovery.run("verify", cluster.backups / name.removesuffix(".gz"))
    assert checked.says("expired by now: 1; recover --shift-ttl restores them too") and checked.fits
    shard, = recovery.database(made)["shards"]
    with recovery.connect(made, shard) as c:
        assert c.call("KEYS", "*") == [b"stays"]
