"""backup: a set of a running cluster is one moment of all shards, and nothing is done to the servers."""

import gzip
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness import contents, one_moment, redis_server, releases, resp, slots
from harness.certificates import Authority
from live_cluster import LiveCluster, Sentinels
from program import DONE, FAILED, LOCKED, REFUSED, USAGE


class Backed:
    """A cluster with writers on all shards, and where its backups go."""

    def __init__(self, folder, net, recovery, program, **options):
        self.folder = folder
        self.recovery = recovery
        self.live = LiveCluster(folder / "live", net, program, rdbcompression="no", **options).start()
        self.ranges = slots.split(self.live.primaries)
        self.names = one_moment.tags([[r] for r in self.ranges])
        self.place = folder / "sets"
        self.place.mkdir()

    @property
    def primaries(self):
        return self.live.servers[:self.live.primaries]

    def writers(self, **options):
        return one_moment.Writers([s.connect for s in self.primaries], self.names, **options)

    def take(self, *more, status=DONE):
        return self.recovery.run(
            "backup", *self.live.addresses()[:1], "--to", self.place, "--json",
            *([] if "--compress" in more else ["--compress", "gzip"]), *more, status=status, timeout=120)

    def start(self, *more):
        return self.recovery.start(
            "backup", *self.live.addresses()[:1], "--to", self.place, "--compress", "gzip", "--json", *more)

    def faults(self, run):
        return self.faults_of(run.json)

    def faults_plain(self, run):
        return self.faults_of(run.json, lambda data: data)

    def faults_of(self, document, unpack=gzip.decompress):
        """Of the one set that a run took."""
        (taken,) = document["sets"]
        files = sorted(taken["files"], key=lambda f: f["slots"])
        assert [[tuple(r) for r in f["slots"]] for f in files] == [[r] for r in self.ranges]
        held = [one_moment.held(unpack((self.place / f["name"]).read_bytes())) for f in files]
        return one_moment.faults(held, self.names)


@pytest.fixture
def backed(folder, net, recovery, release):
    made = []

    def make(program=release.program, **options):
        made.append(Backed(folder, net, recovery, program, **options))
        return made[-1]
    return make


def held_by(shards, names):
    """What primaries hold that were recovered, as one_moment.held() gives it for a file, for each of the names."""
    found = []
    for name in names:
        keys = {}
        for shard in shards:
            with resp.Connection(shard["addr"], shard["port"]) as c:
                for word, w in itertools.product(("last", "twin"), range(4)):
                    try:
                        value = c.call("GET", f"{word}:{{{name}}}:{w}")
                    except resp.ReplyError:
                        continue
                    if value:
                        keys.update(one_moment.held(
                            b"%s:{%s}:%d\r\n$1\r\n%s" % (word.encode(), name.encode(), w, value)))
        found.append(keys)
    return found


def saved_one_after_other(backed):
    """What a loop over the primaries gives: BGSAVE on each."""
    for server in backed.primaries:
        subprocess.run(
            ["redis-cli", "-h", server.addr, "-p", str(server.port), "BGSAVE"], check=True, stdout=subprocess.PIPE)
    held = []
    for server in backed.primaries:
        with server.connect() as c:
            redis_server.wait_until(lambda c=c: c.info("persistence")["rdb_bgsave_in_progress"] == "0", "BGSAVE")
        held.append(one_moment.held((server.folder / "dump.rdb").read_bytes()))
    return one_moment.faults(held, backed.names)


@pytest.mark.releases("system", "valkey91")
def test_every_set_is_one_moment(backed):
    """And the naive way is not, in the same run: so the check can find it."""
    check_moments(backed, 5)


@pytest.mark.slow
@pytest.mark.releases("system", "redis80", "valkey80", "valkey81", "valkey91")
def test_a_hundred_sets(backed):
    check_moments(backed, 100)


def check_moments(backed, count):
    b = backed()
    with b.writers() as writers:
        writers.wait_for(50)
        naive = [saved_one_after_other(b) for _ in range(5)]
        for _ in range(count):
            run = b.take()
            assert b.faults(run) == [], run
    assert any(naive), "a loop of BGSAVE was consistent five times: the writers are too slow"


def test_a_set_is_verified_and_recovered(backed, recovery):
    check_recovery(backed, recovery)


@pytest.mark.slow
@pytest.mark.releases("redis80", "valkey80", "valkey81", "valkey91")
def test_a_set_of_other_releases(backed, recovery):
    check_recovery(backed, recovery)


def test_plain_rdb_files(backed, recovery, release):
    """As the vendor names them, for any tool; the servers' own checker reads them."""
    b, taken = check_recovery(backed, recovery, "--form", "rdb", "--server", release.program, "--compress", "gzip")
    assert taken["form"] == "rdb" and sum(f["stream_bytes"] for f in taken["files"]) > 0, taken
    for file in taken["files"]:
        assert file["name"].endswith(".rdb.gz") and file["kind"] == "rdb", file
        plain = b.folder / "plain.rdb"
        plain.write_bytes(gzip.decompress((b.place / file["name"]).read_bytes()))
        checked = subprocess.run(["redis-check-rdb", plain], check=True, stdout=subprocess.PIPE, text=True).stdout
        assert f"{file['keys']} keys read" in checked, checked


def spools(folder):
    return [p.name for p in folder.iterdir() if "recluster" in p.name]


def test_a_killed_server_that_makes_rdb_files(backed, release, folder):
    """What it leaves is removed by the next run, which works; without such a program nothing is begun."""
    b = backed()
    spool = folder / "spool"
    spool.mkdir()
    options = ["--form", "rdb", "--spool", spool, "--server", release.program]
    held = folder / "held"
    held.write_text(f"#!/bin/sh\ncase $1 in --version) exec {release.program} $1;; esac\nexec sleep 300.125\n")
    held.chmod(0o755)
    with b.writers(pause=0.002) as writers:
        writers.wait_for(10)
        run = b.start(*options[:-1], held)
        redis_server.wait_until(lambda: list(spool.glob("recluster-rdb-*/snapshot/*")), "a server that makes RDB files")
        run.kill()
        run.communicate()
        redis_server.wait_until(lambda: not any(
            b"300.125" in p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if readable(p)), "its end")
        b.take(*options)
        assert spools(spool) == []
        err = b.take(*options[:-1], folder / "none", status=FAILED).err
    assert "none" in err and "--server PROGRAM" in err, err
    assert spools(spool) == []


def readable(path):
    """Whether the process is still there."""
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def check_recovery(backed, recovery, *more):
    """With an expired key; what comes back is one moment."""
    b = backed()
    with b.writers(pause=0.002) as writers:
        for server, name in zip(b.primaries, b.names):
            with server.connect() as c:
                c.call("SET", f"{{{name}}}gone", "x", "PX", 1)
                for i in range(200):
                    c.call("HSET", f"{{{name}}}hash:{i}", "field", i)
        writers.wait_for(10)
        run = b.take(*more)
    verified = recovery.run("verify", b.place, "--json").json
    assert [f["ok"] for f in verified["files"]] == [True] * 5, verified
    assert verified["sets"][0]["complete"], verified
    (taken,) = run.json["sets"]
    for server in b.live.servers:
        server.kill()
    recovery.ccs = b.place / "ccs-redis.rdb"
    recovery.sources = {f"db:{taken['database']['uid']}": str(b.place)}
    recovery.add_hosts(3).write_hosts()
    recovery.recover()
    held = [s for s in recovery.status()["databases"][0]["shards"] if s["role"] == "primary"]
    assert len(held) == 3
    found = held_by(held, b.names)
    assert one_moment.faults(found, b.names) == []
    assert all(found)
    return b, taken


# --- when, and what stays ---

def test_the_ccs_file_names_the_servers(backed, folder):
    """In the place of addresses: whom to ask, and the password."""
    b = backed(password="its own")
    (folder / "pw").write_text("its own\n")
    b.take("--password", folder / "pw")
    ccs = folder / "ccs-redis.rdb"
    shutil.copy(b.place / "ccs-redis.rdb", ccs)
    b.primaries[0].kill()  # which stands first in it
    with b.live.servers[1].connect() as c:
        redis_server.wait_until(lambda: b"cluster_state:ok" in c.call("CLUSTER", "INFO"), "a failover")
    run = b.recovery.run("backup", ccs, "--to", b.place, "--wait", "60s", "--json", timeout=120)
    assert len(run.json["sets"]) == 1, run
    assert b.recovery.run("backup", ccs, ccs, "--to", b.place, status=USAGE).says("second CCS file")


def metrics_of(path):
    """{name with labels: value}"""
    return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in path.read_text().splitlines() if line[0] != "#"}


def test_a_policy(backed, folder):
    """Only what is due is taken; old sets go; what is wrong in the file is named."""
    b = backed()
    policy = folder / "policy.json"
    policy.write_text(json.dumps({"databases": {"*": {"backup": {"every": "2s", "keep_last": 2}}}}))
    taken = []
    for _ in range(3):
        (one,) = b.take("--policy", policy).json["sets"]
        taken.append(one["set"])
        time.sleep(2.1)
    policy.write_text(json.dumps({"databases": {"db:1": {"backup": {"every": "1h"}}, "*": {"backup": {"every": "1s"}}}}))
    run = b.take("--policy", policy)
    assert run.json["sets"] == [] and run.says("is not due"), run
    (place,) = b.recovery.run("backups", b.place, "--json").json["locations"]
    assert [(s["verified"]["how"], s["form"]) for s in place["sets"]] == [("size", "rdb+stream")] * 2, place
    left = {p.name[2:17] for p in b.place.glob("bk*manifest.json")}
    assert left == set(taken[1:]), (left, taken)
    policy.write_text(json.dumps({"databases": {"other": {"backup": {"every": "1h"}}}}))
    run = b.take("--policy", policy)
    assert run.says("has no time for it") and run.says("names 'other': the cluster has no database"), run
    for wrong, said in (
            ({"databases": {"*": {"backup": {"evry": "1h"}}}}, "Did you mean 'every'?"),
            ({"databases": {"*": {"backup": {}}}}, '"every" is missing'),
            ({"databases": {"*": {}}}, 'no object "backup"'),
            ({}, 'no object "databases"'),
            ({"databases": {"*": {"backup": {"every": "1h", "keep": "x"}}}}, "x"),
            ({"databases": {"*": {"backup": {"every": "1h", "keep": 7}}}}, '"keep" is not a text')):
        policy.write_text(json.dumps(wrong))
        assert b.take("--policy", policy, status=USAGE).says(said), wrong
    assert b.take("--policy", "ccs", status=USAGE).says("in the place of the addresses")
    assert b.take("--policy", policy, "--follow", status=USAGE).says("does not go with it")


def test_the_policy_of_a_ccs_file(backed, recovery, folder, net):
    """backup_interval and backup_history of its databases."""
    b = backed()
    b.take()
    server = redis_server.Server(folder / "editor", net.addr(2), 6379)
    server.folder.mkdir(exist_ok=True)
    shutil.copy(b.place / "ccs-redis.rdb", server.folder / "dump.rdb")
    server.start()
    with server.connect() as c:
        c.call("HSET", "bdb:1", "backup_interval", 3600, "backup_history", 1)
        c.call("SAVE")
    server.kill()
    ccs = server.folder / "dump.rdb"
    run = recovery.run("backup", ccs, "--to", b.place, "--policy", "ccs", "--json")
    assert run.json["sets"] == [] and run.says("is not due"), run
    other = folder / "other place"
    other.mkdir()
    run = recovery.run("backup", ccs, "--to", other, "--policy", "ccs", "--json")
    assert len(run.json["sets"]) == 1, run


# --- whatever happens meanwhile ---

def settings_and_saves(servers):
    found = []
    for server in servers:
        with server.connect() as c:
            words = c.call("CONFIG", "GET", "*")
            found.append((sorted(zip(words[::2], words[1::2])), c.call("LASTSAVE"), sorted(
                (p.name, p.stat().st_mtime_ns) for p in server.folder.iterdir() if p.suffix not in (".log", ".conf"))))
    return found


def forks(servers):
    found = []
    for server in servers:
        with server.connect() as c:
            found.append(int(c.info("stats")["total_forks"]))
    return found


def test_servers_are_left_as_they_are(backed):
    """No setting, no file, no save; no fork of a primary that has a replica."""
    b = backed()
    with b.writers(pause=0.001) as writers:
        writers.wait_for(20)
        before = settings_and_saves(b.live.servers), forks(b.primaries)
        assert b.faults(b.take()) == []
        after = settings_and_saves(b.live.servers), forks(b.primaries)
    for i, (now, then) in enumerate(zip(after[0], before[0])):
        for what, x, y in zip(("settings", "last save", "files"), now, then):
            assert x == y, (i, what)
    assert after[1] == before[1]


def test_without_replicas_and_under_load(backed):
    """The primaries themselves give the data sets, and the plan says what that costs."""
    b = backed(replicas=0)
    with b.writers() as writers:
        writers.wait_for(50)
        for _ in range(3):
            run = b.take()
            assert b.faults(run) == [], run
            assert run.says("has no replica that is in step"), run


def test_a_replica_hangs(backed):
    b = backed()
    with b.writers() as writers:
        writers.wait_for(20)
        pid = int(b.live.servers[3].pid_file.read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            run = b.take()
        finally:
            os.kill(pid, signal.SIGCONT)
    assert b.faults(run) == [], run


def test_a_script_hangs(backed):
    """The cut waits until it has ended; if it does not end, the server is named and nothing stays paused."""
    b = backed(busy_reply_threshold=200)
    with b.writers(pause=0.01) as writers:
        writers.wait_for(5)
        (server, *_), (name, *_) = b.primaries, b.names
        taking = b.start("--wait", "30s")
        with server.connect() as c:
            c.call("EVAL", "local t = redis.call('TIME')[1] + 3 repeat until tonumber(redis.call('TIME')[1]) > t",
                   "1", f"{{{name}}}x")
        out, err = taking.communicate(timeout=60)
        assert taking.returncode == 0, err
        assert b.faults_of(json.loads(out)) == []
        writers.wait_for(5)


def test_a_primary_is_killed(backed):
    """Either the set is one moment, or there is none and the message names the shard."""
    b = backed()
    with b.writers(pause=0.001) as writers:
        writers.wait_for(20)
        taking = b.start()
        b.primaries[0].kill()
        out, err = taking.communicate(timeout=120)
        writers.stop()
    if taking.returncode:
        assert "shard:" in err.decode() or "7000" in err.decode(), err
        assert not list(b.place.glob("*.aof*")), "files of no set are left"
        assert not list(b.place.glob("*manifest.json"))
    else:
        assert b.faults_of(json.loads(out)) == []


def test_slots_move(backed):
    """While slots move there is no cut; when they have moved, there is."""
    b = backed()
    source, target = b.primaries[:2]
    with b.writers(pause=0.002) as writers:
        writers.wait_for(20)
        with source.connect() as s, target.connect() as t:
            ids = [c.call("CLUSTER", "MYID").decode() for c in (s, t)]
            slot = next(x for x in range(5000) if not any(slots.of_key(n.encode()) == x for n in b.names))
            t.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            s.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            refused = b.take("--wait", "2s", status=FAILED)
            assert refused.says("being changed") or refused.says("being moved"), refused
            assert not list(b.place.glob("*.aof*"))
            for c in (t, s):
                c.call("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        run = b.take()
    (taken,) = run.json["sets"]
    files = sorted(taken["files"], key=lambda f: int(f["shard"]))
    moved = [f["shard"] for f in files if any(a <= slot <= z for a, z in f["slots"])]
    assert len(moved) == 1 and len(files) == 3, files
    held = [one_moment.held(gzip.decompress((b.place / f["name"]).read_bytes())) for f in files]
    held.sort(key=lambda h: min(int(tag[1:]) % 1000 for _, tag, _ in h))
    assert one_moment.faults(held, b.names) == []


@pytest.mark.parametrize("moment", [0.02, 0.1, 0.3, 0.6])
def test_the_operator_is_killed(backed, moment):
    """Nothing counts as a set, no write stays paused, and the next run works."""
    b = backed()
    with b.writers(pause=0.001) as writers:
        writers.wait_for(20)
        taking = b.start()
        time.sleep(moment)
        taking.kill()
        taking.communicate()
        writers.wait_for(20)
        longest = max(writers.longest)
        assert longest < 2, longest
        for name in [p.name for p in b.place.glob("*manifest.json")]:
            assert (b.place / name).exists()
        run = b.take()
    assert b.faults(run) == [], run
    listed = b.recovery.run("verify", b.place, "--json").json
    assert all(s["complete"] for s in listed["sets"]), listed


def test_an_interrupt_leaves_nothing(backed):
    b = backed(repl_diskless_sync_delay=5)
    taking = b.start()
    time.sleep(1.5)
    taking.send_signal(signal.SIGINT)
    _, err = taking.communicate(timeout=30)
    assert taking.returncode == 130, err
    assert not list(b.place.glob("*.aof*")) and not list(b.place.glob("*manifest.json"))
    assert [p.name for p in b.place.iterdir()] == ["ccs-redis.rdb"]


# --- the location ---

def test_two_backups_at_one_location(backed):
    """The second one is refused, and names the first; both can follow each other in one second."""
    b = backed(repl_diskless_sync_delay=8)
    first = b.start()
    redis_server.wait_until(lambda: list(b.place.glob("*.lock")), "the lock")
    refused = b.take(status=LOCKED)
    assert refused.says("another backup is writing") and refused.says(f"pid {first.pid}"), refused
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert b.faults_of(json.loads(out)) == []
    assert not list(b.place.glob("*.lock"))


def test_sets_of_one_second_are_two_sets(backed):
    b = backed()
    names = [run.json["sets"][0]["set"] for run in (b.take(), b.take(), b.take())]
    assert len(set(names)) == 3
    assert len(list(b.place.glob("*manifest.json"))) == 3


def test_what_a_killed_run_left_is_swept_away(backed):
    b = backed(repl_diskless_sync_delay=3)
    taking = b.start()
    (lock,) = redis_server.wait_until(lambda: list(b.place.glob("*.lock")), "the lock")
    taking.kill()
    taking.communicate()
    redis_server.wait_until(lambda: not [p for p in b.place.iterdir() if "aof" in p.name], "the end of its agents")
    time.sleep(1.1)  # names have seconds
    left = json.loads(lock.read_text())["sets"][0]["files"]
    for name in left:
        (b.place / name).write_bytes(b"half a file")
    other = b.place / "bk20200101-000000-1-mine-1_of_1-1-0-16383.rdb.gz"
    other.write_bytes(b"somebody else's")
    forged = json.loads(lock.read_text())
    forged["sets"][0]["files"] += ["../outside", "ccs-redis.rdb", other.name[2:]]
    lock.write_text(json.dumps(forged))
    (b.folder / "outside").write_bytes(b"kept")
    assert b.faults(b.take()) == []
    assert not [name for name in left if (b.place / name).exists()]
    assert other.exists() and (b.folder / "outside").exists() and (b.place / "ccs-redis.rdb").exists()
    assert not lock.exists()


@pytest.mark.parametrize("how", ["size", "digest", "full"])
def test_what_was_written_is_read_back(backed, recovery, how):
    b = backed()
    run = b.take("--verify", how, "--compress", "none")
    assert run.json["sets"][0]["verified"] == how and b.faults_plain(run) == []


def test_the_location_fails_in_the_middle(backed, recovery):
    """A full disk: a file system of one megabyte."""
    b = backed()
    with b.primaries[0].connect() as c:
        list(c.pipeline([("SET", f"{{{b.names[0]}}}big:{i}", os.urandom(1000)) for i in range(4000)]))
    full = b.folder / "full"
    full.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(full)], check=False).returncode:
        pytest.skip("no file system of our own can be mounted here")
    try:
        b.place = full
        run = b.take(status=FAILED)
        assert run.says("space") and run.says("shard:"), run
        assert not [p for p in full.iterdir() if p.name != "ccs-redis.rdb"], list(full.iterdir())
    finally:
        subprocess.run(["umount", "-l", str(full)], check=True)


# --- what is there, and what goes ---

class Sets:
    """A location with sets that were never taken: (age in days, whether its file is there)."""

    def __init__(self, folder, recovery):
        self.place = folder / "old sets"
        self.place.mkdir()
        self.recovery = recovery

    def add(self, days, uid="1", whole=True, made_by="recluster 0.1.0", ccs=None):
        then = datetime.now(timezone.utc) - timedelta(days=days)
        stamp = then.strftime("%Y%m%d-%H%M%S")
        name = f"bk{stamp}-{uid}-app-1_of_1-1-0-16383.aof.gz"
        data = gzip.compress(b"REDIS0009\xff" + bytes(8))
        if whole:
            (self.place / name).write_bytes(data)
        manifest = {
            "recluster_manifest": 1, "set": stamp, "time": then.strftime("%Y-%m-%dT%H:%M:%SZ"), "made_by": made_by,
            "database": {"uid": uid, "name": f"app{uid}", "sharded": False},
            "files": [{"name": name, "kind": "aof", "bytes": len(data), "shard": "1"}]}
        if ccs:
            manifest["ccs"] = {"name": ccs}
            (self.place / ccs).write_bytes(b"a CCS file")
        (self.place / f"bk{stamp}-{uid}-recluster-manifest.json").write_text(json.dumps(manifest))
        return stamp

    def names(self):
        return sorted(p.name for p in self.place.iterdir())

    def expire(self, *words, status=DONE):
        return self.recovery.run("expire", self.place, *words, "--json", "--yes", status=status)


@pytest.fixture
def sets(folder, recovery):
    return Sets(folder, recovery)


def stamps(entries):
    return [e["set"] for e in entries]


def test_expire_keeps_what_rules_say(sets):
    old, older, oldest = (sets.add(days) for days in (0.01, 40, 80))
    other = sets.add(70, uid="2")
    before = sets.names()
    dry = sets.expire("--keep", "50d:1d", "--dry-run").json
    (place,) = dry["locations"]
    assert dry["dry_run"] and stamps(place["removed"]) == [oldest]
    assert sets.names() == before
    (place,) = sets.expire("--keep", "50d:1d").json["locations"]
    assert stamps(place["removed"]) == [oldest] and set(stamps(place["kept"])) == {old, older, other}
    assert not [n for n in sets.names() if oldest in n]
    assert len(sets.names()) == 6
    (place,) = sets.expire("--keep-last", "1").json["locations"]
    assert stamps(place["removed"]) == [older]


def test_expire_never_takes_the_last_good_set(sets):
    good = sets.add(400)
    sets.add(1, whole=False)
    sets.add(0.1, whole=False)
    (place,) = sets.expire("--keep", "1d:1h").json["locations"]
    assert place["removed"] == [] and len(place["kept"]) == 3
    assert next(e for e in place["kept"] if e["set"] == good)["why"]
    newer = sets.add(0.05)
    (place,) = sets.expire("--keep", "1d:1h").json["locations"]
    assert good in stamps(place["removed"]) and stamps(place["kept"]) == [newer]


def test_expire_leaves_files_of_others(sets):
    """Vendor files, a manifest by hand, names that lead elsewhere; a CCS file that another set has."""
    sets.add(0.01, ccs="bk-shared-ccs-redis.rdb")
    vendor = "bk20200101-000000-1-app-1_of_1-1-0-16383.rdb.gz"
    (sets.place / vendor).write_bytes(b"x")
    by_hand = sets.add(300, made_by="me")
    shared = sets.add(200, ccs="bk-shared-ccs-redis.rdb")
    alone = sets.add(201, ccs="bk-alone-ccs-redis.rdb")
    evil = sets.add(202)
    path = sets.place / f"bk{evil}-1-recluster-manifest.json"
    text = json.loads(path.read_text())
    text["files"] += [{"name": "../outside", "bytes": 1}, {"name": "ccs-redis.rdb"}]
    path.write_text(json.dumps(text))
    (sets.place.parent / "outside").write_bytes(b"x")
    (sets.place / "ccs-redis.rdb").write_bytes(b"x")
    (place,) = sets.expire("--keep-last", "1").json["locations"]
    assert set(stamps(place["removed"])) == {shared, alone, evil}
    assert {vendor, "ccs-redis.rdb", "bk-shared-ccs-redis.rdb"} <= set(sets.names())
    assert "bk-alone-ccs-redis.rdb" not in sets.names()
    assert [n for n in sets.names() if by_hand in n] and (sets.place.parent / "outside").exists()


def test_expire_asks_and_needs_a_rule(sets):
    sets.add(1)
    sets.add(2)
    assert sets.recovery.run("expire", sets.place, status=USAGE).says("--keep-last")
    assert sets.recovery.run("expire", sets.place, "--keep", "often", status=USAGE).says("--keep")
    refused = sets.recovery.run("expire", sets.place, "--keep-last", "1", status=REFUSED)
    assert refused.says("--yes") and len(sets.names()) == 4


def test_backups_lists_sets(sets, recovery):
    new, old = sets.add(1), sets.add(2)
    broken = sets.add(0.5, whole=False)
    (place,) = recovery.run("backups", sets.place, "--json").json["locations"]
    assert stamps(place["sets"]) == [broken, new, old]
    assert [s["complete"] for s in place["sets"]] == [False, True, True]
    assert [s["newest"] for s in place["sets"]] == [False, True, False]
    assert {s["form"] for s in place["sets"][1:]} == {"rdb+stream"}
    text = recovery.run("backups", sets.place)
    assert text.says(new) and text.says("the newest complete set"), text
    assert all(len(line) <= 80 for line in text.out.splitlines() if "/" not in line and "'" not in line), text
    assert recovery.run("backups", sets.place / "nowhere", status=FAILED).says("nowhere")


# --- logins, and databases of one shard ---

def least_rights(recovery, servers, password="back me up"):
    """Makes the user that `backup --acl` prints, with nothing else; its options."""
    words = recovery.run("backup", "--acl").out.splitlines()[1].split()
    assert words[:3] == ["ACL", "SETUSER", "backup"]
    for server in servers:
        with server.connect() as c:
            c.call(*[w.replace(">PASSWORD", f">{password}") for w in words])
    file = recovery.folder / "password"
    file.write_text(f"{password}\n")
    return "--user", "backup", "--password", file


@pytest.mark.releases("system", "valkey91")
def test_by_tls_with_the_least_rights(backed, folder, recovery):
    authority = Authority(folder / "ca")
    b = backed(tls=authority, password="the admin's")
    login = least_rights(recovery, b.live.servers)
    mine = authority.sign("admin")
    tls = "--tls-ca", authority.cert, "--tls-cert", mine.cert, "--tls-key", mine.key
    with b.writers(pause=0.001) as writers:
        writers.wait_for(10)
        run = b.take(*login, *tls)
        assert b.faults(run) == [], run
        for server in b.live.servers:
            with server.connect() as c:
                asked = {k.removeprefix("cmdstat_").replace("|", " ") for k in c.info("commandstats")}
                assert not asked & {"config set", "bgsave", "save", "monitor", "debug"}, asked
    wrong = folder / "wrong"
    wrong.write_text("no such password\n")
    refused = b.take("--user", "backup", "--password", wrong, *tls, status=FAILED)
    assert refused.says("refuses the login"), refused


def test_a_user_without_psync_is_told_what_he_lacks(backed, recovery):
    b = backed()
    login = least_rights(recovery, b.live.servers)
    for server in b.live.servers:
        with server.connect() as c:
            c.call("ACL", "SETUSER", "backup", "-psync")
    refused = b.take(*login, status=FAILED)
    assert refused.says("psync") and refused.says("recluster backup --acl"), refused
    assert not [p for p in b.place.iterdir() if p.name != "ccs-redis.rdb"]


@pytest.mark.releases("system", "redis60", "valkey91")
def test_a_primary_with_a_replica_behind_sentinels(folder, net, recovery, release):
    """One shard is one moment by itself: its data set, without a stream. Recovered as it was."""
    primary = redis_server.Server(folder / "p", net.old_node(0), 6379, "secret", release.program).start()
    replica = redis_server.Server(
        folder / "r", net.old_node(1), 6379, "secret", release.program, replicaof=f"{primary.addr} {primary.port}",
        replica_announce_ip=net.old_node(1)).start()
    redis_server.wait_for_replica(replica)
    sentinels = Sentinels(folder, net, "sessions", primary, release.program, "secret").start()
    with primary.connect() as c:
        c.call("SELECT", 3)
        list(c.pipeline([("SET", f"key {i}", i) for i in range(500)]))
        c.call("SET", "short", "life", "EX", 1000)
        c.call("SELECT", 0)
        before = contents.digest(c)
        forks = c.info("stats")["total_forks"] if release.version >= (6, 2, 0) else None
    password = folder / "password"
    password.write_text("secret\n")
    place = folder / "sets"
    place.mkdir()
    run = recovery.run("backup", f"{sentinels.servers[0][1]}:26379", "--password", password, "--to", place, "--json")
    (taken,) = run.json["sets"]
    assert len(taken["files"]) == 1 and taken["files"][0]["stream_bytes"] == 0, taken
    with primary.connect() as c:
        assert forks is None or c.info("stats")["total_forks"] == forks
    for server in (primary, replica):
        server.kill()
    for home, _, _ in sentinels.servers:
        redis_server.kill_by_pid_file(home / "sentinel.pid")
    recovery.ccs = place / "ccs-redis.rdb"
    recovery.sources = {f"db:{taken['database']['uid']}": str(place)}
    recovery.databases = {"db:1": {"sentinel": False}}
    recovery.add_hosts(2).write_hosts()
    recovery.recover()
    shards = recovery.status()["databases"][0]["shards"]
    assert len(shards) == 2
    for shard in shards:
        with resp.Connection(shard["addr"], shard["port"], "secret") as c:
            assert contents.digest(c).same_as(before)


def test_too_old_for_a_pause(backed):
    """redis60 has no pause of writes: no moment could be proven."""
    found = releases.find("redis60")
    if found is None:
        pytest.skip("no server redis60: sh fixtures/servers.sh redis60")
    b = backed(program=found.program)
    assert b.take(status=REFUSED).says("older than 6.2")


# --- units ---

@pytest.mark.parametrize("more", [("--every", "6h"), ("--follow", "--cuts", "2s")])
def test_units_start_what_was_asked(folder, recovery, more):
    run = recovery.run("backup", "10.0.0.1:6379", "--to", "s3://b/100%", "--forks", "3", *more, "--unit")
    words = next(line for line in run.out.splitlines() if line.startswith("ExecStart="))
    assert "backup 10.0.0.1:6379 --to s3://b/100%% " in words and "--forks 3" in words, run
    files = {}
    for line in run.out.splitlines(keepends=True):
        if line.startswith("# recluster-"):
            name = line[2:].strip()
        else:
            files.setdefault(locals().get("name", "recluster-archive.service"), []).append(line)
    if "--every" in more:
        assert set(files) == {"recluster-backup.service", "recluster-backup.timer"}
        assert "OnUnitActiveSec=21600\n" in files["recluster-backup.timer"] and "Restart=on-failure" in run.out
    else:
        assert set(files) == {"recluster-archive.service"} and "--follow" in words and "--cuts 2s" in words
        assert "Restart=always" in run.out
    for name, lines in files.items():
        (folder / name).write_text("".join(lines))
    if shutil.which("systemd-analyze"):
        for name in files:
            done = subprocess.run(
                ["systemd-analyze", "verify", folder / name], capture_output=True, text=True, check=False)
            assert "Unknown" not in done.stderr and "Invalid" not in done.stderr, done.stderr


def test_every_needs_a_unit(recovery):
    run = recovery.run("backup", "10.0.0.1:6379", "--to", "x", "--every", "6h", status=USAGE)
    assert run.says("--unit"), run


@pytest.fixture
def age(folder):
    """A private key, and its public one."""
    if not shutil.which("age-keygen"):
        pytest.skip("age is not installed")
    key = folder / "key"
    subprocess.run(["age-keygen", "-o", key], check=True, stderr=subprocess.DEVNULL)
    return key, subprocess.run(["age-keygen", "-y", key], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


MARK = "what nobody else may read"


def fill_marked(b, count=3000):
    """More than a block of age, and more than the beginning of a file that a plan reads."""
    for server, name in zip(b.primaries, b.names):
        with server.connect() as c:
            for i in range(count):
                c.call("SET", f"{{{name}}}mark:{i}", f"{MARK} {os.urandom(40).hex()}")


def assert_encrypted(b):
    for path in b.place.iterdir():
        if not path.name.endswith(".json"):
            assert path.read_bytes().startswith(b"age-encryption.org"), path
        assert MARK.encode() not in path.read_bytes() and b"secret of the cluster" not in path.read_bytes(), path


@pytest.mark.parametrize("form", ["rdb+stream", "rdb"])
def test_encrypted_sets(backed, recovery, release, age, folder, form):
    """Whoever has the key verifies, scans, splits and recovers them; nobody else does, and all are told what to do."""
    key, public = age
    (folder / "keys").write_text(f"# ours\n{public}\n")
    b = backed(password="secret of the cluster")
    fill_marked(b)
    (folder / "pw").write_text("secret of the cluster\n")
    options = ["--form", form, *(["--server", release.program] if form == "rdb" else [])]
    with b.writers(pause=0.002) as writers:
        writers.wait_for(10)
        run = b.take("--encrypt-to", folder / "keys", "--key", key, "--verify", "full", "--password", folder / "pw", *options)
    (taken,) = run.json["sets"]
    assert taken["encrypted"] == "age"
    assert_encrypted(b)
    without = recovery.run("verify", b.place, "--json", status=None)
    assert without.status != DONE and "--key FILE" in without.out + without.err, without
    verified = recovery.run("verify", b.place, "--key", key, "--json").json
    assert all(f["ok"] for f in verified["files"]) and verified["sets"][0]["complete"], verified
    file = b.place / taken["files"][0]["name"]
    if form == "rdb":
        scanned = recovery.run("rdb", "scan", file, "--key", key, "--json").json
        assert scanned["files"][0]["keys"] == taken["files"][0]["keys"], scanned
        recovery.run("rdb", "split", file, "--key", key, "--slots", f"0-100={folder / 'half.rdb'}")
        other = folder / "other key"
        subprocess.run(["age-keygen", "-o", other], check=True, stderr=subprocess.DEVNULL)
        assert recovery.run("rdb", "scan", file, "--key", other, status=None).says("no identity matched")
    for server in b.live.servers:
        server.kill()
    recovery.ccs = b.place / "ccs-redis.rdb"
    recovery.sources = {"db:1": str(b.place)}
    recovery.add_hosts(3, **({"relay": True} if form == "rdb" else {})).write_hosts()
    refused = recovery.recover(status=None)
    assert refused.status != DONE and refused.says("--key FILE"), refused
    recovery.recover("--key", key, "--until", "prepare")
    refused = recovery.resume(status=None)
    assert refused.status != DONE and refused.says("--key FILE"), refused
    recovery.resume("--key", key)
    held = [s for s in recovery.status()["databases"][0]["shards"] if s["role"] == "primary"]
    assert not any(key.read_text().split()[-1].encode() in p.read_bytes()
                   for p in (recovery.state, *(folder / "hosts").rglob("*")) if p.is_file()), "the key is on a disk"
    assert sum(keys_of(s, "secret of the cluster") for s in held) >= 9000


def keys_of(shard, password):
    with resp.Connection(shard["addr"], shard["port"], password=password) as c:
        return c.call("DBSIZE")


def test_a_timer_needs_no_private_key(backed, recovery, age, folder):
    """It has the public key alone, and a CCS file of the cluster, from which the databases have their numbers."""
    key, public = age
    b = backed()
    b.take("--encrypt-to", public)
    refused = b.take("--encrypt-to", public, status=USAGE)
    assert refused.says("--key FILE") and refused.says("in the place of the addresses"), refused
    mine = folder / "mine"
    mine.mkdir()
    recovery.run("capture", *b.live.addresses()[:1], "--to", mine)
    for _ in range(2):
        run = recovery.run("backup", mine / "ccs-redis.rdb", "--to", b.place, "--encrypt-to", public, "--json", timeout=120)
        assert run.json["sets"][0]["database"]["uid"] == "1", run
    assert all(f["ok"] for f in recovery.run("verify", b.place, "--key", key, "--json").json["files"])


def test_what_encryption_needs(backed, recovery, age):
    key, public = age
    b = backed()
    for words, said in (
            (("--compress", "none"), "needs --compress"), (("--verify", "full"), "needs --key FILE")):
        assert b.take("--encrypt-to", public, *words, status=USAGE).says(said)
    (b.folder / "bad").write_text("no key at all\n")
    assert b.take("--encrypt-to", b.folder / "bad", status=USAGE).says("not a file of public keys")
    assert b.take("--encrypt-to", "age1nonsense", status=FAILED).says("age")
    subprocess.run(["age", "-r", public, "-o", b.folder / "locked", key], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a phrase", "-f", b.folder / "asks"], check=True)
    for file, said in (("locked", "encrypted itself"), ("asks", "has a passphrase"), ("bad", "is not a private key")):
        assert b.take("--encrypt-to", public, "--key", b.folder / file, status=USAGE).says(said)
    assert list(b.place.iterdir()) == []
