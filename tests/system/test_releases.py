"""What servers of newer releases have that older ones lack, and what they do otherwise."""

import shutil
import time

import pytest

from dead_cluster import STAMP, commands
from harness import ccs_file, contents, redis_server, slots
from program import REFUSED
from test_replicas import assert_no_copy

FADING_MS = 500  # after which the fields have expired; the files are written before


def add_files(cluster, made, keys, more):
    """A plain file for each primary, of `keys` lasting keys and what more(i) gives; digest of the former."""
    made.digest = contents.Digest()
    for i, shard in enumerate(made.database.primaries):
        own = [c for key, c in commands(keys, made.database.uid) if slots.holds(shard.ranges, slots.of_key(key))]
        path = cluster.backups / ccs_file.backup_name(STAMP, made.database, i + 1, shard).removesuffix(".gz")
        made.digest += cluster.write_rdb(path, own)
        with cluster.scratch.connect() as c:
            for _ in c.pipeline([c for key, c in more(i) if slots.holds(shard.ranges, slots.of_key(key))]):
                pass
        shutil.copyfile(cluster.scratch.save(), path)
        made.files.append(path)


def fading_hashes(count):
    """`count` hashes that are gone with their last field, and one in ten with a field that stays."""
    def make(_):
        for i in range(count):
            key = b"fading:%d" % i
            yield key, ["HSET", key, "f", i, "g", "x"]
            yield key, ["HPEXPIRE", key, FADING_MS, "FIELDS", 2, "f", "g"]
            if i % 10 == 0:
                yield key, ["HSET", key, "stays", i]
    return make


@pytest.mark.releases("redis80", "valkey91")
@pytest.mark.parametrize("keys, primaries, replicas", [(0, 1, 0), (60, 1, 1), (60, 3, 1)])
def test_hashes_whose_fields_expired(cluster, recovery, keys, primaries, replicas):
    """They are gone, or still to go, when they are loaded; what has a field left is there."""
    made = cluster.add("a", primaries=primaries, replicas=replicas, keys=None)
    add_files(cluster, made, keys, fading_hashes(100))
    written = time.monotonic()
    recovery.add_hosts(3).write()
    redis_server.wait_until(lambda: time.monotonic() > written + FADING_MS / 1000, "the expiry")
    recovery.recover()
    left = 0
    for shard in recovery.database(made)["shards"]:
        with recovery.connect(made, shard) as c:
            if made.sharded:
                c.call("READONLY")
            for key in contents.keys_of(c):
                if key.startswith(b"fading:"):
                    fields = c.call("HGETALL", key)
                    assert fields in ([], [b"stays", key.split(b":")[1]])
                    left += bool(fields)
                    c.call("TYPE", key)
    assert left == 10 * (1 + replicas)
    if replicas:
        assert_no_copy(recovery, made, primaries * replicas)
    assert recovery.resume().status == 0


def in_databases(numbers):
    """A key in each database, by commands that select it."""
    def make(_):
        for n in numbers:
            yield b"{a}%d" % n, ["SELECT", n]
            yield b"{a}%d" % n, ["SET", b"{a}%d" % n, n]
    return make


def assert_in_databases(recovery, made, numbers):
    found = {"primary": set(), "replica": set()}
    for shard in recovery.database(made)["shards"]:
        with recovery.connect(made, shard) as c:
            if made.sharded:
                c.call("READONLY")
            for n in numbers:
                c.call("SELECT", n)
                found[shard["role"]] |= {int(key[3:]) for key in contents.keys_of(c) if key == b"{a}%d" % n}
    assert found["primary"] == set(numbers) and found["replica"] in (set(), set(numbers))
    return found


@pytest.mark.releases("valkey91")
@pytest.mark.parametrize("options", [[], ["--full-sync"]])
def test_databases_of_a_cluster(cluster, recovery, options):
    """Those of Valkey 9 may have several."""
    made = cluster.add("a", primaries=3, replicas=1, keys=None)
    add_files(cluster, made, 60, in_databases([0, 1, 3, 15]))
    recovery.add_hosts(3).write()
    recovery.recover(*options)
    assert assert_in_databases(recovery, made, [0, 1, 3, 15])["replica"]
    recovery.resume()


@pytest.mark.releases("system", "redis80")
def test_databases_that_a_cluster_lacks(cluster, recovery):
    made = cluster.add("a", primaries=2, keys=None)
    add_files(cluster, made, 60, in_databases([0, 3]))
    recovery.add_hosts(2).write()
    run = recovery.recover(status=REFUSED)
    assert run.says("keys are in database 3") and run.says("cluster-databases")


@pytest.mark.releases("system", "redis60", "valkey91")
@pytest.mark.parametrize("options", [[], ["--full-sync"]])
def test_more_databases_than_servers_have(cluster, recovery, options):
    """16 is only the default: a single server and its replicas get as many as there are keys in."""
    cluster.scratch_settings = {"databases": 40}
    made = cluster.add("a", replicas=1, keys=None)
    add_files(cluster, made, 60, in_databases([0, 15, 16, 39]))
    recovery.add_hosts(2).write()
    recovery.recover(*options)
    assert assert_in_databases(recovery, made, [0, 15, 16, 39])["replica"]
