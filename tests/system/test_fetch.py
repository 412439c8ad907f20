"""How files are fetched, whatever the kind of their location: in little memory."""

import pytest

from harness import ccs_file
from harness.http_server import Nginx
from harness.sftp_server import Sshd
from program import DONE
from stores import needs_npm

BIG_MIB = 256
MEMORY_MIB = 32


def write_big_rdb(path):
    """Values of zeros, a MiB each and one of half the file; of the disk it takes next to nothing."""
    sizes = [1] * (BIG_MIB // 2) + [BIG_MIB // 2]
    with open(path, "wb") as f:
        f.write(b"REDIS0009\xfe\x00")
        for i, mebibytes in enumerate(sizes):
            f.write(b"\x00\x04k%03d\x80" % i + (mebibytes << 20).to_bytes(4, "big"))
            f.seek(mebibytes << 20, 1)
        f.write(b"\xff" + bytes(8))  # a checksum of 0: switched off


def http(request, cluster, folder, net):
    return Nginx(folder / "web", cluster.backups, net.addr(4), 8080).start().url


def sftp(request, cluster, folder, net):
    server = Sshd(folder / "sshd", net.addr(4), 2222).start()
    for path in cluster.backups.iterdir():
        path.rename(server.root / path.name)
    return server.location()


def s3(request, cluster, folder, net):
    server = request.getfixturevalue("s3")
    for path in cluster.backups.iterdir():
        server.put(path.name, path.read_bytes())
    return server.location()


KINDS = [http, sftp, pytest.param(s3, marks=[needs_npm, pytest.mark.slow])]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_memory_of_a_fetch_is_bounded(kind, request, cluster, recovery, folder, net):
    made = cluster.add("big", keys=None)
    name = ccs_file.backup_name("20261120-020000", made.database, 1, made.database.primaries[0])
    write_big_rdb(cluster.backups / name.removesuffix(".gz"))
    recovery.sources = {"db:1": kind(request, cluster, folder, net)}
    recovery.add_hosts(1).write()
    run = recovery.start(*recovery.recover_args("--until", "transfer"))
    peaks = recovery.memory_until_the_end(run)
    out, err = run.communicate()
    assert run.returncode == DONE, f"{out.decode()}\n{err.decode()}"
    (there,) = (recovery.folder / "hosts").rglob("incoming/*.rdb")
    assert there.stat().st_size > BIG_MIB << 20
    assert len(peaks) >= 3 and max(peaks.values()) < MEMORY_MIB, peaks  # the operator, the agent, the fetch
