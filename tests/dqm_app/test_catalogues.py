"""The runs of a camera in memory: neighbours, search, replaced runs."""

from __future__ import annotations

import numpy as np
import pytest
from catalogue_columns import camera_runs
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import a_run

from dqm_app.catalogues import CameraRuns, Catalogues
from dqm_db.ingestion import Pull
from dqm_db.storage import open_database
from dqm_db.writer import open_writer

MAY = np.datetime64("2025-05-02T01:30").astype("datetime64[s]").astype(float)


def test_runs_are_ordered_as_numbers():
    runs = camera_runs("C", [9, 999, 6310])
    assert runs.newest == 6310
    assert [row[0] for row in runs.search("", 10).rows] == [6310, 999, 9]


def test_neighbours_are_nearest_first():
    runs = camera_runs("C", [1, 2, 5, 7, 9])
    assert runs.neighbours(5, 2) == ([2, 1], [7, 9])
    assert runs.neighbours(1, 2) == ([], [2, 5])
    assert runs.neighbours(6, 1) == ([5], [7])


@given(st.sets(st.integers(0, 50), min_size=1), st.integers(-5, 60))
def test_the_nearest_run_is_the_nearest(numbers, run):
    runs = camera_runs("C", sorted(numbers))
    nearest = runs.nearest(run)
    assert nearest in runs
    assert abs(nearest - run) == min(abs(number - run) for number in numbers)
    assert (run in runs) == (nearest == run)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("600", [6002, 6001, 1600]),
        ("6001", [6001]),
        ("Run 6001", [6001]),
        ("2025-05-02 02:30", [6001]),
        ("05-02 600", [6002, 6001, 1600]),
        ("  ", [6002, 6001, 1600]),
        ("1999", []),
        ("²", []),
    ],
)
def test_search_by_number_and_date(text, found):
    runs = camera_runs("C", [1600, 6001, 6002], start=MAY)
    answer = runs.search(text, 10)
    assert [row[0] for row in answer.rows] == found
    assert (answer.matching, answer.total) == (len(found), 3)


def test_the_run_of_exactly_that_number_comes_first():
    runs = camera_runs("C", [60, 600, 6001, 6002])
    assert [row[0] for row in runs.search("600", 10).rows] == [600, 6002, 6001]


def test_more_matches_than_are_wanted_are_counted():
    answer = camera_runs("C", list(range(1000))).search("9", 5)
    assert [row[0] for row in answer.rows] == [9, 999, 998, 997, 996]
    assert answer.matching == 271


def test_unknown_values_are_none():
    assert camera_runs("C", [1]).search("", 1).rows == [[1, None, 100, 0, None, None]]


def test_the_verdict_of_a_run():
    runs = camera_runs("C", [1, 2, 5])
    runs.columns["verdict"][:] = [3, -1, 0]
    assert [runs.verdict(run) for run in (1, 2, 5, 7)] == [3, None, 0, None]
    assert [row[-1] for row in runs.search("", 3).rows] == [0, None, 3]


def test_the_newest_run_is_as_old_as_its_end_or_else_its_start():
    runs = camera_runs("C", [1, 2], start=MAY, step=3600)
    assert runs.newest_at == MAY + 3600
    runs.columns["end"][:] = MAY + 4000
    assert runs.newest_at == MAY + 4000
    assert camera_runs("C", [1]).newest_at is None


def test_a_replaced_run_has_another_identity(file_settings):
    def identity() -> tuple:
        with open_database(file_settings) as database, database.snapshot() as snapshot:
            return Catalogues().renewed(snapshot)["NectarCAMQM"].identity(6001)

    with open_writer(file_settings) as writer:
        writer.store_run(a_run(6001), None)
    first = identity()
    assert identity() == first
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(6001, seed=1), None, replace=True)
    assert identity() != first


def test_identity_of_an_unknown_run():
    with pytest.raises(KeyError):
        camera_runs("C", [1]).identity(2)


def test_cameras_without_runs_are_left_out(file_settings):
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(6001, "A"), None)
        writer.store_run(a_run(6001, "B"), None)
        writer.delete_run("A", 6001)
    with open_database(file_settings) as database, database.snapshot() as snapshot:
        assert list(Catalogues().renewed(snapshot)) == ["B"]


def test_what_did_not_change_stays_the_same_object(file_settings):
    with open_writer(file_settings) as writer:

        def renewed(catalogues: Catalogues) -> Catalogues:
            with writer.database.snapshot() as snapshot:
                return catalogues.renewed(snapshot)

        writer.store_run(a_run(6001, "A"), None)
        writer.store_run(a_run(6001, "B"), None)
        first = renewed(Catalogues())
        writer.note_pull(Pull(1.0, 2.0))
        assert renewed(first) is first
        writer.store_run(a_run(6002, "B"), None)
        second = renewed(first)
        assert second["A"] is first["A"]
        assert 6002 in second["B"]
        assert 6002 not in first["B"]
        writer.store_run(a_run(6002, "B", seed=1), None, replace=True)
        third = renewed(second)
        assert third["B"].identity(6002) != second["B"].identity(6002)
        writer.delete_run("A", 6001)
        assert list(renewed(third)) == ["B"]


def test_the_default_camera_took_data_last():
    early, late = camera_runs("Z", [9], start=MAY), camera_runs("A", [1], start=MAY + 1)
    unknown = camera_runs("Y", [1])
    assert Catalogues([unknown, early, late]).default is late
    assert Catalogues().default is None
    assert isinstance(Catalogues([unknown]).default, CameraRuns)
