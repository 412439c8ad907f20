"""The demo's cluster, from nothing onto six machines that have nothing but sshd and a server."""

import sqlite3
import time

import pytest

import lab as labs
from harness import http_server, redis_server, sftp_server
from harness.old_cluster import SOON_MS, OldCluster, differences
from program import DONE, Recovery
from test_resume import wait_for_task


@pytest.fixture
def lab(tmp_path):
    """Three racks of two hosts, each rack a subnet of its own, and a machine that has the backups."""
    with labs.opened(tmp_path / "lab", 6, racks=3, others=["files"]) as lab:
        lab.needs_namespaces()
        yield lab


def lose(folder, lab, share):
    """Runs the cluster, backs it up, destroys it; the digests of what it held."""
    old = OldCluster(folder / "old", lab.net, share)
    try:
        old.start()
        old.fill()
        horizon_ms = int(time.time() * 1000) + SOON_MS
        before = old.digests(horizon_ms)
        old.back_up(folder / "backups")
        for database in old.databases:
            database.fields["rack_aware"] = "enabled"
        old.write_ccs(folder / "ccs-redis.rdb")
    finally:
        old.destroy()
    return before, horizon_ms


def serve(folder, lab):
    """db:1's backups by HTTP, slowly; db:2's by SFTP."""
    addr = lab.space.other("files")
    with lab.space.inside("files"):
        web = http_server.Nginx(
            folder / "web", folder / "backups", addr, 80, limit_rate="350k").start()
        sftp = sftp_server.Sshd(folder / "sftp", addr, 22).start()
    for file in (folder / "backups").iterdir():
        (sftp.root / file.name).hardlink_to(file)
    return {"db:1": web.url, "db:2": sftp.location()}


def fetching(recovery):
    with sqlite3.connect(f"file:{recovery.state}?mode=ro", uri=True) as db:
        return [host for host, in db.execute(
            "SELECT DISTINCT host FROM task WHERE kind = 'fetch' AND state = 'running'"
            " AND database_uid = '1' ORDER BY host")]


@pytest.mark.parametrize("share", [
    pytest.param(200, id="small"), pytest.param(1, marks=pytest.mark.slow, id="whole")])
def test_two_links_are_cut_on_the_way(folder, lab, share):
    before, horizon_ms = lose(folder, lab, share)
    recovery = Recovery(folder, lab.net, None)
    recovery.ccs = folder / "ccs-redis.rdb"
    recovery.sources = serve(folder, lab)
    recovery.defaults = {}
    recovery.hosts = [
        lab.entry(i, name=f"h{i}", rack=f"rack {lab.space.rack(i)}",
                  base_dir=str(folder / "hosts" / f"h{i}")) for i in range(1, 7)
    ]
    recovery.write_hosts()
    run = recovery.start(*recovery.recover_args("--verbose"))
    try:
        wait_for_task(recovery, "fetch")
        first, second = redis_server.wait_until(
            lambda: len(fetching(recovery)) > 1 and fetching(recovery), "two hosts that fetch")[:2]
        daemon = lab.daemons[int(second[1:]) - 1]
        lab.space.cut(first)
        daemon.stop()
        assert lab.space.kill(second, "sshd") > 0
        time.sleep(2)
        assert fetching(recovery), "all was over before anything was cut"
        lab.space.mend(first)
        daemon.start(lab.prefix(int(second[1:])))
    finally:
        out, err = run.communicate(timeout=200)
    assert run.returncode == DONE, f"{out.decode()}\n{err.decode()}"

    status = recovery.status()
    assert differences(status, before, horizon_ms) == []
    racks = {host["name"]: host["rack"] for host in recovery.hosts}
    with sqlite3.connect(recovery.state) as db:
        pairs = db.execute(
            "SELECT r.host, p.host FROM placement r JOIN placement p ON r.primary_uid = p.shard_uid"
        ).fetchall()
        again, = db.execute(
            "SELECT max(attempts) FROM task WHERE kind = 'fetch' AND host = ?", (second,)).fetchone()
    assert len(pairs) == 4 and all(racks[replica] != racks[primary] for replica, primary in pairs)
    assert again > 1
    assert recovery.processes() == []
