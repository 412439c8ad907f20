"""Runs recluster as a user would and looks at what came of it."""

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from harness import contents, redis_server, resp

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("RECLUSTER", ROOT / "build" / "recluster"))

# The same with what only tests may do: see main_with_hooks.c.
WITH_HOOKS = PROGRAM.parent / "tests" / "system" / "recluster"

DONE, FAILED, USAGE, PARTLY, REFUSED, LOCKED, NOT_ASKED = 0, 1, 2, 3, 4, 5, 6
NOT_GOOD = (FAILED, NOT_ASKED)  # of verify, where it is of no matter whether the place was reached


@dataclass
class Run:
    args: list
    status: int
    out: str
    err: str

    def says(self, words):
        """Whether the words stand in the output, wherever its lines were broken."""
        def squeeze(text):
            return "".join(text.split()).lower()
        return squeeze(words) in squeeze(self.out + self.err)

    @property
    def fits(self):
        """Whether it is read in 80 columns. A command to copy is never broken."""
        return all(len(line) <= 80 for line in self.out.splitlines() if not line.startswith("  recluster "))

    @property
    def json(self):
        """The one document on stdout."""
        assert self.out, str(self)
        return json.loads(self.out)

    @property
    def events(self):
        """One document a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def __str__(self):
        return (
            f"recluster {' '.join(map(str, self.args))}: status {self.status}\n"
            f"--- stdout\n{self.out}\n--- stderr\n{self.err}"
        )


class Recovery:
    """One test's hosts and state file, in a folder whose name needs quoting.

    `program`: the server of the hosts.
    """

    def __init__(self, folder, net, cluster, program="redis-server"):
        self.folder = folder
        self.net = net
        self.cluster = cluster
        self.ccs = None
        self.hosts = []
        self.defaults = {"link": "local", "memory": "1G"}
        if program != "redis-server":
            self.defaults["server"] = program
        self.sources = {}
        self.old_nodes = []
        self.databases = {}
        self.trusted = []  # endpoints of the CCS file that may get a login
        self.state = folder / "recovery.state"
        self.hosts_file = folder / "hosts.json"
        self.mark = uuid.uuid4().hex

    def add_hosts(self, count, **keys):
        for _ in range(count):
            i = len(self.hosts) + 1
            self.hosts.append({
                "name": f"h{i}", "addr": self.net.host(i),
                "base_dir": str(self.folder / "hosts" / f"it's h{i}"), **keys,
            })
        return self

    def write(self, entries=None):
        """Writes the CCS file and hosts.json."""
        self.ccs = self.cluster.write_ccs(entries)
        self.write_hosts()
        return self

    def write_hosts(self):
        document = {"defaults": self.defaults, "hosts": self.hosts}
        if self.sources:
            document["sources"] = self.sources
        if self.old_nodes:
            document["old_nodes"] = self.old_nodes
        if self.databases:
            document["databases"] = self.databases
        if self.trusted:
            document["trusted_endpoints"] = self.trusted
        self.hosts_file.write_text(json.dumps(document))

    def environment(self, **more):
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("RECLUSTER")},
            "RECLUSTER_MARK": self.mark, "XDG_STATE_HOME": str(self.folder / "xdg"),
            **{k: str(v) for k, v in more.items()},
        }

    @staticmethod
    def program(env):
        return WITH_HOOKS if any(k.startswith("RECLUSTER_TEST") for k in env or {}) else PROGRAM

    def run(self, *args, status=DONE, timeout=60, env=None):
        """Runs a command without a terminal; any exit status but `status` (None: any) is a failure."""
        done = subprocess.run(
            [str(self.program(env)), *map(str, args)], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False,
            env=self.environment(**(env or {})),
        )
        run = Run(list(args), done.returncode, done.stdout.decode(), done.stderr.decode())
        expected = status if isinstance(status, tuple) else (status,)
        assert status is None or run.status in expected, f"status {status} was expected\n{run}"
        return run

    def start(self, *args, env=None):
        """Starts a command and leaves it running."""
        return subprocess.Popen(
            [str(self.program(env)), *map(str, args)], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment(**(env or {})),
        )

    def plan(self, *more, status=DONE):
        return self.run("plan", self.ccs, "--hosts", self.hosts_file, *more, status=status)

    def recover_args(self, *more):
        return [
            "recover", self.ccs, "--hosts", self.hosts_file, "--state", self.state, "--yes", *more
        ]

    def recover(self, *more, status=DONE, env=None, timeout=120):
        return self.run(*self.recover_args(*more), status=status, env=env, timeout=timeout)

    def resume(self, *more, status=DONE, env=None, timeout=120):
        return self.run(
            "recover", "--state", self.state, "--yes", *more, status=status, env=env,
            timeout=timeout,
        )

    def status(self):
        return self.run("status", "--state", self.state, "--json").json

    def database(self, made):
        """A database's part of `status --json`."""
        uid = made.database.uid
        return next(d for d in self.status()["databases"] if d["uid"] in (uid, f"db:{uid}"))

    def connect(self, made, shard):
        """As a client does."""
        return resp.Connection(shard["addr"], shard["port"], made.password)

    def secret(self, place, made):
        with contextlib.closing(sqlite3.connect(self.state)) as db:
            row = db.execute(
                "SELECT value FROM secret WHERE place = ? AND id = ?", (place, made.database.uid)).fetchone()
        return row and row[0]

    def connect_admin(self, made, shard):
        """Clients of a database that a proxy stood before have no administrative commands: user admin has them."""
        password = self.secret("target.admin_password", made)
        if password is None:
            return self.connect(made, shard)
        return resp.Connection(shard["addr"], shard["port"], password, "admin")

    def assert_recovered(self, made, digest=None):
        """Every key is back on every server of the database, behind its password, and all is open."""
        database = self.database(made)
        assert database["state"] == "done", database
        wanted = [("primary", len(made.database.primaries))]
        if len(made.database.shards) > len(made.database.primaries):
            wanted.append(("replica", len(made.database.shards) - len(made.database.primaries)))
        for role, count in wanted:
            shards = [s for s in database["shards"] if s["role"] == role]
            assert len(shards) == count, database["shards"]
            got = contents.Digest()
            for shard in shards:
                with self.connect(made, shard) as c:
                    self.assert_role(c, made, role)
                    got += contents.digest(c)
            copies = count // len(made.database.primaries)
            assert got.same_as((digest or made.digest) * copies), f"{role}: other keys: {got}"
        self._assert_endpoints(made, database)
        self._assert_only_who_may(made, database["shards"])
        return database

    @staticmethod
    def assert_role(c, made, role):
        replication = c.info("replication")
        assert replication["role"] == ("master" if role == "primary" else "slave")
        if role == "replica":
            assert replication["master_link_status"] == "up"
            if made.sharded:
                c.call("READONLY")
        if made.sharded:
            info = c.call("CLUSTER", "INFO").decode()
            assert "cluster_state:ok" in info and "cluster_slots_ok:16384" in info, info

    @staticmethod
    def _assert_endpoints(made, database):
        ends = {(e["addr"], e["port"]) for e in database["endpoints"]}
        at = {(s["addr"], s["port"]) for s in database["shards"]}
        primaries = {(s["addr"], s["port"]) for s in database["shards"] if s["role"] == "primary"}
        if made.sharded:
            assert primaries <= ends <= at
        else:
            assert ends == primaries
            assert {port for _, port in ends} == {made.database.port}

    def _assert_only_who_may(self, made, shards):
        admin = self.secret("target.admin_password", made) is not None
        for shard in shards:
            with self.connect_admin(made, shard) as c:
                users = {u.decode() for u in c.call("ACL", "USERS")}
                assert users <= {"default", "replication", "admin", "recluster-sentinel", *made.users} and "default" in users, users
                assert ("admin" in users) == admin
            if admin:
                with self.connect(made, shard) as c:
                    for command in (["CONFIG", "GET", "dir"], ["ACL", "LIST"], ["SAVE"],
                                    ["REPLICAOF", "NO", "ONE"], ["SHUTDOWN", "NOSAVE"]):
                        assert self._refused(c, *command, words="NOPERM"), command
            if made.password is not None:
                with resp.Connection(shard["addr"], shard["port"]) as c:
                    assert self._refused(c, "GET", "x", words="NOAUTH"), "open without the password"

    @staticmethod
    def _refused(c, *command, words):
        try:
            c.call(*command)
            return False
        except resp.ReplyError as e:
            return words in str(e)

    def server_folders(self):
        return sorted(p.parent for p in (self.folder / "hosts").rglob("redis.conf"))

    def running_servers(self):
        """Pid files below the hosts' folders whose process lives."""
        result = []
        for pid_file in (self.folder / "hosts").rglob("*.pid"):
            try:
                if redis_server.runs(int(pid_file.read_text())):
                    result.append(pid_file)
            except (ValueError, FileNotFoundError):
                pass
        return result

    def host_files(self):
        """Everything below the hosts' folders, to be compared."""
        top = self.folder / "hosts"
        return sorted(
            (str(p.relative_to(top)), p.stat().st_mtime_ns) for p in top.rglob("*")
        ) if top.exists() else []

    def _entries(self):
        """Of this test's own recluster processes: folder in /proc and command."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    command = (entry / "cmdline").read_bytes().decode(errors="replace")
                    if Path(command.split("\0")[0]).name == "recluster":
                        yield entry, command.replace("\0", " ")
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                pass

    def processes(self):
        """Commands of this test's own recluster processes that are still there."""
        return [command for _, command in self._entries()]

    def memory_until_the_end(self, run):
        """The most that each of our processes held in MiB, by its number, watched until `run` has ended."""
        peaks = {}
        while run.poll() is None:
            for entry, _ in self._entries():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    found = re.search(r"VmHWM:\s+(\d+) kB", (entry / "status").read_text())
                    if found:
                        peaks[entry.name] = int(found.group(1)) / 1024
            time.sleep(0.01)
        return peaks

    def end(self):
        redis_server.kill_all_below(self.folder)
