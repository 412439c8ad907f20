"""Secrets stand where they must, and nowhere else: not in tables that people look at, nor in anybody's arguments."""

import contextlib
import json
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from harness import accounts
from harness.ftp_server import PyFtp

CANARIES = [accounts.PASSWORD, accounts.PASSWORD.replace(" ", "%20"), "pa%20ss%3Aw%40rd%2F%2541",
            "CANARY-clients", "CANARY-operator", "CANARY-host"]
VAULTS = {"secret", "ccs_entry"}


def is_of(recovery, entry, arguments):
    """A process that this test's programs started: no other test's, which may run beside it."""
    return str(recovery.folder).encode() in arguments or recovery.mark.encode() in (entry / "environ").read_bytes()


@contextlib.contextmanager
def watched_arguments(recovery):
    """The arguments of the processes of a test while it lasts: those that hold a canary."""
    seen, ended = set(), threading.Event()

    def watch():
        while not ended.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    with contextlib.suppress(OSError):
                        arguments = (entry / "cmdline").read_bytes()
                        if any(c.encode() in arguments for c in CANARIES) and is_of(recovery, entry, arguments):
                            seen.add(arguments)
            time.sleep(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def texts_of(db, table):
    for row in db.execute(f"SELECT * FROM {table}"):
        yield from (v if isinstance(v, str) else v.decode(errors="replace") for v in row if isinstance(v, (str, bytes)))


@pytest.fixture
def guarded(cluster, recovery, folder, net):
    """Databases behind a login that the CCS file has, and the hosts file, as no more than a URL; on hosts whose
    entries have secrets."""
    ftp = PyFtp(folder / "ftp", net.addr(4), 2121).start()
    made = cluster.add("orders", primaries=2, replicas=1, password="CANARY-clients",
                       backup_location=json.dumps({"type": "url", "url": ftp.url()}))
    for path in made.files:
        path.rename(ftp.root / path.name)
    other = cluster.add("sessions", password="CANARY-clients")
    for path in other.files:
        path.rename(ftp.root / path.name)
    recovery.sources = {"db:2": {"url": ftp.url(), "insecure": True}}
    recovery.trusted = [{"url": f"ftp://{net.addr(4)}:2121", "insecure": True}]
    recovery.add_hosts(2, link="command", command=["sh"], password="CANARY-host", passphrase={"env": "PHRASE"})
    recovery.write()
    recovery.made = [made, other]
    recovery.ftp_server = ftp.process.pid
    return recovery


def assert_masked(state):
    with contextlib.closing(sqlite3.connect(state)) as db:
        tables = {name for name, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert VAULTS < tables
        for table in tables - VAULTS:
            found = [t for t in texts_of(db, table) if any(c in t for c in CANARIES)]
            assert not found, (table, found)
        kept = "\n".join(texts_of(db, "secret"))
        for canary in ("CANARY-clients", "CANARY-host"):
            assert canary in kept
        for query in ("SELECT password FROM database", "SELECT password FROM target"):
            assert {p for p, in db.execute(query)} == {"********"}
        assert "********" in db.execute("SELECT spec FROM host").fetchone()[0]


def test_tables_are_masked_and_a_rerun_still_knows_them(guarded):
    guarded.recover("--until", "prepare", env={"PHRASE": "CANARY-operator"})
    assert_masked(guarded.state)
    traced = guarded.resume(env={"PHRASE": "CANARY-operator", "RECLUSTER_TRACE": "1"})
    assert_masked(guarded.state)
    assert " > load_shard {" in traced.err and " < load_shard {" in traced.err
    assert not any(c in traced.err for c in CANARIES)
    for made in guarded.made:
        guarded.assert_recovered(made)


def test_no_process_has_them_in_its_arguments(guarded):
    server = Path(f"/proc/{guarded.ftp_server}/cmdline").read_bytes()  # it is told its users that way
    with watched_arguments(guarded) as seen:
        run = guarded.recover("--verbose", env={"PHRASE": "CANARY-operator"})
    assert seen - {server} == set()
    assert not any(c in run.out + run.err for c in CANARIES)
    servers = [Path("/proc") / p.read_text().strip() for p in (guarded.folder / "hosts").rglob("redis.pid")]
    assert len(servers) == 5
    for server in servers:
        assert b"CANARY" not in (server / "environ").read_bytes(), "servers outlive us: so would it"
    for made in guarded.made:
        guarded.assert_recovered(made)


def test_the_watch_sees_arguments(guarded):
    """That it can fail: a location on the command line is seen."""
    with watched_arguments(guarded) as seen:
        guarded.run("verify", "--insecure", "ftp://x:CANARY-operator@127.0.0.1:1/", status=None)
    assert any(b"CANARY-operator" in arguments for arguments in seen)
