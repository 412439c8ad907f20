"""Servers of all kinds of locations, and the list of what each kind must be able to do."""

import json
import os
import shutil
import subprocess

import pytest

from harness import azurite, ceph, npm, s3rver, swift
from harness.certificates import Authority
from harness.gcs import Gcs
from program import DONE, PROGRAM

SUITE = PROGRAM.parent / "tests" / "unit" / "store" / "driver_suite"
FETCH_ONE = SUITE.with_name("fetch_one")
MEBIBYTE = 1 << 20

needs_npm = pytest.mark.skipif(npm.why_not() is not None, reason=str(npm.why_not()))
needs_swift = pytest.mark.skipif(
    not shutil.which("swift-proxy-server"), reason="swift not installed: packages.sh stores"
)
needs_ceph = pytest.mark.skipif(ceph.why_not() is not None, reason=str(ceph.why_not()))


def suite(location, *more, timeout=60):
    """The checks that every kind of location must pass, done with this one."""
    assert SUITE.exists(), f"{SUITE} is not built"
    return subprocess.run(
        [SUITE, *map(str, more)], input=json.dumps(location), text=True, timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, "WEBDAV_PASSWORD": "pass word"},
    )


def run_suite(location, *more, timeout=60):
    """None of them may fail, none be left out."""
    done = suite(location, *more, timeout=timeout)
    assert done.returncode == 0, done.stdout
    ok = [line for line in done.stdout.splitlines() if line.startswith("ok ")]
    assert len(ok) >= 10, done.stdout


def verify(recovery, location, status, env=None):
    """The one error of `recluster verify LOCATION`; what is wrong with a location stands there."""
    run = recovery.run(
        "verify", location, "--json", status=status,
        env={"HOME": recovery.folder, **(env or {})},
    )
    return run if status == DONE else run.json["files"][0]


@pytest.fixture
def s3(folder, net):
    with s3rver.S3rver(folder / "s3", net.addr(20), 9000) as server:
        yield server


@pytest.fixture
def authority(folder):
    return Authority(folder / "ca")


@pytest.fixture
def gcs(folder, net, authority):
    with Gcs(folder / "gcs", net.addr(21), 8443, authority.sign("gcs", net.addr(21))) as server:
        yield server


@pytest.fixture
def azure(folder, net):
    with azurite.Azurite(folder / "azure", net.addr(22), 10000) as server:
        server.make_container("backups")
        yield server


@pytest.fixture
def openstack(folder, net):
    with swift.Swift(folder / "swift", net.addr(23)) as server:
        server.make_container("backups")
        yield server


@pytest.fixture
def radosgw(folder, net):
    with ceph.Radosgw(folder / "ceph", net.addr(24)) as server:
        yield server
