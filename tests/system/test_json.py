"""The JSON documents of the commands have the fields that recluster(1) documents, of these types."""

import gzip

import pytest

from program import DONE, REFUSED

NUMBER = (int, float)


def has(value, shape, where="document"):
    """Whether the value has the documented shape; more fields are fine.

    A shape is a type, a tuple of shapes of which one must do, None, a list with the shape of its
    items, a dict of fields, or {str: shape} for any names.
    """
    if isinstance(shape, tuple):
        problems = [_problem(value, s, where) for s in shape]
        assert not all(problems), "; ".join(problems)
        return
    if shape is None:
        assert value is None, f"{where}: {value!r} is not null"
    elif isinstance(shape, list):
        assert isinstance(value, list), f"{where}: {value!r} is not an array"
        for i, item in enumerate(value):
            has(item, shape[0], f"{where}[{i}]")
    elif isinstance(shape, dict):
        assert isinstance(value, dict), f"{where}: {value!r} is not an object"
        for name, inner in shape.items():
            if name is str:
                for key, item in value.items():
                    has(item, inner, f"{where}.{key}")
            else:
                assert name in value, f"{where}: no '{name}' in {sorted(value)}"
                has(value[name], inner, f"{where}.{name}")
    else:
        ok = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
        assert ok, f"{where}: {value!r} is not {shape}"


def _problem(value, shape, where):
    try:
        has(value, shape, where)
    except AssertionError as e:
        return str(e)
    return ""


RANGES = [[int]]
ISSUE = {"code": str, "message": str}
ENDPOINT = {"addr": str, "port": int}

INSPECT = {
    "cluster": {"name": (str, None)},
    "nodes": [{"uid": str}],
    "databases": [{
        "uid": str, "name": (str, None), "sharded": bool, "replicated": bool,
        "shards": [{"uid": str, "role": str, "node_uid": (str, None), "slots": RANGES}],
        "endpoints": [dict],
    }],
    "findings": [{"severity": str, "code": str, "message": str, "keys": [str]}],
}

PLAN = {
    "hash": str,
    "feasible": bool,
    "databases": [{
        "uid": str,
        "backup_set": ({"time": (str, None), "age_s": (int, None), "files": list}, None),
        "shards": [{
            "uid": str, "role": str, "host": (str, None), "port": (int, None), "slots": RANGES,
            "memory": int, "source": (str, dict, None),
        }],
        "endpoints": [ENDPOINT],
    }],
    "hosts": [{
        "name": str, "rack": (str, None), "memory": int, "planned_memory": int,
        "shards": (int, list),
    }],
    "stages": [{"stage": (str, int), "bytes": int, "seconds": NUMBER}],
    "blockers": [ISSUE],
    "warnings": [ISSUE],
}

STATUS = {
    "state": str,
    "databases": [{
        "uid": str, "name": (str, None), "state": str, "endpoints": [ENDPOINT],
        "shards": [{
            "uid": str, "role": str, "host": str, "addr": str, "port": int, "state": str,
            "keys": (int, None), "stage": (str, int, None),
        }],
    }],
    "tasks": {"done": int, "failed": int, "total": int},
    "rpo_s": (int, None),
    "rto_s": (*NUMBER, None),
    "next": (str, None),
}

VERIFY = {
    "files": [{
        "path": str, "ok": bool, "error": (str, dict, None), "rdb_version": (int, None),
        "keys": int, "expires": int, "keys_by_db": {str: int}, "checksum": str,
        "slots": {"covered": int, "ranges": RANGES}, "aux": {str: str},
    }],
}


@pytest.fixture
def two(cluster):
    return [
        cluster.add("orders", primaries=2, replicas=1, password="CANARY-one"),
        cluster.add("sessions", replicas=1, password="CANARY-two"),
    ]


def test_inspect(recovery, two):
    recovery.write()
    document = recovery.run("inspect", recovery.ccs, "--json").json
    has(document, INSPECT)
    assert document["cluster"]["name"] == "old.example.com"
    assert [n["uid"] for n in document["nodes"]] == ["1", "2", "3"]
    orders, sessions = document["databases"]
    assert (orders["name"], orders["sharded"], orders["replicated"]) == ("orders", True, True)
    assert (sessions["name"], sessions["sharded"]) == ("sessions", False)
    assert [s["slots"] for s in orders["shards"] if s["role"] == "primary"] == [
        [[0, 8191]], [[8192, 16383]]
    ]
    assert [f for f in document["findings"] if f["severity"] == "error"] == []


def test_inspect_finds_contradictions(recovery, cluster):
    made = cluster.add("orders", primaries=3, replicas=1)
    entries = cluster.entries()
    del entries[f"redis:{made.database.shards[1].uid}"]
    entries["redis:all"].add("77")
    recovery.write(entries)
    document = recovery.run("inspect", recovery.ccs, "--json", status=None).json
    has(document, INSPECT)
    named = {key for f in document["findings"] for key in f["keys"]}
    assert "bdb:1" in named and "redis:77" in str(document["findings"])


def test_plan(recovery, two):
    recovery.add_hosts(3).write()
    document = recovery.plan("--json").json
    has(document, PLAN)
    assert document["feasible"] is True and document["blockers"] == []
    assert len(document["databases"][0]["shards"]) == 4
    assert {h["name"] for h in document["hosts"]} == {"h1", "h2", "h3"}
    again = recovery.plan("--json").json
    assert again["hash"] == document["hash"]
    assert recovery.host_files() == [] and not recovery.state.exists()


def test_plan_with_blockers(recovery, two):
    recovery.add_hosts(1).write()
    document = recovery.plan("--json", status=REFUSED).json
    has(document, PLAN)
    assert document["feasible"] is False and document["blockers"]


def test_recover_status_report(recovery, two, folder):
    recovery.add_hosts(3).write()
    run = recovery.recover("--json")
    for event in run.events[1:-1]:
        has(event, {"at_ms": int, "event": str, "severity": str, "message": str})

    status = recovery.status()
    has(status, STATUS)
    assert status["state"] == "done"
    assert status["tasks"]["done"] == status["tasks"]["total"] > 0
    assert status["tasks"]["failed"] == 0
    keys = {s["uid"]: s["keys"] for d in status["databases"] for s in d["shards"]}
    assert all(keys.values()), keys

    report = recovery.run("report", "--state", recovery.state, "--json").json
    assert {"status", "plan", "findings", "events"} <= set(report)
    has(report["status"], STATUS)
    has(report["plan"], PLAN)
    text = recovery.run("report", "--state", recovery.state).out
    page_file = folder / "report.html"
    recovery.run("report", "--state", recovery.state, "--html", page_file)
    page = page_file.read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    for where in (text, page):
        for word in ("orders", "sessions", "h1", "planned"):
            assert word in where
    planned = {s["uid"]: (s["transfer_s"], s["load_s"]) for d in report["plan"]["databases"] for s in d["shards"]}
    assert planned == {p["uid"]: (p["planned_transfer_s"], p["planned_load_s"]) for p in report["proof"]}
    assert all(stage["planned_s"] is not None for stage in report["status"]["stages"])
    times = text[text.index("Times of the shards"):]
    assert all(f"shard:{uid} " in times for uid in planned)
    assert "http://" not in page.replace("http://www.w3.org/", "") and "src=" not in page


def test_verify(recovery, two, cluster):
    recovery.write()
    good, other = two[0].files
    bad = cluster.backups / "bad.rdb"
    bad.write_bytes(gzip.decompress(good.read_bytes())[:-20])
    document = recovery.run("verify", "--json", good, other).json
    has(document, VERIFY)
    assert [f["ok"] for f in document["files"]] == [True, True]
    assert sum(f["keys"] for f in document["files"]) == two[0].digest.keys
    assert sum(f["expires"] for f in document["files"]) == two[0].digest.expires
    assert document["files"][0]["checksum"] == "ok"
    head = gzip.decompress(good.read_bytes())[:100]
    assert document["files"][0]["rdb_version"] == int(head[5:9])
    assert document["files"][0]["aux"]["redis-ver"].encode() in head
    covered = document["files"][0]["slots"]
    assert covered["covered"] == sum(b - a + 1 for a, b in covered["ranges"]) > 0

    run = recovery.run("verify", "--json", good, bad, status=None)
    assert run.status != DONE
    document = run.json
    has(document["files"][0], VERIFY["files"][0])
    assert [f["ok"] for f in document["files"]] == [True, False]
    assert document["files"][1]["error"]
    run = recovery.run("verify", cluster.backups, status=None)
    assert run.status != DONE and run.says("bad.rdb")
    bad.unlink()
    run = recovery.run("verify", cluster.backups)
    assert run.says(good.name) and run.says(other.name)


def test_no_secret_in_anything_that_is_printed(recovery, two, folder):
    recovery.add_hosts(3).write()
    runs = [recovery.run("inspect", recovery.ccs), recovery.run("inspect", recovery.ccs, "--json")]
    runs += [recovery.plan(), recovery.plan("--json")]
    runs += [recovery.recover("--json", "--verbose"), recovery.run("status", "--state", recovery.state)]
    runs += [recovery.run("report", "--state", recovery.state, *more) for more in (
        [], ["--json"], ["--html", folder / "report.html"],
    )]
    for run in runs:
        assert "CANARY" not in run.out + run.err, run
    assert "CANARY" not in (folder / "report.html").read_text()
    for log in (folder / "hosts").rglob("*.log"):
        assert "CANARY" not in log.read_text(errors="replace")
    for entry in recovery.processes():
        assert "CANARY" not in entry
    # What has to hold secrets can be read by its owner only.
    assert recovery.state.stat().st_mode & 0o777 == 0o600
    for name in ("users.acl", "redis.conf", "shard.json"):
        for path in (folder / "hosts").rglob(name):
            assert path.stat().st_mode & 0o077 == 0, path
