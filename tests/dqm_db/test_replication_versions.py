"""Releases that were not verified, and what importing the package costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dqm_db.errors import ConfigurationError
from dqm_db.replication.versions import VERIFIED, require_verified, unverified

GOOD = {name: f"{releases[0]}.7" for name, releases in VERIFIED.items()}


def test_what_is_installed_was_verified() -> None:
    assert unverified() == []
    assert require_verified() == []


def test_bug_fix_releases_are_accepted() -> None:
    assert require_verified(installed=GOOD.__getitem__) == []


@pytest.mark.parametrize("name", sorted(VERIFIED))
@pytest.mark.parametrize("version", ["5.5", "9.0.1", "6", "60.4", "6.40"])
def test_others_are_refused_unless_told(name: str, version: str) -> None:
    installed = (GOOD | {name: version}).__getitem__
    with pytest.raises(ConfigurationError, match="DQM_UNVERIFIED_VERSIONS") as refused:
        require_verified(installed=installed)
    assert f"{name} {version} (verified: {VERIFIED[name][0]})" in str(refused.value)
    assert refused.value.exit_code == 78
    [accepted] = require_verified(unless=True, installed=installed)
    assert accepted.startswith(f"{name} {version}")


@pytest.mark.parametrize("module", ["dqm_db.replication", "dqm_db.replication.commands", "dqm.cli"])
def test_importing_loads_no_server(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print([name for name in ('twisted', 'ZEO', 'ZODB', 'zc.zrs') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
