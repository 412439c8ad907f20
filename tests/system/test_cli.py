"""The command line: help, versions, typos, and what a person or a script sees."""

import re
import shlex
import subprocess

import pytest

from harness import network
from harness.http_server import Nginx
from program import DONE, PROGRAM, REFUSED, ROOT, USAGE

COMMANDS = ["inspect", "plan", "recover", "status", "report", "verify", "abort", "agent", "capture", "backup", "backups",
            "expire"]


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help(recovery, command):
    run = recovery.run(*([command] if command else []), "--help", status=DONE)
    assert run.err == ""
    assert run.out.lower().startswith("usage: recluster")
    assert max(map(len, run.out.splitlines())) <= 80
    assert "\x1b" not in run.out
    if command is None:
        assert all(c in run.out for c in COMMANDS if c != "agent")


def test_version(recovery):
    run = recovery.run("--version")
    assert re.fullmatch(r"recluster \d+\.\d+\.\d+\n", run.out)


@pytest.mark.parametrize("args,meant", [
    (["inspct", "x"], "inspect"),
    (["recver"], "recover"),
    (["plan", "x", "--host", "y"], "--hosts"),
    (["recover", "--sate", "x"], "--state"),
    (["status", "--jsn", "--state", "x"], "--json"),
])
def test_did_you_mean(recovery, args, meant):
    run = recovery.run(*args, status=USAGE)
    assert "did you mean" in run.err.lower() and meant in run.err and run.out == ""


@pytest.mark.parametrize("args", [
    [], ["inspect"], ["plan", "x"], ["plan", "--hosts", "y"], ["recover"], ["recover", "x"],
    ["status"], ["report"], ["abort"], ["verify"], ["inspect", "a", "b"], ["--bogus-option"],
    ["recover", "x", "--hosts"], ["recover", "x", "--hosts", "y", "--state", "z", "--until", "lunch"],
    ["plan", "x", "--hosts", "y", "--at", "yesterdayish"],
    ["plan", "x", "--hosts", "y", "--source", "no-equals-sign"],
])
def test_wrong_usage(recovery, args):
    run = recovery.run(*args, status=USAGE)
    assert (run.err or run.out).strip() and "\x1b" not in run.err


def test_unknown_database_names_the_nearest(recovery, cluster):
    cluster.add("sessions")
    recovery.add_hosts(1).write()
    run = recovery.plan("--database", "sesions", status=USAGE)
    assert "sessions" in run.err


@pytest.mark.parametrize("args", [
    ["inspect", "missing.rdb"], ["plan", "missing.rdb", "--hosts", "missing.json"],
    ["status", "--state", "missing.state"], ["report", "--state", "missing.state"],
    ["verify", "missing.rdb"], ["recover", "--state", "missing.state", "--yes"],
])
def test_missing_files_are_named(recovery, args):
    run = recovery.run(*args, status=None)
    assert run.status in (1, 4), run
    assert run.says("missing.")
    assert not (recovery.folder / "missing.state").exists()


def test_results_on_stdout_progress_on_stderr(recovery, cluster):
    cluster.add("a")
    recovery.add_hosts(1).write()
    plan = recovery.plan()
    assert "a" in plan.out and plan.fits
    run = recovery.recover()
    assert "\x1b" not in run.out + run.err and "\r" not in run.err
    status = recovery.run("status", "--state", recovery.state)
    assert status.out and status.err == ""


def test_status_names_the_next_command(recovery, cluster):
    cluster.add("a")
    recovery.add_hosts(1).write().recover("--until", "transfer")
    following = recovery.status()["next"]
    assert following.startswith("recluster recover --state")
    # It can be run as it stands.
    subprocess.run(
        ["sh", "-c", following.replace("recluster", f"'{PROGRAM}'", 1) + " --yes"],
        check=True, cwd=recovery.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )
    assert recovery.status()["state"] == "done"


def test_plan_names_a_command_that_can_be_run(recovery, cluster):
    made = cluster.add("a")
    cluster.write_backups(made, 10)
    recovery.add_hosts(1).write()
    recovery.ccs.rename(recovery.folder / "-my ccs.rdb")
    words = ["--hosts", recovery.hosts_file, "--json", "--", "-my ccs.rdb"]
    following = recovery.run("plan", *words).json["next"]
    assert following.startswith("recluster recover './-my ccs.rdb' --hosts ")
    subprocess.run(
        ["sh", "-c", following.replace("recluster", f"'{PROGRAM}'", 1) + " --yes"],
        check=True, cwd=recovery.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )


@pytest.mark.parametrize("login, query, shown", [
    ("", "", True), ("user@", "", True), ("user:word@", "", False), ("", "?sig=abc", False),
])
def test_plan_names_a_location_unless_it_holds_a_secret(recovery, cluster, net, login, query, shown):
    made = cluster.add("a")
    cluster.write_backups(made, 10)
    recovery.add_hosts(1).write()
    at = net.addr(5)
    web = Nginx(recovery.folder / "web", cluster.backups, at, network.free_port(at)).start()
    source = f"db:1={web.url.replace('//', f'//{login}')}{query}"
    words = ["--hosts", recovery.hosts_file, "--source", source, "--insecure", "--json"]
    following = recovery.run("plan", recovery.ccs, *words).json["next"]
    words = shlex.split(following)
    given = words[words.index("--source") + 1]
    assert given == (source if shown else "db:1=LOCATION")
    assert "word" not in following and "sig" not in following


def test_a_full_or_closed_stdout_is_a_failure(recovery, cluster):
    cluster.add("a")
    recovery.write()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [str(PROGRAM), "inspect", str(recovery.ccs), "--json"], stdout=full,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=30, check=False,
        )
    assert done.returncode not in (DONE, REFUSED)


def options(text):
    return set(re.findall(r"^  (--[a-z][a-z-]+)", text, re.M))


@pytest.mark.parametrize("command", COMMANDS)
def test_man_page_knows_every_option(recovery, command):
    source = (ROOT / "man" / "recluster.1").read_text()
    documented = {"--" + o.replace("\\-", "-") for o in re.findall(r"Fl Fl ([a-z\\-]+)", source)}
    assert options(recovery.run(command, "--help").out) <= documented | {"--help", "--version"}
    assert re.search(rf"^\.(It|Ss|Nm).*\b{command}\b", source, re.M)


def test_a_state_file_without_its_option(recovery):
    for command in ("status", "report", "abort"):
        assert recovery.run(command, "prod.state", status=USAGE).says(f"recluster {command} --state prod.state")
