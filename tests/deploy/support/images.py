"""The image of all roles, built as `make release-image` does, once for each content."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from tests.deploy.support.cache import cache_folder, cached
from tests.deploy.support.engines import SLIM_IMAGE
from tests.deploy.support.networks import Host, run

ROOT = Path(__file__).parents[3]
IMAGE = "localhost/nectarcam-dqm"
ARCHIVE = "nectarcam-dqm-image.tar.gz"

LARGEST = 6000
"""Megabytes of layers with which one begins anew."""

_BUILDER = """\
#!/bin/sh
exec buildah --root "{store}" --runroot "{run}" "$@"
"""


def image_archive(host: Host, slim_root: Path, release: Path) -> Path:
    """The archive of a release's image, as hosts load it.

    Parameters
    ----------
    host
        Where it is built, with a way out to package registries.
    slim_root
        Root of the base image.
    release
        Folder of the release.
    """
    # not the date in the wheel, which is that of the last commit
    (wheel,) = release.glob("*.whl")
    with zipfile.ZipFile(wheel) as members:
        contents = sorted(f"{member.filename} {member.CRC}" for member in members.infolist())
    recipe = "\n".join([(ROOT / "docker/Dockerfile").read_text(), str(slim_root), *contents])
    return cached("image", recipe, lambda folder: _build(folder, host, slim_root)) / ARCHIVE


def _build(folder: Path, host: Host, slim_root: Path) -> None:
    """Fill *folder* by `make release-image`; layers are kept for the next time."""
    store = cache_folder() / "layers"
    # overlays cannot lie on one
    if _file_system(store.parent) == "overlayfs":
        store = Path("/mnt/layers")
    elif _megabytes(store) > LARGEST:
        shutil.rmtree(store)
    builder = folder / "buildah"
    builder.write_text(_BUILDER.format(store=store, run=f"/mnt/builder-{os.getpid()}"))
    builder.chmod(0o755)
    base = f"localhost/{slim_root.name}"
    if run([builder, "images", "--quiet", base], check=False).returncode != 0:
        _import(builder, slim_root, base)
    run([builder, "tag", base, SLIM_IMAGE])
    release = folder / "release"
    options = "ARGS=--isolation chroot --network host --layers --pull-never"
    run(
        host.within("make", "release-image", f"BUILDER={builder}", f"RELEASE={release}", options),
        patience=900, cwd=ROOT, env=outside_make(),
    )  # fmt: skip
    (release / ARCHIVE).rename(folder / ARCHIVE)
    shutil.rmtree(release)


def _import(builder: Path, root: Path, name: str) -> None:
    """Make an image of a root file system."""
    container = run([builder, "from", "scratch"]).stdout.strip()
    run(["cp", "-a", f"{root}/.", run([builder, "mount", container]).stdout.strip()])
    run([builder, "config", "--cmd", "bash", container])
    run([builder, "commit", "--quiet", "--rm", container, name], patience=300)


def outside_make() -> dict[str, str]:
    """The environment without what the make that runs these tests tells its own commands."""
    of_make = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")
    return {name: value for name, value in os.environ.items() if name not in of_make}


def _megabytes(folder: Path) -> int:
    said = run(["du", "-sm", folder], check=False).stdout
    return int(said.split()[0]) if said else 0


def _file_system(folder: Path) -> str:
    return run(["stat", "--file-system", "--format=%T", folder]).stdout.strip()
