"""Hosts that stay away, and databases that come from files on hosts' disks."""

import time

import pytest

import lab as labs
from dead_cluster import DeadCluster
from harness import sshd
from program import DONE, FAILED, PARTLY, Recovery
from test_disks import Disks, keys_of, write_rdb
from test_replan import PATIENCE, REPLAN, gate, host_of, messages, places  # noqa: F401


@pytest.fixture
def disks(recovery):
    return Disks(recovery)


def add_hosts(recovery, disks, count, only_read=None):
    """Hosts with a folder of files each; one has no room for any shard."""
    recovery.add_hosts(count)
    for host in recovery.hosts:
        host["recovery_path"] = str(disks.folder(host["name"]))
        if host["name"] == only_read:
            host["memory"] = "20M"


def put(cluster, disks, folder, made, owner, seed, age_s, name="redis-{}.rdb"):
    """A file of its only primary on a host's disk, and what it holds."""
    primary, = made.database.primaries
    path, digest = write_rdb(cluster, folder, keys_of(primary, 100, seed))
    return disks.put(owner, name.format(primary.uid), path, int(time.time()) - age_s), digest


def test_what_has_come_is_enough(cluster, recovery, gate, disks, folder):  # noqa: F811
    """A host that was only read is not missed."""
    made = cluster.add("a", replicas=1, keys=None, backup_location="")
    add_hosts(recovery, disks, 3, only_read="h1")
    _, made.digest = put(cluster, disks, folder, made, "h1", "a", 10)
    recovery.write().recover("--until", "transfer")
    assert "h1" not in [host for _, host in places(recovery).values()]
    gate.take("h1")
    recovery.resume(*PATIENCE, status=DONE)
    recovery.assert_recovered(made)


@pytest.mark.parametrize("only_read", [None, "h1"])
def test_a_host_without_the_file_is_replaced(cluster, recovery, gate, disks, folder, only_read):  # noqa: F811
    """The database begins anew, from the same file: it is never empty."""
    made = cluster.add("a", replicas=1, keys=None, backup_location="", password="one")
    add_hosts(recovery, disks, 4, only_read)
    _, made.digest = put(cluster, disks, folder, made, "h1", "a", 10)
    put(cluster, disks, folder, made, "h1", "b", 9000, "redis-{}.rdb.prev")
    bad = [put(cluster, disks, folder, made, f"h{i}", "c", 1)[0] for i in (2, 3, 4)]
    before = disks.contents()
    without = [word for i, path in enumerate(bad, 2) for word in ("--without", f"file:h{i}:{path}")]
    recovery.write().recover(*without, "--until", "load")
    lost = host_of(recovery, made, "replica")
    assert lost != "h1"
    gate.take(lost)
    recovery.resume(*REPLAN, status=DONE)
    recovery.assert_recovered(made)
    assert lost not in [host for _, host in places(recovery).values()] and disks.contents() == before


def test_an_older_file_is_not_taken_instead(cluster, recovery, gate, disks, folder):  # noqa: F811
    """The newest is on the lost host: that is said, with the next one; the other databases are done."""
    made = [cluster.add(name, replicas=1, keys=None, backup_location="") for name in "ab"]
    add_hosts(recovery, disks, 3)
    newest, made[0].digest = put(cluster, disks, folder, made[0], "h1", "new", 1000)
    older, _ = put(cluster, disks, folder, made[0], "h2", "old", 5000)
    _, made[1].digest = put(cluster, disks, folder, made[1], "h3", "b", 10)
    recovery.write().recover("--until", "transfer")
    assert host_of(recovery, made[0]) == "h1"
    gate.take("h1")
    recovery.resume(*REPLAN, status=PARTLY)
    refused, = set(messages(recovery, "replan-refused"))
    assert f"'h1:{newest}'" in refused and "lost host" in refused
    assert recovery.database(made[0])["state"] == "failed"
    recovery.assert_recovered(made[1])
    gate.give_back("h1")
    recovery.resume(status=DONE)
    recovery.assert_recovered(made[0])
    assert older.exists()


@pytest.mark.parametrize("next_file", [True, False])
def test_beginning_anew_without_it(cluster, recovery, gate, disks, folder, next_file):  # noqa: F811
    """What is said to do helps: the next newest file is taken, or where more folders are named is told."""
    made = cluster.add("a", keys=None, backup_location="")
    add_hosts(recovery, disks, 2)
    put(cluster, disks, folder, made, "h1", "new", 1000)
    if next_file:
        older, made.digest = put(cluster, disks, folder, made, "h2", "old", 5000)
    recovery.write().recover("--until", "prepare")
    assert host_of(recovery, made) == "h1"
    gate.take("h1")
    run = recovery.resume(*REPLAN, status=FAILED)
    if not next_file:
        assert run.says("no other file of these slots") and run.says("recovery_path"), run
        return
    assert run.says(f"the next newest of these slots is 'h2:{older}' of") and run.says("recluster abort"), run
    assert recovery.run("abort", "--state", recovery.state, "--yes", status=PARTLY).says("host 'h1'")
    recovery.state = folder / "second.state"
    recovery.recover(status=DONE)
    recovery.assert_recovered(made)


def test_a_file_that_has_gone_since(cluster, recovery, gate, disks, folder):  # noqa: F811
    """Of a host that is there: the one before it is not taken for it."""
    made = cluster.add("a", replicas=1, keys=None, backup_location="")
    add_hosts(recovery, disks, 3)
    newest, made.digest = put(cluster, disks, folder, made, "h1", "new", 1000)
    previous, _ = put(cluster, disks, folder, made, "h1", "old", 5000, "redis-{}.rdb.prev")
    recovery.write().recover("--until", "prepare")
    lost = host_of(recovery, made, "replica")
    gate.take(lost)
    newest.rename(f"{newest}.away")
    run = recovery.resume(*REPLAN, status=FAILED)
    assert run.says(f"it would now come from 'h1:{previous}'"), run
    newest.with_name(f"{newest.name}.away").rename(newest)
    recovery.resume(*REPLAN, status=DONE)
    recovery.assert_recovered(made)


def test_an_old_node_is_asked_again(folder):
    """A host dies; the new plan has the file of the old node that the hosts file names."""
    with labs.opened(folder / "lab", 4) as lab:
        lab.needs_namespaces()
        lab.replace_sshd(4, Subsystem="sftp internal-sftp")
        cluster = DeadCluster(folder, lab.net)
        cluster.nodes[0].addr = lab.net.host(4)
        made = cluster.add("a", replicas=1, keys=None, backup_location="")
        recovery = Recovery(folder, lab.net, cluster)
        recovery.defaults = {}
        disks = Disks(recovery)
        _, made.digest = put(cluster, disks, folder, made, "node1", "a", 10)
        recovery.old_nodes = [{
            "node": 1, "user": sshd.user(), "known_hosts": str(lab.known_hosts),
            "identity": str(lab.key), "recovery_path": str(disks.folder("node1"))}]
        for i in (1, 2, 3):
            recovery.hosts.append(
                lab.entry(i, name=f"h{i}", base_dir=str(folder / "hosts" / f"h{i}")))
        try:
            recovery.write().recover("--until", "transfer")
            lost = host_of(recovery, made, "replica")
            lab.space.kill(lost)
            recovery.resume(*REPLAN, status=DONE)
            recovery.assert_recovered(made)
            assert lost not in [host for _, host in places(recovery).values()]
        finally:
            recovery.end()
