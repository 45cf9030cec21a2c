"""What the tests of ingestion share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from calling import Call, caller

from dqm_db.settings import DatabaseSettings
from dqm_db.writer import Writer, open_writer


@pytest.fixture
def writer(file_settings: DatabaseSettings) -> Iterator[Writer]:
    """Of a database in a file of its own."""
    with open_writer(file_settings) as writer:
        yield writer


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call ``dqm`` with a database of the test's own, in an empty working folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return caller(
        {"DQM_DB_URL": f"file://{tmp_path}/Data.fs", "DQM_LOCK_DIR": str(tmp_path / "locks")}
    )
