"""`recluster verify`: what a nightly job runs."""

import calendar
import contextlib
import gzip
import hashlib
import json
import os
import pty
import re
import subprocess
import time
from pathlib import Path

import pytest

from harness.http_server import Nginx
from harness.rdb_bytes import aux, head, rdb, select, string, strings
from program import DONE, FAILED, NOT_ASKED, PROGRAM, USAGE
from test_files import GOOD, put


def verify(recovery, *words, status=DONE, **more):
    return recovery.run("verify", *words, status=status, **more)


def test_all_sets_of_a_location(cluster, recovery):
    made = cluster.add("orders", primaries=3, stamp="20261119-020000")
    cluster.write_backups(made, 90, stamp="20261120-020000")
    cluster.end_scratch()
    run = verify(recovery, cluster.backups, "--json").json
    assert len(run["files"]) == 6 and all(f["ok"] for f in run["files"])
    assert [s["id"] for s in run["sets"]] == ["20261120-020000", "20261119-020000"]
    assert all(s["complete"] and s["database_uid"] == "1" and len(s["files"]) == 3 for s in run["sets"])
    newest = run["sets"][0]
    assert newest["time"] == "2026-11-20T02:00:00Z" and newest["slots"] == [[0, 16383]]
    age_s = time.time() - calendar.timegm((2026, 11, 20, 2, 0, 0))
    assert age_s - 120 < newest["age_s"] <= age_s + 1
    assert newest["bytes"] == sum((cluster.backups / Path(f).name).stat().st_size for f in newest["files"])
    assert verify(recovery, cluster.backups).says(f"{newest['age_s'] // 86400} d ")
    assert sum(f["keys"] for f in run["files"][3:]) == made.digest.keys


def test_a_terminal_is_told_how_long_it_will_take(recovery):
    folder = recovery.folder / "large"
    folder.mkdir()
    body = head() + select(0) + string("k", "v" * (8 << 20))
    (folder / "large.rdb").write_bytes(rdb(body, checksum=False))
    screen, terminal = pty.openpty()
    done = subprocess.Popen(
        [PROGRAM, "verify", folder, "--limit-rate", "3M"], stdout=subprocess.DEVNULL, stderr=terminal,
        env=recovery.environment(TERM="xterm"),
    )
    os.close(terminal)
    said = b""
    with contextlib.suppress(OSError):  # EIO: its other end is closed
        while piece := os.read(screen, 4096):
            said += piece
    os.close(screen)
    assert done.wait(timeout=30) == DONE
    assert re.search(rb"0 of 1 files verified, [0-9.]+ MB of 8 MB, [0-9.]+ m?s left", said), said


def test_a_missing_file_makes_a_set_incomplete(cluster, recovery):
    made = cluster.add("orders", primaries=3)
    cluster.end_scratch()
    made.files[1].unlink()
    run = verify(recovery, cluster.backups, status=FAILED)
    assert run.says("file 2 of 3 is not there") and run.says("1 of 1 backup sets are not complete")
    run = verify(recovery, cluster.backups, "--json", status=FAILED).json
    assert all(f["ok"] for f in run["files"]) and not run["sets"][0]["complete"]
    assert len(run["sets"][0]["slots"]) == 2
    assert run["sets"][0]["slots_missing"] == [list(made.database.primaries[1].ranges[0])]


BAD = {
    "short": lambda b: b[:-20],
    "long": lambda b: b + b"REDIS",
    "changed": lambda b: b[:-8] + bytes([b[-8] ^ 4]) + b[-7:],
    "empty": lambda b: b"",
    "page": lambda b: b"<html>log in</html>",
}


@pytest.mark.parametrize("how", BAD)
@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_a_bad_file_is_named(cluster, recovery, how, packed):
    made = cluster.add("orders", primaries=2)
    cluster.end_scratch()
    path = made.files[1]
    if not packed:
        path = path.with_suffix("")
        path.write_bytes(gzip.decompress(made.files[1].read_bytes()))
        made.files[1].unlink()
    path.write_bytes(BAD[how](path.read_bytes()))
    run = verify(recovery, cluster.backups, "--json", status=FAILED).json
    bad = [f for f in run["files"] if not f["ok"]]
    assert [f["path"] for f in bad] == [str(path)] and path.name in bad[0]["error"]
    assert run["sets"][0]["complete"] is False and path.name in run["sets"][0]["reason"]


def test_a_file_in_the_place_of_another(cluster, recovery):
    made = cluster.add("orders", primaries=2)
    cluster.end_scratch()
    made.files[0].write_bytes(made.files[1].read_bytes())
    run = verify(recovery, cluster.backups, status=FAILED)
    assert run.says("in slots that belong to other files of its set")


def test_a_manifest_is_held_against_the_files(cluster, recovery):
    made = cluster.add("orders")
    cluster.end_scratch()
    path = cluster.backups / "any-name.rdb.gz"
    made.files[0].rename(path)
    data = path.read_bytes()
    one = {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
           "keys": made.digest.keys}
    manifest = {"recluster_manifest": 1, "set": "s1", "time": "2026-11-20T02:00:00Z", "files": [one]}

    def write(change, document=None):
        (cluster.backups / "recluster-manifest.json").write_text(
            json.dumps({**manifest, **(document or {}), "files": [{**one, **change}]}))

    write({})
    assert verify(recovery, cluster.backups, "--json").json["sets"][0]["id"] == "s1"
    for change, words in (
        ({"bytes": 5}, "instead of 5"), ({"keys": 1}, "its manifest says 1"),
        ({"sha256": "0" * 64}, "SHA-256"), ({"name": "other"}, "'other' is not there"),
        ({"slots": [[1, 16383]]}, "slot 0 is missing"), ({"sha256": "x"}, "64 hex digits"),
    ):
        write(change)
        assert verify(recovery, cluster.backups, status=FAILED).says(words), change
    write({}, {"recluster_manifest": 2})
    assert verify(recovery, cluster.backups, status=FAILED).says("a newer version")


def test_zstd(cluster, recovery):
    made = cluster.add("orders")
    cluster.end_scratch()
    plain = gzip.decompress(made.files[0].read_bytes())
    path = made.files[0].with_suffix(".zst")
    subprocess.run(["zstd", "-q", "-o", str(path)], input=plain, check=True)
    made.files[0].unlink()
    entry = verify(recovery, cluster.backups, "--json").json["files"][0]
    assert entry["compressed"] == "zstd" and entry["bytes"] == len(plain)
    path.write_bytes(path.read_bytes()[:-9])
    assert verify(recovery, path, status=FAILED).says("cut off")


def test_what_packs_a_file_is_told_by_its_bytes(cluster, recovery):
    made = cluster.add("orders")
    cluster.end_scratch()
    (path,) = made.files
    path.with_suffix("").write_bytes(path.read_bytes())
    path.write_bytes(gzip.decompress(path.read_bytes()))
    for name, packed in ((path, "none"), (path.with_suffix(""), "gzip")):
        (entry,) = verify(recovery, name, "--json").json["files"]
        assert entry["ok"] and entry["compressed"] == packed, entry


def test_files_urls_and_location_files(cluster, recovery, folder, net):
    made = cluster.add("orders", primaries=2)
    cluster.end_scratch()
    web = Nginx(folder / "web", cluster.backups, net.addr(4), 8080).start()
    location = folder / "location.json"
    location.write_text(json.dumps({"type": "mount_point", "path": str(cluster.backups)}))
    run = verify(
        recovery, made.files[0], web.url, web.url + made.files[1].name, "--location", location, "--json",
    ).json
    assert len(run["files"]) == 6 and all(f["ok"] for f in run["files"])
    assert len(run["sets"]) == 2


def test_what_is_not_there(cluster, recovery, folder):
    empty = folder / "empty"
    empty.mkdir()
    assert verify(recovery, empty, status=FAILED).says("there is no .rdb")
    assert verify(recovery, folder / "no.rdb", status=FAILED).says("no.rdb")
    assert verify(recovery, status=USAGE).says("needs")
    assert verify(recovery, empty, "--limit-rate", "0", status=USAGE).says("--limit-rate")


def test_names_that_are_not_utf8_are_left_out(cluster, recovery):
    cluster.add("orders")
    cluster.end_scratch()
    with open(bytes(cluster.backups) + b"/\xff.rdb", "wb") as f:
        f.write(b"x")
    run = verify(recovery, cluster.backups)
    assert run.says("not UTF-8")


def test_the_digest_is_made_where_it_is_asked_for(recovery, folder):
    place = put(folder / "place", {"dump.rdb": GOOD})
    assert "sha256" not in verify(recovery, place, "--json").json["files"][0]
    digest = hashlib.sha256(GOOD).hexdigest()
    assert verify(recovery, place, "--digest", "--json").json["files"][0]["sha256"] == digest
    put(place, {"recluster-manifest.json": {
        "recluster_manifest": 1, "database": {"uid": "1"}, "files": [{"name": "dump.rdb", "sha256": digest}]}})
    assert verify(recovery, place, "--json").json["files"][0]["sha256"] == digest


@pytest.mark.parametrize("data", [GOOD[:70], rdb(head() + select(0) + b"\x1e\x01k\x01v"), b"*1\r\n$4\r\nPING\r\n" * 9])
def test_what_was_not_reached_is_not_told(data, recovery, folder):
    place = put(folder / "place", {"dump.rdb": data})
    run = verify(recovery, place, "--json", status=FAILED)
    entry = run.json["files"][0]
    assert entry["checksum"] == "not reached" and "bytes" not in entry and entry["read_bytes"] <= len(data)
    assert not verify(recovery, place, status=FAILED).says("not an error")


def test_what_could_not_be_read_is_not_bad(recovery, folder, net):
    place = put(folder / "place", {"dump.rdb": GOOD})
    dead = f"http://{net.addr(9)}:9/backups/x.rdb"
    run = verify(recovery, dead, status=NOT_ASKED)
    assert run.says("1 could not be checked") and not run.says("are bad"), run
    run = verify(recovery, place, f"http://{net.addr(9)}:9/backups/", "--json", status=NOT_ASKED).json
    assert [f["ok"] for f in run["files"]] == [True, False] and run["files"][1]["checked"] is False
    put(place, {"dump.rdb": GOOD[:70]})
    assert verify(recovery, place, dead, status=FAILED).says("1 of 1 files are bad")


def test_a_ccs_file_is_named_as_such(cluster, recovery):
    cluster.add("orders", keys=None)
    recovery.add_hosts(1).write()
    assert verify(recovery, recovery.ccs).says("it is a CCS file, the configuration of a cluster")


def test_what_a_save_left_is_no_backup(recovery, folder):
    place = put(folder / "place", {"dump.rdb": GOOD, "temp-1234.rdb": GOOD[:90]})
    run = verify(recovery, place)
    assert run.says("temp-1234.rdb' is left out") and run.says("1 of 1 files are whole")


def test_text_of_a_file_does_not_reach_the_terminal(recovery, folder):
    data = rdb(head() + aux("note", "x\x1b[2J\x1b[31m\nchecksum ok\u009b") + select(0) + strings("a"))
    path = put(folder / "place", {"dump.rdb": data}) / "dump.rdb"
    for word in ("scan", "head"):
        run = recovery.run("rdb", word, path)
        assert "\x1b" not in run.out and "\u009b" not in run.out and "\\x1b[2J" in run.out, run
        assert not any(line.startswith("checksum ok") for line in run.out.splitlines())
