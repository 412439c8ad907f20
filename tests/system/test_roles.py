"""The users and roles of the vendor's cluster, as users of the servers."""

import hashlib
import json

import pytest

from harness import resp


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def rights(*pairs):
    """roles_permissions of a database."""
    return json.dumps([{"role_uid": role, "redis_acl_uid": acl} for role, acl in pairs])


USERS = {
    "user:1": {"name": "admin@example.com", "role_uids": "1"},
    "user:2": {"name": "app", "role_uids": "2", "status": "active", "password": sha256("app-pw")},
    "user:3": {"name": "report", "role_uids": "3", "password": sha256("report-pw").upper()},
    "role:1": {"name": "Admin", "management": "admin"},
    "role:2": {"name": "writers", "management": "none"},
    "role:3": {"name": "readers", "management": "none"},
    "redis_acl:1": {"name": "Full Access", "acl": "+@all ~*"},
    "redis_acl:2": {"name": "Not Dangerous", "acl": "+@all  -@dangerous ~{tag1}*"},
    "redis_acl:3": {"name": "Read Only", "acl": "+@read ~*"},
}


def write(recovery, hosts=1, channels="allchannels", **more):
    """The CCS file with those users, and others over them."""
    entries = recovery.cluster.entries() | USERS | {k.replace("_of_", ":"): v for k, v in more.items()}
    if channels:
        entries["cluster_settings"]["acl_pubsub_default"] = channels
    return recovery.add_hosts(hosts).write(entries)


def may(recovery, made, user, password, *command):
    """None: it may. Else what the server says."""
    shard = recovery.database(made)["shards"][0]
    try:
        with resp.Connection(shard["addr"], shard["port"]) as c:
            c.call("AUTH", user, password)
            c.call(*command)
    except resp.ReplyError as e:
        return str(e).split()[0]
    return None


def told(run, code="users-not-restored"):
    return " ".join(w["message"] for w in run.json["warnings"] if w["code"] == code)


@pytest.mark.releases("system", "redis60", "redis80", "valkey91")
def test_users_get_the_rights_of_their_roles_in_each_database(cluster, recovery, release):
    first = cluster.add("a", password="pw", roles_permissions=rights((2, 2), (3, 3)))
    second = cluster.add("b", roles_permissions=rights((2, 1)), default_user="disabled", replicas=1)
    third = cluster.add("c")
    first.users = ("app", "report")
    write(recovery, hosts=2)
    plan = recovery.plan("--json")
    assert [d["login"] for d in plan.json["databases"]] == ["as-before"] * 3
    assert "'app'" in told(plan, "user-passwords") and "'report'" in told(plan, "user-passwords")
    assert "login-lost" not in {w["code"] for w in plan.json["warnings"]} and not told(plan)
    recovery.recover()
    recovery.assert_recovered(first)
    recovery.assert_recovered(third)
    key = "{tag1}key:1"
    assert may(recovery, first, "app", "wrong", "GET", key) == "WRONGPASS"
    assert may(recovery, first, "app", "app-pw", "SET", "{tag1}new", 1) is None
    assert may(recovery, first, "app", "app-pw", "DEL", "{tag1}new") is None
    assert may(recovery, first, "app", "app-pw", "GET", "{tag2}key:2") == "NOPERM"
    assert may(recovery, first, "app", "app-pw", "KEYS", "*") == "NOPERM"
    assert may(recovery, first, "app", "app-pw", "PUBLISH", "c", "m") is None
    assert may(recovery, first, "report", "report-pw", "EXISTS", key) is None
    for command in (["SET", key, 1], ["INFO"], ["CONFIG", "GET", "dir"], ["CLIENT", "LIST"]):
        assert may(recovery, first, "report", "report-pw", *command) == "NOPERM", command
    # All commands, but those that the old proxy kept from everybody.
    for command in (["INFO"], ["KEYS", "*"], ["ACL", "WHOAMI"], ["CLIENT", "LIST"], ["SET", "n", 1], ["DEL", "n"]):
        assert may(recovery, second, "app", "app-pw", *command) is None, command
    for command in (["CONFIG", "GET", "dir"], ["ACL", "LIST"], ["SHUTDOWN"], ["BGSAVE"]):
        assert may(recovery, second, "app", "app-pw", *command) == "NOPERM", command
    assert may(recovery, second, "report", "report-pw", "PING") == "WRONGPASS"
    assert may(recovery, third, "app", "app-pw", "PING") == "WRONGPASS"
    # Its default user was off, and still is, also after a restart.
    shard = recovery.database(second)["shards"][0]
    with recovery.connect_admin(second, shard) as c:
        assert " off " in [line for line in c.call("ACL", "LIST") if line.startswith(b"user default ")][0].decode()
        c.call("ACL", "LOAD")
    with resp.Connection(shard["addr"], shard["port"]) as c, pytest.raises(resp.ReplyError, match="NOAUTH"):
        c.call("DBSIZE")


CASES = {
    "other hash": ({"password": "$2b$12$abcdefghijklmnopqrstuv"}, "without a password and off", True),
    "other method": ({"password_hash_method": "PBKDF2"}, "without a password and off", True),
    "salt": ({"password_salt": "ab"}, "without a password and off", True),
    "none": ({"password": ""}, "without a password and off", True),
    "certificate": ({"auth_method": "certificate"}, "without a password and off", True),
    "locked": ({"status": "locked"}, "restored off", True),
    "space": ({"name": "app on nopass +@all ~*"}, "do not take such a name", False),
    "default": ({"name": "default"}, "do not take such a name", False),
    "twice": ({"name": "report"}, "same name", False),
    "two roles": ({"role_uids": "2,3"}, "different rights", False),
    "rules": ({"role_uids": "4"}, "missing or cannot be read", False),
    "no rules": ({"role_uids": "5"}, "missing or cannot be read", False),
}


@pytest.mark.parametrize("case", CASES)
def test_who_cannot_come_back_as_before_is_named(cluster, recovery, case):
    """It never gets in: not with another password, not with more rights."""
    fields, words, made_off = CASES[case]
    made = cluster.add("a", password="pw", roles_permissions=rights((2, 2), (3, 3), (4, 4), (5, 9)))
    user = {**USERS["user:2"], **fields}
    made.users = (*["report"] * (case != "twice"), *[user["name"]] * made_off)
    write(recovery, user_of_2={k: v for k, v in user.items() if v},
          redis_acl_of_4={"acl": "+@all ~* nopass"})
    plan = recovery.plan("--json")
    assert words in told(plan) and f"'{user['name']}'" in told(plan), plan
    recovery.recover()
    recovery.assert_recovered(made)
    name = user["name"].split()[0]
    assert case == "default" or may(recovery, made, name, "app-pw", "PING") == "WRONGPASS"
    with recovery.connect_admin(made, recovery.database(made)["shards"][0]) as c:
        assert (f"user {name} off" in str(c.call("ACL", "LIST"))) == made_off
        if not made_off:
            return
        # What the plan says to do lets the user in, with its own rights.
        c.call("ACL", "SETUSER", name, "on", ">fresh")
    assert may(recovery, made, name, "fresh", "GET", "{tag1}key:1") in (None, "WRONGTYPE")
    assert may(recovery, made, name, "fresh", "GET", "{tag2}key:2") == "NOPERM"


def test_a_default_user_that_was_off_gets_a_password_if_nobody_else_can_log_in(cluster, recovery):
    made = cluster.add("a", default_user="disabled", roles_permissions=rights((2, 2)))
    made.users = ("app",)
    write(recovery, user_of_2={"name": "app", "role_uids": "2", "password": "pbkdf2:xyz"})
    plan = recovery.plan("--json")
    assert plan.json["databases"][0]["login"] == "new-password" and "new random password" in told(plan, "login-lost")
    recovery.recover()
    made.password = recovery.secret("target.password", made)
    recovery.assert_recovered(made)


def test_a_password_of_the_hosts_file_switches_the_default_user_on(cluster, recovery):
    made = cluster.add("a", default_user="disabled", roles_permissions=rights((2, 2)))
    made.users = ("app",)
    recovery.databases = {"db:1": {"password": "chosen"}}
    write(recovery).recover()
    made.password = "chosen"
    recovery.assert_recovered(made)
    assert may(recovery, made, "app", "app-pw", "SET", "{tag1}x", 1) is None
    assert may(recovery, made, "app", "app-pw", "DEL", "{tag1}x") is None


@pytest.mark.releases("system", "redis80")
def test_rules_that_the_new_servers_refuse_are_in_the_plan(cluster, recovery, release):
    made = cluster.add("a", password="pw", roles_permissions=rights((2, 2), (3, 3)))
    made.users = ("report",)
    write(recovery, redis_acl_of_2={"acl": "+@all -nosuchcommand ~*"})
    plan = recovery.plan("--json")
    assert "app" in told(plan, "users-refused") and "report" not in told(plan, "users-refused")
    recovery.recover()
    recovery.assert_recovered(made)
    assert may(recovery, made, "app", "app-pw", "PING") == "WRONGPASS"
    assert may(recovery, made, "report", "report-pw", "EXISTS", "x") is None


@pytest.mark.releases("system", "redis80", "valkey91")
def test_a_quote_in_a_name_and_a_selector(cluster, recovery, release):
    made, name = cluster.add("a", roles_permissions=rights((2, 2))), "a\"p'p\\"
    made.users = (name,)
    write(recovery, user_of_2={**USERS["user:2"], "name": name},
          redis_acl_of_2={"acl": "+get ~a* (+@all ~b*) &news.*"})
    assert "'a\"" not in told(recovery.plan("--json"))
    recovery.recover()
    assert may(recovery, made, name, "app-pw", "GET", "a") is None
    assert may(recovery, made, name, "app-pw", "SET", "a", 1) == "NOPERM"
    assert may(recovery, made, name, "app-pw", "SET", "b", 1) is None
    assert may(recovery, made, name, "app-pw", "INFO") is None
    assert may(recovery, made, name, "app-pw", "CONFIG", "GET", "dir") == "NOPERM"
    assert may(recovery, made, name, "app-pw", "PUBLISH", "other", "m") == "NOPERM"
    shard = recovery.database(made)["shards"][0]
    with recovery.connect_admin(made, shard) as c:
        c.call("DEL", "b")
        c.call("ACL", "LOAD")
    assert may(recovery, made, name, "app-pw", "GET", "a") is None
    recovery.assert_recovered(made)


def test_without_a_word_about_channels_nobody_gets_them(cluster, recovery):
    made = cluster.add("a", roles_permissions=rights((2, 1)))
    made.users = ("app",)
    write(recovery, channels=None).recover()
    recovery.assert_recovered(made)
    assert may(recovery, made, "app", "app-pw", "PUBLISH", "c", "m") == "NOPERM"


def test_users_without_rights_and_groups_are_named(cluster, recovery):
    cluster.add("a", roles_permissions=rights((2, 2)))
    write(recovery, user_of_4={"name": "viewer", "role_uids": "1"},
          ldap_mapping_of_1={"name": "staff", "dn": "cn=staff", "role_uids": "2"})
    text = told(recovery.plan("--json"))
    assert "LDAP groups cannot log in" in text and "'staff'" in text
    assert "3 users of the cluster had no rights" in text and "'viewer'" in text


def test_rights_that_cannot_be_read_give_none(cluster, recovery):
    made = cluster.add("a", password="pw", roles_permissions="2:2,3:3")
    write(recovery)
    assert "cannot be read" in told(recovery.plan("--json"))
    recovery.recover()
    recovery.assert_recovered(made)
    assert may(recovery, made, "app", "app-pw", "PING") == "WRONGPASS"


def test_a_user_named_as_one_of_ours_is_in_the_plan(cluster, recovery):
    made = cluster.add("a", password="pw", roles_permissions=rights((2, 2)))
    write(recovery, user_of_2={**USERS["user:2"], "name": "admin"})
    assert "'admin'" in told(recovery.plan("--json"), "users-named-as-ours")
    recovery.recover()
    recovery.assert_recovered(made)
    assert may(recovery, made, "admin", "app-pw", "PING") == "WRONGPASS"
