"""Servers as systemd units. No systemd runs here: hosts are mount namespaces in which it seems to, with a
systemctl of our own that starts what the unit files say; systemd-analyze says whether they are right."""

import json
import sqlite3
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness import http_server, redis_server
from program import DONE
from test_resume import CLUSTER

NOBODY = 65534
HOSTILE = "it's %n $HOME \"x\" \\ b; -c"

# Mounts what makes it seem so, and is the user that serves.
ENTER = """
mount --bind "$1/units" /etc/systemd/system &&
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/systemd/system &&
mount --bind "$1" /mnt &&
PATH="/mnt/bin:$PATH" && export PATH && shift || exit 1
if test "$1" = user; then
    mount -t tmpfs -o mode=755 tmpfs /var/lib/systemd || exit 1
    if test "$2" = linger; then
        mkdir -p /var/lib/systemd/linger /run/user/65534/systemd &&
        touch /var/lib/systemd/linger/nobody || exit 1
    fi
    export HOME=/mnt/home XDG_CONFIG_HOME=/mnt/home/.config
    exec setpriv --reuid=65534 --regid=65534 --clear-groups sh
fi
exec sh
"""


class Machine:
    def __init__(self, folder, user):
        self.folder = folder
        self.user = user
        for name in ("units", "bin", "state/loaded", "state/enabled", "home", "base"):
            (folder / name).mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("fake_systemctl.py"), folder / "bin" / "systemctl")
        (folder / "bin" / "systemctl").chmod(0o755)
        self.units = folder / ("home/.config/systemd/user" if user else "units")
        folder.chmod(0o755)
        if user:
            for path in folder.rglob("*"):
                os.chown(path, NOBODY, NOBODY)

    def command(self, linger=True):
        return ["unshare", "-m", "sh", "-c", ENTER, "-", str(self.folder),
                "user" if self.user else "root", "linger" if linger else "-"]

    def unit_files(self):
        return sorted(self.units.glob("*.service")) if self.units.exists() else []

    def enabled(self):
        return sorted(p.name for p in (self.folder / "state/enabled").iterdir())

    def log(self):
        return (self.folder / "state/log").read_text().splitlines()

    def power_off(self):
        """All servers end at once. Their folders have other names outside, so the harness can't tell."""
        for pid_file in self.folder.rglob("redis.pid"):
            pid = int(pid_file.read_text())
            try:
                cwd = os.readlink(f"/proc/{pid}/cwd")
            except FileNotFoundError:
                continue
            if cwd == str(Path("/mnt", pid_file.parent.relative_to(self.folder))):
                os.kill(pid, signal.SIGKILL)
                redis_server.wait_until(lambda pid=pid: not redis_server.runs(pid), "its end")

    def reboot(self):
        """What is enabled is started."""
        self.power_off()
        for name in self.enabled():
            verb = "systemctl --user start" if self.user else "systemctl start"
            script = f"export XDG_RUNTIME_DIR=/run/user/{NOBODY}; exec {verb} {name}"
            subprocess.run(self.command(), input=script, text=True, check=True)


@pytest.fixture(params=["root", "user"])
def machine(request, folder):
    if os.getuid() != 0 or subprocess.run(
        ["unshare", "-m", "true"], check=False, stderr=subprocess.DEVNULL
    ).returncode:
        pytest.skip("a host where systemd seems to run needs root and a mount namespace")
    if not shutil.which("systemd-analyze") or not Path("/etc/systemd/system").is_dir():
        pytest.skip("systemd-analyze is not installed")
    machine = Machine(folder / "machine", request.param == "user")
    yield machine
    machine.power_off()


@pytest.fixture
def served(cluster, recovery, machine, net):
    """Backups that any user can read, and a host with a name that neither a shell nor a unit file likes."""
    server = http_server.Nginx(
        recovery.folder / "nginx", cluster.backups, net.addr(5), 8080).start()
    recovery.defaults = {"link": "command", "memory": "1G", "command": machine.command()}
    recovery.sources = {"db:1": server.url}
    for i in (1, 2):
        recovery.hosts.append(
            {"name": f"h{i}", "addr": net.host(i), "base_dir": f"/mnt/base/{HOSTILE} {i}"})
    return recovery


def verify(files):
    run = subprocess.run(["systemd-analyze", "verify", *map(str, files)], check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (run.returncode, run.stdout) == (0, ""), run.stdout


def test_units(cluster, served, machine):
    """They are right, are what runs the servers, and outlive a reboot; an abort leaves none."""
    made = [cluster.add("a", primaries=2, replicas=1, password="one"), cluster.add("b", password="two")]
    served.sources["db:2"] = served.sources["db:1"]
    served.write().recover("--until", "load")
    assert len(machine.unit_files()) == 5
    verify(machine.unit_files())
    assert machine.enabled() == []
    served.run("abort", "--state", served.state, "--yes")
    assert machine.unit_files() == [] and list(machine.folder.rglob("redis.conf")) == []
    assert list((machine.folder / "state/loaded").iterdir()) == []

    served.resume(status=DONE)
    for one in made:
        served.assert_recovered(one)
    files = machine.unit_files()
    verify(files)
    assert machine.enabled() == [f.name for f in files] and len(files) == 5
    assert all("Restart=on-failure" in f.read_text() for f in files)
    assert any(f.name.startswith("recluster-db-1-shard-1-") for f in files)
    machine.reboot()
    for one in made:
        redis_server.wait_until(lambda one=one: is_up(served, one), "its servers")
        served.assert_recovered(one)
    served.resume(status=DONE)


def test_sentinels(cluster, served, machine):
    """They are units too, and come back after a reboot as Sentinels that know each other."""
    made = cluster.add("a", replicas=1, password="one")
    served.databases = {"db:1": {"sentinel": True}}
    served.write().recover()
    files = [f for f in machine.unit_files() if f.name.startswith("recluster-db-1-sentinel-")]
    sentinels = served.database(made)["sentinels"]
    assert len(files) == len(sentinels) == len(served.hosts)
    verify(files)
    assert {f.name for f in files} <= set(machine.enabled())
    assert all("Restart=on-failure" in f.read_text() and "--sentinel" in f.read_text() for f in files)
    machine.reboot()

    def agree():
        try:
            for s in sentinels:
                with redis_server.resp.Connection(s["addr"], s["port"]) as c:
                    c.call("SENTINEL", "CKQUORUM", "mymaster")
        except (OSError, redis_server.resp.ReplyError):
            return False
        return True
    redis_server.wait_until(agree, "its Sentinels")
    redis_server.wait_until(lambda: is_up(served, made), "its servers")
    served.run("abort", "--state", served.state, "--open-databases", CLUSTER, "--yes")
    assert machine.unit_files() == [] and list(machine.folder.rglob("redis.conf")) == []


def is_up(recovery, made):
    try:
        recovery.assert_recovered(made)
    except (AssertionError, OSError, redis_server.resp.ReplyError):
        return False
    return True


@pytest.mark.parametrize("machine", ["root"], indirect=True)
def test_fast_load_is_for_the_load_only(cluster, served, machine):
    made = cluster.add("a", password="one")
    served.write().recover("--fast-load", "--until", "load")
    file, = machine.unit_files()
    with sqlite3.connect(served.state) as db:
        ((detail,),) = db.execute("SELECT detail FROM event WHERE code = 'fast-load'").fetchall()
    assert ("MALLOC_CONF" in file.read_text()) == json.loads(detail)["helps"]
    verify([file])
    served.resume(status=DONE)
    assert "MALLOC_CONF" not in file.read_text()
    served.assert_recovered(made)


@pytest.mark.parametrize("machine", ["user"], indirect=True)
def test_without_linger_they_are_daemons(cluster, served, machine):
    """And the plan says why, and what helps."""
    made = cluster.add("a", replicas=1)
    served.defaults["command"] = machine.command(linger=False)
    run = served.write().plan("--json")
    warning, = [w for w in run.json["warnings"] if w["code"] == "no-linger"]
    assert "loginctl enable-linger" in warning["hint"]
    served.recover(status=DONE)
    served.assert_recovered(made)
    assert machine.unit_files() == [] and not (machine.folder / "state/log").exists()


@pytest.mark.parametrize("machine", ["root"], indirect=True)
def test_what_systemctl_says_is_told(cluster, served, machine):
    cluster.add("a")
    served.write().recover("--until", "transfer")
    (machine.folder / "bin/systemctl").write_text(
        "#!/bin/sh\ntest $1 != start || { echo 'Job for it failed.' >&2; exit 1; }\n")
    run = served.resume(status=None)
    assert run.status != DONE and run.says("Job for it failed.") and run.says("journalctl -u recluster-db-1")
