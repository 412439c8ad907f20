"""Fixtures of the system tests. Each test has its own folder, loopback network and processes."""

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fixtures"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

pytest.register_assert_rewrite("program")

from harness import network, redis_server, releases  # noqa: E402
from dead_cluster import DeadCluster  # noqa: E402
from program import PROGRAM, Recovery  # noqa: E402
from stores import authority, azure, gcs, openstack, radosgw, s3  # noqa: E402, F401


def pytest_configure(config):
    # Whoever started us may ignore them (nohup, a shell's "&"), and programs would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    config.addinivalue_line("markers", "slow: only with RECLUSTER_SLOW=1 in the environment")
    config.addinivalue_line(
        "markers", "releases(SERVER...): once with each of these servers, see the fixture `servers`")
    if not PROGRAM.exists():
        raise pytest.UsageError(f"{PROGRAM} is not built; sh tests/run.sh builds it")


def pytest_collection_modifyitems(items):
    if not os.environ.get("RECLUSTER_SLOW"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: set RECLUSTER_SLOW=1"))


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("releases")
    if marker:
        metafunc.parametrize(
            "servers", marker.args, indirect=True, ids=lambda s: s if isinstance(s, str) else "-".join(s))


@pytest.fixture
def servers(request):
    """The server that writes the backups and that of the hosts, as the mark `releases` says.

    A name of harness/releases.py stands for both, (WRITER, TARGET) for one each. Without the mark both are the system's.
    """
    said = getattr(request, "param", "system")
    found = []
    for name in (said, said) if isinstance(said, str) else said:
        found.append(releases.find(name))
        if found[-1] is None:
            pytest.skip(f"no server {name}: sh fixtures/servers.sh {name}")
    return found


@pytest.fixture
def writer(servers):
    """The server that writes the backups."""
    return servers[0]


@pytest.fixture
def release(servers):
    """The server of the hosts, and of all else that a test starts."""
    return servers[1]


@pytest.fixture
def folder(tmp_path):
    """A folder of the test's own; every server that has a pid file in it is ended after the test."""
    yield tmp_path
    redis_server.kill_all_below(tmp_path)


@pytest.fixture
def net():
    """A /24 of the loopback network of the test's own."""
    network_ = network.Network()
    yield network_
    network_.close()


@pytest.fixture
def cluster(folder, net, writer):
    """A dead cluster of three nodes, still without databases."""
    return DeadCluster(folder, net, program=writer.program)


@pytest.fixture
def recovery(folder, net, cluster, release):
    """Its recovery, still without hosts."""
    return Recovery(folder, net, cluster, release.program)
