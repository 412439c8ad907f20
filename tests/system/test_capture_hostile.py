"""capture: whatever a server answers, the program ends with a message or a file that can be read."""

import hashlib
import socket
import threading
import time

import pytest

from harness import redis_server
from program import DONE, FAILED, REFUSED
from test_capture import capture, shards  # noqa: F401

ESCAPES = "\x1b[2J\x1b]0;owned\x07"


def bulk(value):
    value = value.encode() if isinstance(value, str) else value
    return b"$%d\r\n%s\r\n" % (len(value), value)


def array(*items):
    return b"*%d\r\n" % len(items) + b"".join(i if isinstance(i, bytes) and i[:1] in b"*$:+-" else bulk(i) for i in items)


def info(*lines, mode="standalone"):
    return bulk("\r\n".join([f"redis_mode:{mode}", "redis_version:7.0.15", *lines, ""]))


class Fake:
    """A server that gives each command the answer that it was made with: {"CONFIG GET": bytes, …}."""

    def __init__(self, addr, answers):
        self.answers = {
            "AUTH": b"+OK\r\n", "INFO": info("role:master", "run_id:" + "a" * 40), "CONFIG GET": array(), "ACL LIST": array(),
            "MODULE LIST": array(), "FUNCTION LIST": array(), **answers}
        self.listener = socket.socket()
        self.listener.bind((addr, 0))
        self.listener.listen(100)
        self.addr, self.port = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        try:
            while True:
                threading.Thread(target=self._serve, args=[self.listener.accept()[0]], daemon=True).start()
        except OSError:
            pass

    def _serve(self, s):
        with s, s.makefile("rb") as f:
            try:
                while head := f.readline():
                    words = []
                    for _ in range(int(head[1:])):
                        n = int(f.readline()[1:])
                        words.append(f.read(n + 2)[:-2].decode())
                    name = " ".join(words[:2]).upper()
                    s.sendall(self.answers.get(name) or self.answers.get(words[0].upper()) or b"-ERR unknown command\r\n")
            except OSError:
                pass

    def __str__(self):
        return f"{self.addr}:{self.port}"

    def close(self):
        self.listener.close()


@pytest.fixture
def fake(net):
    made = []

    def make(answers=(), node=1):
        made.append(Fake(net.old_node(node), dict(answers)))
        return made[-1]
    yield make
    for f in made:
        f.close()


def node(fake, ident="a" * 40, flags="myself,master", primary="-", at=None, slots="0-16383"):
    return f"{ident} {at or fake}@1 {flags} {primary} 0 0 1 connected {slots}"


ODD = [b"$-1\r\n", b"*-1\r\n", b":5\r\n", b"+x\r\n", b"*1\r\n$-1\r\n", b"*2\r\n:1\r\n:2\r\n", array(array(), array()),
       b"*1000000000\r\n", b"*2147483647\r\n", b"*-7\r\n", b"*1\r\n" * 500, b"\0\xff\xfe",
       bulk(b"\0\xff\x1b[2J" * 50), array(*[b"\xff\0"] * 4),
       bulk("a" * 40), bulk("a" * 40 + " 10.0.0.1:1@99999 master - 0 0 1 connected"), bulk("\n\n x \n"), b"-" + b"\x1b[2J\xff" * 20 + b"\r\n"]


@pytest.mark.parametrize("command", ["INFO", "CONFIG GET", "ACL LIST", "MODULE LIST", "FUNCTION LIST", "CLUSTER NODES",
                                     "CLUSTER INFO", "SENTINEL MASTERS", "SENTINEL REPLICAS"])
def test_answers_of_other_types(folder, net, recovery, capture, fake, command):  # noqa: F811
    kind = command.split()[0]
    f = fake()
    (folder / "ccs").mkdir()
    f.answers["INFO"] = info("role:master", "run_id:" + "a" * 40,
                             mode={"CLUSTER": "cluster", "SENTINEL": "sentinel"}.get(kind, "standalone"))
    f.answers["CLUSTER NODES"], f.answers["CLUSTER INFO"] = bulk(node(f)), bulk("cluster_state:ok\r\n")
    f.answers["SENTINEL MASTERS"] = array(array("name", "x", "ip", f.addr, "port", str(f.port)))
    f.answers["SENTINEL REPLICAS"] = f.answers["SENTINEL SENTINELS"] = array()
    for answer in ODD:
        f.answers[command] = answer
        began = time.monotonic()
        run = recovery.run("capture", str(f), "--to", folder / "ccs", "--wait", "1s", status=None)
        assert run.status in (DONE, FAILED, REFUSED), (answer, run.status, run.err)
        assert "\x1b" not in run.err + run.out and time.monotonic() - began < 30, (answer, run.err)
        if run.status == DONE:
            inspected = recovery.run("inspect", folder / "ccs" / "ccs-redis.rdb", status=None)
            assert inspected.status >= 0 and "\x1b" not in inspected.out + inspected.err
            (folder / "ccs" / "ccs-redis.rdb").unlink()


def test_one_that_answers_in_part_takes_nothing_out_of_the_file(folder, net, recovery, capture, fake):  # noqa: F811
    f = fake({"CONFIG GET": array("requirepass", "s3cret", "port", "1"), "ACL LIST": array("user a on nopass")})
    other = redis_server.Server(folder / "s", net.old_node(2), 6379).start()
    seeds = str(f), f"{other.addr}:6379"
    before = capture(*seeds)
    mine = next(k for k, v in before.items() if k.startswith("bdb:") and v != {} and "acl_users" in v and "s3cret" in str(v))
    for command, answer in [("CONFIG GET", b"-LOADING x\r\n"), ("ACL LIST", b":1\r\n"), ("MODULE LIST", b"-BUSY x\r\n"),
                            ("INFO", b"-LOADING x\r\n")]:
        good = f.answers[command]
        f.answers[command] = answer
        after = capture(*seeds)
        assert after[mine] == before[mine]
        assert {k: v["bdb_uid"] for k, v in shards(after).items()} == {k: v["bdb_uid"] for k, v in shards(before).items()}
        assert shards(after)[f.addr, f.port]["status"] == "down"
        assert "database-silent" in after["cluster"]["capture_findings"]
        assert capture(str(f), status=FAILED).says("no server answers")
        f.answers[command] = good
    assert capture(*seeds)[mine] == before[mine]
    other.kill()
    f.answers["CONFIG GET"] = b"-LOADING x\r\n"
    assert capture(*seeds, status=FAILED).says("no server answers")


def test_clear_passwords_of_data_folders_stay_there(folder, recovery):
    """A user's line of a configuration file may have quotes, tabs and clear passwords; ACL LIST has hashes."""
    data = folder / "data"
    data.mkdir()
    (folder / "ccs").mkdir()
    (data / "redis.conf").write_text(
        'port 7000\nrequirepass "s3cret one"\ntls-key-file-pass s3cret-two\nsome-other-password s3cret-three\n'
        'user\tapp on ">s3cret \\x66our" >s3cret-five ~* +@all' + " +get" * 100 + " (~a)b +set)\n")
    for more in ([], ["--without-secrets"]):
        recovery.run("capture", "--from-folder", data, "--to", folder / "ccs", *more)
        raw = (folder / "ccs" / "ccs-redis.rdb").read_bytes()
        assert (b"s3cret one" in raw) == (not more)
        for word in (b"s3cret-two", b"s3cret-three", b"s3cret four", b"s3cret-five", b"x66our"):
            assert word not in raw
        for password in (b"s3cret four", b"s3cret-five"):
            assert (b"#" + hashlib.sha256(password).hexdigest().encode() in raw) == (not more)
        assert b"user app on" in raw and b" (~a)b +set)" in raw


def test_a_configuration_file_has_a_limit_of_settings(folder, recovery):
    data = folder / "data"
    data.mkdir()
    (data / "redis.conf").write_text("".join(f"a{i} 1\n" for i in range(300000)))
    began = time.monotonic()
    run = recovery.run("capture", "--from-folder", data, "--to", folder / "ccs", status=REFUSED)
    assert run.says("more than 5000 settings") and time.monotonic() - began < 5
