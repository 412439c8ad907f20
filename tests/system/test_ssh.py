"""Recoveries over SSH: real sshd's, each on a host of its own."""

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

import bare_host
import lab as labs
from dead_cluster import DeadCluster
from harness import accounts, http_server, redis_server, sshd
from program import DONE, FAILED, LOCKED, PARTLY, REFUSED, Recovery
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


def test_a_bare_host(cluster, recovery, lab):
    """sshd, a shell, tar and a server are the whole system of the host."""
    bare = bare_host.make(recovery.folder / "bare", sshd.PROGRAM)
    made = cluster.add("a", password="one")
    keys = bare / "etc" / "keys"
    keys.write_text(lab.authorized.read_text())
    lab.daemons[0].stop()
    lab.daemons[0] = lab.sshd(1, bare / "sshd", keys, root=bare).start(
        [*lab.prefix(1), *bare_host.enter(bare)])
    lab.known_hosts.write_text(lab.daemons[0].known)
    recovery.hosts = [lab.entry(1, name="bare", base_dir="/data")]
    recovery.sources = {"db:1": slow_source(cluster, lab, "0")}
    recovery.write().recover(status=DONE)
    recovery.assert_recovered(made)
    assert len(list(bare.glob("data/agent/*/recluster"))) == 1
    assert {p.name for p in bare.glob("**/*bin/*")} == {"redis-server", "sh", "sshd", "tar"}


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
    pem = [
        sshd.make_key(recovery.folder / f"locked-{form}", kind="ecdsa", passphrase="open sesame", form=form)
        for form in ("PEM", "PKCS8")]
    with lab.authorized.open("a") as file:
        file.write("".join(Path(f"{key}.pub").read_text() for key in (locked, *pem)))
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
    assert plan(*({"identity": str(key), "passphrase": "open sesame"} for key in pem)) is None
    agent = sshd.Agent(recovery.folder, lab.key)
    try:
        assert plan({"identity": None}, {"identity": str(other)}, SSH_AUTH_SOCK=agent.socket) is None
    finally:
        agent.end()
    agent = sshd.Agent(recovery.folder, other)
    try:
        said = plan({"identity": None}, SSH_AUTH_SOCK=agent.socket)
        assert f"the agent's key '{other.name}' was refused" in said
    finally:
        agent.end()
    agent = sshd.Agent(recovery.folder, lab.key, "-c")  # nobody is there to confirm
    try:
        said = plan({"identity": None}, {"identity": None, "password": "CANARY"}, SSH_AUTH_SOCK=agent.socket)
        assert said.count("the agent does not sign with its key 'id'") == 2
    finally:
        agent.end()

    said = plan({"identity": str(locked)}, {"identity": str(locked), "passphrase": "CANARY-wrong"},
                {"identity": str(other)})
    assert "needs a passphrase" in said and "wrong passphrase" in said
    assert f"identity '{other}' was refused" in said
    said = plan({"identity": None}, SSH_AUTH_SOCK="/nonexistent")
    assert "ssh-agent does not answer" in said
    said = plan(*({"identity": str(key)} for key in pem))
    assert said.count("needs a passphrase") == 2
    said = plan(*({"identity": str(key), "passphrase": "CANARY-wrong"} for key in pem))
    assert said.count("wrong passphrase") == 2
    said = plan({"identity": "/nonexistent"}, {"identity": None})
    assert "can't be read" in said and "no key and no password" in said


def unreachable(recovery, **env):
    """What is said of the hosts that can't be reached, by name."""
    recovery.write_hosts()
    run = recovery.run("plan", recovery.ccs, "--hosts", recovery.hosts_file, "--json", status=None,
                       env={"HOME": recovery.folder, **env})
    said = [f"{w['message']} {w['hint']}" for w in run.json["warnings"] if w["code"] == "host-unreachable"]
    assert "CANARY" not in run.out + run.err
    return {h["name"]: text for h in recovery.hosts for text in said if f"'{h['name']}'" in text}


def test_patterns_of_known_hosts(cluster, recovery, lab):
    """As ssh reads them; certificates are named as what they are."""
    cluster.add("a")

    # The host's name as ssh writes it (its last digit and all may be left out), its key, another's.
    cases = [
        (lambda name, key, other: f"{name('.*')} {key}", None),
        (lambda name, key, other: f"elsewhere,{name('?')} {key} remark", None),
        (lambda name, key, other: f"@revoked {name('', '*')} {other}\n{name()} {key}", None),
        (lambda name, key, other: f"{name('', '*')},!{name()} {key}", "is not known"),
        (lambda name, key, other: f"{name('', '*')} {other}", "not the one that is known"),
        (lambda name, key, other: f"@cert-authority {name('', '*')} {other}", "@cert-authority"),
    ]
    recovery.write()
    for batch in (cases[:lab.count], cases[lab.count:]):
        recovery.hosts = []
        for i, (text, _) in enumerate(batch, 1):
            daemon = lab.daemons[i - 1]

            def name(end="", whole=None, daemon=daemon):
                cut = {"": daemon.addr, "?": daemon.addr[:-1], ".*": daemon.addr.rsplit(".", 1)[0]}
                pattern = whole or cut[end] + end
                return pattern if daemon.port == 22 else f"[{pattern}]:{daemon.port}"

            key, other = (" ".join(d.known.split()[1:]) for d in (daemon, lab.daemons[i % lab.count]))
            known = recovery.folder / f"known{i}"
            known.write_text(text(name, key, other) + "\n")
            recovery.hosts.append(lab.entry(
                i, name=f"h{i}", known_hosts=str(known), base_dir=str(recovery.folder / "hosts" / f"h{i}")))
        said = unreachable(recovery)
        for i, (text, words) in enumerate(batch, 1):
            about = said.get(f"h{i}")
            assert about is None if words is None else words in (about or ""), (known.read_text(), said)


def test_passwords(cluster, recovery, lab):
    """From the environment and from a file, to a host that asks for it and to one that asks questions."""
    accounts.need_root("sshd", "unshare")
    cluster.add("a")
    for i, settings in enumerate([
        {"PasswordAuthentication": "yes"},
        {"UsePAM": "yes", "KbdInteractiveAuthentication": "yes"},
    ]):
        lab.daemons[i].stop()
        lab.daemons[i] = lab.sshd(i + 1, PermitRootLogin="yes", **settings).start(
            lab.prefix(i + 1), with_account=True)
    lab.know_hosts()
    secret = recovery.folder / "password"
    secret.write_text(accounts.PASSWORD + "\n")
    recovery.write()
    for password, refused in (
        ({"env": "PASSWORD"}, False), ({"file": str(secret)}, False), ("CANARY-wrong", True)
    ):
        recovery.hosts = [
            lab.entry(i, name=f"h{i}", user=accounts.USER, identity=None, password=password,
                      base_dir=str(recovery.folder / "hosts" / f"h{i}")) for i in (1, 2)]
        said = unreachable(recovery, PASSWORD=accounts.PASSWORD)
        assert len(said) == (2 if refused else 0), (password, said)
        assert all("the password was refused" in text for text in said.values()), said
        assert not any(accounts.PASSWORD in text for text in said.values())


def test_a_key_is_not_enough(cluster, recovery, lab):
    """Where the host wants a password too, the key is not called refused."""
    cluster.add("a")
    lab.replace_sshd(1, PasswordAuthentication="yes", AuthenticationMethods="publickey,password")
    add_hosts(recovery, lab, 1)
    recovery.write()
    assert f"identity '{lab.key}' was accepted, but the host asks for more" in why_not_reached(recovery)


def test_a_key_and_a_password(cluster, recovery, lab):
    """In either order, where the host wants both; one that is wrong is named."""
    accounts.need_root("sshd", "unshare")
    cluster.add("a")
    for i, methods in enumerate(("publickey,password", "password,publickey", "publickey,keyboard-interactive")):
        lab.daemons[i].stop()
        lab.daemons[i] = lab.sshd(
            i + 1, PermitRootLogin="yes", PasswordAuthentication="yes", AuthenticationMethods=methods,
            **({"UsePAM": "yes", "KbdInteractiveAuthentication": "yes"} if "key" in methods[9:] else {}),
        ).start(lab.prefix(i + 1), with_account=True)
    lab.know_hosts()
    recovery.write()
    for password, refused in ((accounts.PASSWORD, False), ("CANARY-wrong", True)):
        recovery.hosts = [
            lab.entry(i, name=f"h{i}", user=accounts.USER, password=password,
                      base_dir=str(recovery.folder / "hosts" / f"h{i}")) for i in (1, 2, 3)]
        said = unreachable(recovery)
        assert len(said) == (3 if refused else 0), (password, said)
        assert all("the password was refused" in text for text in said.values()), said


def test_rsa_keys_of_users(cluster, recovery, lab):
    """In each form and from the agent; an old library can't open one form, and says what can be done."""
    cluster.add("a")
    keys = {
        (form, phrase): sshd.make_key(recovery.folder / f"{form}{phrase}", kind="rsa", form=form, passphrase=phrase)
        for form in ("RFC4716", "PEM", "PKCS8") for phrase in ("", "open sesame")}
    with lab.authorized.open("a") as file:
        file.write("".join(Path(f"{key}.pub").read_text() for key in keys.values()))
    recovery.write()

    def reached(*logins, **env):
        recovery.hosts = [
            lab.entry(i, name=f"h{i}", base_dir=str(recovery.folder / "hosts" / f"h{i}"), **keys)
            for i, keys in enumerate(logins, 1)]
        return unreachable(recovery, **env)

    def login(form, phrase):
        return {"identity": str(keys[form, phrase]), **({"passphrase": phrase} if phrase else {})}

    assert reached(*(login(form, "") for form in ("RFC4716", "PEM", "PKCS8"))) == {}
    assert reached(*(login(form, "open sesame") for form in ("PEM", "PKCS8"))) == {}
    agent = sshd.Agent(recovery.folder, keys["PEM", ""])
    try:
        assert reached({"identity": None}, SSH_AUTH_SOCK=agent.socket) == {}
    finally:
        agent.end()
    said = reached(login("RFC4716", "open sesame"))
    if sshd.library_knows_rsa():
        assert said == {}
    else:
        assert all(words in said["h1"] for words in (
            "libssh2 1.10", "ssh-keygen -p -m PEM", "ssh-agent", "ed25519 or ecdsa", '"link": "command"')), said
    wrong = reached({**login("PEM", "open sesame"), "passphrase": "CANARY"}, {**login("PKCS8", "open sesame")} | {"passphrase": "CANARY"})
    assert all("wrong passphrase" in text for text in wrong.values()) and len(wrong) == 2, wrong


def test_certificates_of_an_agent(cluster, recovery, lab):
    """A host that knows nothing but who signs keys; an old library can use those of one type."""
    cluster.add("a")
    authority = sshd.make_key(recovery.folder / "authority")
    lab.replace_sshd(1, TrustedUserCAKeys=f"{authority}.pub")
    recovery.write()
    recovery.hosts = [lab.entry(1, name="h1", identity=None, base_dir=str(recovery.folder / "hosts" / "h1"))]
    for kind in ("ed25519", "ecdsa", "rsa"):
        key = sshd.make_key(recovery.folder / kind, kind=kind)
        subprocess.run(["ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", sshd.user(), f"{key}.pub"], check=True)
        agent = sshd.Agent(recovery.folder, key)
        try:
            said = unreachable(recovery, SSH_AUTH_SOCK=agent.socket)
        finally:
            agent.end()
        if sshd.library_knows_rsa() or kind == "ecdsa":
            assert said == {}, (kind, said)
        else:
            assert f"{kind}-cert-v01@openssh.com needs libssh2 1.11" in said["h1"], said


def test_a_host_that_has_nothing_but_an_rsa_key(cluster, recovery, lab):
    """It is reached, or the message names the cause and the ways out."""
    made = cluster.add("a")
    lab.replace_sshd(1, folder=lab.folder / "rsa", host_key="rsa")
    add_hosts(recovery, lab, 1)
    recovery.write()
    if sshd.library_knows_rsa():
        recovery.recover(status=DONE)
        recovery.assert_recovered(made)
        return
    said = why_not_reached(recovery)
    assert all(words in said for words in (
        "type of host key", "libssh2 1.10", "it offers rsa-sha2-512", "ed25519 or ecdsa", "ssh-keygen -A",
        '"link": "command"', "libssh2 1.11")), said


def test_known_types_are_asked_for(cluster, recovery, lab):
    """A host with several keys shows the one that is known of it."""
    cluster.add("a")
    recovery.write()
    for kind in ("rsa", "ecdsa"):
        lab.daemons[0].stop()
        key = sshd.make_key(recovery.folder / kind, kind=kind)
        daemon = lab.daemons[0] = lab.sshd(1)
        with daemon.config.open("a") as file:
            file.write(f'HostKey "{key}"\n')
        daemon.start(lab.prefix(1))
        known = recovery.folder / f"known-{kind}"
        known.write_text(" ".join([daemon.known.split()[0], *Path(f"{key}.pub").read_text().split()[:2]]) + "\n")
        recovery.hosts = []
        add_hosts(recovery, lab, 1, known_hosts=str(known))
        said = unreachable(recovery)
        if kind == "rsa" and not sshd.library_knows_rsa():
            assert "only its RSA host key is known" in said["h1"] and "ssh-keyscan" in said["h1"], said
        else:
            assert said == {}


def test_no_common_method(cluster, recovery, lab):
    """What is missing is said, and what can be done."""
    cluster.add("a")
    lab.replace_sshd(1, KexAlgorithms="sntrup761x25519-sha512@openssh.com")
    add_hosts(recovery, lab, 1)
    recovery.write()
    said = why_not_reached(recovery)
    assert "sntrup761" in said and "libssh2 " in said and '"link": "command"' in said


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


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes a folder on a disk of so many bytes."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = []

    def mount(size):
        disk = tmp_path / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
        made.append(disk)
        return disk

    yield mount
    for disk in made:
        subprocess.run(["umount", "-l", disk], check=True)


def restart(lab, i):
    """So that the host sees what was mounted here since."""
    lab.daemons[i - 1].stop()
    lab.daemons[i - 1].start(lab.prefix(i))


def test_no_room_for_the_agent(cluster, recovery, lab, small_disk):
    """Said with the place and what it takes; nothing is left of the attempt; with room it is done."""
    made = cluster.add("a")
    disk = small_disk("8m")
    restart(lab, 1)
    add_hosts(recovery, lab, 1, base_dir=str(disk / "base"))
    recovery.write()
    said = why_not_reached(recovery)
    assert "could not be unpacked" in said and f"{disk}/base/agent" in said and "25 MB" in said
    assert "No space left" in said
    assert list((disk / "base" / "agent").iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=300m", disk], check=True)
    recovery.recover(status=DONE)
    recovery.assert_recovered(made)
    recovery.end()


def test_the_disk_fills_up_in_mid_transfer(cluster, recovery, lab, small_disk):
    """Its database fails and the error says why; once there is room, the next run carries on."""
    made = cluster.add("a", keys=3000)
    disk = small_disk("300m")
    restart(lab, 1)
    add_hosts(recovery, lab, 1, base_dir=str(disk / "base"))
    recovery.sources = {"db:1": slow_source(cluster, lab, "15k")}
    recovery.write()
    run = recovery.start(*recovery.recover_args())
    wait_for_task(recovery, "fetch")
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
    out, err = run.communicate(timeout=60)
    assert run.returncode == FAILED, f"{out.decode()}\n{err.decode()}"
    with sqlite3.connect(recovery.state) as db:
        error, = db.execute("SELECT error FROM task WHERE kind = 'fetch'").fetchone()
    assert json.loads(error)["name"] == "space" and "No space left" in error, error
    assert recovery.running_servers() == []
    filler.unlink()
    recovery.resume(status=DONE)
    recovery.assert_recovered(made)
    recovery.end()


def agents(lab, host):
    """Their processes."""
    pids = map(int, subprocess.run(
        ["ip", "netns", "pids", lab.space.full(host)], check=True, stdout=subprocess.PIPE).stdout.split())
    return [pid for pid in pids if b" agent" in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")]


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
    recovery.sources = {"db:1": slow_source(cluster, lab, "10k")}
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


def test_the_agent_is_killed(cluster, recovery, lab):
    """How it ended is said."""
    lab.needs_namespaces()
    cluster.add("a", keys=4000)
    add_hosts(recovery, lab, 1)
    recovery.sources = {"db:1": slow_source(cluster, lab, "2k")}
    recovery.write()
    run = recovery.start(*recovery.recover_args("--patience", "1s"))
    wait_for_task(recovery, "fetch")
    loader, = {Path(os.readlink(f"/proc/{pid}/exe")).name for pid in agents(lab, "h1")}
    assert lab.space.kill("h1", loader[:15]) > 0
    run.communicate(timeout=60)
    assert run.returncode == FAILED
    message, = events(recovery, "host-lost")
    assert "lost the link to host 'h1': the agent ended by signal KILL" in message


def test_keys_are_exchanged_anew(cluster, recovery, lab):
    """In the middle of what is sent, many times: nothing is lost, nothing stands still."""
    made = cluster.add("a", keys=20_000)
    lab.replace_sshd(1, RekeyLimit="256K", LogLevel="DEBUG1")
    add_hosts(recovery, lab, 1, relay=True)
    recovery.write().recover(status=DONE)
    recovery.assert_recovered(made)
    assert (lab.daemons[0].folder / "log").read_text().count("SSH2_MSG_NEWKEYS received") > 20


@pytest.mark.slow
def test_a_slow_link(cluster, recovery, lab):
    """8 Mbit/s, which the files fill: the agent arrives, and no link counts as lost."""
    lab.needs_namespaces()
    made = cluster.add("a", replicas=1, keys=None)
    cluster.write_backups(made, 30_000)
    for i in (1, 2):
        lab.space.slow(f"h{i}", "8mbit")
    add_hosts(recovery, lab, 2)
    recovery.sources = {"db:1": slow_source(cluster, lab, "0")}
    recovery.write()
    began = time.monotonic()
    recovery.recover(status=DONE)
    assert time.monotonic() - began > 5, "the link was not slow"
    recovery.assert_recovered(made)
    with sqlite3.connect(recovery.state) as db:
        assert db.execute("SELECT max(attempts) FROM task").fetchone() == (1,)


def test_a_port_of_the_switch_goes_down_and_up(cluster, recovery, lab):
    """A short cut costs nothing but the time."""
    lab.needs_namespaces()
    made = cluster.add("a", primaries=2, replicas=1, keys=2000)
    add_hosts(recovery, lab)
    recovery.sources = {"db:1": slow_source(cluster, lab, "15k")}
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


def test_a_host_that_dies_is_replaced(cluster, recovery, lab):
    """With all that ran on it; once it is back, an abort removes what is left there and no more."""
    lab.needs_namespaces()
    made = [cluster.add("a", primaries=2, replicas=1, password="one"), cluster.add("b", replicas=1)]
    add_hosts(recovery, lab)
    recovery.write().recover("--until", "load")
    host = "h2"
    folder = Path(recovery.hosts[1]["base_dir"])
    assert list(folder.rglob("shard.json"))
    lab.space.kill(host)
    run = recovery.resume("--patience", "1s", status=PARTLY)
    assert run.says("--replan-lost"), run
    recovery.resume("--patience", "1s", "--replan-lost", status=DONE)
    for one in made:
        recovery.assert_recovered(one)
    run = recovery.run("abort", "--state", recovery.state, "--yes", status=PARTLY)
    assert run.says(f"'{host}'") and run.says("abort again"), run
    lab.daemons[1].start(lab.prefix(2))
    assert list(folder.rglob("shard.json"))
    assert not recovery.run("abort", "--state", recovery.state, "--yes").says("abort again")
    assert not list(folder.rglob("shard.json")) and not (folder / "recovery.json").exists()
    for one in made:
        recovery.assert_recovered(one)


def test_without_namespaces(tmp_path, monkeypatch):
    """Loopback addresses, an sshd on each, are hosts too where namespaces can't be made."""
    monkeypatch.setattr(labs.namespaces, "missing", lambda: "not here")
    with labs.opened(tmp_path / "lab", 2) as lab:
        assert lab.space is None
        cluster = DeadCluster(tmp_path, lab.net)
        recovery = Recovery(tmp_path, lab.net, cluster)
        recovery.defaults = {}
        made = cluster.add("a", replicas=1, password="one")
        add_hosts(recovery, lab, 2)
        try:
            recovery.write().recover(status=DONE)
            recovery.assert_recovered(made)
        finally:
            recovery.end()
