"""A captured database with replicas gets its Sentinels back."""

import contextlib
import json
import os
import signal
import sqlite3

import pytest

from captured import Captured
from harness import redis_server, resp
from harness.certificates import Authority
from harness.redis_server import wait_until
from live_cluster import Sentinels
from program import DONE, USAGE
from test_replan import REPLAN, gate, host_of, in_use, lose_with_b, query  # gate is a fixture
from test_resume import CLUSTER, KILLED

__all__ = ["gate"]

PASSWORD = "it's \"the one\""
NAME = "orders.main"


def captured(folder, net, recovery, release, replicas=2, watched=True, own=None, login=(), **settings):
    """A primary with replicas and three Sentinels, captured and gone.

    `own`: what the Sentinels demand; `login`: options of `capture` for them.
    """
    program = release.program
    servers = [redis_server.Server(folder / "p", net.old_node(1), 6379, PASSWORD, program, **settings).start()]
    for i in range(replicas):
        addr = net.old_node(2 + i)
        servers.append(redis_server.Server(
            folder / f"r{i}", addr, 6379, PASSWORD, program, replicaof=f"{servers[0].addr} 6379",
            replica_announce_ip=addr, **settings).start())
        redis_server.wait_for_replica(servers[-1])
    with servers[0].connect() as c:
        c.call("ACL", "SETUSER", "app", "on", ">app's own", "~app:*", "+@all")
        for i in range(100):
            c.call("SET", f"app:{i}", i)
    (folder / "pw").write_text(PASSWORD)
    if not watched:
        return Captured(recovery, servers, 1, "--password", folder / "pw")
    sentinels = Sentinels(folder / "s", net, NAME, servers[0], program, PASSWORD, own_password=own).start().servers
    if "--sentinel-user" in login:
        for _, addr, port in sentinels:
            with resp.Connection(addr, port, own) as c:
                c.call("ACL", "SETUSER", "look", "on", f">{own} of look", "+@all", "allchannels")
    before = Captured(recovery, servers, 1, "--password", folder / "pw", *login,
                      asked=f"{sentinels[0][1]}:{sentinels[0][2]}")
    for home, _, _ in sentinels:
        redis_server.kill_by_pid_file(home / "sentinel.pid")
    return before


def ask(sentinel, *command, password=None):
    with resp.Connection(sentinel["addr"], sentinel["port"], password) as c:
        return c.call("SENTINEL", *command)


def master(sentinel, password=None):
    pairs = ask(sentinel, "MASTER", sentinel["name"], password=password)
    return {k.decode(): v.decode() for k, v in zip(pairs[::2], pairs[1::2])}


def recovered(recovery, uid):
    return next(d for d in recovery.status()["databases"] if d["uid"] == uid.removeprefix("db:"))


@pytest.mark.releases("redis60", "system", "redis80", "valkey80", "valkey81", "valkey91")
def test_a_replica_takes_over(folder, net, recovery, release):
    before = captured(folder, net, recovery, release)
    recovery.add_hosts(3).write_hosts()
    plan = recovery.plan("--old-cluster-is-dead", "redis", "--json").json
    places = plan["databases"][0]["sentinels"]
    assert [p["host"] for p in places] == ["h1", "h2", "h3"] and {p["port"] for p in places} == {26379}
    recovery.recover("--old-cluster-is-dead", "redis")
    database = recovered(recovery, before.uid)
    primary, = (s for s in database["shards"] if s["role"] == "primary")
    assert len(database["sentinels"]) == 3
    for sentinel in database["sentinels"]:
        said = master(sentinel)
        assert (said["ip"], int(said["port"])) == (primary["addr"], primary["port"])
        assert said["flags"] == "master" and sentinel["state"] == "done"
        assert {f: said[f] for f in ("quorum", "num-other-sentinels", "num-slaves", "down-after-milliseconds",
                                     "failover-timeout", "parallel-syncs")} == {
            "quorum": "2", "num-other-sentinels": "2", "num-slaves": "2", "down-after-milliseconds": "1500",
            "failover-timeout": "5000", "parallel-syncs": "3"}
    with resp.Connection(primary["addr"], primary["port"], PASSWORD) as c:
        pid = int(next(line for line in c.call("INFO", "server").decode().splitlines()
                       if line.startswith("process_id")).split(":")[1])
    os.kill(pid, signal.SIGKILL)
    others = {s["addr"] for s in database["shards"]} - {primary["addr"]}

    def taken_over():
        return all(master(s)["ip"] in others for s in database["sentinels"])
    wait_until(taken_over, "another primary", 20)
    new = master(database["sentinels"][0])

    def replicated():
        with resp.Connection(new["ip"], int(new["port"]), PASSWORD) as c:
            return b"connected_slaves:1" in c.call("INFO", "replication")
    wait_until(replicated, "the other replica at the new primary", 20)
    with resp.Connection(new["ip"], int(new["port"]), "app's own", "app") as c:
        assert c.call("GET", "app:7") == b"7"


OWN = "the \"watchmen's\" word"


def assert_demand(recovery, before, password):
    """All Sentinels want this password, and know each other."""
    sentinels = recovered(recovery, before.uid)["sentinels"]
    assert len(sentinels) == 3
    for sentinel in sentinels:
        with pytest.raises(resp.ReplyError, match="NOAUTH"):
            master(sentinel)
        with pytest.raises(resp.ReplyError, match="WRONGPASS|invalid password"):
            master(sentinel, "wrong")
        assert master(sentinel, password)["num-other-sentinels"] == "2"
        assert ask(sentinel, "CKQUORUM", NAME, password=password).startswith(b"OK")
    with contextlib.closing(sqlite3.connect(recovery.state)) as db:
        rest = [line for line in db.iterdump() if not line.startswith(('INSERT INTO "secret"', 'INSERT INTO "ccs_entry"'))]
    assert json.dumps(password)[1:-1] not in "".join(rest) and password not in "".join(rest)


@pytest.mark.releases("system", *(pytest.param(r, marks=pytest.mark.slow) for r in ("redis60", "redis80", "valkey91")))
@pytest.mark.parametrize("proven", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "proven"])
def test_sentinels_demand_their_password_again(folder, net, recovery, release, proven):
    (folder / "own").write_text(OWN)
    before = captured(folder, net, recovery, release, replicas=1, own=OWN, login=("--sentinel-password", folder / "own"))
    recovery.add_hosts(3).write_hosts()
    assert not recovery.plan("--old-cluster-is-dead", "redis").says("needed a login")
    run = recovery.recover("--old-cluster-is-dead", "redis", *(["--prove-failover"] if proven else []))
    assert OWN not in run.out + run.err + recovery.run("inspect", recovery.ccs, "--json").out
    assert_demand(recovery, before, OWN)


@pytest.mark.parametrize("given", [None, "another: word"])
def test_a_login_of_sentinels_that_is_not_known(folder, net, recovery, release, given):
    """They had users, so nobody knows their password: a new one, or that of the hosts file."""
    (folder / "own").write_text(f"{OWN} of look")
    before = captured(folder, net, recovery, release, replicas=1, own=OWN, login=(
        "--sentinel-user", "look", "--sentinel-password", folder / "own"))
    recovery.add_hosts(3)
    if given:
        (folder / "given").write_text(given)
        recovery.databases = {before.databases[0]["name"]: {"sentinel": {"password": {"file": str(folder / "given")}}}}
    recovery.write_hosts()
    plan = recovery.plan("--old-cluster-is-dead", "redis", "--json").json
    assert any(w["code"] == "sentinel-login-lost" for w in plan["warnings"]) == (given is None)
    recovery.recover("--old-cluster-is-dead", "redis", "--until", "load")
    recovery.resume()
    made = query(recovery, "SELECT value FROM secret WHERE place = 'target.sentinels_own_password'")
    assert len(made) == (given is None)
    assert_demand(recovery, before, given or made[0][0])


def assert_watched(recovery, made, name="mymaster", count=3, replicas=1):
    """All Sentinels of the database agree about it."""
    database = recovery.database(made)
    primary = next(s for s in database["shards"] if s["role"] == "primary")
    assert len(database["sentinels"]) == count
    for sentinel in database["sentinels"]:
        said = master(sentinel)
        assert sentinel["name"] == name and (said["ip"], int(said["port"])) == (primary["addr"], primary["port"])
        assert said["num-slaves"] == str(replicas)
        wait_until(lambda: master(sentinel)["num-other-sentinels"] == str(count - 1), "all Sentinels", 10)
        assert ask(sentinel, "CKQUORUM", name).startswith(b"OK")
    return database


def test_those_that_the_hosts_file_asks_for(cluster, recovery):
    """Of two databases: the second one finds the port taken. On racks of their own, and removed by an abort."""
    made = [cluster.add("a", replicas=1, password="one"), cluster.add("b", replicas=1), cluster.add("c")]
    recovery.add_hosts(4).write()
    for host, rack in zip(recovery.hosts, "xxyz"):
        host["rack"] = rack
    recovery.databases = {"db:1": {"sentinel": True}, "db:2": {"sentinel": {
        "name": "b-main", "port": 26379, "quorum": 1, "down_after_ms": 777, "failover_timeout_ms": 4444,
        "parallel_syncs": 2}}, "c": {"sentinel": True}}
    recovery.write_hosts()
    plan = recovery.plan("--json").json
    warnings = [(w["code"], w["database"]) for w in plan["warnings"] if w["code"].startswith("sentinel")]
    assert warnings == [("sentinel-port", "db:2")] * 2 + [("sentinels-none", "db:3")]
    racks = {h["name"]: h["rack"] for h in plan["hosts"]}
    assert [sorted(racks[s["host"]] for s in d["sentinels"]) for d in plan["databases"]] == [list("xyz")] * 2 + [[]]
    assert recovery.plan().says("sentinels")
    recovery.recover()
    assert_watched(recovery, made[0])
    database = assert_watched(recovery, made[1], "b-main")
    said = master(database["sentinels"][0])
    assert [said[f] for f in ("quorum", "down-after-milliseconds", "failover-timeout", "parallel-syncs")] == [
        "1", "777", "4444", "2"]
    assert sorted(s["port"] for s in database["sentinels"]) == [26379, 26380, 26380]
    assert recovery.run("status", "--state", recovery.state).says("h1 (")
    # An abort leaves what is in use, unless it is to be removed.
    running = len(recovery.running_servers())
    assert running == 5 + 6
    recovery.run("abort", "--state", recovery.state, "--yes", status=None)
    assert len(recovery.running_servers()) == running
    assert_watched(recovery, made[0])
    recovery.run("abort", "--state", recovery.state, "--open-databases", CLUSTER, "--yes")
    assert recovery.running_servers() == [] and recovery.server_folders() == []
    recovery.resume()
    assert_watched(recovery, made[0])


@pytest.mark.parametrize("entry, says", [
    ({"sentinel": "yes"}, "'sentinel'"), ({"sentinel": {"nam": "x"}}, "'nam'"),
    ({"sentinel": {"quorum": 0}}, "quorum"), ({"sentinel": {"name": "a b"}}, "name 'a b'"),
    ({"sentinel": {"port": 70000}}, "port"),
], ids=["word", "key", "quorum", "name", "port"])
def test_wishes_that_are_refused(cluster, recovery, entry, says):
    cluster.add("a", replicas=1)
    recovery.add_hosts(1).write()
    recovery.databases = {"db:1": entry}
    recovery.write_hosts()
    assert recovery.plan(status=USAGE).says(says)


def test_none_are_wanted_though_some_were_captured(folder, net, recovery, release):
    before = captured(folder, net, recovery, release, replicas=1)
    recovery.databases = {before.uid: {"sentinel": False}}
    recovery.add_hosts(2).write_hosts()
    plan = recovery.plan("--old-cluster-is-dead", "redis", "--json").json
    assert plan["databases"][0]["sentinels"] == []
    recovery.databases = {}
    recovery.write_hosts()
    plan = recovery.plan("--old-cluster-is-dead", "redis", "--json").json
    assert len(plan["databases"][0]["sentinels"]) == 2
    assert "sentinels-few" in [w["code"] for w in plan["warnings"]]


def test_killed_at_commits(cluster, recovery):
    made = cluster.add("a", replicas=1, password="one", keys=20)
    recovery.databases = {"db:1": {"sentinel": {"quorum": 2}}}
    recovery.add_hosts(3).write()
    n = 14
    run = recovery.recover(env={"RECLUSTER_TEST_KILL_AT": n}, status=None)
    while run.status == KILLED:
        n += 1
        run = recovery.resume(env={"RECLUSTER_TEST_KILL_AT": n}, status=None)
    assert run.status == DONE and n > 16, run
    recovery.assert_recovered(made)
    assert_watched(recovery, made)
    assert len(recovery.running_servers()) == 5


def test_with_tls(cluster, recovery, folder):
    authority = Authority(folder / "ca")
    made = cluster.add("a", replicas=1, password="one", tls_mode="enabled")
    recovery.databases = {"db:1": {"sentinel": True}}
    recovery.add_hosts(3).write()
    for host in recovery.hosts:
        signed = authority.sign(host["name"], host["addr"])
        host["tls"] = {"cert": {"file": str(signed.cert)}, "key": {"file": str(signed.key)},
                       "ca": {"file": str(authority.cert)}}
    recovery.write_hosts()
    recovery.recover()
    database = recovery.database(made)
    assert len(database["sentinels"]) == 3
    for sentinel in database["sentinels"]:
        with resp.Connection(sentinel["addr"], sentinel["port"], tls=authority.client(authority.sign("me"))) as c:
            assert c.call("SENTINEL", "CKQUORUM", "mymaster").startswith(b"OK 3")


def test_their_host_is_lost(cluster, recovery, gate):
    """Before its Sentinel started, and after: another host gets it, and an abort finds what was left."""
    made = cluster.add("a", replicas=1, password="one")
    recovery.databases = {"db:1": {"sentinel": True}}
    recovery.add_hosts(5).write().recover("--until", "load")
    gate.take("h3")
    run = recovery.resume("--patience", "1s", status=None)
    assert run.status != DONE and "h3" in str(recovery.status()["errors"])
    recovery.resume(*REPLAN)
    recovery.assert_recovered(made)
    database = assert_watched(recovery, made)
    assert [s["host"] for s in database["sentinels"]] == ["h1", "h2", "h4"]
    plan = query(recovery, "SELECT document FROM plan ORDER BY plan_id DESC LIMIT 1")[0][0]
    assert '"h4"' in plan and [s["host"] for s in json.loads(plan)["databases"][0]["sentinels"]] == ["h1", "h2", "h4"]

    query(recovery, "UPDATE target SET state = 'failed'")
    query(recovery, "UPDATE task SET state = 'pending' WHERE kind = 'start_sentinel' AND host = 'h4'")
    gate.take("h4")
    recovery.resume(*REPLAN)
    database = recovery.database(made)
    assert [s["host"] for s in database["sentinels"]] == ["h1", "h2", "h5"]
    wait_until(lambda: all(ask(s, "CKQUORUM", "mymaster").startswith(b"OK 4") for s in database["sentinels"]),
               "four Sentinels: the one on the lost host runs")
    gate.give_back("h3")
    gate.give_back("h4")
    assert len(recovery.running_servers()) == 2 + 4
    recovery.run("abort", "--state", recovery.state, "--open-databases", CLUSTER, "--yes")
    assert recovery.running_servers() == [] and recovery.server_folders() == []


def test_a_replica_and_a_sentinel_are_lost_with_their_host(cluster, recovery, gate):
    recovery.databases = {"db:1": {"sentinel": {"quorum": 2}}}
    made = in_use(cluster, recovery, False)
    recovery.add_hosts(1).write_hosts()
    lost = lose_with_b(recovery, gate, made, "replica")
    recovery.resume(*REPLAN)
    database = recovery.database(made[0])
    assert database["state"] == "done" and host_of(recovery, made[0], "replica") != lost
    hosts = [s["host"] for s in database["sentinels"]]
    assert len(set(hosts)) == 3 and lost not in hosts and "h4" in hosts
    new = next(s for s in database["sentinels"] if s["host"] == "h4")
    replica = next(s for s in database["shards"] if s["role"] == "replica")
    assert any(replica["addr"] in str(one) for one in ask(new, "REPLICAS", "mymaster"))
    assert ask(new, "CKQUORUM", "mymaster").startswith(b"OK")
