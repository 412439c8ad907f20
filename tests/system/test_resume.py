"""Rerun = resume: after the end, after kill -9 at every commit, and while another run is at work."""

import json
import os
import signal
import socket
import sqlite3
import subprocess

import pytest

from dead_cluster import STAMP
from harness import ccs_file, redis_server, resp
from program import DONE, LOCKED, PARTLY, PROGRAM, REFUSED, USAGE

KILLED = -signal.SIGKILL

CLUSTER = "old.example.com"


def pids(recovery):
    return sorted(p.read_text() for p in recovery.running_servers())


def test_what_a_plan_says_to_run_next_runs(cluster, recovery):
    """As it is, in a shell, whatever the names; a run that is at it already says nothing of the kind."""
    made = cluster.add("a", password="one")
    recovery.add_hosts(2).write()
    odd = recovery.folder / "it's the ccs"
    os.rename(recovery.ccs, odd)
    recovery.ccs = odd
    plan = recovery.plan("--no-replicas", "--priority", "db:1", "--database", "db:1")
    command, = (line.strip() for line in plan.out.splitlines() if line.startswith("  recluster recover"))
    shell = f'recluster() {{ "{PROGRAM}" "$@"; }}; {command} --yes'
    run = subprocess.run(["sh", "-c", shell], cwd=recovery.folder, capture_output=True, text=True, check=False)
    assert run.returncode == DONE and "run it with" not in run.stdout, run
    recovery.state = recovery.folder / "recovery.state"
    recovery.assert_recovered(made)
    assert recovery.run("plan", odd, "--hosts", recovery.hosts_file, "--source", "db:1=http://u:secret@127.0.0.1:1/",
                        status=None).out.find("secret") < 0


def test_status_says_that_no_server_was_asked(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write().recover()
    for pid_file in recovery.running_servers():
        redis_server.kill_by_pid_file(pid_file)
    assert recovery.run("status", "--state", recovery.state).says("no server was asked since")
    assert recovery.resume().says("no server was asked since")


@pytest.mark.releases("system", "redis80", "valkey91")
def test_rerun_after_the_end_does_nothing(cluster, recovery):
    made = [cluster.add("a", primaries=2, replicas=1, password="one"), cluster.add("b", replicas=1)]
    recovery.add_hosts(3).write().recover()
    servers = pids(recovery)
    before = recovery.status()
    recovery.resume(status=DONE, timeout=20)
    run = recovery.recover(status=REFUSED, timeout=20)
    assert "recover --state" in run.err
    assert pids(recovery) == servers
    after = recovery.status()
    for document in (before, after):
        document.pop("rpo_s")
    assert after == before
    for one in made:
        recovery.assert_recovered(one)


def test_writes_of_clients_survive_a_rerun(cluster, recovery):
    made = cluster.add("a", replicas=1, password="one", data_persistence="aof")
    recovery.add_hosts(2).write().recover()
    shard = recovery.database(made)["shards"][0]
    with recovery.connect(made, shard) as c:
        c.call("SET", "after", "1")
        c.call("DEL", next(iter(c.call("SCAN", 0)[1])))
    recovery.resume(status=DONE)
    with recovery.connect(made, shard) as c:
        assert c.call("GET", "after") == b"1"


def carry_on(recovery, **how):
    """The next run after a kill; before its first commit to the state file there is none."""
    return recovery.resume(**how) if recovery.state.exists() else recovery.recover(**how)


@pytest.fixture
def fresh_run():
    """Gives a recovery fresh hosts and a fresh state file."""
    def fresh(recovery, n):
        top = recovery.folder / f"run-{n}"
        top.mkdir()
        recovery.state = top / "recovery.state"
        for host in recovery.hosts:
            host["base_dir"] = str(top / host["name"])
        recovery.write_hosts()

    return fresh


def test_killed_at_each_commit_single(cluster, recovery, fresh_run):
    """Killed at the Nth commit, for every N, each time from the start."""
    made = cluster.add("a", replicas=1, password="one", keys=30, data_persistence="aof")
    recovery.add_hosts(2).write()
    n = 1
    while True:
        fresh_run(recovery, n)
        if recovery.recover(env={"RECLUSTER_TEST_KILL_AT": n}, status=None).status == DONE:
            break
        carry_on(recovery, status=DONE)
        recovery.assert_recovered(made)
        assert recovery.status()["state"] == "done"
        recovery.end()
        n += 1
    recovery.assert_recovered(made)
    assert n > 10, "the program was never killed: is RECLUSTER_TEST_KILL_AT honoured?"


@pytest.mark.releases("system", "redis80", "valkey91")
def test_killed_again_and_again_sharded(cluster, recovery):
    """One recovery that is killed again and again, each run a few commits later than the one before."""
    made = [
        cluster.add("a", primaries=2, replicas=1, password="one", keys=60),
        cluster.add("b", keys=30, password="two"),
    ]
    recovery.add_hosts(2).write()
    n = 1
    run = recovery.recover(env={"RECLUSTER_TEST_KILL_AT": n}, status=None)
    while run.status == KILLED:
        n += 3
        assert n < 300, "no progress from one run to the next"
        run = carry_on(recovery, env={"RECLUSTER_TEST_KILL_AT": n}, status=None)
    assert run.status == DONE, run
    assert n > 20
    for one in made:
        recovery.assert_recovered(one)
    assert recovery.status()["state"] == "done"


def wait_for_task(recovery, kind, state="running", seconds=30):
    """Waits until the state file shows a task of this kind in this state."""
    def seen():
        if not recovery.state.exists():
            return False
        try:
            with sqlite3.connect(f"file:{recovery.state}?mode=ro", uri=True) as db:
                return db.execute(
                    "SELECT count(*) FROM task WHERE kind LIKE ? AND state = ?", (kind, state)
                ).fetchone()[0]
        except sqlite3.OperationalError:
            return False

    redis_server.wait_until(seen, f"a task {kind} that is {state}", seconds)


def fill_slowly(cluster, made):
    """Many small keys, so that a server takes a moment to load them."""
    made.database.fields["memory_size"] = str(512 << 20)
    path = cluster.backups / ccs_file.backup_name(STAMP, made.database, 1, made.database.shards[0])
    made.digest = cluster.write_rdb(path, [["SET", f"key:{i}", "x" * 200] for i in range(40_000)])


@pytest.mark.releases("system", "redis80", "valkey91")
def test_killed_in_the_middle_of_a_load(cluster, recovery):
    made = cluster.add("a", replicas=1, password="one", keys=None)
    fill_slowly(cluster, made)
    recovery.add_hosts(2).write()
    process = recovery.start(*recovery.recover_args())
    wait_for_task(recovery, "load%")
    process.kill()
    process.communicate()
    assert recovery.status()["state"] != "done"
    redis_server.wait_until(lambda: recovery.processes() == [], "the end of the agents")
    recovery.resume(status=DONE)
    recovery.assert_recovered(made)


def test_nobody_gets_in_before_the_proof(cluster, recovery):
    """While a recovery is under way, its servers refuse every client."""
    made = cluster.add("a", password="one", keys=None)
    fill_slowly(cluster, made)
    recovery.add_hosts(1).write()
    recovery.recover("--until", "load", status=None)
    assert recovery.running_servers()
    for password in (None, "one"):
        try:
            with resp.Connection(recovery.hosts[0]["addr"], made.database.port, password) as c:
                c.call("GET", "key:1")
                raise AssertionError("a client got in")
        except resp.ReplyError as e:
            assert str(e).split()[0] in ("NOAUTH", "WRONGPASS", "NOPERM", "LOADING"), e
    recovery.resume(status=DONE)
    recovery.assert_recovered(made)


@pytest.mark.parametrize("stage", ["prepare", "transfer", "load", "open"])
def test_until_a_stage(cluster, recovery, stage):
    made = cluster.add("a", primaries=2, replicas=1, password="one")
    recovery.add_hosts(2).write()
    recovery.recover("--until", stage)
    running = len(recovery.running_servers())
    assert running == 0 if stage in ("prepare", "transfer") else running >= 2
    if stage != "open":
        assert recovery.status()["state"] != "done"
        assert "recover" in recovery.status()["next"]
    recovery.resume(status=DONE)
    recovery.assert_recovered(made)


def test_second_run_is_locked_out_and_others_may_look(cluster, recovery):
    made = cluster.add("a", password="one", keys=None)
    fill_slowly(cluster, made)
    recovery.add_hosts(1).write()
    process = recovery.start(*recovery.recover_args())
    wait_for_task(recovery, "load%")
    # While it is stopped, it holds the lock and cannot come to its end.
    process.send_signal(signal.SIGSTOP)
    try:
        run = recovery.resume(status=LOCKED)
        assert str(process.pid) in run.err
        assert recovery.status()["state"] == "running"
    finally:
        process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == DONE
    recovery.assert_recovered(made)


def test_server_that_died_after_its_load_is_brought_back(cluster, recovery):
    made = cluster.add("a", primaries=2, replicas=1, password="one")
    recovery.add_hosts(2).write()
    recovery.recover("--until", "load")
    for pid_file in recovery.running_servers():
        redis_server.kill_by_pid_file(pid_file)
    recovery.resume(status=DONE)
    recovery.assert_recovered(made)


def test_no_process_of_ours_stays(cluster, recovery):
    cluster.add("a", replicas=1)
    recovery.add_hosts(2).write().recover()
    redis_server.wait_until(lambda: recovery.processes() == [], "the end of the agents")
    assert len(recovery.running_servers()) == 2


def test_abort_undoes_what_was_made_and_nothing_else(cluster, recovery):
    made = cluster.add("a", primaries=2, replicas=1, password="one")
    recovery.add_hosts(2).write().recover("--until", "load")
    backups = sorted(p.name for p in cluster.backups.iterdir())
    run = recovery.run("abort", "--state", recovery.state, status=REFUSED)
    assert "--yes" in run.err
    assert recovery.running_servers()
    recovery.run("abort", "--state", recovery.state, "--yes")
    assert recovery.running_servers() == []
    for host in recovery.hosts:
        left = os.listdir(host["base_dir"]) if os.path.exists(host["base_dir"]) else []
        assert left == [], left
    assert sorted(p.name for p in cluster.backups.iterdir()) == backups
    # The hosts are free for another recovery.
    recovery.state = recovery.folder / "second.state"
    recovery.recover()
    recovery.assert_recovered(made)


def test_abort_says_what_stays(cluster, recovery):
    """One shard can't be removed, the others go; it is named, and a later abort ends it."""
    cluster.add("a", primaries=2, replicas=1)
    recovery.add_hosts(2).write().recover("--until", "load")
    kept = recovery.server_folders()[0] / "shard.json"
    record = kept.read_text()
    kept.write_text(record.replace(json.loads(record)["recovery"], "another"))
    run = recovery.run("abort", "--state", recovery.state, "--yes", status=PARTLY)
    assert run.says("3 shards are") and run.says(f"shard {json.loads(record)['shard']}: '{kept.parent}' belongs to another")
    assert "What the recovery made is removed" not in run.out
    assert [p.parent for p in recovery.running_servers()] == [kept.parent] == recovery.server_folders()
    kept.write_text(record)
    assert recovery.run("abort", "--state", recovery.state, "--yes").says("What the recovery made is removed")
    assert recovery.running_servers() == [] and recovery.server_folders() == []


def test_abort_keeps_databases_that_are_open(cluster, recovery):
    made = cluster.add("a", replicas=1, password="one")
    recovery.add_hosts(2).write().recover()
    run = recovery.run("abort", "--state", recovery.state, "--yes", status=PARTLY)
    assert run.says("Nothing was removed") and run.says("--open-databases"), run
    assert len(recovery.running_servers()) == 2
    recovery.assert_recovered(made)


def test_the_end_of_a_rehearsal(cluster, recovery):
    """Open databases go with their data if the cluster is named, also where `default` may not stop a server."""
    made = cluster.add("a", primaries=2, replicas=1, password="one")
    cluster.add("b", kind="single", keys=10)
    recovery.add_hosts(2).write().recover()
    servers = len(recovery.running_servers())
    for name in ("", "another", CLUSTER.upper()):
        run = recovery.run("abort", "--state", recovery.state, "--open-databases", name, "--yes", status=USAGE)
        assert run.says("is not the name of this cluster") and run.says(f"'{CLUSTER}'"), run
    assert len(recovery.running_servers()) == servers
    recovery.assert_recovered(made)
    run = recovery.run("abort", "--state", recovery.state, "--open-databases", CLUSTER, status=REFUSED)
    assert run.says("--yes") and len(recovery.running_servers()) == servers, run
    run = recovery.run("abort", "--state", recovery.state, "--open-databases", CLUSTER, "--yes")
    assert run.says("What the recovery made is removed") and not run.says("open to clients"), run
    assert recovery.running_servers() == [] and recovery.server_folders() == []
    for host in recovery.hosts:
        left = os.listdir(host["base_dir"]) if os.path.exists(host["base_dir"]) else []
        assert left == [], left
    # Neither the state file nor the hosts hold on to it: both work again.
    recovery.resume()
    recovery.assert_recovered(made)
    recovery.run("abort", "--state", recovery.state, "--open-databases", CLUSTER, "--yes")
    recovery.state = recovery.folder / "second.state"
    recovery.recover()
    recovery.assert_recovered(made)


def test_an_open_database_of_which_a_part_is_removed_is_not_called_open(cluster, recovery):
    made = cluster.add("a", primaries=2, replicas=1)
    recovery.add_hosts(2).write().recover()
    kept = recovery.server_folders()[0] / "shard.json"
    record = kept.read_text()
    kept.write_text(record.replace(json.loads(record)["recovery"], "another"))
    args = ("abort", "--state", recovery.state, "--open-databases", CLUSTER, "--yes")
    assert recovery.run(*args, status=PARTLY).says("3 shards are")
    status = recovery.status()
    assert status["state"] == "partly" and status["databases"][0]["state"] == "failed", status
    assert not recovery.run("status", "--state", recovery.state).says("every database is proven")
    kept.write_text(record)
    assert recovery.run(*args).says("What the recovery made is removed")
    assert recovery.running_servers() == [] and recovery.server_folders() == []
    recovery.resume()
    recovery.assert_recovered(made)


@pytest.mark.parametrize("then", ["resume", "abort"])
def test_an_abort_of_open_databases_that_was_killed(cluster, recovery, then):
    """Before it had removed anything, or all of it but not said so."""
    made = cluster.add("a", primaries=2, replicas=1, password="one")
    recovery.add_hosts(2).write().recover()
    args = ("abort", "--state", recovery.state, "--open-databases", CLUSTER, "--yes")
    for n in (1, 2):
        recovery.run(*args, env={"RECLUSTER_TEST_KILL_AT": n}, status=KILLED)
        assert recovery.status()["state"] != "done"
        if then == "resume":
            recovery.resume()
            recovery.assert_recovered(made)
    recovery.run(*args)
    assert recovery.running_servers() == [] and recovery.server_folders() == []


def test_abort_leaves_foreign_files_alone(cluster, recovery):
    cluster.add("a")
    recovery.add_hosts(1).write().recover("--until", "load")
    precious = os.path.join(recovery.hosts[0]["base_dir"], "precious.txt")
    with open(precious, "w", encoding="utf-8") as f:
        f.write("mine")
    recovery.run("abort", "--state", recovery.state, "--yes", status=None)
    assert recovery.running_servers() == []
    with open(precious, encoding="utf-8") as f:
        assert f.read() == "mine"


def test_changed_world_is_refused(cluster, recovery):
    """A plan that was made is carried out as it is, or not at all."""
    made = cluster.add("a", password="one")
    recovery.add_hosts(1).write()
    recovery.recover("--until", "prepare")
    with socket.socket() as listener:
        listener.bind((recovery.hosts[0]["addr"], made.database.port))
        listener.listen(1)
        run = recovery.resume(status=None)
        assert run.status in (1, 4) and str(made.database.port) in run.out + run.err, run
    recovery.resume(status=DONE)
    recovery.assert_recovered(made)


def test_events_are_one_document_a_line(cluster, recovery):
    cluster.add("a", replicas=1)
    first, *events, last = recovery.add_hosts(2).write().recover("--json").events
    assert first["event"] == "plan" and first["plan"]["feasible"] is True
    assert last["event"] == "status" and last["status"]["state"] == "done"
    assert len(events) > 5 and all("event" in e and "message" in e for e in events), events


def test_a_second_terminal_sees_what_is_at_work(cluster, recovery, net):
    """Bytes, and shards: a slow transfer and a long load do not look like a hang, here or on the run's own line."""
    made = cluster.add("a", keys=None)
    made.database.fields["memory_size"] = str(900 << 20)
    scratch = redis_server.Server(cluster.folder / "big", net.addr(2), 6380, rdbcompression="no").start()
    with scratch.connect() as c:
        c.call("EVAL", "for i = 1, 3000000 do redis.call('SET', 'key:' .. i, 'xxxxxxxxxxxxxxxxxxxx' .. i) end", 0)
    name = ccs_file.backup_name(STAMP, made.database, 1, made.database.shards[0]).removesuffix(".gz")
    scratch.save().rename(cluster.backups / name)
    scratch.kill()
    recovery.add_hosts(1).write()
    process = recovery.start(*recovery.recover_args("--limit-rate", "40M"))
    seen, texts = [], []

    def look():
        if recovery.state.exists():
            shard, = recovery.status()["databases"][0]["shards"]
            now = shard["progress"]
            if now:
                seen.append((now["doing"], now["bytes_done"], now["bytes_total"]))
                texts.append(recovery.run("status", "--state", recovery.state).out)
        return process.poll() is not None
    redis_server.wait_until(look, "the end", 120)
    _, err = process.communicate(timeout=30)
    assert process.returncode == DONE, err
    # The load is short on a quick machine: what it said last is still in the state file.
    with sqlite3.connect(recovery.state) as db:
        seen += db.execute("SELECT progress, bytes_done, bytes_total FROM task WHERE progress = 'loading'").fetchall()
    for doing in ("fetching", "loading"):
        steps = [(done, total) for what, done, total in seen if what == doing]
        assert any(0 < done <= total for done, total in steps), (doing, seen)
        assert all(0 <= done <= total for done, total in steps), steps
    assert any("fetching" in text and "/s" in text for text in texts), texts[-1:]
    shard, = recovery.status()["databases"][0]["shards"]
    assert shard["progress"] is None and shard["keys"] == 3000000
