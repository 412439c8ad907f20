"""Servers that load their file while it is still coming."""

import gzip
import json
import os
import random
import signal
import sqlite3
import stat

import pytest

from dead_cluster import STAMP, commands
from harness import ccs_file, network, redis_server, slots
from harness.cutting_proxy import CuttingProxy
from harness.http_server import Nginx
from program import DONE, REFUSED, USAGE
from test_replicas import assert_no_copy
from test_resume import wait_for_task

ALWAYS = ["--load-while-landing", "always"]
BIG = 3000  # further keys of 1 KB in a file: more than a pipe holds


def bulk(count):
    rng = random.Random(7)
    return [["SET", f"bulk:{i}", rng.randbytes(1000)] for i in range(count)]


def add_plain(cluster, name="a", big=0, **more):
    """A database whose backups are not packed."""
    made = cluster.add(name, keys=None, password="one", **more)
    made.digest = type(made.digest)()
    everything = [c for _, c in commands(120, name)] + bulk(big)
    for i, shard in enumerate(made.database.primaries):
        own = [c for c in everything if slots.holds(shard.ranges, slots.of_key(
            c[1] if isinstance(c[1], bytes) else c[1].encode()))]
        packed = ccs_file.backup_name(STAMP, made.database, i + 1, shard)
        made.files.append(cluster.backups / packed.removesuffix(".gz"))
        made.digest += cluster.write_rdb(made.files[-1], own)
    return made


@pytest.fixture
def serve(cluster, recovery, folder, net):
    """Serves the backups over HTTP, and has them recovered from there."""
    def start(limit_rate="0", through=None):
        addr = net.addr(5)
        web = Nginx(folder / "web", cluster.backups, addr, network.free_port(addr), limit_rate=limit_rate).start()
        url = f"http://{addr}:{through}/" if through else web.url
        recovery.sources = {f"db:{made.database.uid}": url for made in cluster.databases}
        recovery.write()
        return web
    return start


def landed(recovery):
    """Of each primary, whether its server began with the file on its way."""
    with sqlite3.connect(f"file:{recovery.state}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT loaded FROM placement WHERE role = 'primary' ORDER BY shard_uid").fetchall()
    return ["landed" in json.loads(loaded) for (loaded,) in rows]


def is_pipe(path):
    return stat.S_ISFIFO(path.lstat().st_mode)


def assert_nothing_left(recovery):
    """No pipe, and no record of one; what servers start on is the fetched file itself."""
    for folder in recovery.server_folders():
        assert not any(map(is_pipe, folder.iterdir())), folder
        assert "landing" not in json.loads((folder / "shard.json").read_text())
        assert not (folder / "dump.rdb.new").exists()


def until_landing(recovery, count=1):
    """Waits for as many servers that were started on a pipe; their processes, by their files."""
    wait_for_task(recovery, "fetch")
    redis_server.wait_until(lambda: len(recovery.running_servers()) == count, "servers", 20)
    pid_files = recovery.running_servers()
    assert all(is_pipe(path.parent / "dump.rdb") for path in pid_files)
    return {path: int(path.read_text()) for path in pid_files}


def starts(recovery):
    """How often each server was started, by its log."""
    return [(folder / "server.log").read_text().count("is starting") for folder in recovery.server_folders()]


@pytest.mark.releases("redis80", "valkey91")
@pytest.mark.parametrize("choice, big, replicas", [(None, 0, 0), (None, BIG, 0), ("always", BIG, 1)])
def test_other_releases_land(cluster, recovery, serve, choice, big, replicas):
    """They open dump.rdb once more when they have loaded it; each is started only once."""
    made = add_plain(cluster, big=big, primaries=2, replicas=replicas)
    recovery.add_hosts(2)
    serve()
    recovery.recover(*["--load-while-landing", choice][: 2 * bool(choice)], timeout=40)
    assert landed(recovery) == [True, True]
    assert starts(recovery) == [1] * 2 * (1 + replicas)
    recovery.assert_recovered(made)
    assert_nothing_left(recovery)


@pytest.mark.slow
@pytest.mark.releases("redis80s", "valkey80", "valkey81")
@pytest.mark.parametrize("choice, big, replicas", [(None, 0, 0), (None, BIG, 0), ("always", BIG, 1)])
def test_all_releases_land(cluster, recovery, serve, choice, big, replicas):
    test_other_releases_land(cluster, recovery, serve, choice, big, replicas)


@pytest.mark.slow
@pytest.mark.releases("system", "redis80", "redis80s", "valkey80", "valkey81", "valkey91")
def test_large_files_land(cluster, recovery, serve):
    """Files of more than 100 MB take their servers a while to load; each is started only once."""
    made = add_plain(cluster, big=240_000, primaries=2, memory_size=str(1 << 30))
    recovery.add_hosts(2, memory="2G")
    serve()
    recovery.recover(timeout=100)
    assert landed(recovery) == [True, True] and starts(recovery) == [1, 1]
    recovery.assert_recovered(made)


@pytest.mark.parametrize("primaries, replicas, full_sync", [
    (1, 0, False), (1, 1, True), (1, 1, False), (1, 2, False), (3, 0, False), (3, 1, True), (3, 1, False)])
def test_all_keys_are_there(cluster, recovery, serve, primaries, replicas, full_sync):
    made = add_plain(cluster, big=BIG, primaries=primaries, replicas=replicas)
    recovery.add_hosts(3)
    serve()
    recovery.recover(*ALWAYS, *["--full-sync"] * full_sync, "--until", "load")
    assert landed(recovery) == [True] * primaries
    assert_nothing_left(recovery)
    for folder in recovery.server_folders():
        for file in (folder / "incoming").glob("*.rdb"):
            assert file.samefile(folder / "dump.rdb")
    recovery.resume()
    recovery.assert_recovered(made)
    assert landed(recovery) == [True] * primaries
    if replicas and not full_sync:
        assert_no_copy(recovery, made, primaries * replicas)


def test_replicas_begin_early_too(cluster, recovery, serve):
    """All servers of a shard read what comes, and are the very ones that are opened."""
    made = add_plain(cluster, big=BIG, replicas=2)
    recovery.add_hosts(3)
    serve(limit_rate="1m")
    run = recovery.start(*recovery.recover_args(*ALWAYS))
    pids = until_landing(recovery, 3)
    _, err = run.communicate(timeout=60)
    assert run.returncode == DONE, err.decode()
    recovery.assert_recovered(made)
    assert_no_copy(recovery, made, 2)
    assert_nothing_left(recovery)
    assert {path: int(path.read_text()) for path in recovery.running_servers()} == pids


@pytest.mark.parametrize("when, packed, far, replicas, expected", [
    (None, False, True, 0, True), ("auto", False, True, 0, True), ("never", False, True, 0, False),
    (None, True, True, 0, False), ("always", True, True, 0, True),
    (None, False, False, 0, False), ("always", False, False, 0, True),
    (None, False, True, 1, False), ("always", False, True, 1, True),  # the id that is made of the file comes at its end
])
def test_when_servers_begin_early(cluster, recovery, serve, when, packed, far, replicas, expected):
    made = add_plain(cluster, replicas=replicas)
    if packed:
        (plain,) = made.files
        plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    recovery.add_hosts(2).write()
    if far:
        serve()
    recovery.recover(*(["--load-while-landing", when] if when else []))
    assert landed(recovery) == [expected]
    recovery.assert_recovered(made)
    assert_nothing_left(recovery)


def test_other_words_are_refused(cluster, recovery):
    add_plain(cluster)
    recovery.add_hosts(1).write()
    run = recovery.recover("--load-while-landing", "sometimes", status=USAGE)
    assert run.says("is not auto, always or never")
    recovery.recover("--load-while-landing", "always", "--until", "transfer")
    assert recovery.running_servers() == []
    assert recovery.resume("--load-while-landing", "never", status=USAGE).says("has begun")


@pytest.mark.parametrize("back, replicas", [(1, 0), (8, 0), (9, 0), (40, 0), (500, 0), (1, 1), (9, 1), (500, 1)])
def test_a_bad_end_opens_nothing(cluster, recovery, serve, back, replicas):
    """One byte is flipped near the end; its shard's servers and the others' go, and nobody gets in."""
    made = add_plain(cluster, big=BIG, primaries=2, replicas=replicas)
    data = bytearray(made.files[0].read_bytes())
    data[-back] ^= 0x10
    made.files[0].write_bytes(data)
    recovery.add_hosts(2)
    serve()
    run = recovery.recover(*ALWAYS, status=REFUSED)
    assert run.says(made.files[0].name), run
    assert recovery.database(made)["state"] == "failed"
    assert recovery.running_servers() == []
    bad = 0
    for folder in recovery.server_folders():
        log, arrived = folder / "server.log", [p.name for p in folder.glob("incoming/*.rdb")]
        assert arrived in ([], [made.files[1].name])
        if not arrived and log.exists():
            bad += 1
            assert "DB loaded" not in log.read_text()
    assert bad == 1 + replicas
    # With the right file it is recovered, by a recovery of its own.
    data[-back] ^= 0x10
    made.files[0].write_bytes(data)
    recovery.run("abort", "--state", recovery.state, "--yes")
    recovery.state = recovery.folder / "second.state"
    recovery.recover(*ALWAYS)
    assert landed(recovery) == [True, True]
    recovery.assert_recovered(made)


@pytest.mark.parametrize("replicas", [0, 1])
def test_a_line_that_cuts(cluster, recovery, serve, net, replicas):
    """The transfer goes on in the middle of the file, and so does the load."""
    made = add_plain(cluster, big=BIG, replicas=replicas)
    recovery.add_hosts(1 + replicas)
    port = network.free_port(net.addr(5))
    web = serve(through=port)
    with CuttingProxy(net.addr(5), port, (web.addr, web.port), 1 << 20) as line:
        recovery.recover(*ALWAYS)
    assert line.cuts >= 2
    assert landed(recovery) == [True]
    recovery.assert_recovered(made)


@pytest.mark.parametrize("how, replicas", [("resume", 0), ("resume", 1), ("abort", 0)])
def test_killed_in_the_middle(cluster, recovery, serve, how, replicas):
    made = add_plain(cluster, big=BIG, replicas=replicas)
    recovery.add_hosts(1 + replicas)
    serve(limit_rate="400k")
    run = recovery.start(*recovery.recover_args(*ALWAYS))
    until_landing(recovery, 1 + replicas)
    run.kill()
    run.communicate()
    if how == "abort":
        recovery.run("abort", "--state", recovery.state, "--yes")
        assert recovery.running_servers() == []
        assert not recovery.server_folders()
        return
    # A server whose file ends too early is no server.
    redis_server.wait_until(lambda: not recovery.running_servers(), "the end of the server", 20)
    recovery.resume(status=DONE)
    assert landed(recovery) == [True]
    recovery.assert_recovered(made)
    assert_nothing_left(recovery)


@pytest.mark.parametrize("replicas", [0, 1])
def test_interrupted_behind_the_fetch(cluster, recovery, serve, replicas):
    """The file is there and its server is loading: the next run takes both over."""
    made = add_plain(cluster, big=BIG, replicas=replicas)
    recovery.add_hosts(1 + replicas)
    serve()
    # Stopped at each commit from the first task on: one of them is that of the fetch.
    for n in range(1, 60):
        run = (recovery.resume if recovery.state.exists() else lambda **k: recovery.recover(*ALWAYS, **k))(
            env={"RECLUSTER_TEST_KILL_AT": n}, status=None)
        if run.status == DONE:
            break
    assert run.status == DONE, run
    recovery.assert_recovered(made)
    assert_nothing_left(recovery)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_the_fetch_does_not_mind_its_server(cluster, recovery, serve, sent):
    """It is killed, or takes nothing any more: the file comes all the same."""
    made = add_plain(cluster, big=BIG)
    recovery.add_hosts(1)
    serve(limit_rate="1m")
    run = recovery.start(*recovery.recover_args(*ALWAYS))
    (server,) = until_landing(recovery).values()
    os.kill(server, sent)
    wait_for_task(recovery, "fetch", "done")
    if sent == signal.SIGSTOP:
        os.kill(server, signal.SIGCONT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == DONE, err.decode()
    assert landed(recovery) == [sent == signal.SIGSTOP]
    recovery.assert_recovered(made)
    assert_nothing_left(recovery)


@pytest.mark.parametrize("refusal", ["exit 1", "rm -f dump.rdb"])
def test_a_server_that_takes_no_pipe(cluster, recovery, serve, refusal):
    """It ends, or comes up without any data: it is started again on the file."""
    made = add_plain(cluster, big=BIG)
    server = recovery.folder / "redis-server"
    server.write_text(f'#!/bin/bash\n[ ! -p dump.rdb ] || {{ {refusal}; }}\nexec -a redis-server /usr/bin/redis-server "$@"\n')
    server.chmod(0o755)
    recovery.add_hosts(1, server=str(server))
    serve()
    recovery.recover()
    assert landed(recovery) == [False]
    recovery.assert_recovered(made)
    assert_nothing_left(recovery)
