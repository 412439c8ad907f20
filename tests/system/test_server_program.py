"""What "server" of a host may be: a script that starts the real server in its own place."""

import os
import shutil
from pathlib import Path

import pytest

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
    assert run.says("hears nothing from shard") and run.says("no answer from its cluster bus"), run
    assert run.says("Open TCP port") and run.says(recovery.hosts[0]["addr"])
    assert recovery.status()["databases"][0]["state"] != "done"
