"""Servers that others reach elsewhere than they listen: NAT with other ports, host names, an own bus port, and hosts that
the operator reaches at another address than their servers."""

import shutil

import pytest

from captured import Captured
from dead_cluster import DeadCluster
from harness import contents, namespaces, redis_server, resp
from live_cluster import LiveCluster
from program import Recovery

# Where a server listens, and where others reach it.
PUBLIC = {6379: 30001, 16379: 30002, 21000: 30003, 31000: 30004, 26379: 30005, 21001: 30006, 31001: 30007}


def inner(i):
    return f"172.16.{i}.1"


class Lab:
    """Hosts whose servers listen on an address that only their own host has; the others come by DNAT, to other ports."""

    def __init__(self, folder, count, program):
        self.net = namespaces.Namespaces(count)
        for i in range(1, count + 1):
            rules = [f"ip daddr {self.net.host(i)} tcp dport {there} dnat to {inner(i)}:{here}"
                     for here, there in PUBLIC.items()]
            text = ["add table ip n", "add chain ip n p { type nat hook prerouting priority -100 ; }",
                    "add chain ip n o { type nat hook output priority -100 ; }",
                    "add chain ip n s { type nat hook postrouting priority 100 ; }",
                    "add rule ip n s oifname eth0 ip saddr 172.16.0.0/12 masquerade"]
            text += [f"add rule ip n {chain} {rule}" for chain in "po" for rule in rules]
            self.net.run(f"h{i}", ["ip", "addr", "add", f"{inner(i)}/32", "dev", "lo"])
            self.net.run(f"h{i}", ["nft", "-f", "-"], input="\n".join(text), text=True)
        self.cluster = DeadCluster(folder, self.net, program=program)
        self.recovery = Recovery(folder, self.net, self.cluster, program)
        self.recovery.defaults = {
            **self.recovery.defaults,
            "link": "command", "memory": "1G", "command": ["ip", "netns", "exec", "{name}", "sh"],
            "announce_ports": {str(here): there for here, there in PUBLIC.items()}}
        self.recovery.add_hosts(count)
        for i, host in enumerate(self.recovery.hosts, 1):
            host.update(name=self.net.full(f"h{i}"), addr=inner(i), announce_addr=self.net.host(i))

    def connect(self, shard, password=None):
        return resp.Connection(shard["announce_addr"], shard["announce_port"], password)


@pytest.fixture
def lab(folder, release):
    why = namespaces.missing()
    if why or not shutil.which("nft"):
        pytest.skip(why or "no nft")
    lab = Lab(folder, 3, release.program)
    try:
        with lab.net.inside():
            yield lab
            lab.recovery.end()
    finally:
        lab.net.close()


def warned(recovery, code):
    return [w for w in recovery.plan("--json").json["warnings"] if w["code"] == code]


def fill(live):
    digest = contents.Digest()
    for server in live.servers[:live.primaries]:
        with server.connect() as c:
            for n in range(200):
                try:
                    c.call("SET", f"k:{n}", f"v{n}")
                except resp.ReplyError as e:
                    assert str(e).startswith("MOVED")
            digest += contents.digest(c)
    return digest


def cluster_behind_nat(lab):
    recovery, made = lab.recovery, lab.cluster.add("a", primaries=3, replicas=1, keys=90)
    made.database.port = 6379
    recovery.write()
    assert warned(recovery, "port-silent") == []
    recovery.recover()
    database = recovery.database(made)
    publics = {lab.net.host(i) for i in (1, 2, 3)}
    assert {e["addr"] for e in database["endpoints"]} == publics
    assert {e["port"] for e in database["endpoints"]} <= set(PUBLIC.values())
    digest = contents.Digest()
    for shard in database["shards"]:
        with lab.connect(shard) as c:
            recovery.assert_role(c, made, "primary" if shard["role"] == "primary" else "replica")
            if shard["role"] == "primary":
                digest += contents.digest(c)
            nodes = [line.split()[1].split(b",")[0] for line in c.call("CLUSTER", "NODES").splitlines()]
            for node in nodes:
                addr, ports = node.decode().split(":")
                assert addr in publics and set(map(int, ports.split("@"))) <= set(PUBLIC.values()), node
    assert digest.same_as(made.digest)
    with lab.connect(next(s for s in database["shards"] if s["role"] == "primary")) as c:
        try:
            for n in range(50):
                c.call("SET", f"new:{n}", 1)
            raise AssertionError("no key of another node")
        except resp.ReplyError as e:
            addr, port = str(e).split()[2].split(":")
            assert addr in publics and int(port) in PUBLIC.values()


def test_a_cluster_behind_nat(lab):
    """Nodes, replicas and clients meet at addresses and ports where no server listens itself."""
    cluster_behind_nat(lab)


@pytest.mark.slow
@pytest.mark.releases("redis60", "redis80", "valkey80", "valkey91")
def test_a_cluster_behind_nat_on_each_release(lab):
    cluster_behind_nat(lab)


@pytest.mark.slow
def test_a_primary_with_sentinels_behind_nat(lab):
    recovery, made = lab.recovery, lab.cluster.add("a", replicas=1)
    made.database.port = 6379
    recovery.databases = {"db:1": {"sentinel": True}}
    recovery.write()
    recovery.recover("--prove-failover")
    database = recovery.database(made)
    for shard in database["shards"]:
        with lab.connect(shard) as c:
            recovery.assert_role(c, made, shard["role"])
            assert contents.digest(c).same_as(made.digest)
    primary, = [s for s in database["shards"] if s["role"] == "primary"]
    assert [(e["addr"], e["port"]) for e in database["endpoints"]] == [
        (primary["announce_addr"], primary["announce_port"])]
    for sentinel in database["sentinels"]:
        with resp.Connection(sentinel["addr"], sentinel["port"]) as c:
            told = c.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinel["name"])
            assert [x.decode() for x in told] == [primary["announce_addr"], str(primary["announce_port"])]


def test_an_announced_address_that_nobody_reaches_is_a_warning(lab):
    """Of the bus of one host, and for a host's own servers too."""
    recovery, made = lab.recovery, lab.cluster.add("a", primaries=3)
    made.database.port = 6379
    recovery.write()
    host = recovery.hosts[1]["name"].rsplit("-", 1)[1]
    lab.net.run(host, ["nft", "add table inet f"])
    lab.net.run(host, ["nft", "add chain inet f i { type filter hook input priority 0 ; }"])
    lab.net.run(host, ["nft", "add rule inet f i ip daddr 172.16.2.1 tcp dport 16379 drop"])
    named = warned(recovery, "port-silent")
    assert named and all("30002" in w["message"] and "30002" in w["hint"] for w in named)
    lab.net.run(host, ["nft", "delete table inet f"])
    assert warned(recovery, "port-silent") == []
    recovery.hosts[2]["announce_addr"] = "10.77.0.99"
    recovery.write_hosts()
    assert any("10.77.0.99:30001" in w["message"] for w in warned(recovery, "port-silent"))


def test_the_link_goes_elsewhere_than_the_servers(cluster, recovery):
    """"link_addr" is where the operator reaches the host; {addr} of a command is that address."""
    made = cluster.add("a")
    seen = recovery.folder / "seen"
    recovery.add_hosts(1, link="command", link_addr="control.example.com", command=[
        "sh", "-c", f"echo $0 >> '{seen}'; exec sh", "{addr}"])
    recovery.write().recover()
    assert set(seen.read_text().split()) == {"control.example.com"}
    recovery.assert_recovered(made)


def test_what_was_announced_is_named_until_the_new_hosts_have_theirs(folder, net, recovery):
    live = LiveCluster(folder / "live", net, primaries=3, replicas=0).start()
    fill(live)
    live.servers[1].connect().call("CONFIG", "SET", "cluster-announce-port", "7999")
    with live.servers[1].connect() as c:
        redis_server.wait_until(lambda: b":7999@" in c.call("CLUSTER", "NODES"), "the announced port")
        c.call("CONFIG", "SET", "cluster-announce-port", "0")
    with live.servers[0].connect() as c:
        c.call("CONFIG", "SET", "replica-announce-port", "7998")
    Captured(recovery, live.servers, live.servers)
    recovery.add_hosts(3).write_hosts()
    warning, = warned(recovery, "announced")
    assert "replica-announce-port 7998" in warning["message"] and "\"announce_addr\"" in warning["hint"]
    for host in recovery.hosts:
        host["announce_addr"] = host["addr"]
    recovery.write_hosts()
    assert warned(recovery, "announced") == []


@pytest.mark.parametrize("kind", ["unknown-endpoint", "hostname"])
def test_an_own_bus_port_and_how_clients_are_sent_on(folder, net, recovery, kind):
    settings = {"cluster_port": 17555, "cluster_preferred_endpoint_type": kind}
    live = LiveCluster(folder / "live", net, primaries=3, replicas=0, cluster_announce_hostname="old.example.com",
                       **settings).start()
    digest = fill(live)
    Captured(recovery, live.servers, live.servers)
    recovery.add_hosts(3)
    for host in recovery.hosts:
        host["announce_hostname"] = f"{host['name']}.example.com"
    recovery.write_hosts()
    recovery.recover()
    database, = recovery.status()["databases"]
    got = contents.Digest()
    for shard in database["shards"]:
        with resp.Connection(shard["addr"], shard["port"]) as c:
            got += contents.digest(c)
            assert c.config("cluster-port") == "17555" and c.config("cluster-preferred-endpoint-type") == kind
            if kind == "hostname":
                names = {node[0].decode() for _, _, *group in c.call("CLUSTER", "SLOTS") for node in group}
                assert names == {f"{h['name']}.example.com" for h in recovery.hosts}
    assert got.same_as(digest)
