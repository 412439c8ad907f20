"""`recluster rdb`: real servers load what it writes, and hold what they held before."""

import gzip
import random

import pytest

from harness import contents, network, redis_server
from program import FAILED, REFUSED, USAGE


@pytest.fixture
def run(recovery):
    """The program, in the test's folder."""
    return recovery.run


def server(folder, net, name, **settings):
    return redis_server.Server(folder / name, net.host(1), network.free_port(net.host(1)), **settings)


def fill(c, count=2000, seed=7):
    """Keys of every kind, some in hash tags, some that expire, binary ones, and a library."""
    pick = random.Random(seed)
    commands = []
    for i in range(count):
        tag = f"{{user{i % 50}}}:" if i % 3 else ""
        commands.append(("SET", f"{tag}string:{i}", pick.randbytes(pick.randrange(100))))
        if i % 10 == 0:
            commands += [
                ("RPUSH", f"{tag}list:{i}", *[pick.randbytes(30) for _ in range(i % 60 + 1)]),
                ("HSET", f"{tag}hash:{i}", *range(2 * (i % 200) + 2)),
                ("SADD", f"{tag}set:{i}", *range(i % 600 + 1)),
                ("ZADD", f"{tag}zset:{i}", *[v for m in range(i % 200 + 1) for v in (m / 3, f"m{m}")]),
                ("XADD", f"{tag}stream:{i}", "*", "field", i),
                ("SET", f"{tag}later:{i}", i, "EX", "100000"),
                ("SET", b"bin\x00ary\xff" + str(i).encode(), "x" * 5000),
            ]
    commands.append(("SET", "the largest", pick.randbytes(50000)))
    commands.append((
        "FUNCTION", "LOAD",
        "#!lua name=lib\nredis.register_function('f', function(keys, args) return 1 end)",
    ))
    for _ in c.pipeline(commands):
        pass


@pytest.fixture
def saved(folder, net):
    """A server's RDB file and what it held."""
    source = server(folder, net, "source").start()
    with source.connect() as c:
        fill(c)
        digest = contents.digest(c)
    path = source.save()
    source.kill()
    return path, digest


def load(folder, net, path, name, **settings):
    """A server that was started on a copy of the file."""
    s = server(folder, net, name, **settings)
    (s.folder / "dump.rdb").write_bytes(path.read_bytes())
    return s.start()


def test_split_and_joined_files_load_with_every_key(run, folder, net, saved):
    path, digest = saved
    parts = run("rdb", "split", path, "--shards", 3, "--out", folder / "parts", "--json").json
    assert parts["source"]["left_out"] == 0
    assert sum(o["keys"] for o in parts["outputs"]) == parts["source"]["keys"]
    assert [o["slots"] for o in parts["outputs"]] == [
        [[0, 5460]], [[5461, 10922]], [[10923, 16383]]
    ]
    files = [o["path"] for o in parts["outputs"]]
    together = contents.Digest()
    for i, output in enumerate(parts["outputs"]):
        s = load(folder, net, folder / output["path"], f"part{i}")
        with s.connect() as c:
            assert c.call("DBSIZE") == output["keys"]
            assert c.call("FCALL", "f", 0) == 1
            together += contents.digest(c)
        s.kill()
    assert together.same_as(digest)

    run("rdb", "join", *files, "--out", folder / "joined.rdb")
    with load(folder, net, folder / "joined.rdb", "joined").connect() as c:
        assert contents.digest(c).same_as(digest)
        assert c.call("FCALL", "f", 0) == 1
    assert not list(folder.rglob("*.part"))


def test_split_files_make_a_cluster(run, folder, net, saved):
    path, digest = saved
    run("rdb", "split", path, "--shards", 3, "--out", folder / "parts")
    servers, layout = [], []
    for i, part in enumerate(sorted(
        (folder / "parts").iterdir(), key=lambda p: int(p.stem.split("-")[1])
    )):
        first, last = map(int, part.stem.split("-")[1:])
        s = server(folder, net, f"node{i}", cluster_enabled="yes")
        (s.folder / "dump.rdb").write_bytes(part.read_bytes())
        servers.append(s)
        layout.append((s, [(first, last)], None))
    redis_server.write_cluster(layout)
    for s in servers:
        s.start()
    redis_server.wait_for_cluster(servers)
    together = contents.Digest()
    for s in servers:
        assert "importing" not in (s.folder / "server.log").read_text().lower()
        with s.connect() as c:
            together += contents.digest(c)
    assert together.same_as(digest)


def test_servers_on_one_stamped_file_come_into_step_with_no_data_sent(run, folder, net, saved):
    path, digest = saved
    packed = folder / "backup.rdb.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    stamped = run(
        "rdb", "join", packed, "--out", folder / "stamped.rdb", "--stamp", "--json"
    ).json["outputs"][0]
    primary = load(folder, net, folder / "stamped.rdb", "primary")
    replica = load(
        folder, net, folder / "stamped.rdb", "replica", replicaof=f"{primary.addr} {primary.port}"
    )
    redis_server.wait_for_replica(replica)
    with primary.connect() as c, replica.connect() as r:
        stats = c.info("stats")
        assert (stats["sync_full"], stats["sync_partial_ok"]) == ("0", "1")
        assert c.info("replication")["master_replid2"] == stamped["repl_id"]
        assert contents.digest(r).same_as(digest)
        c.call("SET", "written later", "x")
        assert c.call("WAIT", 1, 5000) == 1
        assert r.call("GET", "written later") == b"x"


def test_scan_says_what_a_file_holds(run, folder, net, saved):
    path, _ = saved
    facts = run("rdb", "scan", path, "--json").json["files"][0]
    assert facts["ok"] and facts["checksum"] == "ok"
    assert facts["functions"] == 1 and facts["oldest"]["by_content"]["redis"] >= "7.0"
    assert facts["kinds"]["stream"] == 200 and sum(facts["kinds"].values()) == facts["keys"]
    assert {o["name"] for o in facts["opcodes"]} >= {"functions"}
    sizes = [k["bytes"] for k in facts["largest"]]
    assert len(sizes) == 10 and sizes == sorted(sizes, reverse=True)
    assert bytes.fromhex(facts["largest"][0]["key"]) == b"the largest" and sizes[0] > 50000
    text = run("rdb", "scan", path)
    assert facts["oldest"]["by_content"]["redis"] != facts["oldest"]["redis"] or text.says("needed for ")
    assert text.says(f"loads on Redis {facts['oldest']['redis']} or newer")
    head = run("rdb", "head", path, "--json").json["files"][0]
    assert head["rdb_version"] == facts["rdb_version"]
    assert head["aux"]["redis-ver"] == facts["aux"]["redis-ver"]


def test_memory_is_estimated_well(run, folder, net):
    """Within a fifth of what the server then says, for each kind by itself."""
    for kind, command in {
        "string": lambda i: ("SET", f"key:{i}", "v" * (i % 300)),
        "number": lambda i: ("SET", f"key:{i}", 10000000 + i),
        "hash": lambda i: ("HSET", f"key:{i}", *range(20)),
        "zset": lambda i: ("ZADD", f"key:{i}", *range(20)),
        "large hash": lambda i: ("HSET", f"key:{i % 10}", *[f"{i}:{k}" for k in range(20)]),
        "large zset": lambda i: ("ZADD", f"key:{i % 10}", *[v for k in range(10) for v in (k, f"{i}:{k}")]),
        "large set": lambda i: ("SADD", f"key:{i % 10}", *[f"{i}:{k}" for k in range(10)]),
        "list": lambda i: ("RPUSH", f"key:{i % 100}", *["v" * 50] * 20),
        "expiring": lambda i: ("SET", f"key:{i}", "v", "EX", 100000),
    }.items():
        s = server(folder, net, kind.replace(" ", "-")).start()
        with s.connect() as c:
            before = int(c.info("memory")["used_memory"])
            for _ in c.pipeline([command(i) for i in range(8000)]):
                pass
            took = int(c.info("memory")["used_memory"]) - before
        path = s.save()
        estimate = run("rdb", "scan", path, "--json").json["files"][0]["memory"]
        s.kill()
        assert 0.8 < estimate / took < 1.25, f"{kind}: {estimate} for {took}"


def test_only_named_slots_are_written_and_the_rest_is_counted(run, folder, net, saved):
    path, _ = saved
    done = run(
        "rdb", "split", path, "--slots", f"0-99={folder / 'a.rdb'}",
        "--slots", f"100-199,300={folder / 'b.rdb'}", "--json",
    ).json
    written = sum(o["keys"] for o in done["outputs"])
    assert 0 < written == done["source"]["keys"] - done["source"]["left_out"]
    facts = run("rdb", "scan", folder / "b.rdb", "--json").json["files"][0]
    for first, last in facts["slots"]["ranges"]:
        assert 100 <= first <= last <= 199 or first == last == 300


def test_join_refuses_a_slot_of_two_files_unless_it_is_told_whose_counts(run, folder, net, saved):
    path, _ = saved
    run("rdb", "split", path, "--slots", f"0-8000={folder / 'low.rdb'}")
    out = folder / "all.rdb"
    refused = run("rdb", "join", folder / "low.rdb", path, "--out", out, status=REFUSED)
    assert refused.says("has keys in more than one of the files")
    assert not out.exists() and not list(folder.glob("*.part"))
    done = run(
        "rdb", "join", folder / "low.rdb", path, "--out", out,
        "--take", f"8001-16383={path}", "--json",
    ).json
    assert done["outputs"][0]["keys"] == run("rdb", "scan", path, "--json").json["files"][0]["keys"]


def test_nothing_is_written_over_and_nothing_stays_of_a_failure(run, folder, net, saved):
    path, _ = saved
    out = folder / "it's \"mine\".rdb"
    out.write_text("precious")
    assert run("rdb", "join", path, "--out", out, status=REFUSED).says("exists already")
    assert out.read_text() == "precious"

    damaged = folder / "damaged.rdb"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    before = sorted(p.name for p in folder.iterdir())
    assert run("rdb", "join", damaged, "--out", folder / "x.rdb", status=REFUSED).says("wrong checksum")
    assert run("rdb", "split", folder / "none.rdb", "--slots", "1=y.rdb", status=FAILED)
    assert sorted(p.name for p in folder.iterdir()) == before
    bad = run("rdb", "scan", damaged, path, "--json", status=FAILED).json["files"]
    assert [f["ok"] for f in bad] == [False, True] and "checksum" in bad[0]["error"]


@pytest.mark.parametrize("args", [
    ["frob", "x.rdb"],
    ["split", "x.rdb"],
    ["split", "x.rdb", "--shards", "0", "--out", "p"],
    ["split", "x.rdb", "--shards", "3"],
    ["split", "x.rdb", "--slots", "5"],
    ["split", "x.rdb", "--slots", "0-16384=a.rdb"],
    ["split", "x.rdb", "--slots", "0-5=a.rdb", "--slots", "5=b.rdb"],
    ["split", "x.rdb", "--slots", "0-5=a.rdb", "--slots", "6=a.rdb"],
    ["join", "x.rdb"],
    ["join", "x.rdb", "--out", "a.rdb", "--take", "5=y.rdb"],
    ["scan", "x.rdb", "--out", "a.rdb"],
    ["scan"],
])
def test_wrong_usage_is_told(run, folder, args):
    assert run("rdb", *args, status=USAGE).err.strip()
    assert not list(folder.glob("*.rdb*"))
