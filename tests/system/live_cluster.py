"""Clusters that run: what `capture` and `backup` are tried on."""

from pathlib import Path

from harness import redis_server, resp, slots
from harness.redis_server import wait_until


class LiveCluster:
    """`primaries` with `replicas` each, every server at an address of its own.

    `settings` of every server, or functions of its number; `tls`: a certificates.Authority.
    """

    def __init__(self, folder, net, program="redis-server", primaries=3, replicas=1, password=None, tls=None,
                 first=1, **settings):
        self.folder = Path(folder)
        self.servers = []
        for i in range(primaries * (1 + replicas)):
            self.servers.append(redis_server.Server(
                self.folder / f"node {i + 1}", net.old_node(first + i), 7000 + i, password, program, tls,
                cluster_enabled="yes", cluster_config_file="nodes.conf", cluster_node_timeout=2000,
                **{name: value(i) if callable(value) else value for name, value in settings.items()}))
        ranges = slots.split(primaries)
        redis_server.write_cluster([
            (s, [ranges[i % primaries]], None if i < primaries else i % primaries)
            for i, s in enumerate(self.servers)])
        self.primaries = primaries

    def start(self):
        for server in self.servers:
            server.start()
        redis_server.wait_for_cluster(self.servers)
        for server in self.servers[self.primaries:]:
            redis_server.wait_for_replica(server)
        self.wait_until_settled()
        return self

    def views(self, settled=False):
        """What each node says of all, without what moves by itself.

        `settled`: of a failed node only that it failed, since nodes that came later know no more of it.
        """
        result = []
        for server in self.servers:
            if not server.pid_file.exists():
                continue
            with server.connect() as c:
                lines = [line.split() for line in c.call("CLUSTER", "NODES").decode().splitlines()]
            if settled:
                lines = [w if "fail" not in w[2].split(",") else [w[0], "", "fail", "-", "", "", "", ""] for w in lines]
            result.append(sorted(
                (w[0], w[2].replace("myself,", ""), w[3], w[6], *sorted(w[8:])) for w in lines))
        return result

    def wait_until_settled(self):
        def settled():
            views = self.views(settled=True)
            return all(v == views[0] for v in views) and not any("fail?" in line[1] for line in views[0])
        try:
            wait_until(settled, "the same view on every node", 40)
        except TimeoutError as e:
            views = self.views()
            odd = [(i, sorted(set(v) ^ set(views[0]))) for i, v in enumerate(views) if v != views[0]]
            raise TimeoutError(f"{e}: {odd or views[0]}") from e

    def everywhere(self, *command):
        for server in self.servers:
            with server.connect() as c:
                c.call(*command)

    def addresses(self, *which):
        return [f"{s.addr}:{s.port}" for s in ([self.servers[i] for i in which] if which else self.servers)]


class Sentinels:
    """Three that watch one primary. `tls`: a certificates.Authority; `own_password`: what they themselves demand."""

    def __init__(self, folder, net, name, primary, program="redis-server", password=None, count=3, tls=None,
                 own_password=None):
        self.servers = []
        self.name = name
        self.tls = None
        self.own_password = own_password
        for i in range(count):
            home = Path(folder) / f"sentinel {i + 1}"
            home.mkdir(parents=True)
            addr, port = net.addr(60 + i), 26379
            login = f"sentinel auth-pass {name} {redis_server.quoted(password)}\n" if password else ""
            own = f"requirepass {redis_server.quoted(own_password)}\n" if own_password else ""
            (home / "sentinel.conf").write_text(
                f"{self._port(tls, addr, port)}{own}bind {addr}\nsentinel announce-ip {addr}\ndir {redis_server.quoted(home)}\n"
                f"pidfile {redis_server.quoted(home / 'sentinel.pid')}\nlogfile {redis_server.quoted(home / 'log')}\n"
                f"sentinel monitor {name} {primary.addr} {primary.port} 2\n"
                f"sentinel down-after-milliseconds {name} 1500\nsentinel failover-timeout {name} 5000\n"
                f"sentinel parallel-syncs {name} 3\n{login}")
            self.servers.append((home, addr, port))
        self.program = program

    def _port(self, tls, addr, port):
        if tls is None:
            return f"port {port}\n"
        made = tls.sign(f"sentinel-{addr}", addr)
        self.tls = tls.client(made)
        files = {"tls-cert-file": made.cert, "tls-key-file": made.key, "tls-ca-cert-file": tls.cert}
        return f"port 0\ntls-port {port}\ntls-replication yes\n" + "".join(
            f"{name} {redis_server.quoted(path)}\n" for name, path in files.items())

    def start(self):
        for home, addr, port in self.servers:
            redis_server.start_daemon(home / "sentinel.conf", self.program, ["--sentinel"])

        def all_know_all():
            try:
                for _, addr, port in self.servers:
                    with resp.Connection(addr, port, self.own_password, tls=self.tls) as c:
                        pairs = c.call("SENTINEL", "MASTER", self.name)
                    said = dict(zip(pairs[::2], pairs[1::2]))
                    if int(said[b"num-other-sentinels"]) != len(self.servers) - 1 or said[b"num-slaves"] == b"0":
                        return False
                return True
            except ConnectionRefusedError:
                return False
        wait_until(all_know_all, "Sentinels that know each other", 40)
        return self
