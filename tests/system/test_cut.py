"""Backup files of other slots than the shards': cut and joined on the way to the hosts."""

import json
import sqlite3

import pytest

from dead_cluster import STAMP, commands
from harness import contents, network, redis_server, slots
from harness.http_server import Nginx
from program import REFUSED


def write_backup_of(cluster, made, parts, keys=200, policy="16k"):
    """A backup set of `parts` files, whatever number of primaries the CCS file has."""
    made.digest = contents.Digest()
    made.files = []
    for i, (first, last) in enumerate(slots.split(parts)):
        part = [
            command for key, command in commands(keys, made.database.uid)
            if first <= slots.of_key(key) <= last
        ]
        path = cluster.backups / (
            f"bk{STAMP}-{made.database.uid}-{made.database.name}-{i + 1}_of_{parts}-{90 + i}"
            f"-{first}-{last}.rdb.gz"
        )
        made.digest += cluster.write_rdb(path, part)
        made.files.append(path)


@pytest.fixture
def web(cluster, folder, net):
    """Serves the backups, and notes what it sent."""
    server = Nginx(folder / "web", cluster.backups, net.addr(5), network.free_port(net.addr(5)), log=True)
    return server.start()


def bytes_sent(web, made):
    """By file name."""
    sent = dict.fromkeys((path.name for path in made.files), 0)
    for name, count in web.sent():
        if name in sent:
            sent[name] += count
    return sent


def loaded_syncs(recovery):
    with sqlite3.connect(f"file:{recovery.state}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT loaded FROM placement WHERE role = 'replica'").fetchall()
    return {(loaded["sync_full"], loaded["sync_partial"]) for loaded in map(json.loads, *zip(*rows))}


@pytest.mark.parametrize("parts, primaries", [(1, 3), (2, 3), (3, 2), (5, 2)])
def test_other_number_of_files_than_shards(cluster, recovery, parts, primaries):
    made = cluster.add("a", primaries=primaries, replicas=1, password="one", keys=None)
    write_backup_of(cluster, made, parts)
    recovery.add_hosts(2).write().recover()
    recovery.assert_recovered(made)
    assert loaded_syncs(recovery) == {(0, 1)}


def test_a_cut_file_stays_the_same_after_a_kill(cluster, recovery):
    """The record of what a cut file was made of outlives the run that made it."""
    made = cluster.add("a", primaries=2, password="one", keys=None)
    write_backup_of(cluster, made, 3)
    recovery.add_hosts(2).write().recover("--until", "transfer")
    for path in made.files:
        path.unlink()
    recovery.resume()
    recovery.assert_recovered(made)


@pytest.mark.parametrize("parts, primaries", [(1, 4), (3, 4)])
def test_a_file_comes_once_to_a_host(cluster, recovery, web, parts, primaries):
    """However many of the host's shards need a part of it."""
    made = cluster.add("a", primaries=primaries, replicas=1, password="one", keys=None)
    write_backup_of(cluster, made, parts, keys=20000)
    recovery.sources = {f"db:{made.database.uid}": web.url}
    recovery.add_hosts(2).write().recover()
    recovery.assert_recovered(made)
    assert loaded_syncs(recovery) == {(0, 1)}
    for path in made.files:
        size, sent = path.stat().st_size, bytes_sent(web, made)[path.name]
        assert size > 50_000
        assert 2 * size <= sent < 2 * size + 50_000, (sent, size)  # the planner reads heads


def test_a_shared_pass_goes_on_where_it_was_killed(cluster, recovery, net, folder):
    """What has come for four shards is not fetched again for any of them."""
    made = cluster.add("a", primaries=4, password="one", keys=None)
    write_backup_of(cluster, made, 1, keys=20000)
    (path,) = made.files
    size = path.stat().st_size
    rate = size // 3  # a second
    web = Nginx(
        folder / "web", cluster.backups, net.addr(5), network.free_port(net.addr(5)), limit_rate=rate, log=True,
    ).start()
    recovery.sources = {f"db:{made.database.uid}": web.url}
    recovery.add_hosts(1).write().recover("--until", "prepare")
    planned = bytes_sent(web, made)[path.name]
    run = recovery.start("recover", "--state", recovery.state, "--yes")

    def kept():
        return sum(p.stat().st_size for p in recovery.folder.rglob("*.fetch0"))

    redis_server.wait_until(lambda: kept() >= size // 2, "half of the file")
    run.kill()
    run.communicate()
    redis_server.wait_until(lambda: not recovery.processes(), "the end of the agent")
    assert kept() < size and not list((recovery.folder / "hosts").rglob("incoming/*.rdb"))
    recovery.resume()
    recovery.assert_recovered(made)
    assert size <= bytes_sent(web, made)[path.name] - planned < size * 5 // 4, (web.sent(), size)
    left = [p for kind in ("*.fetch*", "*.part") for p in recovery.folder.rglob(kind)]
    assert left == []


def test_a_shard_that_is_refused_does_not_hold_up_the_others(cluster, recovery):
    """One file is cut for two shards; in the half of one there is a key that no cluster can hold."""
    made = cluster.add("a", primaries=2, password="one", keys=None)
    write_backup_of(cluster, made, 1)
    key = "{b}:other"
    assert slots.of_key(key.encode()) < slots.COUNT // 2
    cluster.write_rdb(
        made.files[0], [c for _, c in commands(200, made.database.uid)] + [["SELECT", "3"], ["SET", key, "1"]])
    recovery.add_hosts(1).write()
    run = recovery.recover(status=REFUSED)
    assert run.says("1 keys are in database 3"), run
    with sqlite3.connect(f"file:{recovery.state}?mode=ro", uri=True) as db:
        states = db.execute(
            "SELECT shard_uid, state FROM task WHERE kind = 'fetch' ORDER BY shard_uid").fetchall()
    first, second = (shard.uid for shard in made.database.shards)
    assert states == [(first, "failed"), (second, "done")]
    (there,) = (recovery.folder / "hosts").rglob("incoming/*.rdb")
    assert recovery.running_servers() == [] and there.stat().st_size > 0


@pytest.mark.releases("system", "redis80", "valkey91")
def test_cutting_survives_kills(cluster, recovery):
    made = cluster.add("a", primaries=3, replicas=1, password="one", keys=None)
    write_backup_of(cluster, made, 2)
    recovery.add_hosts(2).write().recover("--until", "prepare")
    for n in range(3, 1000, 9):
        if recovery.resume(env={"RECLUSTER_TEST_KILL_AT": n}, status=None).status == 0:
            break
    recovery.assert_recovered(made)
    assert loaded_syncs(recovery) == {(0, 1)}


def test_no_key_may_go_nowhere(cluster, recovery):
    """A file that is cut holds keys of slots that another file is for."""
    made = cluster.add("a", primaries=2, password="one", keys=None)
    write_backup_of(cluster, made, 3)
    part = [c for key, c in commands(200, "x") if slots.of_key(key) < slots.COUNT // 2]
    assert any(slots.of_key(c[1]) > slots.COUNT // 3 for c in part)
    cluster.write_rdb(made.files[0], [["SET", "{b}:foreign", "1"], ["SET", "{foo}:foreign", "1"]] + part)
    recovery.add_hosts(2).write()
    run = recovery.recover(status=None)
    assert run.status == REFUSED and run.says("keys"), run
    assert recovery.running_servers() == []


@pytest.mark.releases("system", "redis80", "valkey91")
def test_resort(cluster, recovery):
    """Each file holds the slots that the other is named for."""
    made = cluster.add("a", primaries=2, password="one", keys=60)
    first, second = made.files
    swapped = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(swapped)
    recovery.add_hosts(2).write()
    run = recovery.recover(status=REFUSED)
    assert run.says("--resort"), run
    recovery.state = recovery.folder / "second.state"
    recovery.run("abort", "--state", recovery.folder / "recovery.state", "--yes")
    recovery.recover("--resort")
    recovery.assert_recovered(made)
