"""Databases from before there were verdicts and histories: read, and brought up to date."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import MAP, a_run

from dqm_db import pixel_folding
from dqm_db.catalogue import NOT_JUDGED
from dqm_db.checks import Judge
from dqm_db.content import N_PIXELS
from dqm_db.rebuilding import rebuild
from dqm_db.rechecking import preview, recheck
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import Writer, open_writer

CAMERA = "NectarCAMQM"


@pytest.fixture
def older(tmp_path: Path, samples: Path) -> DatabaseSettings:
    """What the first release of schema 1 wrote: runs 6001 and 6002."""
    stored = tmp_path / "Data.fs"
    stored.write_bytes((samples / "schema-1.fs").read_bytes())
    return load(DatabaseSettings, db_url=f"file://{stored}", lock_dir=tmp_path)


def check_history(writer: Writer, expected: list[int]) -> None:
    pixels = [0, 21, N_PIXELS - 1]
    with writer.database.snapshot() as snapshot:
        runs, values = snapshot.pixel_history(CAMERA, MAP, pixels)
        assert runs.tolist() == expected
        for run, column in zip(expected, values.T, strict=True):
            own = snapshot.pixel_maps(CAMERA, run).of(MAP)[pixels]
            np.testing.assert_array_equal(column, own.astype(np.float32))


def test_what_it_lacks_is_not_there_and_the_rest_is_read(older):
    with open_database(older) as database, database.snapshot() as snapshot:
        assert snapshot.thresholds(CAMERA) is None
        assert [snapshot.verdict(CAMERA, run) for run in (6001, 6002)] == [None, None]
        columns = snapshot.catalogue(CAMERA).columns
        assert columns["verdict"].tolist() == [NOT_JUDGED, NOT_JUDGED]
        assert np.isnan(columns["checked_at"]).all()
        assert snapshot.trend(CAMERA, MAP, "mean")[0].tolist() == [6001, 6002]
        assert MAP in snapshot.pixel_history_names(CAMERA)
        runs, values = snapshot.pixel_history(CAMERA, MAP, [0])
        assert runs.tolist() == [6001, 6002]
        assert np.isfinite(values).all()
    with open_database(older) as database:
        rows = list(preview(database, Judge(), CAMERA))
        assert [(row.run, row.before, row.changed) for row in rows] == [
            (6001, None, True), (6002, None, True),
        ]  # fmt: skip


@pytest.mark.parametrize("how", ["recheck", "rebuild"])
def test_its_runs_are_judged(older, how):
    with open_writer(older) as writer:
        if how == "recheck":
            assert [row.error for row in recheck(writer, CAMERA)] == [None, None]
        else:
            assert [row.error for row in rebuild(writer, CAMERA, lambda _: {})] == [None, None]
        with writer.database.snapshot() as snapshot:
            columns = snapshot.catalogue(CAMERA).columns
            for at, run in enumerate((6001, 6002)):
                verdict = snapshot.verdict(CAMERA, run)
                assert verdict is not None and verdict.results
                assert verdict.status == columns["verdict"][at] != NOT_JUDGED
            assert snapshot.thresholds(CAMERA) is not None
        check_history(writer, [6001, 6002])


def test_runs_come_and_go(older, monkeypatch):
    monkeypatch.setattr(pixel_folding.fold, "__defaults__", (2,))
    monkeypatch.setattr(pixel_folding.needs_folding, "__defaults__", (2,))
    with open_writer(older) as writer:
        writer.delete_run(CAMERA, 6002)
        check_history(writer, [6001])
        writer.store_run(a_run(6003), None)  # and what is there is folded
        check_history(writer, [6001, 6003])
        with writer.database.snapshot() as snapshot:
            assert snapshot.verdict(CAMERA, 6001) is None
            assert snapshot.verdict(CAMERA, 6003) is not None
            assert snapshot.catalogue(CAMERA).columns["verdict"][0] == NOT_JUDGED
        writer.store_run(a_run(6002, seed=1), None)
        writer.store_run(a_run(6001, seed=1), None, replace=True)
        check_history(writer, [6001, 6002, 6003])
