"""``volume.json``: what a server is, and has to do at its next start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqm_db.volume.errors import DamagedVolumeState, DataUnwritable
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import PRIMARY, PROMOTED, REPLICA, RESTORED, VolumeState


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    return Volume(tmp_path_factory.mktemp("volume"))


def test_a_volume_without_state_is_an_ordinary_one(tmp_path: Path) -> None:
    assert VolumeState.read(Volume(tmp_path)) == VolumeState()


@pytest.mark.parametrize(
    "state",
    [
        VolumeState(role=PRIMARY, feeds_at="h:1", begin_epoch=PROMOTED, at=12.5, why="dqm promote"),
        VolumeState(role=REPLICA, source="10.8.0.2:5000", demote=True, at=7.0, why="ünd"),
        VolumeState(begin_epoch=RESTORED, after_epoch=4, set_aside=True, at=3.0),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, state: VolumeState) -> None:
    VolumeState(role=PRIMARY, why="x" * 500).write(Volume(tmp_path))
    state.write(Volume(tmp_path))
    assert VolumeState.read(Volume(tmp_path)) == state
    assert [path.name for path in tmp_path.iterdir()] == ["volume.json"]


def test_a_draft_that_was_not_finished_is_no_state(tmp_path: Path) -> None:
    VolumeState(role=PRIMARY).write(Volume(tmp_path))
    (tmp_path / "volume.json.new").write_text('{"role": "rep')
    assert VolumeState.read(Volume(tmp_path)).role == PRIMARY
    VolumeState(role=REPLICA, source="h:1").write(Volume(tmp_path))
    assert VolumeState.read(Volume(tmp_path)).role == REPLICA


def test_a_state_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataUnwritable, match=r"volume\.json"):
        VolumeState().write(Volume(tmp_path / "absent"))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"role": "king"}',
        '{"role": "replica"}',
        '{"begin_epoch": "bored"}',
        '{"after_epoch": -1}',
        '{"after_epoch": true}',
        '{"after_epoch": 2147483647}',
        '{"set_aside": 1}',
        '{"at": true}',
        '{"at": NaN}',
        '{"quorum": 3}',
        " " * 70_000,
        "[" * 60_000,
    ],
)
def test_what_nobody_wrote_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "volume.json").write_text(text)
    with pytest.raises(DamagedVolumeState, match=r"volume\.json"):
        VolumeState.read(Volume(tmp_path))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = st.dictionaries(st.sampled_from([*VolumeState.__dataclass_fields__, "other"]), JSON)


@given(st.binary() | (JSON | FIELDS).map(lambda value: json.dumps(value).encode()))
def test_no_bytes_do_more_than_be_refused(shared: Volume, data: bytes) -> None:
    shared.state.write_bytes(data)
    try:
        state = VolumeState.read(shared)
    except DamagedVolumeState:
        return
    state.write(shared)
    assert VolumeState.read(shared) == state
