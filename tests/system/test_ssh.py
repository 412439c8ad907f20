"""Recoveries over SSH: real sshd's, each on a host of its own."""

import fcntl
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

import lab as labs
from dead_cluster import DeadCluster
from harness import http_server, redis_server, sshd
from program import DONE, LOCKED, PARTLY, REFUSED, Recovery
from test_resume import wait_for_task

HOSTILE = "it's a \"host\" $(touch pwned)`touch pwned`; -rf *"


@pytest.fixture
def lab(tmp_path):
    with labs.opened(tmp_path / "lab", 3) as lab:
        yield lab


@pytest.fixture
def cluster(folder, lab):
    return DeadCluster(folder, lab.net)


@pytest.fixture
def recovery(folder, lab, cluster):
    recovery = Recovery(folder, lab.net, cluster)
    recovery.defaults = {}
    yield recovery
    recovery.end()


def add_hosts(recovery, lab, count=3, **keys):
    for i in range(1, count + 1):
        base = recovery.folder / "hosts" / f"h{i}"
        recovery.hosts.append(lab.entry(i, **{"name": f"h{i}", "base_dir": str(base), **keys}))


def events(recovery, code):
    with sqlite3.connect(recovery.state) as db:
        return [m for m, in db.execute("SELECT message FROM event WHERE code = ?", (code,))]


def test_whole_recovery(cluster, recovery, lab):
    """Onto hosts that have nothing but sshd and a server, with names that no shell must see."""
    made = [
        cluster.add("a", primaries=2, replicas=1, password="one"),
        cluster.add("it's $(b)\n`c`", replicas=1),
    ]
    for i in range(1, 4):
        recovery.hosts.append(lab.entry(
            i, name=f"{HOSTILE} {i}", base_dir=str(recovery.folder / "hosts" / f"{HOSTILE} {i}")
        ))
    recovery.write().recover(status=DONE)
    for one in made:
        recovery.assert_recovered(one)
    for host in recovery.hosts:
        agents = list((Path(host["base_dir"]) / "agent").iterdir())
        assert len(agents) == 1 and (agents[0] / "recluster").exists(), agents
    assert not list(recovery.folder.rglob("pwned")) and not Path("/pwned").exists()
    assert recovery.processes() == []


def why_not_reached(recovery, status=REFUSED, **env):
    """What `plan` says of the only host."""
    run = recovery.run(
        "plan", recovery.ccs, "--hosts", recovery.hosts_file, "--json", status=status, env=env)
    warning, = [w for w in run.json["warnings"] if w["code"] == "host-unreachable"]
    return f"{warning['message']}\n{warning['hint']}"


def test_host_keys(cluster, recovery, lab):
    """Unknown and changed keys are refused with the fingerprint; new ones stand in the state file only."""
    made = cluster.add("a")
    known = recovery.folder / "known"
    known.touch()
    add_hosts(recovery, lab, 1, known_hosts=str(known))
    recovery.write()
    shown = sshd.fingerprint(f"{lab.daemons[0].host_key}.pub")

    said = why_not_reached(recovery)
    assert "host key is not known" in said and shown in said and "--accept-new-host-keys" in said
    assert not (recovery.folder / "hosts").exists()

    known.write_text(lab.daemons[1].known.replace(lab.daemons[1].addr, lab.daemons[0].addr))
    if not lab.space:
        known.write_text(lab.daemons[0].known.rsplit(" ", 1)[0] + " " + lab.daemons[1].known.split()[2])
    said = why_not_reached(recovery)
    assert "not the one that is known" in said and shown in said and "ssh-keygen -R" in said
    recovery.plan("--accept-new-host-keys", status=REFUSED)

    known.write_text("@revoked * " + " ".join(lab.daemons[0].known.split()[1:]) + "\n")
    assert "is revoked" in why_not_reached(recovery)

    known.write_text("")
    recovery.recover("--accept-new-host-keys", "--until", "transfer")
    assert known.read_text() == ""
    recovery.resume(status=DONE)
    recovery.assert_recovered(made)
    with sqlite3.connect(recovery.state) as db:
        assert db.execute("SELECT host, fingerprint FROM host_key").fetchall() == [("h1", shown)]
    assert len(events(recovery, "host-key-accepted")) == 1


def test_hashed_known_hosts(cluster, recovery, lab):
    cluster.add("a")
    hashed = recovery.folder / "hashed"
    hashed.write_text(lab.daemons[0].known)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(hashed)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert lab.daemons[0].addr not in hashed.read_text()
    hashed.write_text("# a remark\n|1|broken line\n" + hashed.read_text())
    add_hosts(recovery, lab, 1, known_hosts=str(hashed))
    recovery.write().plan()


def test_logins(cluster, recovery, lab):
    """Each way to log in, and what is said of a login that is refused; three hosts at a time."""
    cluster.add("a")
    other = sshd.make_key(recovery.folder / "other")
    locked = sshd.make_key(recovery.folder / "locked", passphrase="open sesame")
    rsa = sshd.make_key(recovery.folder / "rsa", kind="rsa")
    with lab.authorized.open("a") as file:
        file.write(Path(f"{locked}.pub").read_text() + Path(f"{rsa}.pub").read_text())
    (recovery.folder / "phrase").write_text("open sesame\n")

    def plan(*logins, **env):
        """What is said of the hosts, each with its login, as one text; None: all were reached."""
        recovery.hosts = []
        for i, keys in enumerate(logins, 1):
            base = recovery.folder / "hosts" / f"h{i}"
            recovery.hosts.append(lab.entry(i, name=f"h{i}", base_dir=str(base), **keys))
        recovery.write_hosts()
        run = recovery.run("plan", recovery.ccs, "--hosts", recovery.hosts_file, "--json",
                           status=None, env={"HOME": recovery.folder, **env})
        said = [f"{w['message']} {w['hint']}" for w in run.json["warnings"]
                if w["code"] == "host-unreachable"]
        assert len(said) in (0, len(logins)), run
        assert "CANARY" not in run.out + run.err
        return "\n".join(said) or None

    recovery.hosts = [lab.entry(1)]
    recovery.write()
    assert plan(*(
        {"identity": str(locked), "passphrase": phrase} for phrase in
        ("open sesame", {"env": "PHRASE"}, {"file": str(recovery.folder / "phrase")})
    ), PHRASE="open sesame") is None
    agent = sshd.Agent(recovery.folder, lab.key)
    try:
        assert plan({"identity": None}, {"identity": str(other)}, SSH_AUTH_SOCK=agent.socket) is None
    finally:
        agent.end()

    said = plan({"identity": str(locked)}, {"identity": str(locked), "passphrase": "CANARY-wrong"},
                {"identity": str(other)})
    assert "needs a passphrase" in said and "wrong passphrase" in said
    assert f"identity '{other}' was refused" in said
    said = plan({"identity": "/nonexistent"}, {"identity": None}, {"identity": str(rsa)})
    assert "can't be read" in said and "no key and no password" in said
    assert "ed25519" in said and "libssh2" in said and '"link": "command"' in said


def test_rsa_host_key_only(cluster, recovery, lab):
    """A host that has nothing but an RSA key: what can be done is said."""
    cluster.add("a")
    lab.daemons[0].stop()
    lab.daemons[0] = lab.sshd(1, folder=lab.folder / "rsa", host_key="rsa").start(lab.prefix(1))
    add_hosts(recovery, lab, 1, known_hosts=str(recovery.folder / "known"))
    (recovery.folder / "known").write_text(lab.daemons[0].known)
    recovery.write()
    said = why_not_reached(recovery)
    assert "ed25519" in said and "ssh-keygen -A" in said


def test_two_operators(cluster, recovery, lab):
    """The second is told who is at work, where and since when, and changes nothing."""
    cluster.add("a")
    add_hosts(recovery, lab, 1)
    recovery.write()
    first = recovery.start(*recovery.recover_args(), env={"RECLUSTER_TEST_KILL_AT": 0})
    lock = Path(recovery.hosts[0]["base_dir"]) / "lock"
    redis_server.wait_until(lambda: lock.exists() and lock.read_text(), "the first one's lock")
    os.kill(first.pid, signal.SIGSTOP)
    try:
        state, recovery.state = recovery.state, recovery.folder / "second.state"
        run = recovery.recover(status=LOCKED)
        assert run.says(f"locked by {sshd.user()}@") and run.says(f"pid {first.pid} since 20"), run
        assert run.says("'h1'")
    finally:
        recovery.state = state
        os.kill(first.pid, signal.SIGCONT)
        first.communicate()
    assert first.returncode == DONE


def slow_source(cluster, lab, rate):
    """The backups behind an HTTP server that sends so many bytes a second."""
    server = http_server.Nginx(
        cluster.folder / "nginx", cluster.backups, lab.net.host(0), 8080, limit_rate=rate)
    return server.start().url


def test_sshd_dies_in_mid_transfer(cluster, recovery, lab):
    """The listener and all sessions of a host end while it fetches: it is reached again, and all is done."""
    lab.needs_namespaces()
    made = cluster.add("a", primaries=2, replicas=1, keys=1500)
    add_hosts(recovery, lab)
    recovery.sources = {"db:1": slow_source(cluster, lab, "50k")}
    recovery.write()
    run = recovery.start(*recovery.recover_args("--verbose"))
    wait_for_task(recovery, "fetch")
    lab.daemons[0].stop()
    lab.space.kill("h1", "sshd")
    time.sleep(1.5)  # it is tried in vain meanwhile
    lab.daemons[0].start(lab.prefix(1))
    out, err = run.communicate(timeout=60)
    assert run.returncode == DONE, f"{out.decode()}\n{err.decode()}"
    recovery.assert_recovered(made)


@pytest.mark.slow
def test_a_port_of_the_switch_goes_down_and_up(cluster, recovery, lab):
    """A short cut costs nothing but the time."""
    lab.needs_namespaces()
    made = cluster.add("a", primaries=2, replicas=1, keys=2000)
    add_hosts(recovery, lab)
    recovery.sources = {"db:1": slow_source(cluster, lab, "50k")}
    recovery.write()
    run = recovery.start(*recovery.recover_args())
    wait_for_task(recovery, "fetch")
    lab.space.cut("h2")
    time.sleep(3)
    lab.space.mend("h2")
    out, err = run.communicate(timeout=90)
    assert run.returncode == DONE, f"{out.decode()}\n{err.decode()}"
    recovery.assert_recovered(made)


@pytest.mark.slow
def test_a_long_cut(cluster, recovery, lab):
    """Longer than the silence that ends a link: the old agent still has the lock when the new one comes."""
    lab.needs_namespaces()
    made = cluster.add("a", primaries=2, replicas=1, keys=4000)
    add_hosts(recovery, lab)
    recovery.sources = {"db:1": slow_source(cluster, lab, "2k")}
    recovery.write()
    run = recovery.start(*recovery.recover_args("--verbose"))
    wait_for_task(recovery, "fetch")
    lab.space.cut("h2")
    time.sleep(45)
    lab.space.mend("h2")
    out, err = run.communicate(timeout=180)
    assert run.returncode == DONE, f"{out.decode()}\n{err.decode()}"
    recovery.assert_recovered(made)


@pytest.mark.slow
def test_an_operator_who_falls_silent(cluster, recovery, lab):
    """The host is free for others after a minute; once awake again, the run carries on."""
    made = cluster.add("a", replicas=1)
    add_hosts(recovery, lab, 2)
    recovery.write()
    run = recovery.start(*recovery.recover_args())
    lock = Path(recovery.hosts[0]["base_dir"]) / "lock"
    redis_server.wait_until(lambda: lock.exists() and lock.read_text(), "the lock")
    os.kill(run.pid, signal.SIGSTOP)

    def is_free():
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                return False

    try:
        assert not is_free()
        redis_server.wait_until(is_free, "the end of the agent", 100)
    finally:
        os.kill(run.pid, signal.SIGCONT)
    out, err = run.communicate(timeout=120)
    assert run.returncode == DONE, f"{out.decode()}\n{err.decode()}"
    recovery.assert_recovered(made)


@pytest.mark.slow
def test_a_host_that_vanishes(cluster, recovery, lab):
    """Its database fails, the others are done, and the status says so."""
    lab.needs_namespaces()
    made = [cluster.add(name, keys=1000) for name in ("a", "b", "c")]
    add_hosts(recovery, lab)
    recovery.sources = {f"db:{i}": slow_source(cluster, lab, "3k") if i == 1 else str(cluster.backups)
                        for i in (1, 2, 3)}
    recovery.write()
    run = recovery.start(*recovery.recover_args())
    wait_for_task(recovery, "fetch")
    with sqlite3.connect(recovery.state) as db:
        host, = db.execute("SELECT host FROM task WHERE kind='fetch' AND database_uid='1'").fetchone()
    lab.space.cut(host)
    out, err = run.communicate(timeout=240)
    assert run.returncode == PARTLY, f"{out.decode()}\n{err.decode()}"
    assert f"host '{host}' is given up" in events(recovery, "host-lost")[0]
    assert recovery.database(made[0])["state"] == "failed"
    lab.space.mend(host)
    recovery.resume(status=DONE)
    for one in made:
        recovery.assert_recovered(one)
