"""What the view of all runs sends to the page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from catalogue_columns import camera_runs
from hypothesis import given
from hypothesis import strategies as st
from plot_runs import a_context, load_view

from dqm_app.catalogues import CameraRuns
from dqm_app.plots.pixels import PixelSource
from dqm_app.run_list import RunListFile
from dqm_app.theme import themes
from dqm_app.views.base import Ask, NothingToShow, ViewContext
from dqm_app.views.runs import COUNTS, RunsData, RunsView, as_numbers, as_times

NO_TIME = np.nan


def a_view() -> RunsView:
    return RunsView(ViewContext(themes()["light"], PixelSource(), lambda *_: None))


def a_catalogue(runs: dict[int, int], camera: str = "c") -> RunsData:
    """Rows of *runs*: number and events."""
    columns = {
        name: values.copy() for name, values in camera_runs(camera, sorted(runs)).columns.items()
    }
    columns["events"][:] = [runs[run] for run in sorted(runs)]
    columns["start"][:] = columns["run"] * 3600.0
    columns["end"][:] = columns["start"] + 10
    return RunsData.of(camera, columns)


def received(view: RunsView) -> dict[str, list[Any]]:
    """The rows as the page puts them together from what it was sent."""
    (table,), (news,) = view.table.tags, view.news.tags
    rows = {run: row for row, run in enumerate(table["columns"]["run"].tolist())}
    merged = {
        run: {name: values[row] for name, values in table["columns"].items()}
        for run, row in rows.items()
    }
    if news["base"] == table["number"]:
        for run in news["gone"].tolist():
            del merged[int(run)]
        for row, run in enumerate(news["columns"]["run"].tolist()):
            merged[int(run)] = {name: values[row] for name, values in news["columns"].items()}
    return {name: [merged[run][name] for run in sorted(merged)] for name in table["columns"]}


def same(view: RunsView, data: RunsData) -> None:
    found = received(view)
    for name, values in data.columns.items():
        assert np.array_equal(found[name], values, equal_nan=True), name


def test_rows_are_those_of_the_catalogue(sample_database):
    data = load_view(sample_database, RunsView, 6001)
    with sample_database.snapshot() as snapshot:
        catalogue = snapshot.catalogue("NectarCAMQM").columns
    for name in ("run", *COUNTS):
        assert np.array_equal(data.columns[name], catalogue[name])
        assert data.columns[name].dtype.itemsize <= 4
    for name in ("start", "ingested_at"):
        assert data.columns[name] == pytest.approx(catalogue[name], abs=0.5)
    assert data.columns["duration"] == pytest.approx(catalogue["end"] - catalogue["start"])


def test_ten_thousand_runs_take_no_more_than_thirty_bytes_each():
    data = a_catalogue({run: run % 5000 for run in range(1, 10_001)})
    assert sum(values.nbytes for values in data.columns.values()) <= 300_000


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([], np.int8),
        ([-1, 127], np.int8),
        ([0, 128], np.int16),
        ([0, 2**31 - 1], np.int32),
        ([0, 2**31], np.float64),
    ],
)
def test_numbers_take_the_smallest_type_that_holds_them(values, dtype):
    given = np.array(values, np.int64)
    found = as_numbers(given)
    assert found.dtype == dtype
    assert np.array_equal(found, given)


def test_times_are_whole_seconds_unless_a_clock_was_wrong():
    assert as_times(np.array([1.7e9 + 0.4, NO_TIME])).tolist() == [1_700_000_000, 0]
    for wrong in (-5.0, 0.2, 2.0**33):
        odd = np.array([1.7e9 + 0.4, NO_TIME, wrong])
        assert np.array_equal(as_times(odd), odd, equal_nan=True)


def test_a_new_run_is_sent_alone():
    view = a_view()
    runs = {run: run for run in range(100, 400)}
    view.update(a_catalogue(runs))
    table = view.table.tags
    for new in (400, 401, 50):
        runs[new] = new
        view.update(a_catalogue(runs))
        same(view, a_catalogue(runs))
    assert view.table.tags is table
    assert sorted(view.news.tags[0]["columns"]["run"].tolist()) == [50, 400, 401]


def test_all_is_sent_again_when_much_has_changed_or_the_camera_is_another():
    view = a_view()
    runs = {run: run for run in range(100, 200)}
    view.update(a_catalogue(runs))
    runs |= {run: run for run in range(200, 220)}
    view.update(a_catalogue(runs))
    assert len(view.table.tags[0]["columns"]["run"]) == 120
    assert len(view.news.tags[0]["columns"]["run"]) == 0
    view.update(a_catalogue({1: 1}, "other"))
    assert view.table.tags[0]["camera"] == "other"
    same(view, a_catalogue({1: 1}, "other"))


@given(st.lists(st.dictionaries(st.integers(1, 50), st.integers(-1, 3), min_size=1), min_size=1))
def test_the_page_has_what_the_catalogue_has(states):
    view = a_view()
    for state in states:
        view.update(a_catalogue({run: run for run in range(100, 180)} | state))
        same(view, a_catalogue({run: run for run in range(100, 180)} | state))


def test_what_is_missing_is_looked_for_when_the_view_comes_to_the_front(sample_database):
    context, fetches = a_context(sample_database)
    view = RunsView(context)
    view.update(load_view(sample_database, RunsView, 6001))
    view.locate(6001)
    assert fetches.answer() == 1
    (gaps,) = view.gaps.tags
    assert gaps["first"].tolist() == [6002, 7002, 8002]
    assert gaps["last"].tolist() == [7000, 8000, 8002]
    assert (gaps["listed"], gaps["problem"], gaps["watched"]) == (None, "", False)
    view.locate(8001)
    told = view.gaps.tags
    assert fetches.answer() == 1
    assert view.gaps.tags is told, "nothing new is not sent"


def test_the_page_can_ask_whether_the_list_has_changed(sample_database, tmp_path):
    context, fetches = a_context(sample_database)
    path = tmp_path / "runs.txt"
    path.write_text("6001\n6002\n")
    view = RunsView(replace(context, run_list=RunListFile(path)))
    view.update(load_view(sample_database, RunsView, 6001))
    view.locate(6001)
    fetches.answer()
    (gaps,) = view.gaps.tags
    assert (gaps["first"].tolist(), gaps["listed"], gaps["watched"]) == ([6002], 2, True)
    assert gaps["unlisted"].tolist() == [7001, 8001, 8003]
    path.write_text("run,camera\n6001,Other\n")
    view.asked.tags = [{"number": 1}]
    fetches.answer()
    (gaps,) = view.gaps.tags
    assert gaps["problem"] == "The run list names no run of NectarCAMQM."
    assert gaps["listed"] is None


def test_a_camera_without_runs_has_nothing_to_show(sample_database):
    with sample_database.snapshot() as snapshot:
        header = snapshot.header("NectarCAMQM", 6001)
        with pytest.raises(NothingToShow):
            RunsView.load(snapshot, header, Ask(6001, None, CameraRuns.none("NectarCAMQM")))
