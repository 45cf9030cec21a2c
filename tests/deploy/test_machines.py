"""The machines of these tests are what the tests take them for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.support.fleet import Fleet
from tests.deploy.support.machines import Machine

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

USER_DATA = """\
#cloud-config
locale: C.UTF-8
users:
  - name: nectarcam
    shell: /bin/bash
    sudo: ALL=(ALL) NOPASSWD:ALL
    ssh_authorized_keys: [{key}]
write_files:
  - path: /etc/made-once
    content: by cloud-init
package_update: true
packages: [tini]
runcmd:
  - date +%s > /var/lib/first-boot
"""


@pytest.fixture(scope="module")
def machine(fleet: Fleet) -> Iterator[Machine]:
    key = fleet.ssh_key.with_suffix(".pub").read_text().strip()
    machine = fleet.machine(fleet.host("alone"), USER_DATA.format(key=key))
    machine.boot()
    status = machine.wait_for_cloud_init()
    assert status["status"] == "done", status
    return machine


def test_user_data_is_followed(machine: Machine) -> None:
    assert machine.run("cat", "/etc/made-once").stdout == "by cloud-init"
    assert machine.run("hostname").stdout.strip() == "alone"
    assert machine.run("tini", "--version").stdout.startswith("tini version")
    assert machine.failed_units() == ""


def test_its_admin_comes_in_by_ssh(fleet: Fleet, machine: Machine) -> None:
    assert fleet.ssh(machine, "sudo", "id", "-un").stdout == "root\n"
    refused = fleet.ssh(machine, "true", user="root", check=False)
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr


def test_it_comes_back_after_reboots_and_power_failures(machine: Machine) -> None:
    first = machine.run("cat", "/var/lib/first-boot").stdout
    boot = machine.run("systemctl", "show", "-P", "UserspaceTimestampMonotonic").stdout
    machine.reboot()
    machine.wait_for_cloud_init()
    assert machine.run("systemctl", "show", "-P", "UserspaceTimestampMonotonic").stdout != boot
    machine.crash()
    assert not machine.is_running()
    machine.boot()
    machine.wait_for_cloud_init()
    assert machine.failed_units() == ""
    assert machine.run("cat", "/var/lib/first-boot").stdout == first


def test_hosts_of_the_network_reach_each_other_only(fleet: Fleet, machine: Machine) -> None:
    other = fleet.network.host("other")
    address = machine.host.address
    assert other.tries(address, 22) == "open"
    assert other.tries(address, 1) == "refused"
    fleet.network.cut(other)
    assert other.tries(address, 22, patience=0.5) == "no answer"
    fleet.network.mend(other)
    assert other.tries(address, 22) == "open"
    links = other.run("ip", "-brief", "link").stdout
    assert {line.split("@")[0].split()[0] for line in links.splitlines()} == {"lo", "eth0"}
