"""Trends against a plain dictionary, through folding, replacing and deleting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqm_db import trends
from dqm_db.model import Trends


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(trends, "FOLD", 4)


def read(stored, quantity, statistic):
    runs, values = trends.read_trends(stored, [("NO", "such"), (quantity, statistic)])
    assert np.isnan(values[0]).all()
    return runs, values[1]


STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 12), st.floats(-1e6, 1e6)),
    st.tuples(st.just("drop"), st.integers(1, 12)),
)


@settings(max_examples=200)
@given(st.lists(STEP, max_size=60))
def test_reads_what_was_written_last(steps):
    stored, expected = Trends(), {}
    for step in steps:
        if step[0] == "put":
            _, run, value = step
            trends.put_row(stored, run, {"Q": {"mean": value, "run": float(run)}})
            expected[run] = value
        else:
            trends.drop_row(stored, step[1])
            expected.pop(step[1], None)
        if trends.needs_folding(stored):
            trends.fold(stored)
    runs, values = read(stored, "Q", "mean")
    assert runs.tolist() == sorted(expected)
    assert values.tolist() == [expected[run] for run in sorted(expected)]
    for run in range(1, 13):
        row = trends.read_row(stored, run)
        if run in expected:
            assert row == {"Q": {"mean": expected[run], "run": float(run)}}
        else:
            assert row is None


def test_statistics_may_appear_and_disappear():
    stored = Trends()
    for run in range(1, 5):
        trends.put_row(stored, run, {"A": {"x": run}})
    trends.fold(stored)
    trends.put_row(stored, 5, {"B": {"y": 5.0}, "A": {"z": 1.0}})
    runs, values = read(stored, "A", "x")
    assert runs.tolist() == [1, 2, 3, 4, 5]
    assert values[:4].tolist() == [1, 2, 3, 4]
    assert np.isnan(values[4])
    assert np.isnan(read(stored, "B", "y")[1][:4]).all()
    assert read(stored, "B", "y")[1][4] == 5
    assert np.isnan(read(stored, "NO", "such")[1]).all()
    assert trends.read_names(stored) == {"A": ("x", "z"), "B": ("y",)}
    assert trends.read_row(stored, 5) == {"B": {"y": 5.0}, "A": {"z": 1.0}}


def test_folding_takes_the_oldest_rows_and_keeps_the_rest():
    stored = Trends()
    for run in (9, 3, 7, 1, 5):
        trends.put_row(stored, run, {"A": {"x": run}})
    trends.fold(stored)
    assert list(stored.tail) == [9]
    assert len(stored.blocks) == 1
    assert read(stored, "A", "x")[1].tolist() == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("folded", [True, False])
def test_a_row_can_be_read_in_part(folded):
    stored = Trends()
    for run in range(1, 5):
        trends.put_row(stored, run, {"A": {"x": run, "y": 2.0}, "B": {"z": run}})
    if folded:
        trends.fold(stored)
    assert trends.read_row(stored, 3, ["B", "NONE"]) == {"B": {"z": 3.0}}
    assert trends.read_row(stored, 3, []) == {}
    assert trends.read_row(stored, 9, ["B"]) is None
