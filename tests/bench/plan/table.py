"""Plans clusters of all sizes and prints what that took; see run.sh."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = [(10, 100), (100, 1000), (100, 5000), (1000, 20000), (1000, 50000)]
CHANGED = [(100, 2000, "0.7"), (100, 2000, "0.9"), (1000, 20000, "0.8")]
HEAD = f"{'hosts':>6} {'shards':>7} {'fill':>6} {'seconds':>8} {'MB':>5}  result"


def measured(program, folder):
    """(seconds, MB at the most, the plan's document)"""
    out = folder / "plan.json"
    began = time.monotonic()
    pid = os.posix_spawn(
        program, [program, "plan", str(folder / "ccs-redis.rdb"), "--hosts", str(folder / "hosts.json"),
                  "--offline", "--json"], os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)])
    _, _, used = os.wait4(pid, 0)
    return time.monotonic() - began, used.ru_maxrss >> 10, json.loads(out.read_text())


def result(document):
    if not document["feasible"]:
        return "refused: " + document["blockers"][0]["message"][:60]
    hosts = document["hosts"]
    fullest = max(h["planned_memory"] / h["memory"] for h in hosts)
    even = sum(h["planned_memory"] for h in hosts) / sum(h["memory"] for h in hosts)
    return f"fullest host {fullest / even:.3f} of all being equally full"


def moved(program, folder, before):
    """Part of the shards that another host gets now."""
    after = measured(program, folder)[2]
    where = [{s["uid"]: s["host"] for db in d["databases"] for s in db["shards"]} for d in (before, after)]
    return sum(where[0][uid] != where[1][uid] for uid in where[0]) / len(where[0])


def change(program, generate, folder):
    """What a small change of the input changes in the plan."""
    print(f"{'hosts':>6} {'shards':>7} {'fill':>6}  moved when a host has 1 % less memory, is gone")
    for hosts, shards, fill in CHANGED:
        subprocess.run([sys.executable, generate, folder, "--hosts", str(hosts), "--shards", str(shards),
                        "--fill", fill], check=True)
        before = measured(program, folder)[2]
        path = folder / "hosts.json"
        document = json.loads(path.read_text())
        host = document["hosts"][hosts // 2]
        host["memory"] = host["memory"] * 99 // 100
        path.write_text(json.dumps(document))
        smaller = moved(program, folder, before)
        document["hosts"].remove(host)
        path.write_text(json.dumps(document))
        gone = moved(program, folder, before)
        print(f"{hosts:>6} {shards:>7} {fill:>6}  {smaller:.2%}, {gone:.2%}", flush=True)


def main():
    program = str(Path(sys.argv[1]).resolve())
    generate = Path(__file__).with_name("generate.py")
    print(HEAD)
    with tempfile.TemporaryDirectory() as name:
        for hosts, shards in SIZES:
            for fill in ("0.6", "0.95", "short"):
                folder = Path(name)
                more = ["--short"] if fill == "short" else ["--fill", fill]
                subprocess.run([sys.executable, generate, folder, "--hosts", str(hosts), "--shards",
                                str(shards), *more], check=True)
                seconds, megabytes, document = measured(program, folder)
                print(f"{hosts:>6} {shards:>7} {fill:>6} {seconds:>8.2f} {megabytes:>5}  {result(document)}",
                      flush=True)
        change(program, generate, Path(name))


if __name__ == "__main__":
    main()
