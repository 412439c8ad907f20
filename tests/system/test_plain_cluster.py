"""A plain Redis or Valkey cluster of which only its old data folders, or a redis-cli backup, are left."""

import random
import shutil
import sqlite3
import subprocess

import pytest

from captured import settings_of, users_of
from harness import contents, redis_server, resp, slots
from live_cluster import LiveCluster
from program import DONE, REFUSED, USAGE
from test_capture_recovery import ODD, ROOT, fill, recovered_servers
from test_replan import PATIENCE, REPLAN, gate, places, query  # noqa: F401
from test_resume import wait_for_task


def die(servers, aof=False):
    """Their configuration is written down, their data saved, and all of them are killed."""
    for server in servers:
        with server.connect() as c:
            c.call("CONFIG", "REWRITE")
            if not aof:
                c.call("SAVE")
    for server in servers:
        server.kill()
    return [s.folder for s in servers]


def from_folders(recovery, folders, *more, command="recover", **how):
    state = ["--state", recovery.state, "--yes"] if command == "recover" else []
    recovery.write_hosts()
    return recovery.run(command, "--hosts", recovery.hosts_file, *state, *more, "--from-folders", *folders, timeout=120, **how)


def held(recovery, password=None):
    """A digest of what the new primaries hold."""
    found = contents.Digest()
    for database in recovery.status()["databases"]:
        for shard in database["shards"]:
            if shard["role"] == "primary":
                with resp.Connection(shard["addr"], shard["port"], password) as c:
                    found += contents.digest(c)
    return found


def digest_of(servers):
    found = contents.Digest()
    for server in servers:
        with server.connect() as c:
            found += contents.digest(c)
    return found


@pytest.mark.releases("system", "redis80", "valkey91")
@pytest.mark.parametrize("kept", ["rdb", "aof"])
def test_folders_of_a_cluster(folder, net, recovery, release, kept):
    """One command: keys, password, users, limits, policy, persistence, odd settings."""
    settings = {k.replace("-", "_"): v for k, v in ODD.items()}
    if kept == "aof":
        settings.update(appendonly="yes", appendfsync="always", cluster_require_full_coverage="no",
                        cluster_allow_reads_when_down="yes", maxclients="777")
    live = LiveCluster(folder / "live", net, release.program, replicas=1, password=ROOT, **settings).start()
    fill(live.servers, 3, release.version)
    with live.servers[0].connect() as c:
        users, before = users_of(c), settings_of(c)
    digest = digest_of(live.servers[:3])
    folders = die(live.servers, aof=kept == "aof")
    recovery.add_hosts(3)
    plan = from_folders(recovery, folders, command="plan")
    assert plan.says("appendonlydir" if kept == "aof" else "dump.rdb") and plan.says("this machine"), plan
    from_folders(recovery, folders)
    assert held(recovery, ROOT).same_as(digest)
    for shard in recovered_servers(recovery, "1"):
        with resp.Connection(shard["addr"], shard["port"], ROOT) as c:
            own = users_of(c)
            own.pop("replication")
            assert own == users
            assert settings_of(c) == before


def test_resumed_after_a_kill(folder, net, recovery):
    """The state file has all that the folders said."""
    live = LiveCluster(folder / "live", net, replicas=0, password=ROOT).start()
    fill(live.servers, 3, (7, 0, 0))
    digest = digest_of(live.servers)
    folders = die(live.servers)
    recovery.add_hosts(2)
    from_folders(recovery, folders, "--until", "prepare")
    for f in folders:
        (f / "redis.conf").unlink()
    recovery.resume()
    assert held(recovery, ROOT).same_as(digest)


def big(folder, net):
    """The folders of a cluster whose files take seconds at 300 KB/s, and what they hold."""
    live = LiveCluster(folder / "live", net, replicas=0, password=ROOT).start()
    fill(live.servers, 3, (7, 0, 0))
    for server, owned in zip(live.servers, slots.split(3)):
        with server.connect() as c:
            keys = [b"big:%d" % i for i in range(1500) if slots.holds([owned], slots.of_key(b"big:%d" % i))]
            for _ in c.pipeline([["SET", key, random.randbytes(2000)] for key in keys]):
                pass
    digest = digest_of(live.servers)
    return die(live.servers), digest


def test_killed_while_files_are_sent(folder, net, recovery):
    """Of folders behind a command and here; the rerun begins where it was."""
    folders, digest = big(folder, net)
    recovery.old_nodes = [{"node": "n1", "link": "command", "command": ["sh"], "data_path": [str(f) for f in folders[:2]]}]
    recovery.add_hosts(2).write_hosts()
    run = recovery.start("recover", "--hosts", recovery.hosts_file, "--state", recovery.state, "--yes",
                         "--limit-rate", "300k", "--from-folders", "node:n1", folders[2])
    wait_for_task(recovery, "fetch")
    redis_server.wait_until(lambda: query(
        recovery, "SELECT count(*) FROM task WHERE kind = 'fetch' AND bytes_done > 0")[0][0], "the first bytes")
    run.kill()
    run.wait()
    assert not query(recovery, "SELECT 1 FROM task WHERE kind = 'load_shard' AND state = 'done'")
    recovery.resume()
    assert held(recovery, ROOT).same_as(digest)
    assert recovery.processes() == []


def test_a_host_is_lost_while_files_are_sent(folder, net, recovery, gate):  # noqa: F811
    """Its shards move to the others, from the same folders."""
    folders, digest = big(folder, net)
    recovery.old_nodes = [{"node": "n1", "link": "command", "command": ["sh"], "data_path": [str(f) for f in folders[:2]]}]
    recovery.add_hosts(4)
    from_folders(recovery, ["node:n1", folders[2]], "--until", "prepare")
    lost, = query(recovery, "SELECT host FROM placement WHERE role = 'primary' ORDER BY shard_uid")[0]
    run = recovery.start("recover", "--state", recovery.state, "--yes", "--limit-rate", "300k", *PATIENCE)
    redis_server.wait_until(lambda: query(
        recovery, "SELECT count(*) FROM task WHERE kind = 'fetch' AND host = ? AND bytes_done > 0", lost)[0][0],
        "the first bytes")
    gate.take(lost)
    run.wait()
    assert run.returncode != 0
    recovery.resume(*REPLAN)
    assert lost not in [host for _, host in places(recovery).values()]
    assert held(recovery, ROOT).same_as(digest)


def replicated(folder, net, **settings):
    primary = redis_server.Server(folder / "p", net.old_node(1), 6379, ROOT, **settings).start()
    replica = redis_server.Server(
        folder / "r", net.old_node(2), 6379, ROOT, replicaof=f"{primary.addr} 6379",
        replica_announce_ip=net.old_node(2), **settings).start()
    redis_server.wait_for_replica(replica)
    fill([primary, replica], 1, (7, 0, 0))
    return primary, replica


@pytest.mark.parametrize("bad", ["none", "primary's", "replica's", "primary's folder"])
def test_folders_of_a_primary_and_a_replica(folder, net, recovery, bad):
    """The newest whole file is taken; the plan says which, and which not and why."""
    primary, replica = replicated(folder, net)
    digest = digest_of([primary])
    redis_server.wait_until(lambda: digest_of([replica]).same_as(digest), "the replica")
    folders = die([primary, replica])
    if bad == "primary's":
        (primary.folder / "dump.rdb").write_bytes(b"")
    if bad == "replica's":
        (replica.folder / "dump.rdb").write_bytes(b"REDIX0011")
    if bad == "primary's folder":
        folders = folders[1:]
    recovery.add_hosts(2)
    plan = from_folders(recovery, folders, command="plan")
    taken = {"primary's": replica, "primary's folder": replica, "replica's": primary}.get(bad)
    for server in [taken] if taken else []:
        assert plan.says(f"this machine:{server.folder}/dump.rdb of"), plan
    assert plan.says("is not used") == (bad == "primary's") or bad == "replica's", plan
    from_folders(recovery, folders)
    assert held(recovery, ROOT).same_as(digest)
    assert len(recovered_servers(recovery, "1")) == 2


@pytest.mark.parametrize("kept", ["dump.rdb", "prod.rdb", "appendonlydir", "log"])
def test_folder_of_one_server(folder, net, recovery, kept):
    """Whatever its files are called."""
    more = {"dbfilename": kept} if kept.endswith("rdb") else {"appendonly": "yes", "appenddirname": kept}
    server = redis_server.Server(folder / "it's here", net.old_node(1), 6390, ROOT, **more).start()
    fill([server], 1, (7, 0, 0))
    digest = digest_of([server])
    folders = die([server], aof="appendonly" in more)
    recovery.add_hosts(1)
    from_folders(recovery, folders)
    assert held(recovery, ROOT).same_as(digest)


def test_folders_that_contradict(folder, net, recovery):
    live = LiveCluster(folder / "live", net, replicas=0, password=ROOT).start()
    other = redis_server.Server(folder / "other", net.old_node(9), 6379).start()
    second = LiveCluster(folder / "second", net, replicas=0, first=20).start()
    with live.servers[0].connect() as c:
        c.call("CONFIG", "REWRITE")
    recovery.add_hosts(2)
    run = from_folders(recovery, [s.folder for s in live.servers], status=REFUSED)
    assert run.says(f"a server still runs in '{live.servers[0].folder}'") and run.says("Stop it"), run
    folders = die(live.servers)
    die([other])
    strangers = die(second.servers)
    for stranger in strangers:
        text = (stranger / "nodes.conf").read_text()
        (stranger / "nodes.conf").write_text(text.replace("0" * 30, "a" * 30))
    (folder / "empty").mkdir()
    copy = folder / "copy"
    shutil.copytree(folders[0], copy)
    link = folder / "link"
    link.symlink_to(folders[0])
    for more, words in (
            ([folder / "empty"], f"'{folder / 'empty'}' is not the data folder of a server"),
            ([folder / "gone"], f"cannot open '{folder / 'gone'}'"),
            ([copy], "are both of the node"),
            ([other.folder], "are not of the same cluster"), ([strangers[0]], "are not of the same cluster")):
        run = from_folders(recovery, [*folders, *more], command="plan", status=None)
        assert run.status not in (DONE, 70) and run.says(words), run
    plan = from_folders(recovery, [*folders, link], command="plan")
    assert plan.says("Feasible"), plan
    run = from_folders(recovery, folders[1:], command="plan", status=REFUSED)
    assert run.says("no folder is of the node") and run.says("0-5460"), run
    shutil.rmtree(folder / "copy")
    conf = folders[1] / "nodes.conf"
    text = conf.read_text()
    own = next(line for line in text.splitlines() if "myself" in line)
    for epoch, status, words in (("99", DONE, "the later epoch counts"), (None, REFUSED, "in the same epoch")):
        first = next(line for line in (folders[0] / "nodes.conf").read_text().splitlines() if "myself" in line)
        changed = own.split()
        changed[6] = epoch or first.split()[6]
        conf.write_text(text.replace(own, " ".join([*changed, "100-200"])))
        run = from_folders(recovery, folders, command="plan", status=status)
        assert run.says(words) and run.says("100-200") and run.says(str(folders[0])) and run.says(str(folders[1])), run
    conf.write_text(text)
    (folders[2] / "dump.rdb").unlink()
    (folders[2] / "dump.rdb").symlink_to("/nowhere/dump.rdb")
    run = from_folders(recovery, folders, command="plan", status=REFUSED)
    assert run.says(f"'{folders[2]}/dump.rdb' cannot be read"), run
    (folder / "key").write_text("AGE-SECRET-KEY-1\n")
    from_folders(recovery, folders, "--key", folder / "key", status=USAGE)


def test_included_and_renamed(folder, net, recovery):
    """Lines of an included file count where they stand; one that is missing, and renamed commands, are told."""
    server = redis_server.Server(folder / "old", net.old_node(1), 6390, ROOT).start()
    fill([server], 1, (7, 0, 0))
    digest = digest_of([server])
    folders = die([server])
    with server.config.open("a") as f:
        f.write('include /etc/redis/more.conf\ninclude /nowhere/gone.conf\nrename-command FLUSHALL ""\n'
                'rename-command CONFIG secret-config\nhz 31\n')
    (server.folder / "more.conf").write_text("hz 77\ntimeout 123\ninclude deeper.conf\n")
    (server.folder / "deeper.conf").write_text("slowlog-max-len 99\n")
    recovery.add_hosts(1)
    plan = from_folders(recovery, folders, command="plan")
    assert plan.says(f"'{server.config}' includes '/nowhere/gone.conf', which is not there"), plan
    assert plan.says("flushall was off, config was secret-config") and plan.says("admin"), plan
    assert not plan.says("more.conf"), plan
    from_folders(recovery, folders)
    assert held(recovery, ROOT).same_as(digest)
    shard, = recovered_servers(recovery, "1")
    with resp.Connection(shard["addr"], shard["port"], admin_password(recovery), "admin") as c:
        assert (c.config("hz"), c.config("timeout"), c.config("slowlog-max-len")) == ("31", "123", "99")
    (server.folder / "deeper.conf").write_text("include more.conf\n")
    run = from_folders(recovery, folders, command="plan", status=None)
    assert run.status not in (DONE, 70) and run.says("includes too many files"), run


def admin_password(recovery):
    with sqlite3.connect(recovery.state) as db:
        return db.execute("SELECT value FROM secret WHERE place = 'target.admin_password'").fetchone()[0]


@pytest.mark.releases("system", "redis60", "valkey91")
@pytest.mark.parametrize("users", ["one password", "named users", "their own admin"])
def test_commands_that_had_other_names(folder, net, recovery, release, users):
    """Nobody may call what he could not call before, not even after a restart; user admin may."""
    live = LiveCluster(folder / "live", net, release.program, replicas=0, password="pw").start()
    fill(live.servers, 3, release.version)
    extra = {"one password": [], "named users": ["app"], "their own admin": ["app", "admin"]}[users]
    for name in extra:
        live.everywhere("ACL", "SETUSER", name, "on", f">{name}", "~*", "+@all")
    if extra and release.version >= (7, 0, 0):
        live.everywhere("ACL", "SETUSER", "app", "-@all", "(~* +@all)", "(+config|get +dbsize)")
    digest = digest_of(live.servers)
    folders = die(live.servers)
    for server in live.servers:
        with server.config.open("a") as f:
            f.write('rename-command FLUSHALL ""\nrename-command Config secret-config\nrename-command NOSUCH ""\n')
    recovery.add_hosts(3)
    plan = from_folders(recovery, folders, "--json", command="plan").json
    warning, = [w for w in plan["warnings"] if w["code"] == "commands-renamed"]
    assert "config was secret-config" in warning["message"] and "rename-command" in warning["hint"]
    assert ("admin" in plan["databases"][0]["users_added"]) == (users != "their own admin")
    from_folders(recovery, folders)
    assert held(recovery, "pw").same_as(digest)
    admin = "admin" if users == "their own admin" else admin_password(recovery)
    for again in (False, True):
        for shard in recovered_servers(recovery, "1"):
            for user in ["default"] + extra:
                if user == "admin":
                    continue
                with resp.Connection(shard["addr"], shard["port"], "pw" if user == "default" else user, user) as c:
                    for command in (["FLUSHALL"], ["CONFIG", "GET", "dir"], ["secret-config", "GET", "dir"]):
                        with pytest.raises(resp.ReplyError, match="NOPERM|unknown"):
                            c.call(*command)
                    assert c.call("DBSIZE") > 0
            with resp.Connection(shard["addr"], shard["port"], admin, "admin") as c:
                assert c.config("dir")
        if not again:
            for home in recovery.server_folders():
                redis_server.kill_by_pid_file(home / "redis.pid")
                redis_server.start_daemon(home / "redis.conf", release.program)
            for shard in recovered_servers(recovery, "1"):
                redis_server.wait_until(lambda: answers(shard, admin), "the restarted server")


def answers(shard, password):
    try:
        with resp.Connection(shard["addr"], shard["port"], password, "admin") as c:
            return c.info("persistence")["loading"] == "0"
    except (OSError, resp.ReplyError):
        return False


def test_without_a_configuration(folder, net, recovery):
    """Nobody knows whether clients needed a password: nobody gets in without one."""
    live = LiveCluster(folder / "live", net, replicas=0, password=ROOT).start()
    fill(live.servers, 3, (7, 0, 0))
    folders = die(live.servers)
    for f in folders:
        (f / "redis.conf").unlink()
    recovery.add_hosts(2)
    plan = from_folders(recovery, folders, command="plan")
    assert plan.says(f"'{folders[0]}' has no redis.conf or valkey.conf") and plan.says("new random password"), plan
    from_folders(recovery, folders)
    for shard in recovered_servers(recovery, "1"):
        with resp.Connection(shard["addr"], shard["port"]) as c, pytest.raises(resp.ReplyError, match="NOAUTH"):
            c.call("GET", "app:1")


def test_told_by_the_plan(folder, net, recovery):
    """Announced addresses of which the hosts file says nothing, and a primary without slots, do not come back; the plan
    names them."""
    live = LiveCluster(folder / "live", net, replicas=0, password=ROOT).start()
    folders = die(live.servers)
    with live.servers[0].config.open("a") as f:
        f.write("cluster-announce-ip 192.0.2.7\ncluster-announce-bus-port 31000\n")
    for f in folders:
        with (f / "nodes.conf").open("a") as conf:
            conf.write(f"{'e' * 40} 192.0.2.9:7009@17009 master - 0 0 0 connected\n")
    recovery.add_hosts(2)
    plan = from_folders(recovery, folders, command="plan")
    assert plan.says("cluster-announce-ip 192.0.2.7, cluster-announce-bus-port 31000"), plan
    assert plan.says("the node 192.0.2.9:7009 (eeeeeeee) has no slots") and plan.says("add-node"), plan


def backup_of_redis_cli(folder, live):
    """Returns its nodes.json, of servers that are dead then."""
    backup = folder / "backup"
    backup.mkdir()
    first = live.servers[0]
    subprocess.run(["redis-cli", "-a", ROOT, "--cluster", "backup", f"{first.addr}:{first.port}", backup],
                   check=True, capture_output=True, timeout=30)
    for server in live.servers:
        server.kill()
    return backup / "nodes.json"


def test_nodes_json_with_a_configuration(folder, net, recovery):
    """The backup of redis-cli has no settings; a redis.conf and users.acl beside it have them."""
    live = LiveCluster(folder / "live", net, replicas=0, password=ROOT, maxmemory="64mb", hz="23",
                       maxmemory_policy="allkeys-lru", appendonly="yes").start()
    fill(live.servers, 3, (7, 0, 0))
    with live.servers[0].connect() as c:
        users = users_of(c)
        c.call("CONFIG", "REWRITE")
    digest = digest_of(live.servers)
    recovery.ccs = backup_of_redis_cli(folder, live)
    recovery.add_hosts(3).write_hosts()
    assert recovery.plan().says("new random password")
    shutil.copy(live.servers[0].config, recovery.ccs.with_name("redis.conf"))
    plan = recovery.plan()
    assert not plan.says("new random password"), plan
    recovery.recover()
    assert held(recovery, ROOT).same_as(digest)
    shards = recovered_servers(recovery, "1")
    assert sorted(s["port"] for s in shards) == sorted(s.port for s in live.servers)
    for shard in shards:
        with resp.Connection(shard["addr"], shard["port"], ROOT) as c:
            own = users_of(c)
            own.pop("replication")
            assert own == users
            assert c.config("maxmemory-policy") == "allkeys-lru" and c.config("maxmemory") == str(64 << 20)
            assert c.config("hz") == "23" and c.config("appendonly") == "yes"


@pytest.mark.parametrize("users", ["users.acl", "named by aclfile"])
def test_nodes_json_with_settings_elsewhere(folder, net, recovery, users):
    """--settings names a configuration of any name and folder; the users of its ACL file and their passwords come back."""
    live = LiveCluster(folder / "live", net, replicas=0, password=ROOT).start()
    fill(live.servers, 3, (7, 0, 0))
    digest = digest_of(live.servers)
    recovery.ccs = backup_of_redis_cli(folder, live)
    etc = folder / "etc"
    etc.mkdir()
    acl = etc / ("users.acl" if users == "users.acl" else "people.acl")
    acl.write_text("user default on >default-pw ~* &* +@all\nuser app on >app-pw ~app:* &* +@all -@dangerous\n")
    conf = etc / "redis-7001.conf"
    conf.write_text(f"maxmemory-policy volatile-lru\nhz 29\n{'' if users == 'users.acl' else f'aclfile {acl}'}\n")
    recovery.add_hosts(3).write_hosts()
    recovery.recover("--settings", conf)
    assert held(recovery, "default-pw").same_as(digest)
    for shard in recovered_servers(recovery, "1"):
        with resp.Connection(shard["addr"], shard["port"], "app-pw", "app") as c:
            assert c.call("ACL", "WHOAMI") == b"app"
            with pytest.raises(resp.ReplyError, match="NOPERM"):
                c.call("GET", "other")
        with resp.Connection(shard["addr"], shard["port"], "default-pw") as c:
            assert c.config("hz") == "29" and c.config("maxmemory-policy") == "volatile-lru"


def test_settings_that_cannot_be_taken(folder, net, recovery):
    """What --settings names has to be a configuration, and for a nodes.json. A users file that is missing opens nothing."""
    live = LiveCluster(folder / "live", net, replicas=0, password=ROOT).start()
    fill(live.servers, 3, (7, 0, 0))
    first = live.servers[0]
    recovery.ccs = backup_of_redis_cli(folder, live)
    recovery.add_hosts(3).write_hosts()
    empty, odd = folder / "empty.conf", folder / "odd.conf"
    empty.write_text("# nothing\n")
    odd.write_text("hz 10\n{\"hosts\": []}\n")
    for path, says in ((folder / "gone.conf", "gone.conf'"), (recovery.hosts_file, "is not the configuration of a server"),
                       (next(recovery.ccs.parent.glob("*.rdb")), "is not the configuration of a server"),
                       (empty, "is not the configuration of a server"), (odd, "is not the configuration of a server")):
        run = recovery.plan("--settings", path, status=None)
        assert run.status not in (DONE, 70) and run.says(says) and run.says("--settings"), run
    conf = folder / "open.conf"
    for line, missing in (("aclfile /nowhere/people.acl", "'/nowhere/people.acl'"), ("include /nowhere/more.conf", "'/nowhere/more.conf'")):
        conf.write_text(f"hz 10\n{line}\n")
        plan = recovery.plan("--settings", conf)
        assert plan.says(missing) and plan.says("new random password"), plan
    run = recovery.run("plan", "--from-folders", first.folder, "--hosts", recovery.hosts_file, "--settings", conf, status=USAGE)
    assert run.says("--settings is for a nodes.json"), run


def test_settings_for_a_ccs_file(cluster, recovery):
    """A CCS file has its own."""
    cluster.add("a")
    recovery.add_hosts(1).write()
    conf = recovery.folder / "redis.conf"
    conf.write_text("hz 11\n")
    run = recovery.plan("--settings", conf, status=USAGE)
    assert run.says("is not a nodes.json") and run.says("Leave out --settings"), run
