"""What the CCS says of a database is set again on its servers, also for their next start."""

import json
import sqlite3
import time

import pytest

from harness import contents, redis_server, resp
from program import Recovery

MEBI = 1 << 20


def settings(recovery, made, *names):
    """CONFIG GET of each server of the database; all must agree."""
    found = set()
    for shard in recovery.database(made)["shards"]:
        with recovery.connect_admin(made, shard) as c:
            found.add(tuple(c.config(name) for name in names))
    assert len(found) == 1, found
    return dict(zip(names, found.pop()))


def test_memory_policy_and_clients(cluster, recovery):
    single = cluster.add(
        "a", memory_size=str(96 * MEBI), eviction_policy="allkeys-lru", maxclients="321"
    )
    replicated = cluster.add(
        "b", replicas=1, memory_size=str(96 * MEBI), eviction_policy="volatile-ttl"
    )
    sharded = cluster.add(
        "c", primaries=2, replicas=1, memory_size=str(400 * MEBI), eviction_policy="noeviction"
    )
    recovery.add_hosts(2).write().recover()
    names = ("maxmemory", "maxmemory-policy")
    assert settings(recovery, single, *names, "maxclients", "port") == {
        "maxmemory": str(96 * MEBI), "maxmemory-policy": "allkeys-lru", "maxclients": "321",
        "port": str(single.database.port),
    }
    assert settings(recovery, replicated, *names) == {
        "maxmemory": str(48 * MEBI), "maxmemory-policy": "volatile-ttl",
    }
    assert settings(recovery, sharded, *names) == {
        "maxmemory": str(100 * MEBI), "maxmemory-policy": "noeviction",
    }


@pytest.mark.releases("system", "redis60", "redis80", "valkey91")
def test_more_clients_than_a_host_permits(cluster, recovery):
    """The plan warns, and the servers get as many as they can have, also from a number that no machine permits."""
    many, absurd, few = (cluster.add(name, maxclients=n) for name, n in zip("abc", ("1048577", "2000000000", "777")))
    recovery.add_hosts(1).write()
    warnings = [w for w in recovery.plan("--json").json["warnings"] if w["code"] == "max-clients"]
    assert ["1048577" in warnings[0]["message"], "2000000000" in warnings[1]["message"], len(warnings)] == [True, True, 2]
    recovery.recover()
    assert settings(recovery, few, "maxclients") == {"maxclients": "777"}
    found = settings(recovery, many, "maxclients")
    assert settings(recovery, absurd, "maxclients") == found and 10000 < int(found["maxclients"]) < 1048577
    assert f"can serve {found['maxclients']} clients" in warnings[0]["message"], warnings


@pytest.mark.parametrize("keys", [120, 20_000], ids=["full to the brim", "over it"])
def test_a_limit_below_the_data_evicts_nothing(cluster, recovery, keys):
    made = cluster.add(
        "tight", keys=keys, memory_size=str(1 * MEBI), eviction_policy="allkeys-random"
    )
    recovery.add_hosts(1).write()
    run = recovery.recover()
    recovery.assert_recovered(made)
    limit = int(settings(recovery, made, "maxmemory")["maxmemory"])
    assert 1 * MEBI < limit < 16 * MEBI
    report = recovery.run("report", "--state", recovery.state).out
    assert "memory" in (run.err + report).lower()


@pytest.mark.releases("system", "redis80", "valkey91")
@pytest.mark.parametrize("policy,fsync", [
    ("appendfsync-every-sec", "everysec"), ("appendfsync-always", "always"),
])
def test_aof(cluster, recovery, policy, fsync):
    made = cluster.add("a", replicas=1, data_persistence="aof", aof_policy=policy)
    recovery.add_hosts(2).write().recover()
    assert settings(recovery, made, "appendonly", "appendfsync", "save") == {
        "appendonly": "yes", "appendfsync": fsync, "save": "",
    }


def test_snapshots(cluster, recovery):
    points = json.dumps([{"secs": 900, "writes": 1}, {"secs": 60, "writes": 10000}])
    made = cluster.add("a", data_persistence="snapshot", snapshot_policy=points)
    recovery.add_hosts(1).write().recover()
    assert settings(recovery, made, "appendonly", "save") == {
        "appendonly": "no", "save": "900 1 60 10000",
    }


def test_no_persistence(cluster, recovery):
    made = cluster.add("a", data_persistence="disabled")
    recovery.add_hosts(1).write().recover()
    assert settings(recovery, made, "appendonly", "save") == {"appendonly": "no", "save": ""}


def restart(recovery):
    """All servers are killed and started again, by nothing but their own configuration."""
    folders = recovery.server_folders()
    for folder in folders:
        assert redis_server.kill_by_pid_file(folder / "redis.pid")
    for folder in folders:
        redis_server.start_daemon(folder / "redis.conf", recovery.defaults.get("server", "redis-server"))
    return len(folders)


def wait_for_digest(recovery: Recovery, made):
    """The database's keys, once all its servers have loaded and found one another."""
    def complete():
        got = contents.Digest()
        try:
            for shard in database["shards"]:
                with recovery.connect(made, shard) as c:
                    if made.sharded and b"cluster_state:ok" not in c.call("CLUSTER", "INFO"):
                        return None
                    role = c.info("replication")
                    if shard["role"] == "replica":
                        if role.get("master_link_status") != "up":
                            return None
                    else:
                        got += contents.digest(c)
        except (OSError, redis_server.resp.ReplyError):
            return None
        return got

    database = recovery.database(made)
    return redis_server.wait_until(complete, "the restarted servers", 30)


@pytest.mark.releases("system", "redis80", "valkey91")
def test_servers_restart_from_their_own_configuration(cluster, recovery):
    """Kinds of persistence and of database, with a write after the recovery that must stay."""
    snapshot = json.dumps([{"secs": 3600, "writes": 1}])
    made = [
        cluster.add("a", primaries=2, replicas=1, password="one", data_persistence="aof"),
        cluster.add("b", replicas=1, password="two", data_persistence="aof"),
        cluster.add("c", password="three", data_persistence="snapshot", snapshot_policy=snapshot),
    ]
    recovery.add_hosts(3).write().recover()
    primary = recovery.database(made[1])["shards"][0]
    with recovery.connect(made[1], primary) as c:
        c.call("SET", "written-after", "1")
        made[1].digest = contents.digest(c)
    time.sleep(1.1)  # appendfsync everysec
    assert restart(recovery) == 7
    for one in made:
        assert wait_for_digest(recovery, one).same_as(one.digest)


@pytest.mark.releases("system", "redis80", "valkey91")
def test_replication_goes_on_after_the_recovery(cluster, recovery):
    made = [cluster.add("a", primaries=2, replicas=1, password="one"), cluster.add("b", replicas=1)]
    recovery.add_hosts(2).write().recover()
    for one in made:
        for shard in recovery.database(one)["shards"]:
            if shard["role"] != "primary":
                continue
            with recovery.connect(one, shard) as c:
                assert c.info("replication")["connected_slaves"] == "1"
                key = next(k for k in map(str, range(20000)) if _takes(c, k))
                assert c.call("WAIT", 1, 5000) == 1, key


def _takes(c, key):
    """Writes the key, if it is in a slot of this server."""
    try:
        return c.call("SET", key, "x") == b"OK"
    except redis_server.resp.ReplyError as e:
        assert str(e).startswith("MOVED"), e
        return False
