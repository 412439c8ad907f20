"""Backups that the hosts can't reach themselves: the operator's machine hands their bytes on."""

import os
import shlex
import sqlite3

import pytest

import lab as labs
from dead_cluster import DeadCluster
from harness import http_server, redis_server, sftp_server
from harness.cutting_proxy import CuttingProxy
from program import DONE, FAILED, USAGE, Recovery
from test_resume import wait_for_task

PORT = 8080


@pytest.fixture
def lab(tmp_path):
    with labs.opened(tmp_path / "lab", 3) as lab:
        lab.needs_namespaces()
        yield lab


@pytest.fixture
def cluster(folder, lab):
    return DeadCluster(folder, lab.net)


@pytest.fixture
def recovery(folder, lab, cluster):
    recovery = Recovery(folder, lab.net, cluster)
    recovery.defaults = {}
    yield recovery
    recovery.end()


def add_hosts(recovery, lab, count, **keys):
    for i in range(1, count + 1):
        base = recovery.folder / "hosts" / f"h{i}"
        recovery.hosts.append(lab.entry(i, **{"name": f"h{i}", "base_dir": str(base), **keys}))


def serve_here(cluster, lab, limit_rate="0"):
    """The backups by HTTP on an address that only the operator's machine has."""
    return http_server.Nginx(
        cluster.folder / "nginx", cluster.backups, lab.net.addr(5), PORT, limit_rate=limit_rate).start()


def test_bytes_come_over_the_link(cluster, recovery, lab):
    """Without it the fetch fails and says what would help; the login of the location never leaves this machine."""
    made = [cluster.add("a", primaries=2, replicas=1, keys=3000), cluster.add("b", replicas=1)]
    server = serve_here(cluster, lab)
    url = server.url.replace("//", "//me:CANARY@")
    location = {"url": url, "insecure": True}
    recovery.sources = {"db:1": location, "db:2": location}
    add_hosts(recovery, lab, 3)
    recovery.write()
    run = recovery.recover(status=FAILED)
    assert run.says('"relay": true'), run
    recovery.run("abort", "--state", recovery.state, "--yes")
    recovery.state.unlink()

    recovery.hosts = []
    for i in (1, 2, 3):
        said = recovery.folder / f"said{i}"
        command = f"tee -a {shlex.quote(str(said))} | ip netns exec {lab.name(i)} sh"
        recovery.hosts.append(lab.entry(
            i, name=f"h{i}", link="command", command=["sh", "-c", command], relay=True, user=None,
            port=None, identity=None, known_hosts=None, base_dir=str(recovery.folder / "hosts" / f"h{i}")))
    recovery.write_hosts()
    recovery.recover(status=DONE)
    for one in made:
        recovery.assert_recovered(one)
    for i in (1, 2, 3):
        said = (recovery.folder / f"said{i}").read_bytes()
        assert b'"begin"' in said and b'"fetch"' in said and b"CANARY" not in said
    assert recovery.processes() == []


def test_a_location_says_so(cluster, recovery, lab):
    """`relay` of an SFTP location that only this machine may log in to."""
    made = cluster.add("a", primaries=3, keys=1000)
    sftp = sftp_server.Sshd(recovery.folder / "sftp", lab.net.addr(6), 2222).start()
    for file in cluster.backups.iterdir():
        (sftp.root / file.name).hardlink_to(file)
    recovery.sources = {"db:1": sftp.location(relay=True)}
    add_hosts(recovery, lab, 3)
    recovery.write().recover(status=DONE)
    recovery.assert_recovered(made)


def test_relay_is_a_flag(cluster, recovery, lab):
    cluster.add("a")
    add_hosts(recovery, lab, 1, relay="yes")
    run = recovery.write().plan(status=USAGE)
    assert run.says("'relay' is neither true nor false"), run


@pytest.mark.parametrize("which", ["host", "location"])
def test_a_line_is_cut_in_the_middle(cluster, recovery, lab, which):
    """The link to a host, or the operator's own line to the location: what has come is not read again."""
    made = cluster.add("a", keys=None)
    cluster.write_backups(made, 20_000)
    size = made.files[0].stat().st_size
    server = serve_here(cluster, lab, limit_rate="400k" if which == "host" else "0")
    cut_after = size // 3 if which == "location" else 1 << 30
    with CuttingProxy(lab.net.addr(7), PORT, (server.addr, PORT), cut_after) as proxy:
        recovery.sources = {"db:1": f"http://{lab.net.addr(7)}:{PORT}/"}
        add_hosts(recovery, lab, 1, relay=True)
        recovery.write()
        run = recovery.start(*recovery.recover_args())
        if which == "host":
            wait_for_task(recovery, "fetch")
            part = redis_server.wait_until(
                lambda: list(recovery.folder.rglob("*.fetch0")), "the first bytes")[0]
            redis_server.wait_until(lambda: part.stat().st_size > size // 3, "a third of the file")
            lab.daemons[0].stop()
            lab.space.kill("h1", "sshd")
            lab.daemons[0].start(lab.prefix(1))
        out, err = run.communicate(timeout=60)
        assert run.returncode == DONE, f"{out.decode()}\n{err.decode()}"
        assert proxy.passed < 1.7 * size, (proxy.passed, size)
        assert proxy.cuts > 1 or which == "host"
    recovery.assert_recovered(made)
    with sqlite3.connect(recovery.state) as db:
        attempts, = db.execute("SELECT attempts FROM task WHERE kind = 'fetch'").fetchone()
    assert attempts == (2 if which == "host" else 1)


@pytest.mark.slow
def test_a_slow_host_costs_no_memory(cluster, recovery, lab):
    """64 MiB to a host that takes 40 Mbit/s: neither side holds more than a few of them, nor does a disk here."""
    made = cluster.add("a", keys=None)
    made.digest = cluster.write_rdb(
        made_file(cluster, made), [["SET", f"k{i}", os.urandom(1 << 20)] for i in range(64)])
    serve_here(cluster, lab)
    recovery.sources = {"db:1": f"http://{lab.net.addr(5)}:{PORT}/"}
    add_hosts(recovery, lab, 1, relay=True)
    recovery.write()
    lab.space.slow("h1", "40mbit")
    temp = recovery.folder / "tmp"
    temp.mkdir()
    run = recovery.start(*recovery.recover_args(), env={"TMPDIR": temp})
    wait_for_task(recovery, "fetch")
    peaks = recovery.memory_until_the_end(run)
    run.communicate()
    assert run.returncode == DONE
    recovery.assert_recovered(made)
    assert peaks and max(peaks.values()) < 60, peaks
    assert list(temp.iterdir()) == []


def made_file(cluster, made):
    from harness import ccs_file
    return cluster.backups / ccs_file.backup_name(
        "20261120-020000", made.database, 1, made.database.primaries[0]).replace(".gz", "")
