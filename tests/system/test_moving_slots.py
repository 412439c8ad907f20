"""Files whose keys go to other shards than they came from: what is on its way, and what all shards have."""

import shutil

import pytest

from harness import redis_server, slots
from harness.rdb_bytes import head, rdb, select, string, strings, text
from test_files import nodes_json, put
from test_sets import recovered


def library(name):
    code = f"#!lua name={name}\nredis.register_function('{name}', function() return 1 end)"
    return b"\xf5" + text(code)


@pytest.mark.releases("system", "redis80", "valkey91")
def test_libraries_in_another_order_cost_no_full_copy(cluster, recovery):
    """Each server process saves them in an order of its own."""
    made = cluster.add("orders", primaries=3, replicas=1, keys=None)
    keys = [f"key:{i}" for i in range(90)]
    orders = [("one", "two", "three"), ("three", "one", "two"), ("two", "three", "one")]
    files = {}
    for i, (shard, order) in enumerate(zip(made.database.primaries, orders)):
        (a, b), = shard.ranges
        own = [k for k in keys if a <= slots.of_key(k.encode()) <= b]
        files[f"bk20251122-030000-1-orders-{i + 1}_of_3-{shard.uid}-{a}-{b}.rdb"] = rdb(
            head() + b"".join(library(n) for n in order) + select(0) + strings(*own))
    put(cluster.backups, files)
    recovery.add_hosts(3).write()
    recovery.recover("--shards", "db:1=5")
    assert set(recovered(recovery, recovery.status())) == set(keys)
    for shard in recovery.database(made)["shards"]:
        with recovery.connect(made, shard) as c:
            assert len(c.call("FUNCTION", "LIST")) == 3
            if shard["role"] == "primary":
                assert int(c.info("stats")["sync_full"]) == 0, shard


@pytest.mark.releases("valkey91")
@pytest.mark.parametrize("options", [[], ["--resort"]], ids=["as it is", "resort"])
def test_slots_that_were_being_imported(options, release, recovery, folder, net):
    """An atomic migration under way: the server that the slots leave has all their keys."""
    servers = [
        redis_server.Server(
            folder / f"live{i}", net.old_node(i + 1), 7000, program=release.program,
            cluster_enabled="yes", cluster_config_file="nodes.conf", enable_debug_command="yes")
        for i in range(2)
    ]
    redis_server.write_cluster([(s, [r], None) for s, r in zip(servers, slots.split(2))])
    for server in servers:
        server.start()
    redis_server.wait_for_cluster(servers)
    keys = [f"key:{i}" for i in range(400)]
    ids = []
    for server, owned in zip(servers, slots.split(2)):
        with server.connect() as c:
            ids.append(c.call("CLUSTER", "MYID").decode())
            for key in keys:
                if slots.holds([owned], slots.of_key(key.encode())):
                    c.call("SET", key, "v")
    with servers[0].connect() as c, servers[1].connect() as other:
        c.call("DEBUG", "SLOTMIGRATION", "PREVENT-PAUSE", "1")
        c.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "0", "4000", "NODE", ids[1])
        redis_server.wait_until(
            lambda: b"waiting-to-pause" in flat(c.call("CLUSTER", "GETSLOTMIGRATIONS")),
            "slot migration that waits")
        for one in (c, other):
            one.call("SAVE")
    files = [(s.folder / "dump.rdb").read_bytes() for s in servers]
    for server in servers:
        server.kill()
        shutil.rmtree(server.folder)
    assert b"\xf3" in files[1]

    recovery.add_hosts(2).write_hosts()
    recovery.ccs = nodes_json(folder / "saved", files)
    assert recovery.plan().says("slots 0-4000 were being moved")
    assert all(f["ok"] for f in recovery.run("verify", folder / "saved", "--json").json["files"])
    recovery.recover(*options)
    assert set(recovered(recovery, recovery.status())) == set(keys)


def flat(value):
    return b" ".join(map(flat, value)) if isinstance(value, list) else value if isinstance(value, bytes) else b""
