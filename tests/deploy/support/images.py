"""The image of all roles, built as `make release-image` does, once for each content."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

from tests.deploy.support.cache import cache_folder, cached
from tests.deploy.support.engines import SLIM_IMAGE, Podman
from tests.deploy.support.networks import Host

ROOT = Path(__file__).parents[3]
IMAGE = "localhost/nectarcam-dqm"
ARCHIVE = "nectarcam-dqm-image.tar.gz"


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
    store = cache_folder() / "image-layers"
    if _file_system(store.parent) == "overlayfs":  # none on top of one
        store = Path("/mnt/image-layers")
    for left in ("run", "tmp"):  # of mounts that are gone
        shutil.rmtree(store / left, ignore_errors=True)
    buildah = Podman(store, host)
    if not buildah.has(SLIM_IMAGE):
        buildah.import_root(slim_root, SLIM_IMAGE)
    release = folder / "release"
    options = "ARGS=--isolation chroot --network host --layers --pull-never"
    buildah(
        "release-image", "BUILDER=buildah", f"RELEASE={release}", options,
        program="make", patience=900, cwd=ROOT,
    )  # fmt: skip
    (release / ARCHIVE).rename(folder / ARCHIVE)
    shutil.rmtree(release)


def _file_system(folder: Path) -> str:
    said = subprocess.run(
        ["stat", "--file-system", "--format=%T", folder], capture_output=True, text=True, check=True
    )
    return said.stdout.strip()
