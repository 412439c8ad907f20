"""Append-only files are data, whoever wrote them: what else they hold is not run."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from dead_cluster import commands
from harness import contents, module, network, resp
from program import REFUSED, USAGE
from test_disks import AofServer, Disks, events, keys_of

ALL = ("system", "redis80", "valkey91")
OTHERS = ("redis60", "redis80s", "valkey80", "valkey81")


def command(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


GOOD = command("SELECT", 0) + command("SET", "good", "1")


@pytest.fixture
def disks(recovery):
    return Disks(recovery)


@pytest.fixture
def made(cluster, recovery, disks):
    """A database without backups, whose primary left files on the disk of h1."""
    made = cluster.add("a", keys=None, backup_location="")
    recovery.add_hosts(1, recovery_path=str(disks.folder("h1")))
    return made


def put(disks, made, data):
    path = disks.folder("h1") / f"appendonly-{made.database.primaries[0].uid}.aof"
    path.write_bytes(data)
    return path


def get(recovery, made, key):
    (shard,) = recovery.database(made)["shards"]
    with recovery.connect(made, shard) as c:
        return c.call("GET", key)


@pytest.mark.parametrize("words, name", [
    (["MODULE", "LOAD", "{so}"], "MODULE"), (["module", "loadex", "{so}"], "module"),
    (["CONFIG", "SET", "protected-mode", "no"], "CONFIG"), (["eval", "return 1", 0], "eval"),
    (["REPLICAOF", "127.0.0.1", 6379], "REPLICAOF"), (["FUNCTION", "KILL"], "FUNCTION KILL"),
    (["TMOD.SET", "t:1", 1], "TMOD.SET")])
@pytest.mark.parametrize("inside", [False, True])
def test_what_is_no_data_is_refused(recovery, disks, made, folder, words, name, inside):
    """Named with its byte, before any server sees the file."""
    so = module.build(folder)
    before = GOOD + (command("MULTI") if inside else b"")
    put(disks, made, before + command(*(str(w).format(so=so) for w in words)) + command("SET", "b", 2))
    recovery.write()
    run = recovery.recover(status=REFUSED)
    assert run.says(f"the command '{name}' at byte {len(before)} is not one that writes data"), run
    assert recovery.running_servers() == [] and not list((folder / "hosts").rglob("appendonly.aof"))


HOSTILE = [
    "redis.call('config','set','dir','/')", "redis.call('module','load','{so}')",
    "redis.call('config','set','port','{port}')", "redis.call('replicaof','127.0.0.1','{port}')",
    "redis.call('debug','segfault')", "redis.call('save')", "redis.call('acl','setuser','x','on','nopass','+@all','~*')"]


def hostile(recovery, disks, made, folder, net, script):
    so, port = module.build(folder), network.free_port(net.host(1))
    put(disks, made, GOOD + command("EVAL", script.format(so=so, port=port), 0))
    recovery.write()
    run = recovery.recover("--aof-commands", "EVAL", status=REFUSED)
    assert run.says("refused") or run.says("the server that was to load it"), run
    assert recovery.running_servers() == []
    with pytest.raises(OSError):
        resp.Connection("127.0.0.1", port)
    assert not list((folder / "hosts").rglob("dump.rdb"))


@pytest.mark.releases(*ALL)
@pytest.mark.parametrize("script", HOSTILE[:2])
def test_scripts_that_are_allowed_reach_nothing_else(recovery, disks, made, folder, net, script):
    """What a file can't need is no command of the server that loads it."""
    hostile(recovery, disks, made, folder, net, script)


@pytest.mark.slow
@pytest.mark.releases(*ALL, *OTHERS)
@pytest.mark.parametrize("script", HOSTILE)
def test_no_script_reaches_anything_else(release, recovery, disks, made, folder, net, script):
    if release.name == "redis60":
        pytest.skip("it tells of no errors in such files, and loads what is left")
    hostile(recovery, disks, made, folder, net, script)


def test_names_that_may_be_allowed(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write()
    assert recovery.recover("--aof-commands", "EVAL,config", status=USAGE).says("'config' is never replayed")
    assert recovery.recover("--aof-commands", "EVAL,", status=USAGE).says("empty name")


@pytest.mark.releases(*ALL)
def test_scripts_of_old_files(recovery, disks, made):
    """Before 7.0 servers could write scripts, and EVALSHA after SCRIPT LOAD."""
    script = "return redis.call('set','c','3')"
    sha = hashlib.sha1(script.encode()).hexdigest()
    put(disks, made, GOOD + command("EVAL", "return redis.call('set',KEYS[1],'2')", 1, "b") +
        command("SCRIPT", "LOAD", script) + command("EVALSHA", sha, 0))
    recovery.write()
    recovery.recover("--aof-commands", "EVAL,EVALSHA")
    assert [get(recovery, made, k) for k in ("good", "b", "c")] == [b"1", b"2", b"3"]


@pytest.fixture
def public():
    """A folder that every user may enter."""
    path = Path(tempfile.mkdtemp(prefix="recluster-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_commands_of_modules(recovery, disks, made, public):
    so = module.build(public)
    put(disks, made, GOOD + command("TMOD.SET", "t:1", 7))
    recovery.hosts[0]["modules"] = [str(so)]
    recovery.write()
    assert recovery.recover(status=REFUSED).says("start again with --aof-commands TMOD.SET")
    recovery.run("abort", "--state", recovery.state, "--yes")
    recovery.state = recovery.folder / "second.state"
    recovery.recover("--aof-commands", "tmod.set")
    (shard,) = recovery.database(made)["shards"]
    with recovery.connect(made, shard) as c:
        assert c.call("TMOD.GET", "t:1") == 7


@pytest.mark.releases(*ALL)
def test_refused_commands_stop_the_database(recovery, disks, made):
    """A lost write is a lost write: the operator decides."""
    put(disks, made, GOOD + command("LPUSH", "good", "x") + command("SET", "b", 2))
    recovery.write()
    run = recovery.recover(status=REFUSED)
    assert run.says("refused 1 of its commands (WRONGTYPE)") and run.says("--aof-errors")
    recovery.run("abort", "--state", recovery.state, "--yes")
    recovery.state = recovery.folder / "second.state"
    recovery.recover("--aof-errors")
    assert get(recovery, made, "b") == b"2"
    ((message, _),) = events(recovery, "aof-errors")
    assert "WRONGTYPE" in message


def of_all_kinds(server):
    """What clients of that server may have written; no two answers differ from run to run."""
    yield ["FLUSHALL"]
    yield from (c for _, c in commands(150, "aof"))
    yield from (["MULTI"], ["RPUSH", "list", 1, 2], ["LMOVE" if server >= (7,) else "RPOPLPUSH", "list", "list",
                *(["LEFT", "RIGHT"] if server >= (7,) else [])], ["EXEC"])
    yield ["EVAL", "redis.call('set', KEYS[1], ARGV[1])", 1, "by-script", "x"]
    yield ["SCRIPT", "LOAD", "return redis.call('incr', KEYS[1])"]
    yield from (["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"], ["XADD", "s", "1-1", "a", "b"],
                ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"], ["XACK", "s", "g", "1-1"])
    yield from (["SETRANGE", "bits", 5, "x"], ["BITFIELD", "bits", "SET", "u8", 0, 7], ["PFADD", "hll", "a"],
                ["GEOADD", "geo", 13.3, 38.1, "p"], ["SORT", "list", "STORE", "sorted"], ["COPY", "geo", "geo2"]
                if server >= (7,) else ["RENAME", "geo", "geo2"])
    if server >= (7,):
        yield ["FUNCTION", "LOAD", "REPLACE", "#!lua name=lib\nredis.register_function('f', function() return 1 end)"]


def loads_all_kinds(release, recovery, disks, made, folder, net):
    """The data is what the old server itself makes of its file, to the last key."""
    wrote = AofServer(folder / "old", net, program=release.program)
    wrote.write(of_all_kinds(release.version), of_all_kinds(release.version) if release.version >= (7,) else ())
    with wrote.server.start().connect() as c:
        digest = contents.digest(c)
    wrote.server.kill()
    if release.version >= (7,):
        shutil.copytree(wrote.aof, disks.folder("h1") / f"appendonly-{made.database.primaries[0].uid}.aof.dir")
    else:
        put(disks, made, (folder / "old" / "appendonly.aof").read_bytes())
    recovery.write()
    recovery.recover()
    recovery.assert_recovered(made, digest)
    if release.version >= (7,):
        (shard,) = recovery.database(made)["shards"]
        with recovery.connect(made, shard) as c:
            assert c.call("FCALL", "f", 0) == 1


@pytest.mark.releases(*ALL)
def test_what_servers_write_is_loaded(release, recovery, disks, made, folder, net):
    loads_all_kinds(release, recovery, disks, made, folder, net)


@pytest.mark.slow
@pytest.mark.releases(*OTHERS)
def test_what_other_servers_write_is_loaded(release, recovery, disks, made, folder, net):
    loads_all_kinds(release, recovery, disks, made, folder, net)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user")
def test_it_is_loaded_without_root(recovery, disks, made, public):
    """Neither the files nor a port of the server that loads it are anybody's."""
    said = public / "who"
    server = public / "redis-server"
    server.write_text('#!/bin/bash\n[ "$1" = - ] || exec redis-server "$@"\nconf=$(cat)\n'
                      f'echo "$(id -u) $(grep ^port <<<"$conf")" >> \'{said}\'\nexec redis-server - <<<"$conf"\n')
    said.touch()
    said.chmod(0o666)
    server.chmod(0o755)
    put(disks, made, GOOD)
    recovery.hosts[0]["server"] = str(server)
    recovery.write()
    recovery.recover("--until", "transfer")
    lines = [line.split() for line in said.read_text().splitlines()]
    assert lines and all(line[0] != "0" for line in lines)
    assert lines[-1][1:] == ["port", "0"]


# --- folders, as a crash or another configuration leaves them ---


@pytest.fixture
def aof_folder(disks, made, folder, net):
    """A function that copies what an AOF server with these settings wrote to the disk of h1."""
    def make(**settings):
        wrote = AofServer(folder / "old", net, **settings)
        made.digest = wrote.write(keys_of(made.database.primaries[0], 4, "a"))
        target = disks.folder("h1") / f"appendonly-{made.database.primaries[0].uid}.aof.dir"
        shutil.copytree(wrote.aof, target)
        return target
    return make


def test_an_unfinished_manifest(recovery, made, aof_folder):
    """A crash while it is replaced leaves both."""
    target = aof_folder()
    (manifest,) = target.glob("*.manifest")
    (target / f"temp-{manifest.name}").write_bytes(manifest.read_bytes()[:20])
    recovery.write()
    recovery.recover()
    recovery.assert_recovered(made)


def test_names_in_quotes(recovery, made, aof_folder):
    target = aof_folder(appendfilename="app end\"s.aof")
    (manifest,) = target.glob("*.manifest")
    assert b'file "app end' in manifest.read_bytes()
    recovery.write()
    recovery.recover()
    recovery.assert_recovered(made)


def test_a_part_of_zeros(recovery, made, aof_folder):
    """A power loss: it is said where they begin and what to do."""
    target = aof_folder()
    (increment,) = target.glob("*.incr.aof")
    increment.write_bytes(bytes(100))
    recovery.write()
    run = recovery.recover(status=REFUSED)
    assert run.says(increment.name) and run.says("corrupt at byte 0") and run.says("redis-check-aof --fix"), run


def test_a_part_that_is_named_twice(recovery, made, aof_folder):
    target = aof_folder()
    (manifest,) = target.glob("*.manifest")
    (increment,) = target.glob("*.incr.aof")
    manifest.write_text(manifest.read_text() + f"file {increment.name} seq 1 type i\n")
    recovery.write()
    recovery.recover(status=REFUSED)
    assert recovery.server_folders() == []
