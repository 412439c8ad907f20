"""backup --hosts: agents near the servers read from them, and write to the location themselves."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from harness import namespaces, redis_server
from harness.certificates import Authority
from program import FAILED, USAGE
from test_archive import archive, check_all  # noqa: F401 (a fixture)
from test_backup import age, assert_encrypted, backed, least_rights  # noqa: F401 (fixtures)

REPLICAS = range(3, 6)  # of LiveCluster


def words(path):
    """Of a process; none, if it has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


class Hosts:
    """A hosts file, with a shell for each of the servers' addresses, which writes down that it was used."""

    def __init__(self, b, which=REPLICAS, **more):
        self.folder = b.folder / "reached"
        self.folder.mkdir()
        self.file = b.folder / "hosts.json"
        self.entries = [{
            "addr": b.live.servers[i].addr, "link": "command", "base_dir": str(self.folder / f"base {i}"),
            "command": ["sh", "-c", f"echo $$ >> '{self.folder}/{i}'; exec sh"], **more} for i in which]
        self.write()

    def write(self):
        self.file.write_text(json.dumps({"hosts": self.entries}))

    def used(self):
        return sorted(int(p.name) for p in self.folder.glob("[0-9]"))

    def agents(self, i):
        """The pids of what was sent to the host of this server."""
        program = str(self.folder / f"base {i}").encode()
        return [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/cmdline") if program in words(p)]


def test_each_host_reads_its_server(backed, folder):
    """With a password and TLS, whose files the hosts do not have; the set is one moment."""
    authority = Authority(folder / "ca")
    b = backed(tls=authority, password="the admin's")
    login = least_rights(b.recovery, b.live.servers)
    mine = authority.sign("admin")
    tls = "--tls-ca", authority.cert, "--tls-cert", mine.cert, "--tls-key", mine.key
    hosts = Hosts(b)
    with b.writers(pause=0.001) as writers:
        writers.wait_for(10)
        for more in ((), ("--form", "rdb")):
            run = b.take("--hosts", hosts.file, *login, *tls, *more)
            assert not run.says("warning"), run
            if not more:
                assert b.faults(run) == [], run
    assert hosts.used() == list(REPLICAS)
    assert all(f["ok"] for f in b.recovery.run("verify", b.place, "--json").json["files"])


def test_hosts_that_cannot_be_used(backed):
    """One cannot be reached, one is not there: the set is taken from elsewhere, and both are told."""
    b = backed()
    hosts = Hosts(b, which=(3, 4))
    hosts.entries[0]["command"] = ["false"]
    hosts.write()
    with b.writers(pause=0.001) as writers:
        writers.wait_for(10)
        run = b.take("--hosts", hosts.file)
        assert b.faults(run) == [], run
    assert run.says(f"host '{b.live.servers[3].addr}' cannot be used now") and run.says("this machine reads"), run
    assert hosts.used() == [4]


def test_a_host_is_lost_in_the_middle(backed):
    """The shard begins again elsewhere."""
    b = backed()
    hosts = Hosts(b)
    for server, name in zip(b.primaries, b.names):
        with server.connect() as c:
            c.call("EVAL", "for i = 1, 20000 do redis.call('SET', KEYS[1]..i, string.rep('x', 200)) end", 1, f"{{{name}}}x")
    with b.writers(pause=0.001) as writers:
        writers.wait_for(10)
        run = b.start("--hosts", hosts.file, "--limit-rate", "3M", "--verbose")
        redis_server.wait_until(lambda: hosts.agents(3), "an agent")
        time.sleep(1)
        for pid in hosts.agents(3):
            os.kill(pid, signal.SIGKILL)
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
        assert b.faults_of(json.loads(out)) == []
    assert f"host '{b.live.servers[3].addr}' cannot be used now" in err.decode(), err


def test_a_folder_that_is_another_one_there(backed):
    """No host writes where nobody looks."""
    why = namespaces.missing()
    if why:
        pytest.skip(why)
    b = backed()
    hosts = Hosts(b)
    for entry in hosts.entries:
        entry["command"] = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs none '{b.place}' && exec sh"]
    hosts.write()
    run = b.take("--hosts", hosts.file, status=USAGE)
    assert run.says("is another location there") and run.says("mounted on all of them"), run
    assert [p.name for p in b.place.iterdir()] == ["ccs-redis.rdb"]


def test_hosts_encrypt(backed, age, folder):
    """The private key, with which the operator reads the set back, is not sent to them."""
    key, public = age
    b = backed(password="secret of the cluster")
    (folder / "pw").write_text("secret of the cluster\n")
    hosts = Hosts(b)
    for i, entry in enumerate(hosts.entries):
        entry["command"] = ["sh", "-c", f"tee '{folder}/sent {i}' | sh"]
    hosts.write()
    options = "--hosts", hosts.file, "--encrypt-to", public, "--key", key, "--password", folder / "pw"
    run = b.take(*options, "--verify", "full")
    assert not run.says("warning"), run
    assert_encrypted(b)
    secret = key.read_text().split()[-1].encode()
    for i in range(3):
        sent = (folder / f"sent {i}").read_bytes()
        assert public.encode() in sent and secret not in sent
    without = b.folder / "programs"
    without.mkdir()
    for name in os.listdir("/usr/bin"):
        if name not in ("age", "age-keygen"):
            (without / name).symlink_to(f"/usr/bin/{name}")
    hosts.entries[1]["command"] = ["env", f"PATH={without}", "sh"]
    hosts.write()
    before = sorted(b.place.iterdir())
    run = b.take(*options, status=FAILED)
    assert run.says(f"host '{hosts.entries[1]['addr']}'") and run.says("cannot start 'age'"), run
    assert run.says("apt-get install age") and sorted(b.place.iterdir()) == before, run


def test_an_archive_of_hosts(archive, net):
    """A host whose agent is killed: another place goes on where its last segment ended."""
    a = archive()
    hosts = Hosts(a)
    with a.writers(pause=0.005) as writers:
        writers.wait_for(10)
        a.follow("--hosts", hosts.file)
        a.wait_for_cuts(1)
        for pid in hosts.agents(4):
            os.kill(pid, signal.SIGKILL)
        time.sleep(6)
        said = a.stop()
    assert hosts.used() == list(REPLICAS)
    assert "cannot be used now" in said and "gap" not in said, said
    assert not list(a.place.glob("archive-*.here")), "the witness is removed at the end"
    assert len(list(a.place.glob("base-*"))) == 3, said
    assert check_all(a, net, 4, said) == 4
