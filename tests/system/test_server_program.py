"""What "server" of a host may be: a script that starts the real server in its own place."""

import os
import shutil
from pathlib import Path

import pytest

from harness import redis_server
from program import REFUSED

LOADER = "/lib64/ld-linux-x86-64.so.2"
SCRIPTS = {
    "plain": 'exec {server} "$@"',
    "loader": f'exec {LOADER} {{server}} "$@"',
    "another-word": 'exec -a cache {server} "$@"',
}


def script(folder, kind, name="wrapper"):
    path = folder / name
    path.write_text(f"#!/bin/bash\n{SCRIPTS[kind].format(server=shutil.which('redis-server'))}\n")
    path.chmod(0o755)
    return str(path)


def living(recovery):
    """Processes whose working folder is one of a shard's, whatever they are called."""
    top, found = (recovery.folder / "hosts").resolve(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if top in Path(os.readlink(entry / "cwd").removesuffix(" (deleted)")).parents:
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


@pytest.mark.parametrize("kind", SCRIPTS)
def test_wrapped_servers_are_known(cluster, recovery, folder, kind):
    """They are recovered, resumed and left to their clients as any other."""
    made = cluster.add("a", primaries=3, replicas=1)
    recovery.add_hosts(3, server=script(folder, kind)).write()
    recovery.recover("--until", "load")
    pids = sorted(living(recovery))
    recovery.resume()
    recovery.assert_recovered(made)
    assert sorted(living(recovery)) == pids and len(pids) == 6


@pytest.mark.parametrize("kind", SCRIPTS)
def test_abort_ends_wrapped_servers(cluster, recovery, folder, kind):
    cluster.add("a", primaries=3, replicas=1)
    recovery.add_hosts(3, server=script(folder, kind)).write()
    recovery.recover("--until", "load")
    assert len(living(recovery)) == 6
    run = recovery.run("abort", "--state", recovery.state, "--yes")
    assert run.says("removed") and living(recovery) == [] and recovery.server_folders() == []


def test_a_bus_that_nobody_reaches(cluster, recovery, folder):
    """A cluster that says "ok" without having heard of its nodes is none: from, to and port are named."""
    cluster.add("a", primaries=2)
    server = folder / "redis-server"
    server.write_text('#!/bin/bash\ncase $1 in *redis.conf) set -- "$@" --cluster-port $((40000 + RANDOM % 9000));; esac\n'
                      'exec redis-server "$@"\n')
    server.chmod(0o755)
    recovery.add_hosts(2, server=str(server)).write()
    run = recovery.recover("--no-replicas", status=None)
    assert run.status not in (0, 70), run
    assert run.says("cannot reach shard") and run.says("no answer from its cluster bus"), run
    assert run.says("Open TCP port") and run.says(recovery.hosts[0]["addr"])
    assert recovery.status()["databases"][0]["state"] != "done"


SECRETS = {"AWS_SECRET_ACCESS_KEY": "k3y", "OS_PASSWORD": "pw", "LD_PRELOAD_NOT": "x", "RECLUSTER_NOTHING": "x"}


def test_servers_get_a_clean_environment(cluster, recovery, folder):
    """The operator's logins are nothing of theirs, and nobody gets a core."""
    cluster.add("a")
    seen = folder / "seen"
    server = folder / "redis-server"
    server.write_text(f'#!/bin/bash\nexport -p >> "{seen}"; ulimit -c >> "{seen}"\nexec redis-server "$@"\n')
    server.chmod(0o755)
    recovery.add_hosts(1, server=str(server)).write()
    recovery.recover("--until", "load", env={**SECRETS, "LC_ALL": "C", "MALLOC_CONF": "abort:false"})
    text = seen.read_text()
    assert "PATH=" in text and "LC_ALL=" in text and "MALLOC_CONF=" in text
    assert not any(name in text for name in SECRETS), text
    assert {line for line in text.splitlines() if line.isdigit()} == {"0"}


def test_the_program_leaves_no_core(recovery):
    """It would hold the passwords of all databases."""
    def limits():
        lines = Path(f"/proc/{run.pid}/limits").read_text().splitlines()
        return next(line.split()[4:6] for line in lines if line.startswith("Max core"))
    run = recovery.start("agent")
    try:
        redis_server.wait_until(lambda: limits() == ["0", "0"], "the limit", 5)
    finally:
        run.kill()
        run.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders to others")
@pytest.mark.parametrize("owner, mode, words", [
    (12345, 0o700, "belongs to another user (12345)"), (0, 0o777, "may be changed by other users (mode 777)"),
    (0, 0o770, "may be changed by other users (mode 770)")])
@pytest.mark.parametrize("above", [False, True])
def test_folders_that_others_may_change(cluster, recovery, owner, mode, words, above):
    """The plan does not use such a host; a folder that is changed later is not worked in."""
    cluster.add("a")
    recovery.add_hosts(1).write()
    base = Path(recovery.hosts[0]["base_dir"])
    base.mkdir(parents=True, mode=0o700)
    target = base.parent if above else base
    os.chown(target, owner, 0)
    target.chmod(mode)
    run = recovery.plan(status=REFUSED)
    assert run.says(words) and run.says("nobody else may write to them")
    os.chown(target, 0, 0)
    target.chmod(0o700)
    recovery.recover("--until", "load")
    os.chown(target, owner, 0)
    target.chmod(mode)
    assert recovery.resume(status=None).says(words)
    os.chown(target, 0, 0)
    target.chmod(0o700)
    recovery.resume()
