"""capture: the CCS file of a running cluster says what is true of it, and nothing is done to its servers."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading

import pytest

from harness import redis_server, releases, resp
from harness.certificates import Authority
from harness.redis_server import wait_until
from live_cluster import LiveCluster, Sentinels
from program import DONE, FAILED, REFUSED, USAGE

SECRET = "it's \"the\" secret"


@pytest.fixture
def capture(folder, net, recovery, release):
    """capture(ADDRESS, …) writes to FOLDER/ccs; gives the keys of the file as a server reads it."""
    def run(*words, status=DONE, to="ccs"):
        place = folder / to
        place.mkdir(exist_ok=True)
        run.last = recovery.run("capture", *words, "--to", place, status=status)
        return read_by_server(place / "ccs-redis.rdb") if status == DONE else run.last

    def read_by_server(path):
        home = folder / "reader"
        server = redis_server.Server(home, net.addr(5), 6379, program=release.program, dbfilename="ccs-redis.rdb")
        shutil.copyfile(path, home / "ccs-redis.rdb")
        server.start()
        keys = {}
        with server.connect() as c:
            for key in c.call("KEYS", "*"):
                if c.call("TYPE", key) == b"hash":
                    pairs = [x.decode() for x in c.call("HGETALL", key)]
                    keys[key.decode()] = dict(zip(pairs[::2], pairs[1::2]))
                else:
                    keys[key.decode()] = {x.decode() for x in c.call("SMEMBERS", key)}
        server.kill()
        return keys
    run.read = read_by_server
    return run


def shards(keys):
    """By (address, port)."""
    return {
        (keys[f"node:{s['node_uid']}"]["addr"], int(s["port"])): {**s, "uid": key.split(":")[1]}
        for key, s in keys.items() if re.fullmatch(r"redis:\d+", key)}


def least_rights(recovery, servers, version, password="capture me"):
    """Makes the user that `capture --acl` prints, with nothing else; its options."""
    lines = recovery.run("capture", "--acl").out.splitlines()
    line = lines[1] if version >= (7, 0, 0) else lines[3]
    words = line.split()
    assert words[:3] == ["ACL", "SETUSER", "capture"]
    for server in servers:
        with server.connect() as c:
            c.call(*[w.replace(">PASSWORD", f">{password}") for w in words])
    file = recovery.folder / "password"
    file.write_text(f"{password}\n")
    return "--user", "capture", "--password", file


# --- what the file says ---

@pytest.mark.releases("redis60", "system", "redis80", "valkey91")
def test_a_cluster(folder, net, recovery, release, capture):
    live = LiveCluster(
        folder / "live", net, release.program, password=SECRET, maxmemory="100mb", maxmemory_policy="allkeys-lfu",
        appendonly="yes", appendfsync="always", hz=17).start()
    live.everywhere("ACL", "SETUSER", "app", "on", ">app's own", "~app:*", "+get", "+set")
    login = least_rights(recovery, live.servers, release.version)
    with live.servers[4].connect() as c:
        before = c.call("CONFIG", "GET", "*"), c.call("LASTSAVE")
        c.call("CONFIG", "RESETSTAT")
    keys = capture(live.addresses()[5], *login, "--name", "prod")
    with live.servers[4].connect() as c:
        assert (c.call("CONFIG", "GET", "*"), c.call("LASTSAVE")) == before, "the server was changed"
        asked = {k.removeprefix("cmdstat_").replace("|", " ") for k in c.info("commandstats")}
        assert asked <= {"auth", "info", "config get", "acl list", "module list", "function list", "cluster nodes",
                         "cluster info", "config", "acl", "module", "cluster", "config resetstat", "lastsave",
                         "replconf", "ping", "select", "function", "command"}, asked

    assert keys["cluster"]["name"] == "prod" and json.loads(keys["cluster"]["capture_findings"]) == []
    found = shards(keys)
    assert set(found) == {(s.addr, s.port) for s in live.servers}
    assert keys["redis:all"] == {s["uid"] for s in found.values()} and len(keys["node:all"]) == 6
    view = {line[0]: line for line in live.views()[0]}
    for (addr, port), shard in found.items():
        line = view[shard["cluster_node_id"]]
        primary = view[line[2]] if line[2] != "-" else line
        assert shard["role"] == ("slave" if line[2] != "-" else "master")
        assert shard["assigned_slots"].split(",") == list(primary[4:])
        assert shard["status"] == "active" and shard["bdb_uid"] == "1"
    bdb = keys["bdb:1"]
    assert bdb["shards_count"] == "3" and bdb["sharding"] == bdb["oss_cluster"] == bdb["replication"] == "enabled"
    assert bdb["memory_size"] == str(6 * 100 * 2**20) and bdb["eviction_policy"] == "allkeys-lfu"
    assert (bdb["data_persistence"], bdb["aof_policy"]) == ("aof", "appendfsync-always")
    assert bdb["authentication_redis_pass"] == SECRET
    users = json.loads(bdb["acl_users"])
    assert any(u.startswith("user app on") and "~app:*" in u for u in users) and len(users) == 3
    assert json.loads(bdb["redis_config"])["hz"] == "17"
    assert SECRET not in bdb["redis_config"]
    assert json.loads(found[live.servers[0].addr, 7000]["redis_config"])["dir"] == str(live.servers[0].folder)
    with live.servers[0].connect() as c:
        for setting, value in json.loads(bdb["redis_config"]).items():
            assert c.config(setting) == value

    # The importer takes it, and finds nothing wrong with it but that nobody made backups.
    said = recovery.run("inspect", folder / "ccs" / "ccs-redis.rdb", "--json").json
    assert {f["code"] for f in said["findings"]} <= {"no-backup-location", "modules"}, said["findings"]
    assert len(said["databases"][0]["shards"]) == 6
    assert (folder / "ccs" / "ccs-redis.rdb").stat().st_mode & 0o777 == 0o600


def test_uids_stay(folder, net, recovery, capture):
    live = LiveCluster(folder / "live", net).start()
    before = capture(live.addresses()[0])
    with live.servers[4].connect() as c:
        c.call("CLUSTER", "FAILOVER", "TAKEOVER")
    wait_until(lambda: live.views()[0] and all(v == live.views()[0] for v in live.views()), "one view")
    live.wait_until_settled()
    after = capture(live.addresses()[4])
    assert {k: v["uid"] for k, v in shards(after).items()} == {k: v["uid"] for k, v in shards(before).items()}
    roles = {k: v["role"] for k, v in shards(after).items()}
    assert roles[live.servers[4].addr, 7004] == "master" and roles[live.servers[1].addr, 7001] == "slave"


def test_a_dead_node_keeps_what_was_known_of_it(folder, net, recovery, capture):
    live = LiveCluster(folder / "live", net).start()
    before = shards(capture(live.addresses()[0]))
    dead = live.servers.pop()
    dead.kill()
    with live.servers[0].connect() as c:
        wait_until(lambda: b"slave,fail " in c.call("CLUSTER", "NODES"), "the failure")
    live.wait_until_settled()
    keys = capture(live.addresses()[0])
    shard = shards(keys)[dead.addr, dead.port]
    assert shard["status"] == "down" and shard["uid"] == before[dead.addr, dead.port]["uid"]
    assert shard["redis_config"] == before[dead.addr, dead.port]["redis_config"]
    assert keys[f"node:{shard['node_uid']}"]["status"] == "down"
    findings = json.loads(keys["cluster"]["capture_findings"])
    assert [f["code"] for f in findings] == ["server-silent"] and dead.addr in findings[0]["message"]
    assert "1 of which did not answer" in capture.last.out


@pytest.mark.releases("system", "valkey91")
def test_sentinels_and_their_primary(folder, net, recovery, release, capture):
    primary = redis_server.Server(folder / "p", net.old_node(1), 6379, SECRET, release.program).start()
    replicas = [
        redis_server.Server(folder / f"r{i}", net.old_node(1 + i), 6379, SECRET, release.program,
                            replicaof=f"{primary.addr} {primary.port}", replica_announce_ip=net.old_node(1 + i)).start()
        for i in (1, 2)]
    for replica in replicas:
        redis_server.wait_for_replica(replica)
    sentinels = Sentinels(folder, net, "sessions", primary, release.program, SECRET).start()
    login = least_rights(recovery, [primary, *replicas], release.version)
    keys = capture(f"{sentinels.servers[0][1]}:26379", *login)
    assert set(shards(keys)) == {(s.addr, 6379) for s in (primary, *replicas)}
    assert keys["bdb:1"]["name"] == "sessions" and keys["bdb:1"]["sharding"] == "disabled"
    assert len(keys["sentinel:all"]) == 3
    one = keys["sentinel:1"]
    assert (one["name"], one["quorum"], one["down_after_ms"], one["failover_timeout_ms"], one["parallel_syncs"]) == (
        "sessions", "2", "1500", "5000", "3")
    # From the primary the replicas are found, not the Sentinels.
    again = capture(f"{replicas[1].addr}:6379", *login, to="other")
    assert set(shards(again)) == set(shards(keys))


def test_several_databases_of_several_kinds(folder, net, recovery, capture):
    live = LiveCluster(folder / "live", net, primaries=1, replicas=1).start()
    alone = redis_server.Server(folder / "alone", net.old_node(1), 6390).start()
    keys = capture(live.addresses()[0], f"{alone.addr}:6390")
    assert keys["bdb:all"] == {"1", "2"}
    by_kind = {keys[f"bdb:{n}"]["oss_cluster"]: keys[f"bdb:{n}"] for n in "12"}
    assert by_kind["disabled"]["name"] == "redis-6390" and by_kind["enabled"]["shards_count"] == "1"
    # Two processes on one machine are two shards of one node.
    assert len(keys["node:all"]) == 2 and len(keys["redis:all"]) == 3


def test_racks_come_from_the_hosts_file(folder, net, recovery, capture):
    live = LiveCluster(folder / "live", net, replicas=0).start()
    recovery.hosts = [{"name": f"n{i}", "addr": s.addr, "rack": f"r{i}"} for i, s in enumerate(live.servers)]
    recovery.write_hosts()
    document = json.loads(recovery.hosts_file.read_text())
    document["live"] = {"addresses": live.addresses(), "name": "ours"}
    recovery.hosts_file.write_text(json.dumps(document))
    keys = capture("--hosts", recovery.hosts_file)
    assert keys["cluster"]["rack_aware"] == "enabled" and keys["cluster"]["name"] == "ours"
    assert {keys[f"node:{n}"]["rack_id"] for n in keys["node:all"]} == {"r0", "r1", "r2"}


@pytest.mark.releases("system", "redis80", "valkey91")
def test_by_tls(folder, net, recovery, release, capture):
    authority = Authority(folder / "ca")
    live = LiveCluster(folder / "live", net, release.program, replicas=1, primaries=1, tls=authority).start()
    mine = authority.sign("admin")
    tls = "--tls-ca", authority.cert, "--tls-cert", mine.cert, "--tls-key", mine.key
    keys = capture(live.addresses()[0], *tls)
    assert set(shards(keys)) == {(s.addr, s.port) for s in live.servers}
    bdb = keys["bdb:1"]
    assert (bdb["tls_mode"], bdb["tls_ports"], bdb["enforce_client_authentication"]) == ("enabled", "only", "enabled")

    run = capture(live.addresses()[0], status=FAILED)
    assert run.says("It may want TLS: --tls"), run
    other = Authority(folder / "other ca")
    run = capture(live.addresses()[0], "--tls-ca", other.cert, status=FAILED)
    assert run.says("certificate") and run.says("refused"), run


# --- what is not written ---

def test_another_clusters_file_is_not_replaced(folder, net, recovery, capture):
    one = LiveCluster(folder / "one", net, primaries=1, replicas=0).start()
    other = LiveCluster(folder / "other", net, primaries=1, replicas=0, first=5).start()
    capture(one.addresses()[0], "--name", "first")
    before = (folder / "ccs" / "ccs-redis.rdb").read_bytes()
    # The two clusters were made by hand with the same node id.
    for server in other.servers:
        server.kill()
        conf = server.folder / "nodes.conf"
        conf.write_text(conf.read_text().replace(f"{1:040x}", f"{77:040x}"))
        server.start()
    redis_server.wait_for_cluster(other.servers)
    run = capture(other.addresses()[0], status=REFUSED)
    assert run.says("another cluster, 'first'") and run.says("a location of its own")
    assert (folder / "ccs" / "ccs-redis.rdb").read_bytes() == before


def test_a_file_that_is_no_ccs_file_is_not_replaced(folder, net, recovery, capture):
    live = LiveCluster(folder / "live", net, primaries=1, replicas=0).start()
    (folder / "ccs").mkdir()
    (folder / "ccs" / "ccs-redis.rdb").write_bytes(b"my only copy")
    capture(live.addresses()[0], status=REFUSED)
    assert (folder / "ccs" / "ccs-redis.rdb").read_bytes() == b"my only copy"


def test_without_secrets(folder, net, recovery, capture):
    live = LiveCluster(folder / "live", net, primaries=1, replicas=0, password=SECRET).start()
    (folder / "pw").write_text(SECRET)
    keys = capture(live.addresses()[0], "--password", folder / "pw", "--without-secrets")
    raw = (folder / "ccs" / "ccs-redis.rdb").read_bytes()
    assert SECRET.encode() not in raw and not re.search(rb"#[0-9a-f]{64}", raw)
    assert "authentication_redis_pass" not in keys["bdb:1"]
    capture(live.addresses()[0], "--password", folder / "pw", to="full")
    assert SECRET.encode() in (folder / "full" / "ccs-redis.rdb").read_bytes()
    for run in (capture.last, recovery.run("inspect", folder / "full" / "ccs-redis.rdb")):
        assert SECRET not in run.out + run.err


def test_moving_slots_are_waited_for_and_else_a_finding(folder, net, recovery, capture):
    live = LiveCluster(folder / "live", net, replicas=0).start()
    ids = [line[0] for line in live.views()[0]]
    with live.servers[0].connect() as c:
        c.call("CLUSTER", "SETSLOT", 5, "MIGRATING", ids[1])
    keys = capture(live.addresses()[0], "--wait", "1s")
    assert [f["code"] for f in json.loads(keys["cluster"]["capture_findings"])] == ["unsettled"]
    assert recovery.run("inspect", folder / "ccs" / "ccs-redis.rdb").says("moves slots")
    assert capture.last.says("moves slots")

    def settle():
        with live.servers[0].connect() as c:
            c.call("CLUSTER", "SETSLOT", 5, "STABLE")
    timer = threading.Timer(1.5, settle)
    timer.start()
    keys = capture(live.addresses()[0], "--wait", "20s")
    timer.join()
    assert json.loads(keys["cluster"]["capture_findings"]) == []


def test_encrypted_by_age(folder, net, recovery, capture):
    if not shutil.which("age"):
        pytest.skip("age is not installed")
    keys = [folder / "a.key", folder / "b.key"]
    for key in keys:
        subprocess.run(["age-keygen", "-o", key], check=True, stderr=subprocess.DEVNULL)
    public = re.search("age1[a-z0-9]+", keys[0].read_text())[0]
    live = LiveCluster(folder / "live", net, primaries=1, replicas=0, password=SECRET).start()
    (folder / "pw").write_text(SECRET)
    (folder / "ccs").mkdir()
    args = "capture", live.addresses()[0], "--password", folder / "pw", "--to", folder / "ccs", "--encrypt-to", public
    recovery.run(*args)
    path = folder / "ccs" / "ccs-redis.rdb"
    sealed = path.read_bytes()
    assert sealed.startswith(b"age-encryption.org/") and b"redis" not in sealed
    assert recovery.run("inspect", path, status=USAGE).says("--key")
    assert recovery.run("inspect", path, "--key", keys[1], status=FAILED).says("cannot be decrypted")
    said = recovery.run("inspect", path, "--key", keys[0], "--json").json
    assert len(said["databases"][0]["shards"]) == 1
    # Without the key it is not known whose file is there.
    assert recovery.run(*args, status=USAGE).says("--key") and path.read_bytes() == sealed
    recovery.run(*args, "--key", keys[0])
    assert path.read_bytes() != sealed
    assert recovery.run("capture", *args[1:-1], "x@example.com", status=None).status != DONE
    cut = path.read_bytes()[:-20]
    path.write_bytes(cut)
    recovery.run("inspect", path, "--key", keys[0], status=FAILED)


def test_encrypted_by_openpgp(folder, net, recovery, capture):
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = {"GNUPGHOME": home}
    subprocess.run(["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "ops@example.com", "default",
                    "default", "never"], check=True, env={**os.environ, "GNUPGHOME": str(home)}, capture_output=True)
    live = LiveCluster(folder / "live", net, primaries=1, replicas=0).start()
    (folder / "ccs").mkdir()
    path = folder / "ccs" / "ccs-redis.rdb"
    recovery.run("capture", live.addresses()[0], "--to", folder / "ccs", "--encrypt-to", "ops@example.com", env=gpg)
    assert b"redis" not in path.read_bytes()
    assert recovery.run("inspect", path, "--json", env=gpg).json["databases"]
    recovery.run("inspect", path, status=FAILED, env={"GNUPGHOME": folder})
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=False, env={**os.environ, "GNUPGHOME": str(home)})


# --- what goes wrong ---

def test_what_goes_wrong_is_named(folder, net, recovery, capture):
    server = redis_server.Server(folder / "s", net.old_node(1), 6379, SECRET).start()
    at = f"{server.addr}:6379"
    (folder / "wrong").write_text("wrong")
    run = capture(at, "--password", folder / "wrong", status=FAILED)
    assert run.says("refuses the login") and "wrong\n" not in run.err
    assert capture(at, status=FAILED).says("wants a login")
    with server.connect() as c:
        c.call("ACL", "SETUSER", "weak", "on", ">weak", "+info", "+ping")
    (folder / "weak").write_text("weak")
    run = capture(at, "--user", "weak", "--password", folder / "weak", status=FAILED)
    assert run.says("CONFIG GET") and run.says("capture --acl")
    assert capture(f"{server.addr}:6380", status=FAILED).says(f"{server.addr}:6380")
    assert capture("redis://x", status=USAGE).says("is not an address")
    assert capture("10.0.0.1:99999", status=USAGE).says("is not an address")
    assert capture(at, "--user", "x", status=USAGE).says("no password")
    assert capture(status=USAGE).says("no address")
    assert recovery.run("capture", at, status=USAGE).says("--to")
    assert not (folder / "ccs" / "ccs-redis.rdb").exists()


def test_what_answers_is_no_server(folder, net, recovery, capture):
    with socket.socket() as listener:
        listener.bind((net.old_node(1), 0))
        listener.listen()

        def answer():
            with listener.accept()[0] as s:
                s.recv(100)
                s.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        thread = threading.Thread(target=answer)
        thread.start()
        run = capture("{}:{}".format(*listener.getsockname()), status=FAILED)
        thread.join()
    assert run.says("does not answer as a server")


def test_a_server_that_hangs_has_a_deadline(folder, net, recovery, capture):
    with socket.socket() as listener:
        listener.bind((net.old_node(1), 0))
        listener.listen()
        run = capture("{}:{}".format(*listener.getsockname()), status=FAILED)
    assert run.says("does not answer in time")


def test_a_dead_primary_or_replica_of_no_cluster_stays(folder, net, recovery, capture):
    """The file must describe a whole database when it is needed most: after a part of it died."""
    primary = redis_server.Server(folder / "p", net.old_node(1), 6379).start()
    replicas = [redis_server.Server(folder / f"r{i}", net.old_node(i), 6379, replicaof=f"{primary.addr} 6379",
                                    replica_announce_ip=net.old_node(i)).start() for i in (2, 3)]
    for replica in replicas:
        redis_server.wait_for_replica(replica)
    seeds = [f"{s.addr}:6379" for s in (primary, *replicas)]
    before = shards(capture(*seeds))
    replicas[0].kill()
    after = capture(*seeds)
    assert {k: (v["uid"], v["role"]) for k, v in shards(after).items()} == {
        k: (v["uid"], v["role"]) for k, v in before.items()}
    assert after["bdb:1"]["replication"] == "enabled" and "bdb:2" not in after
    assert shards(after)[replicas[0].addr, 6379]["status"] == "down"
    replicas[0].start()
    redis_server.wait_for_replica(replicas[0])
    primary.kill()
    for to in ("ccs", "first"):  # with a file before, and with none
        after = capture(*seeds, to=to)
        assert {k: v["role"] for k, v in shards(after).items()} == {k: v["role"] for k, v in before.items()}
        assert shards(after)[primary.addr, 6379]["status"] == "down" and "bdb:2" not in after
        assert after["bdb:1"]["shards_count"] == "1" and after["endpoint:1:1"]["port"] == "6379"
        said = recovery.run("inspect", folder / to / "ccs-redis.rdb", "--json").json
        assert not [f for f in said["findings"] if f["severity"] == "error"], said["findings"]


def test_keys_of_all_databases_are_counted(folder, net, capture, recovery):
    server = redis_server.Server(folder / "s", net.old_node(1), 6379, databases=300).start()
    with server.connect() as c:
        for number in (0, 9, 16, 255):
            c.call("SELECT", number)
            c.call("MSET", "a", 1, "b", 2)
    assert capture(f"{server.addr}:{server.port}")["bdb:1"]["captured_keys"] == "8"
