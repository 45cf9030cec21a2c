"""Docker's daemon, client and Compose, without installing them."""

from __future__ import annotations

from pathlib import Path

from tests.deploy.support import host_ways
from tests.deploy.support.cache import cached
from tests.deploy.support.networks import run


def docker_programs() -> Path:
    """Folder of Docker's daemon, client and Compose: packages that are unpacked, not installed.

    Installed, they would start where an init system runs. Compose comes from the next release of
    Debian, since this one has version 1 only.
    """
    return cached("docker", Path(__file__).read_text(), _unpack_docker)


def _unpack_docker(folder: Path) -> None:
    newer = folder / "apt"
    for name in ("lists/partial", "archives/partial", "etc"):
        (newer / name).mkdir(parents=True)
    (newer / "etc/sources.list").write_text(
        f"deb [signed-by={host_ways.KEYRING}] {host_ways.debian_mirror('trixie')} trixie main\n"
    )
    of_newer = [
        f"-oDir::Etc::SourceList={newer}/etc/sources.list",
        "-oDir::Etc::SourceParts=/dev/null",
        f"-oDir::State::Lists={newer}/lists",
        f"-oDir::Cache={newer}",
        "-oAPT::Sandbox::User=root",
    ]
    download = ["-qq", "-oAPT::Sandbox::User=root", "download"]
    run(["apt-get", *download, "docker.io", "containerd", "tini"], cwd=folder, patience=300)
    run(["apt-get", *of_newer, "-qq", "update"], patience=300)
    run(["apt-get", *of_newer, *download, "docker-compose"], cwd=folder, patience=300)
    for package in folder.glob("*.deb"):
        into = newer / "compose" if package.name.startswith("docker-compose_") else folder
        run(["dpkg-deb", "--extract", package, into])
        package.unlink()
    plugin = next((newer / "compose").glob("usr/libexec/docker/cli-plugins/docker-compose"))
    plugin.rename(folder / "docker-compose")
    run(["rm", "-r", newer])
