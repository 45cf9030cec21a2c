"""What the shipped user-data makes of a machine when its release is not what it should be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.support.fleet import Fleet
from tests.deploy.support.machines import Machine
from tests.deploy.support.networks import run

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]

RELEASE = "/srv/release"
LOG = "/var/log/nectarcam-dqm/install.log"


def user_data(fleet: Fleet, digest: str) -> str:
    password = run(["openssl", "passwd", "-6", "-salt", "salt", "not used"]).stdout.strip()
    return run(
        [
            Path(sys.executable).parent / "dqm", "cloud-init", "--role", "rw",
            "--ssh-key", fleet.ssh_key.with_suffix(".pub"), "--password-hash", password,
            "--primary", "wrong", "--secondary", "nowhere.example.org",
            "--release", f"file://{RELEASE}", "--release-sha256", digest,
        ]
    ).stdout  # fmt: skip


@pytest.fixture(scope="module")
def machine(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine that was told another release than the one that it finds."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  requirements.lock\n")
    (folder / "requirements.lock").write_text("")
    machine = fleet.machine(
        fleet.host("wrong"), user_data(fleet, "0" * 64), binds={RELEASE: folder}
    )
    machine.boot()
    machine.wait_for_cloud_init()
    return machine


def installing(machine: Machine, *arguments: str) -> subprocess.CompletedProcess[str]:
    return machine.run("dqm-install", *arguments, check=False)


def last_words(machine: Machine) -> str:
    return machine.run("cat", LOG).stdout.splitlines()[-1]


def test_a_failure_is_told(machine: Machine) -> None:
    status = machine.wait_for_cloud_init()
    assert status["status"] == "error"
    assert any("scripts-user" in error for error in status["errors"])
    said = f"dqm-install: FAILED to check file://{RELEASE}/SHA256SUMS, which is not the one with 0"
    assert any(line.startswith(said) for line in machine.run("cat", LOG).stdout.splitlines())
    assert said in machine.run("cat", "/var/log/cloud-init-output.log").stdout
    assert not machine.run("ls", "/opt").stdout


def test_each_step_says_what_it_was(machine: Machine) -> None:
    digest = machine.run("sha256sum", f"{RELEASE}/SHA256SUMS").stdout.split()[0]
    for arguments, said in (
        (("file:///nowhere", digest), "fetch file:///nowhere/SHA256SUMS"),
        (("http://127.0.0.1:1", digest), "fetch http://127.0.0.1:1/SHA256SUMS"),
        ((f"file://{RELEASE}", digest), "check the files of file:///srv/release against its"),
    ):
        assert installing(machine, *arguments).returncode != 0
        assert f"FAILED to {said}" in last_words(machine)


def test_the_machine_is_closed_all_the_same(fleet: Fleet, machine: Machine) -> None:
    server = "import http.server as h; h.HTTPServer(('', 8100), h.SimpleHTTPRequestHandler)"
    machine.run("systemd-run", "--unit=listens", "python3", "-c", f"{server}.serve_forever()")
    machine.run("curl", "--silent", "--retry", "9", "--retry-connrefused", "http://127.0.0.1:8100/")
    assert fleet.desk.tries(machine.host.address, 8100) == "no answer"
    assert fleet.desk.tries(machine.host.address, 22) == "open"


def test_who_may_log_in_and_how(fleet: Fleet, machine: Machine) -> None:
    assert fleet.ssh(machine, "sudo", "id", "-un").stdout == "root\n"
    said = machine.run("sshd", "-T").stdout.splitlines()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no",
            "permitrootlogin no"} <= set(said)  # fmt: skip
    shadow = machine.run("getent", "shadow", "nectarcam", "root").stdout.split()
    assert shadow[0].startswith("nectarcam:$6$salt$")
    assert shadow[1].startswith(("root:*:", "root:!"))


def test_only_security_updates_come_by_themselves(machine: Machine) -> None:
    said = machine.run("apt-config", "dump").stdout
    origins = [line for line in said.splitlines() if "Origins-Pattern::" in line]
    assert len(origins) == 2
    assert all("-security" in line for line in origins)
    assert "Unattended-Upgrade::Allowed-Origins::" not in said
    assert 'APT::Periodic::Unattended-Upgrade "1"' in said
