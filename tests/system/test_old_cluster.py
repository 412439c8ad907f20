"""Is the old cluster dead? Refused, open and silent are three answers."""

import contextlib
import json
import shutil
import socket
import subprocess

import pytest

import lab as labs
from dead_cluster import DeadCluster
from harness import redis_server
from program import DONE, REFUSED, Recovery


@contextlib.contextmanager
def silent(*addresses):
    """Sockets there whose backlog is full: the kernel drops what else comes."""
    with contextlib.ExitStack() as stack:
        for address in addresses:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(0)
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(address)
        yield


def place(cluster, shard):
    return next(n.addr for n in cluster.nodes if n.uid == shard.node_uid), shard.port


def issues(run, code):
    return [i for kind in ("blockers", "warnings") for i in run.json[kind] if i["code"] == code]


def test_a_silent_address_is_named(cluster, recovery):
    made = cluster.add("a", primaries=3)
    recovery.add_hosts(2).write()
    addr, port = place(cluster, made.database.shards[1])
    with silent((addr, port)):
        run = recovery.plan("--json")
        warning, = issues(run, "old-cluster-silent")
        assert f"{addr}:{port} (shard:{made.database.shards[1].uid})" in warning["message"]
        assert run.json["feasible"]
        recovery.recover()
    recovery.assert_recovered(made)


def test_refused_is_not_silent(cluster, recovery):
    cluster.add("a", primaries=3)
    recovery.add_hosts(1).write()
    assert issues(recovery.plan("--json"), "old-cluster-silent") == []


@pytest.fixture
def apart(tmp_path):
    """Hosts in namespaces, and an old cluster at addresses of theirs that drop what comes."""
    with labs.opened(tmp_path / "lab", 2, others=["n1", "n2", "n3"]) as lab:
        lab.needs_namespaces()
        cluster = DeadCluster(tmp_path, lab.net)
        for i, node in enumerate(cluster.nodes, 1):
            node.addr = lab.net.other(f"n{i}")
        recovery = Recovery(tmp_path, lab.net, cluster)
        recovery.defaults = {}
        for i in (1, 2):
            recovery.hosts.append(lab.entry(i, name=f"h{i}", base_dir=str(tmp_path / "hosts" / f"h{i}")))
        yield lab, cluster, recovery
        recovery.end()


def drop(lab, name, *but):
    """A firewall on a machine that drops all that comes, but from `but`."""
    if not shutil.which("nft"):
        pytest.skip("nftables is not installed")

    def nft(*words):
        subprocess.run(["ip", "netns", "exec", lab.space.full(name), "nft", *words], check=True)
    nft("add", "table", "inet", "f")
    nft("add", "chain", "inet", "f", "i", "{ type filter hook input priority 0; policy accept; }")
    accepted = f"ip saddr != {{ {', '.join(but)} }}" if but else ""
    nft("add", "rule", "inet", "f", "i", *accepted.split(), "tcp", "dport", "1-65535", "drop")


def test_a_majority_that_is_silent_stops_the_plan(apart):
    lab, cluster, recovery = apart
    made = cluster.add("a", primaries=3)
    recovery.write()
    drop(lab, "n1")
    run = recovery.plan("--json")
    warning, = issues(run, "old-cluster-silent")
    assert cluster.nodes[0].addr in warning["message"] and cluster.nodes[1].addr not in warning["message"]
    drop(lab, "n2")
    run = recovery.plan("--json", status=REFUSED)
    blocker, = issues(run, "old-cluster-silent")
    assert blocker in run.json["blockers"] and "2 of 3 nodes" in blocker["message"]
    assert "--old-cluster-is-dead 'old.example.com'" in blocker["hint"]
    recovery.recover(status=REFUSED)
    assert not recovery.state.exists()
    recovery.recover("--old-cluster-is-dead", "old.example.com")
    recovery.assert_recovered(made)


def test_a_resume_asks_again(apart):
    lab, cluster, recovery = apart
    made = cluster.add("a", primaries=3)
    recovery.write().recover("--until", "load")
    drop(lab, "n1")
    drop(lab, "n2")
    run = recovery.resume(status=REFUSED)
    assert run.says("does not answer: they") and run.says("--old-cluster-is-dead 'old.example.com'"), run
    recovery.resume("--old-cluster-is-dead", "old.example.com")
    recovery.assert_recovered(made)


def test_hosts_ask_too(apart):
    """They sit where clients do: what only they see lives all the same, and what they see refuse is dead."""
    lab, cluster, recovery = apart
    made = cluster.add("a", primaries=3)
    recovery.write()
    hosts = [lab.net.host(1), lab.net.host(2)]
    for name in ("n1", "n2", "n3"):
        drop(lab, name, *hosts)
    run = recovery.plan("--json")
    assert issues(run, "old-cluster-silent") == [], run
    addr, port = place(cluster, made.database.shards[0])
    server = subprocess.Popen(
        ["ip", "netns", "exec", lab.space.full("n1"), "redis-server", "--port", str(port), "--bind", addr,
         "--save", "", "--dir", str(recovery.folder), "--protected-mode", "no"], stdout=subprocess.DEVNULL)
    try:
        redis_server.wait_until(lambda: issues(recovery.plan("--json", status=None), "old-cluster-survivor"),
                                "its discovery")
        blocker, = issues(recovery.plan("--json", status=REFUSED), "old-cluster-survivor")
        assert f"{addr}:{port}" in blocker["message"] and "seen from h" in blocker["message"], blocker
    finally:
        server.kill()
        server.wait()


def test_names_are_asked_too(cluster, recovery, net):
    """A nodes.json made by a name, as redis-cli takes it."""
    folder = recovery.folder / "saved"
    folder.mkdir()
    made = cluster.add("a", keys=20)
    made.files[0].rename(folder / f"redis-node-localhost-8101-{'a' * 40}.rdb.gz")
    recovery.ccs = folder / "nodes.json"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        port = listener.getsockname()[1]
        recovery.ccs.write_text(json.dumps([{
            "name": "a" * 40, "host": "localhost", "port": port, "replicate": None, "slots": [[0, 16383]],
            "slots_count": 16384, "flags": ["master"], "current_epoch": 1}]))
        recovery.add_hosts(1).write_hosts()
        run = recovery.plan("--json", status=REFUSED)
        assert any("127.0.0.1" in b["message"] and str(port) in b["message"] for b in run.json["blockers"]), run


def test_names_that_are_not_known_are_said(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write()
    document = recovery.plan("--json").json
    said = document["unchecked"] + [w["message"] for w in document["warnings"] if w["code"] == "old-cluster-unasked"]
    assert any("redis-12001.old.example.com" in text for text in said), document


def test_addresses_of_no_node_are_told_before_they_are_asked(cluster, recovery, net):
    made = cluster.add("a")
    entries = cluster.entries()
    entries["endpoint:1:1"]["addr"] = net.addr(77)
    recovery.add_hosts(1).write(entries)
    run = recovery.plan()
    assert "lists 1 of them for no node" in run.err, run
    assert made
    assert run.status == DONE
