"""What takes minutes to make is made once, and kept outside the checkout."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

KEPT = 3


def cache_folder() -> Path:
    """Where everything is kept, as `make test-grid` does; safe to delete."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "nectarcam-dqm"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cached(name: str, recipe: str, build: Callable[[Path], None]) -> Path:
    """The folder that *build* has filled, now or earlier.

    Parameters
    ----------
    name
        What it is, for people; begins the folder's name.
    recipe
        All that decides what is in it: another recipe gives another folder. Beside it, the `KEPT`
        last used ones of others stay.
    build
        Fills an empty folder. When it fails nothing stays. Others that want the same wait for it.
    """
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    folder = cache_folder() / f"{name}-{key}"
    with FileLock(cache_folder() / f"{name}.lock"):
        if not folder.exists():
            others = [path for path in cache_folder().glob(f"{name}-{'?' * 12}") if path.is_dir()]
            # others may be in use by another test run, of an earlier or later checkout
            unused = sorted(others, key=lambda path: path.stat().st_mtime)[:-KEPT]
            for old in [*unused, *cache_folder().glob(f"{name}-*.part")]:
                remove_tree(old)
            print(f"making {folder}, once", file=sys.__stderr__, flush=True)
            part = folder.with_name(folder.name + ".part")
            part.mkdir()
            try:
                build(part)
            except BaseException:
                remove_tree(part)
                raise
            part.rename(folder)
        os.utime(folder)
    return folder


def remove_tree(folder: Path) -> None:
    """Remove *folder*, but not what is mounted in it: that is unmounted first."""
    inside = f"{folder}/"
    mounted = [
        line.split()[1]
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if line.split()[1].startswith(inside)
    ]
    for path in reversed(mounted):
        subprocess.run(["umount", path], check=True)
    shutil.rmtree(folder)
