"""capture --follow: the newest file is true, whatever happens to the cluster, the locations and the program."""

import json
import random
import shutil
import signal
import socket
import subprocess
import time

import pytest

from harness import redis_server, resp
from harness.redis_server import wait_until
from live_cluster import LiveCluster
from program import DONE, FAILED, LOCKED

EVERY = 1


class Follower:
    def __init__(self, recovery, addresses, *places, more=()):
        self.recovery, self.places = recovery, places
        for place in places:
            place.mkdir(exist_ok=True)
        self.args = ["capture", "--follow", "--every", f"{EVERY}s", *addresses, *more, "--wait", "20s"]
        for place in places:
            self.args += ["--to", place]
        self.log = recovery.folder / "follow.log"
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(self.recovery.program(None)), *map(str, self.args)], cwd=self.recovery.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.recovery.environment())
        return self

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        status = self.process.wait(20)
        self.process = None
        return status

    def sign(self, place=0):
        try:
            return json.loads((self.places[place] / "ccs-redis.json").read_text())
        except FileNotFoundError:
            return None

    def wait_for_capture(self, condition, what, seconds=30, place=0):
        """Until the newest file fulfils the condition; its keys."""
        def look():
            keys = read(self.places[place] / "ccs-redis.rdb") if (self.places[place] / "ccs-redis.rdb").exists() else {}
            return keys if keys and condition(keys) else None
        return wait_until(look, what, seconds)


@pytest.fixture
def follower(recovery):
    made = []

    def make(addresses, *places, **more):
        made.append(Follower(recovery, addresses, *places, **more))
        return made[-1]
    yield make
    for f in made:
        if f.process is not None:
            f.end(signal.SIGKILL)


def read(path):
    """Hashes of an RDB file with plain encodings, by key: enough for what `capture` writes."""
    data = path.read_bytes()
    at = 9

    def length():
        nonlocal at
        b = data[at]
        if b >> 6 == 0:
            at += 1
            return b & 63
        if b >> 6 == 1:
            at += 2
            return (b & 63) << 8 | data[at - 1]
        at += 5
        return int.from_bytes(data[at - 4:at], "big")

    def text():
        nonlocal at
        n = length()
        at += n
        return data[at - n:at].decode(errors="replace")

    keys = {}
    while data[at] != 0xFF:
        kind = data[at]
        at += 1
        if kind == 0xFA:
            text(), text()
        elif kind == 4:
            key = text()
            keys[key] = {text(): text() for _ in range(length())}
        else:
            key = text()
            keys[key] = {text() for _ in range(length())}
    return keys


def setting(keys, name):
    return json.loads(keys["bdb:1"]["redis_config"]).get(name)


def test_it_is_kept_up_to_date(folder, net, recovery, follower):
    live = LiveCluster(folder / "live", net, primaries=3, replicas=1).start()
    metrics = folder / "metrics.prom"
    f = follower(live.addresses()[:2], folder / "ccs", folder / "other", more=["--metrics", metrics]).start()
    f.wait_for_capture(lambda k: len(k["redis:all"]) == 6, "the first file")
    files = len(list((folder / "ccs").glob("ccs-redis-*.rdb")))
    assert files == 1
    time.sleep(3 * EVERY)
    assert len(list((folder / "ccs").glob("ccs-redis-*.rdb"))) == 1, "written without a change"

    live.everywhere("CONFIG", "SET", "hz", "33")
    f.wait_for_capture(lambda k: setting(k, "hz") == "33", "the setting")
    live.everywhere("ACL", "SETUSER", "app", "on", ">x", "~a", "+get")
    f.wait_for_capture(lambda k: "user app" in k["bdb:1"]["acl_users"], "the user")
    with live.servers[3].connect() as c:
        c.call("CLUSTER", "FAILOVER")
    f.wait_for_capture(
        lambda k: {s["role"] for s in k.values() if isinstance(s, dict) and s.get("port") == "7003"} == {"master"},
        "the failover")
    dead = live.servers.pop()
    dead.kill()
    f.wait_for_capture(
        lambda k: any(isinstance(s, dict) and s.get("port") == str(dead.port) and s["status"] == "down"
                      for s in k.values()), "the death", 60)
    for place in (folder / "ccs", folder / "other"):
        assert (place / "ccs-redis.rdb").read_bytes() == sorted(place.glob("ccs-redis-*.rdb"))[-1].read_bytes()
    text = wait_until(lambda: "servers_silent 1" in metrics.read_text() and metrics.read_text(), "the metrics")
    assert "recluster_capture_true_timestamp_seconds" in text
    check = recovery.run("capture", "--check", "2m", "--to", folder / "ccs", "--to", folder / "other")
    assert check.says("5 of 6 servers answered"), check
    # Nobody else may write there at the same time.
    second = recovery.run(*f.args, status=LOCKED)
    assert second.says("--spool")
    assert f.end() == 143
    recovery.run("inspect", folder / "ccs" / "ccs-redis.rdb")


def test_a_location_that_fails_gets_all_copies_later(folder, net, recovery, follower):
    server = redis_server.Server(folder / "s", net.old_node(1), 6379).start()
    f = follower([f"{server.addr}:6379"], folder / "good", folder / "bad", more=["--keep", "1h:1s"]).start()
    f.wait_for_capture(lambda k: True, "the first file", place=1)
    shutil.move(folder / "bad", folder / "away")
    for hz in (11, 12, 13):
        with server.connect() as c:
            c.call("CONFIG", "SET", "hz", hz)
        f.wait_for_capture(lambda k, hz=hz: setting(k, "hz") == str(hz), f"hz {hz}")
        time.sleep(1.1)  # a dated name has whole seconds
    assert "copies wait" in f.log.read_text()
    # It also survives its own end while the location is away.
    f.end(signal.SIGKILL)
    f.start()
    wait_until(lambda: f.log.read_text().count("copies wait") == 2, "the second start")
    shutil.move(folder / "away", folder / "bad")
    f.wait_for_capture(lambda k: setting(k, "hz") == "13", "the newest file", place=1)
    good, bad = ({p.name for p in (folder / n).glob("ccs-redis-*.rdb")} for n in ("good", "bad"))
    assert good == bad and len(good) == 4
    wait_until(lambda: "can be written to again" in f.log.read_text(), "the message")
    assert not list((recovery.folder / "xdg").rglob("*/ccs-redis-2*.rdb"))


def test_an_outage_of_all_servers_is_told_once_and_changes_nothing(folder, net, recovery, follower):
    server = redis_server.Server(folder / "s", net.old_node(1), 6379).start()
    f = follower([f"{server.addr}:6379"], folder / "ccs").start()
    f.wait_for_capture(lambda k: True, "the file")
    before = (folder / "ccs" / "ccs-redis.rdb").read_bytes()
    server.kill()
    wait_until(lambda: "no server answers" in f.log.read_text(), "the warning")
    time.sleep(3 * EVERY)
    assert f.log.read_text().count("no server answers") == 1
    assert (folder / "ccs" / "ccs-redis.rdb").read_bytes() == before
    server.start()
    wait_until(lambda: "answers again" in f.log.read_text(), "the end of the outage")
    f.end()
    assert f.start().process.poll() is None
    f.wait_for_capture(lambda k: True, "the file")
    assert len(list((folder / "ccs").glob("ccs-redis-*.rdb"))) <= 2


def test_check_says_when_it_is_not_true(folder, net, recovery):
    server = redis_server.Server(folder / "s", net.old_node(1), 6379).start()
    (folder / "ccs").mkdir()
    run = recovery.run("capture", "--check", "1m", "--to", folder / "ccs", status=FAILED)
    assert run.says("BAD")
    recovery.run("capture", f"{server.addr}:6379", "--to", folder / "ccs")
    recovery.run("capture", "--check", "1m", "--to", folder / "ccs", status=FAILED)


def test_old_copies_go_and_other_files_stay(folder, net, recovery, follower):
    server = redis_server.Server(folder / "s", net.old_node(1), 6379).start()
    place = folder / "ccs"
    place.mkdir()
    names = [f"ccs-redis-2025{m:02d}01T000000Z.rdb" for m in range(1, 10)]
    for name in [*names, "ccs-redis-mine.rdb", "ccs-redis-20250101T000000Z.rdb.bak", "notes.txt"]:
        (place / name).write_bytes(b"x")
    f = follower([f"{server.addr}:6379"], place, more=["--keep", "1h:1m"]).start()
    f.wait_for_capture(lambda k: True, "the file")
    wait_until(lambda: not any((place / n).exists() for n in names), "the removal")
    assert {"ccs-redis-mine.rdb", "ccs-redis-20250101T000000Z.rdb.bak", "notes.txt"} <= {
        p.name for p in place.iterdir()}
    assert len(list(place.glob("ccs-redis-2*Z.rdb"))) == 1


def test_the_unit_starts_what_was_asked(folder, net, recovery):
    run = recovery.run("capture", "10.0.0.1:6379", "--to", "s3://b/100%", "--every", "30s", "--unit")
    assert "\nExecStart=" in run.out and "capture --follow 10.0.0.1:6379" in run.out
    assert "--every 30s" in run.out and "100%%" in run.out
    if shutil.which("systemd-analyze"):
        unit = folder / "recluster-capture.service"
        unit.write_text(run.out)
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
        assert "recluster-capture" not in done.stderr, done.stderr
