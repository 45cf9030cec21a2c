"""Two machines that install themselves from the shipped user-data, with nothing done by hand.

A run that comes to the primary is seen in a browser through nginx on the secondary.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import browsing
import pytest
from browsing import DashboardPage
from playwright.sync_api import Browser
from processes import eventually

from tests.deploy.conftest import open_fleet
from tests.deploy.support.fleet import Fleet
from tests.deploy.support.networks import Host
from tests.deploy.support.pair import CAMERA, PRIMARY, SITE, Pair, with_image

pytestmark = [pytest.mark.deploy, pytest.mark.browser, pytest.mark.timeout(900)]

PATIENCE = 90
EXPOSURE = 3.0
"""Highest that `systemd-analyze security` may say of a service."""

OPEN = {"dqm-rw": {22}, "dqm-ro": {22, 443}}
DATABASE = (5000, 8100)

WRITE = """
import sys, transaction, ZODB, ZEO.ClientStorage
from dqm_db.settings import SystemSettings, load
from dqm_db.tls import client_context
storage = ZEO.ClientStorage.ClientStorage(
    ("127.0.0.1", 8100),
    wait_timeout=30,
    read_only_fallback=True,
    ssl=client_context(load(SystemSettings)),
)
with ZODB.DB(storage).transaction() as connection:
    connection.root()["mine"] = 1
"""


@pytest.fixture(scope="module", params=["venv"])
def flavour(request: pytest.FixtureRequest) -> str:
    """How the program is installed."""
    return request.param


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest, base_root: Path, flavour: str) -> Iterator[Fleet]:
    """A network of its own for each pair of machines."""
    with open_fleet(request.session, base_root) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def pair(
    request: pytest.FixtureRequest,
    fleet: Fleet,
    flavour: str,
    release: Path,
    tmp_path_factory: pytest.TempPathFactory,
    measured: Callable[[str, float], None],
) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    if flavour == "containers":
        archive = request.getfixturevalue("image_archive")
        release = with_image(release, archive, folder / "release")
    pair = Pair(fleet, release, folder, flavour)
    pair.wait_until_set_up()
    measured(f"both machines set up ({flavour})", time.monotonic() - pair.started)
    pair.give_certificates()
    run = pair.add_run()
    wait_for_run(pair, run)
    measured(f"secondary has a run ({flavour})", time.monotonic() - pair.started)
    return pair


@pytest.fixture(scope="module")
def browser(pair: Pair, chromium: str) -> Iterator[Browser]:
    """A browser at the desk of the fleet."""
    script = pair.fleet.chromium(chromium, {SITE: pair.secondary.host})
    with browsing.chromium(str(script)) as browser:
        yield browser


@pytest.fixture(scope="module")
def stranger(pair: Pair) -> Host:
    """Somebody in the same network whom no machine knows."""
    return pair.fleet.network.host("stranger")


def wait_for_run(pair: Pair, run: int) -> None:
    eventually(lambda: run in pair.runs(pair.secondary), f"run {run} on the secondary", PATIENCE)


def opened(browser: Browser, query: str = "") -> DashboardPage:
    return DashboardPage(browser, f"https://{SITE}/{query}", trusting=True)


def test_a_run_of_the_primary_is_seen_in_a_browser(
    pair: Pair, browser: Browser, measured: Callable[[str, float], None]
) -> None:
    run = pair.add_run()
    begin = time.monotonic()
    with opened(browser) as page:  # it shows the newest run
        page.wait_for_run(run)
        measured("from the end of a pull until the page shows the run", time.monotonic() - begin)
        another = pair.add_run()
        page.wait_for_run(another)
        assert page.state["camera"] == CAMERA
        assert page.errors == []


def test_the_certificate_of_the_site_is_of_the_primarys_authority(
    pair: Pair, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text(
        pair.fleet.ssh(pair.primary, "sudo", "cat", "/etc/nectarcam-dqm/ca/ca.pem").stdout
    )
    address = pair.secondary.host.address
    ask = ["curl", "--silent", "--show-error", "--head", "--resolve", f"{SITE}:443:{address}"]
    said = pair.fleet.desk.run(*ask, "--cacert", authority, f"https://{SITE}/").stdout
    assert re.match(r"HTTP/2 (200|30\d)", said), said
    other = pair.fleet.desk.run(*ask, f"https://{SITE}/", check=False)
    assert other.returncode == 60, other.stderr  # another authority is not asked


def test_a_write_on_the_secondary_is_refused(pair: Pair) -> None:
    [run, *_] = pair.runs(pair.secondary)
    refused = pair.dqm(pair.secondary, "rm", str(run), "--camera", CAMERA, "--yes", check=False)
    assert refused.returncode == 77, refused.stderr
    settings = "set -a; . /etc/nectarcam-dqm/dqm.env; exec /opt/nectarcam-dqm/bin/python -"
    said = pair.secondary.run(
        "runuser", "-u", "nectarcam", "--", "bash", "-c", settings, input=WRITE, check=False
    )
    assert said.stderr.splitlines()[-1].startswith("ZODB.POSException.ReadOnlyError"), said.stderr
    assert run in pair.runs(pair.secondary)


def test_connections_without_a_certificate_are_refused(pair: Pair) -> None:
    """Even from the machine that may connect."""
    for port in DATABASE:
        said = pair.secondary.run(
            "openssl", "s_client", "-connect", f"{PRIMARY}:{port}", "-verify_return_error",
            "-CAfile", "/etc/nectarcam-dqm/tls/ca.pem", "-ign_eof", check=False,
        )  # fmt: skip
        assert "Verify return code: 0 (ok)" in said.stdout
        assert "certificate required" in said.stderr, said.stderr


@pytest.mark.parametrize("name", OPEN)
def test_the_firewall_closes_all_else(pair: Pair, stranger: Host, name: str) -> None:
    machine, other = sorted(pair.both, key=lambda machine: machine.name != name)
    listening = machine.run("ss", "-Htln").stdout
    ports = {int(line.split()[3].rpartition(":")[2]) for line in listening.splitlines()}
    assert OPEN[name] <= ports and {*DATABASE} & ports, listening
    for address in machine.host.addresses:
        found = {port: stranger.tries(address, port, patience=1) for port in {*ports, 1, 80}}
        assert {port for port, said in found.items() if said != "no answer"} == OPEN[name]
        assert all(found[port] == "open" for port in OPEN[name])
    # from the other machine, and by the addresses that its name has
    reached = {port: other.host.tries(machine.host.address, port) for port in DATABASE}
    expected = {port: "open" if port in ports else "refused" for port in DATABASE}
    assert reached == expected


def test_cloud_init_and_systemd_have_no_complaints(pair: Pair) -> None:
    for machine in pair.both:
        assert machine.wait_for_cloud_init()["errors"] == []
        log = machine.run("cat", "/var/log/cloud-init.log", "/var/log/cloud-init-output.log").stdout
        assert not re.findall(r".*(?:WARNING|ERROR|Traceback).*", log)
        schema = machine.run("cloud-init", "schema", "--system").stdout
        assert "Valid cloud-config" in schema
        assert machine.failed_units() == ""
        assert machine.run("systemctl", "is-system-running").stdout == "running\n"


def test_units_are_accepted_and_may_do_little(pair: Pair) -> None:
    for machine in pair.both:
        units = machine.run(
            "sh", "-c", "ls /etc/systemd/system/ | grep ^dqm-.*\\\\."
        ).stdout.split()
        units = [unit for unit in units if not unit.endswith(".d")]
        assert len(units) > 5
        said = machine.run("systemd-analyze", "verify", *units)
        assert said.stdout + said.stderr == "", machine.name
        services = [unit for unit in units if unit.endswith(".service") and "@" not in unit]
        rated = machine.run("systemd-analyze", "security", "--no-pager", "--json=short").stdout
        exposures = {row["unit"]: float(row["exposure"]) for row in json.loads(rated)}
        running = {unit: exposures[unit] for unit in services if unit in exposures}
        assert len(running) > 1
        assert {unit for unit, value in running.items() if value > EXPOSURE} == set()


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("how", ["reboot", "power failure"])
def test_a_machine_comes_back_by_itself(pair: Pair, browser: Browser, name: str, how: str) -> None:
    [machine] = [machine for machine in pair.both if machine.name == name]
    if how == "reboot":
        machine.reboot()
    else:
        machine.crash()
        machine.boot()
    machine.wait_for_cloud_init()
    eventually(
        lambda: machine.run("systemctl", "is-system-running", check=False).stdout == "running\n",
        f"{name} is up: {machine.failed_units()}",
        PATIENCE,
    )
    run = pair.add_run()
    wait_for_run(pair, run)
    with opened(browser, f"?camera={CAMERA}&run={run}") as page:
        page.wait_for_run(run)
