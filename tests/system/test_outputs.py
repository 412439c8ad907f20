"""Options that write a file: an input stays as it is, and a file that is there is not replaced by accident."""

import gzip
import os
import shutil

import pytest

from program import DONE, REFUSED, USAGE


@pytest.fixture
def planned(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write()
    return recovery


def aliases(folder, path):
    """The same file by other names."""
    link, hard = folder / "link", folder / "hard"
    link.symlink_to(path)
    os.link(path, hard)
    return [path, link, hard, f"{path.parent}/./{path.name}", f"{path.parent}//{path.name}"]


@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
@pytest.mark.parametrize("option", ["--svg", "--out"])
@pytest.mark.parametrize("name", ["ccs", "hosts_file", "backup", "extra", "diff"])
def test_plan_replaces_no_input(planned, cluster, option, force, name):
    extra, diff = planned.folder / "extra.json", planned.folder / "diff.json"
    extra.write_text('{"hosts": [{"name": "x", "addr": "127.0.0.9", "link": "local", "base_dir": "/nowhere/x"}]}')
    planned.plan("--out", diff)
    backup = cluster.databases[0].files[0]
    path = {"ccs": planned.ccs, "hosts_file": planned.hosts_file, "backup": backup, "extra": extra, "diff": diff}[name]
    before = path.read_bytes()
    for alias in aliases(planned.folder, path):
        run = planned.plan(
            "--source", f"db:1={cluster.backups}", "--diff", diff, "--hosts", extra, option, alias,
            *(["--force"] if force else []), status=REFUSED)
        assert run.says("never replaced") or run.says("exists already") or run.says("does not replace"), run
        assert path.read_bytes() == before


def test_plan_replaces_a_file_only_with_force(planned):
    path = planned.folder / "picture.svg"
    path.write_text("mine")
    run = planned.plan("--svg", path, status=REFUSED)
    assert run.says("exists already") and run.says("--force") and path.read_text() == "mine"
    planned.plan("--svg", path, "--force")
    assert path.read_text().startswith("<svg")
    planned.plan("--svg", path, "--force")
    assert not [p for p in planned.folder.iterdir() if p.name.startswith("picture.svg.")]


def test_force_does_not_replace_a_backup_or_a_state_file(planned, folder):
    other = folder / "elsewhere"
    other.mkdir()
    for name, data in (("dump.rdb", b"REDIS0011"), ("x.gz", gzip.compress(b"x")), ("s", b"SQLite format 3\0"),
                       ("a.aof", b"*1\r\n")):
        path = other / name
        path.write_bytes(data)
        run = planned.plan("--svg", path, "--force", status=REFUSED)
        assert run.says("--force does not replace it") and path.read_bytes() == data


def test_two_outputs_are_two_files(planned):
    path = planned.folder / "x"
    assert planned.plan("--svg", path, "--out", f"{planned.folder}/./x", status=USAGE).says("two outputs")
    assert not path.exists()


def test_files_beside_an_output_stay(planned):
    """Whatever their names: working files have names of their own."""
    path = planned.folder / "picture.svg"
    others = [planned.folder / f"picture.svg{end}" for end in (".tmp", ".part", "~", ".bak")]
    for other in others:
        other.write_text("mine")
    planned.plan("--svg", path)
    assert path.exists() and all(o.read_text() == "mine" for o in others)


def test_report_replaces_neither_the_state_file_nor_another(planned):
    planned.recover()
    before = planned.state.read_bytes()
    for words in ([], ["--force"]):
        for alias in [planned.state, f"{planned.folder}//{planned.state.name}"]:
            run = planned.run("report", "--state", planned.state, "--html", alias, *words, status=REFUSED)
            assert run.says("never replaced"), run
    page = planned.folder / "page.html"
    page.write_text("mine")
    planned.run("report", "--state", planned.state, "--html", page, status=REFUSED)
    assert page.read_text() == "mine"
    planned.run("report", "--state", planned.state, "--html", page, "--force")
    assert page.read_text().startswith("<!")
    assert planned.state.read_bytes() == before


@pytest.mark.parametrize("how", ["out", "slots", "link", "part"])
def test_join_and_split_replace_nothing(cluster, recovery, folder, how):
    made = cluster.add("a")
    one = folder / "one.rdb"
    one.write_bytes(gzip.decompress(made.files[0].read_bytes()))
    two = folder / "out.rdb.part"
    shutil.copyfile(one, two)
    before = one.read_bytes()
    out = {"out": one, "slots": f"0-16383={one}", "link": folder / "link", "part": folder / "out.rdb"}[how]
    (folder / "link").symlink_to(one)
    words = ["--slots", out] if how == "slots" else ["--out", out]
    recovery.run("rdb", "join", one, *words, status=DONE if how == "part" else REFUSED)
    assert one.read_bytes() == before and two.read_bytes() == before
    if how == "part":
        run = recovery.run("rdb", "join", one, *words, status=REFUSED)
        assert run.says("exists already")


def test_the_state_file_follows_no_link(planned, folder):
    """Whoever may write to its folder can't have another file cut off by way of its lock or its working file."""
    victim = folder / "victim"
    victim.write_text("mine, and longer than any number of a process")
    (folder / f"{planned.state.name}-lock").symlink_to(victim)
    planned.recover("--until", "prepare", status=None)
    assert victim.read_text().startswith("mine")
    (folder / f"{planned.state.name}-lock").unlink()
    os.link(victim, folder / f"{planned.state.name}-lock")
    run = planned.run("recover", "--state", planned.state, "--yes", status=None)
    assert victim.read_text().startswith("mine") and run.status != DONE


def test_a_folder_of_everybody_holds_no_state_file(planned, folder):
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    planned.state = shared / "x.state"
    run = planned.recover(status=REFUSED)
    assert run.says("everybody may write") and not planned.state.exists() and not planned.host_files()
