"""What docs/api.md tells to type, typed where nothing but the client is installed."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import site
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from astropy.io.votable import parse
from baskets import CAMERA, SAMPLES, Site, fill
from packaging.requirements import Requirement
from processes import LOOPBACK, eventually

from dqm_app.accounts.tokens import Scope
from dqm_client import Client

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
ADDRESS = "https://dqm.example.org"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.DOTALL)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("dashboard")
    fill(folder, copies=[6310])
    with Site(folder) as made:
        eventually(lambda: made.client("expert").cameras() == [CAMERA], "the database is there")
        yield made


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the client and what it says it needs, which is taken from ours."""
    folder = tmp_path_factory.mktemp("notebook")
    assert any("$ pip install ./dqm_client\n" in block for block in blocks("console"))
    shutil.copytree(ROOT / "dqm_client", folder / "dqm_client")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
        "--wheel-dir", folder, folder / "dqm_client")  # fmt: skip
    run(sys.executable, "-m", "venv", "--without-pip", folder / "environment")
    found = folder / "environment" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    run(*pip, f"--python={found}", "install", "--quiet", "--no-deps", "--no-index", wheel)
    (packages,) = (folder / "environment" / "lib").glob("python*/site-packages")
    (metadata,) = packages.glob("*.dist-info")
    for name in needed(importlib.metadata.Distribution.at(metadata)):
        link(importlib.metadata.distribution(name), packages)
    return found


def needed(one: importlib.metadata.Distribution) -> set[str]:
    """All that *one* requires, and that in turn."""
    left, found = list(one.requires or ()), set()
    while left:
        requirement = Requirement(left.pop())
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate()):
            continue
        found.add(requirement.name)
        left += importlib.metadata.requires(requirement.name) or ()
    return found


def link(one: importlib.metadata.Distribution, packages: Path) -> None:
    """Into another environment."""
    tops = {file.parts[0] for file in one.files or () if file.parts[0] not in ("..", "__pycache__")}
    (ours,) = {Path(str(one.locate_file(""))).resolve()} & {
        Path(place).resolve() for place in site.getsitepackages()
    }
    for top in tops:
        (packages / top).symlink_to(ours / top)


def run(*command: str | Path, **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_three_lines_give_a_table(dashboard: Site, python: Path, tmp_path: Path) -> None:
    [lines] = blocks("python")
    statements = [line for line in lines.splitlines() if line]
    assert len(statements) == 3
    token = dashboard.token("viewer", [Scope.READ])
    typed = lines.replace(ADDRESS, f"http://{LOOPBACK}:{dashboard.port}").replace("dqm_…", token)
    typed = typed.replace('["warning", "bad"]', "None").replace("2026-11-01", "2020-01-01")
    look = """
from importlib.util import find_spec
from astropy.table import Table
assert isinstance(runs, Table)
assert not [name for name in ("bokeh", "ZODB", "dqm_app", "dqm_db", "tornado") if find_spec(name)]
print(*runs["run"], runs["start"].unit)
"""
    said = run(python, "-P", "-c", typed + look, cwd=tmp_path)
    assert said.split() == ["8003", "8001", "6310", "6001", "s"]


def test_the_commands_do_what_they_say(dashboard: Site, tmp_path: Path) -> None:
    token = dashboard.token("expert", [Scope.READ, Scope.DOWNLOAD])
    lines = [line[2:] for block in blocks("console") for line in block.splitlines()]
    lines = [line for line in lines if line.startswith("curl ")]
    assert len(lines) == 3
    for line in lines:
        here = line.replace(ADDRESS, f"http://{LOOPBACK}:{dashboard.port}")
        run("bash", "-e", "-c", here.replace("curl", "curl --fail-with-body -sS"), cwd=tmp_path,
            env={"DQM_TOKEN": token, "PATH": "/usr/bin:/bin"})  # fmt: skip
    assert len(parse(tmp_path / "runs.vot").get_first_table().to_table()) == 4
    original = (SAMPLES / f"{CAMERA}_DQM_Run6001.tar.gz").read_bytes()
    assert (tmp_path / "run6310.tar.gz").read_bytes() == original


def test_all_methods_are_in_the_list() -> None:
    listed = set(re.findall(r"`(\w+)\(", PAGE.partition("## By HTTP")[0])) & set(dir(Client))
    methods = {name for name in dir(Client) if name[0] != "_" and callable(getattr(Client, name))}
    assert listed == methods


def test_client_and_server_are_of_one_version() -> None:
    version = {
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]["version"]
        for folder in (".", "dqm_client")
    }
    assert len(version) == 1
