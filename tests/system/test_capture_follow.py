"""capture --follow: the newest file is true, whatever happens to the cluster, the locations and the program."""

import contextlib
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
        # Another one may be written just now: first the copy, then the file.
        wait_until(lambda place=place: (place / "ccs-redis.rdb").read_bytes() ==
                   sorted(place.glob("ccs-redis-*.rdb"))[-1].read_bytes(), f"the newest copy in {place}")
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
    wait_until(lambda: "can be written to again" in f.log.read_text(), "the message")
    good, bad = ({p.name for p in (folder / n).glob("ccs-redis-*.rdb")} for n in ("good", "bad"))
    assert good == bad and len(good) == 4
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


def test_what_is_encrypted_is_followed_without_the_private_key(folder, net, recovery, follower):
    if not shutil.which("age"):
        pytest.skip("age is not installed")
    key, public = folder / "key", folder / "public"
    subprocess.run(["age-keygen", "-o", key], check=True, stderr=subprocess.DEVNULL)
    public.write_text(subprocess.run(["age-keygen", "-y", key], check=True, stdout=subprocess.PIPE, text=True).stdout)
    server = redis_server.Server(folder / "s", net.old_node(1), 6379).start()
    place = folder / "ccs"
    f = follower([f"{server.addr}:6379"], place, more=["--encrypt-to", public, "--keep", "1h:1s"]).start()
    newest = place / "ccs-redis.rdb"
    wait_until(lambda: (place / "ccs-redis.json").exists(), "the first file")
    first = newest.read_bytes()
    f.end(signal.SIGKILL)
    f.start()
    with server.connect() as c:
        c.call("CONFIG", "SET", "hz", 44)
    wait_until(lambda: newest.read_bytes() != first, "the second file")
    recovery.run("inspect", newest, "--key", key)
    assert all(p.read_bytes().startswith(b"age-encryption.org/") for p in place.glob("*.rdb"))
    wait_until(lambda: recovery.run("capture", "--check", "1m", "--to", place, status=None).status == DONE, "a true sign")


def test_the_unit_starts_what_was_asked(folder, net, recovery):
    run = recovery.run("capture", "10.0.0.1:6379", "--to", "s3://b/100%", "--every", "30s", "--unit")
    assert "\nExecStart=" in run.out and "capture --follow 10.0.0.1:6379" in run.out
    assert "--every 30s" in run.out and "100%%" in run.out
    if shutil.which("systemd-analyze"):
        unit = folder / "recluster-capture.service"
        unit.write_text(run.out)
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
        assert "recluster-capture" not in done.stderr, done.stderr


class Events:
    """Random changes of a cluster; truth() is what the newest file must say after each."""

    def __init__(self, folder, net, live, follower, seed):
        self.folder, self.net, self.live, self.follower = folder, net, live, follower
        self.rng = random.Random(seed)
        self.states, self.dead, self.added = [], [], 0

    def lines(self):
        return self.live.views()[0]

    def topology(self):
        """{node id: (role, slots of its primary)} of those that have or follow slots."""
        by_id = {line[0]: line for line in self.lines()}
        found = {}
        for line in by_id.values():
            top = line
            while top[2] != "-":
                top = by_id[top[2]]
            if top[4:]:
                found[line[0]] = ("slave" if line[2] != "-" else "master", tuple(sorted(ranges(top[4:]))))
        return found

    def settings(self):
        with self.live.servers[0].connect() as c:
            return c.config("slowlog-max-len"), sorted(u.split()[1] for u in map(bytes.decode, c.call("ACL", "LIST")))

    def is_true(self, keys):
        return topology_of(keys) == self.topology() and (
            setting(keys, "slowlog-max-len"),
            sorted(u.split()[1] for u in json.loads(keys["bdb:1"]["acl_users"]))) == self.settings()

    def primaries(self):
        ids = {line[0]: line for line in self.lines()}
        own = {}
        for server in self.live.servers:
            with server.connect() as c:
                own[c.call("CLUSTER", "MYID").decode()] = server
        return ids, own

    # --- the events ---

    def change_setting(self):
        self.live.everywhere("CONFIG", "SET", "slowlog-max-len", self.rng.randrange(100, 10000))

    def change_users(self):
        name = f"u{self.rng.randrange(5)}"
        if self.rng.random() < 0.3:
            self.live.everywhere("ACL", "DELUSER", name)
        else:
            self.live.everywhere("ACL", "SETUSER", name, "on", f">{self.rng.random()}", "~*", "+get")

    def fail_over(self):
        ids, own = self.primaries()
        replicas = [i for i, line in ids.items() if line[2] != "-" and "fail" not in line[1] and i in own]
        if replicas:
            with own[self.rng.choice(replicas)].connect() as c:
                c.call("CLUSTER", "FAILOVER")

    def move_slot(self):
        ids, own = self.primaries()
        tops = [i for i, line in ids.items() if line[2] == "-" and line[4:] and i in own]
        if len(tops) < 2:
            return
        source, target = self.rng.sample(tops, 2)
        slot = self.rng.choice(ranges(ids[source][4:]))[0]
        with own[source].connect() as a, own[target].connect() as b:
            try:
                b.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source)
                a.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target)
                time.sleep(self.rng.random())
                b.call("CLUSTER", "SETSLOT", slot, "NODE", target)
                a.call("CLUSTER", "SETSLOT", slot, "NODE", target)
            except resp.ReplyError:  # a failover is still on its way
                for c in (a, b):
                    with contextlib.suppress(resp.ReplyError):
                        c.call("CLUSTER", "SETSLOT", slot, "STABLE")

    def add_replica(self):
        if self.added >= 4:
            return
        self.added += 1
        ids, own = self.primaries()
        n = 40 + self.added
        server = redis_server.Server(
            self.folder / f"added {n}", self.net.old_node(n), 7000 + n, cluster_enabled="yes",
            cluster_config_file="nodes.conf", cluster_node_timeout=2000,
            slowlog_max_len=self.settings()[0]).start()
        top = next(i for i, line in ids.items() if line[2] == "-" and line[4:] and "fail" not in line[1])
        with server.connect() as c, self.live.servers[0].connect() as first:
            for line in map(bytes.decode, first.call("ACL", "LIST")):
                if not line.startswith("user default"):
                    c.call("ACL", "SETUSER", *line.split()[1:])
            c.call("CLUSTER", "MEET", self.live.servers[0].addr, self.live.servers[0].port)
            wait_until(lambda: top.encode() in c.call("CLUSTER", "NODES"), "the meeting")
            c.call("CLUSTER", "REPLICATE", top)
        self.live.servers.append(server)
        wait_until(lambda: len({len(v) for v in self.live.views()}) == 1, "all know the new node")

    def kill_a_node(self):
        """Never the first server, from which the truth is read, and one at a time."""
        if self.dead or len(self.live.servers) < 3:
            return self.revive()
        victim = self.live.servers.pop(self.rng.randrange(1, len(self.live.servers)))
        with victim.connect() as c:
            dead_id = c.call("CLUSTER", "MYID").decode()
        victim.kill()
        self.dead.append(victim)
        wait_until(lambda: any(line[0] == dead_id and "fail" in line[1].split(",") for line in self.lines()), "its end")
        wait_until(lambda: all("slots" not in line[1] for line in self.lines()) and self._all_owned(), "the failover", 30)

    def _all_owned(self):
        return sum(b - a + 1 for line in self.lines() if "fail" not in line[1].split(",") and line[2] == "-"
                   for a, b in ranges(line[4:])) == 16384

    def revive(self):
        if self.dead:
            server = self.dead.pop().start()
            self.live.servers.append(server)
            redis_server.wait_for_cluster([server])
            with self.live.servers[0].connect() as c, server.connect() as back:
                back.call("CONFIG", "SET", "slowlog-max-len", c.config("slowlog-max-len"))
                for line in map(bytes.decode, c.call("ACL", "LIST")):
                    if not line.startswith("user default"):
                        back.call("ACL", "SETUSER", line.split()[1], "reset", *line.split()[2:])
                names = {line.split()[1] for line in map(bytes.decode, c.call("ACL", "LIST"))}
                for line in map(bytes.decode, back.call("ACL", "LIST")):
                    if line.split()[1] not in names:
                        back.call("ACL", "DELUSER", line.split()[1])

    def kill_the_program(self):
        self.follower.end(signal.SIGKILL)
        self.follower.start()

    def run(self, count):
        kinds = [self.change_setting, self.change_users, self.fail_over, self.move_slot, self.add_replica,
                 self.kill_a_node, self.revive, self.kill_the_program]
        for n in range(count):
            kind = self.rng.choice(kinds)
            kind()
            self.live.wait_until_settled()
            since = time.monotonic()
            self.states.append(self.topology())
            self.follower.wait_for_capture(self.is_true, f"the truth after event {n}, {kind.__name__}", 30)
            self.states.append(self.topology())
            yield kind.__name__, time.monotonic() - since


def ranges(words):
    """Of "0-5460", "6000"; open slots are left out."""
    return [(int(w.split("-")[0]), int(w.split("-")[-1])) for w in words if not w.startswith("[")]


def topology_of(keys):
    return {
        s["cluster_node_id"]: (s["role"], tuple(sorted(ranges(s["assigned_slots"].split(",")))))
        for k, s in keys.items() if k.startswith("redis:") and k != "redis:all"}


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_the_newest_file_is_true_after_each_event(folder, net, recovery, follower, count):
    live = LiveCluster(folder / "live", net, primaries=3, replicas=1).start()
    place = folder / "ccs"
    f = follower(live.addresses(), place, more=["--keep", "1d:1s"]).start()
    events = Events(folder, net, live, f, seed=count)
    f.wait_for_capture(events.is_true, "the first file")
    events.states.append(events.topology())
    taken = [seconds for _, seconds in events.run(count)]
    assert max(taken) < 20, taken
    # No file on the way describes a cluster that never was.
    for path in sorted(place.glob("ccs-redis-2*.rdb")):
        keys = read(path)
        found = topology_of(keys)
        owned = sorted(r for role, slots in found.values() if role == "master" for r in slots)
        assert sum(b - a + 1 for a, b in owned) == 16384, path.name
        assert all(a[1] < b[0] for a, b in zip(owned, owned[1:])), path.name
        findings = json.loads(keys["cluster"]["capture_findings"])
        if not any(x["code"] == "unsettled" for x in findings):
            assert found in events.states, (path.name, found)


def test_a_broken_spool_keeps_nothing_from_the_locations(folder, net, recovery, follower):
    server = redis_server.Server(folder / "s", net.old_node(1), 6379).start()
    spool = folder / "spool"
    f = follower([f"{server.addr}:6379"], folder / "ccs", more=["--spool", spool, "--keep", "1h:1s"]).start()
    f.wait_for_capture(lambda k: True, "the first file")
    for inside in [p for p in spool.iterdir() if p.is_dir()]:
        wait_until(lambda inside=inside: not list(inside.iterdir()), "an empty spool")
        inside.rmdir()
        inside.write_text("not a folder")
    with server.connect() as c:
        c.call("CONFIG", "SET", "hz", 33)
    f.wait_for_capture(lambda k: setting(k, "hz") == "33", "the second file")
    assert len(list((folder / "ccs").glob("ccs-redis-2*.rdb"))) == 2
    assert "cannot wait for them" in f.log.read_text()


@pytest.mark.slow
def test_a_location_that_loses_the_file_gets_it_again(folder, net, recovery, follower):
    server = redis_server.Server(folder / "s", net.old_node(1), 6379).start()
    newest = folder / "ccs" / "ccs-redis.rdb"
    f = follower([f"{server.addr}:6379"], folder / "ccs").start()
    for lose in (newest.unlink, lambda: newest.write_bytes(b"half")):
        f.wait_for_capture(lambda k: True, "the file", seconds=80)
        lose()
        wait_until(lambda: newest.exists() and newest.stat().st_size > 100, "the file again", 80)
    assert f.log.read_text().count("writing it again") == 2
