"""What an installed copy has: every data file that is in the packages here."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_data_file_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]
    for package in ("backup", "dqm", "dqm_app", "dqm_db", "ingest"):
        there = {
            path
            for path in (ROOT / package).rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc")
        }
        installed = {
            path for pattern in patterns.get(package, ()) for path in (ROOT / package).glob(pattern)
        }
        assert not there - installed
