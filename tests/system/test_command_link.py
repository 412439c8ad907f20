"""Recoveries over `link: command`: any program that gives a shell on the host."""

import json
import os
import re
import resource
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

import bare_host
from harness import http_server, namespaces
from dead_cluster import DeadCluster
from program import DONE, PROGRAM, REFUSED, Recovery


def test_into_namespaces(tmp_path):
    """The whole recovery by `ip netns exec`."""
    why = namespaces.missing()
    if why:
        pytest.skip(why)
    net = namespaces.Namespaces(3)
    try:
        with net.inside():
            cluster = DeadCluster(tmp_path, net)
            recovery = Recovery(tmp_path, net, cluster)
            made = [cluster.add("a", primaries=2, replicas=1, password="one"), cluster.add("b")]
            recovery.defaults = {
                "link": "command", "memory": "1G",
                "command": ["ip", "netns", "exec", "{name}", "sh"],
            }
            recovery.add_hosts(3)
            for i, host in enumerate(recovery.hosts):
                host["name"] = net.full(f"h{i + 1}")
            recovery.write().recover(status=DONE)
            for one in made:
                recovery.assert_recovered(one)
            assert recovery.processes() == []
            recovery.end()
    finally:
        net.close()


def test_prepare(cluster, recovery):
    """The admin's commands run once on their host, and what they print is kept."""
    cluster.add("a")
    note = recovery.folder / "it's a note"
    recovery.defaults = {"link": "command", "command": ["sh"], "memory": "1G"}
    recovery.add_hosts(1, prepare=[f"echo one >> \"{note}\"; echo said", "echo $((1 + 1)); false"])
    recovery.write()
    run = recovery.recover(status=None)
    assert run.status != DONE and run.says("\"prepare\"") and run.says("false"), run
    assert note.read_text() == "one\n"

    # Mended on the host: here, by way of the state file, as no command can be.
    with sqlite3.connect(recovery.state) as db:
        db.execute("UPDATE host SET spec = replace(spec, '; false', '')")
    recovery.resume(status=DONE)
    recovery.resume(status=DONE)
    assert note.read_text() == "one\n"
    with sqlite3.connect(recovery.state) as db:
        details = [d for d, in db.execute("SELECT detail FROM event WHERE code = 'host-prepared'")]
    assert len(details) == 1 and '"said\\n"' in details[0] and '"2\\n"' in details[0], details


def test_what_cannot_be_reached(cluster, recovery):
    cluster.add("a")
    recovery.defaults = {"link": "command", "memory": "1G"}
    recovery.add_hosts(4)
    uname = recovery.folder / "bin" / "uname"
    uname.parent.mkdir()
    uname.write_text("#!/bin/sh\necho toaster64\n")
    uname.chmod(0o755)
    recovery.hosts[3]["command"] = ["env", f"PATH={uname.parent}:{os.environ['PATH']}", "sh"]
    recovery.hosts[0]["command"] = ["sh", "-c", "echo 'no such pod' >&2; exit 3"]
    recovery.hosts[1]["command"] = ["ssh", "me@{addr}"]
    recovery.write()
    run = recovery.plan(status=REFUSED)
    for words in ("ended with status 3; it said: no such pod", "'{addr}' is part of an argument",
                  "it has no \"command\"", "its architecture is toaster64"):
        assert run.says(words), run
    assert not Path(recovery.hosts[3]["base_dir"]).exists()


def test_a_bare_host(cluster, recovery, net):
    """Neither the program's libraries nor gzip, mkdir or any other tool is there."""
    bare = bare_host.make(recovery.folder / "bare")
    made = cluster.add("a", password="one")
    server = http_server.Nginx(
        recovery.folder / "nginx", cluster.backups, net.addr(5), 8080).start()
    recovery.defaults = {
        "link": "command", "memory": "1G",
        "command": [*bare_host.enter(bare), "/bin/sh"],
    }
    recovery.sources = {"db:1": server.url}
    recovery.hosts = [{"name": "bare", "addr": net.host(1), "base_dir": "/data"}]
    recovery.write().recover(status=DONE)
    recovery.assert_recovered(made)
    assert (bare / "data/agent").is_dir()


def operator_memory(pid):
    """Peak of the operator's own process, in bytes."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1)) << 10
    except (FileNotFoundError, ProcessLookupError, AttributeError):
        return 0


def operator_cpu(pid):
    """Seconds of CPU that the operator's own process took, without its children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_256_hosts(cluster, recovery, folder):
    """All are probed with no more work than this machine does in 20 s, by a process of less than 200 MB.

    The agent exists already; all 256 of them run here.
    """
    server = folder / "redis-server"
    server.write_text("#!/bin/sh\necho 'Redis server v=9.9.9 sha=00000000:0 malloc=libc bits=64 build=0'\n")
    server.chmod(0o755)
    cluster.add("a")
    recovery.defaults = {
        "link": "command", "command": ["sh"], "memory": "1G", "server": str(server)}
    recovery.add_hosts(1)
    recovery.write().plan()  # sends the agent
    agents = next(Path(recovery.hosts[0]["base_dir"]).glob("agent"))
    recovery.hosts = []
    for i in range(256):
        base = folder / "hosts" / f"n{i}"
        base.mkdir(parents=True)
        (base / "agent").symlink_to(agents)
        recovery.hosts.append(
            {"name": f"n{i}", "addr": f"127.5.{i // 250}.{i % 250 + 1}", "base_dir": str(base)})
    recovery.write_hosts()
    with (folder / "plan.json").open("w") as out:
        start = time.monotonic()
        run = subprocess.Popen(
            [str(PROGRAM), "plan", str(recovery.ccs), "--hosts", str(recovery.hosts_file),
             "--old-cluster-is-dead", "old.example.com", "--json"],
            stdin=subprocess.DEVNULL, stdout=out, env=recovery.environment(),
        )
        peak, own, before = 0, 0, resource.getrusage(resource.RUSAGE_CHILDREN)
        while run.poll() is None:
            peak = max(peak, operator_memory(run.pid))
            own = max(own, operator_cpu(run.pid))
            time.sleep(0.02)
        seconds = time.monotonic() - start
    assert run.returncode == DONE
    plan = json.loads((folder / "plan.json").read_text())
    assert not [w for w in plan["warnings"] if w["code"] == "host-unreachable"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"256 hosts: {seconds:.1f} s, operator {peak / 1e6:.0f} MB, {own:.1f} s of CPU, {cpu:.1f} s in all")
    assert cpu < 20 * os.cpu_count() and 0 < peak < 200e6 and 0 < own < seconds
