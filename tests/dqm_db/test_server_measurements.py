"""What a server measures in the background, and that nothing of it can break an answer."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NoReturn

import pytest

from dqm_db.replication import server_state
from dqm_db.replication.server_state import Measurements, Once, ServerState, bytes_below
from dqm_db.volume.layout import Volume


def measured(measurements: Measurements) -> None:
    """Wait for the measurement that is under way."""
    with measurements._busy:
        pass


def test_blobs_and_what_was_set_aside_are_counted(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    for place, size in (("blobstorage/0x00/a.blob", 5), ("aside-20261126T000000Z/old", 7)):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * size)
    measurements = Measurements(volume)
    measurements.refresh()
    measured(measurements)
    assert (measurements.last.blob_bytes, measurements.last.aside_bytes) == (5, 7)
    (tmp_path / "blobstorage" / "new").write_bytes(b"x")
    measurements.refresh()  # not again within a moment
    measured(measurements)
    assert measurements.last.blob_bytes == 5
    assert bytes_below(tmp_path / "nothing") == 0


def test_a_part_that_fails_is_none_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    once = Once()

    def fails() -> NoReturn:
        raise OSError("broken")

    assert [once.part("disk", fails) for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    assert once.part("disk", lambda: 1) == 1
    once.part("disk", fails)
    assert len(caplog.records) == 2  # it broke again


def test_an_unusable_certificate_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DQM_TLS_CERT", str(tmp_path / "nothing.pem"))
    told = ServerState(object()).answer(0)
    assert told["certificate_expires"] is told["authority_expires"] is None
    assert told["host"]
    assert "certificate_expires" in caplog.text


def test_no_thread_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(_thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    measurements = Measurements(Volume(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(server_state.threading.Thread, "start", start)
        measurements.refresh()
    assert "cannot measure" in caplog.text
    measurements.refresh()
    measured(measurements)
    assert measurements.last.blob_bytes == 0


def test_a_storage_that_is_none_of_ours_is_told_of_as_well() -> None:
    told = ServerState(object()).answer(3)
    assert (told["role"], told["clients"], told["replicas"]) == ("primary", 3, [])
    assert told["file_bytes"] is told["disk_free"] is told["packed"] is told["epoch"] is None
