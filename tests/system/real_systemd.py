"""A real systemd as the init of a machine of its own: namespaces of processes, mounts and control groups, in
which the network and all files but a few are those of this machine. It knows the least units that servers
need, sshd, and the manager of a user, nobody, who lingers. No D-Bus and no journal run there.

    with running(folder, sshd) as machine:      # skips the test where none can run
        machine.systemctl("is-active", name)

`user`: it is about the user's manager and units. The machine's folder is /mnt there.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness import redis_server

SYSTEMD = "/usr/lib/systemd/systemd"
NOBODY = 65534
AS_USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", "HOME=/mnt/home",
           "XDG_CONFIG_HOME=/mnt/home/.config"]

# None of this machine's own units may start, nor those that generators make of its files, and nothing
# outside may be changed.
_BOOT = """
mount --bind "$1/units" /etc/systemd/system &&
mount --bind "$1/empty" /usr/lib/systemd/system-generators &&
mount --bind "$1/empty" /usr/lib/systemd/user-generators &&
mount --bind "$1" /mnt &&
mount -t tmpfs -o mode=755 tmpfs /var/lib/systemd && mkdir /var/lib/systemd/linger &&
touch /var/lib/systemd/linger/nobody &&
mount --bind "$1/machine-id" /etc/machine-id &&
mount -t tmpfs -o mode=755 tmpfs /run &&
mount -o bind,ro /proc/sys /proc/sys &&
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
exec env -i container=recluster PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C \
    SYSTEMD_UNIT_PATH="/etc/systemd/system:/mnt/vendor" "$2" --system --unit=multi-user.target --log-target=null
"""

_TARGETS = {
    "sysinit": "", "basic": "Requires=sysinit.target\nAfter=sysinit.target\n", "network-online": "",
    "shutdown": "", "multi-user": "Requires=basic.target\nAfter=basic.target\n",
    "default": "Requires=basic.target\nAfter=basic.target\n",
}

_SSHD = """[Unit]
Description=sshd
[Service]
RuntimeDirectory=sshd
ExecStart=/usr/sbin/sshd -D -f {config} -E {log}
"""

_MANAGER = f"""[Unit]
Description=the manager of nobody
[Service]
User={NOBODY}
Delegate=yes
Environment=HOME=/mnt/home XDG_CONFIG_HOME=/mnt/home/.config XDG_RUNTIME_DIR=/run/user/{NOBODY}
Environment=SYSTEMD_UNIT_PATH=/mnt/home/.config/systemd/user:/mnt/vendor
ExecStartPre=+/bin/sh -c "mkdir -p /run/user/{NOBODY} && chown {NOBODY}:{NOBODY} /run/user/{NOBODY}"
ExecStart={SYSTEMD} --user --unit=default.target --log-target=null
"""


class Machine:
    def __init__(self, folder, sshd, user):
        self.folder, self.user = folder, user
        vendor, wants = folder / "vendor", folder / "vendor/multi-user.target.wants"
        self.units = folder / ("home/.config/systemd/user" if user else "units")
        for made in (folder / "units", wants, folder / "empty", folder / "home", folder / "base"):
            made.mkdir(parents=True)
        folder.chmod(0o755)
        for made in (folder / "home", folder / "base"):
            os.chown(made, NOBODY, NOBODY)
        (folder / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        for name, more in _TARGETS.items():
            (vendor / f"{name}.target").write_text(
                f"[Unit]\nDescription={name}\nDefaultDependencies=no\n{more}")
        services = {"manager": _MANAGER} if user else {}
        if sshd:
            services["sshd"] = _SSHD.format(config=sshd.config, log=sshd.folder / "log")
        for name, text in services.items():
            (vendor / f"{name}.service").write_text(text)
            (wants / f"{name}.service").symlink_to(f"../{name}.service")
        self._group = _control_groups() / f"recluster-test-{random.randrange(1 << 32):08x}"
        self._outer = self._init = None

    def boot(self):
        """Starts it and waits until it says that all it was to start runs."""
        self._group.mkdir()
        with (self.folder / "log").open("ab") as log:
            self._outer = subprocess.Popen(
                ["sh", "-c", 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"', "-", self._group,
                 "unshare", "--pid", "--mount", "--cgroup", "--uts", "--ipc", "--mount-proc", "--fork",
                 "--kill-child", "sh", "-c", _BOOT, "-", self.folder, SYSTEMD],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        redis_server.wait_until(self._is_up, "systemd", 15)
        return self

    def _is_up(self):
        if self._outer.poll() is not None:
            raise ChildProcessError((self.folder / "log").read_text().strip())
        pid = self._outer.pid
        self._init = Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
        return self._init and self.systemctl("is-system-running") in ("running", "degraded")

    def there(self, *argv):
        """The command that runs this one there."""
        return ["nsenter", "-t", self._init, "-m", "-p", "-C", "--", *argv]

    def systemctl(self, *words):
        """What it prints, without the last newline."""
        as_user = [*AS_USER, f"XDG_RUNTIME_DIR=/run/user/{NOBODY}"] if self.user else []
        scope = ["--user"] if self.user else []
        return subprocess.run(
            self.there(*as_user, "systemctl", *scope, *words), check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.rstrip("\n")

    @contextlib.contextmanager
    def reloading(self):
        """It reads its units again and again, as others may have it do at any time."""
        loop = subprocess.Popen(
            self.there("sh", "-c", "while :; do systemctl daemon-reload; done"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        try:
            yield
        finally:
            os.killpg(loop.pid, signal.SIGKILL)
            loop.wait()

    def services(self, state=None):
        """The names of all that it knows, or of those in that state, but for sshd's."""
        lines = self.systemctl("list-units", "--type=service", "--all", "--plain", "--no-legend",
                               *([f"--state={state}"] if state else []))
        return sorted({line.split()[0] for line in lines.splitlines()} - {"sshd.service"})

    def power_off(self):
        """All that runs there ends at once."""
        if self._outer is None:
            return
        self._outer.send_signal(signal.SIGKILL)
        self._outer.wait()
        self._outer = None
        redis_server.wait_until(self._remove_groups, "the end of all processes")

    def _remove_groups(self):
        for path, _, _ in os.walk(self._group, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                return False
        return not self._group.exists()


def _control_groups():
    """Where version 2 of control groups is mounted; None: nowhere."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, _ = line.split(" ", 3)
        if kind == "cgroup2" and os.access(where, os.W_OK):
            return Path(where)
    return None


def _missing():
    if os.getuid() != 0:
        return "only root can boot a systemd"
    for program in (SYSTEMD, "unshare", "nsenter", "setpriv", "systemctl"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return None if _control_groups() else "no control groups of version 2 are mounted"


@contextlib.contextmanager
def running(folder, sshd=None, user=False):
    if _missing():
        pytest.skip(_missing())
    machine = Machine(folder, sshd, user)
    try:
        try:
            machine.boot()
        except (ChildProcessError, OSError, TimeoutError) as e:
            pytest.skip(f"systemd does not run in namespaces here: {e}")
        yield machine
    finally:
        machine.power_off()
