#!/usr/bin/env python3
"""Clusters of any size for the planner: writes ccs-redis.rdb and hosts.json into a folder.

    tests/bench/plan/generate.py FOLDER --hosts 1000 --shards 20000 [--fill 0.95] [--short] [--seed 1]

Shards are of databases of 10 primaries with a replica each, of sizes within a factor of four; the
hosts together have the memory that makes them `fill` full. --short: one shard's worth less than
that needs. Synthetic.
"""

import argparse
import json
import random
from pathlib import Path

PRIMARIES = 10
OVERHEAD = 32 << 20  # of a shard: its process and backlog


def length(n):
    if n < 64:
        return bytes([n])
    if n < 1 << 14:
        return bytes([0x40 | n >> 8, n & 255])
    return b"\x80" + n.to_bytes(4, "big")


def text(s):
    s = str(s).encode()
    return length(len(s)) + s


class Rdb:
    """RDB version 9, without a checksum."""

    def __init__(self, path):
        self.out = open(path, "wb")
        self.out.write(b"REDIS0009\xfe\x00")

    def set(self, key, members):
        self.out.write(b"\x02" + text(key) + length(len(members)))
        self.out.write(b"".join(text(m) for m in members))

    def hash(self, key, fields):
        self.out.write(b"\x04" + text(key) + length(len(fields)))
        self.out.write(b"".join(text(k) + text(v) for k, v in fields.items()))

    def end(self):
        self.out.write(b"\xff" + bytes(8))
        self.out.close()


def ranges(count):
    edges = [16384 * i // count for i in range(count + 1)]
    return [f"{a}-{b - 1}" for a, b in zip(edges, edges[1:])]


def write_ccs(path, nodes, sizes):
    rdb = Rdb(path)
    rdb.hash("cluster", {"name": "bench.example.com"})
    rdb.set("node:all", range(1, nodes + 1))
    rdb.set("bdb:all", range(1, len(sizes) + 1))
    for n in range(1, nodes + 1):
        rdb.hash(f"node:{n}", {
            "addr": f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "status": "active",
            "max_redis_servers": 100, "cores": 16, "total_memory": 1 << 36,
        })
    shard = 0
    for db, size in enumerate(sizes, 1):
        ids = []
        for role in ("master", "slave"):
            for slots in ranges(PRIMARIES):
                shard += 1
                ids.append(shard)
                rdb.hash(f"redis:{shard}", {
                    "bdb_uid": db, "node_uid": shard % nodes + 1, "role": role,
                    "assigned_slots": slots, "port": 20000 + shard % 10000,
                })
        rdb.hash(f"bdb:{db}", {
            "name": f"database {db}", "type": "redis", "status": "active", "shards_count": PRIMARIES,
            "sharding": "enabled", "replication": "enabled", "memory_size": size * 2 * PRIMARIES,
            "port": 10000 + db, "redis_list": ",".join(map(str, ids)),
        })
    rdb.end()


def need(sizes):
    return sum((size + size // 10 + OVERHEAD) * 2 * PRIMARIES for size in sizes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--racks", type=int, default=5)
    parser.add_argument("--fill", type=float, default=0.6)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    sizes = [
        rng.randrange(256, 1024) << 20 for _ in range(max(1, args.shards // (2 * PRIMARIES)))
    ]
    total = int(need(sizes) / args.fill)
    if args.short:
        total = need(sizes) - min(sizes)
    args.folder.mkdir(parents=True, exist_ok=True)
    write_ccs(args.folder / "ccs-redis.rdb", args.hosts, sizes)
    hosts = [{
        "name": f"h{i}", "addr": f"10.200.{i >> 8}.{i & 255}", "rack": f"r{i % args.racks}",
        "memory": total // args.hosts, "cores": 16,
    } for i in range(1, args.hosts + 1)]
    (args.folder / "hosts.json").write_text(json.dumps({"hosts": hosts}))


if __name__ == "__main__":
    main()
