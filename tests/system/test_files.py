"""Backup files that people have: what servers load comes back, what they refuse is known before."""

import json
from types import SimpleNamespace

import pytest

from harness import contents, slots
from harness.rdb_bytes import (
    LATER_MS, aux, expiry, gz, head, length, rdb, select, sizes, string, strings, text, zstd,
)
from program import DONE, FAILED, REFUSED

MARK = b"4e0367cbc2c3a44ed03a8bbb470d46c381a8236b"
GOOD = rdb(head() + select(0) + sizes(3, 1) + strings("a", "b") + expiry() + string("c"))
EMPTY = (b"\x02" + text("set") + length(0) + b"\x04" + text("hash") + length(0)
         + b"\x01" + text("list") + length(0) + b"\x05" + text("zset") + length(0)
         + b"\x10" + text("packed") + text(b"\x07\x00\x00\x00\x00\x00\xff"))


def keys_of(recovery, made):
    """All keys of the recovered primaries, with the values of strings."""
    found = {}
    for shard in recovery.database(made)["shards"]:
        if shard["role"] != "primary":
            continue
        with recovery.connect(made, shard) as c:
            for key in c.call("KEYS", "*"):
                assert key not in found, "a key is on two shards"
                found[key.decode()] = c.call("GET", key).decode()
    return found


def put(folder, files):
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return folder


def recover_file(cluster, recovery, folder, data, *options, name="dump.rdb", replicas=0, status=DONE):
    made = cluster.add("plain", replicas=replicas, keys=None)
    place = put(folder / "place", {name: data})
    if not recovery.hosts:
        recovery.add_hosts(1 + replicas)
    recovery.write()
    run = recovery.recover("--source", f"db:1={place}", *options, status=status)
    return made, run


LOADED = {
    "an aux field with a NUL": (
        rdb(head() + aux("lua", b'return "\0"') + select(0) + strings("a"), 9), {"a"}),
    "the mark of a diskless transfer": (GOOD + MARK, {"a", "b", "c"}),
    "a newline": (GOOD + b"\n", {"a", "b", "c"}),
    "mark and newline, gzipped": (gz(GOOD + MARK + b"\n"), {"a", "b", "c"}),
    "zeros behind gzip": (gz(GOOD) + b"\0" * 512, {"a", "b", "c"}),
    "a frame that zstd skips": (
        b"\x50\x2a\x4d\x18\x04\0\0\0" + b"size" + zstd(GOOD), {"a", "b", "c"}),
    "collections without elements": (rdb(head() + select(0) + strings("a") + EMPTY), {"a"}),
    "an aux field between an expiry and its key": (
        rdb(head() + select(0) + aux("mvcc-tstamp", "16710892") + strings("a")
            + expiry() + aux("mvcc-tstamp", "16710893") + string("c"), 9), {"a", "c"}),
    "false size hints": (
        rdb(head() + select(0) + b"\xfb" + 2 * (b"\x81" + (1 << 33).to_bytes(8, "big"))
            + strings("a")), {"a"}),
}


@pytest.mark.parametrize("replicas", [0, 1], ids=["alone", "with a replica"])
@pytest.mark.parametrize("what", LOADED)
def test_what_servers_load_comes_back(what, replicas, cluster, recovery, folder):
    data, expected = LOADED[what]
    made, _ = recover_file(cluster, recovery, folder, data, replicas=replicas)
    assert set(keys_of(recovery, made)) == expected
    proofs = recovery.run("report", "--state", recovery.state, "--json").json["proof"]
    assert all(p["proven"] for p in proofs), proofs
    if "elements" in what:
        assert proofs[0]["keys_in_file"] == 6 and proofs[0]["empty"] == 5
        assert recovery.run("report", "--state", recovery.state).says("5 of the keys in the files have no")
    if "hints" in what:
        shard = recovery.database(made)["shards"][0]
        with recovery.connect(made, shard) as c:
            assert int(c.info("memory")["used_memory"]) < 64 << 20


@pytest.mark.parametrize("what", LOADED)
def test_verify_takes_what_servers_load(what, recovery, folder):
    data, expected = LOADED[what]
    place = put(folder / "place", {"dump.rdb": data})
    entry = recovery.run("verify", place, "--json").json["files"][0]
    assert entry["ok"] and entry["keys"] == len(expected) + entry["empty"]
    if "elements" in what:
        assert entry["empty"] == 5
    split = recovery.run(
        "rdb", "split", place / "dump.rdb", "--shards", 2, "--out", folder / "parts", "--json").json
    assert sum(o["keys"] for o in split["outputs"]) == entry["keys"]
    joined = recovery.run(
        "rdb", "join", *sorted((folder / "parts").iterdir()), "--out", folder / "one.rdb", "--json").json
    assert joined["outputs"][0]["keys"] == entry["keys"]
    again = recovery.run("rdb", "scan", folder / "one.rdb", "--json").json["files"][0]
    assert again["expires"] == entry["expires"] and again["empty"] == entry["empty"]


ZERO_PAGE = rdb(
    head() + select(0) + sizes(400) + b"".join(string(f"k{i}", "v" * 20) for i in range(100))
    + b"\0" * 3000 + b"".join(string(f"k{i}", "v" * 20) for i in range(100, 400)), 9, checksum=False)
TWICE = rdb(head() + select(0) + sizes(3) + string("a", "1") + string("b", "2") + string("a", "3"))
REFUSED_FILES = {
    "twice": (TWICE, "the key 'a' of database 0 is there twice"),
    "zeros": (ZERO_PAGE, "zero bytes begin"),
    "tail": (GOOD + b"REDIS", "bytes after the end of the data"),
}


@pytest.mark.parametrize("what", REFUSED_FILES)
def test_what_servers_refuse_is_known_before_they_are_asked(what, cluster, recovery, folder):
    data, words = REFUSED_FILES[what]
    place = put(folder / "other", {"dump.rdb": data})
    assert recovery.run("verify", place, status=FAILED).says(words)
    assert recovery.run("rdb", "scan", place / "dump.rdb", status=FAILED).says(words)
    made, run = recover_file(cluster, recovery, folder, data, status=REFUSED)
    assert run.says(words), run
    assert not recovery.running_servers()


def test_bytes_behind_the_end_can_be_cut_off_as_it_says(recovery, folder):
    place = put(folder / "place", {"dump.rdb": GOOD + b"REDIS"})
    run = recovery.run("verify", place, status=FAILED)
    assert run.says("(5 in all)") and run.says("its checksum fits") and run.says(f"head -c {len(GOOD)} ")


def test_the_log_of_a_server_that_ends_tells_why(cluster, recovery, folder):
    """The file is whole, but a value in it is damaged: only a server looks into it."""
    bad = b"\x0d" + text("h") + text(b"\x20\0\0\0" + b"x" * 28)
    made, run = recover_file(
        cluster, recovery, folder, rdb(head() + select(0) + strings("a") + bad), status=FAILED)
    assert run.says("its log says: Internal error in RDB reading"), run
    assert not run.says("opening an issue") and run.says("finds the file damaged"), run


# --- slots that were being moved ---


def named(recovery, cluster, files):
    """A set of two files with the vendor's names, of a database of two shards."""
    made = cluster.add("orders", primaries=2, keys=None)
    names = [f"bk20261120-030000-1-orders-{i + 1}_of_2-{s.uid}-{a}-{b}.rdb"
             for i, s in enumerate(made.database.primaries) for a, b in s.ranges]
    put(cluster.backups, dict(zip(names, files)))
    recovery.add_hosts(1).write()
    return made


def test_keys_of_a_half_moved_slot_are_joined(cluster, recovery):
    first = rdb(head() + select(0) + strings("b", "c", "{a}1"))
    second = rdb(head() + select(0) + strings("{a}2", "foo"))
    made = named(recovery, cluster, [first, second])
    recovery.recover("--resort")
    found = keys_of(recovery, made)
    assert set(found) == {"b", "c", "{a}1", "{a}2", "foo"}
    owner = {k.decode(): s["uid"] for s in recovery.database(made)["shards"]
             for k in recovery.connect(made, s).call("KEYS", "*")}
    assert owner["{a}1"] == owner["{a}2"] != owner["b"]


def test_of_a_key_in_two_files_the_owners_copy_counts(cluster, recovery):
    first = rdb(head() + select(0) + strings("b") + string("{a}1", "stale"))
    second = rdb(head() + select(0) + string("{a}1", "right") + strings("foo"))
    made = named(recovery, cluster, [first, second])
    run = recovery.recover("--resort")
    assert keys_of(recovery, made) == {"b": "v", "{a}1": "right", "foo": "v"}
    events = recovery.run("report", "--state", recovery.state, "--json").json["events"]
    event = next(e for e in events if e["code"] == "key-in-two-files")
    assert event["severity"] == "warning" and "'{a}1' in slot 15495" in event["message"], event
    assert run.says("keys in two files: 1"), run


def nodes_json(place, files, open_slot=None):
    """What redis-cli --cluster backup writes; open_slot: (slot, index it leaves, index it comes to)."""
    ids = [f"{i:040x}" for i in range(1, len(files) + 1)]
    nodes = []
    for i, (a, b) in enumerate(slots.split(len(files))):
        node = {"name": ids[i], "host": "127.69.0.1", "port": 7801 + i, "replicate": None,
                "slots": [[a, b]], "slots_count": b - a + 1, "flags": "master", "current_epoch": i + 1}
        if open_slot and i == open_slot[1]:
            node["migrating"] = {str(open_slot[0]): ids[open_slot[2]]}
        if open_slot and i == open_slot[2]:
            node["importing"] = {str(open_slot[0]): ids[open_slot[1]]}
        nodes.append(node)
    put(place, {f"redis-node-127.69.0.1-{7801 + i}-{ids[i]}.rdb": f for i, f in enumerate(files)})
    put(place, {"nodes.json": nodes})
    return place / "nodes.json"


def test_of_an_open_slot_the_importing_sides_copy_counts(recovery, folder):
    slot = slots.of_key(b"{a}1")
    files = [rdb(head() + select(0) + strings("b") + string("{a}1", "later")),
             rdb(head() + select(0) + string("{a}1", "earlier") + strings("{a}2"))]
    recovery.add_hosts(1).write_hosts()
    recovery.ccs = nodes_json(folder / "saved", files, (slot, 1, 0))
    assert recovery.plan().says(f"the slot {slot} was being moved")
    recovery.recover("--resort")
    found = {}
    for shard in recovery.status()["databases"][0]["shards"]:
        with recovery.connect(Plain(recovery), shard) as c:
            for key in c.call("KEYS", "*"):
                found[key.decode()] = c.call("GET", key).decode()
    assert found == {"b": "v", "{a}1": "later", "{a}2": "v"}


class Plain:
    """The database of a nodes.json: its password is made by the recovery."""

    def __init__(self, recovery):
        self.database = SimpleNamespace(uid="1")
        self.password = recovery.secret("target.password", self)


def test_join_names_the_key_that_is_in_two_files(recovery, folder):
    place = put(folder / "place", {
        "a.rdb": rdb(select(0) + strings("b", "{a}1")), "b.rdb": rdb(select(0) + strings("{a}2")),
        "c.rdb": rdb(select(0) + strings("{a}1"))})
    run = recovery.run("rdb", "join", place / "a.rdb", place / "b.rdb", "--out", folder / "ab.rdb", "--json")
    assert run.json["outputs"][0]["keys"] == 3
    run = recovery.run("rdb", "join", place / "a.rdb", place / "c.rdb", "--out", folder / "ac.rdb",
                       status=REFUSED)
    assert run.says("'{a}1'") and run.says("a.rdb") and run.says("c.rdb") and run.says("--take")


# --- data of modules that no key uses ---

MODULE_AUX = (b"\xf7\x81" + bytes.fromhex("45e25238df912c03") + b"\x02\x02\x05" + text("str") + b"\x00")


def test_data_of_a_module_that_no_key_uses_is_left_out(cluster, recovery, folder):
    data = rdb(head() + MODULE_AUX + select(0) + strings("a", "b"))
    made, run = recover_file(cluster, recovery, folder, data, replicas=1)
    assert set(keys_of(recovery, made)) == {"a", "b"}
    assert run.says("ReJSON-RL"), run
