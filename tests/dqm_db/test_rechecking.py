"""Verdicts in the database: made when a run is stored, and again when thresholds change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lost_records import lose_run
from synthetic_runs import a_run

from dqm_db import rechecking
from dqm_db.catalogue import drop_row
from dqm_db.checks import Judge, Status
from dqm_db.content import Provenance, RunContent
from dqm_db.errors import ConfigurationError, RunNotFound
from dqm_db.rechecking import preview, recheck
from dqm_db.storage import checked_root
from dqm_db.writer import Writer, open_writer

CAMERA = "NectarCAMQM"


def with_rate(run: int, rate: float) -> RunContent:
    return replace(a_run(run), statistics={"TRIGGER-EVENTS-ALL": {"rate": rate}})


def strict(folder: Path) -> Path:
    """A folder of thresholds in which 47 Hz are too many from run 6002 on."""
    folder.mkdir(exist_ok=True)
    (folder / "default.toml").write_text(
        "[[valid]]\nfrom_run = 6002\n[valid.limits.trigger-rate]\nbad = [1, 40]\n"
    )
    return folder


@pytest.fixture
def writer(file_settings, monkeypatch) -> Iterator[Writer]:
    monkeypatch.delenv("DQM_THRESHOLDS_DIR", raising=False)
    monkeypatch.setattr(rechecking, "BATCH", 2)
    with open_writer(file_settings) as writer:
        for run in range(6000, 6005):
            writer.store_run(with_rate(run, 47.0), None)
        yield writer


def verdicts(writer: Writer) -> dict[int, Status]:
    """Of all runs; that of the record is that of the catalogue."""
    with writer.database.snapshot() as snapshot:
        columns = snapshot.catalogue(CAMERA).columns
        found = {}
        for at, run in enumerate(columns["run"].tolist()):
            verdict = snapshot.verdict(CAMERA, run)
            assert verdict is not None
            assert verdict.status == columns["verdict"][at]
            assert verdict.checked_at == columns["checked_at"][at]
            found[run] = verdict.status
        return found


def records(writer: Writer) -> dict[int, bytes]:
    """When the record of each verdict was written last."""
    with writer.database.connection() as connection:
        stored = checked_root(connection, "").cameras[CAMERA].verdicts
        for record in stored.values():
            record._p_activate()
        return {run: record._p_serial for run, record in stored.items()}


def test_a_run_is_judged_when_it_is_stored(writer):
    writer.store_run(with_rate(6010, 0.5), None)
    assert verdicts(writer) == {
        **dict.fromkeys(range(6000, 6005), Status.INFO),
        6010: Status.WARNING,
    }
    with writer.database.snapshot() as snapshot:
        verdict = snapshot.verdict(CAMERA, 6010)
        first = verdict.results[0]
        assert (first.check, first.value, first.unit) == ("trigger-rate", 0.5, "Hz")
        assert first.limits["warning"] == (1.0, 10000.0)
        assert snapshot.thresholds(CAMERA).label == verdict.thresholds


def test_a_run_that_is_replaced_is_judged_anew_and_a_deleted_one_is_forgotten(writer):
    writer.store_run(with_rate(6001, 0.01), None, replace=True)
    assert verdicts(writer)[6001] is Status.BAD
    writer.delete_run(CAMERA, 6001)
    assert 6001 not in records(writer)
    writer.store_run(with_rate(6001, 47.0), None)
    assert verdicts(writer)[6001] is Status.INFO


def test_confirming_the_source_of_a_run_keeps_its_verdict(writer):
    before = verdicts(writer)
    other = Provenance("/elsewhere", 1, 2, "r.fits", 3, "f" * 64, 1.9e9, 1)
    writer.confirm_source(CAMERA, 6001, other)
    assert verdicts(writer) == before


def test_recheck_writes_what_changed_and_nothing_else(writer, tmp_path):
    before = records(writer)
    writer.judge = Judge(strict(tmp_path / "limits"))
    rows = list(recheck(writer, CAMERA))
    assert [(row.run, row.changed) for row in rows] == [
        (6000, False), (6001, False), (6002, True), (6003, True), (6004, True),
    ]  # fmt: skip
    ((old, new),) = rows[2].differences
    assert (old.status, new.status) == (Status.OK, Status.BAD)
    assert verdicts(writer) == {
        **dict.fromkeys((6000, 6001), Status.INFO),
        **dict.fromkeys((6002, 6003, 6004), Status.BAD),
    }
    after = records(writer)
    assert [run for run in before if after[run] != before[run]] == [6002, 6003, 6004]
    with writer.database.snapshot() as snapshot:
        bands = snapshot.thresholds(CAMERA).bands(
            "TRIGGER-EVENTS-ALL", "rate", np.array([6001, 6002]), np.full(2, np.nan)
        )
    assert bands[Status.BAD][1].tolist() == [20000.0, 40.0]
    assert not any(row.changed for row in recheck(writer, CAMERA))
    assert records(writer) == after


def test_preview_says_the_same_and_changes_nothing(writer, tmp_path):
    before, judge = records(writer), Judge(strict(tmp_path / "limits"))
    rows = list(preview(writer.database, judge, CAMERA))
    assert [row.run for row in rows if row.changed] == [6002, 6003, 6004]
    assert records(writer) == before
    wanted = list(preview(writer.database, judge, CAMERA, lambda run: run == 6003))
    assert [row.run for row in wanted] == [6003]


def test_it_can_be_stopped_between_transactions(writer, tmp_path):
    writer.judge = Judge(strict(tmp_path / "limits"))
    done = []
    for row in recheck(writer, CAMERA, stop=lambda: len(done) >= 4):
        done.append(row.run)
    assert done == [6000, 6001, 6002, 6003]
    assert verdicts(writer)[6003] is Status.BAD
    assert verdicts(writer)[6004] is Status.INFO


def test_runs_of_an_older_release_are_judged(writer):
    def forget(connection) -> None:
        camera = checked_root(connection, "").cameras[CAMERA]
        del camera.verdicts
        del camera.thresholds

    writer.commit("as an older release left it", forget)
    with writer.database.snapshot() as snapshot:
        assert snapshot.verdict(CAMERA, 6001) is None
        assert snapshot.thresholds(CAMERA) is None
    rows = list(recheck(writer, CAMERA))
    assert all(row.changed and row.before is None for row in rows)
    assert set(verdicts(writer).values()) == {Status.INFO}


def test_folded_statistics_are_judged_too(writer, monkeypatch, tmp_path):
    monkeypatch.setattr("dqm_db.trends.FOLD", 2)
    writer.store_run(with_rate(6005, 47.0), None)
    writer.judge = Judge(strict(tmp_path / "limits"))
    assert sum(row.changed for row in recheck(writer, CAMERA)) == 4


def test_what_could_not_be_judged_is_given_the_same_reason(writer):
    """Whatever other statistics a quantity has: of many runs only what is checked is read."""
    rest = {"TRIGGER-STATISTICS": {"Pedestal": 3.0}, "TRIGGER-EVENTS-ALL": {"rate": 47.0}}
    writer.store_run(replace(a_run(6010), statistics=rest), None)
    with writer.database.snapshot() as snapshot:
        results = {result.check: result for result in snapshot.verdict(CAMERA, 6010).results}
    assert results["wrong-times"].status is Status.UNKNOWN
    assert not any(row.changed for row in recheck(writer, CAMERA))


def test_a_damaged_run_is_named_and_the_others_are_judged(writer, tmp_path):
    def spoil(connection) -> None:
        camera = checked_root(connection, "").cameras[CAMERA]
        camera.runs[6002].header = b"rubbish"
        camera.verdicts[6003].data = b"rubbish"

    writer.commit("spoil", spoil)
    writer.judge = Judge(strict(tmp_path / "limits"))
    found = {row.run: row for row in recheck(writer, CAMERA)}
    assert [run for run, row in found.items() if row.error is not None] == [6002]
    assert found[6002].after is None and not found[6002].changed
    assert found[6003].before is None and found[6003].changed
    with writer.database.snapshot() as snapshot:
        statuses = {run: snapshot.verdict(CAMERA, run).status for run in range(6001, 6005)}
    assert statuses == {
        6001: Status.INFO, 6002: Status.INFO, 6003: Status.BAD, 6004: Status.BAD,
    }  # fmt: skip


def test_a_lost_run_is_named_and_the_others_are_judged(writer, tmp_path):
    lose_run(writer, CAMERA, 6002)
    writer.judge = Judge(strict(tmp_path / "limits"))
    found = {row.run: row for row in recheck(writer, CAMERA)}
    assert [run for run, row in found.items() if row.error is not None] == [6002]
    assert found[6003].changed


def test_a_preview_goes_on_when_runs_are_deleted_meanwhile(writer, tmp_path):
    rows = preview(writer.database, Judge(strict(tmp_path / "limits")), CAMERA)
    assert [next(rows).run, next(rows).run] == [6000, 6001]
    writer.delete_run(CAMERA, 6002)
    assert next(rows).run == 6003
    for run in (6000, 6001, 6003, 6004):
        writer.delete_run(CAMERA, run)
    assert list(rows) == []


def test_the_source_of_a_run_with_a_damaged_verdict_is_confirmed(writer):
    def spoil(connection) -> None:
        checked_root(connection, "").cameras[CAMERA].verdicts[6001].data = b"rubbish"

    writer.commit("spoil", spoil)
    other = Provenance("/elsewhere", 1, 2, "r.fits", 3, "f" * 64, 1.9e9, 1)
    writer.confirm_source(CAMERA, 6001, other)
    with writer.database.snapshot() as snapshot:
        assert snapshot.header(CAMERA, 6001).provenance == other
    assert [row.run for row in recheck(writer, CAMERA) if row.changed] == [6001]
    assert set(verdicts(writer).values()) == {Status.INFO}


def test_verdicts_are_not_written_into_rows_of_other_runs(writer, tmp_path):
    """Of a catalogue that lacks rows; `dqm rebuild-trends` makes them again."""

    def spoil(connection) -> None:
        drop_row(checked_root(connection, "").cameras[CAMERA].catalogue, 6002)
        drop_row(checked_root(connection, "").cameras[CAMERA].catalogue, 6004)

    writer.commit("spoil", spoil)
    writer.judge = Judge(strict(tmp_path / "limits"))
    assert [row.run for row in recheck(writer, CAMERA) if row.changed] == [6002, 6003, 6004]
    assert verdicts(writer) == {6000: Status.INFO, 6001: Status.INFO, 6003: Status.BAD}


def test_no_such_camera(writer):
    with pytest.raises(RunNotFound):
        list(recheck(writer, "NectarCAM99"))


def test_bad_thresholds_keep_everything_from_being_stored(file_settings, monkeypatch, tmp_path):
    (tmp_path / "default.toml").write_text("[[valid]]\nnonsense = 1\n")
    monkeypatch.setenv("DQM_THRESHOLDS_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="nonsense"), open_writer(file_settings):
        pass
