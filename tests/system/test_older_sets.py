"""A backup file that is bad or gone: the next older set is named, with the command that takes it, never taken."""

import gzip
import re
import shlex
import subprocess

import pytest

from dead_cluster import STAMP, DeadCluster
from program import FAILED, PARTLY, PROGRAM, REFUSED

OLDER, OLDER_TIME = "20261119-020000", "2026-11-19T02:00:00Z"


def changed(data):
    middle = len(data) // 2
    return gzip.compress(data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1:])


def two_sets(cluster):
    """A database with two sets; what the older one holds is what is expected of it."""
    made = cluster.add("orders", primaries=2, stamp=OLDER)
    older = made.digest
    cluster.write_backups(made, 90, stamp=STAMP)
    cluster.end_scratch()
    made.digest = older
    return made


SPOIL = {
    # In the data: one changed bit of a compressed file can still unpack to the same bytes (about 1 in 1,200).
    "changed": lambda b: changed(gzip.decompress(b)),
    "short": lambda b: b[:-20],
    "long": lambda b: b + b"REDIS",
}


@pytest.mark.parametrize("how", [*SPOIL, "gone"])
def test_it_is_offered_when_a_file_turns_out_bad(cluster, recovery, how):
    made = two_sets(cluster)
    cluster.add("other", keys=20)
    recovery.add_hosts(2).write().recover("--until", "prepare")
    if how == "gone":
        made.files[1].unlink()
    else:
        made.files[1].write_bytes(SPOIL[how](made.files[1].read_bytes()))
    recovery.resume(status=None)
    status = recovery.status()
    hint = next(e["hint"] for e in status["errors"] if made.files[1].name in e["message"])
    assert OLDER in hint and f"--at {OLDER_TIME}" in hint, hint
    assert recovery.database(made)["state"] == "failed", "another set was taken unasked"

    abort, again = re.search(r": recluster (abort .*?);.*: recluster (recover .*)$", hint).groups()
    assert str(recovery.state) in abort
    recovery.run(*shlex.split(abort), "--yes")
    recovery.state = recovery.folder / "new.state"
    again = again.replace("--state NEW", f"--state {recovery.state}")
    recovery.run(*shlex.split(again), "--yes", timeout=120)
    recovery.assert_recovered(made)
    assert recovery.database(made)["set_name"] == OLDER


def test_it_can_be_taken_beside_databases_that_stay(cluster, recovery):
    """On the same host, which the first recovery keeps its folder on."""
    made = two_sets(cluster)
    other = cluster.add("other", keys=20)
    recovery.add_hosts(1).write().recover("--until", "prepare")
    made.files[1].write_bytes(SPOIL["short"](made.files[1].read_bytes()))
    recovery.resume(status=PARTLY)
    hint = next(e["hint"] for e in recovery.status()["errors"] if made.files[1].name in e["message"])
    assert '"base_dir"' in hint, hint
    recovery.assert_recovered(other)
    recovery.run("abort", "--state", recovery.state, "--yes")
    again = re.search(r": recluster (recover .*)$", hint).group(1)
    recovery.hosts[0]["base_dir"] += " again"
    recovery.write_hosts()
    recovery.state = recovery.folder / "new.state"
    recovery.run(*shlex.split(again.replace("--state NEW", f"--state {recovery.state}")), "--yes", timeout=120)
    recovery.assert_recovered(made)
    assert recovery.database(made)["set_name"] == OLDER


def test_the_command_can_be_pasted_whatever_the_paths_hold(recovery, folder, net):
    """The backups, the state file, hosts.json and the CCS file; and the database."""
    odd = folder / 'it\'s "here" $(touch pwned) `touch pwned`'
    cluster = DeadCluster(odd, net)
    made = cluster.add('the "best" one\'s', stamp=OLDER)
    older = made.digest
    cluster.write_backups(made, 90, stamp=STAMP)
    made.digest = older
    cluster.add("other", keys=20)
    recovery.cluster, recovery.hosts_file, recovery.state = cluster, odd / "hosts.json", odd / "recovery.state"
    recovery.add_hosts(2).write().recover("--until", "prepare")
    made.files[0].write_bytes(SPOIL["short"](made.files[0].read_bytes()))
    recovery.resume(status=None)
    hint = next(e["hint"] for e in recovery.status()["errors"] if made.files[0].name in e["message"])
    abort, again = re.search(r": (recluster abort .*?); .*then start again: (recluster recover .*)$", hint).groups()
    shell = f'recluster() {{ "{PROGRAM}" "$@"; }}\n{abort} --yes && NEW=\'{folder}/new.state\' && '
    shell += again.replace("--state NEW", '--state "$NEW"') + " --yes"
    done = subprocess.run(
        ["sh", "-c", shell], cwd=folder, env=recovery.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    recovery.state = folder / "new.state"
    recovery.assert_recovered(made)
    assert recovery.database(made)["set_name"] == OLDER
    assert not list(folder.rglob("pwned"))


def test_it_is_said_that_there_is_none(cluster, recovery):
    made = cluster.add("orders")
    recovery.add_hosts(1).write().recover("--until", "prepare")
    made.files[0].write_bytes(SPOIL["changed"](made.files[0].read_bytes()))
    run = recovery.resume(status=REFUSED)
    assert run.says("No older backup set") and run.says("run the same command again"), str(run)


def test_verify_names_it(cluster, recovery):
    made = two_sets(cluster)
    made.files[0].write_bytes(SPOIL["short"](made.files[0].read_bytes()))
    run = recovery.run("verify", cluster.backups, "--json", status=FAILED).json
    assert [s["id"] for s in run["sets"]] == [STAMP, OLDER]
    assert run["sets"][0]["older"] == {"id": OLDER, "time": OLDER_TIME}
    assert "older" not in run["sets"][1]
    assert recovery.run("verify", cluster.backups, status=FAILED).says(f"--at {OLDER_TIME}")


def test_newer_sets_are_named_in_the_plan(cluster, recovery):
    made = two_sets(cluster)
    recovery.add_hosts(2).write()
    warnings = recovery.plan("--at", OLDER_TIME, "--json").json["warnings"]
    assert [w["code"] for w in warnings if STAMP in w["message"]] == ["set-newer"], warnings
    assert "--at" in next(w["message"] for w in warnings if STAMP in w["message"])
    made.files[0].unlink()
    warnings = recovery.plan("--json").json["warnings"]
    assert [w["code"] for w in warnings if STAMP in w["message"]] == ["set-incomplete"], warnings
