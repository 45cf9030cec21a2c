"""Moves the files of a replica aside, so that it begins anew; nothing is ever deleted."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dqm_db.volume.errors import DataUnwritable
from dqm_db.volume.layout import LOOKED_AT_FOR, Volume
from dqm_db.volume.state import VolumeState

logger = logging.getLogger(__name__)

PREFIX = "aside-"


def aside_directory(volume: Volume, at: float) -> Path:
    """Where the files go that were decided to be set aside at *at* (Unix seconds).

    To the microsecond, so that files of two decisions never get into the same folder.
    """
    return volume.root / f"{PREFIX}{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%S.%fZ}"


def aside_directories(volume: Volume) -> list[Path]:
    """All that was ever set aside in *volume*, oldest first."""
    return sorted(path for path in volume.root.glob(f"{PREFIX}*") if path.is_dir())


def set_aside(volume: Volume, state: VolumeState) -> VolumeState:
    """Move the storage and its blobs aside as *state* wants; the state that is left.

    To be called before the volume is opened. What was moved already, by a start that was cut
    short, is not moved again.

    Raises
    ------
    DataInUse
        A server runs on the volume.
    DataUnwritable
        They cannot be moved.
    """
    if not state.set_aside:
        return state
    aside = aside_directory(volume, state.at)
    try:
        if volume.data_file.parent.exists():
            with volume.locked(wait=LOOKED_AT_FOR):
                _move(volume, aside)
        else:
            _move(volume, aside)
    except OSError as error:
        raise DataUnwritable(
            f"cannot set {error.filename or volume.root} aside as {aside} ({error.strerror})"
        ) from error
    logger.warning("the old files are in %s; nothing here needs them any more", aside)
    state = replace(state, set_aside=False)
    state.write(volume)
    return state


def _move(volume: Volume, aside: Path) -> None:
    aside.mkdir(exist_ok=True)
    for directory in (volume.data_file.parent, volume.blob_dir):
        target = aside / directory.name
        if directory.exists() and not target.exists():
            directory.rename(target)
