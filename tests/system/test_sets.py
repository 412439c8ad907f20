"""Which backup set is taken, and that the first cause is told where none can be."""

import json

import pytest

from harness import contents, slots
from harness.rdb_bytes import aux, expiry, head, rdb, select, sizes, string, strings
from program import DONE, FAILED, REFUSED
from test_files import GOOD, Plain, keys_of, nodes_json, put

NAME = "bk{stamp}-1-{db}-1_of_1-1-0-16383.rdb"
ID = [f"{i:040x}" for i in (1, 2, 3)]


def recovered(recovery, status):
    """The keys of the only database, whoever made it."""
    found, made = {}, Plain(recovery)
    for shard in status["databases"][0]["shards"]:
        if shard["role"] == "primary":
            with recovery.connect(made, shard) as c:
                found |= {k.decode(): c.call("GET", k).decode() for k in c.call("KEYS", "*")}
    return found


CAUSES = {
    "empty": (b"", "the file is empty"),
    "an append-only file": (b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n", "starts like an append-only file"),
    "a version that is not known": (rdb(head() + select(0) + strings("a"), 15), "RDB version 15"),
    "a wrong checksum": (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "wrong checksum"),
    "bytes behind its end": (GOOD + b"REDIS", "bytes after the end"),
    "encrypted": (b"Salted__" + bytes(range(200)), "starts with 'Salted__"),
}


@pytest.mark.parametrize("what", CAUSES)
def test_the_cause_comes_before_the_slots(what, cluster, recovery, folder):
    data, words = CAUSES[what]
    cluster.add("orders", primaries=2, keys=None)
    place = put(folder / "place", {"dump.rdb": data})
    recovery.add_hosts(1).write()
    run = recovery.plan("--source", f"db:1={place}", "--json", status=REFUSED).json
    blocker = next(b for b in run["blockers"] if b["database"] == "db:1")
    assert words in blocker["message"] and "1970" not in blocker["message"], blocker
    assert blocker["message"].index(words) < blocker["message"].index("0-16383"), blocker


def test_a_file_of_an_unfinished_save_is_left_out(cluster, recovery, folder):
    made = cluster.add("plain", keys=None)
    place = put(folder / "place", {"dump.rdb": GOOD, "temp-1234.rdb": GOOD[:90]})
    recovery.add_hosts(1).write()
    assert recovery.plan("--source", f"db:1={place}").says("'temp-1234.rdb' is left out")
    recovery.recover("--source", f"db:1={place}")
    assert set(keys_of(recovery, made)) == {"a", "b", "c"}


# --- a dump of a server that was no cluster ---


def test_one_dump_for_several_shards(cluster, recovery, folder):
    made = cluster.add("orders", primaries=3, keys=None)
    keys = [f"key:{i}" for i in range(40)]
    place = put(folder / "place", {"dump.rdb": rdb(head() + select(0) + strings(*keys))})
    recovery.add_hosts(1).write()
    run = recovery.plan("--source", f"db:1={place}", status=REFUSED)
    assert run.says("'dump.rdb' fits no shard: its keys are in the slots") and run.says("--resort"), run
    recovery.recover("--source", f"db:1={place}", "--resort")
    assert set(keys_of(recovery, made)) == set(keys)


def test_keys_of_another_database_are_named(cluster, recovery, folder):
    cluster.add("orders", primaries=3, keys=None)
    data = rdb(head() + select(0) + strings(*"abcdef") + select(1) + strings("x"))
    place = put(folder / "place", {"dump.rdb": data})
    recovery.add_hosts(1).write()
    run = recovery.recover("--source", f"db:1={place}", "--resort", status=REFUSED)
    assert run.says("keys in database 1"), run


# --- folders of the nodes of a plain cluster ---


def conf_of(own):
    lines = [f"{ID[i]} 127.69.0.1:{7801 + i}@{17801 + i} {'myself,' if i == own else ''}master - 0 1796036793942 "
             f"{i + 1} connected {a}-{b}\n" for i, (a, b) in enumerate(slots.split(3))]
    return "".join(lines + ["vars currentEpoch 6 lastVoteEpoch 0\n"]).encode()


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)


def node_folders(folder, aof):
    """Data folders of three nodes, and the keys in them."""
    keys = [f"key:{i}" for i in range(60)]
    folders = []
    for i, owned in enumerate(slots.split(3)):
        own = [k for k in keys if slots.holds([owned], slots.of_key(k.encode()))]
        place = put(folder / f"n{i}", {"nodes.conf": conf_of(i)})
        if aof:
            put(place / "appendonlydir", {
                "appendonly.aof.1.base.rdb": rdb(head() + aux("aof-base", "1") + select(0) + strings(*own[:5])),
                "appendonly.aof.1.incr.aof": command("SELECT", "0")
                + b"".join(command("SET", k, "v") for k in own[5:]),
                "appendonly.aof.manifest": b"file appendonly.aof.1.base.rdb seq 1 type b\n"
                                           b"file appendonly.aof.1.incr.aof seq 1 type i\n"})
        else:
            put(place, {"dump.rdb": rdb(head() + select(0) + strings(*own))})
        folders.append(str(place))
    return folders, keys


@pytest.mark.parametrize("options", [[], ["--resort"], ["--shards", "db:1=2"]], ids=["same", "resort", "fewer"])
@pytest.mark.parametrize("aof", [False, True], ids=["rdb", "aof"])
def test_folders_of_plain_nodes(aof, options, recovery, folder):
    folders, keys = node_folders(folder, aof)
    recovery.add_hosts(2)
    recovery.hosts[0]["recovery_path"] = folders[:2]
    recovery.hosts[1]["recovery_path"] = folders[2:]
    recovery.write_hosts()
    recovery.ccs = nodes_json(folder / "map", [GOOD] * 3)
    recovery.recover("--source", "db:1=disks", *options)
    assert set(recovered(recovery, recovery.status())) == set(keys)


def test_folders_without_files_are_named(recovery, folder):
    empty = folder / "nothing"
    empty.mkdir()
    recovery.add_hosts(1, recovery_path=str(empty)).write_hosts()
    recovery.ccs = nodes_json(folder / "map", [GOOD] * 3)
    run = recovery.plan("--source", "db:1=disks", status=REFUSED)
    assert run.says(str(empty)) and run.says(f"redis-{ID[0]}.rdb") and run.says("myself"), run


# --- what is odd about a set ---


def test_a_newest_set_without_keys_is_told_of(cluster, recovery):
    made = cluster.add("orders", keys=None)
    put(cluster.backups, {
        NAME.format(stamp="20261120-030000", db="orders"): rdb(head()),
        NAME.format(stamp="20261119-030000", db="orders"): GOOD})
    recovery.add_hosts(1).write()
    run = recovery.plan()
    assert run.says("has no keys") and run.says("--at 2026-11-19T03:00:00Z"), run
    recovery.recover("--at", "2026-11-19T03:00:00Z")
    assert set(keys_of(recovery, made)) == {"a", "b", "c"}


def test_a_set_of_the_future_is_passed_over(cluster, recovery):
    made = cluster.add("orders", keys=None)
    put(cluster.backups, {
        NAME.format(stamp="20990101-000000", db="orders"): rdb(head() + select(0) + strings("x")),
        NAME.format(stamp="20251119-030000", db="orders"): GOOD})
    recovery.add_hosts(1).write()
    run = recovery.plan()
    assert run.says("2099-01-01T00:00:00Z, which is in the future") and run.says("set of 2025-11-19"), run
    recovery.recover()
    assert set(keys_of(recovery, made)) == {"a", "b", "c"}


def test_of_a_time_that_cannot_be_nothing_is_claimed(cluster, recovery, folder):
    cluster.add("plain", keys=None)
    place = put(folder / "place", {"dump.rdb": rdb(head(ctime=4102444800) + select(0) + strings("a"))})
    recovery.add_hosts(1).write()
    run = recovery.plan("--source", f"db:1={place}")
    assert run.says("is in the future") and not run.says("0.0 s since then"), run
    assert recovery.plan("--source", f"db:1={place}", "--json").json["databases"][0]["backup_set"]["age_s"] is None
    recovery.recover("--source", f"db:1={place}")
    assert recovery.status()["rpo_s"] is None


def test_a_name_and_its_file_of_different_times(cluster, recovery):
    cluster.add("orders", keys=None)
    put(cluster.backups, {NAME.format(stamp="20261101-030000", db="orders"): GOOD})
    recovery.add_hosts(1).write()
    assert recovery.plan().says("says that it was saved at 2025-11-22"), recovery.plan()


def test_folders_of_a_location_are_named(cluster, recovery, folder):
    cluster.add("plain", keys=None)
    place = folder / "place"
    for day in ("2026-11-19", "2026-11-20"):
        (place / day).mkdir(parents=True)
    recovery.add_hosts(1).write()
    run = recovery.plan("--source", f"db:1={place}", status=REFUSED)
    assert run.says("'2026-11-19', '2026-11-20'") and not run.says("Is the storage mounted"), run


def test_a_node_map_with_a_byte_order_mark(recovery, folder):
    ccs = nodes_json(folder / "saved", [rdb(head() + select(0) + strings(*k)) for k in ("b", "a")])
    ccs.write_bytes(b"\xef\xbb\xbf" + ccs.read_bytes())
    recovery.add_hosts(1).write_hosts()
    recovery.ccs = ccs
    assert recovery.run("verify", folder / "saved", "--json").json["sets"][0]["complete"]
    recovery.recover()
    assert set(recovered(recovery, recovery.status())) == {"a", "b"}


def test_ranges_of_one_slot(recovery, folder):
    ccs = nodes_json(folder / "saved", [rdb(head() + select(0) + strings(k)) for k in "bca"])
    nodes = json.loads(ccs.read_text())
    for node, owned in zip(nodes, ([[0, 5460]], [[5461], [5463], [5465, 10922]], [[5462], [5464], [10923, 16383]])):
        node["slots"] = owned
    ccs.write_text(json.dumps(nodes))
    recovery.add_hosts(1).write_hosts()
    recovery.ccs = ccs
    inspected = recovery.run("inspect", ccs, "--json").json["databases"][0]
    assert sum(b - a + 1 for s in inspected["shards"] for a, b in s["slots"]) == 16384
    assert recovery.run("verify", folder / "saved", "--json").json["sets"][0]["complete"]
    recovery.recover()
    assert set(recovered(recovery, recovery.status())) == {"a", "b", "c"}


def test_slots_that_cannot_be_read_are_the_cause(recovery, folder):
    ccs = nodes_json(folder / "saved", [GOOD, GOOD])
    nodes = json.loads(ccs.read_text())
    nodes[1]["slots"] = [["8192"]]
    ccs.write_text(json.dumps(nodes))
    recovery.add_hosts(1).write_hosts()
    run = recovery.run("inspect", ccs, "--json", status=None)
    findings = run.json["findings"]
    assert any("unreadable slots" in f["message"] and f["severity"] == "error" for f in findings), findings
    assert not any("primary without slots" in f["message"] for f in findings)
    recovery.ccs = ccs
    assert recovery.plan(status=REFUSED).says("unreadable slots")


def test_a_manifest_whose_time_is_a_number_is_bad(recovery, folder):
    place = put(folder / "place", {
        "dump.rdb": GOOD,
        "recluster-manifest.json": {"recluster_manifest": 1, "time": 1763790000, "database": {"uid": "1"},
                                    "files": [{"name": "dump.rdb"}]}})
    run = recovery.run("verify", place, status=FAILED)
    assert run.says("'time' is not a text"), run


def test_a_file_without_keys_is_told_of_at_the_end(cluster, recovery):
    """Its first bytes don't show it."""
    made = cluster.add("orders", keys=None)
    data = rdb(head() + aux("x", "y" * 900) + aux("z", "y" * 900))
    put(cluster.backups, {NAME.format(stamp="20251122-030000", db="orders"): data})
    recovery.add_hosts(1).write()
    assert recovery.recover().says("has no keys: the database is restored empty")
    assert keys_of(recovery, made) == {}


@pytest.mark.parametrize("replicas", [0, 1])
def test_one_server_becomes_a_cluster(cluster, recovery, replicas):
    made = cluster.add("orders", keys=400, replicas=replicas, password="pw")
    recovery.add_hosts(3).write()
    run = recovery.plan("--shards", "db:1=3")
    assert run.says("becomes a Redis Cluster of 3 primaries")
    recovery.recover("--shards", "db:1=3", "--until", "prepare")
    recovery.resume()
    database = recovery.database(made)
    assert database["state"] == "done"
    shards = [s for s in database["shards"] if s["role"] == "primary"]
    assert len(shards) == 3 and len(database["shards"]) == 3 * (1 + replicas)
    digest = contents.Digest()
    for shard in shards:
        with recovery.connect(made, shard) as c:
            assert b"cluster_state:ok" in c.call("CLUSTER", "INFO")
            digest += contents.digest(c)
    assert digest.same_as(made.digest)
    assert {(e["addr"], e["port"]) for e in database["endpoints"]} >= {(s["addr"], s["port"]) for s in shards}
