"""Backups at every kind of server that keeps files: what a location must be able to do, and recoveries."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness import accounts
from harness.certificates import Authority
from harness.ftp_server import PyFtp, Vsftpd
from harness.http_server import Nginx
from harness.redis_server import wait_until
from harness.sftp_server import Sshd
from harness.sshd import library_knows_rsa
from harness.webdav import MODULE, WebDav
from program import NOT_GOOD
from stores import SUITE, run_suite, suite


def sftp(folder, net):
    server = Sshd(folder / "sshd", net.addr(4), 2222).start()
    return server.location(), server.root


def sftp_password(folder, net):
    """Its key is known by a whole line of its .pub file."""
    server = Sshd(folder / "sshd", net.addr(4), 2222, "ecdsa").start()
    return {
        "type": "sftp", "sftp_url": server.url(password=accounts.PASSWORD),
        "host_key": f"{server.host_key} root@a host\n",
    }, server.root


def sftp_rsa(folder, net):
    """RSA for both; an old library knows no such host key, and only PEM of the locked ones of users."""
    kind, form = ("rsa", "RFC4716") if library_knows_rsa() else ("ecdsa", "PEM")
    server = Sshd(folder / "sshd", net.addr(4), 2222, kind, "rsa", "pass phrase", form).start()
    return server.location(key_password="pass phrase"), server.root


def sftp_questions(folder, net):
    """The password is the answer to a question; and the server is known among others, by hashed names."""
    server = Sshd(folder / "sshd", net.addr(4), 2222, questions=True).start()
    known = folder / "known_hosts"
    known.write_text(f"[{net.addr(4)}]:2222 {server.host_key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    return {"type": "sftp", "sftp_url": server.url(password=accounts.PASSWORD), "known_hosts": str(known)}, server.root


def ftp(folder, net):
    server = Vsftpd(folder / "ftpd", net.addr(4), 2121).start()
    return {"type": "url", "url": server.url(), "insecure": True}, server.root


def ftp_mlsd(folder, net):
    server = PyFtp(folder / "ftpd", net.addr(4), 2121).start()
    return {"type": "url", "url": server.url(), "insecure": True}, server.root


def ftps(folder, net, tls):
    ca = Authority(folder / "ca")
    server = Vsftpd(folder / "ftpd", net.addr(4), 2121, tls, ca.sign("ftp", net.addr(4))).start()
    return {"type": "url", "url": server.url(), "ca_file": str(ca.cert)}, server.root


def ftps_explicit(folder, net):
    return ftps(folder, net, "explicit")


def ftps_implicit(folder, net):
    return ftps(folder, net, "implicit")


def webdav(folder, net):
    need_webdav()
    server = WebDav(folder / "dav", net.addr(4), 8080).start()
    return server.url, server.root


def webdav_tls(folder, net):
    """Own authority, client certificate and a login."""
    need_webdav()
    ca = Authority(folder / "ca")
    me = ca.sign("me")
    server = WebDav(
        folder / "dav", net.addr(4), 8443, ca.sign("dav", net.addr(4)), clients=ca,
        login="me:{PLAIN}pass word",
    ).start()
    return {
        "type": "webdav", "url": server.url, "ca_file": str(ca.cert), "client_cert": str(me.cert),
        "client_key": str(me.key), "user": "me", "password": {"env": "WEBDAV_PASSWORD"},
    }, server.root


def need_webdav():
    if not MODULE.exists():
        pytest.skip("nginx's dav_ext module is not installed")


def file(folder, net):
    place = folder / "a folder"
    place.mkdir()
    return str(place), place


QUICK = [sftp, sftp_password, sftp_rsa, sftp_questions, ftp, ftp_mlsd, webdav, webdav_tls]
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in (ftps_explicit, ftps_implicit)]


def name_of(kind):
    return getattr(kind, "__name__", None)


@pytest.mark.parametrize("kind", QUICK + SLOW, ids=name_of)
def test_what_a_location_must_be_able_to_do(kind, folder, net):
    location, _ = kind(folder, net)
    run_suite(location)


@pytest.mark.parametrize("listing, count", [("html", 400), pytest.param("json", 2500, marks=pytest.mark.slow)])
def test_what_a_location_that_can_only_be_read_must_be_able_to_do(folder, net, listing, count):
    root = folder / "files"
    root.mkdir()
    subprocess.run([SUITE, "--fill", root, "--objects", str(count)], check=True, timeout=60)
    server = Nginx(folder / "web", root, net.addr(4), 8080, listing).start()
    done = suite(server.url, "--read-only", "--objects", count)
    checks = done.stdout.splitlines()
    assert done.returncode == 0 and len(checks) == 5 and all(c.startswith("ok ") for c in checks), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", [file, sftp, ftp, webdav], ids=name_of)
def test_many_and_big_objects(kind, folder, net):
    location, _ = kind(folder, net)
    run_suite(location, "--objects", 2500, "--big", 1 << 30, timeout=600)


@pytest.mark.parametrize(
    "kind", [sftp, ftps_explicit, ftps_implicit, webdav_tls,
             pytest.param(ftp, marks=pytest.mark.slow)], ids=name_of)
def test_recovery(kind, cluster, recovery, folder, net):
    made = cluster.add("orders and more", primaries=2, password="secret")
    location, root = kind(folder, net)
    for path in made.files:
        path.rename(root / path.name)
    recovery.sources = {"db:1": location}
    recovery.add_hosts(2).write()
    recovery.recover(env={"WEBDAV_PASSWORD": "pass word"})
    recovery.assert_recovered(made)


def test_a_sharded_set_with_a_manifest_is_recovered_by_it(cluster, recovery, folder, net):
    made = cluster.add("orders", primaries=2)
    files = []
    for i, path in enumerate(made.files):
        path.rename(cluster.backups / f"part-{i}.rdb.gz")
        files.append(described(cluster.backups / f"part-{i}.rdb.gz", made.database.primaries[i].ranges))
    manifest = write_manifest(cluster.backups, made, files)
    recovery.add_hosts(2).write()
    assert recovery.plan("--json").json["databases"][0]["backup_set"]["time"].startswith("2026-11-20")

    files[1]["sha256"] = "0" * 64
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "files": files}))
    run = recovery.recover(status=None)
    assert run.status != 0 and run.says("SHA-256") and run.says("part-1.rdb.gz")


def described(path, ranges=None):
    import hashlib
    data = path.read_bytes()
    one = {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {**one, "slots": ranges} if ranges else one


def write_manifest(folder, made, files):
    path = folder / "orders-recluster-manifest.json"
    path.write_text(json.dumps({
        "recluster_manifest": 1, "set": "nightly", "time": "2026-11-20T02:00:00Z",
        "database": {"uid": made.database.uid, "name": made.database.name}, "files": files,
    }))
    return path


def location_file(folder, location):
    path = folder / "location.json"
    path.write_text(json.dumps(location))
    return path


def verify(recovery, *words, **more):
    return recovery.run("verify", *words, **more)


WRONG = {
    "sftp key": (sftp, lambda l: {**l, "key": Path(l["key"]["file"]).with_name("host").read_text()},
                 "refuses the login"),
    "sftp key without its passphrase": (
        sftp_rsa, lambda l: {k: v for k, v in l.items() if k != "key_password"}, "key_password"),
    "sftp host": (sftp, lambda l: {**l, "host_key": "SHA256:" + "A" * 43}, "not the one that is known"),
    "sftp unknown host": (
        sftp, lambda l: {k: v for k, v in {**l, "known_hosts": "/nowhere"}.items() if k != "host_key"},
        "host key is not known"),
    "sftp folder": (sftp, lambda l: {**l, "sftp_url": l["sftp_url"] + "/nowhere"}, "no such file"),
    "ftp password": (ftp, lambda l: {**l, "url": l["url"].replace("%40rd", "%40canary")}, "cannot list"),
    "ftp folder": (ftp, lambda l: {**l, "url": l["url"] + "nowhere/"}, "cannot list"),
    "ftps plain": (
        ftps_explicit, lambda l: {"url": l["url"].replace("ftpes:", "ftp:"), "insecure": True}, "ftpes://"),
    "ftp clear": (ftp, lambda l: l["url"], "clear text"),
    "http clear": (webdav, lambda l: l.replace("//", "//me:canary@"), "clear text"),
    "ftps authority": (ftps_explicit, lambda l: l["url"], "ca_file"),
    "webdav folder": (webdav, lambda l: l + "nowhere/", "is not there"),
    "file folder": (webdav, lambda l: "/no/where", "no such file"),
    "webdav login": (webdav_tls, lambda l: {**l, "password": "canary"}, "wants a login"),
    "webdav authority": (
        webdav_tls, lambda l: {k: v for k, v in l.items() if k != "ca_file"}, "ca_file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_and_no_secret_with_it(case, recovery, folder, net):
    kind, change, words = WRONG[case]
    location, _ = kind(folder, net)
    file = location_file(folder, change(location))
    run = verify(recovery, "--location", file, status=NOT_GOOD, env={"WEBDAV_PASSWORD": "pass word"})
    assert run.says(words), run
    assert "canary" not in run.out + run.err and accounts.PASSWORD not in run.out + run.err


def test_known_hosts_of_the_operator_go_with_the_location(recovery, folder, net):
    server = Sshd(folder / "sshd", net.addr(4), 2222).start()
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    other = (server.folder / "id.pub").read_text().strip()
    (home / ".ssh" / "known_hosts").write_text(
        f"other.example.com {other}\n@cert-authority * {other}\n[{net.addr(4)}]:2222 {server.host_key}\n"
    )
    (home / ".ssh" / "id_ed25519").write_bytes(server.key.read_bytes())
    (server.root / "x.rdb").write_bytes(b"no backup")
    run = verify(recovery, server.url(), status=NOT_GOOD, env={"HOME": home})
    assert run.says("x.rdb") and run.says("not an RDB file") or run.says("REDIS"), run


def test_keys_of_an_agent(recovery, folder, net):
    server = Sshd(folder / "sshd", net.addr(4), 2222).start()
    (server.root / "x.rdb").write_bytes(b"no backup")
    location = {k: v for k, v in server.location().items() if k != "key"}
    place = location_file(folder, location)
    agent = {"HOME": folder, "SSH_AUTH_SOCK": str(folder / "agent")}
    run = verify(recovery, "--location", place, status=NOT_GOOD, env=agent)
    assert run.says("refuses the login"), run
    process = subprocess.Popen(["ssh-agent", "-D", "-a", agent["SSH_AUTH_SOCK"]], stdout=subprocess.DEVNULL)
    try:
        wait_until(Path(agent["SSH_AUTH_SOCK"]).exists, "ssh-agent")
        subprocess.run(["ssh-add", "-q", server.key], check=True, env={**os.environ, **agent})
        run = verify(recovery, "--location", place, status=NOT_GOOD, env=agent)
        assert run.says("x.rdb") and not run.says("refuses the login"), run
    finally:
        process.kill()
        process.wait()


def test_netrc(recovery, folder, net):
    server = WebDav(folder / "dav", net.addr(4), 8080, login="me:{PLAIN}pass word").start()
    (server.root / "x.rdb").write_bytes(b"no backup")
    netrc = folder / "netrc"
    netrc.write_text(f'machine other login x password y\nmachine {net.addr(4)}\n login me\n password "pass word"\n')
    run = verify(recovery, server.url, status=NOT_GOOD, env={"NETRC": netrc})
    assert run.says("clear text") and run.says("--insecure"), run
    run = verify(recovery, server.url, "--insecure", status=NOT_GOOD, env={"NETRC": netrc})
    assert run.says("x.rdb"), run


