"""Catalogue and trends computed anew: right, and never half there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import transaction
from synthetic_runs import MAP, WAVEFORMS, a_run

from dqm_db import catalogue, rebuilding, trends
from dqm_db.content import Kind, Quantity, RunContent
from dqm_db.errors import RunNotFound, WriteFailed
from dqm_db.model import SmallRecord
from dqm_db.reader import Snapshot
from dqm_db.rebuilding import rebuild, stored_quantities
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import checked_root
from dqm_db.writer import Writer, open_writer

CAMERA = "NectarCAMQM"
RUNS = [*range(6001, 6012), 6200, 7000]
"""More than two blocks and two batches, in three chunks of the catalogue."""


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trends, "FOLD", 5)
    monkeypatch.setattr(rebuilding, "BATCH", 3)


@pytest.fixture
def writer(file_settings: DatabaseSettings) -> Iterator[Writer]:
    with open_writer(file_settings) as writer:
        yield writer


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """Another database, to compare with."""
    folder = tmp_path_factory.mktemp("fresh")
    settings = load(DatabaseSettings, db_url=f"file://{folder}/Data.fs", lock_dir=folder)
    with open_writer(settings) as writer:
        yield writer


def statistics(quantities: Sequence[Quantity]) -> dict[str, dict[str, float]]:
    """Those of `a_run`, computed from its quantities."""
    columns = {quantity.name: quantity.columns for quantity in quantities}
    pixels = columns[MAP]["CAMERA-AVERAGE-PHY"]
    return {
        MAP: {"mean": float(np.nanmean(pixels)), "std": float(np.nanstd(pixels))},
        "TRIGGER-STATISTICS": {"All": float(columns["TRIGGER-STATISTICS"]["All"][0])},
    }


def store(writer: Writer, *contents: RunContent) -> None:
    for content in contents:
        writer.store_run(content, None)


def runs_of(camera: str = CAMERA) -> list[RunContent]:
    return [a_run(run, camera) for run in RUNS]


def state(writer: Writer, camera: str = CAMERA) -> dict[str, Any]:
    """Everything that readers see of catalogue and trends."""
    with writer.database.snapshot() as snapshot:
        columns = snapshot.catalogue(camera).columns
        names = snapshot.trend_names(camera)
        return {
            "catalogue": {
                name: values.tobytes() for name, values in columns.items() if name != "checked_at"
            },
            "verdicts": {
                run: (verdict.status, verdict.results)
                for run in snapshot.runs(camera)
                if (verdict := snapshot.verdict(camera, run)) is not None
            },
            "names": names,
            "rows": {run: snapshot.statistics(camera, run) for run in snapshot.runs(camera)},
            "trends": {
                (quantity, name): tuple(
                    values.tobytes() for values in snapshot.trend(camera, quantity, name)
                )
                for quantity, of_quantity in names.items()
                for name in of_quantity
            },
        }


def change(writer: Writer, how: Callable[[Any], None]) -> None:
    """Change the stored camera by hand."""
    manager = transaction.TransactionManager(explicit=True)
    with writer.database.connection(manager) as connection:
        how(checked_root(connection, "").cameras[CAMERA])
        manager.commit()


def damage(camera: Any) -> None:
    """Lost, strange and wrong rows in the catalogue and in tail and blocks of the trends."""
    del camera.catalogue[6200 // 128]
    catalogue.put_row(camera.catalogue, a_run(9999).header, None)
    trends.put_row(camera.trends, 9999, {"GONE": {"mean": 1.0}})
    trends.put_row(camera.trends, 6003, {MAP: {"mean": -1.0}})
    trends.drop_row(camera.trends, 6004)
    trends.drop_row(camera.trends, 7000)


def test_damaged_catalogue_and_trends_become_those_of_a_fresh_database(
    writer: Writer, fresh: Writer
) -> None:
    store(writer, *runs_of())
    store(fresh, *runs_of())
    change(writer, damage)
    assert state(writer) != state(fresh)
    done = list(rebuild(writer, CAMERA, statistics))
    assert [(one.run, one.error) for one in done] == [(run, None) for run in RUNS]
    assert state(writer) == state(fresh)
    # and life goes on as in a fresh one
    for database in (writer, fresh):
        database.delete_run(CAMERA, 6005)
        store(database, a_run(6005, seed=1), a_run(6100), a_run(6101))
    assert state(writer) == state(fresh)


def test_a_destroyed_record_is_replaced(writer: Writer, fresh: Writer) -> None:
    store(writer, *runs_of())
    store(fresh, *runs_of())

    def destroy(camera: Any) -> None:
        camera.catalogue[6001 // 128].columns = b"rubbish"
        camera.trends.names.data = b"rubbish"
        camera.trends.blocks[0].runs = b"rubbish"

    change(writer, destroy)
    list(rebuild(writer, CAMERA, statistics))
    assert state(writer) == state(fresh)


def test_rebuilding_folds_as_storing_does(writer: Writer) -> None:
    store(writer, *runs_of())
    list(rebuild(writer, CAMERA, statistics))
    with writer.database.connection() as connection:
        camera = checked_root(connection, "").cameras[CAMERA]
        assert (len(camera.trends.blocks), len(camera.trends.tail)) == (2, 3)
        assert "rebuild" not in vars(camera)


def test_readers_see_the_old_state_until_the_end(writer: Writer) -> None:
    store(writer, *runs_of())
    change(writer, damage)
    before = state(writer)
    for _ in rebuild(writer, CAMERA, statistics):
        assert state(writer) == before
    assert state(writer) != before


def test_statistics_that_are_new_and_others_that_are_gone(writer: Writer) -> None:
    store(writer, *runs_of())

    def other(quantities: Sequence[Quantity]) -> dict[str, dict[str, float]]:
        (waveforms,) = (q.columns[WAVEFORMS] for q in quantities if q.name == WAVEFORMS)
        return {WAVEFORMS: {"peak": float(waveforms.max())}}

    list(rebuild(writer, CAMERA, other))
    with writer.database.snapshot() as snapshot:
        assert snapshot.trend_names(CAMERA) == {WAVEFORMS: ("peak",)}
        runs, values = snapshot.trend(CAMERA, WAVEFORMS, "peak")
    assert runs.tolist() == RUNS and np.isfinite(values).all()


@pytest.mark.parametrize("after", [0, 1, 5, len(RUNS) - 1])
def test_stopped_it_leaves_everything_as_it_was(writer: Writer, fresh: Writer, after: int) -> None:
    store(writer, *runs_of())
    store(fresh, *runs_of())
    change(writer, damage)
    before = state(writer)
    done: list[object] = []
    for one in rebuild(writer, CAMERA, statistics, stop=lambda: len(done) >= after):
        done.append(one)
    assert len(done) == after and state(writer) == before
    with writer.database.connection() as connection:
        assert "rebuild" not in vars(checked_root(connection, "").cameras[CAMERA])
    list(rebuild(writer, CAMERA, statistics))
    assert state(writer) == state(fresh)


@pytest.mark.parametrize("failing", range(1, 10))
def test_broken_off_it_leaves_everything_as_it_was(
    writer: Writer, fresh: Writer, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """At any of its commits: begin, five times runs, two folds in between; the last is number 9."""
    store(writer, *runs_of())
    store(fresh, *runs_of())
    change(writer, damage)
    before = state(writer)
    commits = 0
    original = writer.commit

    def failing_commit(note: str, how: Callable[..., Any]) -> Any:
        nonlocal commits
        commits += 1
        if commits == failing:
            raise WriteFailed(note)
        return original(note, how)

    with monkeypatch.context() as patched:
        patched.setattr(writer, "commit", failing_commit)
        with pytest.raises(WriteFailed):
            list(rebuild(writer, CAMERA, statistics))
    assert state(writer) == before
    store(writer, a_run(6150))
    store(fresh, a_run(6150))
    list(rebuild(writer, CAMERA, statistics))
    assert commits == failing and state(writer) == state(fresh)


def test_a_damaged_run_is_named_and_the_others_are_rebuilt(writer: Writer) -> None:
    store(writer, *runs_of())
    before = state(writer)

    def spoil(camera: Any) -> None:
        camera.runs[6002].small = SmallRecord(b"rubbish")
        camera.runs[6003].header = b"rubbish"
        camera.runs[6004].contents = b"rubbish"

    change(writer, spoil)
    done = list(rebuild(writer, CAMERA, statistics))
    assert [one.run for one in done if one.error is not None] == [6002, 6003, 6004]
    assert all("cannot be read" in str(one.error) for one in done if one.error is not None)
    with writer.database.snapshot() as snapshot:
        listed = snapshot.catalogue(CAMERA).columns["run"].tolist()
        assert listed == [run for run in RUNS if run != 6003]
        runs, _ = snapshot.trend(CAMERA, MAP, "mean")
        assert runs.tolist() == [run for run in RUNS if run not in (6002, 6003, 6004)]
        for run in runs.tolist():
            assert snapshot.statistics(CAMERA, run) == before["rows"][run]


def test_a_damaged_verdict_is_made_again(writer: Writer) -> None:
    store(writer, *runs_of())

    def spoil(camera: Any) -> None:
        camera.verdicts[6002].data = b"rubbish"

    change(writer, spoil)
    assert not [one for one in rebuild(writer, CAMERA, statistics) if one.error is not None]
    with writer.database.snapshot() as snapshot:
        verdict = snapshot.verdict(CAMERA, 6002)
        assert verdict is not None and verdict.results


def test_statistics_that_cannot_be_computed_are_the_fault_of_one_run(writer: Writer) -> None:
    store(writer, a_run(1), a_run(2))

    def picky(quantities: Sequence[Quantity]) -> dict[str, dict[str, float]]:
        found = statistics(quantities)
        if found[MAP]["mean"] == a_run(1).statistics[MAP]["mean"]:
            raise ZeroDivisionError("no events")
        return found

    first, second = rebuild(writer, CAMERA, picky)
    assert str(first.error) == "no events" and second.error is None


def test_other_cameras_are_left_alone(writer: Writer) -> None:
    store(writer, *runs_of(), a_run(1, "NectarCAM2"))
    before = state(writer, "NectarCAM2")
    list(rebuild(writer, CAMERA, statistics))
    assert state(writer, "NectarCAM2") == before
    with pytest.raises(RunNotFound, match="no camera 'NectarCAM7'"):
        list(rebuild(writer, "NectarCAM7", statistics))


def test_statistics_get_every_quantity_as_it_was_stored(writer: Writer) -> None:
    content = a_run()
    store(writer, content)
    with writer.database.connection() as connection:
        run = checked_root(connection, "").cameras[CAMERA].runs[6001]
        found = stored_quantities(run)
        snapshot = Snapshot(checked_root(connection, ""))
        for quantity, expected in zip(found, content.quantities, strict=True):
            assert (quantity.name, quantity.kind) == (expected.name, expected.kind)
            assert quantity.unavailable == expected.unavailable
            read = snapshot.columns(CAMERA, 6001, quantity.name)
            for columns in (quantity.columns, read):
                assert {k: (v.dtype, v.tobytes()) for k, v in columns.items()} == {
                    k: (v.dtype, v.tobytes()) for k, v in expected.columns.items()
                }
    assert {quantity.kind for quantity in found} > {Kind.PIXEL_MAP, Kind.GENERIC}
