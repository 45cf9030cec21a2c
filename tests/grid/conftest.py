"""One real DIRAC for all tests of this folder, and the source as a user of it has it."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.sources.base import RemoteFile
from ingest.sources.dirac import Dirac
from tests.grid.dirac_server import DiracServer

INSTALL = Path(__file__).with_name("install_dirac.sh")
NO_DIRAC = "no DIRAC on this machine: `make test-grid`, as root on Debian, installs it"


@pytest.fixture(scope="session")
def dirac_environment() -> Path:
    """Folder of DIRAC's environment; without one, tests fail in CI and are skipped elsewhere."""
    found = subprocess.run([INSTALL, "--where"], capture_output=True, text=True, check=True).stdout
    environment = Path(found.strip())
    named = "DQM_TEST_DIRAC_ENV" in os.environ
    if not (environment / ("bin" if named else "whole")).exists():
        if os.environ.get("CI") == "true":
            pytest.fail(NO_DIRAC, pytrace=False)
        pytest.skip(NO_DIRAC)
    return environment


@pytest.fixture(scope="session")
def dirac(
    dirac_environment: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DiracServer]:
    """The running servers; a test that stops one starts it again."""
    with DiracServer(tmp_path_factory.mktemp("dirac"), dirac_environment) as server:
        yield server


@pytest.fixture
def proxy(dirac: DiracServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment variables of a user with a valid proxy of his own, whose file this is."""
    for name, value in dirac.variables.items():
        monkeypatch.setenv(name, value)
    own = tmp_path / "proxy.pem"
    own.write_bytes(Path(dirac.variables["X509_USER_PROXY"]).read_bytes())
    own.chmod(0o600)
    monkeypatch.setenv("X509_USER_PROXY", str(own))
    monkeypatch.setenv("DQM_DIRAC_PYTHON", str(dirac.python))
    return own


@pytest.fixture
def open_dirac(proxy: Path) -> Iterator[Callable[[str], Dirac]]:
    """Opens directories of the catalogue as sources, with the settings of that moment."""
    opened: list[Dirac] = []

    def open_directory(directory: str) -> Dirac:
        opened.append(Dirac(f"dirac:{directory}"))
        return opened[-1]

    yield open_directory
    for source in opened:
        source.close()


@pytest.fixture
def stored(dirac: DiracServer, tmp_path: Path) -> Callable[..., dict[RemoteFile, bytes]]:
    """Stores contents, by name, in a directory; returns its files as they should be listed."""

    def store(directory: str, contents: dict[str, bytes]) -> dict[RemoteFile, bytes]:
        folder = tmp_path / "upload"
        folder.mkdir(exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        dirac.upload(directory, [folder / name for name in contents])
        return {
            RemoteFile(f"{directory}/{name}", name, len(content), None, zlib.adler32(content)): (
                content
            )
            for name, content in contents.items()
        }

    return store
