"""Values of modules, and of types that are modules inside of their server: the hosts' servers are asked."""

import random

import pytest

from harness import ccs_file, contents, module, slots
from dead_cluster import STAMP
from program import FAILED, REFUSED
from test_replicas import assert_no_copy

UNUSED, VALUES = [], [[b"TMOD.SET", b"t:%d" % i, b"%d" % i] for i in range(30)]


@pytest.fixture
def tmod(cluster, folder):
    """The module, which the server that writes the backups has."""
    path = str(module.build(folder))
    cluster.scratch_settings = {"loadmodule": path}
    return path


def add(cluster, commands, primaries=1, replicas=0):
    """A database with a plain file for each primary: strings, and what the commands make."""
    made = cluster.add("a", primaries=primaries, replicas=replicas, keys=None)
    made.digest = contents.Digest()
    rng = random.Random(1)
    plain = [[b"SET", b"k:%d" % i, rng.randbytes(500)] for i in range(20)]
    for i, shard in enumerate(made.database.primaries):
        path = cluster.backups / ccs_file.backup_name(STAMP, made.database, i + 1, shard).removesuffix(".gz")
        with cluster.scratch.connect() as c:
            c.call("FLUSHALL")
            for command in plain + commands:
                if slots.holds(shard.ranges, slots.of_key(command[1])):
                    c.call(*command)
        path.write_bytes(cluster.scratch.save().read_bytes())
        made.files.append(path)
    return made


def values(recovery, made, *command):
    """What the servers answer for each key, by SCAN and the command; of the primaries and of all."""
    found = {"primary": {}, "replica": {}}
    for shard in recovery.database(made)["shards"]:
        with recovery.connect(made, shard) as c:
            if made.sharded:
                c.call("READONLY")
            for key in contents.keys_of(c):
                if not key.startswith(b"k:"):
                    found[shard["role"]][key] = c.call(command[0], key, *command[1:])
    return found


@pytest.mark.releases("redis80")
@pytest.mark.parametrize("primaries, replicas", [(1, 0), (3, 1)])
def test_vector_sets(cluster, recovery, primaries, replicas):
    """A core type since Redis 8, which stands in files as a module's."""
    made = add(cluster, [[b"VADD", b"v:%d" % i, b"VALUES", b"3", b"1", b"2", b"%d" % i, b"e", b"SETATTR", b"{}"]
                         for i in range(40)], primaries, replicas)
    recovery.add_hosts(3).write()
    recovery.recover()
    found = values(recovery, made, "VCARD")
    assert len(found["primary"]) == 40 and set(found["primary"].values()) == {1}
    if replicas:
        assert found["replica"] == found["primary"]
        assert_no_copy(recovery, made, primaries * replicas)


@pytest.mark.slow
@pytest.mark.releases(("redis80s", "redis80"))
def test_vector_sets_of_a_later_patch(cluster, recovery):
    """Redis 8.0.2 does not load those of 8.0.6: the file is not called damaged."""
    add(cluster, [[b"VADD", b"v", b"VALUES", b"2", b"1", b"2", b"e"]])
    recovery.add_hosts(1).write()
    run = recovery.recover(status=FAILED)
    assert run.says("as new as those that wrote the file") and not run.says("damaged"), run


@pytest.mark.releases("system", "valkey91")
@pytest.mark.parametrize("commands, primaries, replicas", [(UNUSED, 1, 1), (VALUES, 1, 0), (VALUES, 3, 1)])
def test_modules_are_loaded(cluster, recovery, tmod, commands, primaries, replicas):
    made = add(cluster, commands, primaries, replicas)
    recovery.defaults["modules"] = [tmod]
    recovery.add_hosts(3).write()
    recovery.recover()
    found = values(recovery, made, "TMOD.GET")
    assert found["primary"] == {command[1]: int(command[2]) for command in commands}
    assert not replicas or found["replica"] == found["primary"]
    for shard in recovery.database(made)["shards"]:
        with recovery.connect(made, shard) as c:
            assert b"tmod" in str(c.call("MODULE", "LIST")).encode()


@pytest.mark.releases("system", "redis80", "valkey91")
def test_the_plan_knows_what_is_lacking(cluster, recovery, tmod):
    """The file's beginning tells of the module; whether keys are of it, only the transfer sees."""
    add(cluster, VALUES)
    recovery.add_hosts(2).write()
    (warning,) = [w for w in recovery.plan("--json").json["warnings"] if w["code"] == "module"]
    assert "'tmod_type'" in warning["message"] and "\"modules\"" in warning["hint"]
    run = recovery.recover(status=REFUSED)
    assert run.says("of the module type 'tmod_type'") and recovery.running_servers() == []


def test_keys_of_a_module_are_known_in_the_plan_where_files_were_read(cluster, recovery, folder, tmod):
    """Files without a vendor's name are read whole: the plan knows what is in them."""
    made = add(cluster, VALUES)
    place = folder / "place"
    place.mkdir()
    made.files[0].rename(place / "dump.rdb")
    cluster.add("sharded", primaries=2, keys=None)
    recovery.add_hosts(1).write()
    run = recovery.plan("--database", "db:2", "--source", f"db:2={place}", "--resort", status=REFUSED)
    assert run.says("'dump.rdb' has keys of the module type 'tmod_type', which no host's server has"), run


def test_a_host_that_has_it_is_chosen(cluster, recovery, tmod):
    made = add(cluster, VALUES)
    recovery.add_hosts(2)
    recovery.add_hosts(1, modules=[[tmod, "one"]])
    recovery.write()
    recovery.recover()
    assert [s["host"] for s in recovery.database(made)["shards"]] == ["h3"]


def test_what_stands_farther_behind_is_known_before_a_server_starts(cluster, recovery, tmod):
    """Values alone are seen by the scan: the host asks its server then."""
    made = add(cluster, [[b"SELECT", b"1"], *VALUES])  # of database 1, which comes last
    data = made.files[0].read_bytes()
    start, end = data.index(b"\xf7\x81"), data.index(b"\xfe\x00", data.index(b"\xf7\x81"))
    made.files[0].write_bytes(data[:start] + data[end:-8] + bytes(8))  # without the record of the module itself
    recovery.add_hosts(1).write()
    recovery.plan()
    run = recovery.recover(status=REFUSED)
    assert run.says("data of the module type 'tmod_type'") and run.says("\"modules\"")
    assert recovery.running_servers() == []


@pytest.mark.parametrize("modules, words", [
    ("/nowhere/x.so", "is not a list of absolute paths"), (["x.so"], "is not a list of absolute paths"),
    ([["/x.so", 1]], "is not a list of absolute paths")])
def test_other_values_are_refused(cluster, recovery, modules, words):
    cluster.add("a")
    recovery.add_hosts(1, modules=modules).write()
    assert recovery.plan(status=2).says(words)


def test_a_module_that_does_not_load(cluster, recovery, tmod):
    """Its host is not used, and it is said why."""
    cluster.scratch_settings = {}
    cluster.add("a")
    recovery.add_hosts(1, modules=[[tmod, "one", "too", "many"]]).write()
    run = recovery.plan(status=REFUSED)
    assert run.says("does not start with its \"modules\"") and run.says("Correct \"modules\"")
