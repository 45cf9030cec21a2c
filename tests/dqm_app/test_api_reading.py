"""Runs page by page, while others are stored and deleted."""

from __future__ import annotations

from catalogue_columns import camera_runs
from hypothesis import given
from hypothesis import strategies as st

from dqm_app.api.questions import RunsQuestion
from dqm_app.api.reading import NEXT_CURSOR, runs
from dqm_db.quantities import TimeScale

NUMBERS = st.integers(1, 40)


def pages(states: list[set[int]], asked: RunsQuestion) -> list[int]:
    """Run numbers of all pages; *states* are the runs there are when each is asked for."""
    shown: list[int] = []
    for at in range(1000):
        there = states[min(at, len(states) - 1)]
        page = runs(camera_runs("C", sorted(there)), asked)
        found = page.columns[0].values.tolist()
        assert len(found) <= asked.limit
        shown += found
        cursor = page.meta[NEXT_CURSOR]
        if cursor is None:
            return shown
        asked = asked.model_copy(update={"cursor": cursor})
    raise AssertionError("the pages do not end")


@given(
    st.lists(st.sets(NUMBERS), min_size=1, max_size=8),
    st.sets(NUMBERS),
    st.integers(1, 7),
    st.booleans(),
    st.none() | NUMBERS,
    st.none() | NUMBERS,
)
def test_whatever_comes_or_goes_the_others_are_shown_once(
    coming_and_going, staying, limit, newest_first, first, last
):
    states = [others | staying for others in coming_and_going]
    asked = RunsQuestion(limit=limit, newest_first=newest_first, first=first, last=last)
    shown = pages(states, asked)
    assert shown == sorted(set(shown), reverse=newest_first)  # none twice
    within = range(first or 0, (last or 1000) + 1)
    assert {run for run in staying if run in within} <= set(shown)
    assert set(shown) <= {run for run in set().union(*states) if run in within}


def test_a_page_says_how_many_match_and_what_is_next():
    camera = camera_runs("C", [1, 2, 3, 4])
    page = runs(camera, RunsQuestion(limit=2, last=3))
    moments = {column.name for column in page.columns if column.time_scale is TimeScale.UTC}
    assert moments == {"start", "end", "ingested_at", "checked_at"}
    assert (page.meta["matching"], page.meta["total"], page.meta[NEXT_CURSOR]) == (3, 4, 2)
    end = runs(camera, RunsQuestion(limit=2, last=3, cursor=2))
    assert end.columns[0].values.tolist() == [1]
    assert (end.meta["matching"], end.meta[NEXT_CURSOR]) == (3, None)
