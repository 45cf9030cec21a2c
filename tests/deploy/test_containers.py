"""The image of all roles, as podman runs it."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import eventually

from tests.deploy.support.engines import Podman
from tests.deploy.support.images import IMAGE

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

SAMPLES = Path(__file__).parents[1] / "data"
OWNER = 10001
LARGEST = 400_000_000
"""Bytes of the image."""
LOCKED_DOWN = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
PRIVATE = "--env=DQM_NETWORK_IS_PRIVATE=true"
COMPILERS = ("as", "c++", "cc", "clang", "g++", "gcc", "ld", "make", "pip", "pip3")


@pytest.fixture(scope="module")
def engine(podman: Podman, image_archive: Path) -> Iterator[Podman]:
    """podman with the image, and a network whose containers know each other's names."""
    load = f"zcat {shlex.quote(str(image_archive))} | podman load --quiet"
    podman("-euo", "pipefail", "-c", load, program="bash", patience=300)
    podman("network", "create", "--internal", "database")
    yield podman
    podman("rm", "--all", "--force", "--time=0")
    podman("network", "rm", "database")
    podman("volume", "prune", "--force")


class Roles:
    """Containers of all roles, and how long each took until it was healthy."""

    def __init__(self, engine: Podman) -> None:
        self.engine = engine
        self.seconds: dict[str, float] = {}

    def start(self, role: str, *arguments: str) -> None:
        """Start ``dqm-ROLE``, and wait until its health check says that it is healthy."""
        name = f"dqm-{role}"
        began = time.monotonic()
        self.engine(
            "run", "--detach", f"--name={name}", "--network=database", *LOCKED_DOWN, *arguments
        )

        def is_healthy() -> bool:
            return self.engine("healthcheck", "run", name, check=False).returncode == 0

        eventually(is_healthy, f"{name} is healthy", patience=60)
        self.seconds[role] = time.monotonic() - began

    def dqm(self, role: str, *arguments: str, check: bool = True) -> str:
        """What `dqm ARGUMENTS` prints in a container."""
        done = self.engine("exec", f"dqm-{role}", "dqm", *arguments, check=check)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def roles(engine: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """Primary, replica and dashboard, and a puller of a folder with results files."""
    roles = Roles(engine)
    incoming = tmp_path_factory.mktemp("incoming")
    for sample in SAMPLES.glob("*.tar.gz"):
        (incoming / sample.name).write_bytes(sample.read_bytes())
    incoming.chmod(0o755)
    listen = "--env=DQM_ZEO_ADDRESS=0.0.0.0:8100"
    roles.start("primary", "--volume=primary:/data", listen, PRIVATE,
                "--env=DQM_ZRS_ADDRESS=0.0.0.0:5000", IMAGE, "primary")  # fmt: skip
    roles.start("replica", "--volume=replica:/data", listen, PRIVATE,
                "--env=DQM_PRIMARY=dqm-primary:5000", IMAGE, "replica")  # fmt: skip
    roles.start("dashboard", "--env=DQM_DB_URL=zeo://dqm-replica:8100",
                "--env=DQM_SERVE_ADDRESS=0.0.0.0", "--env=DQM_AUTH=none", IMAGE, "serve",
                "--use-xheaders")  # fmt: skip
    roles.start("ingest", f"--volume={incoming}:/incoming:ro", "--env=DQM_INGEST_SOURCES=/incoming",
                "--env=DQM_DB_URL=zeo://dqm-primary:8100", "--env=DQM_DB_WAIT=30",
                IMAGE, "repeat", "--every", "1h", "dqm", "ingest")  # fmt: skip
    yield roles
    for role in roles.seconds:
        engine("rm", "--force", "--time=10", f"dqm-{role}", check=False)


def test_it_is_small_and_unprivileged(engine: Podman) -> None:
    (told,) = json.loads(engine("image", "inspect", IMAGE).stdout)
    print(f"image: {told['Size'] / 1e6:.0f} MB")
    assert told["Size"] <= LARGEST
    assert told["Config"]["User"] == f"{OWNER}:{OWNER}"
    assert "/data" in told["Config"]["Volumes"]
    assert {"8100/tcp", "5000/tcp", "5006/tcp"} <= set(told["Config"]["ExposedPorts"])
    assert told["Labels"]["org.opencontainers.image.version"]
    assert told["Healthcheck"]["Test"] == ["CMD", "dqm", "healthcheck"]


def test_nothing_in_it_compiles_and_nobody_writes(engine: Podman) -> None:
    script = (
        f"for name in {' '.join(COMPILERS)}; do ! command -v $name || exit 3; done; id -u; "
        "! touch /opt/nectarcam-dqm/x 2>/dev/null || exit 4; ! touch /x 2>/dev/null || exit 5; "
        "grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; "
        "find / -xdev -user nectarcam -not -path '/proc/*' 2>/dev/null | sort"
    )
    said = engine("run", "--rm", "--network=none", *LOCKED_DOWN, IMAGE, "sh", "-c", script).stdout
    assert said.split() == [
        str(OWNER), "CapEff:", "0000000000000000", "NoNewPrivs:", "1",
        "/backup", "/data", "/var/lib/nectarcam-dqm",
    ]  # fmt: skip


def test_every_module_of_ours_is_there_and_compiled(engine: Podman) -> None:
    script = (
        "import pkgutil, importlib, sys\n"
        "for package in ('backup', 'dqm', 'dqm_app', 'dqm_db', 'ingest'):\n"
        "    path = importlib.import_module(package).__path__\n"
        "    for module in pkgutil.walk_packages(path, package + '.'):\n"
        "        if module.name not in ('dqm.__main__', 'dqm_app.main', 'dqm_app.app_hooks'):\n"
        "            importlib.import_module(module.name)\n"
        "import XRootD.client, aiohttp, webdav4.fsspec, PIL.Image, bokeh.io\n"
        "for module in sys.modules.values():\n"
        "    cached = getattr(module, '__cached__', None)\n"
        "    if cached and '/opt/' in cached: open(cached).close()\n"
    )
    engine("run", "--rm", "--network=none", *LOCKED_DOWN, IMAGE,
           "/opt/nectarcam-dqm/bin/python", "-c", script)  # fmt: skip


def test_roles_are_soon_healthy(roles: Roles) -> None:
    print("seconds until healthy:", {role: round(took, 1) for role, took in roles.seconds.items()})
    assert set(roles.seconds) == {"primary", "replica", "dashboard", "ingest"}
    assert roles.dqm("replica", "healthcheck") == "replica answers at 0.0.0.0:8100\n"
    done = roles.engine("run", "--rm", "--network=database", *LOCKED_DOWN, "--env=DQM_WEB_LISTEN=1",
                        IMAGE, "healthcheck", "site", check=False)  # fmt: skip
    assert done.returncode == 69


def test_what_is_pulled_arrives_at_the_replica(roles: Roles) -> None:
    def runs(role: str) -> set[int]:
        said = roles.engine("exec", f"dqm-{role}", "dqm", "runs", "--json", check=False).stdout
        return {json.loads(line)["run"] for line in said.splitlines()}

    expected = {int(re.findall(r"Run(\d+)", path.name)[0]) for path in SAMPLES.glob("*.tar.gz")}
    eventually(lambda: runs("primary") == expected, "all runs are stored", patience=120)
    eventually(lambda: runs("replica") == expected, "all runs are replicated", patience=60)


def test_nobody_is_left_behind(roles: Roles) -> None:
    """Also a process whose parent is gone is reaped, and a stop ends everything in order."""
    engine = roles.engine
    engine("exec", "dqm-dashboard", "sh", "-c", "(sleep 0.2 & exec true) & exec true")

    def zombies() -> list[str]:
        script = "cat /proc/[0-9]*/status 2>/dev/null"
        said = engine("exec", "dqm-dashboard", "sh", "-c", script, check=False).stdout
        return re.findall(r"^State:\s+Z.*", said, re.MULTILINE)

    eventually(lambda: not zombies(), "orphans are reaped")
    engine("run", "--detach", "--name=dqm-stopped", "--network=database", *LOCKED_DOWN,
           "--env=DQM_DB_URL=zeo://dqm-replica:8100", "--env=DQM_AUTH=none",
           IMAGE, "serve")  # fmt: skip
    eventually(
        lambda: engine("healthcheck", "run", "dqm-stopped", check=False).returncode == 0, "health"
    )
    engine("stop", "--time=30", "dqm-stopped")
    state = json.loads(engine("inspect", "dqm-stopped").stdout)[0]["State"]
    assert (state["ExitCode"], state["Running"]) == (0, False)
    engine("rm", "dqm-stopped")


def test_sockets_of_systemd_are_for_the_first_process(engine: Podman) -> None:
    """No program stands between the engine and the server, else LISTEN_PID would not be its own."""
    first = "tr '\\0' ' ' </proc/1/cmdline"
    shown = engine("run", "--rm", "--network=none", *LOCKED_DOWN, IMAGE, "sh", "-c", first).stdout
    assert shown.startswith("tini -- sh -c ")
    handed = engine("run", "--rm", "--network=none", *LOCKED_DOWN, "--env=LISTEN_FDS=1",
                    IMAGE, "sh", "-c", first).stdout  # fmt: skip
    assert handed.startswith("sh -c ")


def literal(page: str, heading: str) -> list[str]:
    """The commands of the one `sh` block of a document's section, each in one line."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return block.replace("\\\n", " ").splitlines()


def test_the_literal_tar_commands_back_up_and_restore(
    roles: Roles, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """While the primary is being written to; the copy is repaired as docs/backup.md says."""
    engine = roles.engine
    back_up, restore = literal("backup.md", "With tar")
    folder = tmp_path_factory.mktemp("here")
    engine("-euc", f"chown {OWNER} {shlex.quote(str(folder))}", program="sh")

    def size() -> int:
        told = engine("exec", "dqm-primary", "stat", "--format=%s", "/data/filestorage/Data.fs")
        return int(told.stdout)

    def stored() -> set[int]:
        said = roles.dqm("primary", "runs", "--json", check=False).splitlines()
        return {json.loads(line)["run"] for line in said if line.startswith("{")}

    eventually(lambda: stored() == {6001, 8001, 8003}, "all runs are stored", patience=120)
    # each of these commits anew what is computed from the runs
    writing = "until test -e /tmp/enough; do DQM_LOCK_WAIT=60 dqm rebuild-trends || break; done"
    before = size()
    engine("exec", "--detach", "dqm-ingest", "sh", "-c", f"{writing}; touch /tmp/ended")
    eventually(lambda: size() > before, "the primary is written to")
    try:
        done = engine(
            "-c", back_up.replace("docker ", "podman "), program="bash", cwd=folder, check=False
        )
        assert done.returncode in (0, 1), done.stderr  # 1: files changed meanwhile
        copied = size()
        eventually(lambda: size() > copied, "it was written to until now")
    finally:
        engine("exec", "dqm-ingest", "touch", "/tmp/enough")
    ended = "until test -e /tmp/ended; do sleep 0.1; done"
    engine("exec", "dqm-ingest", "sh", "-c", ended)
    assert (folder / "zodb.tar.gz").stat().st_size > 100_000

    engine("run", "--detach", "--name=dqm-restored", "--volume=restored:/data", *LOCKED_DOWN,
           "--network=database", IMAGE, "sh", "-c", "sleep infinity")  # fmt: skip
    into = restore.replace("docker ", "podman ")
    engine("-c", into, program="bash", cwd=folder)
    listed = engine("exec", "dqm-restored", "ls", "/data").stdout.split()
    assert {"filestorage", "blobstorage"} <= set(listed)
    engine("exec", "dqm-restored", "dqm", "backup", "repair", "/data")
    again = engine("exec", "dqm-restored", "dqm", "backup", "repair", "/data")
    assert again.returncode == 0
    engine("rm", "--force", "--time=0", "dqm-restored")

    try:
        roles.start("again", "--volume=restored:/data", "--env=DQM_DB_WAIT=30", IMAGE, "primary")
        rows = [json.loads(row) for row in roles.dqm("again", "runs", "--json").splitlines()]
        assert {row["run"] for row in rows} == {6001, 8001, 8003}
        for row in rows:
            out = f"/tmp/{row['run']}.fits"
            roles.dqm("again", "get", str(row["run"]), "--output", out)
    finally:
        engine("rm", "--force", "--time=10", "dqm-again", check=False)
        roles.seconds.pop("again", None)
