"""Locations on a bad day: the common list of checks, while servers fail, lines are cut and nobody answers."""

import json
import os
import resource
import shlex
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from harness import azurite, ceph, redis_server, swift
from harness.certificates import Authority
from harness.cutting_proxy import CuttingProxy
from harness.faulty_proxy import FaultyProxy
from harness.ftp_server import PyFtp
from harness.http_server import Nginx
from harness.sftp_server import FILTER, Sshd
from harness.webdav import WebDav
from program import FAILED, NOT_ASKED, NOT_GOOD, PROGRAM
from stores import FETCH_ONE, MEBIBYTE, needs_ceph, needs_npm, needs_swift, run_suite, verify
from test_locations import need_webdav

# By the number of the request. Some of each meets writing, listing, reading and removing; two in a
# row, so that a try after a try is seen too. A stalled one costs the location's timeout.
FAULTS = {
    2: 500, 4: "lost", 7: "lost", 9: (503, 1), 12: 502, 13: 503, 14: "cut", 17: "lost", 21: "cut",
    24: "stalled", 29: "lost", 33: "cut", 36: 429, 41: "lost", 48: "cut", 57: 504, 58: 500, 66: "lost",
    75: "cut", 83: "lost", 92: "lost",
}


# Each: the (address, port) of the server, its authority or None, and the location behind a proxy.


def webdav(request, folder, net):
    need_webdav()
    authority = request.getfixturevalue("authority")
    # It moves files to https:// only where it speaks TLS itself.
    WebDav(folder / "dav", net.addr(4), 8080, authority.sign("dav", net.addr(4))).start()
    return (net.addr(4), 8080), authority, lambda url: {"type": "webdav", "url": f"{url}/files/"}


def s3(request, folder, net):
    server = request.getfixturevalue("s3")
    return (server.addr, server.port), None, lambda url: server.location("a b", s3_url=url)


def gcs_hmac(request, folder, net):
    server = request.getfixturevalue("s3")
    return (server.addr, server.port), None, lambda url: {
        "type": "gs", "bucket_name": "backups", "subdir": "x", "access_key_id": "S3RVER",
        "secret_access_key": "S3RVER", "endpoint": url}


def gcs(request, folder, net):
    server = request.getfixturevalue("gcs")
    authority = request.getfixturevalue("authority")
    return (net.addr(21), 8443), authority, lambda url: server.location("a b", endpoint=url)


def azure(request, folder, net):
    server = request.getfixturevalue("azure")
    return (server.addr, server.port), None, lambda url: server.location(
        subdir="a b", endpoint=f"{url}/{azurite.ACCOUNT}")


def swift_s3(request, folder, net):
    server = request.getfixturevalue("openstack")
    return (server.addr, 8080), None, lambda url: server.s3_location(subdir="a b", s3_url=url)


def swift_keystone(request, folder, net):
    server = request.getfixturevalue("openstack")

    def location(url):
        keystone = swift.Keystone(server, net.addr(25), 5000, url)
        request.addfinalizer(lambda: keystone.__exit__())
        return keystone.__enter__().location(prefix="a b", insecure=True)
    return (server.addr, 8080), None, location


def radosgw(request, folder, net):
    server = request.getfixturevalue("radosgw")
    return (server.addr, ceph.PORT), None, lambda url: server.location("a b", s3_url=url)


HTTP_KINDS = [
    webdav, gcs, pytest.param(s3, marks=needs_npm), pytest.param(gcs_hmac, marks=[needs_npm, pytest.mark.slow]),
    pytest.param(azure, marks=needs_npm), pytest.param(swift_s3, marks=[needs_swift, pytest.mark.slow]),
    pytest.param(swift_keystone, marks=needs_swift), pytest.param(radosgw, marks=[needs_ceph, pytest.mark.slow]),
]
EMULATORS = (s3, gcs_hmac, azure)


def name_of(kind):
    return getattr(kind, "__name__", None)


@pytest.mark.parametrize("kind", HTTP_KINDS, ids=name_of)
def test_server_errors_lost_answers_and_an_unknown_authority(kind, request, recovery, folder, net, authority):
    to, trust, make = kind(request, folder, net)
    certificate = authority.sign("proxy", net.addr(40))
    with FaultyProxy(
        net.addr(40), 8443, to, FAULTS, certificate, trust and trust.cert
    ) as proxy:
        location = {**make(proxy.url), "timeout": 1}
        place = folder / "location.json"
        place.write_text(json.dumps(location))
        run = recovery.run("verify", "--location", place, status=NOT_GOOD)
        assert run.says("certificate") and run.says("ca_file"), run
        assert not proxy.seen, "the server was spoken to"
        more = ["--emulator"] if kind in EMULATORS else []
        run_suite({**location, "ca_file": str(authority.cert)}, *more)
        proxy.assert_all_happened()


def sftp_on(request, folder, net):
    server = Sshd(folder / "sshd", net.addr(4), 2222).start()
    line = CuttingProxy(net.addr(4), 2223, (net.addr(4), 2222), 3 * MEBIBYTE)
    return line, server.location(sftp_url=server.url().replace(":2222", ":2223"))


def ftp_server(folder, net, tls, **faults):
    """The location of a server with TLS or without."""
    authority = Authority(folder / "ftp-ca") if tls else None
    certificate = authority and authority.sign("ftp", net.addr(4))
    server = PyFtp(folder / "ftpd", net.addr(4), 2121, tls=tls, certificate=certificate, **faults).start()
    return {"type": "url", "url": server.url(), **({"ca_file": str(authority.cert)} if tls else {"insecure": True})}


def ftp_on(request, folder, net):
    return None, ftp_server(folder, net, None, cut_bytes=3 * MEBIBYTE)


def ftps_explicit_on(request, folder, net):
    return None, ftp_server(folder, net, "explicit", cut_bytes=3 * MEBIBYTE)


def ftps_implicit_on(request, folder, net):
    return None, ftp_server(folder, net, "implicit", cut_bytes=3 * MEBIBYTE)


def behind_a_line(kind):
    def on(request, folder, net):
        to, trust, make = kind(request, folder, net)
        scheme = "https" if trust else "http"
        line = CuttingProxy(to[0], 8500, to, 3 * MEBIBYTE)
        location = make(f"{scheme}://{to[0]}:8500")
        return line, {**location, **({"ca_file": str(trust.cert)} if trust else {})}
    on.__name__ = kind.__name__
    on.emulator = kind in EMULATORS
    return on


CUT_KINDS = [sftp_on, ftp_on, ftps_explicit_on, pytest.param(ftps_implicit_on, marks=pytest.mark.slow)] + [
    pytest.param(behind_a_line(k.values[0]), marks=k.marks) if hasattr(k, "marks") else behind_a_line(k)
    for k in HTTP_KINDS
]


@pytest.mark.parametrize("kind", CUT_KINDS, ids=name_of)
def test_on_a_line_that_cuts_every_transfer(kind, request, folder, net):
    """What is read goes on where it was cut, and never with the bytes of another object."""
    line, location = kind(request, folder, net)
    big = 70 if kind.__name__ == "swift_keystone" else 20  # more than one segment
    more = ["--emulator"] if getattr(kind, "emulator", False) else []
    if line is None:
        run_suite(location, "--cut", "--big", 20 * MEBIBYTE)
        return
    with line:
        run_suite(location, "--cut", "--big", big * MEBIBYTE, *more)
        assert line.cuts > 5


def test_a_large_file_is_read_by_several_processes(folder, net):
    """Over SFTP, where decryption is work: each logs in; on a line that is cut; and a file that is short is seen."""
    server = Sshd(folder / "sshd", net.addr(4), 2222).start()
    value = os.urandom(1 << 20) * 70
    record = b"\x00\x01k\x80" + len(value).to_bytes(4, "big") + value
    rdb = b"REDIS0009\xfe\x00" + record + b"\xff" + bytes(8)  # a checksum of 0: switched off
    (server.root / "x.rdb").write_bytes(rdb)
    place, out = folder / "location.json", folder / "out"

    def fetch():
        return subprocess.run([FETCH_ONE, place, "x.rdb", out], capture_output=True, text=True, timeout=120)

    place.write_text(json.dumps(server.location()))
    run = fetch()
    assert run.returncode == 0 and out.read_bytes() == rdb, run.stderr
    assert (server.folder / "server.log").read_text().count("Accepted publickey") == 1 + 3
    out.unlink()
    with CuttingProxy(net.addr(4), 2223, (net.addr(4), 2222), 10 * MEBIBYTE) as line:
        location = server.location(sftp_url=server.url().replace(":2222", ":2223"))
        place.write_text(json.dumps(location))
        run = fetch()
        assert run.returncode == 0, run.stderr
        assert line.cuts >= 2 and out.read_bytes() == rdb
        out.unlink()
    (server.root / "x.rdb").write_bytes(rdb[:-9])
    place.write_text(json.dumps(server.location()))
    run = fetch()
    assert run.returncode == 1 and "x.rdb" in run.stderr and not out.exists(), run


ODD_SERVERS = {
    "old": ["--plain"], "small reads": ["--short", "5000"], "any order": ["--shuffle"],
    "both": ["--plain", "--short", "40000", "--shuffle"], "lost": ["--lose-rename"],
    "lost by an old one": ["--plain", "--lose-rename"], "stalled": ["--stall-read", "--stall-write"],
}


@pytest.mark.parametrize("case", ODD_SERVERS)
def test_sftp_servers_that_differ_from_openssh(case, folder, net):
    """What the protocol leaves to the server; an answer that is lost, and answers that never come."""
    words = []
    for word in ODD_SERVERS[case]:
        words.append(word)
        if word.startswith(("--lose", "--stall")):
            fault = folder / word[2:]
            fault.touch()
            words.append(str(fault))
    service = shlex.join(["/usr/bin/python3", FILTER, *words])
    server = Sshd(folder / "sshd", net.addr(4), 2222, service=service).start()
    run_suite({**server.location(), "timeout": 2}, "--big", 20 * MEBIBYTE)
    assert not [word for word in words if word.startswith("/") and Path(word).parent == folder and Path(word).exists()]


# A version, then answers to a request that was never made.
STRAYS = "import os\nos.write(1, bytes([0, 0, 0, 5, 2, 0, 0, 0, 3]))\n" \
    "while True: os.write(1, bytes([0, 0, 0, 13, 101, 0, 0, 9, 9, 0, 0, 0, 4, 0, 0, 0, 0]) * 1000)"

WRONG_SERVICES = {
    "garbage for ever": ("/usr/bin/yes", "is not SFTP"), "zeroes for ever": ("/bin/cat /dev/zero", "is not SFTP"),
    "answers for ever": (STRAYS, "a request that was not made"), "silence": ("/bin/sleep 60", "no answer for 2 s"),
    "an end": ("/bin/true", "ended its SFTP service"), "nothing there": ("/nonexistent/program", "ended its SFTP service"),
}


@pytest.mark.parametrize("case", WRONG_SERVICES)
def test_an_sftp_service_that_is_none(case, recovery, folder, net):
    """It is given up in time, and neither processor nor memory is at its mercy."""
    service, words = WRONG_SERVICES[case]
    if "\n" in service:
        (folder / "service.py").write_text(service)
        service = f"/usr/bin/python3 {folder}/service.py"
    server = Sshd(folder / "sshd", net.addr(4), 2222, service=service).start()
    place = folder / "location.json"
    place.write_text(json.dumps({**server.location(), "timeout": 2}))
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = recovery.run("verify", "--location", place, status=None)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.status in (NOT_GOOD, NOT_ASKED) and run.says(words), run
    assert ended.ru_utime - began.ru_utime < 10


@pytest.mark.parametrize(
    "tls", [None, *(pytest.param(tls, marks=pytest.mark.slow) for tls in ("explicit", "implicit"))])
def test_ftp_replies_that_ask_for_another_try(folder, net, tls):
    """And commands that are carried out while their answer is lost, above all that which gives the name; and
    half a file that is said to be a whole one."""
    well = [None] * 3
    faults = {
        "RETR": ["450 in use", *well, "451 error", "426 closed", *well, "425 no connection", *well, ""],
        "STOR": ["450 in use", "short", *well, "", *well, "lost"],
        "RNTO": [None, "450 in use", *well, "lost", *well, "451 error", *well, "lost"],
        "RNFR": [*well, *well, *well, *well, "lost"], "DELE": ["lost", *well, "450 in use"],
        "MLSD": [None, "450 in use"], "PASS": ["421 too many users"], "REST": [None, "451 error"],
    }
    run_suite({**ftp_server(folder, net, tls, faults=faults), "timeout": 1})


class Silent:
    """Takes connections, and says nothing; or next to nothing, a byte of an endless answer now and then."""

    def __init__(self, addr, greeting=b"", drip=False):
        self.listener = socket.create_server((addr, 0))
        self.port = self.listener.getsockname()[1]
        self.greeting, self.drip = greeting, drip
        self.connections = 0
        self.ended = threading.Event()

    def __enter__(self):
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.listener.close()

    def _run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._hold, args=(client,), daemon=True).start()

    def _hold(self, client):
        try:
            if self.greeting:
                client.recv(65536)
            client.sendall(self.greeting)
            while not self.ended.wait(0.2):
                if self.drip:
                    client.sendall(b" ")
        except OSError:
            pass


def silent_kinds(net):
    """Locations, by kind, for a server at a port that never answers."""
    host = net.addr(50)
    return {
        "http": lambda p: {"type": "http", "url": f"http://{host}:{p}/x/"},
        "https": lambda p: {"type": "http", "url": f"https://{host}:{p}/x/"},
        "webdav": lambda p: {"type": "webdav", "url": f"http://{host}:{p}/x/"},
        "ftp": lambda p: {"type": "url", "url": f"ftp://u:p@{host}:{p}/x/", "insecure": True},
        "ftpes": lambda p: {"type": "url", "url": f"ftpes://u:p@{host}:{p}/x/"},
        "ftps": lambda p: {"type": "url", "url": f"ftps://u:p@{host}:{p}/x/"},
        "sftp": lambda p: {"type": "sftp", "sftp_url": f"sftp://u@{host}:{p}/x", "host_key": "SHA256:" + "A" * 43},
        "s3": lambda p: {"type": "s3", "bucket_name": "b", "access_key_id": "k", "secret_access_key": "s",
                         "s3_url": f"http://{host}:{p}"},
        "azure": lambda p: {"type": "abs", "account_name": "a", "container": "c", "account_key": "a2V5",
                            "endpoint": f"http://{host}:{p}/a"},
        "gcs": lambda p: {"type": "gs", "bucket_name": "b", "anonymous": True, "endpoint": f"http://{host}:{p}"},
        "swift": lambda p: {"type": "swift", "auth_url": f"http://{host}:{p}/auth/v1.0", "user": "u", "key": "k",
                            "container": "c", "insecure": True},
    }


def test_a_silent_server_is_given_up(folder, net):
    """All kinds at once, as each costs five tries."""
    endless = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9999999\r\n\r\n<html>"
    with Silent(net.addr(50)) as silent, Silent(net.addr(50), endless, drip=True) as drip:
        running = {}
        for name, make in silent_kinds(net).items():
            running[name, silent] = make(silent.port)
        running["dripping", drip] = {"type": "http", "url": f"http://{net.addr(50)}:{drip.port}/x/"}
        for (name, server), location in list(running.items()):
            place = folder / f"{name}.json"
            place.write_text(json.dumps({**location, "timeout": 1}))
            running[name, server] = subprocess.Popen(
                [PROGRAM, "verify", "--location", place, "--json"], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, text=True, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
            )
        for (name, server), process in running.items():
            out, _ = process.communicate(timeout=40)
            error = json.loads(out)["files"][0]["error"]
            assert process.returncode == NOT_ASKED and "gave up after 5 tries" in error, f"{name}: {error}"
            assert str(server.port) in error or name in ("s3", "gcs", "azure", "swift"), f"{name}: {error}"
        assert silent.connections >= 5 * len(silent_kinds(net)) and drip.connections == 5


def test_a_dead_address_is_tried_by_one_layer_only(cluster, recovery, folder, net):
    """Five tries of the store, not five for each of four tries of the task."""
    cluster.add("a")
    server = Nginx(folder / "web", cluster.backups, net.addr(4), 8080).start()
    recovery.sources = {"db:1": server.url}
    recovery.add_hosts(1).write()
    recovery.recover("--until", "prepare")
    redis_server.kill_all_below(folder / "web")
    seen = []
    with socket.create_server((net.addr(4), 8080)) as listener:
        def drop():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                seen.append(connection)
                connection.close()
        threading.Thread(target=drop, daemon=True).start()
        run = recovery.resume(status=FAILED, timeout=60)
        listener.shutdown(socket.SHUT_RDWR)
    assert run.says("gave up after 5 tries") and len(seen) == 5, (len(seen), run)
