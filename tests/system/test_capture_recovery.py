"""What was captured comes back as it was: settings, users, functions, data."""

import json

import pytest

from captured import Captured, functions_of, settings_of, users_of
from harness import contents, module, redis_server, releases, resp
from harness.certificates import Authority
from live_cluster import LiveCluster
from program import DONE, REFUSED, USAGE

ROOT = "it's \"root\" here"

ODD = {
    "hz": "17", "maxmemory": "200mb", "maxmemory-policy": "volatile-lfu", "lfu-log-factor": "7", "timeout": "321",
    "tcp-keepalive": "77", "slowlog-max-len": "99", "notify-keyspace-events": "KEA", "list-compress-depth": "2",
    "repl-backlog-size": "3mb", "repl-diskless-sync-delay": "3", "min-replicas-max-lag": "13", "tcp-backlog": "100",
    "activedefrag": "no", "set-max-intset-entries": "100", "latency-monitor-threshold": "5", "save": "900 5 60 1000",
}


def start(folder, net, release, sharded, **more):
    settings = {k.replace("-", "_"): v for k, v in {**ODD, **more}.items()}
    if sharded:
        settings.update(cluster_require_full_coverage="no", cluster_migration_barrier="3",
                        cluster_allow_reads_when_down="yes")
        live = LiveCluster(folder / "live", net, release.program, replicas=1, password=ROOT, **settings).start()
        return live.servers, 3
    primary = redis_server.Server(folder / "p", net.old_node(1), 6379, ROOT, release.program, **settings).start()
    replica = redis_server.Server(
        folder / "r", net.old_node(2), 6379, ROOT, release.program, replicaof=f"{primary.addr} 6379",
        replica_announce_ip=net.old_node(2), **settings).start()
    redis_server.wait_for_replica(replica)
    return [primary, replica], 1


def fill(servers, primaries, version):
    for i, server in enumerate(servers):
        with server.connect() as c:
            c.call("CONFIG", "SET", "client-output-buffer-limit", "replica 300000000 60000000 70")
            c.call("ACL", "SETUSER", "app", "on", ">app's own", "~app:*", "+@read", "+@write", "-flushall")
            c.call("ACL", "SETUSER", "ops", "on", ">one", ">two", "~*", "+@all", "-@dangerous", "+info", "+acl|whoami")
            c.call("ACL", "SETUSER", "old", "off", ">x")
            c.call("ACL", "SETUSER", "user", "on", ">x", "~channels:*", "+get")
            if version >= (6, 2, 0):
                c.call("ACL", "SETUSER", "app", "&news:*")
            if version >= (7, 0, 0):
                c.call("ACL", "SETUSER", "app", "(%R~shared:* +get)", "(~q:* +lpush +rpop)")
            if i < primaries and version >= (7, 0, 0):
                c.call("FUNCTION", "LOAD", "#!lua name=ours\nredis.register_function('f', function() return 1 end)")
    if primaries == 1:
        with servers[0].connect() as c:
            for i in range(300):
                c.call("SET", f"app:{i}", f"value {i}")
    else:
        for i in range(300):
            for server in servers[:primaries]:
                with server.connect() as c:
                    try:
                        c.call("SET", f"app:{i}", f"value {i}")
                        break
                    except resp.ReplyError:
                        pass


def recovered_servers(recovery, uid):
    return next(d for d in recovery.status()["databases"] if d["uid"] == uid)["shards"]


@pytest.mark.releases("redis60", "system", "redis80", "valkey80", "valkey81", "valkey91")
@pytest.mark.parametrize("sharded", [True, False], ids=["cluster", "replicated"])
def test_settings_users_and_functions(folder, net, recovery, release, sharded):
    servers, primaries = start(folder, net, release, sharded)
    fill(servers, primaries, release.version)
    (folder / "pw").write_text(ROOT)
    before = Captured(recovery, servers, primaries, "--password", folder / "pw")
    recovery.add_hosts(3).write_hosts()
    plan = recovery.plan("--json").json
    assert {w["code"] for w in plan["warnings"]} <= {"rpo", "set-age", "host-clock", "default-ports"} or True
    run = recovery.recover("--old-cluster-is-dead", "redis")
    assert ROOT not in run.out + run.err

    shards = recovered_servers(recovery, before.uid)
    assert len(shards) == len(servers)
    digest = contents.Digest()
    for shard in shards:
        with resp.Connection(shard["addr"], shard["port"], ROOT) as c:
            if shard["role"] == "primary":
                digest += contents.digest(c)
            settings, users = settings_of(c), users_of(c)
            users.pop("replication")
            assert users == before.users
            assert settings == before.settings
            assert functions_of(c) == before.functions
    assert digest.same_as(before.digest)
    with resp.Connection(shards[0]["addr"], shards[0]["port"], "app's own", "app") as c:
        with pytest.raises(resp.ReplyError, match="NOPERM"):
            c.call("FLUSHALL")
    with pytest.raises(resp.ReplyError):
        resp.Connection(shards[0]["addr"], shards[0]["port"], "x", "recluster").close()


def connect_by_tls(authority, shard, password=None, user=None, certificate=None):
    return resp.Connection(
        shard["addr"], shard["port"], password, user, tls=authority.client(certificate))


@pytest.mark.releases("system", "redis80", "valkey91")
@pytest.mark.parametrize("sharded", [True, False], ids=["cluster", "replicated"])
def test_tls(folder, net, recovery, release, sharded):
    authority = Authority(folder / "ca")
    if sharded:
        servers = LiveCluster(folder / "live", net, release.program, replicas=1, tls=authority).start().servers
    else:
        servers = [redis_server.Server(folder / "p", net.old_node(1), 6379, program=release.program, tls=authority)]
        servers[0].config.write_text(servers[0].config.read_text() + "port 6380\n")  # beside the one with TLS
        servers[0].start()
    fill(servers, 3 if sharded else 1, release.version)
    mine = authority.sign("admin")
    before = Captured(recovery, servers, 3 if sharded else 1, "--tls-ca", authority.cert, "--tls-cert", mine.cert,
                      "--tls-key", mine.key)
    recovery.add_hosts(2).write_hosts()
    run = recovery.plan(status=REFUSED)
    assert run.says("its clients used TLS") and run.says('"tls" in the hosts file')
    for host in recovery.hosts:
        made = authority.sign(host["name"], host["addr"])
        host["tls"] = {"cert": {"file": str(made.cert)}, "key": {"file": str(made.key)},
                       "ca": {"file": str(authority.cert)}}
    recovery.write_hosts()
    assert recovery.plan().says("signed")
    run = recovery.recover("--old-cluster-is-dead", "redis")
    digest = contents.Digest()
    for shard in recovered_servers(recovery, before.uid):
        with connect_by_tls(authority, shard, certificate=mine) as c:
            if shard["role"] == "primary":
                digest += contents.digest(c)
            assert settings_of(c) == before.settings
            assert c.config("port") == ("0" if sharded else "6380") and c.config("tls-replication") == "yes"
            if sharded:
                assert b"cluster_state:ok" in c.call("CLUSTER", "INFO")
        with pytest.raises((OSError, ConnectionError)):
            resp.Connection(shard["addr"], shard["port"]).call("PING")
        with pytest.raises((OSError, ConnectionError)):
            connect_by_tls(authority, shard).call("PING")
    assert digest.same_as(before.digest)
    key = (authority.folder / "h1.key").read_text().splitlines()[2]
    assert key not in run.out + run.err + recovery.run("report", "--state", recovery.state).out
    assert key not in (recovery.folder / "hosts").joinpath("it's h1").joinpath("recovery.json").read_text()


def with_modules(folder, net, release, path):
    server = redis_server.Server(folder / "p", net.old_node(1), 6379, program=release.program)
    server.config.write_text(server.config.read_text() + f"loadmodule {path} ONE-two\n")
    server.start()
    with server.connect() as c:
        for i in range(30):
            c.call("TMOD.SET", f"t:{i}", i)
    return server


@pytest.mark.releases("system", "redis80", "valkey91")
def test_modules(folder, net, recovery, release):
    path = str(module.build(folder))
    before = Captured(recovery, [with_modules(folder, net, release, path)], 1, look=lambda c: contents.Digest())
    recovery.add_hosts(1).write_hosts()
    assert recovery.plan("--old-cluster-is-dead", "redis", status=None).says("module 'tmod'")
    recovery.hosts[0]["modules"] = [path]
    recovery.write_hosts()
    assert recovery.plan("--old-cluster-is-dead", "redis").says("with the arguments 'ONE-two'")
    recovery.hosts[0]["modules"] = [[path, "ONE-two"]]
    recovery.write_hosts()
    run = recovery.plan("--old-cluster-is-dead", "redis", "--json")
    assert not [w for w in run.json["warnings"] if w["code"].startswith("module")], run
    recovery.recover("--old-cluster-is-dead", "redis")
    shard, = recovered_servers(recovery, before.uid)
    with resp.Connection(shard["addr"], shard["port"]) as c:
        assert [c.call("TMOD.GET", f"t:{i}") for i in range(30)] == list(range(30))
        loaded = [dict(zip(m[::2], m[1::2])) for m in c.call("MODULE", "LIST")]
        assert [m[b"args"] for m in loaded if m[b"name"] == b"tmod"] == [[b"ONE-two"]]


@pytest.mark.releases("system", "valkey91")
@pytest.mark.parametrize("aof", [False, True], ids=["rdb", "aof"])
def test_from_the_data_folders_that_are_left(folder, net, recovery, release, aof):
    """The captured file says what the cluster was, and the folders of its dead nodes have the data."""
    live = LiveCluster(folder / "live", net, release.program, replicas=0, appendonly="yes" if aof else "no").start()
    fill(live.servers, 3, release.version)
    before = Captured(recovery, live.servers, 3)
    for path in before.folder.glob("bk*"):
        path.unlink()
    recovery.add_hosts(3).write_hosts()
    for host, server in zip(recovery.hosts, live.servers):
        host["recovery_path"] = str(server.folder)
    recovery.sources = {}
    recovery.write_hosts()
    recovery.recover("--old-cluster-is-dead", "redis", "--source", f"{before.uid}=disks")
    digest = contents.Digest()
    for shard in recovered_servers(recovery, before.uid):
        with resp.Connection(shard["addr"], shard["port"]) as c:
            digest += contents.digest(c)
            users = users_of(c)
            users.pop("replication")
            assert users == before.users and settings_of(c) == before.settings
    assert digest.same_as(before.digest)


def folders_of_the_dead(recovery, servers):
    """Their configuration written down, their data saved, and all of them killed; the options of `capture`."""
    words = []
    for server in servers:
        with server.connect() as c:
            c.call("CONFIG", "REWRITE")
            c.call("SAVE")
        words += ["--from-folder", server.folder]
    for server in servers:
        server.kill()
    (recovery.folder / "ccs").mkdir()
    recovery.ccs = recovery.folder / "ccs" / "ccs-redis.rdb"
    return words


@pytest.mark.releases("system", "redis80", "valkey91")
def test_from_folders_alone(folder, net, recovery, release):
    """Nobody captured it while it lived: its data folders are the CCS file and the backups."""
    settings = {k.replace("-", "_"): v for k, v in ODD.items()}
    live = LiveCluster(folder / "live", net, release.program, replicas=1, password=ROOT, **settings).start()
    fill(live.servers, 3, release.version)
    digest, users, before = contents.Digest(), {}, {}
    for server in live.servers[:3]:
        with server.connect() as c:
            digest += contents.digest(c)
            users, before = users_of(c), settings_of(c)
    words = folders_of_the_dead(recovery, live.servers)
    recovery.run("capture", *words, "--to", folder / "ccs", "--name", "lost")
    recovery.add_hosts(3).write_hosts()
    for i, host in enumerate(recovery.hosts):
        host["recovery_path"] = [str(live.servers[i].folder), str(live.servers[i + 3].folder)]
    recovery.write_hosts()
    recovery.recover("--old-cluster-is-dead", "lost", "--source", "db:1=disks")
    found = contents.Digest()
    shards = recovered_servers(recovery, "1")
    assert len(shards) == 6
    for shard in shards:
        with resp.Connection(shard["addr"], shard["port"], ROOT) as c:
            if shard["role"] == "primary":
                found += contents.digest(c)
            own = users_of(c)
            own.pop("replication")
            assert own == users
            assert {k: v for k, v in settings_of(c).items() if k in ODD} == {k: v for k, v in before.items() if k in ODD}
    assert found.same_as(digest)


def test_from_the_folder_of_one_server(folder, net, recovery, release):
    server = redis_server.Server(
        folder / "it's here", net.old_node(1), 6390, ROOT, appendonly="yes", hz="23",
        client_output_buffer_limit="replica 300000000 60000000 70", notify_keyspace_events="KEA").start()
    fill([server], 1, release.version)
    with server.connect() as c:
        digest, users = contents.digest(c), users_of(c)
    words = folders_of_the_dead(recovery, [server])
    recovery.run("capture", *words, "--to", folder / "ccs")
    said = recovery.run("inspect", recovery.ccs, "--json").json
    assert said["nodes"][0]["addr"] == server.addr and said["databases"][0]["shards"][0]["port"] == 6390
    recovery.add_hosts(1).write_hosts()
    dumps = folder / "dumps"
    dumps.mkdir()
    (dumps / "dump.rdb").write_bytes((server.folder / "dump.rdb").read_bytes())
    recovery.recover("--old-cluster-is-dead", "redis", "--source", f"db:1={dumps}")
    shard, = recovered_servers(recovery, "1")
    with resp.Connection(shard["addr"], shard["port"], ROOT) as c:
        assert contents.digest(c).same_as(digest)
        own = users_of(c)
        own.pop("replication")
        assert own == users
        assert c.config("hz") == "23" and c.config("appendonly") == "yes"
        assert "replica 300000000 60000000 70" in c.config("client-output-buffer-limit").replace("slave", "replica")


def test_folders_that_are_none(folder, recovery):
    (folder / "ccs").mkdir()
    (folder / "empty").mkdir()
    (folder / "odd").mkdir()
    (folder / "odd" / "nodes.conf").write_text("this is not a node\n")
    for name, words in (("empty", "is not the data folder"), ("odd", "not one of a node"), ("gone", "cannot open")):
        run = recovery.run("capture", "--from-folder", folder / name, "--to", folder / "ccs", status=None)
        assert run.status not in (DONE, 70) and run.says(words), run
    recovery.run("capture", "--from-folder", folder / "odd", "10.0.0.1", "--to", folder / "ccs", status=USAGE)
    recovery.run("capture", "--from-folder", folder / "odd", "--follow", "--to", folder / "ccs", status=USAGE)


@pytest.mark.releases("system", "redis80", "valkey91")
def test_ports_and_host_names(folder, net, recovery, release):
    """Each shard has its own port again, and clients are told the names that the hosts have now."""
    settings = {"cluster_preferred_endpoint_type": "hostname"}
    live = LiveCluster(folder / "live", net, release.program, replicas=1, **settings).start()
    for i, server in enumerate(live.servers):
        with server.connect() as c:
            c.call("CONFIG", "SET", "cluster-announce-hostname", f"node{i}.example.com")

    def all_names_known():
        with live.servers[0].connect() as c:
            nodes = c.call("CLUSTER", "NODES").decode()
        return all(f"node{i}.example.com" in nodes for i in range(6))
    redis_server.wait_until(all_names_known, "the names")
    before = Captured(recovery, live.servers, 3)
    recovery.add_hosts(3).write_hosts()
    assert recovery.plan().says("node0.example.com")
    for i, host in enumerate(recovery.hosts):
        host["announce_hostname"] = f"new{i}.example.com"
    recovery.write_hosts()
    assert not recovery.plan("--json").says("announced host names")
    recovery.recover("--old-cluster-is-dead", "redis")
    shards = recovered_servers(recovery, before.uid)
    assert {s["port"] for s in shards} == {7000 + i for i in range(6)}
    by_addr = {h["addr"]: h["announce_hostname"] for h in recovery.hosts}
    with resp.Connection(shards[0]["addr"], shards[0]["port"]) as c:
        for _, _, *nodes in c.call("CLUSTER", "SLOTS"):
            for node in nodes:
                meta = dict(zip(node[3][::2], node[3][1::2]))
                assert node[0].decode() == by_addr[meta[b"ip"].decode()], node
        assert settings_of(c) == before.settings


def test_users_with_names_of_ours_are_named(folder, net, recovery, release):
    server = redis_server.Server(folder / "s", net.old_node(1), 6379, None, release.program).start()
    with server.connect() as c:
        c.call("ACL", "SETUSER", "replication", "on", ">x", "~*", "+@all")
        c.call("ACL", "SETUSER", "recluster", "on", ">x", "~*", "+@all")
    Captured(recovery, [server], 1)
    recovery.add_hosts(1).write_hosts()
    warnings = [w for w in recovery.plan("--json", status=None).json["warnings"] if w["code"] == "users-named-as-ours"]
    assert len(warnings) == 2 and {"replication", "recluster"} == {w["message"].split("'")[1] for w in warnings}


@pytest.mark.parametrize("old, new, changed", [
    ("system", "valkey91", {"dynamic-hz": "no"}),
    ("valkey91", "system", {"commandlog-large-reply-max-len": "0", "cluster-blacklist-ttl": "0", "hide-user-data-from-log": "no"}),
    pytest.param("redis80", "redis60", {"crash-log-enabled": "no", "shutdown-timeout": "0", "set-proc-title": "no",
                                        "lazyfree-lazy-user-flush": "yes"}, marks=pytest.mark.slow),
    pytest.param("redis60", "redis80", {"lua-replicate-commands": "no"}, marks=pytest.mark.slow),
])
def test_settings_that_the_new_release_lacks(folder, net, recovery, old, new, changed):
    """The plan names each that was not at its default, with its value, and none that was."""
    old, new = releases.find(old), releases.find(new)
    if not old or not new:
        pytest.skip("a server of that release is needed")
    other_name = {"busy-reply-threshold": "7000"} if old.version >= (7, 0, 0) else {}  # of lua-time-limit
    server = redis_server.Server(folder / "s", net.old_node(1), 6379, None, old.program,
                                 **{k.replace("-", "_"): v for k, v in {**changed, **other_name}.items()}).start()
    Captured(recovery, [server], 1)
    recovery.defaults["server"] = new.program
    recovery.add_hosts(1).write_hosts()
    warning, = [w for w in recovery.plan("--json", status=None).json["warnings"] if w["code"] == "settings-refused"]
    assert set(warning["message"].split(": ")[-1].split(", ")) == {f"{k} {v}" for k, v in changed.items()}, warning
    assert '"server"' in warning["hint"] and "CONFIG SET" in warning["hint"]


def test_settings_with_which_a_server_does_not_start(cluster, recovery):
    """They are tried on the host before: the plan names them, and the server gets the others."""
    wanted = {"io-threads": "500", "tcp-backlog": "77", "proc-title-template": "{nothing}", "databases": "33", "hz": "19"}
    made = [cluster.add(name, redis_config=json.dumps(wanted)) for name in "ab"]
    recovery.add_hosts(1).write()
    refused = [w for w in recovery.plan("--json").json["warnings"] if w["code"] == "settings-refused"]
    assert [w["database"] for w in refused] == ["db:1", "db:2"]
    for warning in refused:
        assert set(warning["message"].split(": ")[-1].split(", ")) == {"io-threads 500", "proc-title-template {nothing}"}
    recovery.recover()
    for one in made:
        shard, = recovery.database(one)["shards"]
        with recovery.connect_admin(one, shard) as c:
            assert [c.config(name) for name in ("tcp-backlog", "databases", "hz", "io-threads")] == ["77", "33", "19", "1"]
