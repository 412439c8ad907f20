"""Servers as units of a real systemd, on a host that is reached through an sshd that it runs."""

import pytest

import real_systemd
import test_landing
from harness import http_server, redis_server, sshd
from program import DONE, REFUSED
from test_landing import serve  # noqa: F401
from test_systemd import is_up, verify


@pytest.fixture
def daemon(folder, net):
    if sshd.missing():
        pytest.skip(sshd.missing())
    key = sshd.make_key(folder / "id")
    daemon = sshd.Sshd(folder / "sshd", net.host(1), 2222, f"{key}.pub")
    (folder / "known").write_text(daemon.known)
    return daemon


@pytest.fixture
def machine(folder, daemon):
    with real_systemd.running(folder / "machine", daemon) as machine:
        yield machine


def over_ssh(recovery, daemon):
    return {"link": "ssh", "user": sshd.user(), "port": daemon.port, "memory": "1G",
            "identity": str(recovery.folder / "id"), "known_hosts": str(recovery.folder / "known")}


@pytest.mark.slow
def test_servers_are_units(cluster, recovery, machine, daemon):
    """They outlive the link and all of sshd, a crash and a reboot; an abort leaves none, loaded or failed."""
    made = [cluster.add("a", primaries=3, password="one"), cluster.add("it's b", password="two")]
    recovery.defaults = over_ssh(recovery, daemon)
    recovery.add_hosts(1, addr=daemon.addr)
    recovery.write().recover("--until", "load")
    names = machine.services("active")
    assert len(names) == 4
    verify(machine.units / name for name in names)
    machine.systemctl("stop", "sshd.service")
    assert machine.systemctl("is-active", "sshd.service") == "inactive"
    assert machine.services("active") == names
    machine.systemctl("start", "sshd.service")

    recovery.run("abort", "--state", recovery.state, "--yes")
    assert machine.services() == []
    assert list(machine.units.glob("recluster-*")) == [] and recovery.server_folders() == []
    with machine.reloading():
        recovery.resume(status=DONE, timeout=60)

    names = machine.services("active")
    assert {machine.systemctl("is-enabled", name) for name in names} == {"enabled"} and len(names) == 4
    machine.systemctl("kill", "--signal=KILL", *names)
    wait_for_all(recovery, made)
    assert machine.services("active") == names
    machine.power_off()
    assert not is_up(recovery, made[0])
    machine.boot()
    wait_for_all(recovery, made)
    assert machine.services("active") == names
    recovery.run("abort", "--state", recovery.state, "--open-databases", "old.example.com", "--yes")
    assert machine.services() == [] and list(machine.units.glob("recluster-*")) == []
    assert recovery.server_folders() == [] and not any(is_up(recovery, one) for one in made)


def wait_for_all(recovery, made):
    for one in made:
        redis_server.wait_until(lambda: is_up(recovery, one), "its servers", 40)


@pytest.mark.slow
def test_servers_are_units_of_a_user(cluster, recovery, net, folder):
    """Of one who lingers: they outlive the link, a crash and a reboot; an abort leaves none."""
    made = cluster.add("a", primaries=2, password="one")
    server = http_server.Nginx(folder / "nginx", cluster.backups, net.addr(5), 8080).start()
    recovery.sources = {"db:1": server.url}
    with real_systemd.running(folder / "machine", user=True) as machine:
        recovery.defaults = {"link": "command", "memory": "1G",
                             "command": machine.there(*real_systemd.AS_USER, "sh")}
        recovery.hosts = [{"name": "h1", "addr": net.host(1), "base_dir": "/mnt/base/it's"}]
        recovery.write().recover("--until", "load")
        names = machine.services("active")
        assert len(names) == 2 and {f.name for f in machine.units.glob("*.service")} == set(names)
        verify(machine.units / name for name in names)
        recovery.run("abort", "--state", recovery.state, "--yes")
        assert machine.services() == [] and list(machine.units.glob("*.service")) == []
        recovery.resume(status=DONE, timeout=60)
        machine.systemctl("kill", "--signal=KILL", *names)
        wait_for_all(recovery, [made])
        machine.power_off()
        assert not is_up(recovery, made)
        machine.boot()
        wait_for_all(recovery, [made])
        assert machine.services("active") == names


@pytest.mark.slow
def test_units_whose_files_are_landing(cluster, recovery, machine, daemon, serve):
    """A file with a bad end, a run that is killed in the middle, and then all of it."""
    made = test_landing.add_plain(cluster, big=test_landing.BIG)
    recovery.defaults = over_ssh(recovery, daemon)
    recovery.add_hosts(1, addr=daemon.addr)
    good = made.files[0].read_bytes()
    made.files[0].write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    serve(limit_rate="1m")
    assert recovery.recover(status=REFUSED).says(made.files[0].name)
    assert machine.services("active") == []
    recovery.run("abort", "--state", recovery.state, "--yes")
    assert machine.services() == []

    made.files[0].write_bytes(good)
    recovery.state = recovery.folder / "second.state"
    run = recovery.start(*recovery.recover_args())
    redis_server.wait_until(lambda: machine.services("active"), "a unit on its pipe")
    assert any(test_landing.is_pipe(folder / "dump.rdb") for folder in recovery.server_folders())
    run.kill()
    run.communicate()
    redis_server.wait_until(lambda: not machine.services("active"), "the end of the unit", 20)
    recovery.resume(status=DONE, timeout=60)
    assert test_landing.landed(recovery) == [True]
    test_landing.assert_nothing_left(recovery)
    recovery.assert_recovered(made)
    assert len(machine.services("active")) == 1
