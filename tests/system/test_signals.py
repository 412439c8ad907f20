"""Signals, and the exit status that tells of them."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import time

import pytest

from harness import redis_server
from program import DONE, REFUSED

from test_resume import fill_slowly, wait_for_task

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@contextlib.contextmanager
def silent_server(addr):
    """Takes connections and says nothing."""
    with socket.create_server((addr, 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("command", ["plan", "recover"])
@pytest.mark.parametrize("sent", SIGNALS, ids=lambda s: s.name)
def test_while_it_asks_a_signal_ends_it_at_once(command, sent, cluster, recovery, net):
    cluster.add("a")
    recovery.add_hosts(1).write()
    with silent_server(net.addr(30)) as port:
        recovery.sources = {"db:1": f"http://{net.addr(30)}:{port}/backups/"}
        recovery.write_hosts()
        words = ["plan", recovery.ccs, "--hosts", recovery.hosts_file] if command == "plan" else recovery.recover_args()
        process = recovery.start(*words)
        redis_server.wait_until(lambda: b"ESTAB" in subprocess.run(
            ["ss", "-tn", "dst", net.addr(30)], stdout=subprocess.PIPE, check=False).stdout, "its request")
        before = time.monotonic()
        process.send_signal(sent)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 128 + sent and b"nothing was changed" in err, (process.returncode, err)
    assert time.monotonic() - before < 2 and not recovery.state.exists() and not recovery.host_files()
    redis_server.wait_until(lambda: recovery.processes() == [], "the end of the agents")


@pytest.mark.parametrize("sent", SIGNALS, ids=lambda s: s.name)
def test_a_recovery_ends_in_good_order_and_tells_by_what(cluster, recovery, sent):
    made = cluster.add("a", password="one", keys=None)
    fill_slowly(cluster, made)
    recovery.add_hosts(1).write()
    process = recovery.start(*recovery.recover_args())
    wait_for_task(recovery, "load%")
    process.send_signal(sent)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + sent and b"recover --state" in err, (process.returncode, err)
    recovery.resume(status=DONE)
    recovery.assert_recovered(made)


def test_what_is_ignored_stays_ignored(cluster, recovery):
    """As under nohup(1)."""
    made = cluster.add("a", password="one", keys=None)
    fill_slowly(cluster, made)
    recovery.add_hosts(1).write()
    words = ["nohup", str(recovery.program(None)), *map(str, recovery.recover_args())]
    process = subprocess.Popen(words, cwd=recovery.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=recovery.environment())
    wait_for_task(recovery, "load%")
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == DONE, err
    recovery.assert_recovered(made)


@pytest.mark.parametrize("answers, status", [
    (b"y\nyes\n", DONE), (b"no\n", 1), (b"\x03", 130), (b"what\nso\n?\n?\n?\n", 1)])
def test_the_question(answers, status, cluster, recovery):
    """An answer that is neither yes nor no is asked for again; nothing was changed by another."""
    cluster.add("a")
    recovery.add_hosts(1).write()
    words = [w for w in recovery.recover_args() if w != "--yes"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(recovery.folder)
        os.execve(str(recovery.program(None)), ["recluster", *map(str, words)], recovery.environment())
    said = b""
    with contextlib.suppress(OSError):
        while b"[yes/no]" not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, answers)
        while chunk := os.read(terminal, 4096):
            said += chunk
    _, ended = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended) == status, said
    assert recovery.state.exists() == (status == DONE), said


def test_hooks_of_the_tests_are_not_in_the_program(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write()
    run = subprocess.run(
        [recovery.program(None), *map(str, recovery.recover_args())], cwd=recovery.folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
        env=recovery.environment(RECLUSTER_TEST_KILL_AT=1, RECLUSTER_TEST_MEET=1))
    assert run.returncode == DONE, run


@pytest.mark.parametrize("what", ["folder", "sqlite", "text", "nothing"])
def test_what_is_no_ccs_file_has_one_status(what, recovery, cluster, folder):
    path = folder / "x"
    if what == "folder":
        path.mkdir()
    elif what != "nothing":
        path.write_bytes(b"SQLite format 3\0" if what == "sqlite" else b"hello")
    assert recovery.run("inspect", path, status=REFUSED).says("cannot read CCS file")
