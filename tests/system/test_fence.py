"""What is left of the old cluster: real servers at its addresses, looked at and stopped over links."""

import contextlib
import errno
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from harness import redis_server
from harness.redis_server import wait_until
from program import FAILED, PROGRAM, REFUSED, USAGE

CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def world(recovery, cluster):
    """One database of three nodes, whose machines are reached by a shell on this one."""
    made = cluster.add("orders", primaries=3)
    recovery.add_hosts(3)
    recovery.made = made
    recovery.old_nodes = [
        {"node": n.uid, "link": "command", "command": ["sh"], "base_dir": str(recovery.folder / "old")}
        for n in cluster.nodes
    ]
    return recovery.write()


def place(recovery, i=0):
    """Address and port of the i-th primary in the old cluster."""
    shard = recovery.made.database.primaries[i]
    node = next(n for n in recovery.cluster.nodes if n.uid == shard.node_uid)
    return node.addr, shard.port


def survivor(recovery, i=0, **settings):
    return redis_server.Server(recovery.folder / f"survivor {i}", *place(recovery, i), **settings).start()


def pid_of(server):
    return int(server.pid_file.read_text())


def accepts(addr, port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((addr, port)) == 0


def events(recovery, *codes):
    with sqlite3.connect(recovery.state) as db:
        rows = db.execute("SELECT code, host, message FROM event ORDER BY event_id").fetchall()
    return [row for row in rows if row[0] in codes]


def answer_no(recovery, args):
    """Runs it on a terminal, where the answer is no; what it asked."""
    ours, terminal = os.openpty()
    os.write(ours, b"no\n")
    done = subprocess.run(
        [str(PROGRAM), *map(str, args)], cwd=recovery.folder, stdin=terminal, stderr=terminal,
        stdout=subprocess.DEVNULL, check=False, timeout=60, env=recovery.environment())
    asked = os.read(ours, 10000).decode()
    os.close(terminal)
    os.close(ours)
    assert done.returncode == FAILED, asked
    return asked


def test_a_survivor_is_stopped(world):
    server = survivor(world)
    pid = pid_of(server)
    run = world.plan("--fence", "--json")
    warning = next(w for w in run.json["warnings"] if w["code"] == "fence")
    addr, port = place(world)
    assert f"{addr}:{port} (shard:1)" in warning["message"]
    assert f"redis-server, process {pid}" in warning["message"]
    assert redis_server.runs(pid), "plan touches nothing"

    args = [a for a in world.recover_args("--fence") if a != "--yes"]
    assert world.run(*args, status=REFUSED).says("is not a terminal")
    assert redis_server.runs(pid) and not world.state.exists()

    world.recover("--fence")
    assert not redis_server.runs(pid) and not accepts(addr, port)
    world.assert_recovered(world.made)
    begun, fenced = events(world, "fence-begins", "fenced")
    assert begun[1] == "node:1" and f"process {pid}" in begun[2]
    assert "is stopped" in fenced[2] and f"{addr}:{port}" in fenced[2]
    assert world.run("report", "--state", world.state).says(f"redis-server at {addr}:{port}")
    world.resume()
    assert len(events(world, "fence-begins")) == 1


@pytest.mark.skipif(not Path("/dev/pts/ptmx").exists(), reason="no terminals here: /dev/pts is not mounted")
def test_no_is_an_answer(world):
    pid = pid_of(survivor(world))
    args = [a for a in world.recover_args("--fence") if a != "--yes"]
    assert "Stop 1 server of the old cluster for good, and recover 1 database" in answer_no(world, args)
    assert redis_server.runs(pid) and not world.state.exists()


def test_a_survivor_saves_what_it_holds(world):
    server = survivor(world, save="3600 1")
    with server.connect() as c:
        c.call("SET", "newer", "than any backup")
    world.recover("--fence")
    assert b"than any backup" in (server.folder / "dump.rdb").read_bytes()


def test_a_quorum_is_left_alone(world):
    servers = [survivor(world, i) for i in range(2)]
    run = world.recover("--fence", status=REFUSED)
    assert run.says("the old cluster is alive, a majority of it answers")
    assert all(redis_server.runs(pid_of(s)) for s in servers)
    assert not world.state.exists()


def test_other_programs_are_left_alone(world):
    addr, port = place(world)
    other = subprocess.Popen(
        [sys.executable, "-c", "import socket,sys,time; s=socket.create_server((sys.argv[1], "
         "int(sys.argv[2]))); print(flush=True); time.sleep(100)", addr, str(port)],
        stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        run = world.recover("--fence", status=REFUSED)
        assert run.says(f"'{Path(sys.executable).name[:15]}' (process {other.pid}), not a server of Redis")
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate()


def test_a_node_that_cannot_be_reached(world):
    server = survivor(world)
    kept, world.old_nodes = world.old_nodes, []
    world.write_hosts()
    run = world.recover("--fence", status=REFUSED)
    assert run.says("doesn't say how node:1 is reached") and run.says('"old_nodes"')
    world.old_nodes = kept
    world.old_nodes[0]["command"] = ["false"]
    world.write_hosts()
    assert world.recover("--fence", status=REFUSED).says("cannot reach host 'node:1'")
    assert redis_server.runs(pid_of(server))
    for clash in (["--old-cluster-is-dead", "old.example.com"], ["--offline"]):
        assert world.plan("--fence", *clash, status=USAGE).says("--fence")


def test_another_machine_is_left_alone(world):
    """The link leads to a machine that doesn't have the server."""
    if subprocess.run(["unshare", "-n", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("unshare -n may not be used here")
    server = survivor(world)
    world.old_nodes[0]["command"] = ["unshare", "-n", "sh"]
    world.write_hosts()
    run = world.recover("--fence", status=REFUSED)
    assert run.says(f"nothing listens at {place(world)[0]} on the machine itself")
    assert redis_server.runs(pid_of(server))


def test_by_the_link_of_a_host(recovery, cluster):
    """A machine of the old cluster that is recovered onto needs no entry of its own."""
    recovery.made = cluster.add("orders", primaries=3)
    recovery.add_hosts(3)
    recovery.hosts[0]["addr"] = place(recovery)[0]
    recovery.write()
    server = survivor(recovery)
    pid = pid_of(server)
    recovery.recover("--fence")
    assert not redis_server.runs(pid)
    recovery.assert_recovered(recovery.made)


def test_started_again_by_something_else(world):
    addr, port = place(world)
    conf = redis_server.Server(world.folder / "kept alive", addr, port, daemonize="no").config
    keeper = subprocess.Popen(
        ["sh", "-c", "while :; do redis-server \"$0\"; done", str(conf)], start_new_session=True)
    try:
        wait_until(lambda: accepts(addr, port), "the server")
        run = world.recover("--fence", status=FAILED)
        assert run.says(f"{addr}:{port} is served again, by 'redis-server'")
        assert events(world, "fence-failed") and not world.server_folders()
    finally:
        os.killpg(keeper.pid, signal.SIGKILL)
        keeper.wait()
    wait_until(lambda: not accepts(addr, port), "the end of the server")
    world.resume()
    world.assert_recovered(world.made)


class Unit:
    """A control group as systemd makes one for a unit, and a systemctl that acts on it."""

    def __init__(self, folder):
        parents = [CGROUPS / "systemd", CGROUPS / "unified", CGROUPS]
        self.name = f"old redis-{uuid.uuid4().hex[:8]}.service".replace(" ", "-")
        self.group = None
        for parent in parents:
            try:
                (parent / "system.slice").mkdir(exist_ok=True)
                (parent / "system.slice" / self.name).mkdir()
            except OSError:
                continue
            self.group = parent / "system.slice" / self.name
            if (self.group / "cgroup.procs").exists():
                break
            self.end()
        if not self.group:
            pytest.skip("control groups can't be made here")
        self.log = folder / "systemctl.log"
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "systemctl").write_text(f"""#!/bin/sh
echo "$*" >> '{self.log}'
[ ! -e '{folder}/no '"$1" ] || {{ echo "Failed to $1 unit: File exists" >&2; exit 1; }}
[ ! -e '{folder}/slow '"$1" ] || {{ : > '{folder}/reached'; sleep 100; }}
[ "$1" != stop ] || kill $(cat '{self.group}/cgroup.procs')
""")
        (self.bin / "systemctl").chmod(0o755)
        self.environment = {"PATH": f"{self.bin}:{os.environ['PATH']}"}

    def add(self, pid):
        (self.group / "cgroup.procs").write_text(f"{pid}\n")

    @property
    def calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def end(self):
        if self.group:
            for pid in (self.group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    (CGROUPS / self.group.relative_to(CGROUPS).parts[0] / "cgroup.procs").write_text(pid)
            wait_until(self._is_removed, "the end of a control group")
            self.group = None

    def _is_removed(self):
        """One is busy as long as a process in it, though it shows there no more, has not ended."""
        try:
            self.group.rmdir()
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise
            return False
        return True


@pytest.fixture
def unit(folder):
    made = Unit(folder)
    yield made
    redis_server.kill_all_below(folder)
    made.end()


def test_a_unit_is_masked_and_stopped(world, unit):
    server = survivor(world)
    unit.add(pid_of(server))
    assert world.plan("--fence").says(f"unit {unit.name}")
    world.recover("--fence", env=unit.environment)
    assert unit.calls == [f"mask -- {unit.name}", f"stop -- {unit.name}"]
    assert "its unit masked" in events(world, "fenced")[0][2]
    world.assert_recovered(world.made)


def test_a_unit_that_cannot_be_masked_is_disabled(world, unit):
    server = survivor(world)
    unit.add(pid_of(server))
    (world.folder / "no mask").touch()
    world.recover("--fence", env=unit.environment)
    assert [c.split()[0] for c in unit.calls] == ["mask", "disable", "stop"]
    assert "its unit disabled" in events(world, "fenced")[0][2]


def test_a_unit_with_other_programs_is_left_alone(world, unit):
    server = survivor(world)
    unit.add(pid_of(server))
    other = subprocess.Popen(["sleep", "100"])
    try:
        unit.add(other.pid)
        run = world.recover("--fence", status=REFUSED, env=unit.environment)
        assert run.says(f"runs in the unit '{unit.name}', with other programs")
        assert unit.calls == [] and redis_server.runs(pid_of(server)) and other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_killed_while_it_stops_a_server(world, unit):
    server = survivor(world)
    unit.add(pid_of(server))
    (world.folder / "slow stop").touch()
    run = world.start(*world.recover_args("--fence"), env=unit.environment)
    wait_until((world.folder / "reached").exists, "systemctl stop")
    run.kill()
    run.communicate()
    (world.folder / "slow stop").unlink()
    wait_until(lambda: not world.processes(), "the end of the agents")
    assert redis_server.runs(pid_of(server)) and not world.server_folders()
    assert world.run("recover", "--state", world.state, "--fence", "--yes", status=USAGE).says("has begun")
    world.resume(env=unit.environment)
    assert not accepts(*place(world))
    assert [e[0] for e in events(world, "fence-begins", "fenced")] == [
        "fence-begins", "fence-begins", "fenced"]
    world.assert_recovered(world.made)
