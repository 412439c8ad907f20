"""Servers of hosts whose link is root's run as a user of their own: "run_as"."""

import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from harness import redis_server
from program import REFUSED, USAGE

USER = "nobody"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start servers as others")


@pytest.fixture
def public(recovery):
    """A folder that every user may pass, for base_dirs: those of hosts are put there."""
    path = Path(tempfile.mkdtemp(prefix="recluster-test-"))
    path.chmod(0o755)

    def add_hosts(count, **keys):
        recovery.add_hosts(count, run_as=USER, **keys)
        for host in recovery.hosts:
            host["base_dir"] = str(path / "it's hosts" / host["name"])
        return recovery
    yield add_hosts
    redis_server.kill_all_below(path)
    shutil.rmtree(path)


def pids(recovery):
    found = {}
    for host in recovery.hosts:
        for pid_file in Path(host["base_dir"]).rglob("redis.pid"):
            pid = int(pid_file.read_text())
            if redis_server.runs(pid):
                found[pid_file.parent] = pid
    return found


def uids(pid):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {int(n) for line in status if line.startswith(("Uid:", "Gid:")) for n in line.split()[1:]}


@pytest.mark.releases("system", "redis80", "valkey91")
@pytest.mark.parametrize("options", [[], ["--full-sync", "--load-while-landing", "always"]])
def test_servers_run_as_that_user(cluster, recovery, public, options):
    """All that they need is theirs, to the last rewrite; the records are not."""
    made = [cluster.add("a", primaries=2, replicas=1, password="one"),
            cluster.add("b", data_persistence="aof", aof_policy="appendfsync-every-sec")]
    public(2).write()
    recovery.recover(*options, "--until", "load")
    recovery.resume()
    running = pids(recovery)
    nobody = pwd.getpwnam(USER)
    assert len(running) == 5
    for folder, pid in running.items():
        assert uids(pid) == {nobody.pw_uid, nobody.pw_gid}
        assert (folder / "shard.json").stat().st_uid == (folder / "incoming").stat().st_uid == folder.stat().st_uid == 0
        assert {(folder / name).stat().st_uid for name in ("redis.conf", "users.acl")} == {nobody.pw_uid}
    for one in made:
        recovery.assert_recovered(one)
        for shard in recovery.database(one)["shards"]:
            with recovery.connect_admin(one, shard) as c:
                c.call("BGSAVE")
                redis_server.wait_until(lambda c=c: c.info("persistence")["rdb_bgsave_in_progress"] == "0", "BGSAVE")
                assert c.info("persistence")["rdb_last_bgsave_status"] == "ok"
                c.call("CONFIG", "REWRITE")


def test_sentinels_run_as_that_user(cluster, recovery, public):
    """And may write their own files: a failover changes them."""
    made = cluster.add("a", replicas=1, password="one")
    public(3).write()
    recovery.databases = {"db:1": {"sentinel": {"down_after_ms": 1000}}}
    recovery.write_hosts()
    recovery.recover()
    folders = {folder for folder in pids(recovery) if folder.name == "sentinel"}
    nobody = pwd.getpwnam(USER)
    assert len(folders) == 3
    for folder in folders:
        assert uids(pids(recovery)[folder]) == {nobody.pw_uid, nobody.pw_gid}
        assert (folder / "shard.json").stat().st_uid == 0 and (folder / "redis.conf").stat().st_uid == nobody.pw_uid
    database = recovery.database(made)
    primary, replica = database["shards"]
    os.kill(next(pid for folder, pid in pids(recovery).items() if folder.name == f"shard-{primary['uid']}"), signal.SIGKILL)
    new = f"sentinel monitor mymaster {replica['addr']} {replica['port']} "
    redis_server.wait_until(lambda: all(new in (f / "redis.conf").read_text() for f in folders), "a failover", 30)


def test_what_it_leaves_is_removed(cluster, recovery, public):
    cluster.add("a", primaries=2, replicas=1)
    public(2).write()
    recovery.recover("--until", "load")
    assert len(pids(recovery)) == 4
    recovery.run("abort", "--state", recovery.state, "--yes")
    assert pids(recovery) == {}
    assert not any(Path(h["base_dir"]).exists() and list(Path(h["base_dir"]).iterdir()) for h in recovery.hosts)


def test_hosts_that_can_not(cluster, recovery, public, folder):
    """No such user, and a folder that the user can't pass: known in the plan."""
    cluster.add("a")
    public(1).write()
    assert not [w for w in recovery.plan("--json").json["warnings"] if w["code"] == "as-root"]
    recovery.hosts[0]["run_as"] = "no-such-user"
    recovery.write()
    assert recovery.plan(status=REFUSED).says("there is no user 'no-such-user'")
    recovery.hosts[0].update(run_as=USER, base_dir=str(folder / "closed" / "h1"))
    (folder / "closed").mkdir(mode=0o700)
    recovery.write()
    run = recovery.plan(status=REFUSED)
    assert run.says(f"the user '{USER}' (\"run_as\") can't enter") and run.says("chmod o+x")
    recovery.hosts[0]["run_as"] = 7
    recovery.write()
    assert recovery.plan(status=USAGE).says("'run_as' is not a text")
    del recovery.hosts[0]["run_as"]
    recovery.write()
    (warning,) = [w for w in recovery.plan("--json").json["warnings"] if w["code"] == "as-root"]
    assert "run_as" in warning["hint"]
