"""Fixtures of the system tests. Each test has its own folder, loopback network and processes."""

import os
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
    config.addinivalue_line("markers", "slow: only with RECLUSTER_SLOW=1 in the environment")
    config.addinivalue_line(
        "markers", "releases(NAME...): once with each of these servers, see harness/releases.py")
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
        metafunc.parametrize("release", marker.args, indirect=True)


@pytest.fixture
def release(request):
    """The server of the test: the system's, or what its mark `releases` says."""
    name = getattr(request, "param", "system")
    found = releases.find(name)
    if found is None:
        pytest.skip(f"no server {name}: sh fixtures/servers.sh {name}")
    return found


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
def cluster(folder, net, release):
    """A dead cluster of three nodes, still without databases."""
    return DeadCluster(folder, net, program=release.program)


@pytest.fixture
def recovery(folder, net, cluster, release):
    """Its recovery, still without hosts."""
    return Recovery(folder, net, cluster, release.program)
