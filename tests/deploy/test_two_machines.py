"""Two machines that install themselves from the shipped user-data, with nothing done by hand.

A run that comes to the primary is seen through nginx on the secondary, by who has logged in there.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shlex
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import browsing
import pytest
from playwright.sync_api import Browser
from processes import eventually
from test_docs_commands import console_blocks

from tests.deploy.conftest import open_fleet
from tests.deploy.support.fleet import Fleet
from tests.deploy.support.networks import Host
from tests.deploy.support.pair import CAMERA, OWNER, PRIMARY, SECONDARY, SITE, Pair, with_image
from tests.deploy.support.visits import ADMIN, LoggedInPage, Visitor

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
def greetings() -> dict[str, str]:
    """What the secondary has told who logged in there."""
    return {}


@pytest.fixture(scope="module")
def pair(
    request: pytest.FixtureRequest,
    fleet: Fleet,
    flavour: str,
    release: Path,
    tmp_path_factory: pytest.TempPathFactory,
    measured: Callable[[str, float], None],
    greetings: dict[str, str],
) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    if flavour == "containers":
        archive = request.getfixturevalue("image_archive")
        release = with_image(release, archive, folder / "release")
    pair = Pair(fleet, release, folder, flavour)
    pair.wait_until_set_up()
    measured(f"both machines set up ({flavour})", time.monotonic() - pair.started)
    greetings["new"] = pair.greeting()
    pair.give_certificates()
    assert f"{ADMIN} may log in as admin" in pair.add_user()
    greetings["ready"] = pair.greeting()
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


def opened(browser: Browser, query: str = "") -> LoggedInPage:
    return LoggedInPage(browser, f"https://{SITE}/{query}")


@pytest.fixture(scope="module")
def authority(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the primary's CA, at the desk."""
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    file.write_text(
        pair.fleet.ssh(pair.primary, "sudo", "cat", "/etc/nectarcam-dqm/ca/ca.pem").stdout
    )
    return file


@pytest.fixture
def at_the_desk(pair: Pair, authority: Path, tmp_path: Path) -> Callable[..., Visitor]:
    """Makes a visitor at the desk that has no cookies yet; takes more options for curl."""
    number = itertools.count()
    place = ("--resolve", f"{SITE}:443:{pair.secondary.host.address}", "--cacert", authority)

    def visitor(*options: str) -> Visitor:
        jar = tmp_path / f"cookies-{next(number)}"
        return Visitor(pair.fleet.desk.run, f"https://{SITE}", jar, *place, *options)

    return visitor


def token(pair: Pair, *scopes: str) -> tuple[str, str]:
    """Options for curl with a token of the admin, made on the secondary."""
    options = [part for scope in scopes for part in ("--scope", scope)]
    made = pair.dqm(pair.secondary, "user", "token", ADMIN, "--label", "test", *options)
    return "--header", f"Authorization: Bearer {made.stdout.strip()}"


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


def test_who_logs_in_on_the_secondary_is_told_what_is_missing(
    pair: Pair, greetings: dict[str, str]
) -> None:
    assert "It waits for its certificate." in greetings["new"]
    assert "ssh -t nectarcam@dqm-ro sudo dqm user add anna --role admin" in greetings["new"]
    assert "replica and dashboard of" in greetings["ready"]
    assert not re.search("certificate|user add", greetings["ready"])


def test_nobody_sees_anything_without_login(
    pair: Pair, at_the_desk: Callable[..., Visitor]
) -> None:
    [run, *_] = pair.runs(pair.secondary)
    visitor = at_the_desk()
    for page in (f"/dqm_app?camera={CAMERA}&run={run}", "/account"):
        assert visitor.ask(page).asks_for_login, page
    statuses = {
        path: visitor.ask(path).status
        for path in ("/api/v1/cameras", "/api/v1/openapi.json", "/downloads",
                     f"/originals/{CAMERA}/{run}", "/dqm_app/ws", "/metrics", "/alive")
    }  # fmt: skip
    # nginx knows no monitor at the desk, and Bokeh asks for a websocket first
    assert statuses.pop("/metrics") == 403
    assert statuses.pop("/alive") == 200
    assert set(statuses.values()) <= {400, 401, 403}, statuses
    assert all(statuses[path] == 401 for path in statuses if "ws" not in path), statuses


def test_a_user_logs_in_and_out(pair: Pair, at_the_desk: Callable[..., Visitor]) -> None:
    [run, *_] = pair.runs(pair.secondary)
    visitor = at_the_desk()
    wanted = f"/dqm_app?camera={CAMERA}&run={run}&view=maps"
    away = visitor.ask(wanted).headers["location"]
    form = visitor.ask(away)
    assert wanted.replace("&", "&amp;") in form.text
    wrong = visitor.login(password="five words that are wrong")
    assert (wrong.status, "do not fit" in wrong.text) == (403, True)
    right = visitor.login(then=wanted)
    assert (right.status, right.headers["location"]) == (303, wanted)
    [session] = [cookie for cookie in right.cookies if "session" in cookie]
    assert session.startswith("__Host-") and "; Secure" in session and "; HttpOnly" in session
    assert ADMIN in visitor.ask(wanted).text
    assert run in visitor.ask(f"/api/v1/cameras/{CAMERA}/runs").json()["data"]["run"]
    assert visitor.form("/account", "/logout").status == 303
    assert visitor.ask(wanted).asks_for_login
    # limits and log are of the browser's address, and not of nginx
    said = pair.dqm(pair.secondary, "user", "log", ADMIN).stdout.splitlines()
    desk = pair.fleet.desk.address
    told = [line.split("  ")[1:4] for line in said if f"  {desk}" in line]
    events = ("login failed", "login", "logout")
    assert told[-3:] == [[ADMIN, event, desk] for event in events], said
    assert "127.0.0.1" not in "".join(said)


def test_a_program_takes_files_away(
    pair: Pair, at_the_desk: Callable[..., Visitor], tmp_path: Path
) -> None:
    [run, *_] = pair.runs(pair.secondary)
    reader = at_the_desk(*token(pair, "read"))
    assert run in reader.ask(f"/api/v1/cameras/{CAMERA}/runs").json()["data"]["run"]
    assert reader.ask("/downloads").status == 403  # its token is not for that
    taker = at_the_desk(*token(pair, "download"))
    original, whole = tmp_path / "original", tmp_path / "basket.tar"
    assert taker.fetch(f"/originals/{CAMERA}/{run}", original) == 200
    body = json.dumps({"camera": CAMERA, "runs": [run]})
    begun = taker.ask("/downloads", "--header", "Content-Type: application/json", "--data", body)
    basket = f"/downloads/{begun.json()['id']}"
    eventually(lambda: taker.ask(basket).json()["state"] == "done", "the basket is built", PATIENCE)
    assert taker.fetch(f"{basket}/file", whole) == 200
    assert reader.ask(f"{basket}/file").status == 403
    with tarfile.open(whole) as archive:
        stored = [archive.extractfile(member) for member in archive if member.size]
        digests = [hashlib.sha256(file.read()).hexdigest() for file in stored if file]
    assert hashlib.sha256(original.read_bytes()).hexdigest() in digests
    # interrupted after 1000 bytes, it goes on where it stopped
    part = tmp_path / "part"
    part.write_bytes(whole.read_bytes()[:1000])
    assert taker.fetch(f"{basket}/file", part, "--continue-at", "1000") == 206
    assert part.read_bytes() == whole.read_bytes()


def test_accounts_belong_to_the_dashboard(pair: Pair) -> None:
    folder = pair.accounts_folder()
    said = pair.secondary.run("find", folder, "-printf", "%U %m %P\n").stdout
    owner = pair.secondary.run("id", "-u", "nectarcam").stdout.strip()
    assert {line.split()[0] for line in said.splitlines()} == {owner}, said
    assert f"{owner} 600 accounts.sqlite\n" in said
    journal = pair.log(pair.secondary, "dqm-dashboard.service")
    assert "No entries" not in journal
    assert not re.search("Traceback|Permission|not permitted|cannot", journal), journal


def test_accounts_are_copied(pair: Pair) -> None:
    pair.start(pair.secondary, "dqm-accounts-backup.service")
    names = pair.secondary.run("ls", "/backup/dqm").stdout.split()
    assert "accounts.sqlite" in names, pair.log(pair.secondary, "dqm-accounts-backup.service")


def test_monitors_and_commands_ask_as_before(pair: Pair) -> None:
    machine = pair.secondary
    ask = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}")
    # as the document says to Prometheus
    [(add, make)] = [block for block in console_blocks("docs/monitoring.md")
                     if "user token" in block[-1]]  # fmt: skip
    assert "monitor may log in as admin" in pair.add_user(f"ssh -t {OWNER}@{SECONDARY} sudo {add}")
    made = pair.fleet.ssh(machine, "sudo", *shlex.split(make)).stdout.strip()
    shown = ("--header", f"Authorization: Bearer {made}")
    for options, status in (((), "401"), (token(pair, "read"), "403"), (shown, "200")):
        said = machine.run(*ask, *options, "http://127.0.0.1:5006/metrics").stdout
        assert said == status
    for path in ("health", "ready"):
        assert machine.run(*ask, f"http://127.0.0.1:5006/{path}").stdout == "200"
    for role in ("dashboard", "server", "site"):
        assert pair.dqm(machine, "healthcheck", role).returncode == 0
    told = json.loads(pair.dqm(machine, "status", "--json", check=False).stdout)
    assert [server["answers"] for server in told["servers"]] == [True, True]


def test_the_certificate_of_the_site_is_of_the_primarys_authority(
    pair: Pair, authority: Path
) -> None:
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
    said = pair.secondary.run(*pair.python(), input=WRITE, check=False)
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
        services = []
        number = 0
        for user, folder in pair.unit_folders().items():
            found = machine.run("sh", "-c", f"ls {folder} | grep '^dqm-.*[.]'").stdout.split()
            units = [unit for unit in found if not unit.endswith(".d")]
            whose = "--system" if user is None else "--user"
            said = machine.run("systemd-analyze", whose, "verify", *units, user=user)
            assert said.stdout + said.stderr == "", machine.name
            number += len(units)
            services += [unit for unit in units if unit.endswith(".service") and "@" not in unit]
        assert number > 5
        rated = machine.run("systemd-analyze", "security", "--no-pager", "--json=short").stdout
        exposures = {row["unit"]: float(row["exposure"]) for row in json.loads(rated)}
        running = {unit: exposures[unit] for unit in services if unit in exposures}
        # containers are under the user's systemd, and can do little (test_rootless_podman.py)
        assert len(running) > 1 or len(pair.unit_folders()) > 1
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
    if how == "reboot":
        before = machine.run("journalctl", "--boot=-1", "--no-pager").stdout
        assert not re.findall(r".*(?:Stopping timed out|'stop-.*' timed out).*", before)
    eventually(
        lambda: machine.run("systemctl", "is-system-running", check=False).stdout == "running\n",
        f"{name} is up: {machine.failed_units()}",
        PATIENCE,
    )
    run = pair.add_run()
    wait_for_run(pair, run)
    with opened(browser, f"?camera={CAMERA}&run={run}") as page:
        page.wait_for_run(run)
