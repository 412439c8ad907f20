"""Hosts that stay away in the middle of a recovery: what is done without them, and what --replan-lost does."""

import fcntl
import json
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from harness import redis_server, resp
from program import DONE, FAILED, LOCKED, PARTLY
from test_resume import KILLED, wait_for_task

PATIENCE = ("--patience", "1s")
REPLAN = ("--replan-lost", *PATIENCE)


class Gate:
    """Hosts whose link may be taken away, while all that runs on them runs on."""

    def __init__(self, folder, mark):
        self.mark = mark.encode()
        self.folder = folder / "gate"
        self.folder.mkdir()
        self.script = self.folder / "gate"
        self.script.write_text(
            '#!/bin/sh\ncd "$(dirname "$0")" || exit 1\n'
            'if test -e "$1.away"; then echo "no route to host" >&2; exit 1; fi\n'
            'echo $$ >> "$1.pids"; exec setsid sh\n')
        self.script.chmod(0o755)

    def take(self, host):
        (self.folder / f"{host}.away").touch()
        for pid in (self.folder / f"{host}.pids").read_text().split():
            try:
                if self.mark in Path(f"/proc/{pid}/environ").read_bytes():
                    os.killpg(int(pid), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass

    def give_back(self, host):
        (self.folder / f"{host}.away").unlink()


@pytest.fixture
def gate(folder, recovery):
    gate = Gate(folder, recovery.mark)
    recovery.defaults.update({"link": "command", "command": [str(gate.script), "{name}"]})
    return gate


def query(recovery, sql, *values):
    with sqlite3.connect(recovery.state) as db:
        return db.execute(sql, values).fetchall()


def places(recovery):
    """Where each shard is: {uid: (role, host)}."""
    return {uid: (role, host) for uid, role, host in query(
        recovery, "SELECT shard_uid, role, host FROM placement")}


def host_of(recovery, made, role="primary"):
    return query(recovery, "SELECT host FROM placement WHERE database_uid = ? AND role = ? ORDER BY "
                 "shard_uid", made.database.uid, role)[0][0]


def codes(recovery):
    return [code for code, in query(recovery, "SELECT code FROM event ORDER BY event_id")]


def messages(recovery, code):
    return [m for m, in query(recovery, "SELECT message FROM event WHERE code = ?", code)]


def base(recovery, name):
    return Path(next(h["base_dir"] for h in recovery.hosts if h["name"] == name))


def servers_of(recovery, name):
    return [p for p in recovery.running_servers() if p.is_relative_to(base(recovery, name))]


def files_of(recovery, name):
    """The verified files of a host, as they lie there."""
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in base(recovery, name).rglob("incoming/*")}


def assert_refuses_clients(pid_file, password):
    """A server that was left behind: nobody gets in with what clients know."""
    conf = (pid_file.parent / "redis.conf").read_text().splitlines()
    addr = next(line.split()[1] for line in conf if line.startswith("bind")).strip('"')
    port = int(next(line.split()[1] for line in conf if line.startswith("port")))
    for word in (None, password):
        with pytest.raises(resp.ReplyError, match="NOAUTH|WRONGPASS|NOPERM"):
            with resp.Connection(addr, port, word) as c:
                c.call("GET", "x")


def assert_knows_only(recovery, made):
    """No server of before is a node of the cluster; that there is a new replica gets about by gossip."""
    database = recovery.database(made)
    expected = {f"{shard['addr']}:{shard['port']}" for shard in database["shards"]}
    for shard in database["shards"]:
        with recovery.connect(made, shard) as c:
            def known():
                lines = c.call("CLUSTER", "NODES").decode().splitlines()
                return {line.split()[1].split("@")[0] for line in lines}
            assert known() <= expected
            redis_server.wait_until(lambda: known() == expected, "knowing of the new replica")


def test_a_database_that_was_loaded_begins_anew(cluster, recovery, gate):
    """With all its servers up, and then with the lost host back and its servers still there."""
    made = [cluster.add("a", primaries=3, replicas=1, password="one"),
            cluster.add("b", replicas=1, password="two")]
    recovery.add_hosts(4).write().recover("--until", "load")
    before = places(recovery)
    lost = host_of(recovery, made[0])
    keeping = next(h["name"] for h in recovery.hosts if h["name"] != lost)
    files = files_of(recovery, keeping)
    assert servers_of(recovery, lost) and files
    gate.take(lost)

    run = recovery.resume(*PATIENCE, status=FAILED)
    assert run.says(f"'{lost}'"), run
    recovery.resume(*REPLAN, status=DONE)
    for one in made:
        recovery.assert_recovered(one)
    assert_knows_only(recovery, made[0])
    after = places(recovery)
    for uid, (role, host) in before.items():
        assert after[uid][0] == role
        assert after[uid][1] != lost if host == lost else after[uid][1] == host, uid
    assert files.items() <= files_of(recovery, keeping).items(), "files were fetched again"
    gone = query(recovery, "SELECT shard_uid, host, removed_ms FROM moved ORDER BY shard_uid")
    assert gone == sorted((uid, lost, None) for uid, (_, host) in before.items() if host == lost)

    # Back again: what it has runs on, and is nobody's.
    gate.give_back(lost)
    left = servers_of(recovery, lost)
    assert left
    for pid_file in left:
        assert_refuses_clients(pid_file, "one")
    for one in made:
        recovery.assert_recovered(one)
    assert_knows_only(recovery, made[0])
    recovery.resume(status=DONE)
    assert servers_of(recovery, lost) == left

    recovery.run("abort", "--state", recovery.state, "--yes")
    assert servers_of(recovery, lost) == [] and not list(base(recovery, lost).rglob("shard.json"))
    assert "leftover-removed" in codes(recovery)
    for one in made:
        recovery.assert_recovered(one)


def test_without_it_the_rest_is_done(cluster, recovery, gate):
    """Exit 3; the next command that is named brings the rest, when the host is back or elsewhere."""
    made = [cluster.add(name) for name in ("a", "b", "c")]
    recovery.add_hosts(3).write().recover("--until", "prepare")
    lost = host_of(recovery, made[1])
    gate.take(lost)
    run = recovery.resume(*PATIENCE, status=PARTLY)
    assert run.says("--replan-lost"), run
    assert recovery.status()["next"].endswith(" --replan-lost")
    assert f"host '{lost}' is given up" in messages(recovery, "host-lost")[0]
    assert [recovery.database(one)["state"] for one in made] == ["done", "failed", "done"]
    open_since = query(recovery, "SELECT database_uid, opened_ms FROM target WHERE state = 'done'")
    recovery.resume(*REPLAN, status=DONE)
    for one in made:
        recovery.assert_recovered(one)
    assert host_of(recovery, made[1]) != lost
    assert "--replan-lost" not in recovery.status()["next"]
    for row in open_since:
        assert row in query(recovery, "SELECT database_uid, opened_ms FROM target")


def test_in_one_run(cluster, recovery, gate):
    """A host goes away while its file comes; the same run brings its shards to the others."""
    made = [cluster.add("a", primaries=2, replicas=1, password="one"), cluster.add("b", replicas=1)]
    recovery.add_hosts(3).write()
    run = recovery.start(*recovery.recover_args(*REPLAN, "--limit-rate", "10k"))
    wait_for_task(recovery, "fetch")
    lost = host_of(recovery, made[0])
    gate.take(lost)
    redis_server.wait_until(lambda: "replanned" in codes(recovery), "the new plan", 30)
    run.kill()
    run.communicate()
    recovery.resume(*REPLAN, status=DONE)
    for one in made:
        recovery.assert_recovered(one)
    assert lost not in [host for _, host in places(recovery).values()]


def test_killed_at_its_commits(cluster, recovery, gate):
    """Again and again, each time a few commits later."""
    made = [cluster.add("a", primaries=2, replicas=1, password="one", keys=60), cluster.add("b")]
    recovery.add_hosts(3).write().recover("--until", "load")
    lost = host_of(recovery, made[0])
    gate.take(lost)
    n = 1
    run = recovery.resume(*REPLAN, env={"RECLUSTER_TEST_KILL_AT": n}, status=None)
    while run.status == KILLED:
        n += 5
        assert n < 400
        run = recovery.resume(*REPLAN, env={"RECLUSTER_TEST_KILL_AT": n}, status=None)
    assert run.status == DONE, run
    for one in made:
        recovery.assert_recovered(one)
    assert codes(recovery).count("replanned") == len(
        {d for d, in query(recovery, "SELECT DISTINCT database_uid FROM moved")})


def test_no_place_is_left(cluster, recovery, gate):
    """It is said what is missing; a host that is added to the hosts file is used, and the lost one not."""
    made = [cluster.add("a", replicas=1, password="one"), cluster.add("b")]
    recovery.add_hosts(2).write().recover("--until", "load")
    lost = host_of(recovery, made[0], "replica")
    gate.take(lost)
    run = recovery.resume(*REPLAN, status=None)
    assert run.status in (PARTLY, FAILED)
    refused, = {m for m in messages(recovery, "replan-refused")}
    assert f"host '{lost}'" in refused and "no new place" in refused
    assert run.says("hosts.json"), run
    recovery.add_hosts(1).write_hosts()
    recovery.resume(*REPLAN, status=DONE)
    for one in made:
        recovery.assert_recovered(one)
    assert host_of(recovery, made[0], "replica") == "h3"


def in_use(cluster, recovery, sharded):
    """Database a is open and written to, b not: its file was bad. Returns both."""
    made = [cluster.add("a", primaries=2 if sharded else 1, replicas=1, password="one"),
            cluster.add("b")]
    recovery.add_hosts(4 if sharded else 3).write().recover("--until", "prepare")
    file = made[1].files[0]
    good = file.with_name("good")
    shutil.copy(file, good)
    file.write_bytes(good.read_bytes()[:-20] + bytes(20))
    recovery.resume(status=PARTLY)
    assert [recovery.database(one)["state"] for one in made] == ["done", "failed"]
    good.replace(file)
    for shard in recovery.database(made[0])["shards"]:
        if shard["role"] == "primary":
            with recovery.connect(made[0], shard) as c:
                key = next(iter(c.call("SCAN", 0)[1]))
                c.call("SET", key, "written by a client")
    return made


def lose_with_b(recovery, gate, made, role):
    """Takes away a host of a's; b must be there too, or nobody would ask for that host."""
    lost = host_of(recovery, made[0], role)
    query(recovery, "UPDATE placement SET host = ?, addr = (SELECT addr FROM host WHERE name = ?) "
          "WHERE database_uid = '2'", lost, lost)
    query(recovery, "UPDATE task SET host = ? WHERE database_uid = '2'", lost)
    document = json.loads(query(recovery, "SELECT document FROM plan")[0][0])
    document["databases"][1]["shards"][0]["host"] = lost
    query(recovery, "UPDATE plan SET document = ?", json.dumps(document))
    gate.take(lost)
    return lost


@pytest.mark.parametrize("sharded", [False, True])
def test_an_open_database_gets_a_new_replica(cluster, recovery, gate, sharded):
    """Its data stays, with what clients wrote since."""
    made = in_use(cluster, recovery, sharded)
    lost = lose_with_b(recovery, gate, made, "replica")
    for pid_file in servers_of(recovery, lost):
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
    primaries = {uid: place for uid, place in places(recovery).items() if place[0] == "primary"}
    recovery.resume(*REPLAN, status=DONE)
    recovery.assert_recovered(made[1])
    database = recovery.database(made[0])
    assert database["state"] == "done"
    assert lost not in [host for _, host in places(recovery).values()]
    if sharded:
        assert_knows_only(recovery, made[0])
    assert all(places(recovery)[uid] == place for uid, place in primaries.items()
               if place[1] != lost)
    written = {"primary": 0, "replica": 0}
    for shard in database["shards"]:
        with recovery.connect(made[0], shard) as c:
            recovery.assert_role(c, made[0], shard["role"])
            for key in c.call("KEYS", "*"):
                if c.call("TYPE", key) == b"string":
                    written[shard["role"]] += c.call("GET", key) == b"written by a client"
    assert written["primary"] == written["replica"] == (2 if sharded else 1)


def test_a_lost_primary_in_use_is_not_replaced(cluster, recovery, gate):
    """Its backup is older than what clients wrote: that is said, and nothing is done to the database."""
    made = in_use(cluster, recovery, False)
    lost = lose_with_b(recovery, gate, made, "primary")
    before = places(recovery)
    run = recovery.resume(*REPLAN, status=DONE)
    refused, = messages(recovery, "replan-refused")
    assert "in use" in refused and f"host '{lost}'" in refused
    assert run.says("the data that clients wrote"), run
    recovery.assert_recovered(made[1])
    assert {k: v for k, v in before.items() if k != "3"} == {
        k: v for k, v in places(recovery).items() if k != "3"}


def test_another_operator_is_no_lost_host(cluster, recovery, gate):
    """A host that is locked by somebody else is not planned away."""
    made = cluster.add("a", replicas=1)
    recovery.add_hosts(3).write().recover("--until", "load")
    host = host_of(recovery, made)
    with (base(recovery, host) / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run = recovery.resume(*REPLAN, status=LOCKED)
    assert run.says("locked by"), run
    assert "replanned" not in codes(recovery)
    recovery.resume(*REPLAN, status=DONE)
    recovery.assert_recovered(made)
