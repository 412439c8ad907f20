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
