"""Who is believed: a CCS file, a listing or an answer of somebody else gets nothing of the operator's."""

import json
import socket
import threading

import pytest

from harness import network
from program import DONE, FAILED, NOT_GOOD, REFUSED, USAGE  # noqa: F401


class Listener:
    """Takes connections at an address and keeps what is sent there; answers each with `answer`."""

    def __init__(self, addr, answer=b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"):
        self.got = b""
        self.answer = answer
        self._socket = socket.create_server((addr, network.free_port(addr)))
        self.at = "%s:%d" % self._socket.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                try:
                    self.got += connection.recv(65536)
                    connection.sendall(self.answer)
                except OSError:
                    pass

    def close(self):
        self._socket.close()


@pytest.fixture
def listener(net):
    listener = Listener(net.addr(9))
    yield listener
    listener.close()


@pytest.fixture
def home(folder):
    """The operator's home, full of things that are nobody else's."""
    home = folder / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519").write_text("CANARY\n")
    (home / ".netrc").write_text("default login me password CANARY\n")
    (home / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id=CANARY\naws_secret_access_key=CANARY\n[prod]\naws_access_key_id=CANARY\n"
        "aws_secret_access_key=CANARY\naws_session_token=CANARY\n")
    (home / "google.json").write_text(json.dumps({
        "type": "authorized_user", "client_id": "x", "client_secret": "CANARY", "refresh_token": "CANARY"}))
    return home


def environment(home):
    return {
        "HOME": home, "A_SECRET": "CANARY", "AWS_ACCESS_KEY_ID": "CANARY", "AWS_SECRET_ACCESS_KEY": "CANARY",
        "AWS_SESSION_TOKEN": "CANARY", "AZURE_STORAGE_KEY": "Q0FOQVJZ", "AZURE_STORAGE_SAS_TOKEN": "sig=CANARY",
        "OS_USERNAME": "CANARY", "OS_PASSWORD": "CANARY", "OS_AUTH_TOKEN": "CANARY",
        "GOOGLE_APPLICATION_CREDENTIALS": home / "google.json",
    }


THEFTS = {
    "file": {"type": "http", "url": "http://{at}/", "user": "x", "password": {"file": "{home}/.ssh/id_ed25519"}},
    "variable": {"type": "http", "url": "http://{at}/", "user": "x", "password": {"env": "A_SECRET"}},
    "key id": {"type": "s3", "bucket_name": "b", "s3_url": "http://{at}", "access_key_id": {"env": "A_SECRET"},
               "secret_access_key": "x"},
    "credentials file": {"type": "gs", "bucket_name": "b", "credentials_file": "{home}/google.json",
                         "token_uri": "http://{at}/token"},
    "profile": {"type": "s3", "bucket_name": "b", "s3_url": "http://{at}", "profile": "prod"},
    "s3": {"type": "s3", "bucket_name": "b", "s3_url": "http://{at}"},
    "s3 insecure": {"type": "s3", "bucket_name": "b", "s3_url": "http://{at}", "insecure": True},
    "s3 url": "s3://b/x?endpoint=http://{at}&insecure=true",
    "bucket as host": {"type": "s3", "bucket_name": "{at}/", "style": "host"},
    "azure": {"type": "abs", "account_name": "a", "container": "c", "endpoint": "http://{at}"},
    "google": {"type": "gs", "bucket_name": "b", "token_uri": "http://{at}/token"},
    "google endpoint": {"type": "gs", "bucket_name": "b", "endpoint": "http://{at}"},
    "swift": {"type": "swift", "container": "c", "auth_url": "http://{at}/auth/v1.0"},
    "swift store": {"type": "swift", "container": "c", "storage_url": "http://{at}/v1"},
    "netrc": {"type": "url", "url": "http://{at}/backups/"},
    "client key": {"type": "http", "url": "http://{at}/", "client_key": "{home}/.ssh/id_ed25519"},
    "sftp key": {"type": "sftp", "sftp_url": "sftp://x@{at}/", "key": {"file": "{home}/.ssh/id_ed25519"}},
}


def filled(value, **words):
    if isinstance(value, dict):
        return {k: filled(v, **words) for k, v in value.items()}
    if isinstance(value, str):
        for name, text in words.items():
            value = value.replace("{" + name + "}", text)
    return value


@pytest.mark.parametrize("theft", THEFTS)
def test_a_ccs_file_gets_nothing_of_the_operator(theft, cluster, recovery, listener, home):
    location = filled(THEFTS[theft], at=listener.at, home=str(home))
    cluster.add("a", backup_location=location if isinstance(location, str) else json.dumps(location))
    recovery.add_hosts(1).write()
    run = recovery.run("plan", recovery.ccs, "--hosts", recovery.hosts_file, status=REFUSED, env=environment(home))
    assert b"CANARY" not in listener.got and b"Q0FOQVJZ" not in listener.got, listener.got
    assert b"authorization" not in listener.got.lower(), listener.got
    assert "CANARY" not in run.out + run.err


def test_what_a_ccs_file_may_not_say_is_a_finding(cluster, recovery):
    cluster.add("a", backup_location=json.dumps(
        {"type": "http", "url": "http://127.0.0.1:9/", "password": {"file": "/etc/hostname"}}))
    recovery.add_hosts(1).write()
    findings = recovery.run("inspect", recovery.ccs, "--json").json["findings"]
    assert any(f["code"] == "unreadable-value" and "password" in f["message"] for f in findings), findings


def test_the_word_of_the_operator_counts(cluster, recovery, listener, home):
    """With it the login of the environment goes there, and this is said before the first request."""
    cluster.add("a", backup_location=json.dumps({"type": "url", "url": f"http://{listener.at}/backups/"}))
    recovery.trusted = [{"url": f"http://{listener.at}", "insecure": True}]
    recovery.add_hosts(1).write()
    run = recovery.run(
        "plan", recovery.ccs, "--hosts", recovery.hosts_file, "--json", status=REFUSED, env=environment(home))
    assert b"Basic bWU6Q0FOQVJZ" in listener.got, listener.got
    assert run.json["logins"] == [{
        "database": "db:1", "endpoint": f"http://{listener.at}", "clear": True, "named_by": "the CCS file"}]
    assert f"db:1: a login goes to http://{listener.at} in clear text" in run.err


@pytest.mark.parametrize("url", ["http://me:CANARY@{at}/x/", "swift://c/f?auth_url=http://u:CANARY@{at}/"])
def test_a_login_in_a_url_is_neither_sent_in_clear_text_nor_shown(recovery, cluster, listener, url):
    recovery.add_hosts(1)
    run = recovery.run("verify", url.replace("{at}", listener.at), status=NOT_GOOD, env={"OS_USERNAME": "x"})
    assert listener.got == b"" and "CANARY" not in run.out + run.err, run


def test_a_redirect_to_another_site_is_not_followed(recovery, cluster, net, listener):
    """It could lead to any address that only this machine reaches."""
    other = Listener(net.addr(10), (
        f"HTTP/1.1 302 Found\r\nLocation: http://{listener.at}/latest/\r\nContent-Length: 0\r\n\r\n").encode())
    run = recovery.run("verify", f"http://{other.at}/backups/", status=NOT_GOOD)
    other.close()
    assert listener.got == b"" and run.says("another site") and run.says(listener.at), run


ENDLESS = {
    "s3": (b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>"
           b"<Contents><Key>a.rdb</Key></Contents></ListBucketResult>",
           "s3://b/?anonymous=true&endpoint=http://{at}"),
    "azure": (b"<EnumerationResults><Blobs></Blobs><NextMarker>same</NextMarker></EnumerationResults>",
              "azure://a/c/?endpoint=http://{at}"),
    "google": (b'{"items": [], "nextPageToken": "same"}', "gs://b/?endpoint=http://{at}"),
    "swift": (b'[{"name": "same"}]', "swift://c/?storage_url=http://{at}"),
}


@pytest.mark.parametrize("store", ENDLESS)
def test_a_list_without_end_is_given_up(store, recovery, cluster, net):
    page, url = ENDLESS[store]
    server = Listener(net.addr(10), b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
        len(page), page))
    run = recovery.run("verify", url.replace("{at}", server.at), status=NOT_GOOD, timeout=30)
    server.close()
    assert run.says("the same page"), run
