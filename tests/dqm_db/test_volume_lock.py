"""Who waits for the lock of a volume, and where the files go that are set aside under it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from dqm_db.replication.configuration import write_configuration
from dqm_db.settings import ServerSettings
from dqm_db.volume import layout
from dqm_db.volume.aside import aside_directories, set_aside
from dqm_db.volume.errors import DataInUse
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import REPLICA, VolumeState


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path)
    volume.create()
    return volume


def test_what_is_set_aside_within_one_second_stays_apart(volume: Volume) -> None:
    for at, content in ((1e9 + 0.25, b"first"), (1e9 + 0.5, b"second")):
        volume.create()
        volume.data_file.write_bytes(content)
        set_aside(volume, VolumeState(role=REPLICA, source="h:1", set_aside=True, at=at))
    found = aside_directories(volume)
    assert [path.name for path in found] == [
        "aside-20010909T014640.250000Z",
        "aside-20010909T014640.500000Z",
    ]
    assert [(path / "filestorage" / "Data.fs").read_bytes() for path in found] == [
        b"first",
        b"second",
    ]


def test_a_start_waits_for_whoever_just_looks_at_the_lock(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    looking = contextlib.ExitStack()
    monkeypatch.setattr(layout.time, "sleep", lambda time: (waits.append(time), looking.close()))
    looking.enter_context(volume.locked())
    state = VolumeState(role=REPLICA, source="h:1", set_aside=True, at=0.0)
    set_aside(volume, state)  # and the lock was let go while it slept
    volume.create()
    looking.enter_context(volume.locked())
    write_configuration(ServerSettings(data_dir=volume.root), "text")
    assert len(waits) == 2
    with volume.locked(), pytest.raises(DataInUse), volume.locked():
        pytest.fail("locked twice")
    assert len(waits) == 2  # who only looks does not wait


def test_a_lock_that_stays_is_given_up(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def sleep(time: float) -> None:
        nonlocal now
        now += time

    monkeypatch.setattr(layout, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    with volume.locked(), pytest.raises(DataInUse), volume.locked(wait=layout.LOOKED_AT_FOR):
        pytest.fail("locked twice")
    assert now == pytest.approx(layout.LOOKED_AT_FOR, abs=0.1)
