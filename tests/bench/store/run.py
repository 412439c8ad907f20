"""See run.sh."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fixtures"))

from harness import network, npm, redis_server, s3rver  # noqa: E402
from harness.s3rver import S3rver  # noqa: E402
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


def timed(argv, out=None, **more):
    """`out`: what it writes. It must make that anew: to write over a file is faster for some, and slower for others."""
    if out:
        out.unlink(missing_ok=True)
    began = time.monotonic()
    subprocess.run(list(map(str, argv)), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, **more)
    return time.monotonic() - began


def best(name, size, *argv, **more):
    seconds = min(timed(argv, **more) for _ in range(RUNS))
    print(f"  {name:<40} {size / seconds / 1e6:7.0f} MB/s", flush=True)
    return seconds


def in_turn(size, programs):
    """The best of each, a round of all after the other: what else the machine does meets all alike."""
    seconds = [[] for _ in programs]
    for _ in range(RUNS):
        for taken, (_, argv, out) in zip(seconds, programs):
            taken.append(timed(argv, out))
    for taken, (name, _, _) in zip(seconds, programs):
        print(f"  {name:<40} {size / min(taken) / 1e6:7.0f} MB/s", flush=True)
    return [min(taken) for taken in seconds]


def main():
    build, megabytes = Path(sys.argv[1]), int(sys.argv[2])
    fetch = build / "tests" / "unit" / "store" / "fetch_one"
    net = network.Network()
    with tempfile.TemporaryDirectory(prefix="recluster-bench") as name:
        folder = Path(name)
        try:
            run(folder, net, fetch, megabytes, sys.argv[3:] or ["http", "s3", "sftp"])
        finally:
            redis_server.kill_all_below(folder)
            net.close()


def run(folder, net, fetch, megabytes, kinds):
    rdb = make_rdb(folder, net, megabytes)
    size = rdb.stat().st_size
    location = folder / "location.json"

    def fetched(where, to=folder / "out"):
        location.write_text(json.dumps(where))
        return [fetch, location, "x.rdb", to]

    print(f"{size / 1e6:.0f} MB:")
    if "http" in kinds:
        http_bench(folder, net, rdb, size, fetched)
    if "s3" in kinds and shutil.which("rclone") and not npm.why_not():
        s3_bench(folder, net, rdb, size, fetched)
    elif "s3" in kinds:
        print("S3: left out, as it needs rclone, node and npm")
    if "sftp" in kinds:
        sftp_bench(folder, net, rdb, size, fetched)


def http_bench(folder, net, rdb, size, fetched):
    out = folder / "out"
    web = WebDav(folder / "web", net.addr(4), 8080, index=True).start()
    os.link(rdb, web.root / "x.rdb")
    print("HTTP:")
    curl = best("curl -o", size, "curl", "-s", "-o", out, web.url + "x.rdb", out=out)
    ours = best("recluster, all verified", size, *fetched(web.url), out=out)
    print(f"  ratio {curl / ours:.2f} (wanted 0.9)")
    print(f"  memory of the processes together {memory_mb(fetched(web.url)):.1f} MB (wanted: under 32)", flush=True)


def s3_bench(folder, net, rdb, size, fetched):
    """rclone and we on the same server, and what it gives to who throws everything away."""
    with S3rver(folder / "s3", net.addr(7), 9000) as server:
        server.put("x.rdb", rdb.read_bytes())
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")}, "RCLONE_CONFIG_X_TYPE": "s3", "RCLONE_CONFIG_X_PROVIDER": "Other",
            "RCLONE_CONFIG_X_ACCESS_KEY_ID": s3rver.KEY_ID, "RCLONE_CONFIG_X_SECRET_ACCESS_KEY": s3rver.SECRET,
            "RCLONE_CONFIG_X_ENDPOINT": server.endpoint, "RCLONE_CONFIG": "/dev/null",
        }
        get = folder / "get.conf"
        get.write_text(
            f'url = "{server.endpoint}/backups/x.rdb"\nuser = "{s3rver.KEY_ID}:{s3rver.SECRET}"\n'
            'aws-sigv4 = "aws:amz:us-east-1:s3"\nheader = "x-amz-content-sha256: UNSIGNED-PAYLOAD"\n'
            'output = "/dev/null"\nfail\nsilent\n')
        print("S3, s3rver:")
        best("the server's limit: curl to nowhere", size, "curl", "-K", get)
        theirs = best("rclone copy", size, "rclone", "copy", "--ignore-times", "x:backups/x.rdb", folder / "copy",
                      out=folder / "copy" / "x.rdb", env=env)
        ours = best("recluster, all verified", size, *fetched(server.location()), out=folder / "out")
        print(f"  ratio {theirs / ours:.2f} (wanted 1.5, or the server's limit)")


def sftp_bench(folder, net, rdb, size, fetched):
    """OpenSSH's sftp, libssh2 by itself, and we, on one server; ours over several connections."""
    sshd = Sshd(folder / "sshd", net.addr(6), 2222).start()
    os.link(rdb, sshd.root / "x.rdb")
    known, out, alone = folder / "known_hosts", folder / "out", folder / "sftp_alone"
    known.write_text(f"[{net.addr(6)}]:2222 {sshd.host_key}\n")
    subprocess.run(["cc", "-O2", "-o", alone, Path(__file__).with_name("sftp_alone.c"), "-lssh2"], check=True)
    print("SFTP:")
    theirs, library, one, ours = in_turn(size, [
        ("sftp", ["sftp", "-q", "-i", sshd.key, "-o", f"UserKnownHostsFile={known}", "-P", 2222,
                  f"backups@{net.addr(6)}:{sshd.root}/x.rdb", out], out),
        ("libssh2 alone, thrown away", [alone, net.addr(6), 2222, "backups", sshd.key, sshd.root / "x.rdb"], None),
        ("recluster, one connection, thrown away", fetched(sshd.location(), "-"), None),
        ("recluster, all verified", fetched(sshd.location()), out),
    ])
    print(f"  ratio to sftp {theirs / ours:.2f} (wanted 1.0), to libssh2 alone {library / ours:.2f}, "
          f"of one connection to libssh2 alone {library / one:.2f} (wanted 1.0)")
    print(f"  memory of the processes together {memory_mb(fetched(sshd.location())):.1f} MB (wanted: under 32)", flush=True)


def memory_mb(argv):
    """The most that the program and its children held together: what they share counts once (Pss)."""
    most = 0
    process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        total = 0
        for path in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                if process.pid in (int(path.name), parent):
                    rollup = (path / "smaps_rollup").read_text()
                    total += int(rollup.split("Pss:", 1)[1].split()[0])
            except (OSError, IndexError):
                pass
        most = max(most, total)
        time.sleep(0.02)
    return most / 1024


main()
