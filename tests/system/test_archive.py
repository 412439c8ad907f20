"""backup --follow: every moment of the index can be recovered, or is refused for a gap that is named."""

import contextlib
import functools
import json
import random
import signal
import subprocess
import time

import pytest

from harness import contents, one_moment, redis_server, resp
from program import DONE, REFUSED
from test_backup import Backed, age, assert_encrypted, fill_marked, held_by, metrics_of  # noqa: F401 (a fixture)


class Archive(Backed):
    """A cluster with writers, and an archiver that follows it."""

    def follow(self, *more, env=None, seed=0):
        self.process = self.recovery.start(
            "backup", self.live.addresses()[seed], "--to", self.place, "--follow", "--cuts", "50ms", "--segment", "300ms",
            "--spool", self.folder / "spool", *more, env=env)
        return self.process

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=40)
        return out.decode() + err.decode()

    def cuts(self):
        """Of all minutes, oldest first."""
        found = []
        for path in sorted(self.place.glob("cuts-*.json")):
            found += json.loads(path.read_text())["cuts"]
        return found

    def wait_for_cuts(self, count, seconds=30):
        """The index is written every ten seconds."""
        redis_server.wait_until(lambda: len(self.cuts()) >= count, f"{count} moments", seconds)

    more = ()  # for the recovery

    def digest_at(self, net, cut, name):
        def look(shards):
            found = contents.Digest()
            for shard in shards:
                with resp.Connection(shard["addr"], shard["port"]) as c:
                    found += contents.digest(c)
            return found
        return self.recover_at(net, cut, name, look=look)

    def recover_at(self, net, cut, name, status=DONE, look=None):
        """What the shards hold that are recovered as of this moment; or the run, if it was refused."""
        look = look or (lambda shards: held_by(shards, self.names))
        r = self.recovery
        r.state = self.folder / f"{name}.state"
        r.hosts = []
        r.ccs = self.place / "ccs-redis.rdb"
        r.sources = {"db:1": str(self.place)}
        r.hosts_file = self.folder / f"{name}.json"
        for i in range(3):
            r.hosts.append({"name": f"h{i}", "addr": net.host(i + 1), "base_dir": str(self.folder / "hosts" / f"{name}{i}")})
        r.write_hosts()
        for server in self.live.servers:
            server.kill()
        at = f"{cut['time_ms'] / 1000:.3f}"
        run = r.recover("--at", at, "--no-replicas", *self.more, status=status)
        if run.status != DONE:
            return run
        database = r.status()["databases"][0]
        held = look([s for s in database["shards"] if s["role"] == "primary"])
        r.run("abort", "--state", r.state, "--yes", "--open-databases", "redis-7000", status=None)
        redis_server.kill_all_below(self.folder / "hosts")
        return held


@pytest.fixture
def archive(folder, net, recovery, release):
    made = []

    def make(**options):
        made.append(Archive(folder, net, recovery, release.program, **options))
        return made[-1]
    yield make
    for a in made:
        if a.process.poll() is None:
            a.process.kill()
            a.process.communicate()


def greatest(held):
    return max(n for keys in held for n, _ in keys.values())


def test_moments_are_recovered(archive, net):
    """Three of them, each consistent over all shards, each later than the one before."""
    check_moments(archive, net)


@pytest.mark.slow
@pytest.mark.releases("redis80", "valkey80", "valkey81", "valkey91")
def test_moments_of_other_releases(archive, net):
    check_moments(archive, net)


def check_moments(archive, net):
    a = archive()
    with a.writers(pause=0.002) as writers:
        writers.wait_for(10)
        a.follow("--metrics", a.folder / "metrics")
        time.sleep(4)
        said = a.stop()
    cuts = a.cuts()
    assert len(cuts) > 20, said
    check_verified(a)
    metrics = metrics_of(a.folder / "metrics")
    assert metrics['recluster_archive_streaming{database="redis-7000"}'] == 3
    assert 0 <= cuts[-1]["time_ms"] / 1000 - metrics['recluster_archive_archived_time_seconds{database="redis-7000"}'] < 5, metrics
    last = 0
    for name, cut in (("first", cuts[0]), ("middle", cuts[len(cuts) // 2]), ("last", cuts[-1])):
        held = a.recover_at(net, cut, name)
        assert one_moment.faults(held, a.names) == []
        assert greatest(held) > last
        last = greatest(held)


def check_verified(a):
    """All pieces are read; a segment that lost its end, or a byte, is found."""
    verified = a.recovery.run("verify", a.place, "--json").json["files"]
    segments = [f for f in verified if "/stream-" in f["path"]]
    assert len(segments) > 3 and all(f["ok"] for f in verified), verified
    victim = max(a.place.glob("stream-*"), key=lambda p: p.stat().st_size)
    whole = victim.read_bytes()
    for bad in (whole[:-5], whole[:20] + bytes([whole[20] ^ 255]) + whole[21:]):
        victim.write_bytes(bad)
        found = a.recovery.run("verify", a.place, "--json", status=1).json["files"]
        assert [f["path"] for f in found if not f["ok"]] == [str(victim)]
    victim.write_bytes(whole)


RICH = [
    ("SET", "{t}a", "1", "PX", 1000000), ("INCRBYFLOAT", "{t}f", "1.5"), ("INCR", "{t}n"), ("APPEND", "{t}a", "x"),
    ("SETRANGE", "{t}r", 5, "y"), ("GETSET", "{t}a", "2"), ("SETBIT", "{t}bits", 7, 1), ("BITOP", "NOT", "{t}not", "{t}bits"),
    ("BITFIELD", "{t}bits", "INCRBY", "u8", 0, 3), ("PFADD", "{t}hll", "a", "b"), ("PFMERGE", "{t}hll2", "{t}hll"),
    ("LPUSH", "{t}list", 1, 2, 3), ("RPOPLPUSH", "{t}list", "{t}list2"), ("LINSERT", "{t}list", "BEFORE", 2, 9),
    ("SADD", "{t}set", *range(50)), ("SPOP", "{t}set", 5), ("SMOVE", "{t}set", "{t}set2", 7), ("SUNIONSTORE", "{t}u", "{t}set", "{t}set2"),
    ("ZADD", "{t}z", 1.25, "a", 2, "b"), ("ZINCRBY", "{t}z", 0.1, "a"), ("ZPOPMIN", "{t}z"), ("ZRANGESTORE", "{t}z2", "{t}z", 0, -1),
    ("GEOADD", "{t}geo", 13.4, 52.5, "berlin"), ("HSET", "{t}h", "f", "v", "g", "w"), ("HINCRBYFLOAT", "{t}h", "n", "0.3"),
    ("HDEL", "{t}h", "g"), ("XADD", "{t}x", "MAXLEN", "~", 100, "*", "f", "v"), ("XGROUP", "CREATE", "{t}x", "group", "0"),
    ("XREADGROUP", "GROUP", "group", "me", "COUNT", 1, "STREAMS", "{t}x", ">"), ("XTRIM", "{t}x", "MAXLEN", 5),
    ("COPY", "{t}h", "{t}h2"), ("RENAME", "{t}h2", "{t}h3"), ("SORT", "{t}list", "STORE", "{t}sorted"), ("PERSIST", "{t}a"),
    ("EXPIRE", "{t}f", 5000), ("SET", "{t}gone", "x", "PX", 1), ("UNLINK", "{t}r"),
    ("EVAL", "redis.call('SET', KEYS[1], redis.call('TIME')[1]); redis.call('HSET', KEYS[2], 'r', math.random())", 2, "{t}time", "{t}rand"),
]


def play(b, rounds):
    for server, name in zip(b.primaries, b.names):
        with server.connect() as c:
            for i in range(rounds):
                for command in RICH:
                    try:
                        c.call(*[w.replace("{t}", f"{{{name}}}{i}:") if isinstance(w, str) else w for w in command])
                    except resp.ReplyError as e:
                        assert "BUSYGROUP" in str(e), (command, e)
            c.call("MULTI")
            c.call("SET", f"{{{name}}}multi", "1")
            c.call("INCR", f"{{{name}}}multi")
            c.call("EXEC")


@pytest.mark.releases("valkey91")
def test_commands_of_all_kinds_come_back(archive, net):
    check_commands(archive, net)


@pytest.mark.slow
@pytest.mark.releases("system", "redis80", "valkey80", "valkey81")
def test_commands_of_other_releases(archive, net):
    check_commands(archive, net)


def check_commands(archive, net):
    """At two moments when nothing was written: the same data, value by value, as the replicas had.

    Primaries of 7.0 know of groups of streams what they do not tell their replicas ("entries-read").
    """
    a = archive()
    play(a, 3)
    a.follow()
    a.wait_for_cuts(1)
    truths = []
    for more in (20, 3):
        play(a, more)
        time.sleep(0.3)  # moments of now
        truth = contents.Digest()
        for server in a.live.servers[3:]:
            with server.connect() as c:
                c.call("READONLY")
                truth += contents.digest(c)
        truths.append((time.time(), truth))
        time.sleep(0.3)
    said = a.stop()
    cuts = a.cuts()
    for i, (at, truth) in enumerate(truths):
        cut = max((c for c in cuts if c["time_ms"] <= at * 1000 + 250), key=lambda c: c["time_ms"])
        assert a.digest_at(net, cut, f"r{i}").same_as(truth), (i, said)


# --- whatever happens meanwhile ---

def check_all(a, net, count, said):
    """Each of `count` moments is consistent when it is recovered, or it is refused with the shard that has a gap."""
    cuts = a.cuts()
    assert len(cuts) >= count, said
    good = 0
    for i in range(count):
        cut = cuts[i * (len(cuts) - 1) // (count - 1)]
        found = a.recover_at(net, cut, f"c{i}", status=(DONE, REFUSED))
        if isinstance(found, list):
            assert one_moment.faults(found, a.names) == [], (cut, said)
            good += 1
        else:
            assert found.says("shard:"), found
    return good


@pytest.mark.slow
def test_the_archiver_is_killed(archive, net):
    """And started again, twice: the stream goes on where it was, without a gap."""
    a = archive()
    with a.writers(pause=0.005) as writers:
        writers.wait_for(10)
        for i in range(3):
            a.follow()
            a.wait_for_cuts(1) if i == 0 else time.sleep(2)
            if i < 2:
                a.process.kill()
                a.process.communicate()
                written = [cut["time_ms"] for cut in a.cuts()]
                time.sleep(0.5)
        time.sleep(1)
        said = a.stop()
    assert "has a gap" not in said, said
    assert set(written) <= {cut["time_ms"] for cut in a.cuts()}, "moments of the same minute are lost"
    assert len(list(a.place.glob("base-*"))) == 3, "a new data set was needed"
    assert check_all(a, net, 4, said) == 4


@pytest.mark.slow
def test_a_data_set_that_fails_is_taken_again(archive, net):
    """The source dies in the middle of the first one: without it no moment could be recovered."""
    a = archive(repl_diskless_sync_delay=2)
    with a.writers(pause=0.005) as writers:
        writers.wait_for(10)
        a.follow()
        time.sleep(1)
        a.live.servers[3].kill()
        a.wait_for_cuts(1)
        time.sleep(8)
        said = a.stop()
    assert len({p.name.split("-")[2] for p in a.place.glob("base-*")}) == 3, said
    assert check_all(a, net, 2, said) >= 1


@pytest.mark.slow
def test_the_location_is_out_of_order(archive, net):
    """What cannot be written waits, and is written later."""
    a = archive()
    with a.writers(pause=0.005) as writers:
        writers.wait_for(10)
        a.follow()
        a.wait_for_cuts(1)
        away = a.place.rename(a.folder / "away")
        a.place.write_text("no folder")
        time.sleep(3)
        a.place.unlink()
        away.rename(a.place)
        time.sleep(7)
        said = a.stop()
    assert "warning" in said
    assert check_all(a, net, 3, said) == 3


@pytest.mark.slow
def test_the_source_is_killed(archive, net):
    """The replica that a stream comes from: the next source has the same bytes."""
    a = archive()
    with a.writers(pause=0.005) as writers:
        writers.wait_for(10)
        a.follow()
        a.wait_for_cuts(1)
        a.live.servers[3].kill()
        time.sleep(3)
        said = a.stop()
    assert check_all(a, net, 3, said) == 3
    assert len(list(a.place.glob("base-*"))) == 3, said


@pytest.mark.slow
def test_a_primary_is_killed(archive, net):
    """A failover: the stream goes on under another id, or begins again behind a gap."""
    a = archive()
    with a.writers(pause=0.005) as writers:
        writers.wait_for(10)
        a.follow()
        a.wait_for_cuts(1)
        before = len(a.cuts())
        a.primaries[0].kill()
        time.sleep(14)
        said = a.stop()
        assert len(a.cuts()) > before + 10, said
        assert "its primary is" in said, said
        bases = len(list(a.place.glob("base-*")))
        # Started again, it goes on with the same streams, although the shard has another primary.
        a.follow(seed=1)
        time.sleep(3)
        said += a.stop()
        assert len(list(a.place.glob("base-*"))) == bases, said
    good = check_all(a, net, 5, said)
    assert good >= 4, said


@pytest.mark.slow
def test_an_encrypted_archive(archive, net, age):
    """Its data sets and segments as well."""
    key, public = age
    a = archive()
    fill_marked(a)
    with a.writers(pause=0.005) as writers:
        writers.wait_for(10)
        a.follow("--encrypt-to", public, "--key", key)
        a.wait_for_cuts(1)
        time.sleep(2)
        said = a.stop()
    assert_encrypted(a)
    a.more = "--key", key
    assert check_all(a, net, 2, said) == 2


def test_much_is_written(archive):
    """A data set is taken when the stream behind the last one has become long."""
    a = archive()
    a.follow("--rto", "20ms", "--base-every", "1d")
    a.wait_for_cuts(1)
    assert len(list(a.place.glob("base-*"))) == 3
    with a.primaries[0].connect() as c:
        for i in range(300):
            c.call("SET", f"{{{a.names[0]}}}big", "x" * 10000)
    redis_server.wait_until(lambda: len(list(a.place.glob("base-*"))) >= 4, "another data set")
    said = a.stop()
    assert {p.name.split("-")[2] for p in a.place.glob("base-*") if len(list(a.place.glob(f"base-1-{p.name.split('-')[2]}-*"))) > 1} \
        == {"1"}, said


class Deaths:
    """What ends by itself, at random: the archiver, a source, a primary. The cluster loses nothing of it."""

    def __init__(self, a, seed):
        self.a = a
        self.random = random.Random(seed)
        self.count = {"archiver": 0, "source": 0, "primary": 0}
        shards = len(a.primaries)
        self.pairs = [(a.live.servers[i], a.live.servers[i + shards]) for i in range(shards)]

    def _find(self, shard):
        """The server that is primary, and its connection."""
        for server in self.pairs[shard]:
            with contextlib.suppress(OSError, resp.ReplyError):
                c = server.connect()
                if c.info("replication")["role"] == "master":
                    return server, c
                c.close()
        raise OSError("no primary now")

    def primary_of(self, shard):
        """For the writers."""
        return self._find(shard)[1]

    def _split(self, shard):
        server, c = self._find(shard)
        c.close()
        first, second = self.pairs[shard]
        return (first, second) if server is first else (second, first)

    def archiver(self):
        self.a.process.kill()
        self.a.process.communicate()
        self.a.follow(seed=self.random.randrange(len(self.a.live.servers)))

    def source(self):
        _, replica = self._split(self.random.randrange(len(self.pairs)))
        replica.kill()
        time.sleep(self.random.random())
        replica.start()
        redis_server.wait_for_replica(replica)

    def primary(self):
        """What was answered has reached the replica, so that the cluster itself loses nothing."""
        primary, replica = self._split(self.random.randrange(len(self.pairs)))
        with self.writers.held_back():
            redis_server.wait_for_replica(replica)
            primary.kill()
            with replica.connect() as c:
                redis_server.wait_until(lambda: c.info("replication")["role"] == "master", "a failover", 60)
            primary.start()
            redis_server.wait_for_replica(primary)

    def happen(self, writers, count):
        self.writers = writers
        for _ in range(count):
            what = self.random.choice(list(self.count))
            getattr(self, what)()
            self.count[what] += 1
            writers.wait_for(2, 60)
            time.sleep(self.random.random())


def check_deaths(archive, net, count, restored):
    a = archive()
    deaths = Deaths(a, time.time_ns())
    targets = [functools.partial(deaths.primary_of, i) for i in range(len(a.primaries))]
    with one_moment.Writers(targets, a.names, pause=0.005) as writers:
        writers.wait_for(5)
        a.follow()
        a.wait_for_cuts(1)
        deaths.happen(writers, count)
        time.sleep(12)  # an index is written each ten seconds
        said = a.stop()
    good = check_all(a, net, restored, said)
    print(deaths.count, f"{good} of {restored} moments")
    assert good >= restored * 2 // 3, (deaths.count, said)


def test_random_deaths(archive, net):
    """Each moment is right, or refused with the shard that has a gap."""
    check_deaths(archive, net, 3, 2)


@pytest.mark.slow
@pytest.mark.releases("system", "valkey91")
def test_many_random_deaths(archive, net):
    check_deaths(archive, net, 100, 20)


@pytest.mark.slow
def test_a_shard_is_removed(archive, net):
    """All its slots move to another: the archive goes on with those that are left, and moments of both times are right."""
    a = archive()
    ids = []
    for server in a.primaries:
        with server.connect() as c:
            ids.append(c.call("CLUSTER", "MYID").decode())
    deaths = Deaths(a, 0)
    home = [0, 1, 2]  # the shard whose primary has the slots now

    def to_owner(i):
        for shard in (i, 0):
            c = deaths.primary_of(shard)
            with contextlib.suppress(resp.ReplyError):
                c.call("TTL", f"{{{a.names[i]}}}x")
                return c
            c.close()
        raise OSError("the slot is on its way")

    with one_moment.Writers([functools.partial(to_owner, i) for i in home], a.names, pause=0.02) as writers:
        writers.wait_for(5)
        a.follow()
        a.wait_for_cuts(1)
        moved = subprocess.run(
            ["redis-cli", "--cluster", "reshard", a.live.addresses(0)[0], "--cluster-from", ids[2], "--cluster-to", ids[0],
             "--cluster-slots", "16384", "--cluster-yes", "--cluster-pipeline", "50"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        assert moved.returncode == 0, moved.stdout[-500:]
        before = len(a.cuts())
        writers.wait_for(3, 60)
        a.wait_for_cuts(before + 20, 60)
        said = a.stop()
    assert "other shards now: 2 instead of 3" in said, said
    cuts = a.cuts()
    for name, cut in (("three", cuts[0]), ("two", cuts[-1])):
        held = a.recover_at(net, cut, name)
        assert len(held[0]) >= 4 and one_moment.faults(held, a.names) == [], (name, said)


# --- what is there, and what goes ---

def test_an_archive_is_listed_and_expires(archive, net, recovery):
    """Moments that stay can still be recovered; the bases and segments of older ones are gone."""
    a = archive()
    with a.writers(pause=0.005) as writers:
        writers.wait_for(10)
        a.follow("--base-every", "3s")
        time.sleep(12)
        said = a.stop()
    (place,) = recovery.run("backups", a.place, "--json").json["locations"]
    (listed,) = place["archives"]
    assert listed["bases"] >= 6 and listed["segments"] > 20, (listed, said)
    assert listed["first"] < listed["newest"] <= listed["last"]
    text = recovery.run("backups", a.place)
    assert text.says("any moment from") and text.says(listed["first"]), text
    before = {p.name for p in a.place.iterdir()}
    dry = recovery.run("expire", a.place, "--keep-archive", "4s", "--dry-run", "--json").json
    (old,) = dry["locations"][0]["archives"]
    assert {p.name for p in a.place.iterdir()} == before and old["bytes"] > 0
    cuts = a.cuts()
    recovery.run("expire", a.place, "--keep-archive", "4s", "--yes")
    gone = before - {p.name for p in a.place.iterdir()}
    assert {n.split("-")[0] for n in gone} >= {"base", "stream"}, gone
    last = [cut for cut in cuts if cut["time_ms"] > cuts[-1]["time_ms"] - 2000]
    for i, cut in enumerate((last[0], last[-1])):
        assert one_moment.faults(a.recover_at(net, cut, f"e{i}"), a.names) == []
    found = a.recover_at(net, cuts[0], "old", status=(DONE, REFUSED))
    assert not isinstance(found, list), "a moment that has expired was recovered"
