"""Data folders, and CCS files, that lie on other machines: read over their links."""

import os
import subprocess
import time

import pytest

from harness import network, redis_server, sshd
from live_cluster import LiveCluster
from program import FAILED, REFUSED, USAGE
from stores import SUITE, suite
from test_capture_from import name_of, nodes, with_ctime  # noqa: F401
from test_capture_recovery import ROOT, fill
from test_plain_cluster import die, digest_of, from_folders, held

# A login that says something first, on both outputs.
NOISY = ["sh", "-c", "echo Welcome to n1; echo hello >&2; exec sh"]


@pytest.fixture
def docker(folder, monkeypatch):
    """A docker that has one container, "db1", which is this machine."""
    tool = folder / "bin" / "docker"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\n[ "$1 $2 $3" = "exec -i db1" ] || { echo no such container >&2; exit 1; }\n'
                    'shift 3\nexec "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")


@pytest.mark.releases("system", "redis80", "valkey91")
def test_folders_over_links(folder, net, recovery, release, docker):
    """A container, two old nodes with "data_path", and one here: the same as if all were here."""
    live = LiveCluster(folder / "it's live", net, release.program, replicas=1, password=ROOT, appendonly="yes").start()
    fill(live.servers, 3, release.version)
    digest = digest_of(live.servers[:3])
    folders = die(live.servers)
    (folders[1] / "more.conf").write_text("maxclients 777\n")
    with open(folders[1] / "redis.conf", "a") as f:
        f.write("include more.conf\n")
    recovery.old_nodes = [
        {"node": "n1", "link": "command", "command": NOISY, "data_path": [str(f) for f in folders[1:3]]},
        {"node": "n2", "link": "command", "command": ["sh"], "data_path": str(folders[3])}]
    recovery.add_hosts(3)
    words = [f"docker://db1{folders[0]}", "node:n1", "node:n2", f"h1:{folders[4]}", folders[5]]
    plan = from_folders(recovery, words, "--json", command="plan")
    files = plan.json["databases"][0]["backup_set"]["files"]
    assert {f["where"].split(":/")[0] for f in files} <= {"db1", "node:n1", "node:n2", "h1", "this machine"}
    left_out = [x for f in folders[3:] for x in ("--without", f"file:{owner(words, folders, f)}:{f}/appendonlydir")]
    left_out += [x for f in folders[3:] for x in ("--without", f"file:{owner(words, folders, f)}:{f}/dump.rdb")]
    from_folders(recovery, words, *left_out)
    assert held(recovery, ROOT).same_as(digest)


def owner(words, folders, one):
    """As the plan names the machine of a folder."""
    return ["db1", "node:n1", "node:n1", "node:n2", "h1", "this machine"][folders.index(one)]


def test_folders_over_ssh(folder, net, recovery):
    if sshd.missing():
        pytest.skip(sshd.missing())
    server = redis_server.Server(folder / "old", net.old_node(1), 6390, ROOT).start()
    fill([server], 1, (7, 0, 15))
    digest = digest_of([server])
    old, = die([server])
    key, addr = sshd.make_key(folder / "id"), net.addr(30)
    daemon = sshd.Sshd(folder / "sshd", addr, network.free_port(addr), f"{key}.pub").start()
    try:
        known = folder / "known_hosts"
        known.write_text(daemon.known)
        recovery.old_nodes = [{"node": 1, "addr": addr, "port": daemon.port, "user": sshd.user(),
                               "identity": str(key), "known_hosts": str(known), "data_path": str(old)}]
        recovery.add_hosts(1)
        run = from_folders(recovery, ["old_nodes"], "--json", command="plan")
        assert [f["where"] for f in run.json["databases"][0]["backup_set"]["files"]] == [f"node:1:{old}/dump.rdb"]
        from_folders(recovery, ["old_nodes"])
        assert held(recovery, ROOT).same_as(digest)
    finally:
        daemon.stop()


def test_words_that_name_no_folder(folder, net, recovery, docker):
    recovery.old_nodes = [{"node": 1, "addr": net.addr(5)}]
    recovery.add_hosts(1)
    for word, says, status in (
            ("h7:/data", "no host or old node is called 'h7'", USAGE), ("node:7:/data", "node:7", USAGE),
            ("node:1", '"data_path"', USAGE), ("old_nodes", '"data_path"', USAGE),
            ("s3://bucket/x", "docker://NAME/FOLDER", USAGE), ("docker://-it/data", "not the name", USAGE),
            ("docker://db2/data", "no such container", FAILED),
            ("docker://db1/nowhere", "not the data folder of a server", REFUSED),
            (f"docker://db1{folder}", "not the data folder of a server", REFUSED)):
        run = from_folders(recovery, [word], command="plan", status=status)
        assert run.says(says), run
    recovery.old_nodes = [{"node": 1, "data_path": True}]
    assert from_folders(recovery, ["node:1"], command="plan", status=USAGE).says("data_path")


def test_a_command_of_the_ccs_file_is_never_run(cluster, recovery, folder):
    """Only the operator may name commands."""
    cluster.add("a", backup_location='{"type": "command", "command": ["touch", "%s"], "path": "/"}' % (folder / "run"))
    cluster.add("b", backup_location='{"type": "command", "command": "touch", "path": "/"}')
    recovery.add_hosts(1).write()
    recovery.plan(status=REFUSED)
    assert not (folder / "run").exists()


def test_a_ccs_file_over_links(recovery, nodes, folder, docker):  # noqa: F811
    """Of several nodes, the newest; a node that does not answer is named."""
    now = int(time.time())
    nodes(0, "older", now - 100)
    nodes(1, "newer", now - 50)
    paths = [f / "ccs-redis.rdb" for f in nodes.folders]
    recovery.old_nodes = [{"node": 1, "link": "command", "command": NOISY}]
    recovery.add_hosts(1).write_hosts()
    place = recovery.folder / "safe"
    place.mkdir()
    words = ["--hosts", recovery.hosts_file, "--to", place]
    recovery.run("capture", "--from", f"node:1:{paths[0]}", "--from", f"docker://db1{paths[1]}", *words)
    assert name_of(recovery, place / "ccs-redis.rdb") == "newer"
    assert (place / "ccs-redis.rdb").read_bytes() == paths[1].read_bytes()
    nodes(0, "newest", now - 10)
    run = recovery.run("capture", "--from", f"node:1:{paths[0]}", "--from", f"docker://db2{paths[1]}", *words)
    assert name_of(recovery, place / "ccs-redis.rdb") == "newest" and "no such container" in run.err
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    recovery.run("capture", "--from", f"h1:{paths[0]}", *words, status=None)
    assert name_of(recovery, place / "ccs-redis.rdb") == "newest"


def test_a_command_location_passes_the_suite(folder):
    """What a location that can only be read must be able to do, through a shell."""
    root = folder / "it's \"here\""
    root.mkdir()
    subprocess.run([SUITE, "--fill", root, "--objects", "50"], check=True, timeout=60)
    done = suite({"type": "command", "command": NOISY, "path": str(root)}, "--read-only", "--objects", 50)
    assert done.returncode == 0 and done.stdout.count("ok ") == 5, done.stdout
