"""Replicas: they load their primary's file beside it and attach without a copy, or are sent one."""

import gzip
import json
import sqlite3
import time
from pathlib import Path

import pytest

from harness import redis_server
from program import USAGE


def query(recovery, sql, *values):
    with sqlite3.connect(f"file:{recovery.state}?mode=ro", uri=True) as db:
        return db.execute(sql, values).fetchall()


def syncs(recovery):
    """(sync_full, sync_partial) of each replica, as recorded."""
    rows = query(recovery, "SELECT loaded FROM placement WHERE role = 'replica'")
    return [(loaded["sync_full"], loaded["sync_partial"]) for loaded in map(json.loads, *zip(*rows))]


def full_sync_warnings(recovery):
    return query(recovery, "SELECT message FROM event WHERE code = 'full-sync'")


def sync_full_of_primaries(recovery, made):
    """What the primaries themselves say: how often they sent all of their data."""
    count = 0
    for shard in recovery.database(made)["shards"]:
        if shard["role"] == "primary":
            with recovery.connect(made, shard) as c:
                count += int(c.info("stats")["sync_full"])
    return count


def assert_no_copy(recovery, made, replicas):
    assert syncs(recovery) == [(0, 1)] * replicas
    assert sync_full_of_primaries(recovery, made) == 0
    assert full_sync_warnings(recovery) == []


def assert_writes_arrive(recovery, made):
    """Replication goes on: what is written to a primary comes to its replica."""
    shards = recovery.database(made)["shards"]
    primary = next(s for s in shards if s["role"] == "primary")
    with recovery.connect(made, primary) as c:
        c.call("SET", "written later", "1")
        assert c.call("WAIT", 1, 10000) >= 1


@pytest.mark.parametrize("replicas", [1, 2])
def test_no_data_is_sent(cluster, recovery, replicas):
    made = cluster.add("a", replicas=replicas, password="one", data_persistence="aof")
    recovery.add_hosts(3).write().recover()
    recovery.assert_recovered(made)
    assert_no_copy(recovery, made, replicas)
    assert_writes_arrive(recovery, made)
    report = recovery.run("report", "--state", recovery.state)
    assert report.says(f"{replicas} attached without copying data, 0 by a full copy"), report


@pytest.mark.releases("system", "redis80", "valkey91")
def test_no_data_is_sent_in_a_cluster(cluster, recovery):
    made = cluster.add("a", primaries=3, replicas=1, password="one")
    recovery.add_hosts(3).write().recover()
    recovery.assert_recovered(made)
    assert_no_copy(recovery, made, 3)
    for folder in recovery.server_folders():
        text = (folder / "redis.conf").read_text()
        assert "repl-backlog-ttl 0" not in text and "disable-thp" not in text
    for shard in recovery.database(made)["shards"]:
        with recovery.connect_admin(made, shard) as c:
            assert c.call("CONFIG", "GET", "repl-backlog-ttl")[1] == b"3600"


@pytest.mark.releases("system", "redis80", "valkey91")
def test_keys_that_expired_meanwhile_go_everywhere(cluster, recovery):
    """The primary drops them at its load, the replica keeps them until it is told."""
    made = cluster.add("a", replicas=1, password="one", keys=None)
    lasting = [["SET", f"key:{i}", "x"] for i in range(50)]
    cluster.write_backups(made, 0)
    path = made.files[0]
    made.digest = cluster.write_rdb(path, lasting)
    cluster.write_rdb(
        path, lasting + [["SET", f"soon:{i}", "x", "PX", 1500] for i in range(200)]
    )
    recovery.add_hosts(2).write()
    time.sleep(1.6)  # that they expire is what is tested
    recovery.recover()
    recovery.assert_recovered(made)
    assert_no_copy(recovery, made, 1)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_the_history_of_the_old_cluster_is_over(cluster, recovery, packed):
    """The file's own replication id and offset, as every primary with replicas saves them, stand before
    the new ones."""
    made = cluster.add("a", replicas=1, password="one", keys=None)
    cluster.write_backups(made, 0)
    made.digest = cluster.write_rdb(made.files[0], [["SET", f"key:{i}", "x"] for i in range(50)])
    saved = made.files[0].read_bytes()
    plain = gzip.decompress(saved) if saved[:2] == b"\x1f\x8b" else saved
    old = b"0123456789" * 4
    plain = plain[:9] + b"".join((
        b"\xfa\x0erepl-stream-db\xc0\x00", b"\xfa\x07repl-id\x28" + old, b"\xfa\x0brepl-offset\xc1\x88\x13",
    )) + plain[9:-8] + bytes(8)
    made.files[0].write_bytes(gzip.compress(plain) if packed else plain)
    recovery.add_hosts(2).write().recover()
    recovery.assert_recovered(made)
    assert_no_copy(recovery, made, 1)
    for shard in recovery.database(made)["shards"]:
        with recovery.connect(made, shard) as c:
            replication = c.info("replication")
        assert old.decode() not in replication.values() and int(replication["master_repl_offset"]) < 5000
    assert_writes_arrive(recovery, made)


@pytest.mark.releases("system", "redis80", "valkey91")
def test_full_sync_is_a_choice(cluster, recovery):
    made = cluster.add("a", primaries=2, replicas=1, password="one")
    recovery.add_hosts(2).write().recover("--full-sync")
    recovery.assert_recovered(made)
    assert syncs(recovery) == [(1, 0)] * 2
    assert full_sync_warnings(recovery) == []
    fetched = query(recovery, "SELECT count(*) FROM task WHERE kind = 'fetch'")
    assert fetched == [(2,)]
    for planned in (("--database", "db:1"), ("--at", "2026-01-01T00:00:00Z"), ("--hosts", "other.json"), ("--resort",)):
        assert recovery.resume(*planned, status=USAGE).says(f"'{planned[0]}' can't be given")
    run = recovery.resume("--full-sync", status=USAGE)
    assert "--full-sync" in run.err


def write_stored(cluster, path, value):
    """A backup of one key that is as long for each value of the same length."""
    plain = cluster.folder / "plain.rdb"
    digest = cluster.write_rdb(plain, [["SET", "key", value]])
    path.write_bytes(gzip.compress(plain.read_bytes(), 0))
    return digest


def test_another_file_on_the_replica_is_not_loaded(cluster, recovery):
    """The backup changes between the two fetches: equal size, other data. The primary's counts."""
    made = cluster.add("a", replicas=1, password="one", keys=None)
    cluster.write_backups(made, 0)
    made.digest = write_stored(cluster, made.files[0], "theirs")
    recovery.add_hosts(2).write().recover("--until", "transfer")
    write_stored(cluster, made.files[0], "others")
    replica = query(recovery, "SELECT dir, host FROM placement WHERE role = 'replica'")[0]
    base_dir = next(h["base_dir"] for h in recovery.hosts if h["name"] == replica[1])
    for file in (Path(base_dir) / replica[0] / "incoming").iterdir():
        file.unlink()
    recovery.resume()
    recovery.assert_recovered(made)
    assert syncs(recovery) == [(1, 0)]
    assert len(full_sync_warnings(recovery)) == 1


def test_replica_cannot_reach_a_primary_without_proof(cluster, recovery):
    """Primaries keep replicas out until their own keys are proven, also one that was restarted."""
    made = cluster.add("a", replicas=1, password="one")
    recovery.add_hosts(2).write().recover("--until", "prepare")
    for folder in recovery.server_folders():
        assert "user replication off " in (folder / "users.acl").read_text()
    recovery.resume("--until", "load")
    primary = query(recovery, "SELECT dir FROM placement WHERE role = 'primary'")[0][0]
    folder = next(f for f in recovery.server_folders() if str(f).endswith(primary))
    assert "user replication on " in (folder / "users.acl").read_text()
    recovery.resume()
    recovery.assert_recovered(made)


@pytest.mark.releases("system", "redis80", "valkey91")
@pytest.mark.parametrize("role", ["primary", "replica"])
def test_server_that_died_after_its_load(cluster, recovery, role):
    made = cluster.add("a", replicas=1, password="one")
    recovery.add_hosts(2).write().recover("--until", "load")
    (dir_,) = query(recovery, "SELECT dir FROM placement WHERE role = ?", role)[0]
    folder = next(f for f in recovery.server_folders() if str(f).endswith(dir_))
    assert redis_server.kill_by_pid_file(folder / "redis.pid")
    recovery.resume()
    recovery.assert_recovered(made)


def test_fast_load_ends_with_the_recovery(cluster, recovery):
    made = cluster.add("a", replicas=1, password="one")
    recovery.add_hosts(2).write().recover("--fast-load", "--until", "load")
    found = query(recovery, "SELECT host, message, detail FROM event WHERE code = 'fast-load' ORDER BY host")
    assert [host for host, _, _ in found] == ["h1", "h2"]
    # Each host has measured it, and does without where it does not help.
    for host, (_, message, detail) in zip(recovery.hosts, found):
        measured = json.loads(detail)
        assert measured["helps"] == (measured["fast_ms"] < 0.9 * measured["usual_ms"]), measured
        assert ("is used on" if measured["helps"] else "is not used on") in message
        for folder in recovery.server_folders():
            if host["base_dir"] in str(folder):
                assert ("disable-thp no" in (folder / "redis.conf").read_text()) == measured["helps"]
                pid = (folder / "redis.pid").read_text().strip()
                enabled = "THP_enabled:\t1" in Path(f"/proc/{pid}/status").read_text()
                assert enabled or not measured["helps"]
    recovery.resume()
    recovery.assert_recovered(made)
    assert_no_copy(recovery, made, 1)
    for folder in recovery.server_folders():
        assert "disable-thp" not in (folder / "redis.conf").read_text()


def test_cluster_by_commands(cluster, recovery):
    """For servers of which nobody knows whether they take a written nodes.conf."""
    made = cluster.add("a", primaries=3, replicas=1, password="one", keys=200)
    recovery.add_hosts(2).write()
    recovery.recover(env={"RECLUSTER_TEST_MEET": "1"})
    recovery.assert_recovered(made)
    assert query(recovery, "SELECT count(*) FROM placement WHERE node_id IS NOT NULL") == [(0,)]
    assert syncs(recovery) == [(1, 0)] * 3
    assert full_sync_warnings(recovery) == []


def test_cluster_by_commands_after_kills(cluster, recovery):
    made = cluster.add("a", primaries=2, replicas=1, password="one", keys=40)
    recovery.add_hosts(2).write()
    recovery.recover("--until", "prepare", env={"RECLUSTER_TEST_MEET": "1"})
    for n in range(5, 1000, 12):
        if recovery.resume(env={"RECLUSTER_TEST_KILL_AT": n}, status=None).status == 0:
            break
    recovery.assert_recovered(made)
