"""A captured database with replicas gets its Sentinels back."""

import os
import signal

import pytest

from captured import Captured
from harness import redis_server, resp
from harness.redis_server import wait_until
from live_cluster import Sentinels
from program import DONE

PASSWORD = "it's \"the one\""
NAME = "orders.main"


def captured(folder, net, recovery, release, replicas=2, watched=True):
    """A primary with replicas and three Sentinels, captured and gone."""
    program = release.program
    servers = [redis_server.Server(folder / "p", net.old_node(1), 6379, PASSWORD, program).start()]
    for i in range(replicas):
        addr = net.old_node(2 + i)
        servers.append(redis_server.Server(
            folder / f"r{i}", addr, 6379, PASSWORD, program, replicaof=f"{servers[0].addr} 6379",
            replica_announce_ip=addr).start())
        redis_server.wait_for_replica(servers[-1])
    with servers[0].connect() as c:
        c.call("ACL", "SETUSER", "app", "on", ">app's own", "~app:*", "+@all")
        for i in range(100):
            c.call("SET", f"app:{i}", i)
    (folder / "pw").write_text(PASSWORD)
    if not watched:
        return Captured(recovery, servers, 1, "--password", folder / "pw")
    sentinels = Sentinels(folder / "s", net, NAME, servers[0], program, PASSWORD).start().servers
    before = Captured(recovery, servers, 1, "--password", folder / "pw", asked=f"{sentinels[0][1]}:{sentinels[0][2]}")
    for home, _, _ in sentinels:
        redis_server.kill_by_pid_file(home / "sentinel.pid")
    return before


def ask(sentinel, *command):
    with resp.Connection(sentinel["addr"], sentinel["port"]) as c:
        return c.call("SENTINEL", *command)


def master(sentinel):
    pairs = ask(sentinel, "MASTER", sentinel["name"])
    return {k.decode(): v.decode() for k, v in zip(pairs[::2], pairs[1::2])}


def recovered(recovery, uid):
    return next(d for d in recovery.status()["databases"] if d["uid"] == uid.removeprefix("db:"))


@pytest.mark.releases("system", "redis80", "valkey91")
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
