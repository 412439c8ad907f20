"""Servers that listened with TLS and without it have both ports again, and no client reaches either too early."""

import ssl

import pytest

from captured import Captured
from harness import contents, redis_server, resp
from harness.certificates import Authority
from live_cluster import LiveCluster
from program import DONE, PARTLY, REFUSED
from test_replan import gate  # noqa: F401

PORTS = ("port", "tls-port", "tls-replication", "tls-cluster", "tls-auth-clients", "cluster-port")
WITHIN = {"tls": {}, "plain": {"tls_replication": "no", "tls_cluster": "no"}}


def ports_of(c):
    found = {name: c.config(name) for name in PORTS if c.call("CONFIG", "GET", name)}
    if c.config("cluster-enabled") == "no":
        del found["tls-cluster"]
    return found


def give_certificates(recovery, authority):
    for host in recovery.hosts:
        made = authority.sign(host["name"], host["addr"])
        host["tls"] = {"cert": {"file": str(made.cert)}, "key": {"file": str(made.key)},
                       "ca": {"file": str(authority.cert)}}
    recovery.write_hosts()


class Both:
    """Connections to a recovered shard, as clients make them."""

    def __init__(self, authority, password="pw"):
        self.tls = authority.client(authority.sign("client"))
        self.password = password

    def ports(self, shard):
        """(port with TLS, port without)"""
        return (shard["port"], shard["other_port"]) if shard["tls"] else (shard["other_port"], shard["port"])

    def connect(self, shard, with_tls, password="as it is"):
        port = self.ports(shard)[0 if with_tls else 1]
        password = self.password if password == "as it is" else password
        return resp.Connection(shard["addr"], port, password, tls=self.tls if with_tls else None)


def captured_cluster(folder, net, recovery, authority, release, **how):
    live = LiveCluster(folder / "live", net, release.program, replicas=1, password="pw", tls=authority,
                       plain_port=6300, **how).start()
    for i, server in enumerate(live.servers[:3]):
        with server.connect() as c:
            for n in range(300):
                try:
                    c.call("SET", f"k:{n}", f"v{n}")
                except resp.ReplyError as e:
                    assert str(e).startswith("MOVED")
    return live


def options(folder, authority, tls=True):
    mine = authority.sign("admin")
    (folder / "pw").write_text("pw")
    certificates = ["--tls-ca", authority.cert, "--tls-cert", mine.cert, "--tls-key", mine.key]
    return ["--password", folder / "pw", *(certificates if tls else [])]


def remembered(servers):
    found = []
    for server in servers:
        with server.connect() as c:
            found.append(ports_of(c))
    return found


def cluster_comes_back(folder, net, recovery, release, inside):
    authority = Authority(folder / "ca")
    live = captured_cluster(folder, net, recovery, authority, release, **WITHIN[inside])
    before = remembered(live.servers)
    assert {b["port"] for b in before} == {"6300"} and {b["tls-replication"] for b in before} == {
        "yes" if inside == "tls" else "no"}
    # Nodes know each other only by the port that they use among themselves.
    taken = Captured(recovery, live.servers, live.servers[:3], *options(folder, authority, inside == "tls"),
                     **({} if inside == "tls" else {"asked": f"{live.servers[0].addr}:6300"}))
    both = Both(authority)
    recovery.add_hosts(6)
    give_certificates(recovery, authority)
    plan = recovery.plan("--json").json
    assert not {"plain-port-off", "port-taken"} & {w["code"] for w in plan["warnings"]}
    assert {e["tls"] for e in plan["databases"][0]["endpoints"]} == {True, False}
    recovery.recover("--until", "load")
    for shard in recovery.status()["databases"][0]["shards"]:
        for with_tls in (True, False):
            try:
                with both.connect(shard, with_tls) as c:
                    with pytest.raises(resp.ReplyError, match="NOAUTH|WRONGPASS"):
                        c.call("GET", "k:1")
            except (resp.ReplyError, ConnectionRefusedError) as e:
                assert isinstance(e, ConnectionRefusedError) or "WRONGPASS" in str(e)
    recovery.resume()
    database, = recovery.status()["databases"]
    found, digests = [], {True: contents.Digest(), False: contents.Digest()}
    for shard in database["shards"]:
        for with_tls in (True, False):
            with both.connect(shard, with_tls) as c:
                if shard["role"] == "primary":
                    digests[with_tls] += contents.digest(c)
                if with_tls:
                    found.append(ports_of(c))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            resp.Connection(shard["addr"], both.ports(shard)[0], tls=authority.client()).call("PING")
    assert sorted(map(str, found)) == sorted(map(str, before))
    assert digests[True].same_as(taken.digest) and digests[False].same_as(taken.digest)
    assert len(database["endpoints"]) == 6


@pytest.mark.releases("system", "valkey91")
@pytest.mark.parametrize("inside", WITHIN)
def test_a_cluster_with_two_ports(folder, net, recovery, release, inside):
    cluster_comes_back(folder, net, recovery, release, inside)


@pytest.mark.slow
@pytest.mark.releases("redis60", "redis80", "valkey80", "valkey81")
@pytest.mark.parametrize("inside", WITHIN)
def test_a_cluster_with_two_ports_on_each_release(folder, net, recovery, release, inside):
    cluster_comes_back(folder, net, recovery, release, inside)


@pytest.mark.parametrize("inside", WITHIN)
def test_a_primary_with_sentinels_and_two_ports(folder, net, recovery, inside):
    authority = Authority(folder / "ca")
    how = dict(WITHIN[inside], password="pw", tls=authority, plain_port=6300)
    addrs = [net.old_node(1), net.old_node(2)]
    primary = redis_server.Server(folder / "p", addrs[0], 6400, replica_announce_ip=addrs[0], **how).start()
    replica = redis_server.Server(folder / "r", addrs[1], 6400, replica_announce_ip=addrs[1],
                                  replicaof=f"{addrs[0]} {6400 if inside == 'tls' else 6300}", **how).start()
    redis_server.wait_for_replica(replica)
    with primary.connect() as c:
        for n in range(100):
            c.call("SET", f"k:{n}", f"v{n}")
    before = remembered([primary, replica])
    taken = Captured(recovery, [primary, replica], [primary], *options(folder, authority, inside == "tls"),
                     asked=f"{addrs[0]}:{6400 if inside == 'tls' else 6300}")
    recovery.databases = {taken.uid: {"sentinel": True}}
    both = Both(authority)
    recovery.add_hosts(3)
    give_certificates(recovery, authority)
    recovery.recover("--prove-failover")
    database, = recovery.status()["databases"]
    found = []
    for shard in database["shards"]:
        for with_tls in (True, False):
            with both.connect(shard, with_tls) as c:
                assert c.call("GET", "k:7") == b"v7"
                if with_tls:
                    found.append(ports_of(c))
    assert found == before
    for sentinel in database["sentinels"]:
        with resp.Connection(sentinel["addr"], sentinel["port"], tls=both.tls if inside == "tls" else None) as c:
            assert c.call("SENTINEL", "CKQUORUM", sentinel["name"]).startswith(b"OK")


def test_a_lost_host_costs_no_port(folder, net, recovery, release, gate):  # noqa: F811
    """In the middle of a recovery: shards that stay keep both their ports, those that move get both on their new host."""
    authority = Authority(folder / "ca")
    live = captured_cluster(folder, net, recovery, authority, release)
    before = remembered(live.servers)
    taken = Captured(recovery, live.servers, live.servers[:3], *options(folder, authority))
    recovery.add_hosts(7)
    give_certificates(recovery, authority)
    recovery.recover("--until", "load")
    lost = recovery.status()["databases"][0]["shards"][0]["host"]
    stayed = {s["uid"]: (s["host"], s["port"], s["other_port"]) for s in recovery.status()["databases"][0]["shards"]
              if s["host"] != lost}
    gate.take(lost)
    recovery.resume("--replan-lost", "--patience", "1s", status=(DONE, PARTLY))
    both = Both(authority)
    shards = recovery.status()["databases"][0]["shards"]
    assert lost not in {s["host"] for s in shards} and len(shards) == 6
    assert stayed.items() <= {s["uid"]: (s["host"], s["port"], s["other_port"]) for s in shards}.items()
    found, digest = [], contents.Digest()
    for shard in shards:
        for with_tls in (True, False):
            with both.connect(shard, with_tls) as c:
                if with_tls:
                    found.append(ports_of(c))
                elif shard["role"] == "primary":
                    digest += contents.digest(c)
    assert sorted(map(str, found)) == sorted(map(str, before)) and digest.same_as(taken.digest)
    gate.give_back(lost)


@pytest.mark.parametrize("inside", WITHIN)
def test_without_certificates_the_port_without_tls_stays(folder, net, recovery, release, inside):
    authority = Authority(folder / "ca")
    live = captured_cluster(folder, net, recovery, authority, release, **WITHIN[inside])
    port = live.servers[0].inner_port
    Captured(recovery, live.servers, live.servers[:3], *options(folder, authority, inside == "tls"),
             asked=f"{live.servers[0].addr}:{port}")
    recovery.add_hosts(6).write_hosts()
    assert recovery.plan(status=REFUSED).says("--accept-weaker-access db:1")
    recovery.recover("--accept-weaker-access", "db:1")
    shards = recovery.status()["databases"][0]["shards"]
    assert {s["port"] for s in shards} == {6300} and not any(s["tls"] or "other_port" in s for s in shards)
    for shard in shards:
        with resp.Connection(shard["addr"], 6300, "pw") as c:
            assert c.config("tls-port") == "0" and b"cluster_state:ok" in c.call("CLUSTER", "INFO")


def test_a_second_port_that_is_taken(folder, net, recovery):
    authority = Authority(folder / "ca")
    one = redis_server.Server(folder / "one", net.old_node(1), 6400, "pw", tls=authority, plain_port=6300).start()
    with one.connect() as c:
        c.call("SET", "k", "v")
    Captured(recovery, [one], [one], *options(folder, authority))
    recovery.add_hosts(1)
    give_certificates(recovery, authority)
    both = Both(authority)
    other = redis_server.Server(folder / "other", recovery.hosts[0]["addr"], 6300).start()
    try:
        warning, = [w for w in recovery.plan("--json").json["warnings"] if w["code"] == "port-taken"]
        assert "its port 6300 is taken" in warning["message"] and "gets 21000" in warning["message"]
        recovery.recover()
    finally:
        other.kill()
    shard, = recovery.status()["databases"][0]["shards"]
    assert both.ports(shard) == (6400, 21000)
    for with_tls in (True, False):
        with both.connect(shard, with_tls) as c:
            assert c.call("GET", "k") == b"v"


def test_a_server_that_answers_only_at_its_second_port_is_alive(folder, net, recovery):
    authority = Authority(folder / "ca")
    one = redis_server.Server(folder / "one", net.old_node(1), 6400, "pw", tls=authority, plain_port=6300).start()
    Captured(recovery, [one], [one], *options(folder, authority))
    recovery.add_hosts(1)
    give_certificates(recovery, authority)
    again = redis_server.Server(folder / "again", net.old_node(1), 6300).start()
    try:
        assert recovery.plan(status=REFUSED).says(f"{again.addr}:6300")
    finally:
        again.kill()
