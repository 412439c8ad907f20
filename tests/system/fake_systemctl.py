#!/usr/bin/python3
"""As much of systemctl as starting servers takes: it reads unit files as systemd does and really starts what
they say. Its state (units as they were at the last daemon-reload, the log of its calls) is in the folder
`state` beside the folder that it is in.
"""

import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(__file__).resolve().parents[1] / "state"


def words(text, variables):
    """A command line or a list of assignments: quotes, C escapes, specifiers, variables."""
    out, word, quote, i = [], None, None, 0
    while i < len(text):
        c = text[i]
        i += 1
        if c == "\\":
            escape = text[i]
            i += 1
            if escape == "x":
                c, i = chr(int(text[i:i + 2], 16)), i + 2
            else:
                c = {"n": "\n", "t": "\t", "s": " "}.get(escape, escape)
            word = (word or "") + c
        elif quote:
            if c == quote:
                quote = None
            else:
                word += c
        elif c in "'\"" and word is None:
            quote, word = c, ""
        elif c.isspace():
            if word is not None:
                out.append(word)
            word = None
        else:
            word = (word or "") + c
    assert quote is None, text
    if word is not None:
        out.append(word)
    out = [re.sub("%(.)", specifier, w) for w in out]
    return [re.sub(r"\$(\$|\{\w+\}|\w*)", variable, w) for w in out] if variables else out


def specifier(match):
    return {"%": "%"}[match.group(1)]


def variable(match):
    assert match.group(1) == "$", f"${match.group(1)} would be put in from the environment"
    return "$"


class Unit:
    def __init__(self, name):
        self.settings = {}
        for line in (STATE / "loaded" / name).read_text().splitlines():
            assert not line.endswith("\\"), "continued lines are not for us"
            if "=" in line and line[0] not in "#;[":
                key, value = line.split("=", 1)
                self.settings.setdefault(key.strip(), []).append(value.strip())

    def folder(self):
        return Path(re.sub("%(.)", specifier, self.settings["WorkingDirectory"][-1]))

    def pid_file(self):
        return self.folder() / "redis.pid"

    def pid(self):
        try:
            pid = int(self.pid_file().read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            return pid if state != "Z" else 0
        except (FileNotFoundError, ValueError):
            return 0

    def start(self):
        if self.pid():
            return
        assert self.settings["Type"] == ["forking"]
        environment = dict(
            assignment.split("=", 1)
            for line in self.settings.get("Environment", []) for assignment in words(line, False))
        self.pid_file().unlink(missing_ok=True)
        subprocess.run(words(self.settings["ExecStart"][-1], True), check=True, env=environment,
                       cwd=self.folder(), stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, umask=0o077)
        deadline = time.monotonic() + 20
        while not self.pid():
            assert time.monotonic() < deadline, "no PID file"
            time.sleep(0.01)


def folder_of_units(user):
    return Path(os.environ["XDG_CONFIG_HOME"], "systemd/user") if user else Path("/etc/systemd/system")


def main(argv):
    user = argv[:1] == ["--user"]
    verb, *names = argv[user:]
    if user:
        assert os.environ["XDG_RUNTIME_DIR"] == f"/run/user/{os.getuid()}"
    units = folder_of_units(user)
    with (STATE / "log").open("a") as log:
        print(*argv, file=log)
    loaded = STATE / "loaded"
    lock = (STATE / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if verb == "daemon-reload":
        for old in loaded.iterdir():
            old.unlink()
        for file in units.glob("*.service"):
            (loaded / file.name).write_text(file.read_text())
        return 0
    name, = names
    link = STATE / "enabled" / name
    if not (loaded / name).exists():
        print(f"Unit {name} not loaded.", file=sys.stderr)
        return 5
    unit = Unit(name)
    lock.close()
    if verb == "start":
        unit.start()
    elif verb == "stop":
        assert not unit.pid(), "it runs: SIGTERM would make it save"
    elif verb == "enable":
        assert unit.settings["WantedBy"] == ["default.target" if user else "multi-user.target"]
        link.touch()
    elif verb == "disable":
        link.unlink(missing_ok=True)
    elif verb == "is-active":
        print("active" if unit.pid() else "inactive")
        return 0 if unit.pid() else 3
    else:
        assert verb == "reset-failed"
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (AssertionError, OSError, KeyError, subprocess.SubprocessError) as e:
        print(f"Job failed: {e!r}", file=sys.stderr)
        sys.exit(1)
