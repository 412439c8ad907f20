"""backup --server-files: the servers make the files (BACKUP START, SEAL). A module stands for Redis 8.10."""

import contextlib
import signal

import pytest

from harness import module, redis_server, resp
from program import DONE, FAILED, LOCKED
from test_backup import backed  # noqa: F401 (a fixture)
from test_backup_hosts import Hosts


@pytest.fixture
def with_command(backed, folder, release):
    """A cluster whose servers have the command."""
    def make(**more):
        path = module.build(folder, "backup_command.c", "backup_command.so")
        more = {"enable_module_command": "yes", **more} if release.version >= (7, 0) else more
        return backed(loadmodule=path, appendonly="yes", appendfsync="no", **more)
    return make


def states(b):
    found = []
    for server in b.live.servers:
        with server.connect() as c:
            found.append(c.call("BACKUP", "STATUS")[1].decode())
    return found


def left(b):
    return [p for s in b.live.servers for p in s.folder.glob("backupdir/*")]


@pytest.mark.releases("system", "redis80")
def test_each_set_is_one_moment(with_command, release):
    """Under load, three times; the servers are as before."""
    b = with_command()
    with b.writers(pause=0.001) as writers:
        writers.wait_for(20)
        for _ in range(3):
            run = b.take("--server-files")
            assert b.faults(run) == [], run
            assert states(b) == ["idle"] * 6 and left(b) == []
        (taken,) = run.json["sets"]
        assert all(f["base"]["bytes"] > 0 for f in taken["files"]), taken
        assert sum(f["stream_bytes"] for f in taken["files"]) > 0, taken
        run = b.take("--server-files", "--form", "rdb", "--server", release.program, "--verify", "full")
        assert run.json["sets"][0]["form"] == "rdb"
    assert all(f["ok"] for f in b.recovery.run("verify", b.place, "--json").json["files"])


def test_by_hosts(with_command):
    b = with_command()
    hosts = Hosts(b)
    with b.writers(pause=0.001) as writers:
        writers.wait_for(20)
        run = b.take("--server-files", "--hosts", hosts.file)
        assert b.faults(run) == [], run
    assert hosts.used() == [3, 4, 5]


def test_what_is_in_the_way(with_command, backed):
    """A backup that somebody else has begun stays; servers without the command are told."""
    b = with_command()
    with b.live.servers[4].connect() as c:
        c.call("BACKUP", "START")
    run = b.take("--server-files", status=LOCKED)
    assert run.says("BACKUP CLEANUP") and (run.says("'incrementing'") or run.says("'snapshotting'")), run
    assert states(b)[4] in ("snapshotting", "incrementing") and states(b)[3] == "idle"
    assert [p.name for p in b.place.iterdir()] == ["ccs-redis.rdb"]


def test_servers_without_the_command(backed):
    b = backed()
    run = b.take("--server-files", status=FAILED)
    assert run.says("Redis 8.10") and run.says("Leave --server-files away"), run


def test_an_interrupt_leaves_nothing_on_the_servers(with_command):
    b = with_command()
    with b.writers(pause=0.001) as writers:
        writers.wait_for(20)
        run = b.start("--server-files")

        def begun():
            with contextlib.suppress(OSError, resp.ReplyError):
                return "idle" not in states(b)[3:]
        redis_server.wait_until(begun, "bases", 30)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    assert run.returncode in (DONE, 130, FAILED), err
    if run.returncode != DONE:
        assert set(states(b)) <= {"idle", "failed"} and left(b) == [], err
