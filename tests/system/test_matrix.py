"""From each release to each: all that its servers may hold, in three databases of different kinds."""

import gzip
import random
import shutil
import time

import pytest

from dead_cluster import STAMP, commands
from harness import ccs_file, contents, redis_server, releases, slots
from program import DONE, REFUSED
from test_landing import starts
from test_replicas import sync_full_of_primaries
from test_resume import KILLED, carry_on

NAMES = ("system", *releases.NAMES)
REDIS_8 = ("redis80", "redis80s")
VALKEY_8 = ("valkey80", "valkey81", "valkey91")
# Who loads what a release writes, and how a refusal tells of the others' files.
LOADED_BY = {
    "redis60": NAMES,
    "system": ("system", *REDIS_8, *VALKEY_8),
    "valkey80": (*REDIS_8, *VALKEY_8),
    "valkey81": (*REDIS_8, *VALKEY_8),
    "redis80": REDIS_8,
    "redis80s": REDIS_8,
    "valkey91": ("valkey91",),
}
REFUSED_AS = {
    "system": "has RDB version 10", "valkey80": "has RDB version 11", "valkey81": "has RDB version 11",
    "redis80": "has RDB version 12", "redis80s": "has RDB version 12",
    "valkey91": "was written by Valkey 9 or newer",
}
CELLS = [a if a == b else (a, b) for a in NAMES for b in LOADED_BY[a]]
REFUSALS = [(a, b) for a in NAMES for b in NAMES if b not in LOADED_BY[a]]
IN_EACH_RUN = ["redis80", "valkey91"]


def slow(servers):
    return pytest.param(servers, marks=pytest.mark.slow)


def encodings(writer, release, rng):
    """Keys in each encoding that the writer has, small and large; the streams have groups.

    Vector sets only if the hosts' servers are as new: Redis 8.0.2 does not load those of 8.0.6.
    """
    yield from ([b"SET", b"lzf", b"again " * 900], [b"SET", b"raw", rng.randbytes(9000)])
    for n in (7, 300, 70_000, 1 << 40, -(1 << 60)):
        yield [b"SET", b"int:%d" % n, n]
        yield [b"SADD", b"intset:%d" % n, *range(n, n + 9)]
    for n in (5, 900):
        each = [b"%d:" % i + rng.randbytes(i % 40) for i in range(n)]
        yield [b"SADD", b"set:%d" % n, *each]
        yield [b"RPUSH", b"list:%d" % n, *each]
        yield [b"HSET", b"hash:%d" % n, *(part for i, e in enumerate(each) for part in (e, i))]
        yield [b"ZADD", b"zset:%d" % n, *(part for i, e in enumerate(each) for part in (i / 7, e)),
               "-inf", "first", "inf", "last"]
        yield from ([b"XADD", b"stream:%d" % n, f"{i + 1}-7", "f", e, "g", i] for i, e in enumerate(each))
        yield from ([b"XDEL", b"stream:%d" % n, "3-7"], [b"XTRIM", b"stream:%d" % n, "MAXLEN", n - 2])
        for group in ("one", "two"):
            yield [b"XGROUP", "CREATE", b"stream:%d" % n, group, "2-7"]
            yield from ([b"XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "STREAMS", b"stream:%d" % n, ">"]
                        for consumer in ("alice", "bob"))
        yield [b"XACK", b"stream:%d" % n, "one", "4-7"]
    yield [b"RPUSH", b"list of long ones", rng.randbytes(20_000), b"x", rng.randbytes(20_000)]
    yield from ([b"PFADD", b"hll", *range(500)], [b"GEOADD", b"geo", 13.3, 38.1, "p"], [b"SETBIT", b"bits", 70_000, 1])
    if writer.version >= (7, 4) and not writer.is_valkey or writer.version >= (9,):
        for n in (3, 700):
            key = b"fields:%d" % n
            yield [b"HSET", key, *(part for i in range(n) for part in (f"f{i}", i))]
            yield [b"HEXPIRE", key, 86400, "FIELDS", 2, "f0", "f1"]
            yield [b"HEXPIRE", key, 7200, "FIELDS", 1, "f2"]
    if not writer.is_valkey and (8,) <= writer.version <= release.version:
        for how in ("NOQUANT", "Q8", "BIN"):
            for element in ("a", "b", "c"):
                yield [b"VADD", b"vectors:" + how.encode(), "VALUES", 3, *(rng.random() for _ in range(3)), element,
                       how, "SETATTR", '{"of":"%s"}' % element]


def key_of(command):
    at = {b"XGROUP": 2, b"XREADGROUP": -2}
    return command[at.get(command[0], 1)]


def libraries():
    for name in ("one", "two"):
        yield ["FUNCTION", "LOAD", "REPLACE",
               f"#!lua name={name}\nredis.register_function('{name}', function() return '{name}' end)"]


def facts(c, numbers, **how):
    """Digests of the numbered databases, and the libraries."""
    found = []
    for n in numbers:
        c.call("SELECT", n)
        found.append(contents.digest(c, **how))
    c.call("SELECT", 0)
    has_functions = c.call("COMMAND", "INFO", "FUNCTION") not in (None, [None])
    return found, sorted(map(repr, c.call("FUNCTION", "LIST", "WITHCODE"))) if has_functions else []


class World:
    """The three databases, and what a server of the hosts' release makes of their files."""

    def __init__(self, cluster, recovery, writer, release, refused=False):
        for one in (writer, release):
            if one.name == "system" and one.version[:2] != (7, 0):
                pytest.skip("the system's server is not Redis 7.0")
        self.cluster, self.recovery, self.writer, self.release = cluster, recovery, writer, release
        self.refused = refused
        self.wanted = {}  # by id: digests of databases 0, 1, 3, and the libraries
        self.made = [
            self._add("orders", 3, 1, password="one"),
            self._add("sessions", 1, 1, packed=False, data_persistence="aof"),
            self._add("old", 2, 0, policy="legacy"),
        ]
        recovery.add_hosts(3)

    def _add(self, name, primaries, replicas, packed=True, policy="16k", **more):
        made = self.cluster.add(name, primaries=primaries, replicas=replicas, keys=None, policy=policy, **more)
        made.digest = contents.Digest()
        numbers = [0] if made.sharded else [0, 1, 3]
        total, functions = [contents.Digest() for _ in numbers], []
        for i, shard in enumerate(made.database.primaries):
            owned = shard.ranges
            if policy == "legacy":
                owned = [r for a, b in owned for r in slots.legacy_to_open(a, b)]
            path = self.cluster.backups / ccs_file.backup_name(STAMP, made.database, i + 1, shard).removesuffix(".gz")
            self._write(path, owned, numbers, made, ("allkeys-lfu", "allkeys-lru")[i % 2])
            if not self.refused:
                found, functions = self._loaded(path, numbers)
                total = [a + b for a, b in zip(total, found)]
            if packed:
                packed_path = path.with_name(path.name + ".gz")
                packed_path.write_bytes(gzip.compress(path.read_bytes(), 1))
                path.unlink()
                path = packed_path
            made.files.append(path)
        made.digest = total[0]
        self.wanted[made.database.uid] = total, functions
        return made

    def _write(self, path, owned, numbers, made, policy):
        """By a server process of its own: each has its own order of what it saves."""
        self.cluster.scratch_settings = {"maxmemory-policy": policy}
        rng = random.Random(made.database.name)
        with self.cluster.scratch.connect() as c:
            for n in numbers:
                c.call("SELECT", n)
                everything = [*((key, command) for key, command in commands(400, n)),
                              *((key_of(command), command) for command in encodings(self.writer, self.release, rng))]
                for _ in c.pipeline([command for key, command in everything if slots.holds(owned, slots.of_key(key))]):
                    pass
            if self.writer.version >= (7,):
                for _ in c.pipeline(list(libraries())):
                    pass
            self.written = facts(c, numbers, as_before_7=True)
        shutil.copyfile(self.cluster.scratch.save(), path)
        self.cluster.end_scratch()
        (self.cluster.folder / "scratch" / "dump.rdb").unlink()

    def _loaded(self, path, numbers):
        """What a server of the hosts' release has that is started on the file: all of what was written."""
        folder = self.cluster.folder / "oracle"
        shutil.rmtree(folder, ignore_errors=True)
        server = redis_server.Server(folder, self.cluster.net.addr(6), 6379, program=self.release.program)
        shutil.copyfile(path, folder / "dump.rdb")
        with server.start().connect() as c:
            found = facts(c, numbers, as_before_7=True)
            assert found == self.written, f"{path.name}: {found}, not {self.written}"
            found = facts(c, numbers)
        server.kill()
        return found

    def recover(self, *options, kills=(), status=DONE):
        """The recovery, killed at these commits of its runs; how many seconds it took."""
        self.recovery.write()
        began = time.monotonic()
        for i, n in enumerate(kills):
            how = {"env": {"RECLUSTER_TEST_KILL_AT": n}, "status": KILLED}
            if i:
                carry_on(self.recovery, **how)
            else:
                self.recovery.recover(*options, **how)
        if kills:
            carry_on(self.recovery, status=status)
        else:
            self.recovery.recover(*options, status=status)
        return time.monotonic() - began

    def assert_all_is_back(self):
        """On primaries and, database by database, on replicas; how many full copies were sent."""
        copies = 0
        for made in self.made:
            wanted, functions = self.wanted[made.database.uid]
            shards = self.recovery.database(made)["shards"]
            replicas = len(made.database.shards) > len(made.database.primaries)
            for role in ("primary", "replica")[: 1 + replicas]:
                got = [contents.Digest() for _ in wanted]
                for shard in (s for s in shards if s["role"] == role):
                    with self.recovery.connect_admin(made, shard) as c:
                        self.recovery.assert_role(c, made, role)
                        found, libraries_of_it = facts(c, [0] if made.sharded else [0, 1, 3])
                        assert libraries_of_it == functions, (shard, libraries_of_it)
                    got = [a + b for a, b in zip(got, found)]
                for a, b in zip(got, wanted):
                    assert a.same_as(b), f"{made.database.name}, {role}: {got}, not {wanted}"
            copies += sync_full_of_primaries(self.recovery, made)
        return copies


@pytest.fixture
def world(cluster, recovery, writer, release):
    return World(cluster, recovery, writer, release)


@pytest.fixture
def note(record_property):
    """Puts a cell's figures into the results of the run."""
    def put(seconds, copies):
        record_property("seconds", f"{seconds:.1f}")
        record_property("sync_full", copies)
    return put


def copies_to(release, replicas=4):
    """Before 7.0 no server attaches to a primary that has loaded the same file."""
    return replicas if release.version < (7,) else 0


@pytest.mark.releases(*(cell if cell in IN_EACH_RUN else slow(cell) for cell in CELLS))
def test_all_is_back(recovery, world, release, note):
    seconds = world.recover()
    copies = world.assert_all_is_back()
    note(seconds, copies)
    assert copies == copies_to(release)
    for made in world.made:
        recovery.assert_recovered(made)


@pytest.mark.releases(*map(slow, REFUSALS))
def test_what_no_server_loads_is_refused(cluster, recovery, writer, release):
    """By the plan, before anything is started; file, versions and what to do are named."""
    world = World(cluster, recovery, writer, release, refused=True)
    recovery.write()
    run = recovery.recover(status=REFUSED)
    assert run.says(REFUSED_AS[writer.name]), run
    assert any(run.says(file.name) for made in world.made for file in made.files), run
    kind = "valkey" if release.is_valkey else "redis"
    assert run.says(f"{kind} {'.'.join(map(str, release.version))} on 'h1'") and run.says("Install "), run
    assert recovery.server_folders() == [] and recovery.running_servers() == []


@pytest.mark.parametrize("count, kills", [
    (5, ()), pytest.param(2, (), marks=pytest.mark.slow), pytest.param(4, (20, 30), marks=pytest.mark.slow)])
@pytest.mark.releases(*IN_EACH_RUN, *map(slow, [
    "redis60", "system", "valkey81", ("system", "valkey91"), ("redis60", "valkey81")]))
def test_another_number_of_shards(recovery, world, release, note, count, kills):
    seconds = world.recover("--shards", f"db:1={count}", kills=kills)
    copies = world.assert_all_is_back()
    note(seconds, copies)
    shards = recovery.database(world.made[0])["shards"]
    assert [s["role"] for s in shards].count("primary") == [s["role"] for s in shards].count("replica") == count
    assert copies == copies_to(release, count + 1)


@pytest.mark.slow
@pytest.mark.releases(("system", "redis80"), "system", *REDIS_8, *VALKEY_8)
@pytest.mark.parametrize("landing", [False, True], ids=["", "landing"])
def test_full_sync(recovery, world, note, landing):
    seconds = world.recover("--full-sync", *["--load-while-landing", "always"] * landing)
    copies = world.assert_all_is_back()
    note(seconds, copies)
    assert copies == 4
    assert starts(recovery) == [1] * 10


@pytest.mark.slow
@pytest.mark.releases(*NAMES, ("system", "valkey91"))
@pytest.mark.parametrize("kills", [(), (12, 24, 36, 48)], ids=["", "killed"])
def test_landing(recovery, world, release, note, kills):
    """A server that reads its file while it comes is the one that is opened, if nothing was killed."""
    seconds = world.recover("--load-while-landing", "always", kills=kills)
    copies = world.assert_all_is_back()
    note(seconds, copies)
    assert copies == copies_to(release)
    assert kills or starts(recovery) == [1] * 10
    assert seconds < 55


@pytest.mark.slow
@pytest.mark.releases(*NAMES, ("system", "valkey91"), ("redis60", "valkey81"))
@pytest.mark.parametrize("kills", [(15, 25, 35), (40, 5, 60)], ids=lambda kills: "-".join(map(str, kills)))
def test_killed_three_times(world, release, note, kills):
    seconds = world.recover(kills=kills)
    copies = world.assert_all_is_back()
    note(seconds, copies)
    assert copies == copies_to(release)


@pytest.mark.slow
@pytest.mark.parametrize("servers, older", [
    (("system", "redis80"), "system"), (("system", "redis80"), "valkey81"), (("system", "valkey91"), "system"),
], indirect=["servers"], ids=["redis", "both", "valkey"])
@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
def test_hosts_with_two_releases(recovery, world, release, note, older, turned):
    """No replica is placed on a server that is older than its primary's."""
    older = releases.find(older)
    assert older, "the servers of all releases are needed"
    both = [release, older] if turned else [older, release]
    for i, host in enumerate(recovery.hosts):
        host["server"] = both[i % 2].program
    seconds = world.recover()
    copies = world.assert_all_is_back()
    note(seconds, copies)
    assert copies == 0
    on = {host["name"]: both[i % 2] for i, host in enumerate(recovery.hosts)}
    for made in world.made[:2]:
        owner = {s.uid: s.ranges for s in made.database.shards}
        shards = recovery.database(made)["shards"]
        for primary in (s for s in shards if s["role"] == "primary"):
            for replica in (s for s in shards if s["role"] == "replica" and owner[s["uid"]] == owner[primary["uid"]]):
                assert (on[primary["host"]], on[replica["host"]]) != (release, older), (primary, replica)
