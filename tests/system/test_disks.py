"""Files that shards' servers kept on the disks of hosts and of old nodes."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

import lab as labs
from dead_cluster import DeadCluster
from harness import contents, redis_server, slots, sshd
from program import DONE, FAILED, REFUSED, USAGE, Recovery


@pytest.fixture
def recovery(folder, net, cluster):
    recovery = Recovery(folder, net, cluster)
    yield recovery
    recovery.end()


class Disks:
    """Folders of hosts with the files of shards, which must never change."""

    def __init__(self, recovery):
        self.recovery = recovery
        self.top = recovery.folder / "disks"

    def folder(self, owner):
        folder = self.top / f"{owner}'s disk"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def put(self, owner, name, source, ctime=None):
        target = self.folder(owner) / name
        shutil.copyfile(source, target)
        if ctime:
            set_ctime(target, ctime)
        return target

    def contents(self):
        return {str(p): (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_nlink)
                for p in self.top.rglob("*") if p.is_file()}


def set_ctime(path, seconds):
    """Writes another time into a snapshot; its checksum then counts as absent."""
    data = path.read_bytes()
    at = data.index(b"\xfa\x05ctime\xc2") + 8
    path.write_bytes(data[:at] + int(seconds).to_bytes(4, "little") + data[at + 4:-8] + bytes(8))


@pytest.fixture
def disks(recovery):
    return Disks(recovery)


def write_rdb(cluster, folder, keys):
    path = folder / f"made-{time.monotonic_ns()}.rdb"
    return path, cluster.write_rdb(path, keys)


def keys_of(shard, count, seed, salt=""):
    """Strings whose keys are of the shard's slots."""
    made = (f"{seed}:{i}".encode() for i in range(count * 20))
    mine = (k for k in made if slots.holds(shard.ranges, slots.of_key(k)))
    return [["SET", k, f"{salt}{k!r}"] for k, _ in zip(mine, range(count))]


def test_newest_of_each_range(cluster, recovery, disks, folder):
    """Of primaries and replicas, on hosts that get the shard and on others; what is of no use is named."""
    made = cluster.add("a", primaries=2, replicas=1, keys=None, backup_location="")
    first, second = made.database.primaries
    replica = made.database.shards[2]
    now = int(time.time())
    recovery.add_hosts(3)
    for host in recovery.hosts:
        host["recovery_path"] = str(disks.folder(host["name"]))
    old, _ = write_rdb(cluster, folder, keys_of(first, 50, "old"))
    good, digest = write_rdb(cluster, folder, keys_of(first, 300, "new"))
    other, other_digest = write_rdb(cluster, folder, keys_of(second, 300, "second"))
    disks.put("h1", f"redis-{first.uid}.rdb", old, now - 9000)
    disks.put("h3", f"redis-{replica.uid}.rdb", good, now - 3000)
    disks.put("h2", f"redis-{second.uid}.rdb.prev", other, now - 4000)
    bad = disks.folder("h2") / f"redis-{second.uid}.rdb"
    bad.write_bytes(b"half a sector of nothing")
    os.utime(bad, (now - 10, now - 10))
    before = disks.contents()

    run = recovery.write().plan("--json")
    database, = run.json["databases"]
    chosen = database["backup_set"]
    assert chosen["disks"] and chosen["id"] == "disks"
    assert [f["where"].rsplit("/", 1)[1] for f in chosen["files"]] == [
        f"redis-{replica.uid}.rdb", f"redis-{second.uid}.rdb.prev"]
    assert 3990 < chosen["age_s"] < 4100 and chosen["skew_s"] == 1000
    warning, = [w for w in run.json["warnings"] if w["code"] == "file-passed-over"]
    assert str(bad) in warning["message"] and "h2" in warning["message"]
    assert not (folder / "hosts").exists()

    recovery.recover(status=DONE)
    recovery.assert_recovered(made, digest + other_digest)
    assert disks.contents() == before


def events(recovery, code):
    with sqlite3.connect(recovery.state) as db:
        return [(m, json.loads(d)) for m, d in
                db.execute("SELECT message, detail FROM event WHERE code = ? ORDER BY event_id", (code,))]


class AofServer:
    """A server that keeps an AOF folder, and what of it a restart makes of it."""

    def __init__(self, folder, net, **settings):
        self.folder, self.net = folder, net
        self.settings = {"appendonly": "yes", "appendfsync": "always", **settings}
        self.server = redis_server.Server(folder, net.addr(40), 6390, **self.settings)

    def write(self, commands, more=()):
        """The commands, a rewrite (so that there is a base file), and more commands; then it dies."""
        self.server.start()
        with self.server.connect() as c:
            for _ in c.pipeline(list(commands)):
                pass
            if more:
                c.call("BGREWRITEAOF")
                redis_server.wait_until(
                    lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0", "the rewrite")
                for _ in c.pipeline(list(more)):
                    pass
            digest = contents.digest(c)
        self.server.kill()
        return digest

    @property
    def aof(self):
        return self.folder / "appendonlydir"

    def increment(self):
        return sorted(self.aof.glob("*.incr.aof"))[-1]


def redis_reads(net, folder, aof_folder):
    """What a real server has after a start on a copy of it, with aof-load-truncated."""
    server = redis_server.Server(folder, net.addr(41), 6391, appendonly="yes")
    shutil.copytree(aof_folder, folder / "appendonlydir")
    server.start()
    with server.connect() as c:
        digest = contents.digest(c)
    server.kill()
    return digest


def database_commands(n):
    """Of several databases of the server, transactions, binary keys."""
    for i in range(200):
        yield ["SELECT", i % 3]
        yield ["SET", b"k\x00\r\n%d:%d" % (n, i), f"*3\r\n$3\r\nSET {i}"]
        if i % 50 == 7:
            yield from (["MULTI"], ["INCR", "counter"], ["RPUSH", "list", i], ["EXEC"])


def test_aof_with_a_tail(cluster, recovery, disks, folder, net):
    """Cut at all kinds of places, each as a real server reads it; what was cut is told; the file stays as it is."""
    ends = [["SELECT", 0], ["SET", "last", "x" * 40], ["MULTI"], ["SET", "in", "it"], ["SET", "this", "too"], ["EXEC"]]
    wrote = AofServer(folder / "old", net)
    wrote.write(database_commands(1), [*database_commands(2), *ends])
    data = wrote.increment().read_bytes()
    last, multi = data.rindex(b"*3\r\n$3\r\nSET\r\n$4\r\nlast"), data.rindex(b"*1\r\n$5\r\nMULTI")
    places = {
        "whole": len(data), "no LF": len(data) - 1, "no EXEC": data.rindex(b"*1\r\n$4\r\nEXEC"),
        "in a transaction": multi + 30, "before it": multi, "in a value": last + 35, "in a key": last + 21,
        "in a length": last + 6, "in a count": last + 1, "behind a count": last + 4, "before a command": last,
    }
    recovery.add_hosts(2)
    for host in recovery.hosts:
        host["recovery_path"] = str(disks.folder(host["name"]))
    made = []
    for i, (place, size) in enumerate(places.items()):
        one = cluster.add(place, replicas=1, keys=None, backup_location="", memory_size=str(4 << 20))
        primary, replica = one.database.shards
        target = disks.folder("h1" if i % 2 else "h2") / f"appendonly-{(primary, replica)[i % 2].uid}.aof.dir"
        shutil.copytree(wrote.aof, target)
        increment = target / wrote.increment().name
        increment.write_bytes(data[:size])
        one.digest = redis_reads(net, folder / f"as redis {i}", target)
        made.append(one)
    assert len({str(m.digest) for m in made}) == 3
    before = disks.contents()
    recovery.write().recover(status=DONE)
    for one in made:
        recovery.assert_recovered(one)
    assert disks.contents() == before
    told = {d["name"]: d for _, d in events(recovery, "aof-tail-cut")}
    assert len(told) == len([p for p in places if p not in ("whole", "before it", "before a command")])
    for i, (place, size) in enumerate(places.items()):
        name = f"appendonly-{made[i].database.shards[i % 2].uid}.aof.dir"
        if name not in told:
            continue
        dropped = told[name]["dropped"]
        whole = last if size < multi else multi
        assert dropped == {"file": wrote.increment().name, "offset": whole, "bytes": size - whole}, place
    report = recovery.run("report", "--state", recovery.state)
    # Which of them stand in a list that is cut depends on which file came first.
    assert any(report.says(f"the last {d['dropped']['bytes']} bytes of") for d in told.values()), report
    page = folder / "report.html"
    recovery.run("report", "--state", recovery.state, "--html", page)
    assert "not a whole command" in page.read_text()
    proof = recovery.run("report", "--state", recovery.state, "--json").json["proof"]
    assert all(p["places"] and p["aof"][0]["preamble"] for p in proof if p["role"] == "primary")
    assert not list((folder / "hosts").rglob("aof-*")) and recovery.processes() == []


def test_single_aof(cluster, recovery, disks, folder, net):
    """With a preamble and without, as servers before 7.0 wrote it; of the slots of a sharded database."""
    made = cluster.add("a", primaries=2, keys=None, backup_location="")
    first, second = made.database.primaries
    recovery.add_hosts(2)
    for host in recovery.hosts:
        host["recovery_path"] = [str(disks.folder(host["name"])), "/nonexistent"]
    wrote = AofServer(folder / "first", net)
    digest = wrote.write(keys_of(first, 100, "a"), [*keys_of(first, 50, "b"), ["DEL", "none"]])
    base, = wrote.aof.glob("*.base.rdb")
    whole = base.read_bytes() + wrote.increment().read_bytes()
    target = disks.folder("h1") / f"appendonly-{first.uid}.aof"
    target.write_bytes(whole)
    # Annotations stand between commands of 7.0; older servers don't know them.
    plain = AofServer(folder / "second", net, aof_timestamp_enabled="yes")
    digest += plain.write(keys_of(second, 100, "c"))
    assert b"#TS:" in plain.increment().read_bytes()
    (disks.folder("h1") / f"appendonly-{second.uid}.aof.prev").write_bytes(plain.increment().read_bytes())
    run = recovery.write().plan()
    assert run.says(f"h1:{target} of") and run.says("'/nonexistent' of h1"), run
    recovery.recover(status=DONE)
    recovery.assert_recovered(made, digest)


def test_a_bad_newest_file(cluster, recovery, disks, folder, net):
    """Found bad when it is read: it is named with the next one, which is taken only when that is asked for."""
    made = cluster.add("a", replicas=1, keys=None, backup_location="")
    primary, replica = made.database.shards
    now = int(time.time())
    recovery.add_hosts(2)
    for host in recovery.hosts:
        host["recovery_path"] = str(disks.folder(host["name"]))
    good, made.digest = write_rdb(cluster, folder, keys_of(primary, 500, "a"))
    disks.put("h1", f"redis-{replica.uid}.rdb.prev", good, now - 5000)
    snapshot = disks.put("h1", f"redis-{replica.uid}.rdb", good)
    data = bytearray(snapshot.read_bytes())
    data[len(data) // 2] ^= 1
    snapshot.write_bytes(data)
    wrote = AofServer(folder / "old", net)
    wrote.write(keys_of(primary, 10, "a"), keys_of(primary, 50, "b"))
    shutil.copytree(wrote.aof, disks.folder("h2") / f"appendonly-{primary.uid}.aof.dir")
    increment = disks.folder("h2") / f"appendonly-{primary.uid}.aof.dir" / wrote.increment().name
    content = bytearray(increment.read_bytes())
    at = content.index(b"*3\r\n$3\r\nSET", len(content) // 2)
    content[at:at + 1] = b"?"
    increment.write_bytes(content)
    os.utime(increment, (now + 10, now + 10))
    before = disks.contents()

    aof = f"h2:{increment.parent}"
    run = recovery.write().recover(status=REFUSED)
    assert run.says(f"corrupt at byte {at}") and run.says("0x3f"), run
    assert run.says(f"the next newest of these slots is 'h1:{snapshot}' of"), run
    word = f"file:{aof}".replace("'", "'\\''")
    assert run.says(f"--without '{word}'"), run
    assert recovery.running_servers() == []
    recovery.run("abort", "--state", recovery.state, "--yes")
    recovery.state.unlink()

    run = recovery.recover("--without", f"file:{aof}", status=REFUSED)
    assert run.says(f"h1:{snapshot}") and run.says(f"h1:{snapshot}.prev"), run
    recovery.run("abort", "--state", recovery.state, "--yes")
    recovery.state.unlink()

    run = recovery.plan("--without", f"file:h1:{snapshot}x", status=USAGE)
    assert run.says("no disk has that file"), run
    recovery.recover("--without", f"file:{aof}", "--without", f"file:h1:{snapshot}", status=DONE)
    recovery.assert_recovered(made)
    assert disks.contents() == before


def test_disks_and_locations(cluster, recovery, disks, folder):
    """The newer of both; a location that can't be read stops the plan until that is accepted; --at."""
    made = cluster.add("a", keys=None)
    primary, = made.database.primaries
    now = int(time.time())
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now - 4000))
    cluster.write_backups(made, 20, stamp=stamp)
    digest_of_backup = made.digest
    recovery.add_hosts(1)
    recovery.hosts[0]["recovery_path"] = str(disks.folder("h1"))
    new, digest = write_rdb(cluster, folder, keys_of(primary, 100, "new"))
    disks.put("h1", f"redis-{primary.uid}.rdb", new, now - 1000)
    recovery.write()

    def chosen(*more, status=DONE):
        return recovery.plan("--json", *more, status=status).json["databases"][0]["backup_set"]

    assert chosen()["id"] == "disks"
    before_it = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 2000))
    assert chosen("--at", before_it)["id"] == stamp
    saved = folder / "plan.json"
    recovery.plan("--out", saved)
    recovery.recover("--plan", saved, "--until", "transfer", status=DONE)
    recovery.resume(status=DONE)
    recovery.assert_recovered(made, digest)
    recovery.run("report", "--state", recovery.state)
    recovery.end()
    shutil.rmtree(folder / "hosts")
    recovery.state.unlink()

    recovery.sources = {"db:1": "http://127.0.0.1:1/"}
    recovery.write_hosts()
    run = recovery.plan(status=REFUSED)
    assert run.says("cannot read the backups at http://127.0.0.1:1/") and run.says("--source db:1=disks"), run
    assert chosen("--source", "db:1=disks")["id"] == "disks"
    disks.put("h1", f"redis-{primary.uid}.rdb", new, now - 9000)
    recovery.sources = {}
    recovery.write_hosts()
    assert chosen()["id"] == stamp
    recovery.recover(status=DONE)
    recovery.assert_recovered(made, digest_of_backup)


@pytest.fixture
def lab(tmp_path):
    """h1 and h2 are offered, h3 is an old node with nothing but an sshd that speaks SFTP."""
    with labs.opened(tmp_path / "lab", 3) as lab:
        lab.needs_namespaces()
        lab.replace_sshd(3, Subsystem="sftp internal-sftp")
        yield lab


@pytest.fixture
def over_ssh(folder, lab):
    """A dead cluster, its recovery over SSH and its disks; node 1 is at h3's address."""
    cluster = DeadCluster(folder, lab.net)
    cluster.nodes[0].addr = lab.net.host(3)
    recovery = Recovery(folder, lab.net, cluster)
    recovery.defaults = {}
    for i in (1, 2):
        recovery.hosts.append(lab.entry(i, name=f"h{i}", base_dir=str(folder / "hosts" / f"h{i}")))
    yield cluster, recovery, Disks(recovery)
    recovery.end()


def logins(lab, i):
    """Addresses from where somebody logged in to a host."""
    log = (lab.daemons[i - 1].folder / "log").read_text()
    return set(re.findall(r"Accepted publickey for \S+ from (\S+) ", log))


@pytest.mark.parametrize("relay", [False, True], ids=["direct", "relayed"])
def test_old_nodes(over_ssh, lab, folder, relay):
    """Asked over SFTP; bytes go straight to the hosts, or by way of the operator, whose own keys stay there."""
    cluster, recovery, disks = over_ssh
    made = cluster.add("a", primaries=2, replicas=1, keys=None, backup_location="")
    first, second = made.database.primaries
    one, digest = write_rdb(cluster, folder, keys_of(first, 300, "a"))
    disks.put("node1", f"redis-{first.uid}.rdb", one)
    wrote = AofServer(folder / "old", lab.net)
    digest += wrote.write(keys_of(second, 10, "b"), keys_of(second, 100, "c"))
    shutil.copytree(wrote.aof, disks.folder("node1") / f"appendonly-{second.uid}.aof.dir")
    before = disks.contents()
    login = {"user": sshd.user(), "known_hosts": str(lab.known_hosts)}
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    if relay:
        shutil.copy(lab.key, home / ".ssh" / "id_ed25519")
        shutil.copy(f"{lab.key}.pub", home / ".ssh" / "id_ed25519.pub")
    else:
        login |= {"identity": str(lab.key), "share_login": True}
    path = {"recovery_path": str(disks.folder("node1"))}
    recovery.old_nodes = [{"node": 1, **login, **path}, {"node": 2, **login, "recovery_path": True}]
    run = recovery.write().run(
        "plan", recovery.ccs, "--hosts", recovery.hosts_file, "--json", env={"HOME": home})
    warning, = [w for w in run.json["warnings"] if w["code"] == "disk-unreadable"]
    assert "of node:2: gave up" in warning["message"]
    assert [f["where"].split(":/")[0] for f in run.json["databases"][0]["backup_set"]["files"]] == ["node:1"] * 2
    assert logins(lab, 3) == {lab.net.host(0)}

    recovery.recover(status=DONE, env={"HOME": home})
    recovery.assert_recovered(made, digest)
    assert disks.contents() == before
    hosts = {lab.net.host(1), lab.net.host(2)}
    assert bool(logins(lab, 3) & hosts) != relay
    assert recovery.processes() == []


def test_an_old_node_behind_a_command(folder, net, cluster, recovery):
    """Its shell reads the files, for this machine, which sends them on."""
    made = cluster.add("a", keys=None, backup_location="")
    shard, = made.database.primaries
    disks = Disks(recovery)
    one, digest = write_rdb(cluster, folder, keys_of(shard, 300, "a"))
    disks.put("node1", f"redis-{shard.uid}.rdb", one)
    before = disks.contents()
    recovery.old_nodes = [{"node": 1, "link": "command", "command": ["sh", "-c", "echo hello; exec sh"],
                           "recovery_path": str(disks.folder("node1"))}]
    recovery.add_hosts(1).write().recover()
    recovery.assert_recovered(made, digest)
    assert disks.contents() == before


def test_a_file_of_another_host_when_links_are_cut(over_ssh, lab, folder):
    """The link of the host that has it, then of the one that wants it: it goes on, and nothing is lost."""
    cluster, recovery, disks = over_ssh
    made = cluster.add("a", keys=None, backup_location="")
    primary, = made.database.primaries
    one, made.digest = write_rdb(
        cluster, folder, [["SET", f"k{i}", os.urandom(30_000)] for i in range(150)])
    recovery.hosts[0]["recovery_path"] = str(disks.folder("h1"))
    recovery.hosts[0]["memory"] = "20M"  # too little for any shard: it is only read
    disks.put("h1", f"redis-{primary.uid}.rdb", one)
    recovery.write()
    placed = {s["uid"]: s["host"] for d in recovery.plan("--json").json["databases"] for s in d["shards"]}
    assert placed[primary.uid] == "h2", placed
    lab.space.slow("h1", "16mbit")
    run = recovery.start(*recovery.recover_args())
    base = Path(recovery.hosts[1]["base_dir"])

    def has_come():
        return sum(p.stat().st_size for p in base.rglob("*.fetch0"))

    try:
        for i, share in ((1, 0.2), (2, 0.5)):
            redis_server.wait_until(lambda: has_come() > share * one.stat().st_size, f"{share} of the file", 60)
            lab.daemons[i - 1].stop()
            lab.space.kill(f"h{i}", "sshd")
            lab.daemons[i - 1].start(lab.prefix(i))
    finally:
        out, err = run.communicate(timeout=90)
    assert run.returncode == DONE, f"{out.decode()}\n{err.decode()}"
    recovery.assert_recovered(made)
    assert not (Path(recovery.hosts[0]["base_dir"]) / "lock").exists()


@pytest.mark.slow
def test_killed_anywhere(cluster, recovery, disks, folder, net):
    """The operator's program dies at one commit after the other; each next run carries on."""
    made = cluster.add("a", replicas=1, keys=None, backup_location="")
    primary, replica = made.database.shards
    recovery.add_hosts(2)
    for host in recovery.hosts:
        host["recovery_path"] = str(disks.folder(host["name"]))
    wrote = AofServer(folder / "old", net)
    made.digest = wrote.write(keys_of(primary, 100, "a"), keys_of(primary, 100, "b"))
    target = disks.folder("h2") / f"appendonly-{replica.uid}.aof.dir"
    shutil.copytree(wrote.aof, target)
    with (target / wrote.increment().name).open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$1\r\nx")
    before = disks.contents()
    recovery.write()
    recovery.recover("--until", "prepare")
    n = 1
    while (run := recovery.resume(env={"RECLUSTER_TEST_KILL_AT": n}, status=None)).status != DONE:
        assert run.status < 0 and n < 100, run
        n += 1
    assert n > 5
    recovery.assert_recovered(made)
    assert len(events(recovery, "aof-tail-cut")) >= 1
    assert disks.contents() == before


@pytest.fixture
def small_disk(folder):
    """A disk of 64 MB for what the hosts write."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = folder / "hosts"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
    yield disk
    redis_server.kill_all_below(folder)
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("room", [4, 12], ids=["in the copy", "in the snapshot"])
def test_the_disk_fills_up(cluster, recovery, disks, folder, net, small_disk, room):
    """It is said where; the append-only file is as it was; with room, the next run has it."""
    made = cluster.add("a", keys=None, backup_location="")
    recovery.add_hosts(1)
    recovery.hosts[0]["recovery_path"] = str(disks.folder("h1"))
    wrote = AofServer(folder / "old", net)
    made.digest = wrote.write([["SET", f"k{i}", os.urandom(100_000)] for i in range(80)])
    name = f"appendonly-{made.database.primaries[0].uid}.aof.dir"
    shutil.copytree(wrote.aof, disks.folder("h1") / name)
    before = disks.contents()
    recovery.write().recover("--until", "prepare")
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - (room << 20))

    run = recovery.resume(status=FAILED)
    with sqlite3.connect(recovery.state) as db:
        error = json.loads(db.execute("SELECT error FROM task WHERE kind = 'fetch'").fetchone()[0])
    assert error["name"] == "space" and "No space left on device" in error["message"], error
    assert run.says(name), run
    assert recovery.running_servers() == [] and recovery.processes() == [] and disks.contents() == before
    filler.unlink()
    recovery.resume(status=DONE)
    recovery.assert_recovered(made)
    assert disks.contents() == before and not list(small_disk.rglob("aof-*"))
