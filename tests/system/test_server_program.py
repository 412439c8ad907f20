"""What "server" of a host may be: a script that starts the real server in its own place."""

import json
import os
import shutil
from pathlib import Path

import pytest

from harness import redis_server
from program import PARTLY

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
