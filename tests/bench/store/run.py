"""See run.sh."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))

from harness import network, redis_server  # noqa: E402
from harness.sftp_server import Sshd  # noqa: E402
from harness.webdav import WebDav  # noqa: E402

RUNS = 3


def make_rdb(folder, net, megabytes):
    """A real server's file: values of 10 KB that don't compress."""
    server = redis_server.Server(
        folder / "redis", net.addr(2), 6379, enable_debug_command="yes", rdbcompression="no"
    ).start()
    with server.connect() as c:
        value, count = os.urandom(10000), megabytes * 1000000 // 10040
        for _ in c.pipeline([["SET", b"key:%d" % i, value] for i in range(count)]):
            pass
    path = server.save()
    server.kill()
    return path


def timed(argv, **more):
    began = time.monotonic()
    subprocess.run(list(map(str, argv)), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, **more)
    return time.monotonic() - began


def best(name, size, *argv):
    seconds = min(timed(argv) for _ in range(RUNS))
    print(f"  {name:<40} {size / seconds / 1e6:7.0f} MB/s", flush=True)
    return seconds


def main():
    build, megabytes = Path(sys.argv[1]), int(sys.argv[2])
    fetch = build / "tests" / "unit" / "store" / "fetch_one"
    net = network.Network()
    with tempfile.TemporaryDirectory(prefix="recluster-bench") as name:
        folder = Path(name)
        try:
            run(folder, net, fetch, megabytes)
        finally:
            redis_server.kill_all_below(folder)
            net.close()


def run(folder, net, fetch, megabytes):
    rdb = make_rdb(folder, net, megabytes)
    size = rdb.stat().st_size
    out = folder / "out"
    location = folder / "location.json"

    def fetched(where):
        location.write_text(json.dumps(where))
        return [fetch, location, "x.rdb", out]

    web = WebDav(folder / "web", net.addr(4), 8080, index=True).start()
    os.link(rdb, web.root / "x.rdb")
    print(f"HTTP, {size / 1e6:.0f} MB:")
    curl = best("curl -o", size, "curl", "-s", "-o", out, web.url + "x.rdb")
    ours = best("recluster, all verified", size, *fetched(web.url))
    print(f"  ratio {curl / ours:.2f} (wanted 0.9)")

    slow = WebDav(folder / "slow", net.addr(5), 8080, index=True, limit="50m").start()
    os.link(rdb, slow.root / "x.rdb")
    print("HTTP, 50 MB/s for each connection:")
    curl = timed(["curl", "-s", "-o", out, slow.url + "x.rdb"])
    ours = timed(fetched(slow.url))
    print(f"  curl {size / curl / 1e6:.0f}, recluster {size / ours / 1e6:.0f} MB/s, ratio {curl / ours:.2f}")

    sshd = Sshd(folder / "sshd", net.addr(6), 2222).start()
    os.link(rdb, sshd.root / "x.rdb")
    known = folder / "known_hosts"
    known.write_text(f"[{net.addr(6)}]:2222 {sshd.host_key}\n")
    print("SFTP:")
    theirs = best(
        "sftp", size, "sftp", "-q", "-i", sshd.key, "-o", f"UserKnownHostsFile={known}", "-P", 2222,
        f"backups@{net.addr(6)}:{sshd.root}/x.rdb", out)
    ours = best("recluster, all verified", size, *fetched(sshd.location()))
    print(f"  ratio {theirs / ours:.2f} (wanted 1.0)")
    usage = subprocess.run(
        ["/usr/bin/python3", "-c",
         "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
         "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
         *map(str, fetched(web.url))], check=True, capture_output=True, text=True).stdout
    print(f"memory of a fetch: {int(usage.split()[-1]) / 1024:.0f} MB (wanted: under 32)")


main()
