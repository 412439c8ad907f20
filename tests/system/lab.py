"""Machines to recover onto, reached over a network: namespaces where that may be, else loopback addresses,
each with an sshd of its own."""

import contextlib
from pathlib import Path

import pytest

from harness import namespaces, network, sshd


class Lab:
    """`count` hosts with sshd, a key that may log in on all, and a known_hosts that knows them.

    `network`: what more a network of namespaces is to have (racks, others).
    """

    def __init__(self, folder, count, **network):
        self.folder = Path(folder)
        self.count = count
        self._network = network
        self.key = sshd.make_key(self.folder / "id")
        self.authorized = Path(f"{self.key}.pub")
        self.known_hosts = self.folder / "known_hosts"
        self.daemons = []
        self.space = None
        self._inside = contextlib.ExitStack()

    def start(self):
        self._open_network()
        for i in range(1, self.count + 1):
            self.daemons.append(self.sshd(i).start(self.prefix(i)))
        self.know_hosts()
        return self

    def know_hosts(self):
        """As they are now."""
        self.known_hosts.write_text("".join(d.known for d in self.daemons))

    def _open_network(self):
        if namespaces.missing() is None:
            self.space = self.net = namespaces.Namespaces(self.count, **self._network)
            self._inside.enter_context(self.space.inside())
        else:
            self.net = network.Network()

    def sshd(self, i, folder=None, authorized=None, **settings):
        """Host i's sshd; several in one folder have one key."""
        addr = self.net.host(i)
        port = 22 if self.space else network.free_port(addr)
        return sshd.Sshd(
            folder or self.folder / f"sshd{i}", addr, port, authorized or self.authorized, **settings)

    def replace_sshd(self, i, **settings):
        """Another one takes the place of host i's, perhaps at another port."""
        self.daemons[i - 1].stop()
        self.daemons[i - 1] = self.sshd(i, **settings).start(self.prefix(i))
        self.know_hosts()

    def prefix(self, i):
        return ["ip", "netns", "exec", self.space.full(f"h{i}")] if self.space else []

    def name(self, i):
        return self.space.full(f"h{i}")

    def needs_namespaces(self):
        if not self.space:
            pytest.skip(namespaces.missing())

    def entry(self, i, **keys):
        """Host i in hosts.json; a key that is None is left out."""
        daemon = self.daemons[i - 1]
        entry = {
            "link": "ssh", "addr": daemon.addr, "port": daemon.port, "user": sshd.user(),
            "identity": str(self.key), "known_hosts": str(self.known_hosts), "memory": "1G", **keys,
        }
        return {k: v for k, v in entry.items() if v is not None}

    def end(self):
        try:
            if not self.space:
                for daemon in self.daemons:
                    daemon.stop()
        finally:
            self._inside.close()
            self.net.close()


@contextlib.contextmanager
def opened(folder, count, **network):
    if sshd.missing():
        pytest.skip(sshd.missing())
    folder.mkdir()
    lab = Lab(folder, count, **network)
    try:
        yield lab.start()
    finally:
        lab.end()
