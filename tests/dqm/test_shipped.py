"""What is shipped beside the program is found, in a checkout and where the wheel is installed."""

from __future__ import annotations

import hashlib
import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

from dqm import shipped as shipping
from dqm.shipped import FOLDERS, ShippedFilesMissing, shipped

ROOT = Path(__file__).parent.parent.parent

NOT_IN_WHEELS = {"docker/.dockerignore", "docker/Dockerfile", "docker/Dockerfile.dockerignore"}


def _installed_names() -> dict[str, Path]:
    """Each shipped file of the checkout: where it is below share/nectarcam-dqm."""
    names = {}
    for name, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            inside = path.relative_to(ROOT).as_posix()
            of_other = any(
                inside.startswith(f"{other}/")
                for other in FOLDERS.values()
                if other != folder and other.startswith(folder)
            )
            if path.is_file() and not of_other and inside not in NOT_IN_WHEELS:
                names[f"{name}/{path.relative_to(ROOT / folder).as_posix()}"] = path
    return names


def test_a_checkout_has_all_folders() -> None:
    assert all(shipped(name) == ROOT / folder for name, folder in FOLDERS.items())


def test_a_missing_folder_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(shipping, "CHECKOUT", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(
        ShippedFilesMissing, match=r"share/nectarcam-dqm/systemd: install nectarcam-dqm"
    ):
        shipped("systemd")


@pytest.mark.system
def test_the_release_installs_all_that_is_shipped(tmp_path: Path) -> None:
    release = tmp_path / "release"
    _run("make", "--no-print-directory", "release", f"VENV={sys.prefix}", f"RELEASE={release}")
    digests = (release / "SHA256SUMS").read_text()
    (wheel,) = release.glob("*.whl")
    assert sorted(path.name for path in release.iterdir()) == sorted(
        [wheel.name, "SHA256SUMS", "requirements.lock"]
    )
    for name in (wheel.name, "requirements.lock"):
        assert f"{hashlib.sha256((release / name).read_bytes()).hexdigest()}  {name}\n" in digests

    environment = tmp_path / "environment"
    _run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin/python"
    into = ["-m", "pip", f"--python={python}", "install", "--quiet", "--no-deps", "--no-index"]
    _run(sys.executable, *into, wheel)
    # the dependencies are those of this environment
    (packages,) = (environment / "lib").glob("python*/site-packages")
    (packages / "here.pth").write_text("\n".join(site.getsitepackages()))

    found = _run(
        python, "-P", "-c",
        "from dqm.shipped import FOLDERS, shipped\nfor name in FOLDERS: print(name, shipped(name))",
    ).splitlines()  # fmt: skip
    share = environment / "share/nectarcam-dqm"
    assert found == [f"{name} {share / name}" for name in FOLDERS]
    for name, path in _installed_names().items():
        assert (share / name).read_bytes() == path.read_bytes()
    assert (share / "requirements.lock").read_bytes() == (ROOT / "requirements.lock").read_bytes()
    assert _run(environment / "bin/dqm", "--version").startswith("dqm, version ")


def _run(*command: str | Path) -> str:
    plain = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
