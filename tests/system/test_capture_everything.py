"""A cluster with everything on is captured, destroyed and recovered elsewhere, and is as it was.

What differs afterwards is computed here, and each difference must have been named by the plan.
"""

import gzip
import json
import re
import shutil
import ssl

import pytest

from captured import backup_name, functions_of, users_of
from harness import contents, module, redis_server, resp
from harness.certificates import Authority
from harness.redis_server import wait_until
from live_cluster import LiveCluster, Sentinels
from test_capture import least_rights

ROOT = "it's \"root\" here"
RACKS = "abc"
ALL = ("system", "redis60", "redis80", "valkey80", "valkey81", "valkey91")

# Names of machines, files and ports; what would stop a server or shut out the test; aliases, which would be
# changed back.
NOT_CHANGED = re.compile(
    "bind.*|.*port|tls-.*|cluster-enabled|cluster-announce-.*|replica-announce-.*|replica-announced|.*slave.*|"
    "replicaof|daemonize|import-mode|rdb-key-save-delay|key-load-delay|watchdog-period|unixsocketperm|"
    "replica-serve-stale-data|lua-time-limit|.*-ziplist-.*|commandlog-(slow-execution-max-len|execution-.*)")

# Instead of the number after the one that it has.
CHOSEN = {
    "appendfsync": "always", "client-output-buffer-limit": "replica 300000000 60000000 70", "loglevel": "verbose",
    "maxclients": "777", "maxmemory": "64mb", "maxmemory-clients": "100mb", "maxmemory-policy": "volatile-lfu",
    "latency-tracking-info-percentiles": "50 90", "notify-keyspace-events": "KEA", "repl-diskless-load": "swapdb",
    "sanitize-dump-payload": "clients", "save": "900 5 60 1000", "timeout": "321", "acl-pubsub-default": "allchannels",
    "cluster-preferred-endpoint-type": "hostname", "cluster-announce-human-nodename": "a node",
    "proc-title-template": "{title} of ours", "propagation-error-behavior": "panic", "cluster-migration-barrier": "3",
    "cluster-node-timeout": "2345", "active-defrag-cycle-min": "2", "active-expire-effort": "2",
}

# Such as a server takes only in its configuration file.
AT_START = {"tcp_backlog": "100", "databases": "20", "io_threads": "2", "always_show_logo": "yes",
            "aof_rewrite_incremental_fsync": "no"}


def odd_value(name, value):
    if name in CHOSEN:
        return CHOSEN[name]
    if NOT_CHANGED.fullmatch(name):
        return None
    if value in ("yes", "no"):
        return "no" if value == "yes" else "yes"
    return str(int(value) + 1) if re.fullmatch(r"\d+", value) else None


def config_of(c):
    pairs = c.call("CONFIG", "GET", "*")
    return {k.decode(): v.decode() for k, v in zip(pairs[::2], pairs[1::2])}


def change_settings(c):
    """All that a server lets itself be told, except what `NOT_CHANGED` says; how many."""
    count = 0
    for name, value in config_of(c).items():
        odd = odd_value(name, value)
        if odd is None:
            continue
        try:
            c.call("CONFIG", "SET", name, odd)
            count += 1
        except resp.ReplyError:
            pass
    return count


def add_users(c, version):
    c.call("ACL", "SETUSER", "app", "on", ">app's own", "~app:*", "~{odd}\\x:[a-c]?*", "+@read", "+@write", "-flushall")
    c.call("ACL", "SETUSER", "ops", "on", ">one", ">two", "~*", "+@all", "-@dangerous", "+info", "+acl|whoami")
    c.call("ACL", "SETUSER", "hashed", "on", f"#{'0a' * 32}", "~k*", "+get")
    c.call("ACL", "SETUSER", "open", "on", "nopass", "~public:*", "+get")
    c.call("ACL", "SETUSER", "old", "off", ">x")
    c.call("ACL", "SETUSER", "user", "on", ">x", "~channels:*", "~on", "+get")
    if version >= (6, 2, 0):
        c.call("ACL", "SETUSER", "app", "resetchannels", "&news:*", "&%d")
    if version >= (7, 0, 0):
        c.call("ACL", "SETUSER", "app", "(%R~shared:* +get)", "(~q:* +lpush +rpop)")
        c.call("ACL", "SETUSER", "ops", "+config|get", "-debug")


def fill(c, version, databases=(0,)):
    """Of a cluster's node, only keys of its slots."""
    if version >= (7, 0, 0):
        c.call("FUNCTION", "LOAD", "#!lua name=ours\nredis.register_function('f', function() return 1 end)")
        c.call("FUNCTION", "LOAD", "#!lua name=more\nredis.register_function{function_name='g', "
               "callback=function(k) return k end, flags={'no-writes'}}")
    for number in databases:
        if number:
            c.call("SELECT", number)
        for i in range(60):
            for command in (("SET", f"app:{i}", f"value {i}"), ("SET", f"t:{i}", "passes", "EX", 86400 + i),
                            ("HSET", f"h:{i}", "a", i), ("TMOD.SET", f"m:{i}", i * 7)):
                try:
                    c.call(*command)
                except resp.ReplyError as e:
                    assert str(e).startswith("MOVED"), e


def digest_of(c, databases=(0,)):
    total = contents.Digest()
    for number in databases:
        if number:
            c.call("SELECT", number)
        total += contents.digest(c)
    return total


class Everything:
    """Two databases that run, and what is true of them: by the database's name and the shard's uid."""

    def __init__(self, folder, net, release):
        self.folder, self.release = folder, release
        self.databases = {"cluster": (0,), "orders.main": (0, 3, 19)}
        self.authority = Authority(folder / "ca")
        self.mine = self.authority.sign("admin")
        self.module = str(module.build(folder))
        more = dict(AT_START, loadmodule=self.module)
        if release.version >= (7, 0, 0):
            more["cluster_announce_hostname"] = "old.example.com"
        if release.is_valkey and release.version >= (9, 0, 0):
            more["cluster_databases"] = "4"
            self.databases["cluster"] = (0, 2)
        cluster = LiveCluster(
            folder / "live", net, release.program, replicas=1, password=ROOT, tls=self.authority,
            plain_port=lambda i: 6300 + i, **more).start()
        more["plain_port"] = 6380
        more.pop("cluster_announce_hostname", None)
        more.pop("cluster_databases", None)
        addrs = [net.old_node(11), net.old_node(12)]
        primary = redis_server.Server(
            folder / "p", addrs[0], 6379, ROOT, release.program, self.authority, replica_announce_ip=addrs[0],
            **more).start()
        replica = redis_server.Server(
            folder / "r", addrs[1], 6379, ROOT, release.program, self.authority, replica_announce_ip=addrs[1],
            replicaof=f"{primary.addr} 6379", **more).start()
        redis_server.wait_for_replica(replica)
        self.servers = [*cluster.servers, primary, replica]
        for i, server in enumerate(self.servers):
            with server.connect() as c:
                c.call("ACL", "SETUSER", "default", "on")
                add_users(c, release.version)
                if server in (*cluster.servers[:3], primary):
                    fill(c, release.version, self.databases["cluster" if server in cluster.servers else "orders.main"])
        self.sentinels = Sentinels(
            folder / "s", net, "orders.main", primary, release.program, ROOT, tls=self.authority).start()
        for server in self.servers:
            with server.connect() as c:
                assert change_settings(c) > 50
        with replica.connect() as c:
            c.call("CONFIG", "SET", "replica-priority", "7")

    def capture(self, recovery):
        """By the user that `capture --acl` prints. The racks stand in a hosts file."""
        login = least_rights(recovery, self.servers, self.release.version)
        first = self.sentinels.servers[0]
        old = recovery.folder / "old.json"
        nodes = sorted({s.addr for s in self.servers})
        old.write_text(json.dumps({
            "hosts": [{"name": f"n{i}", "addr": a, "rack": RACKS[i % 3]} for i, a in enumerate(nodes)],
            "live": {"addresses": [f"{self.servers[0].addr}:{self.servers[0].port}", f"{first[1]}:{first[2]}"],
                     "name": "prod"}}))
        place = recovery.folder / "captured"
        place.mkdir()
        run = recovery.run("capture", "--hosts", old, *login, "--tls-ca", self.authority.cert, "--tls-cert",
                           self.mine.cert, "--tls-key", self.mine.key, "--to", place)
        assert ROOT not in run.out + run.err
        recovery.ccs = place / "ccs-redis.rdb"
        return recovery.run("inspect", recovery.ccs, "--json").json

    def remember(self, said):
        """What is true of each server, and a backup of each primary."""
        nodes = {n["uid"]: n["addr"] for n in said["nodes"]}
        at = {(s.addr, s.port): s for s in self.servers}
        self.before, self.digests = {}, {}
        for database in said["databases"]:
            name, tops = database["name"], [s for s in database["shards"] if s["role"] == "primary"]
            numbers = self.databases["orders.main" if name == "orders.main" else "cluster"]
            self.digests[name] = contents.Digest()
            for shard in database["shards"]:
                server = at[nodes[shard["node_uid"]], shard["port"]]
                with server.connect() as c:
                    self.before[name, shard["uid"]] = truth(c, shard["role"])
                    if shard["role"] == "primary":
                        self.digests[name] += digest_of(c, numbers)
                        c.call("SAVE")
                        (self.folder / "backups" / backup_name(database, tops.index(shard))).write_bytes(
                            gzip.compress((server.folder / "dump.rdb").read_bytes(), 1))

    def destroy(self):
        for home, _, _ in self.sentinels.servers:
            redis_server.kill_by_pid_file(home / "sentinel.pid")
        for server in self.servers:
            server.kill()
        for name in ("live", "p", "r", "s"):
            shutil.rmtree(self.folder / name)

    def connect(self, shard, password=ROOT, user=None, certificate=True):
        return resp.Connection(shard["addr"], shard["port"], password, user,
                               tls=self.authority.client(self.mine if certificate else None))


def truth(c, role):
    """What a server says of itself: settings, users, modules, functions, slots."""
    found = {f"setting {k}": v for k, v in config_of(c).items()}
    found.update({f"user {k}": v for k, v in users_of(c).items()})
    found["modules"] = sorted(
        sorted((k, str(v)) for k, v in zip(m[::2], m[1::2]) if k != b"path") for m in c.call("MODULE", "LIST"))
    found["functions"] = functions_of(c)
    found["role"] = role
    if c.info("cluster")["cluster_enabled"] == "1":
        lines = [line.split() for line in c.call("CLUSTER", "NODES").decode().splitlines()]
        found["slots"] = sorted(tuple(line[8:]) for line in lines)
        found["replica count"] = sum("slave" in line[2] for line in lines)
        if role == "primary":
            own = next(line for line in lines if "myself" in line[2])
            found["own slots"], found["own replicas"] = own[8:], sum(line[3] == own[0] for line in lines)
    elif role == "primary":
        found["own replicas"] = c.info("replication")["connected_slaves"]
    return found


def sentinels_view(connect, name):
    """What a Sentinel says of a database, without its addresses and counters."""
    with connect() as c:
        pairs = [x.decode() for x in c.call("SENTINEL", "MASTER", name)]
        said = dict(zip(pairs[::2], pairs[1::2]))
        kept = {k: said[k] for k in ("name", "flags", "num-slaves", "num-other-sentinels", "quorum",
                                     "down-after-milliseconds", "failover-timeout", "parallel-syncs")}
        return kept, c.call("SENTINEL", "CKQUORUM", name).split()[0]


def named_by(plan, label):
    """The settings and users of which a plan says that they will differ."""
    database = next(d for d in plan["databases"] if d["label"] == label)
    named = {f"setting {n}" for n in database["settings_own"]} | {f"user {n}" for n in database["users_added"]}
    for warning in plan["warnings"]:
        kind = {"settings": "setting", "users": "user"}.get(warning["code"].split("-")[0])
        if kind and warning["database"] == label:
            named |= {f"{kind} {n}" for n in warning["message"].split(": ")[-1].split(", ")}
    return named


def assert_as_before(before, after, named):
    unnamed = {}
    for key in sorted(set(before) | set(after)):
        was, now = before.get(key), after.get(key)
        if was != now and key not in named:
            unnamed[key] = was, now
    assert not unnamed, json.dumps(unnamed, indent=1, default=str)


def offer_hosts(recovery, everything, backups):
    recovery.add_hosts(3).write_hosts()
    for host, rack in zip(recovery.hosts, RACKS):
        made = everything.authority.sign(host["name"], host["addr"])
        host["rack"] = rack
        host["tls"] = {"cert": {"file": str(made.cert)}, "key": {"file": str(made.key)},
                       "ca": {"file": str(everything.authority.cert)}}
        host["modules"] = [everything.module]
        host["announce_hostname"] = f"{host['name']}.example.com"
    recovery.sources = {"db:1": str(backups), "db:2": str(backups)}
    recovery.write_hosts()


# Of each server, where no other one needs the same port on its new host.
AT_ITS_PORTS = ("port", "tls-port", "tls-replication", "tls-auth-clients", "cluster-port")


def assert_at_its_ports(before, after):
    for name in AT_ITS_PORTS:
        assert before.get(f"setting {name}") == after.get(f"setting {name}"), name


def assert_logins(everything, shard):
    with everything.connect(shard, "app's own", "app") as c:
        with pytest.raises(resp.ReplyError, match="NOPERM"):
            c.call("FLUSHALL")
    with everything.connect(shard, "any", "open") as c:
        with pytest.raises(resp.ReplyError, match="NOPERM"):
            c.call("SET", "public:1", 1)
    for password, user in (("wrong", None), ("app's", "app"), ("x", "old"), ("x", "recluster")):
        with pytest.raises(resp.ReplyError, match="WRONGPASS"):
            everything.connect(shard, password, user).close()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        everything.connect(shard, certificate=False).call("PING")
    with pytest.raises((ConnectionError, resp.ReplyError)):
        resp.Connection(shard["addr"], shard["port"]).call("PING")
    with resp.Connection(shard["addr"], shard["other_port"], ROOT) as c:
        assert c.call("PING") == b"PONG"
    with pytest.raises(resp.ReplyError, match="NOAUTH"):
        resp.Connection(shard["addr"], shard["other_port"]).call("GET", "app:1")


def assert_on_other_racks(plan):
    racks = {h["name"]: h["rack"] for h in plan["hosts"]}
    for database in plan["databases"]:
        by_uid = {s["uid"]: s for s in database["shards"]}
        for shard in database["shards"]:
            if shard["primary"] is not None:
                assert racks[by_uid[shard["primary"]]["host"]] != racks[shard["host"]]
        assert len({racks[s["host"]] for s in database["sentinels"]}) in (0, 3)


def comes_back(folder, net, recovery, release):
    everything = Everything(folder, net, release)
    first = everything.sentinels.servers[0]
    view = sentinels_view(
        lambda: resp.Connection(first[1], first[2], tls=everything.sentinels.tls), "orders.main")
    said = everything.capture(recovery)
    (folder / "backups").mkdir(exist_ok=True)
    everything.remember(said)
    everything.destroy()
    offer_hosts(recovery, everything, folder / "backups")
    plan = recovery.plan("--old-cluster-is-dead", "prod", "--json").json
    recovery.recover("--old-cluster-is-dead", "prod")
    status = recovery.status()
    assert_on_other_racks(plan)
    for database in status["databases"]:
        name, shards = database["name"], database["shards"]
        named = named_by(plan, f"db:{database['uid']}")
        numbers = everything.databases["orders.main" if name == "orders.main" else "cluster"]
        digest = contents.Digest()
        by_uid = {s["uid"]: s for s in shards}
        assert {u for n, u in everything.before if n == name} == set(by_uid)
        for uid, shard in by_uid.items():
            with everything.connect(shard) as c:
                found = truth(c, shard["role"])
                assert_as_before(everything.before[name, uid], found, named)
                assert_at_its_ports(everything.before[name, uid], found)
                if shard["role"] == "primary":
                    digest += digest_of(c, numbers)
            assert_logins(everything, shard)
        assert digest.same_as(everything.digests[name])
    orders = next(d for d in status["databases"] if d["name"] == "orders.main")
    assert len(orders["sentinels"]) == 3
    for sentinel in orders["sentinels"]:
        wait_until(lambda: sentinels_view(
            lambda: everything.connect(sentinel, None), "orders.main") == view, "the view of the Sentinels", 20)


@pytest.mark.releases("system", "valkey91")
def test_everything_comes_back(folder, net, recovery, release):
    comes_back(folder, net, recovery, release)


@pytest.mark.slow
@pytest.mark.releases(*(name for name in ALL if name not in ("system", "valkey91")))
def test_everything_comes_back_on_each_release(folder, net, recovery, release):
    comes_back(folder, net, recovery, release)
