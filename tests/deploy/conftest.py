"""Machines, networks, images and engines for the tests of deployment.

They need root on Debian, the packages that `make test-deploy` installs, and namespaces of their
own (``tests/deploy/apart``). Where one of these is missing the tests are skipped with the reason,
and fail with CI=true.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling
from xdist.workermanage import WorkerController

from tests.deploy.support import base_systems, images
from tests.deploy.support.docker_programs import docker_programs
from tests.deploy.support.engines import SLIM_IMAGE, DockerEngine, Podman
from tests.deploy.support.fleet import Fleet
from tests.deploy.support.networks import Network, run

PROGRAMS = (
    "buildah", "debootstrap", "ip", "iptables", "nft", "podman", "runc", "slirp4netns", "ssh",
    "systemd-nspawn", "unshare",
)  # fmt: skip
NEEDED = "`make test-deploy`, as root on Debian, installs and does what is needed"
ROOT = Path(__file__).parents[2]
MEASURED = pytest.StashKey[dict[str, float]]()
FLEET = pytest.StashKey[Fleet]()
_numbers = itertools.count(1)
_OF_ENGINES = {"test_compose", "test_compose_two_hosts", "test_containers", "test_engines"}
"""Modules that share the engines: each is started once, and podman has one store."""


def what_is_missing() -> str | None:
    """Why the tests of this folder cannot run here; None when they can."""
    if os.geteuid() != 0:
        return f"not root: {NEEDED}"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"no {', '.join(missing)} here: {NEEDED}"
    if not os.path.ismount("/run/netns") or not os.path.ismount("/mnt"):
        return f"not in namespaces of its own (tests/deploy/apart): {NEEDED}"
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without its needs a test is skipped on a developer's machine and fails in CI."""
    reason = what_is_missing() if item.get_closest_marker("deploy") else None
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows what its machines have to say."""
    report = yield
    fleet = item.session.stash.get(FLEET, None)
    if report.failed and fleet is not None:
        report.sections += fleet.complaints()
    return report


class ByHosts(LoadScopeScheduling):  # type: ignore[misc]
    """Of several processes (``--dist loadscope``) one has a module, or all those with engines."""

    def _split_scope(self, nodeid: str) -> str:
        module = Path(nodeid.partition("::")[0]).stem
        return "engines" if module in _OF_ENGINES else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """That of this folder, when it is the one that was asked for."""
    return ByHosts(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Notes how long something has taken (s), which is told at the end and never judged."""
    return request.config.stash.setdefault(MEASURED, {}).__setitem__


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes hands on what was measured."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["measured"] = session.config.stash.get(MEASURED, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """What another process has measured is told by this one."""
    found = getattr(node, "workeroutput", {}).get("measured", {})  # none after a crash
    node.config.stash.setdefault(MEASURED, {}).update(found)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured."""
    found = terminalreporter.config.stash.get(MEASURED, {})
    if found:
        terminalreporter.section("how long it took")
        for what, seconds in found.items():
            terminalreporter.line(f"{seconds:7.1f} s  {what}")


@pytest.fixture(scope="session")
def base_root() -> Path:
    """Root of a Debian 12 as its cloud images are; never changed."""
    return base_systems.CLOUD.folder()


@pytest.fixture(scope="session")
def slim_root() -> Path:
    """Root of a Debian 12 as the base of container images is; never changed."""
    return base_systems.SLIM.folder()


@contextlib.contextmanager
def open_fleet(session: pytest.Session, base: Path) -> Iterator[Fleet]:
    """A network and its machines, which tell what has happened to them when a test fails."""
    folder = Path("/mnt") / f"fleet-{os.getpid()}-{next(_numbers)}"
    folder.mkdir()
    with Fleet(folder, base) as fleet:
        session.stash[FLEET] = fleet
        yield fleet
    del session.stash[FLEET]
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest, base_root: Path) -> Iterator[Fleet]:
    """A network and its machines, which are off and gone after the module's tests."""
    with open_fleet(request.session, base_root) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def release() -> Path:
    """Folder of a release of this checkout, as `make release` leaves it."""
    folder = Path("/mnt") / f"release-{os.getpid()}"
    run(["make", "release", f"RELEASE={folder}"],
        cwd=ROOT, env=images.outside_make(), patience=300)  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def yard() -> Iterator[Network]:
    """The network of hosts that run containers."""
    folder = Path("/mnt") / f"yard-{os.getpid()}"
    folder.mkdir()
    with Network(folder) as network:
        yield network


@pytest.fixture(scope="session")
def image_archive(yard: Network, slim_root: Path, release: Path) -> Path:
    """The image of all roles, as hosts load it."""
    return images.image_archive(yard.host("builder", way_out=True), slim_root, release)


@pytest.fixture(scope="session")
def podman(yard: Network, slim_root: Path) -> Iterator[Podman]:
    """podman and buildah, which know the base of images."""
    podman = Podman(Path("/mnt") / f"podman-{os.getpid()}", yard.host("podman", way_out=True))
    podman.import_root(slim_root, SLIM_IMAGE)
    yield podman
    podman.close()


@pytest.fixture(scope="session")
def docker_engine(yard: Network) -> Iterator[DockerEngine]:
    """Docker and Compose; no image is loaded yet."""
    folder = Path("/mnt") / f"docker-{os.getpid()}"
    with DockerEngine(folder, yard.host("docker", way_out=True), docker_programs()) as engine:
        yield engine
