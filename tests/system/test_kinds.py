"""Each kind of database and of input, recovered with real servers: every key is back everywhere."""

import gzip
import shutil
import subprocess

import pytest

from dead_cluster import ccs_as_json
from harness import ccs_file, contents, redis_server, slots
from harness.http_server import Nginx
from program import DONE


def test_single(cluster, recovery):
    made = cluster.add("cache")
    recovery.add_hosts(1).write().recover()
    recovery.assert_recovered(made)


def test_single_with_replica(cluster, recovery):
    made = cluster.add("sessions", replicas=1, password="p w'\"\\d")
    recovery.add_hosts(2).write().recover()
    database = recovery.assert_recovered(made)
    assert len({s["host"] for s in database["shards"]}) == 2


def test_single_with_two_replicas(cluster, recovery):
    made = cluster.add("sessions", replicas=2, password="secret")
    recovery.add_hosts(3).write().recover()
    recovery.assert_recovered(made)


def test_sharded(cluster, recovery):
    made = cluster.add("orders", primaries=3, password="secret")
    recovery.add_hosts(3).write().recover()
    recovery.assert_recovered(made)


def test_sharded_on_one_host(cluster, recovery):
    made = cluster.add("orders", primaries=2)
    recovery.add_hosts(1).write().recover()
    recovery.assert_recovered(made)


def test_sharded_with_replicas(cluster, recovery):
    made = cluster.add("orders", primaries=2, replicas=1, password="secret")
    recovery.add_hosts(3).write().recover()
    database = recovery.assert_recovered(made)
    owners = {}
    for shard in database["shards"]:
        ranges = next(s.ranges for s in made.database.shards if s.uid == shard["uid"])
        owners.setdefault(str(ranges), []).append(shard["host"])
    assert all(len(set(hosts)) == 2 for hosts in owners.values()), owners


@pytest.mark.releases("system", "redis80", "valkey91")
def test_sharded_legacy_slots(cluster, recovery):
    made = cluster.add("old-style", primaries=2, policy="legacy", password="secret")
    recovery.add_hosts(2).write().recover()
    database = recovery.assert_recovered(made)
    primary = next(s for s in database["shards"] if s["uid"] == made.database.shards[0].uid)
    first, last = made.database.shards[0].ranges[0]
    with recovery.connect(made, primary) as c:
        mine = next(
            line for line in c.call("CLUSTER", "NODES").decode().splitlines() if "myself" in line
        )
    ranges = " ".join(f"{a}-{b}" for a, b in slots.legacy_to_open(first, last))
    assert mine.endswith(ranges)


def test_shard_without_keys(cluster, recovery):
    made = cluster.add("few", primaries=3, keys=None)
    cluster.write_backups(made, 1)
    recovery.add_hosts(2).write().recover()
    recovery.assert_recovered(made)


@pytest.mark.releases("system", "redis80", "valkey91")
def test_several_databases(cluster, recovery):
    made = [
        cluster.add("orders", primaries=2, replicas=1, password="one"),
        cluster.add("sessions", replicas=1, password="two"),
        cluster.add("it's \"cached\" -3", password=None),
    ]
    recovery.add_hosts(3).write().recover()
    for one in made:
        recovery.assert_recovered(one)
    assert recovery.status()["state"] == "done"


def test_racks(cluster, recovery):
    made = cluster.add("orders", primaries=2, replicas=1, rack_aware="enabled")
    recovery.add_hosts(2, rack="a").add_hosts(2, rack="b").write().recover()
    database = recovery.assert_recovered(made)
    rack = {h["name"]: h["rack"] for h in recovery.hosts}
    by_slots = {}
    for shard in database["shards"]:
        ranges = next(s.ranges for s in made.database.shards if s.uid == shard["uid"])
        by_slots.setdefault(str(ranges), set()).add(rack[shard["host"]])
    assert all(racks == {"a", "b"} for racks in by_slots.values()), by_slots


def test_only_the_databases_that_were_asked_for(cluster, recovery):
    cluster.add("orders", keys=20)
    wanted = cluster.add("sessions", keys=20)
    recovery.add_hosts(1).write().recover("--database", "sessions")
    recovery.assert_recovered(wanted)
    assert len(recovery.running_servers()) == 1


def test_newest_complete_set_before_a_time(cluster, recovery):
    made = cluster.add("orders", primaries=2, keys=50, stamp="20261118-020000")
    older = made.digest
    cluster.write_backups(made, 80, stamp="20261119-020000")
    newer = made.digest
    cluster.write_backups(made, 90, stamp="20261120-020000")
    made.files[1].unlink()
    recovery.add_hosts(2).write()

    plan = recovery.plan("--json").json
    assert "20261119" in str(plan["databases"][0]["backup_set"]["files"])
    plan = recovery.plan("--json", "--at", "2026-11-18T12:00:00Z").json
    assert "20261118" in str(plan["databases"][0]["backup_set"]["files"])

    recovery.recover("--at", "2026-11-18T12:00:00Z")
    recovery.assert_recovered(made, older)
    assert not older.same_as(newer)


@pytest.mark.parametrize("listing", ["html", "json"])
def test_backups_behind_nginx(cluster, recovery, folder, net, listing):
    made = cluster.add("orders and more", primaries=2, password="secret")
    web = Nginx(folder / "web", cluster.backups, net.addr(4), 8080, listing).start()
    recovery.sources = {"db:1": web.url}
    recovery.add_hosts(2).write().recover()
    recovery.assert_recovered(made)


def test_source_of_the_command_line_wins(cluster, recovery, folder):
    made = cluster.add("orders", backup_location=ccs_file.backup_location("/gone"))
    moved = folder / "moved here"
    cluster.backups.rename(moved)
    recovery.sources = {"db:1": "/gone/too"}
    recovery.add_hosts(1).write().recover("--source", f"db:1={moved}")
    recovery.assert_recovered(made)


def test_folder_of_rdb_files_with_unknown_names(cluster, recovery):
    made = cluster.add("orders", primaries=3)
    for path, name in zip(made.files, ("dump-c.rdb", "dump-a.rdb", "dump-b.rdb")):
        (cluster.backups / name).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    recovery.add_hosts(3).write().recover()
    recovery.assert_recovered(made)


@pytest.mark.parametrize("form", ["gzip", "json"])
def test_ccs_in_other_forms(cluster, recovery, folder, form):
    made = cluster.add("orders", primaries=2, replicas=1, password="secret")
    recovery.add_hosts(2).write()
    other = folder / "some-copy"
    if form == "gzip":
        other.write_bytes(gzip.compress(recovery.ccs.read_bytes()))
    else:
        other.write_text(ccs_as_json(cluster.entries()))
    recovery.ccs = other
    recovery.recover()
    recovery.assert_recovered(made)


def test_backup_of_redis_cli(cluster, recovery, folder, net):
    """A plain Redis Cluster, without any CCS: what `redis-cli --cluster backup` writes is enough."""
    made = cluster.add("db", primaries=3, keys=None)
    servers = [
        redis_server.Server(
            folder / f"live{i}", net.old_node(i + 1), 7000, cluster_enabled="yes",
            cluster_config_file="nodes.conf",
        )
        for i in range(3)
    ]
    redis_server.write_cluster([(s, [r], None) for s, r in zip(servers, slots.split(3))])
    for server in servers:
        server.start()
    redis_server.wait_for_cluster(servers)
    for i, server in enumerate(servers):
        first, last = slots.split(3)[i]
        with server.connect() as c:
            for n in range(300):
                key = b"key:%d" % n
                if first <= slots.of_key(key) <= last:
                    c.call("SET", key, n)
            made.digest += contents.digest(c)
    saved = folder / "saved"
    saved.mkdir()
    subprocess.run(
        ["redis-cli", "--cluster", "backup", f"{servers[0].addr}:7000", str(saved)],
        check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=60,
    )
    for server in servers:
        server.kill()
        shutil.rmtree(server.folder)

    recovery.add_hosts(2).write_hosts()
    recovery.ccs = saved / "nodes.json"
    recovery.run("inspect", recovery.ccs, status=DONE)
    recovery.recover("--source", f"db:1={saved}")
    made.password = recovery.secret("target.password", made)
    assert made.password is not None, "nodes.json can't tell that it had none"
    database = recovery.status()["databases"][0]
    assert database["state"] == "done"
    got = contents.Digest()
    for shard in database["shards"]:
        with recovery.connect(made, shard) as c:
            recovery.assert_role(c, made, "primary")
            got += contents.digest(c)
    assert got.same_as(made.digest)
