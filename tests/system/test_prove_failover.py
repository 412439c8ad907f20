"""Before an unsharded database is opened, its Sentinels fail over to a replica and back, if that is asked for."""

import json

import pytest

from harness import resp
from harness.certificates import Authority
from harness.redis_server import wait_until
from program import FAILED
from test_replan import REPLAN, gate, query  # gate is a fixture
from test_resume import CLUSTER
from test_sentinels import ask, assert_watched, captured, master

__all__ = ["gate"]

ASKED = "--prove-failover"
GONE = ("--old-cluster-is-dead", "redis")


def proofs(recovery):
    return [m for m, in query(recovery, "SELECT message FROM event WHERE code = 'failover-proven'")]


def assert_proven(recovery, made, replicas=1):
    """As the plan wanted, after two failovers."""
    database = assert_watched(recovery, made, replicas=replicas)
    assert len(proofs(recovery)) == 1
    assert all(int(master(s)["config-epoch"]) >= 2 for s in database["sentinels"])
    recovery.assert_recovered(made)
    return database


def as_recluster(recovery, shard):
    password, = query(recovery, "SELECT value FROM secret WHERE place = 'meta' AND id = 'recovery_password'")[0]
    return resp.Connection(shard["addr"], shard["port"], password, "recluster", timeout=5)


def role(recovery, shard):
    with as_recluster(recovery, shard) as c:
        return c.call("ROLE")[0]


def client_may(shard, password):
    try:
        with resp.Connection(shard["addr"], shard["port"], password, timeout=5) as c:
            return c.call("PING") == b"PONG"
    except (resp.ReplyError, OSError):
        return False


@pytest.mark.releases("system", "valkey91")
def test_there_and_back(cluster, recovery):
    there_and_back(cluster, recovery)


@pytest.mark.slow
@pytest.mark.releases("redis60", "redis80", "valkey80", "valkey81")
def test_there_and_back_with_other_releases(cluster, recovery):
    there_and_back(cluster, recovery)


def there_and_back(cluster, recovery):
    """Of two replicas the Sentinels could choose the other one on the way back."""
    made = cluster.add("a", replicas=2, password="one", keys=50)
    recovery.databases = {"db:1": {"sentinel": True}}
    recovery.add_hosts(3).write()
    assert recovery.plan("--json").json["databases"][0]["prove_failover"] is False
    assert recovery.plan(ASKED, "--json").json["databases"][0]["prove_failover"] is True
    recovery.recover(ASKED)
    database = assert_proven(recovery, made, replicas=2)
    for shard in database["shards"]:
        with recovery.connect_admin(made, shard) as c:
            assert c.call("CONFIG", "GET", "replica-priority")[1] == b"100"


def is_proving(recovery):
    return recovery.state.exists() and query(
        recovery, "SELECT count(*) FROM task WHERE kind = 'prove_failover' AND state = 'running'") == [(1,)]


def record(recovery):
    """Of the primary's folder."""
    base, folder = query(recovery, "SELECT base_dir, dir FROM placement JOIN host ON host.name = placement.host "
                                   "WHERE role = 'primary'")[0]
    with open(f"{base}/{folder}/shard.json", encoding="utf-8") as f:
        return json.load(f).get("failover", {})


@pytest.mark.slow
@pytest.mark.releases("system", "redis80", "valkey91")
@pytest.mark.parametrize("moment", ["promoted", "away", "back"])
def test_the_operator_is_killed(cluster, recovery, moment):
    made = cluster.add("a", replicas=2, password="one", keys=50)
    recovery.databases = {"db:1": {"sentinel": True}}
    recovery.add_hosts(3).write()
    run = recovery.start(*recovery.recover_args(ASKED))

    def there():
        if not is_proving(recovery):
            return False
        shards = recovery.database(made)["shards"]
        assert not any(client_may(s, "one") for s in shards)
        if moment != "promoted":
            return ("priorities" if moment == "back" else "to") in record(recovery)
        return any(role(recovery, s) == b"master" for s in shards if s["role"] == "replica")
    wait_until(there, moment, 90)
    run.kill()
    run.communicate()
    database = recovery.database(made)
    assert database["state"] != "done" and not any(client_may(s, "one") for s in database["shards"])
    assert proofs(recovery) == []
    recovery.resume()
    database = assert_proven(recovery, made, replicas=2)
    for shard in database["shards"]:
        with recovery.connect_admin(made, shard) as c:
            assert c.call("CONFIG", "GET", "replica-priority")[1] == b"100"


@pytest.mark.slow
@pytest.mark.releases("redis60", "system", "valkey91")
@pytest.mark.parametrize("lost", ["primary", "replica"])
def test_a_host_is_lost_after_the_first_failover(cluster, recovery, gate, lost):
    """The database starts again elsewhere, and so do its Sentinels, which knew other servers."""
    made = cluster.add("a", replicas=1, password="one", keys=50)
    recovery.databases = {"db:1": {"sentinel": {"quorum": 2}}}
    recovery.add_hosts(4).write()
    run = recovery.start(*recovery.recover_args(ASKED))
    wait_until(lambda: is_proving(recovery) and "to" in record(recovery), "a failover", 90)
    run.kill()
    run.communicate()
    before = recovery.database(made)
    host, = {s["host"] for s in before["shards"] if s["role"] == lost}
    gate.take(host)
    recovery.resume(*REPLAN)
    assert len(proofs(recovery)) == 1
    database = recovery.assert_recovered(made)
    assert host not in {s["host"] for s in database["shards"] + database["sentinels"]}
    primary, = (s for s in database["shards"] if s["role"] == "primary")
    # That of the lost host is still running, and may count as one more.
    for sentinel in database["sentinels"]:
        said = master(sentinel)
        assert (said["ip"], int(said["port"]), said["num-slaves"]) == (primary["addr"], primary["port"], "1")
        assert ask(sentinel, "CKQUORUM", "mymaster").startswith(b"OK")
    gate.give_back(host)
    recovery.run("abort", "--state", recovery.state, "--open-databases", CLUSTER, "--yes")
    assert recovery.running_servers() == [] and recovery.server_folders() == []


@pytest.mark.slow
@pytest.mark.releases("system", "redis80", "valkey91")
def test_with_tls(cluster, recovery, folder):
    authority = Authority(folder / "ca")
    cluster.add("a", replicas=1, password="one", tls_mode="enabled")
    recovery.databases = {"db:1": {"sentinel": True}}
    recovery.add_hosts(3).write()
    for host in recovery.hosts:
        signed = authority.sign(host["name"], host["addr"])
        host["tls"] = {"cert": {"file": str(signed.cert)}, "key": {"file": str(signed.key)},
                       "ca": {"file": str(authority.cert)}}
    recovery.write_hosts()
    recovery.recover(ASKED)
    assert len(proofs(recovery)) == 1
    database = recovery.status()["databases"][0]
    primary = next(s for s in database["shards"] if s["role"] == "primary")
    for sentinel in database["sentinels"]:
        with resp.Connection(sentinel["addr"], sentinel["port"], tls=authority.client(authority.sign("me"))) as c:
            assert c.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") == [
                primary["addr"].encode(), str(primary["port"]).encode()]


def set_priorities(recovery, database, priority):
    for shard in database["shards"]:
        with as_recluster(recovery, shard) as c:
            c.call("CONFIG", "SET", "replica-priority", priority)


def priority_in(sentinel):
    pairs, = ask(sentinel, "REPLICAS", "mymaster")
    return dict(zip(pairs[::2], pairs[1::2]))[b"slave-priority"]


@pytest.mark.slow
def test_no_replica_can_take_over(cluster, recovery):
    """The database stays closed. When a replica can, the recovery is resumed."""
    made = cluster.add("a", replicas=1, password="one", keys=20)
    recovery.databases = {"db:1": {"sentinel": True}}
    recovery.add_hosts(3).write()
    run = recovery.start(*recovery.recover_args(ASKED))
    # Sentinels, which start now, find the replica only after a while.
    wait_until(lambda: recovery.state.exists() and query(
        recovery, "SELECT count(*) FROM task WHERE kind = 'configure' AND state = 'done'") == [(2,)], "settings", 30)
    database = recovery.database(made)
    set_priorities(recovery, database, 0)
    _, said = run.communicate(timeout=60)
    assert run.returncode == FAILED and b"starts no failover" in said and b"replica-priority" in said, said
    assert recovery.database(made)["state"] == "failed"
    assert not any(client_may(s, "one") for s in database["shards"])
    set_priorities(recovery, database, 100)
    wait_until(lambda: all(priority_in(s) == b"100" for s in database["sentinels"]), "the new priority", 30)
    recovery.resume()
    assert_proven(recovery, made)
    assert all(client_may(s, "one") for s in database["shards"])


def test_replicas_that_never_take_over(folder, net, recovery, release):
    captured(folder, net, recovery, release, replicas=1, replica_priority=0)
    recovery.add_hosts(3).write_hosts()
    plan = recovery.plan(ASKED, *GONE, "--json").json
    assert plan["databases"][0]["prove_failover"] is False and len(plan["databases"][0]["sentinels"]) == 3
    warning, = (w for w in plan["warnings"] if w["code"] == "failover-not-proven")
    assert "replica-priority 0" in warning["message"]


def test_databases_without_sentinels(cluster, recovery):
    made = [cluster.add("a", primaries=3, replicas=1), cluster.add("b", replicas=1)]
    recovery.add_hosts(3).write()
    plan = recovery.plan(ASKED, "--json").json
    assert [w["database"] for w in plan["warnings"] if w["code"] == "failover-not-proven"] == ["db:1", "db:2"]
    recovery.recover(ASKED)
    for one in made:
        recovery.assert_recovered(one)
    assert proofs(recovery) == []
