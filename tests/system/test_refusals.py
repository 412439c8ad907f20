"""What must not be recovered is refused: a clear message, the exit status, and nothing touched."""

import gzip
import os
import socket

import pytest

from dead_cluster import STAMP
from harness import ccs_file, redis_server, slots
from program import DONE, PARTLY, REFUSED


def refused(recovery, *words, status=REFUSED, command="recover"):
    """The command fails with these words, and the hosts are as they were."""
    before = recovery.host_files()
    if command == "recover":
        run = recovery.recover(status=status)
    else:
        run = recovery.plan(status=status)
    for word in words:
        assert run.says(word), f"'{word}' is not in\n{run}"
    assert recovery.host_files() == before
    assert recovery.running_servers() == []
    return run


def refused_by_plan_too(recovery, *words):
    refused(recovery, *words, command="plan")
    document = recovery.plan("--json", status=REFUSED).json
    assert document["feasible"] is False and document["blockers"]
    refused(recovery, *words)


def test_live_old_shard(cluster, recovery):
    made = cluster.add("a")
    recovery.add_hosts(1).write()
    shard = made.database.shards[0]
    redis_server.Server(
        recovery.folder / "old", cluster.nodes[0].addr, shard.port, "not known to us"
    ).start()
    refused(recovery, cluster.nodes[0].addr, str(shard.port))


def test_live_old_endpoint(cluster, recovery):
    made = cluster.add("a")
    recovery.add_hosts(1).write()
    with socket.socket() as listener:
        listener.bind((cluster.nodes[0].addr, made.database.port))
        listener.listen(8)
        refused(recovery, cluster.nodes[0].addr, str(made.database.port))


def test_old_cluster_that_answers_but_is_declared_dead(cluster, recovery):
    """A machine that got the old address since then: the operator vouches by the cluster's name."""
    made = cluster.add("a")
    recovery.add_hosts(1).write()
    with socket.socket() as listener:
        listener.bind((cluster.nodes[0].addr, made.database.port))
        listener.listen(8)
        recovery.recover("--old-cluster-is-dead", "another.example.com", status=None)
        assert recovery.running_servers() == []
        recovery.recover("--old-cluster-is-dead", "old.example.com", status=DONE)
    recovery.assert_recovered(made)


def test_foreign_host_directory(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(2).write()
    for host in recovery.hosts:
        os.makedirs(host["base_dir"])
        with open(os.path.join(host["base_dir"], "photos.tar"), "w", encoding="utf-8") as f:
            f.write("precious")
    refused_by_plan_too(recovery, recovery.hosts[0]["base_dir"], "photos.tar")


def test_host_directory_of_another_recovery(cluster, recovery):
    made = cluster.add("a")
    recovery.add_hosts(1).write().recover()
    recovery.state = recovery.folder / "another.state"
    before = recovery.host_files()
    run = recovery.recover(status=REFUSED)
    assert run.says("belongs to another recovery") and run.says(" since 20"), run
    assert run.says("recluster abort --state FILE"), run
    assert recovery.host_files() == before
    recovery.state = recovery.folder / "recovery.state"
    recovery.assert_recovered(made)


def test_endpoint_port_taken(cluster, recovery):
    made = cluster.add("a")
    recovery.add_hosts(1).write()
    with socket.socket() as listener:
        listener.bind((recovery.hosts[0]["addr"], made.database.port))
        listener.listen(1)
        refused_by_plan_too(recovery, str(made.database.port))


def test_not_enough_memory(cluster, recovery):
    cluster.add("a", memory_size=str(3 << 30))
    recovery.add_hosts(2).write()
    refused_by_plan_too(recovery, "memory")


def test_not_enough_disk(cluster, recovery):
    """A backup file of 8 TB, nearly all of it a hole."""
    made = cluster.add("a", keys=None)
    path = cluster.backups / ccs_file.backup_name(
        STAMP, made.database, 1, made.database.shards[0]
    ).removesuffix(".gz")
    part = cluster.backups / "part"
    cluster.write_rdb(part, [["SET", "a", "b"]])
    with open(path, "wb") as f:
        f.write(part.read_bytes())
        f.truncate(8 << 40)
    part.unlink()
    recovery.defaults["memory"] = "1000T"
    recovery.add_hosts(1).write()
    refused_by_plan_too(recovery, "disk")


def test_too_few_hosts_for_replicas(cluster, recovery):
    cluster.add("a", replicas=1)
    recovery.add_hosts(1).write()
    refused_by_plan_too(recovery, "host")


def test_no_server(cluster, recovery):
    cluster.add("a")
    recovery.defaults["server"] = "/nowhere/redis-server"
    recovery.add_hosts(1).write()
    refused_by_plan_too(recovery, "/nowhere/redis-server", "apt-get install redis-server")


def test_server_too_old_for_the_file(cluster, recovery):
    made = cluster.add("a")
    data = bytearray(gzip.decompress(made.files[0].read_bytes()))
    newer = int(data[5:9]) + 1  # a server writes the newest version that it loads
    data[5:9] = b"%04d" % newer
    data[-8:] = bytes(8)
    made.files[0].write_bytes(gzip.compress(data))
    recovery.add_hosts(1).write()
    refused_by_plan_too(recovery, f"RDB version {newer}")


def test_missing_slots(cluster, recovery):
    made = cluster.add("a", primaries=3)
    made.files[1].unlink()
    recovery.add_hosts(2).write()
    first, last = slots.split(3)[1]
    refused_by_plan_too(recovery, f"{first}-{last}")


def test_no_backup_at_all(cluster, recovery):
    made = cluster.add("a")
    made.files[0].unlink()
    recovery.add_hosts(1).write()
    refused_by_plan_too(recovery, str(cluster.backups))


def test_location_that_is_gone(cluster, recovery):
    cluster.add("a", backup_location=ccs_file.backup_location("/mnt/gone"))
    recovery.add_hosts(1).write()
    refused_by_plan_too(recovery, "/mnt/gone")


def spoiled(recovery, made, *words):
    """The file of the first shard is found bad on its way: it never gets its final name, no server
    starts on it, and clients get in nowhere."""
    run = recovery.recover(status=REFUSED)
    for word in words:
        assert run.says(word), f"'{word}' is not in\n{run}"
    database = recovery.database(made)
    assert database["state"] == "failed"
    bad = next(s for s in database["shards"] if s["uid"] == made.database.shards[0].uid)
    folder = next((recovery.folder / "hosts").rglob(f"shard-{bad['uid']}"))
    assert not (folder / "dump.rdb").exists() and not (folder / "redis.pid").exists()
    assert list((folder / "incoming").iterdir()) == []
    for shard in database["shards"]:
        try:
            with recovery.connect(made, shard) as c:
                c.call("GET", "x")
                raise AssertionError("a client got in")
        except (ConnectionRefusedError, redis_server.resp.ReplyError):
            pass


@pytest.mark.parametrize("where", [0.3, 0.6, 0.99])
def test_corrupt_backup(cluster, recovery, where):
    made = cluster.add("a")
    data = bytearray(gzip.decompress(made.files[0].read_bytes()))
    data[int(len(data) * where)] ^= 0x10
    made.files[0].write_bytes(gzip.compress(data))
    recovery.add_hosts(1).write()
    spoiled(recovery, made, made.files[0].name)


def test_truncated_backup(cluster, recovery):
    made = cluster.add("a")
    data = made.files[0].read_bytes()
    made.files[0].write_bytes(data[: len(data) * 2 // 3])
    recovery.add_hosts(1).write()
    spoiled(recovery, made, made.files[0].name)


def test_truncated_before_it_was_compressed(cluster, recovery):
    made = cluster.add("a")
    data = gzip.decompress(made.files[0].read_bytes())
    made.files[0].write_bytes(gzip.compress(data[: len(data) * 2 // 3]))
    recovery.add_hosts(1).write()
    spoiled(recovery, made, made.files[0].name)


def test_corrupt_compression(cluster, recovery):
    made = cluster.add("a")
    data = bytearray(made.files[0].read_bytes())
    data[len(data) // 2] ^= 0xFF
    made.files[0].write_bytes(data)
    recovery.add_hosts(1).write()
    spoiled(recovery, made, made.files[0].name)


def test_keys_of_foreign_slots(cluster, recovery):
    made = cluster.add("a", primaries=2)
    names = [b"f%d" % i for i in range(100)]
    own = next(k for k in names if slots.of_key(k) < slots.COUNT // 2)
    foreign = next(k for k in names if slots.of_key(k) >= slots.COUNT // 2)
    cluster.write_rdb(made.files[0], [["SET", own, 1], ["SET", foreign, 2]])
    recovery.add_hosts(2).write()
    spoiled(recovery, made, made.files[0].name, "slots of other shards", f"'{foreign.decode()}' in slot")


def test_keys_outside_database_0(cluster, recovery):
    made = cluster.add("a", primaries=2)
    own = next(k for k in (b"f%d" % i for i in range(100)) if slots.of_key(k) < slots.COUNT // 2)
    cluster.write_rdb(made.files[0], [["SELECT", 3], ["SET", own, 1]])
    recovery.add_hosts(2).write()
    spoiled(recovery, made, made.files[0].name, "keys are in database 3")


def test_keys_outside_database_0_are_fine_where_nothing_is_sharded(cluster, recovery):
    made = cluster.add("a", keys=None)
    path = cluster.backups / ccs_file.backup_name(
        STAMP, made.database, 1, made.database.shards[0]
    )
    made.digest = cluster.write_rdb(path, [["SET", "y", 1], ["SELECT", 3], ["SET", "x", "1"]])
    recovery.add_hosts(1).write().recover()
    database = recovery.assert_recovered(made)
    with recovery.connect(made, database["shards"][0]) as c:
        c.call("SELECT", 3)
        assert c.call("GET", "x") == b"1"


def module_value(key):
    """An RDB file (version 9, without a checksum) with one value of a module's type."""
    module_id = 0
    for letter in "faketype1":
        charset = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        module_id = module_id << 6 | charset.index(letter)
    module_id = module_id << 10 | 1
    value = b"\x81" + module_id.to_bytes(8, "big") + b"\x02\x05" + b"\x00"
    return b"REDIS0009\xfe\x00\x07" + bytes([len(key)]) + key + value + b"\xff" + bytes(8)


def test_module_values_without_the_module(cluster, recovery):
    made = cluster.add("a")
    made.files[0].write_bytes(gzip.compress(module_value(b"m")))
    recovery.add_hosts(1).write()
    spoiled(recovery, made, "faketype1", "module")


@pytest.mark.parametrize("fields,word", [
    ({"type": "memcached"}, "memcached"),
    ({"crdt": "enabled", "crdt_guid": "4d9b", "crdt_replica_id": "1"}, "active-active"),
])
def test_databases_that_nobody_can_recover_do_not_stop_the_others(cluster, recovery, fields, word):
    good = cluster.add("good", password="secret")
    bad = cluster.add("bad", **fields)
    recovery.add_hosts(1).write()
    run = recovery.plan()
    assert run.says(word), run
    run = recovery.recover(status=PARTLY)
    assert run.says(word), run
    recovery.assert_recovered(good)
    assert len(recovery.running_servers()) == 1
    assert recovery.status()["state"] == "partly"
    assert recovery.database(bad)["state"] == "skipped"


def test_nothing_but_databases_that_nobody_can_recover(cluster, recovery):
    cluster.add("bad", type="memcached")
    recovery.add_hosts(1).write()
    refused(recovery, "memcached")


def test_one_spoiled_database_does_not_stop_the_others(cluster, recovery):
    good = cluster.add("good", primaries=2, password="secret")
    bad = cluster.add("bad")
    data = bad.files[0].read_bytes()
    bad.files[0].write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    recovery.add_hosts(2).write()
    run = recovery.recover(status=PARTLY)
    assert bad.files[0].name in run.err
    recovery.assert_recovered(good)
    assert recovery.database(bad)["state"] == "failed"

    # Once the file is whole again, a rerun brings the rest.
    bad.files[0].write_bytes(data)
    recovery.resume(status=DONE)
    recovery.assert_recovered(bad)
    recovery.assert_recovered(good)


def test_no_terminal_to_ask_on(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write()
    run = recovery.run(
        "recover", recovery.ccs, "--hosts", recovery.hosts_file, "--state", recovery.state,
        status=REFUSED,
    )
    assert "--yes" in run.err
    assert recovery.host_files() == []


def test_a_file_that_is_no_ccs_file(cluster, recovery, folder):
    recovery.add_hosts(1).write_hosts()
    for name, data in {
        "empty": b"", "text": b"hello\n", "half.rdb": b"REDIS0011\xfa\x09redis-ver\x05",
        "other.json": b'{"a": 1}', "half.json": b'{"bdb:1": {"name": "x"',
    }.items():
        path = folder / name
        path.write_bytes(data)
        run = recovery.run("inspect", path, status=None)
        assert run.status in (1, 4) and str(path) in run.err, run
        run = recovery.run(
            "recover", path, "--hosts", recovery.hosts_file, "--state", recovery.state, "--yes",
            status=None,
        )
        assert run.status in (1, 4), run
        assert recovery.host_files() == []


def test_hosts_file_with_a_typo(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write()
    recovery.hosts[0]["rak"] = "a"
    recovery.write_hosts()
    run = recovery.plan(status=2)
    assert "'rak'" in run.err and "'rack'" in run.err


def test_a_file_that_is_in_the_way_of_the_state_file(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write()
    recovery.state.write_text("notes of the on-call admin\n")
    run = recovery.recover(status=None)
    assert run.status in (1, 4), run
    assert recovery.state.read_text() == "notes of the on-call admin\n"
    assert recovery.host_files() == []
