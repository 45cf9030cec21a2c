"""The program in an environment of Debian's Python, for machines that need not install it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.support.base_systems import CLOUD
from tests.deploy.support.cache import cached
from tests.deploy.support.networks import run

PLACE = "opt/nectarcam-dqm"
PIP = [f"/{PLACE}/bin/python", "-m", "pip", "install", "--quiet"]


class Installation:
    """What a release installs on a host.

    Parameters
    ----------
    release
        Folder with the wheel and ``requirements.lock``.
    folder
        Empty folder, in memory.

    Attributes
    ----------
    program : Path
        What machines see as ``/opt/nectarcam-dqm``.
    """

    def __init__(self, release: Path, folder: Path) -> None:
        self._folder = folder
        recipe = Path(__file__).read_text() + (release / "requirements.lock").read_text()
        made = cached("environment", recipe, lambda part: _make_environment(part, release))
        self.program = folder / "program"
        self.program.mkdir()
        _mount_over(made / PLACE, folder / "own", self.program)
        with _system(folder / "system", release, self.program) as root:
            wheels = [f"/mnt/{path.name}" for path in release.glob("*.whl")]
            run(["chroot", root, *PIP, "--no-deps", "--no-index", *wheels])

    def close(self) -> None:
        run(["umount", self.program])
        shutil.rmtree(self._folder)


def _make_environment(part: Path, release: Path) -> None:
    """All but the program itself, below *part*."""
    program = part / PLACE
    program.mkdir(parents=True)
    work = part / "work"
    work.mkdir()
    with _system(work, release, program) as root:
        install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends"
        run(["chroot", root, "sh", "-euc", f"apt-get update -qq; {install} python3-venv"],
            patience=300)  # fmt: skip
        run(["chroot", root, "python3", "-m", "venv", f"/{PLACE}"])
        lock = ["--require-hashes", "--requirement", "/mnt/requirements.lock"]
        run(["chroot", root, *PIP, *lock], patience=600)
    shutil.rmtree(work)


@contextlib.contextmanager
def _system(folder: Path, release: Path, program: Path) -> Iterator[Path]:
    """Root of a machine's system with the release in ``/mnt``; only what is in *program* stays."""
    root = folder / "root"
    root.mkdir(parents=True)
    _mount_over(CLOUD.folder(), folder / "changes", root)
    with contextlib.ExitStack() as mounts:
        mounts.callback(run, ["umount", "--recursive", root])
        run(["mount", "-t", "proc", "proc", root / "proc"])
        (root / "etc/resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
        (root / PLACE).mkdir()
        run(["mount", "--bind", program, root / PLACE])
        run(["mount", "--bind", release, root / "mnt"])
        yield root


def _mount_over(lower: Path, changes: Path, place: Path) -> None:
    above, work = changes / "above", changes / "work"
    above.mkdir(parents=True)
    work.mkdir()
    layers = f"lowerdir={lower},upperdir={above},workdir={work}"
    run(["mount", "-t", "overlay", "overlay", "-o", layers, place])
