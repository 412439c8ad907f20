"""backup: a set of a running cluster is one moment of all shards, and nothing is done to the servers."""

import gzip
import json
import subprocess

import pytest

from harness import contents, one_moment, redis_server, slots
from live_cluster import LiveCluster
from program import DONE, REFUSED


class Backed:
    """A cluster with writers on all shards, and where its backups go."""

    def __init__(self, folder, net, recovery, release, **options):
        self.folder = folder
        self.recovery = recovery
        self.live = LiveCluster(folder / "live", net, release.program, rdbcompression="no", **options).start()
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
            "backup", *self.live.addresses()[:1], "--to", self.place, "--compress", "gzip", "--json", *more,
            status=status, timeout=120)

    def faults(self, run):
        """Of the one set that the run took."""
        (taken,) = run.json["sets"]
        files = sorted(taken["files"], key=lambda f: f["slots"])
        assert [[tuple(r) for r in f["slots"]] for f in files] == [[r] for r in self.ranges]
        held = [one_moment.held(gzip.decompress((self.place / f["name"]).read_bytes())) for f in files]
        return one_moment.faults(held, self.names)


@pytest.fixture
def backed(folder, net, recovery, release):
    made = []

    def make(**options):
        made.append(Backed(folder, net, recovery, release, **options))
        return made[-1]
    return make


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
    b = backed()
    with b.writers() as writers:
        writers.wait_for(50)
        naive = [saved_one_after_other(b) for _ in range(5)]
        for _ in range(5):
            run = b.take()
            assert b.faults(run) == [], run
    assert any(naive), "a loop of BGSAVE was consistent five times: the writers are too slow"


@pytest.mark.releases("system", "redis80", "valkey91")
def test_a_set_is_verified_and_recovered(backed, recovery):
    """With data of all kinds, an expired key and another database's selection in the stream."""
    b = backed()
    made = contents.Digest()
    with b.writers(pause=0.002) as writers:
        for server, name in zip(b.primaries, b.names):
            with server.connect() as c:
                c.call("SET", f"{{{name}}}gone", "x", "PX", 1)
                for i in range(200):
                    c.call("HSET", f"{{{name}}}hash:{i}", "field", i)
        writers.wait_for(10)
        run = b.take()
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
    held = []
    for shard in sorted(recovery.status()["databases"][0]["shards"], key=lambda s: s["uid"]):
        if shard["role"] == "primary":
            held.append(shard)
    assert len(held) == 3
    found = []
    for name in b.names:
        keys = {}
        for shard in held:
            with redis_server.resp.Connection(shard["addr"], shard["port"]) as c:
                for word in ("last", "twin"):
                    for w in range(4):
                        try:
                            value = c.call("GET", f"{word}:{{{name}}}:{w}")
                        except redis_server.resp.ReplyError:
                            continue
                        if value:
                            keys.update(one_moment.held(b"%s:{%s}:%d\r\n$1\r\n%s" % (
                                word.encode(), name.encode(), w, value)))
        found.append(keys)
    assert one_moment.faults(found, b.names) == []
    assert all(found)
