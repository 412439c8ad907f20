"""Files that shards' servers kept on the disks of hosts and of old nodes."""

import json
import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from harness import contents, redis_server, slots
from program import DONE, REFUSED, USAGE, Recovery


@pytest.fixture
def recovery(folder, net, cluster):
    recovery = Recovery(folder, net, cluster)
    yield recovery
    recovery.end()


class Disks:
    """Folders of hosts with the files of shards, which must never change."""

    def __init__(self, recovery):
        self.recovery = recovery
        self.top = recovery.folder / "disks"

    def folder(self, owner):
        folder = self.top / f"{owner}'s disk"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def put(self, owner, name, source, ctime=None):
        target = self.folder(owner) / name
        shutil.copyfile(source, target)
        if ctime:
            set_ctime(target, ctime)
        return target

    def contents(self):
        return {str(p): (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_nlink)
                for p in self.top.rglob("*") if p.is_file()}


def set_ctime(path, seconds):
    """Writes another time into a snapshot; its checksum then counts as absent."""
    data = path.read_bytes()
    at = data.index(b"\xfa\x05ctime\xc2") + 8
    path.write_bytes(data[:at] + int(seconds).to_bytes(4, "little") + data[at + 4:-8] + bytes(8))


@pytest.fixture
def disks(recovery):
    return Disks(recovery)


def write_rdb(cluster, folder, keys):
    path = folder / f"made-{time.monotonic_ns()}.rdb"
    return path, cluster.write_rdb(path, keys)


def keys_of(shard, count, seed, salt=""):
    """Strings whose keys are of the shard's slots."""
    made = (f"{seed}:{i}".encode() for i in range(count * 20))
    mine = (k for k in made if slots.holds(shard.ranges, slots.of_key(k)))
    return [["SET", k, f"{salt}{k!r}"] for k, _ in zip(mine, range(count))]


def test_newest_of_each_range(cluster, recovery, disks, folder):
    """Of primaries and replicas, on hosts that get the shard and on others; what is of no use is named."""
    made = cluster.add("a", primaries=2, replicas=1, keys=None, backup_location="")
    first, second = made.database.primaries
    replica = made.database.shards[2]
    now = int(time.time())
    recovery.add_hosts(3)
    for host in recovery.hosts:
        host["recovery_path"] = str(disks.folder(host["name"]))
    old, _ = write_rdb(cluster, folder, keys_of(first, 50, "old"))
    good, digest = write_rdb(cluster, folder, keys_of(first, 300, "new"))
    other, other_digest = write_rdb(cluster, folder, keys_of(second, 300, "second"))
    disks.put("h1", f"redis-{first.uid}.rdb", old, now - 9000)
    disks.put("h3", f"redis-{replica.uid}.rdb", good, now - 3000)
    disks.put("h2", f"redis-{second.uid}.rdb.prev", other, now - 4000)
    bad = disks.folder("h2") / f"redis-{second.uid}.rdb"
    bad.write_bytes(b"half a sector of nothing")
    os.utime(bad, (now - 10, now - 10))
    before = disks.contents()

    run = recovery.write().plan("--json")
    database, = run.json["databases"]
    chosen = database["backup_set"]
    assert chosen["disks"] and chosen["id"] == "disks"
    assert [f["where"].rsplit("/", 1)[1] for f in chosen["files"]] == [
        f"redis-{replica.uid}.rdb", f"redis-{second.uid}.rdb.prev"]
    assert 3990 < chosen["age_s"] < 4100 and chosen["skew_s"] == 1000
    warning, = [w for w in run.json["warnings"] if w["code"] == "file-passed-over"]
    assert str(bad) in warning["message"] and "h2" in warning["message"]
    assert not (folder / "hosts").exists()

    recovery.recover(status=DONE)
    recovery.assert_recovered(made, digest + other_digest)
    assert disks.contents() == before
