"""A cluster that died before the test began: its CCS file, its backups, and what they hold.

No cluster ever ran: each backup file is written by one short-lived redis-server that is given the keys of
that shard's slots, and the CCS file by another. Nothing listens on the old addresses.
"""

import gzip
import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from harness import ccs_file, contents, redis_server, slots

STAMP = "20261120-020000"


def commands(count, seed):
    """Keys of all types as (key, [command, ...]); some expire in a day, some have odd names."""
    rng = random.Random(seed)
    for i in range(count):
        key = b"k\x00\xff%d" % i if i % 10 == 9 else b"{tag%d}key:%d" % (i % 50, i)
        yield key, [
            lambda: ["SET", key, rng.randbytes(i % 200)],
            lambda: ["SET", key, i],
            lambda: ["HSET", key, "a", i, "b", "x" * (i % 100)],
            lambda: ["RPUSH", key, 1, "two", i],
            lambda: ["SADD", key, i, i + 1, i + 2],
            lambda: ["ZADD", key, i / 8, "one", -i, "two"],
            lambda: ["XADD", key, f"{i + 1}-1", "f", i],
        ][i % 7]()
        if i % 6 == 0:
            yield key, ["EXPIRE", key, 86400 + i]


@dataclass
class Contents:
    """A database of the dead cluster, with what must come back of it."""

    database: ccs_file.Database
    sharded: bool
    digest: contents.Digest = field(default_factory=contents.Digest)
    password: str = None
    users: tuple = ()  # others who may log in
    files: list = field(default_factory=list)  # one path per primary, in its order


class DeadCluster:
    """`program`: the server that writes the backups."""

    def __init__(self, folder, net, nodes=3, racks=(), program="redis-server"):
        self.folder = Path(folder)
        self.net = net
        self.program = program
        self.scratch_settings = {}  # of the server that writes the backups
        self.nodes = [
            ccs_file.Node(str(i), net.old_node(i), racks[i - 1] if racks else "")
            for i in range(1, nodes + 1)
        ]
        self.databases = []  # [Contents]
        self.backups = self.folder / "backups"
        self.backups.mkdir(parents=True, exist_ok=True)
        self._next_shard = 1
        self._scratch = None

    def add(self, name="db", primaries=1, replicas=0, keys=120, policy="16k", password=None,
            stamp=STAMP, **fields):
        """A database with its backup set; more than one primary makes it a sharded one."""
        uid = str(len(self.databases) + 1)
        if policy == "legacy":
            ranges = slots.split(primaries, slots.LEGACY_COUNT, 1)
        else:
            ranges = slots.split(primaries)
        shards = []
        for role, copies in (("master", 1), ("slave", replicas)):
            for copy in range(copies):
                for i, owned in enumerate(ranges):
                    node = self.nodes[(i + (role == "slave") + copy) % len(self.nodes)]
                    shards.append(ccs_file.Shard(
                        str(self._next_shard), node.uid, role, [owned], 20000 + self._next_shard
                    ))
                    self._next_shard += 1
        values = {
            "memory_size": str((64 << 20) * primaries * (1 + replicas)), "hash_slots_policy": policy,
            "backup_location": ccs_file.backup_location(self.backups),
        }
        if password is not None:
            values["authentication_redis_pass"] = password
        values.update(fields)
        database = ccs_file.Database(uid, name, shards, 12000 + int(uid), values)
        made = Contents(database, primaries > 1, password=password)
        self.databases.append(made)
        if keys is not None:
            self.write_backups(made, keys, policy, stamp)
        return made

    def write_backups(self, made, keys, policy="16k", stamp=STAMP):
        """The files of one run, named as the vendor does."""
        made.files = []
        made.digest = contents.Digest()
        for i, shard in enumerate(made.database.primaries):
            owned = shard.ranges
            if policy == "legacy":
                owned = [r for a, b in shard.ranges for r in slots.legacy_to_open(a, b)]
            part = [
                command for key, command in commands(keys, made.database.uid)
                if slots.holds(owned, slots.of_key(key))
            ]
            name = ccs_file.backup_name(stamp, made.database, i + 1, shard)
            path = self.backups / name
            made.digest += self.write_rdb(path, part)
            made.files.append(path)

    @property
    def scratch(self):
        """The server that writes the backups."""
        if self._scratch is None:
            self._scratch = redis_server.Server(
                self.folder / "scratch", self.net.addr(2), 6379, program=self.program,
                **self.scratch_settings
            ).start()
        return self._scratch

    def write_rdb(self, path, part):
        """Writes what a server holds after these commands, gzipped if the name says so; its digest."""
        with self.scratch.connect() as c:
            c.call("FLUSHALL")
            for _ in c.pipeline(part):
                pass
            c.call("SELECT", 0)
            digest = contents.digest(c)
        rdb = self.scratch.save()
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(rdb.read_bytes(), 1))
        else:
            shutil.copyfile(rdb, path)
        return digest

    def entries(self):
        return ccs_file.entries("old.example.com", self.nodes, [d.database for d in self.databases])

    def write_ccs(self, entries=None):
        """Writes ccs-redis.rdb; `entries` are those of self.entries(), changed."""
        path = self.folder / "ccs-redis.rdb"
        ccs_file.write(path, entries or self.entries(), self.folder, self.net.addr(3), 6379)
        self.end_scratch()
        return path

    def end_scratch(self):
        if self._scratch is not None:
            self._scratch.kill()
            self._scratch = None


def ccs_as_json(entries):
    """The same keys as a support package's ccs-redis.json."""
    return json.dumps({k: sorted(v) if isinstance(v, set) else v for k, v in entries.items()})
