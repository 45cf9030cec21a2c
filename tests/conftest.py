"""What all tests share: fixtures, and the rule for a machine without a browser."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dqm_db.settings import DatabaseSettings, load

# A busy machine must not fail a test: nothing here is judged by the clock.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("untimed")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NO_BROWSER = "no Chromium on this machine: install it (Debian: apt-get install chromium)"


def find_browser() -> str | None:
    """Path of the Chromium that the browser tests drive, None when there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without a browser its tests are skipped on a developer's machine and fail in CI."""
    if item.get_closest_marker("browser") and find_browser() is None:
        if os.environ.get("CI") == "true":
            pytest.fail(NO_BROWSER, pytrace=False)
        pytest.skip(NO_BROWSER)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Skipped browser tests are said aloud, not only counted."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if NO_BROWSER in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section("BROWSER TESTS DID NOT RUN", sep="!", red=True)
        terminalreporter.line(f"{len(skipped)} tests: {NO_BROWSER}", red=True)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser; only for tests marked `browser`, which do not run without one."""
    found = find_browser()
    assert found is not None, "mark the test with `browser`"
    return found


@pytest.fixture
def samples() -> Path:
    """Folder of the sample tarballs, as production packs them."""
    return Path(__file__).parent / "data"


@pytest.fixture
def file_settings(tmp_path: Path) -> DatabaseSettings:
    """Settings of a database in a file of its own."""
    return load(DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs", lock_dir=tmp_path / "locks")


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
