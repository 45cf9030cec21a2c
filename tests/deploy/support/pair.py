"""Primary and secondary as an admin makes them: two machines, and one line of certificates."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.deploy.support.fleet import Fleet
from tests.deploy.support.machines import Machine
from tests.deploy.support.networks import run
from tests.deploy.support.visits import ADMIN, PASSWORD, typed_at_a_terminal

PRIMARY, SECONDARY = "dqm-rw", "dqm-ro"
SITE = "dqm.example.org"
CAMERA = "NectarCAMQM"
OWNER = "nectarcam"
RELEASE = "/srv/release"
RESULTS = "/srv/results"
COMMANDS = Path(sys.executable).parent

_OF_THIS_MACHINE = {
    "etc/containers/containers.conf": f"""\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
default_sysctls = []
pids_limit = 0
volumes = ["{RESULTS}:{RESULTS}:ro"]
[engine]
cgroup_manager = "cgroupfs"
""",
    "etc/systemd/user/dqm-.service.d/test.conf": """\
[Service]
Environment=DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent
""",
}

CERTIFICATES = (
    f"ssh nectarcam@{SECONDARY} dqm certs request | "
    f"ssh nectarcam@{PRIMARY} sudo dqm certs sign --dir /etc/nectarcam-dqm/ca {SECONDARY} {SITE} | "
    f"ssh nectarcam@{SECONDARY} dqm certs install"
)
FIRST_USER = f"ssh -t {OWNER}@{SECONDARY} sudo dqm user add {ADMIN} --role admin"


class Pair:
    """The two machines, set up with the shipped user-data, and what is known of them.

    Parameters
    ----------
    fleet
        Their network.
    release
        Folder of the release that they install.
    folder
        Gets the results files, of which the puller finds those that `add_run` gives it.
    flavour
        ``venv`` or ``containers``.

    Attributes
    ----------
    started : float
        When they were switched on, by `time.monotonic`.
    """

    def __init__(self, fleet: Fleet, release: Path, folder: Path, flavour: str) -> None:
        self.fleet = fleet
        self._in_containers = flavour == "containers"
        self._results = folder / "results"
        self._results.mkdir()
        self._waiting = self._simulate(folder / "waiting")
        hosts = {name: fleet.host(name) for name in (PRIMARY, SECONDARY)}
        binds = {RELEASE: release, RESULTS: self._results}
        texts = {
            name: self._user_data(role, release, flavour)
            for role, name in (("rw", PRIMARY), ("ro", SECONDARY))
        }
        self.primary, self.secondary = (
            fleet.machine(hosts[name], texts[name], binds=binds) for name in hosts
        )
        if self._in_containers:
            for machine in self.both:
                _limit_containers(machine)
        self.started = time.monotonic()
        for machine in self.both:
            machine.boot()

    @property
    def both(self) -> tuple[Machine, Machine]:
        return self.primary, self.secondary

    def _user_data(self, role: str, release: Path, flavour: str) -> str:
        """As `dqm cloud-init` makes it at the admin's desk."""
        digest = hashlib.sha256((release / "SHA256SUMS").read_bytes()).hexdigest()
        password = run(["openssl", "passwd", "-6", "-salt", "salt", "not used"]).stdout.strip()
        return run(
            [
                COMMANDS / "dqm", "cloud-init", "--role", role, "--with", flavour,
                "--ssh-key", self.fleet.ssh_key.with_suffix(".pub"), "--password-hash", password,
                "--primary", PRIMARY, "--secondary", SECONDARY, "--server-name", SITE,
                "--release", f"file://{RELEASE}", "--release-sha256", digest,
                *(["--source", RESULTS] if role == "rw" else []),
            ]
        ).stdout  # fmt: skip

    def _simulate(self, folder: Path) -> list[Path]:
        """Results files of one night, in the order of their runs."""
        run(
            [
                COMMANDS / "dqm", "simulate", "--out", folder, "--runs", "8", "--camera", CAMERA,
                "--condition", "healthy", "--events", "60", "--until", "2026-03-01",
            ],
            patience=300,
        )  # fmt: skip
        return sorted(folder.glob("*.tar.gz"))

    def accounts_folder(self) -> str:
        """Where the dashboard has its accounts, as the secondary sees it."""
        if not self._in_containers:
            return "/var/lib/nectarcam-dqm"
        ask = ("podman", "volume", "inspect", "--format", "'{{.Mountpoint}}'", "dqm-dashboard")
        return self.fleet.type(shlex.join(["ssh", f"{OWNER}@{SECONDARY}", *ask])).stdout.strip()

    def log(self, machine: Machine, unit: str) -> str:
        """What a service of *machine*, and systemd of it, have said since the last boot."""
        if self._in_containers:
            return machine.journal(f"_SYSTEMD_USER_UNIT={unit}", "+", f"USER_UNIT={unit}")
        return machine.journal(f"--unit={unit}")

    def python(self) -> list[str]:
        """Command that runs, as root on either machine, a program with the settings of the host."""
        program = "/opt/nectarcam-dqm/bin/python"
        if self._in_containers:
            return ["dqm", program, "-"]
        settings = f"set -a; . /etc/nectarcam-dqm/dqm.env; exec {program} -"
        return ["runuser", "-u", OWNER, "--", "bash", "-c", settings]

    def unit_folders(self) -> dict[str | None, str]:
        """Where units are, of the system and of the user whose containers they run."""
        folders: dict[str | None, str] = {None: "/etc/systemd/system"}
        if self._in_containers:
            folders[OWNER] = f"/home/{OWNER}/.config/systemd/user"
        return folders

    def give_certificates(self) -> None:
        """Type the line that gives the secondary its certificate."""
        self.fleet.type(CERTIFICATES)

    def add_user(self, line: str = FIRST_USER) -> str:
        """Type the line that lets somebody log in, and the password; gives what is shown."""
        command = self.fleet.desk.within(*self.fleet.shell(line))
        prompts = ("Password:", "Repeat for confirmation:")
        return typed_at_a_terminal(command, dict.fromkeys(prompts, PASSWORD))

    def greeting(self) -> str:
        """What who logs in on the secondary is told."""
        return self.fleet.type(f"echo exit | ssh -tt nectarcam@{SECONDARY}").stdout

    def wait_until_set_up(self) -> None:
        """Return when cloud-init is done on both; its errors are failures."""
        for machine in self.both:
            status = machine.wait_for_cloud_init()
            assert (status["status"], status["errors"]) == ("done", []), (machine.name, status)

    def add_run(self) -> int:
        """Have a new results file, and the puller fetch it now; its timer would within minutes."""
        file = self._waiting.pop(0)
        file.rename(self._results / file.name)
        self.start(self.primary, "dqm-ingest.service")
        found = re.search(r"Run(\d+)", file.name)
        assert found is not None
        return int(found[1])

    def start(self, machine: Machine, service: str) -> None:
        """Have *service* of *machine* do its work; returns when it is done."""
        # containers run as services of the user
        systemctl = ["systemctl", "--user"] if self._in_containers else ["sudo", "systemctl"]
        self.fleet.ssh(machine, *systemctl, "start", service, patience=120)

    def runs(self, machine: Machine) -> set[int]:
        """Numbers of the runs that the server of *machine* serves; none when it holds nothing."""
        said = self.dqm(machine, "runs", "--json", check=False)
        assert said.returncode in (0, 69), said.stderr
        return {json.loads(line)["run"] for line in said.stdout.splitlines()}

    def dqm(
        self, machine: Machine, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run ``dqm ARGUMENTS`` as the admin does on *machine*, with the server of that machine."""
        url = "DQM_DB_URL=zeo://127.0.0.1:8100"
        return self.fleet.ssh(machine, "sudo", url, "dqm", *arguments, check=check)


def _limit_containers(machine: Machine) -> None:
    """What differs from a host of one's own: the limits of the machine that runs the tests.

    It may also have cgroups of both versions, in which podman 4.3 would move itself out of its unit
    by a bus. And its containers see the folder of results, so that no server need have them.
    """
    for name, text in _OF_THIS_MACHINE.items():
        path = machine.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def with_image(release: Path, archive: Path, folder: Path) -> Path:
    """In *folder* what `make release-image` leaves: a release with the archive of its image."""
    shutil.copytree(release, folder)
    shutil.copy(archive, folder)
    line = run(["sha256sum", archive.name], cwd=folder).stdout
    with (folder / "SHA256SUMS").open("a") as sums:
        sums.write(line)
    return folder
