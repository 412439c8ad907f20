"""The session of links and SFTP by itself, against a real sshd: tests/unit/ssh/session_suite.c."""

import subprocess

import pytest

from harness import sshd
from program import PROGRAM

SUITE = PROGRAM.parent / "tests" / "unit" / "ssh" / "session_suite"


@pytest.mark.parametrize("settings", [{}, {"RekeyLimit": "512K"}, {"Ciphers": "aes256-ctr"}], ids=str)
def test_what_a_session_must_be_able_to_do(settings, folder, net):
    if sshd.missing():
        pytest.skip(sshd.missing())
    key = sshd.make_key(folder / "id")
    # Without the noisy login of other tests: what comes is compared.
    daemon = sshd.Sshd(
        folder / "sshd", net.addr(1), 2222, f"{key}.pub", SetEnv=f"HOME={folder}", **settings).start()
    known = folder / "known_hosts"
    known.write_text(daemon.known)
    try:
        done = subprocess.run(
            [SUITE, daemon.addr, "2222", sshd.user(), key, known], timeout=120, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    finally:
        daemon.stop()
    assert done.returncode == 0 and done.stdout.count("ok ") == 9, done.stdout
