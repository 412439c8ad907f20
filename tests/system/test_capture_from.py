"""capture --from: the file that a cluster of Redis Enterprise writes itself is taken off its nodes."""

import json
import shutil
import time

import pytest

from program import USAGE
from test_capture_follow import Follower, follower  # noqa: F401
from harness.redis_server import wait_until


@pytest.fixture
def nodes(cluster, recovery):
    """The folders of two nodes with the CCS file of a cluster; save(node, name) writes it anew."""
    folders = [recovery.folder / f"node {n}" / "ccs" for n in (1, 2)]
    for folder in folders:
        folder.mkdir(parents=True)
    cluster.add("orders")

    def save(node, name, ctime=None):
        cluster.databases[0].database.name = name
        path = cluster.write_ccs()
        data = path.read_bytes()
        if ctime:
            data = with_ctime(data, ctime)
        (folders[node] / "ccs-redis.rdb").write_bytes(data)
    save.folders = folders
    return save


def with_ctime(data, ctime):
    """The file with another time of saving, and without a checksum."""
    at = data.index(b"\xfa\x05ctime") + 7
    length = 1 + {0xC2: 4, 0xC1: 2, 0xC0: 1}.get(data[at], data[at])
    return data[:at] + b"\x0a%d" % ctime + data[at + length:-8] + b"\0" * 8


def name_of(recovery, path):
    return recovery.run("inspect", path, "--json").json["databases"][0]["name"]


def test_the_newest_that_is_whole_is_taken(recovery, nodes):
    now = int(time.time())
    nodes(0, "older", now - 100)
    nodes(1, "newer", now - 50)
    place = recovery.folder / "safe"
    place.mkdir()
    sources = [w for f in nodes.folders for w in ("--from", f / "ccs-redis.rdb")]
    recovery.run("capture", *sources, "--to", place)
    assert name_of(recovery, place / "ccs-redis.rdb") == "newer"
    assert (place / "ccs-redis.rdb").read_bytes() == (nodes.folders[1] / "ccs-redis.rdb").read_bytes()
    # A copy that is cut, or gone, is named and left out.
    data = (nodes.folders[1] / "ccs-redis.rdb").read_bytes()
    (nodes.folders[1] / "ccs-redis.rdb").write_bytes(data[:-30])
    run = recovery.run("capture", *sources, "--to", place)
    assert name_of(recovery, place / "ccs-redis.rdb") == "newer" and "node 2" in run.err
    # Other locations get the newest too, whichever of them has it.
    second = recovery.folder / "second"
    second.mkdir()
    recovery.run("capture", *sources, "--to", second)
    assert name_of(recovery, second / "ccs-redis.rdb") == "older"
    recovery.run("capture", *sources, "--to", second, "--to", place)
    assert name_of(recovery, second / "ccs-redis.rdb") == name_of(recovery, place / "ccs-redis.rdb") == "newer"
    # One that is damaged is replaced, if another is whole.
    (second / "ccs-redis.rdb").write_bytes(data[:100])
    recovery.run("capture", *sources, "--to", second, "--to", place)
    assert name_of(recovery, second / "ccs-redis.rdb") == "newer"
    (nodes.folders[0] / "ccs-redis.rdb").unlink()
    before = (place / "ccs-redis.rdb").read_bytes()
    recovery.run("capture", *sources, "--to", place, status=None)
    assert (place / "ccs-redis.rdb").read_bytes() == before
    recovery.run("capture", "10.0.0.1:1", *sources, "--to", place, status=USAGE)


def test_it_is_followed(recovery, nodes, follower):  # noqa: F811
    now = int(time.time())
    nodes(0, "first", now - 100)
    sources = [w for f in nodes.folders for w in ("--from", f / "ccs-redis.rdb")]
    f = follower(sources, recovery.folder / "safe").start()
    newest = recovery.folder / "safe" / "ccs-redis.rdb"
    wait_until(lambda: newest.exists() and name_of(recovery, newest) == "first", "the first file")
    nodes(1, "second", now - 50)
    wait_until(lambda: name_of(recovery, newest) == "second", "the second file")
    nodes(0, "stale", now - 80)  # the other node was away, and comes back with an old copy
    time.sleep(3)
    assert name_of(recovery, newest) == "second"
    for folder in nodes.folders:
        shutil.move(folder, str(folder) + " away")
    wait_until(lambda: "asking again" in f.log.read_text(), "the warning")
    for folder in nodes.folders:
        shutil.move(str(folder) + " away", folder)
    nodes(0, "third", now - 10)
    wait_until(lambda: name_of(recovery, newest) == "third", "the third file")
    assert len(list((recovery.folder / "safe").glob("ccs-redis-2*.rdb"))) == 3
    f.end()
    # Started again, it does not take what it has.
    f.start()
    wait_until(lambda: "still true" in f.log.read_text(), "the second start")
    assert json.loads((recovery.folder / "safe" / "ccs-redis.json").read_text())["answered"] == 2
    # Nor an older one, if the node with the newest is away.
    f.end()
    for node in (0, 1):
        nodes(node, "stale", now - 60)
    f.start()
    wait_until(lambda: f.log.read_text().count("still true") == 2, "the third start")
    time.sleep(2)
    assert name_of(recovery, newest) == "third"
