"""A system of a shell, tar and a server, in a folder: what a host at the least has."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

# Sets up what a kernel gives to each system, and goes there: enter(root) + what to run.
_ENTER = (
    'mount --bind /proc "$1/proc" && mount --bind /dev/null "$1/dev/null" && root=$1 && shift && '
    'exec env -i PATH=/bin:/usr/bin:/usr/sbin /usr/sbin/chroot "$root" "$@"')


def enter(root):
    """What to put before a command that is to run there."""
    return ["unshare", "-m", "sh", "-c", _ENTER, "-", str(root)]


def _copy_program(root, path, name=None):
    """A program, under another name if one is given, and its libraries, where they are here."""
    _copy(root, path, name or path)
    out = subprocess.run(["ldd", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", out):
        _copy(root, library, library)


def _copy(root, file, name):
    there = root / name.lstrip("/")
    there.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(file).resolve(), there)
    there.chmod(0o755)


def make(root, *more):
    """The system, with more programs, where asked for; skips the test where none can be entered."""
    if os.getuid() != 0 or subprocess.run(
        ["unshare", "-m", "true"], check=False, stderr=subprocess.DEVNULL
    ).returncode:
        pytest.skip("a chroot with /proc needs root and a mount namespace")
    _copy_program(root, "/bin/dash", "/bin/sh")
    _copy_program(root, shutil.which("redis-server"), "/usr/bin/redis-server")
    parts = Path("/usr/lib/openssh").glob("sshd-*")  # of OpenSSH since 9.8
    for program in ("/bin/tar", *more, *map(str, parts)):
        _copy_program(root, program)
    for name in ("proc", "dev", "tmp", "etc", "run/sshd"):
        (root / name).mkdir(parents=True)
    (root / "dev/null").touch()
    (root / "etc/passwd").write_text(
        "root:x:0:0::/:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n")
    return root
