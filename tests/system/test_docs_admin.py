"""The way through for admins, `docs/admin.md`: few commands, and each one does what it says.

What machines make of them is tested on machines, see ``tests/deploy/test_two_machines.py``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.support.pair import CERTIFICATES, FIRST_USER, PRIMARY, SECONDARY, SITE
from tests.system.test_docs_commands import console_blocks

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
PAGE = "docs/admin.md"
MOST_COMMANDS = 8
MACHINES = 2
"""Made by a command of the cloud each, or on its page."""
NAMES = {
    "dqm-rw.example.org": PRIMARY,
    "dqm-ro.example.org": SECONDARY,
    "dqm.example.org": SITE,
}


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """Everything that is typed at the desk, in order."""
    return [line for block in console_blocks(PAGE) for line in block]


def test_an_admin_types_few_commands(lines: list[str]) -> None:
    assert 0 < len(lines) + MACHINES <= MOST_COMMANDS


def test_the_release_is_made_and_used_by_the_commands(lines: list[str], tmp_path: Path) -> None:
    """In a clone, as at a desk; what is published elsewhere stays here."""
    [clone, make, publish, *rest] = lines
    address = clone.split()[2]
    assert (make, publish.split()[0]) == ("make release", "rsync")
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    key = home / ".ssh" / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    desk = tmp_path / "nectarcam-dqm"
    subprocess.run(["git", "clone", "-q", ROOT, desk], check=True)
    assert address.endswith(f"/{desk.name}.git")
    (desk / ".venv").symlink_to(ROOT / ".venv")
    release = desk / "dist" / "release"
    release.mkdir(parents=True)
    (release / "SHA256SUMS").write_text(f"{'0' * 64}  nectarcam_dqm-0.1.0-py3-none-any.whl\n")
    [line] = [line for line in rest if "dqm cloud-init " in line]
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=desk,
        env={"HOME": str(home), "PATH": shutil.os.environ["PATH"]},
        input="four words at once\n" * 2,
        start_new_session=True,  # no terminal to ask for the password
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for role in ("rw", "ro"):
        made = yaml.safe_load((desk / f"{role}.yml").read_text())
        assert key.with_suffix(".pub").read_text().split()[1] in str(made["users"])
        assert "@" not in re.sub(r"\S+@\S+", "", str(made.get("hostname")))


@pytest.mark.parametrize(
    ("words", "typed"), [("certs sign", CERTIFICATES), ("dqm user add", FIRST_USER)]
)
def test_what_machines_are_given_is_what_is_typed(lines: list[str], words: str, typed: str) -> None:
    [line] = [line for line in lines if words in line]
    for name, used in NAMES.items():
        line = re.sub(rf"(?<![\w.-]){re.escape(name)}", used, line)
    assert line == typed
