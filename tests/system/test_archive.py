"""backup --follow: every moment of the index can be recovered, or is refused for a gap that is named."""

import json
import os
import signal
import time

import pytest

from harness import one_moment, redis_server, resp
from program import DONE, FAILED, REFUSED
from test_backup import Backed


class Archive(Backed):
    """A cluster with writers, and an archiver that follows it."""

    def follow(self, *more, env=None):
        self.process = self.recovery.start(
            "backup", *self.live.addresses()[:1], "--to", self.place, "--follow", "--cuts", "50ms", "--segment", "300ms",
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

    def recover_at(self, net, cut, name, status=DONE):
        """What the shards hold that are recovered as of this moment."""
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
        run = r.recover("--at", at, "--no-replicas", status=status)
        if status != DONE:
            return run
        database = r.status()["databases"][0]
        held = self.held([s for s in database["shards"] if s["role"] == "primary"])
        r.run("abort", "--state", r.state, "--yes", "--open-databases", "redis-7000", status=None)
        redis_server.kill_all_below(self.folder / "hosts")
        return held

    def held(self, shards):
        found = []
        for name in self.names:
            keys = {}
            for shard in shards:
                with resp.Connection(shard["addr"], shard["port"]) as c:
                    for word in ("last", "twin"):
                        for w in range(4):
                            try:
                                value = c.call("GET", f"{word}:{{{name}}}:{w}")
                            except resp.ReplyError:
                                continue
                            if value:
                                keys.update(one_moment.held(
                                    b"%s:{%s}:%d\r\n$1\r\n%s" % (word.encode(), name.encode(), w, value)))
            found.append(keys)
        return found


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


@pytest.mark.releases("system", "valkey91")
def test_moments_are_recovered(archive, net):
    """Three of them, each consistent over all shards, each later than the one before."""
    a = archive()
    with a.writers(pause=0.002) as writers:
        writers.wait_for(10)
        a.follow()
        time.sleep(4)
        said = a.stop()
    cuts = a.cuts()
    assert len(cuts) > 20, said
    last = 0
    for name, cut in (("first", cuts[0]), ("middle", cuts[len(cuts) // 2]), ("last", cuts[-1])):
        held = a.recover_at(net, cut, name)
        assert one_moment.faults(held, a.names) == []
        assert greatest(held) > last
        last = greatest(held)
