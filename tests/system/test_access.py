"""Access never comes back wider than it was without a word."""

import sqlite3
import subprocess

import pytest

from harness import resp
from program import DONE, REFUSED, USAGE


def refused(addr, port, password=None, command=("DBSIZE",)):
    with pytest.raises(resp.ReplyError) as e:
        with resp.Connection(addr, port, password) as c:
            c.call(*command)
    return str(e.value)


def codes(run):
    return {w["code"] for w in run.json["warnings"]}


@pytest.mark.parametrize("password", [None, "old"])
def test_default_user_that_was_off_gets_a_new_password(cluster, recovery, password):
    """Whoever has the old one had no access either."""
    made = cluster.add("a", default_user="disabled", password=password)
    recovery.add_hosts(1).write()
    warning, = [w for w in recovery.plan("--json").json["warnings"] if w["code"] == "login-lost"]
    assert "new random password" in warning["message"]
    run = recovery.recover()
    assert run.says("new random password")
    shard, = recovery.database(made)["shards"]
    assert "NOAUTH" in refused(shard["addr"], shard["port"])
    if password:
        assert "WRONGPASS" in refused(shard["addr"], shard["port"], password)
    # The command that the plan names.
    command = warning["hint"].split("state file: ")[1].split(". To choose")[0].replace("FILE", str(recovery.state))
    made.password = subprocess.run(command, shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    assert len(made.password) >= 32
    recovery.assert_recovered(made)


def test_a_password_that_cannot_be_read_is_replaced(cluster, recovery):
    made = cluster.add("a", authentication_redis_pass=b"\xff\xfe")
    recovery.add_hosts(1).write()
    assert "login-lost" in codes(recovery.plan("--json"))
    recovery.recover()
    made.password = recovery.secret("target.password", made)
    recovery.assert_recovered(made)


@pytest.mark.parametrize("form", ["text", "file", "env"])
def test_the_hosts_file_may_give_the_password(cluster, recovery, folder, form):
    made = cluster.add("a", default_user="disabled")
    (folder / "pw").write_text("chosen one\n")
    value = {"text": "chosen one", "file": {"file": str(folder / "pw")}, "env": {"env": "CHOSEN"}}[form]
    recovery.databases = {"db:1": {"password": value}}
    recovery.add_hosts(1).write()
    run = recovery.run("plan", recovery.ccs, "--hosts", recovery.hosts_file, "--json", env={"CHOSEN": "chosen one"})
    assert "login-lost" not in codes(run) and run.json["databases"][0]["login"] == "given-password"
    assert "chosen one" not in run.out + run.err
    recovery.recover(env={"CHOSEN": "chosen one"})
    made.password = "chosen one"
    recovery.assert_recovered(made)


def test_open_access_has_to_be_asked_for(cluster, recovery):
    made = cluster.add("a", default_user="disabled", password="old")
    recovery.databases = {"db:1": {"open_access": True}}
    recovery.add_hosts(1).write()
    assert "open-access" in codes(recovery.plan("--json"))
    recovery.recover()
    made.password = None
    recovery.assert_recovered(made)


@pytest.mark.parametrize("entry, words", [
    ({"db:9": {"open_access": True}}, "db:9"), ({"db:1": {"pasword": "x"}}, "did you mean 'password'"),
    ({"db:1": {"password": ""}}, "empty"), ({"db:1": {"password": "x", "open_access": True}}, "both"),
    ({"db:1": {"open_access": "yes"}}, "open_access"), ({"db:1": {"password": {"env": "NOT_THERE"}}}, "NOT_THERE")])
def test_what_the_hosts_file_cannot_say(cluster, recovery, entry, words):
    cluster.add("a")
    recovery.databases = entry
    recovery.add_hosts(1).write()
    assert recovery.plan(status=USAGE).says(words)


def test_an_open_database_comes_back_open_and_a_password_stays(cluster, recovery):
    first, second = cluster.add("a"), cluster.add("b", password="as before")
    recovery.add_hosts(1).write()
    run = recovery.plan("--json")
    assert [d["login"] for d in run.json["databases"]] == ["as-before", "as-before"]
    recovery.recover()
    recovery.assert_recovered(first)
    recovery.assert_recovered(second)


WEAKER = {
    "tls": ({"tls_mode": "enabled"}, "tls-off"), "ssl": ({"ssl": "enabled"}, "tls-off"),
    "certificates": ({"authentication_ssl_client_certs": "[{\"client_cert\": \"x\"}]"}, "client-certificates-off"),
    "enforced": ({"enforce_client_authentication": "enabled"}, "client-certificates-off"),
}


@pytest.mark.parametrize("case", WEAKER)
def test_weaker_access_stops_the_plan_until_it_is_accepted(cluster, recovery, case):
    fields, code = WEAKER[case]
    made = cluster.add("a", password="pw", **fields)
    cluster.add("b")
    recovery.add_hosts(1).write()
    run = recovery.plan("--json", status=REFUSED)
    blocker, = run.json["blockers"]
    assert blocker["code"] == code and "--accept-weaker-access db:1" in blocker["hint"]
    recovery.recover(status=REFUSED)
    assert not recovery.state.exists() and not recovery.host_files()
    recovery.plan("--accept-weaker-access", "db:2", status=REFUSED)
    recovery.plan("--accept-weaker-access", "db:7", status=USAGE)
    run = recovery.plan("--accept-weaker-access", "db:1", "--json")
    assert code in codes(run)
    recovery.recover("--accept-weaker-access", "a")
    recovery.assert_recovered(made)


def test_without_a_proxy_the_default_user_may_do_all(cluster, recovery):
    """Of a plain cluster, whose clients had administrative commands."""
    made = cluster.add("a", password="pw")
    entries = {k: v for k, v in cluster.entries().items() if not k.startswith("dmc")}
    recovery.add_hosts(1).write(entries)
    assert recovery.plan("--json").json["databases"][0]["client_rules"] == "all"
    recovery.recover()
    assert recovery.secret("target.admin_password", made) is None
    recovery.assert_recovered(made)
    shard, = recovery.database(made)["shards"]
    with recovery.connect(made, shard) as c:
        assert c.config("dir")


@pytest.mark.releases("system", "redis60", "redis80", "valkey91")
def test_behind_a_proxy_clients_keep_what_they_had(cluster, recovery, release):
    made = cluster.add("a", primaries=2, password="pw", keys=40)
    recovery.add_hosts(1).write().recover()
    recovery.assert_recovered(made)
    for shard in recovery.database(made)["shards"]:
        with recovery.connect(made, shard) as c:
            for command in (["INFO"], ["KEYS", "*"], ["CLUSTER", "SLOTS"], ["CLUSTER", "NODES"], ["CLIENT", "LIST"],
                            ["ROLE"], ["ACL", "WHOAMI"], ["DBSIZE"], ["EVAL", "return 1", "0"]):
                c.call(*command)
        for command in (["CONFIG", "GET", "masterauth"], ["ACL", "LIST"], ["BGSAVE"], ["MONITOR"],
                        ["CLUSTER", "FORGET", "0" * 40], ["PSYNC", "?", "-1"]):
            assert "NOPERM" in refused(shard["addr"], shard["port"], "pw", command), command


def test_a_resume_keeps_the_passwords_that_were_made(cluster, recovery):
    made = cluster.add("a", default_user="disabled", replicas=1)
    recovery.add_hosts(2).write()
    recovery.recover("--until", "load")
    before = recovery.secret("target.password", made), recovery.secret("target.admin_password", made)
    recovery.resume()
    assert before == (recovery.secret("target.password", made), recovery.secret("target.admin_password", made))
    made.password = before[0]
    recovery.assert_recovered(made)
    with sqlite3.connect(recovery.state) as db:
        assert db.execute("SELECT password, admin_password, client_rules FROM target").fetchall() == [
            ("********", "********", "data")]
