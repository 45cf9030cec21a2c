"""Fixtures of the system tests; the classes are in ``processes``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import browsing
import pytest
from processes import DatabaseServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def database_server(tmp_path: Path) -> Iterator[Callable[..., DatabaseServer]]:
    """Makes database servers below ``tmp_path``, not yet started; all are killed at the end."""
    servers: list[DatabaseServer] = []

    def make(name: str, **options: Any) -> DatabaseServer:
        servers.append(DatabaseServer(tmp_path, name, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Headless Chromium, closed before the tests of the next module."""
    with browsing.chromium(chromium) as browser:
        yield browser
