"""What is wrong on a host or at a location is named with what to do."""

import http.server
import shutil
import socket
import subprocess
import threading

import pytest

from dead_cluster import DeadCluster
from harness import accounts, namespaces, network
from program import DONE, REFUSED, Recovery

ERRORS = {
    "region": (400, "<Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting "
               "'eu-west-1'</Message><Region>eu-west-1</Region>", "\"region_name\": \"eu-west-1\""),
    "redirect": (301, "<Code>PermanentRedirect</Code><Message>use the specified endpoint</Message>"
                 "<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>", "'b.s3.eu-west-1.amazonaws.com'"),
}


@pytest.fixture
def store(net):
    """A store of objects that answers each request with one error; a function of it gives its address."""
    servers = []

    def start(status, text):
        body = f'<?xml version="1.0"?><Error>{text}</Error>'.encode()

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        addr = net.addr(5)
        servers.append(http.server.ThreadingHTTPServer((addr, network.free_port(addr)), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://{addr}:{servers[-1].server_port}"
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("error", ERRORS)
def test_another_region_is_named(cluster, recovery, store, error):
    status, text, words = ERRORS[error]
    made = cluster.add("a")
    recovery.sources = {f"db:{made.database.uid}": {
        "type": "s3", "bucket_name": "b", "subdir": "p", "access_key_id": "A", "secret_access_key": "S",
        "endpoint": store(status, text), "style": "path", "region_name": "us-east-1", "insecure": True}}
    recovery.add_hosts(1).write()
    assert recovery.plan(status=None).says(words)


def test_a_port_that_is_taken_is_a_warning(cluster, recovery):
    """The primaries of a cluster go elsewhere, and their clients must be told."""
    made = cluster.add("a", primaries=2)
    recovery.add_hosts(2).write()
    with socket.create_server((recovery.hosts[0]["addr"], made.database.port)):
        run = recovery.plan("--json")
        (warning,) = [w for w in run.json["warnings"] if w["code"] == "port-taken"]
        assert f"port {made.database.port} is taken on host 'h1'" in warning["message"]
        assert "gets 21000" in warning["message"] and "ss -ltnp" in warning["hint"]
    assert not [w for w in recovery.plan("--json").json["warnings"] if w["code"] == "port-taken"]


def test_a_folder_that_hosts_do_not_see(cluster, recovery):
    """It is on the operator's machine: known in the plan, and relay is what helps."""
    accounts.need_root("unshare")
    made = cluster.add("a", replicas=1)
    recovery.defaults = {"link": "command", "memory": "1G", "command": [
        "unshare", "-m", "sh", "-c", f"mount -t tmpfs none '{cluster.backups}' && exec sh"]}
    recovery.add_hosts(2).write()
    run = recovery.plan("--json", status=REFUSED)
    (blocker,) = run.json["blockers"]
    assert blocker["code"] == "location-unseen" and "'h1', 'h2'" in blocker["message"]
    assert "\"relay\": true" in blocker["hint"]
    assert recovery.recover(status=REFUSED).says("cannot read the folder with its backups") and recovery.server_folders() == []
    recovery.defaults["relay"] = True
    recovery.write()
    recovery.recover(status=DONE)
    recovery.assert_recovered(made)


def test_a_firewall_between_hosts(tmp_path):
    """What hosts need of each other is tried before anything is there; a cluster that can't speak is no cluster."""
    why = namespaces.missing()
    if why or not shutil.which("nft"):
        pytest.skip(why or "no nft")
    net = namespaces.Namespaces(2)
    try:
        with net.inside():
            cluster = DeadCluster(tmp_path, net)
            recovery = Recovery(tmp_path, net, cluster)
            made = cluster.add("a", primaries=2)
            recovery.defaults = {"link": "command", "memory": "1G", "command": ["ip", "netns", "exec", "{name}", "sh"]}
            recovery.add_hosts(2)
            for i, host in enumerate(recovery.hosts):
                host["name"] = net.full(f"h{i + 1}")
            recovery.write()

            def warnings():
                return [w for w in recovery.plan("--json").json["warnings"] if w["code"] == "port-silent"]
            assert warnings() == []
            bus = made.database.port + 10000
            for words in (["add", "table", "inet", "f"],
                          ["add", "chain", "inet", "f", "i", "{ type filter hook input priority 0 ; }"],
                          ["add", "rule", "inet", "f", "i", "tcp", "dport", str(bus), "drop"]):
                subprocess.run(["ip", "netns", "exec", recovery.hosts[1]["name"], "nft", *words], check=True)
            (warning,) = warnings()
            assert f"{recovery.hosts[1]['addr']}:{bus}" in warning["message"] and f"Open TCP port {bus}" in warning["hint"]
            recovery.end()
    finally:
        net.close()
