"""A cluster that runs, is captured, backed up and destroyed: what a recovery of it is compared with."""

import gzip
import json
import re

from harness import contents, redis_server, resp

STAMP = "20261120-020000"

# What a recovery sets in its own way, or what belongs to a machine: the manual lists it.
OF_THE_MACHINE = re.compile(
    "aclfile|appenddirname|appendfilename|bind|bind-source-addr|cluster-announce-.*|cluster-config-file|cluster-port|"
    "daemonize|dbfilename|dir|logfile|masterauth|masteruser|primaryauth|primaryuser|pidfile|port|protected-mode|"
    "replicaof|slaveof|requirepass|tls-.*|unixsocket|unixsocketperm|replica-announce-.*|slave-announce-.*|"
    "disable-thp|maxclients")


def settings_of(c):
    pairs = c.call("CONFIG", "GET", "*")
    found = {k.decode(): v.decode() for k, v in zip(pairs[::2], pairs[1::2])}
    return {k: v for k, v in found.items() if not OF_THE_MACHINE.fullmatch(k)}


def users_of(c):
    """Lines of ACL LIST by user, with their rules in one order: servers print them in any."""
    found = {}
    for line in c.call("ACL", "LIST"):
        words = re.findall(r"\([^)]*\)|\S+", line.decode())
        rules = [" ".join(sorted(w[1:-1].split())) if w[0] == "(" else w for w in words[2:]]
        found[words[1]] = sorted(rules)
    return found


def functions_of(c):
    try:
        return sorted(str(x) for x in c.call("FUNCTION", "LIST", "WITHCODE"))
    except resp.ReplyError:
        return None


def backup_name(database, i):
    """The vendor's name for a file of the primary number `i` of a database, as `inspect --json` shows it."""
    tops = [s for s in database["shards"] if s["role"] == "primary"]
    uid, (first, last) = database["uid"].removeprefix("db:"), tops[i]["slots"][0]
    return (f"bk{STAMP}-{uid}-{database['name'][:30]}-{i + 1}_of_{len(tops)}-{tops[i]['uid']}-{first}-{last}.rdb.gz")


class Captured:
    """`servers` that run, `primaries` of them with the data; connect(server) logs in as one who may do all.

    `look` makes a digest of what a connection sees. `asked`: the address that `capture` begins with.
    """

    def __init__(self, recovery, servers, primaries, *options, connect=None, look=contents.digest, asked=None):
        self.recovery = recovery
        self.connect = connect or (lambda server: server.connect())
        self.folder = recovery.folder / "captured"
        self.folder.mkdir(exist_ok=True)
        recovery.run("capture", asked or f"{servers[0].addr}:{servers[0].port}", *options, "--to", self.folder, timeout=120)
        recovery.ccs = self.folder / "ccs-redis.rdb"
        said = recovery.run("inspect", recovery.ccs, "--json").json
        self.databases = said["databases"]
        nodes = {n["uid"]: n["addr"] for n in said["nodes"]}
        self.digest, self.settings, self.users, self.functions = contents.Digest(), {}, {}, {}
        at = {(s.addr, port): s for s in servers for port in (s.port, s.plain_port)}
        for database in self.databases:
            tops = [s for s in database["shards"] if s["role"] == "primary"]
            for i, shard in enumerate(tops):
                server = at[nodes[shard["node_uid"]], shard["port"]]
                with self.connect(server) as c:
                    self.digest += look(c)
                    self.settings, self.users, self.functions = settings_of(c), users_of(c), functions_of(c)
                    c.call("SAVE")
                (self.folder / backup_name(database, i)).write_bytes(
                    gzip.compress((server.folder / "dump.rdb").read_bytes(), 1))
        for server in servers:
            server.kill()
        recovery.sources = {d["uid"]: str(self.folder) for d in self.databases}

    @property
    def uid(self):
        return self.databases[0]["uid"]
