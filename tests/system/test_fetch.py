"""How files are fetched, of whatever kind of location: in little memory, so many at a time, as fast as allowed."""

import contextlib
import os
import sqlite3
import subprocess
import time

import pytest

from harness import ccs_file
from harness.faulty_proxy import FaultyProxy, header
from harness.http_server import Nginx
from harness.sftp_server import Sshd
from program import DONE, REFUSED, USAGE
from stores import needs_npm

BIG_MIB = 256
MEMORY_MIB = 32


def write_big_rdb(path, version=b"0009"):
    """Values of zeros, a MiB each and one of half the file; of the disk it takes next to nothing."""
    sizes = [1] * (BIG_MIB // 2) + [BIG_MIB // 2]
    with open(path, "wb") as f:
        f.write(b"REDIS" + version + b"\xfe\x00")
        for i, mebibytes in enumerate(sizes):
            f.write(b"\x00\x04k%03d\x80" % i + (mebibytes << 20).to_bytes(4, "big"))
            f.seek(mebibytes << 20, 1)
        f.write(b"\xff" + bytes(8))  # a checksum of 0: switched off


def http(request, cluster, folder, net):
    return Nginx(folder / "web", cluster.backups, net.addr(4), 8080).start().url


def sftp(request, cluster, folder, net):
    server = Sshd(folder / "sshd", net.addr(4), 2222).start()
    for path in cluster.backups.iterdir():
        path.rename(server.root / path.name)
    return server.location()


def s3(request, cluster, folder, net):
    server = request.getfixturevalue("s3")
    for path in cluster.backups.iterdir():
        server.put(path.name, path.read_bytes())
    return server.location()


PACK = {"gz": ["gzip", "-1"], "zst": ["zstd", "-q", "--rm", "--zstd=wlog=23"]}  # the window of -19
CASES = [
    pytest.param(http, None, id="http"), pytest.param(sftp, None, id="sftp"),
    pytest.param(s3, None, id="s3", marks=[needs_npm, pytest.mark.slow]),
    pytest.param(http, "gz", id="gzip", marks=pytest.mark.slow), pytest.param(http, "zst", id="zstd"),
]


@pytest.mark.parametrize("kind, packed", CASES)
def test_memory_of_a_fetch_is_bounded(kind, packed, request, cluster, recovery, folder, net):
    made = cluster.add("big", keys=None)
    name = ccs_file.backup_name("20261120-020000", made.database, 1, made.database.primaries[0])
    path = cluster.backups / name.removesuffix(".gz")
    write_big_rdb(path)
    if packed:
        subprocess.run([*PACK[packed], path], check=True, timeout=60)
    recovery.sources = {"db:1": kind(request, cluster, folder, net)}
    recovery.add_hosts(1).write()
    run = recovery.start(*recovery.recover_args("--until", "transfer"))
    peaks = recovery.memory_until_the_end(run)
    out, err = run.communicate()
    assert run.returncode == DONE, f"{out.decode()}\n{err.decode()}"
    (there,) = (recovery.folder / "hosts").rglob("incoming/*.rdb")
    assert there.stat().st_size > BIG_MIB << 20
    assert len(peaks) >= 3 and max(peaks.values()) < MEMORY_MIB, peaks  # the operator, the agent, the fetch


class SlowProxy(FaultyProxy):
    """Takes its time with whole files; what a plan reads of them comes at once. most: so many at a time."""

    running = most = 0

    def _next_fault(self, head):
        if b".rdb" in head and not header(head, b"range"):
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            time.sleep(0.4)
            with self.lock:
                self.running -= 1
        return super()._next_fault(head)


def at_once(spans):
    """The most that ran at the same time, of (began, ended)."""
    edges = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    return most


def fetches(recovery):
    """(began, ended) of each, in ms."""
    with contextlib.closing(sqlite3.connect(f"file:{recovery.state}?mode=ro", uri=True)) as db:
        return db.execute("SELECT started_ms, ended_ms FROM task WHERE kind = 'fetch'").fetchall()


@pytest.mark.parametrize("hosts, more, wanted", [(1, [], 4), (2, ["--fetches", "3"], 3)])
def test_so_many_files_are_fetched_at_a_time(cluster, recovery, folder, net, hosts, more, wanted):
    cluster.add("orders", primaries=6, keys=20)
    Nginx(folder / "web", cluster.backups, net.addr(4), 8080).start()
    with SlowProxy(net.addr(5), 8080, (net.addr(4), 8080), {}) as proxy:
        recovery.sources = {"db:1": proxy.url + "/"}
        recovery.add_hosts(hosts).write().recover("--until", "transfer", *more)
    spans = fetches(recovery)
    assert len(spans) == 6 and at_once(spans) == wanted, spans


def test_verify_reads_several_files_at_a_time(cluster, recovery, folder, net):
    cluster.add("orders", primaries=4, keys=20)
    Nginx(folder / "web", cluster.backups, net.addr(4), 8080).start()
    with SlowProxy(net.addr(5), 8080, (net.addr(4), 8080), {}) as proxy:
        recovery.run("verify", proxy.url + "/")
    assert proxy.most == min(os.cpu_count(), 4)


def test_a_plan_reads_no_more_than_heads_and_sees_what_servers_cannot_load(cluster, recovery, folder, net):
    made = cluster.add("big", keys=None)
    name = ccs_file.backup_name("20261120-020000", made.database, 1, made.database.primaries[0])
    write_big_rdb(cluster.backups / name.removesuffix(".gz"), b"0014")
    web = Nginx(folder / "web", cluster.backups, net.addr(4), 8080, log=True).start()
    recovery.sources = {"db:1": web.url}
    recovery.add_hosts(1).write()
    blockers = recovery.plan("--json", status=REFUSED).json["blockers"]
    assert [b for b in blockers if "RDB version 14" in b["message"]], blockers
    run = recovery.recover(status=REFUSED)
    assert run.says("RDB version 14") and recovery.running_servers() == [] and not recovery.state.exists()
    assert sum(count for _, count in web.sent()) < 100_000, web.sent()


def test_a_number_of_fetches_is_a_number(recovery):
    for word in ("0", "-1", "3x", ""):
        run = recovery.run("recover", "--state", recovery.state, "--fetches", word, status=USAGE)
        assert run.says(f"--fetches: '{word}' is not a number"), run


def test_all_transfers_together_keep_the_limit(cluster, recovery):
    made = cluster.add("orders", primaries=4, keys=2000)
    size = sum(path.stat().st_size for path in made.files)
    rate = size  # a second
    recovery.add_hosts(2).write().recover("--until", "transfer", "--limit-rate", rate)
    spans = fetches(recovery)
    took_s = (max(ended for _, ended in spans) - min(began for began, _ in spans)) / 1000
    assert size / rate * 0.8 < took_s < size / rate * 3, took_s

    began = time.monotonic()
    recovery.run("verify", cluster.backups, "--limit-rate", rate)
    assert size / rate * 0.8 < time.monotonic() - began < size / rate * 3
