"""Values of single pixels over all runs: what is read equals what the runs hold, at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lost_records import lose_run
from synthetic_runs import MAP, a_run

from dqm_db import pixel_folding, pixel_history
from dqm_db.content import N_MODULES, N_PIXELS, Kind, Quantity, RunContent
from dqm_db.errors import WriteFailed
from dqm_db.model import Camera
from dqm_db.reader import Snapshot
from dqm_db.rebuilding import rebuild
from dqm_db.storage import checked_root
from dqm_db.writer import Writer, open_writer

CAMERA = "NectarCAMQM"
SECOND = "CHARGE-INTEGRATION-PED-ALL-STD-HIGH-GAIN"
PIXELS = (0, 3, 34, 35, 1854)
SIZE = 4


def with_maps(run: int, seed: int = 0, *, pedestals: bool = True) -> RunContent:
    """A small run with one or two maps whose values tell run, seed and pixel."""
    pixel = np.arange(N_PIXELS, dtype=float)
    values = run + seed / 8 + pixel / 4096
    values[35] = np.nan
    maps = [Quantity(MAP, Kind.PIXEL_MAP, {"x": values})]
    if pedestals:
        maps.append(Quantity(SECOND, Kind.PIXEL_MAP, {"x": -values}))
    content = a_run(run, seed=seed)
    return replace(content, quantities=tuple(maps), statistics={MAP: {"mean": float(run)}})


@pytest.fixture
def writer(file_settings, monkeypatch) -> Iterator[Writer]:
    monkeypatch.setattr(pixel_folding.fold, "__defaults__", (SIZE,))
    monkeypatch.setattr(pixel_folding.needs_folding, "__defaults__", (SIZE,))
    with open_writer(file_settings) as writer:
        yield writer


def check(writer: Writer, runs: dict[int, RunContent]) -> None:
    """All pixels of all quantities are those of *runs*, in float32."""
    with writer.database.snapshot() as snapshot:
        found, values = snapshot.pixel_histories(CAMERA, [MAP, SECOND], PIXELS)
        one, alone = snapshot.pixel_history(CAMERA, SECOND, PIXELS[:2])
    assert found.tolist() == one.tolist() == sorted(runs)
    for name in (MAP, SECOND):
        expected = np.full((len(PIXELS), len(runs)), np.nan, np.float32)
        for column, run in enumerate(sorted(runs)):
            for quantity in runs[run].quantities:
                if quantity.name == name:
                    (own,) = quantity.columns.values()
                    expected[:, column] = own[list(PIXELS)]
        np.testing.assert_array_equal(values[name], expected)
        if name == SECOND:
            np.testing.assert_array_equal(alone, expected[:2])


def camera_of(connection: Any) -> Camera:
    return checked_root(connection, "").cameras[CAMERA]


def blocks(writer: Writer) -> int:
    with writer.database.connection() as connection:
        history = camera_of(connection).pixels
        return 0 if history is None else len(history.blocks)


STEPS = st.lists(
    st.tuples(st.sampled_from(["store", "delete"]), st.integers(1, 9), st.booleans()),
    min_size=1,
    max_size=24,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_stored_replaced_deleted_and_late_runs(writer, steps):
    with writer.database.snapshot() as snapshot:
        left = snapshot.runs(CAMERA) if CAMERA in snapshot.cameras() else []
    for run in left:
        writer.delete_run(CAMERA, run)
    runs: dict[int, RunContent] = {}
    for seed, (what, run, pedestals) in enumerate(steps):
        if what == "store":
            runs[run] = with_maps(run, seed, pedestals=pedestals)
            writer.store_run(runs[run], None, replace=True)
        elif run in runs:
            writer.delete_run(CAMERA, run)
            del runs[run]
        if runs:
            check(writer, runs)


def test_full_blocks_are_folded(writer):
    runs = {run: with_maps(run, pedestals=run != 3) for run in range(1, 11)}
    for content in runs.values():
        writer.store_run(content, None)
    assert blocks(writer) == 2
    check(writer, runs)
    with writer.database.snapshot() as snapshot:
        assert snapshot.pixel_history_names(CAMERA) == (MAP, SECOND)
    with writer.database.connection() as connection:
        history = camera_of(connection).pixels
        assert list(history.tail) == [9, 10]
        assert history.growing is None


def test_no_transaction_of_a_fold_is_large(writer, monkeypatch):
    monkeypatch.setattr(pixel_folding, "TRANSACTION_BYTES", 1)
    changes = []
    commit = writer.commit
    monkeypatch.setattr(
        writer, "commit", lambda note, c: (changes.append(note), commit(note, c))[1]
    )
    runs = {run: with_maps(run) for run in range(1, SIZE + 1)}
    for content in runs.values():
        writer.store_run(content, None)
    # what to fold, begin, one per module, show; and looking whether there is more
    assert changes.count(f"fold pixels of {CAMERA}") == 2 + N_MODULES + 1 + 1
    check(writer, runs)


@pytest.mark.parametrize("survived", range(4))
def test_a_fold_that_was_killed_is_done_again(writer, monkeypatch, survived, caplog):
    commit, count = writer.commit, [0]

    def dies(note: str, change: Any) -> Any:
        if note.startswith("fold pixels"):
            count[0] += 1
            if count[0] > survived:
                raise WriteFailed("killed")
        return commit(note, change)

    runs = {run: with_maps(run) for run in range(1, SIZE + 1)}
    with monkeypatch.context() as patch:
        patch.setattr(writer, "commit", dies)
        for content in runs.values():
            writer.store_run(content, None)
    assert "killed" in caplog.text
    assert blocks(writer) == 0
    check(writer, runs)
    runs[9] = with_maps(9)
    writer.store_run(runs[9], None)
    assert blocks(writer) == 1
    check(writer, runs)


def test_runs_that_change_while_they_are_folded(writer, monkeypatch):
    runs = {run: with_maps(run) for run in (1, 2, 3)}
    for content in runs.values():
        writer.store_run(content, None)
    commit, done = writer.commit, []

    def interfering(note: str, change: Any) -> Any:
        if note.startswith("fold pixels"):
            done.append(note)
            if len(done) == 3:  # after what is folded was read
                runs[2] = with_maps(2, seed=7)
                del runs[3]
                with monkeypatch.context() as patch:
                    patch.setattr(writer, "fold", lambda camera: None)
                    patch.setattr(writer, "commit", commit)
                    writer.store_run(runs[2], None, replace=True)
                    writer.delete_run(CAMERA, 3)
        return commit(note, change)

    monkeypatch.setattr(writer, "commit", interfering)
    runs[4] = with_maps(4)
    writer.store_run(runs[4], None)
    assert blocks(writer) == 1
    check(writer, runs)


def test_a_database_without_histories_gets_one(writer):
    runs = {run: with_maps(run) for run in range(1, 7)}
    for content in runs.values():
        writer.store_run(content, None)

    def forget(connection: Any) -> None:
        del camera_of(connection).pixels

    writer.commit("as an older release left it", forget)
    check(writer, runs)
    runs[8] = with_maps(8)
    writer.store_run(runs[8], None)
    assert blocks(writer) == 1
    check(writer, runs)


def test_rebuilding_makes_it_again(writer):
    runs = {run: with_maps(run) for run in range(1, 7)}
    for content in runs.values():
        writer.store_run(content, None)

    def damage(connection: Any) -> None:
        history = camera_of(connection).pixels
        history.tail.clear()
        history.blocks.clear()

    writer.commit("damage", damage)
    assert [r.error for r in rebuild(writer, CAMERA, lambda quantities: {})] == [None] * 6
    assert blocks(writer) == 1
    check(writer, runs)


def test_a_damaged_run_is_left_out_and_the_others_are_read(writer, caplog):
    for run in (1, 2):
        writer.store_run(with_maps(run), None)

    def damage(connection: Any) -> None:
        camera_of(connection).runs[1].maps.values = b"\x93no"

    writer.commit("damage", damage)
    with writer.database.snapshot() as snapshot:
        runs, values = snapshot.pixel_history(CAMERA, MAP, [0])
    assert runs.tolist() == [1, 2]
    assert np.isnan(values[0, 0]) and values[0, 1] == 2
    assert "left out" in caplog.text


def test_runs_without_maps_are_folded_as_well(writer):
    runs = {run: replace(with_maps(run), quantities=()) for run in range(1, SIZE + 2)}
    for content in runs.values():
        writer.store_run(content, None)
    assert blocks(writer) == 1
    check(writer, runs)
    with writer.database.snapshot() as snapshot:
        assert snapshot.pixel_history_names(CAMERA) == ()


def test_a_lost_run_is_left_out_and_the_others_are_read_and_folded(writer, caplog):
    runs = {run: with_maps(run) for run in range(1, SIZE)}
    for content in runs.values():
        writer.store_run(content, None)
    lose_run(writer, CAMERA, 2)
    runs[2] = replace(runs[2], quantities=())
    check(writer, runs)
    with writer.database.snapshot() as snapshot:
        assert snapshot.pixel_history_names(CAMERA) == (MAP, SECOND)
    assert "run 2 is left out" in caplog.text
    runs[SIZE] = with_maps(SIZE)
    writer.store_run(runs[SIZE], None)
    assert blocks(writer) == 1
    check(writer, runs)


def test_maps_of_a_long_tail_are_not_asked_for_all_at_once(writer, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(pixel_history, "FOLD", 2)
    monkeypatch.setattr(pixel_history, "prefetch", lambda _, found: asked.append(len(list(found))))
    runs = {run: with_maps(run) for run in range(1, SIZE)}
    for content in runs.values():
        writer.store_run(content, None)
    with writer.database.snapshot() as snapshot:
        snapshot.pixel_history(CAMERA, MAP, [0])
    assert sum(asked) >= len(runs)
    assert max(asked) == 2
    check(writer, runs)


@pytest.mark.parametrize("pixel", [-1, N_PIXELS])
def test_no_such_pixel(writer, pixel):
    writer.store_run(with_maps(1), None)
    with (
        writer.database.snapshot() as snapshot,
        pytest.raises(ValueError, match=f"no pixel {pixel}"),
    ):
        snapshot.pixel_history(CAMERA, MAP, [pixel])


def test_nothing_is_asked_for(writer):
    writer.store_run(with_maps(1), None)
    with writer.database.snapshot() as snapshot:
        assert isinstance(snapshot, Snapshot)
        runs, values = snapshot.pixel_histories(CAMERA, [], [1])
        assert runs.tolist() == [1] and values == {}
        _, values = snapshot.pixel_histories(CAMERA, ["NO-SUCH"], [1])
        assert np.isnan(values["NO-SUCH"]).all()
