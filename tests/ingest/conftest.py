"""What the tests of the commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from calling import Call, caller


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call ``dqm`` with a database of the test's own, in an empty working folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return caller(
        {"DQM_DB_URL": f"file://{tmp_path}/Data.fs", "DQM_LOCK_DIR": str(tmp_path / "locks")}
    )
