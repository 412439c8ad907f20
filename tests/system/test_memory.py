"""What takes too much memory to read ends in an error that names it, and leaves nothing half done."""

import contextlib
import gzip
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from harness.rdb_bytes import head, rdb, select, string
from program import PROGRAM, REFUSED

LIMIT = 56 << 20


def run(folder, *args):
    """Runs it with little address space, as `ulimit -v` gives."""
    done = subprocess.run(
        [str(PROGRAM), *map(str, args)], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
        check=False, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
    )
    assert done.returncode >= 0, f"ended by signal {-done.returncode}\n{done.stderr}"
    return done


def bomb(folder, value, count=450_000):
    path = folder / "bomb.json.gz"
    path.write_bytes(gzip.compress(b'{"bdb:1":{"a":[' + b",".join([value] * count) + b"]}}"))
    return path


@pytest.fixture
def large_key(tmp_path):
    path = tmp_path / "large.rdb"
    path.write_bytes(rdb(head() + select(0) + string("k" * (80 << 20)) + string("next"), checksum=False))
    return path


@pytest.mark.parametrize("value, count", [(b"[]", 450_000), (b"1.5", 900_000), (b'"x"', 900_000)])
def test_a_ccs_file(tmp_path, value, count):
    path = bomb(tmp_path, value, count)
    done = run(tmp_path, "inspect", path)
    assert done.returncode == REFUSED, done.stderr
    assert f"CCS file '{path}' takes more memory to read than the limit, 56 MB\n" in done.stderr
    assert "ulimit -v" in done.stderr and done.stdout == ""


def test_a_ccs_file_of_a_plan(tmp_path):
    path = bomb(tmp_path, b"[]")
    host = {"name": "a", "addr": "127.0.0.1", "link": "local", "base_dir": str(tmp_path / "a")}
    (tmp_path / "hosts.json").write_text(json.dumps({"hosts": [host]}))
    done = run(tmp_path, "recover", path, "--hosts", "hosts.json", "--state", "new.state", "--yes")
    assert done.returncode == REFUSED and f"CCS file '{path}' takes more memory" in done.stderr
    assert not (tmp_path / "new.state").exists()


def test_a_file_that_is_scanned(tmp_path, large_key):
    done = run(tmp_path, "rdb", "scan", large_key)
    assert done.returncode == REFUSED
    assert f"'large.rdb' in '{tmp_path}' takes more memory to read than the limit" in done.stderr


def test_a_file_that_is_cut_leaves_no_outputs(tmp_path, large_key):
    done = run(tmp_path, "rdb", "split", large_key, "--shards", "2", "--out", "parts")
    assert done.returncode == REFUSED and "'large.rdb'" in done.stderr
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_file_that_is_verified_among_others(tmp_path, large_key):
    good = tmp_path / "good.rdb"
    good.write_bytes(rdb(head() + select(0) + string("k")))
    done = run(tmp_path, "verify", tmp_path, "--json")
    assert done.returncode == REFUSED or done.returncode == 1
    assert f"'large.rdb' in '{tmp_path}' takes more memory to read than the limit" in done.stdout
    assert '"ok": true' in done.stdout or '"ok":true' in done.stdout


def test_servers_have_no_memory_limit(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write().recover()
    limits = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if (process / "cwd").resolve().is_relative_to(recovery.folder / "hosts"):
                limits.append((process / "limits").read_text())
    assert limits
    for text in limits:
        assert re.search(r"^Max address space +unlimited +unlimited", text, re.M), text


@pytest.mark.skipif(sys.maxsize < 2**33, reason="needs a large address space")
def test_large_files_pass_without_a_lower_limit(tmp_path, large_key):
    done = subprocess.run([str(PROGRAM), "rdb", "scan", large_key], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_primary_with_replicas_by_the_thousand(tmp_path):
    keys = {"bdb:1": {"name": "a", "sharding": "enabled"}, "node:1": {"addr": "10.0.0.1"}}
    for i in range(60_000):
        role = "slave" if i else "master"
        keys[f"redis:{i}"] = {"bdb_uid": "1", "node_uid": "1", "role": role, "slots": "0-16383"}
    (tmp_path / "ccs.json").write_text(json.dumps(keys))
    host = {"name": "a", "addr": "127.0.0.1", "link": "local", "base_dir": str(tmp_path / "a")}
    (tmp_path / "hosts.json").write_text(json.dumps({"hosts": [host]}))
    done = subprocess.run(
        [str(PROGRAM), "plan", "ccs.json", "--hosts", "hosts.json", "--offline"], cwd=tmp_path, timeout=60,
        capture_output=True, check=False,
    )
    assert done.returncode == REFUSED, done.stderr
