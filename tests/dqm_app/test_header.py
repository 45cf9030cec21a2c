"""What the strip above the views says of a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from synthetic_runs import a_run

from dqm_app.header import facts
from dqm_db.content import RunTimes


def test_start_first_and_last_event_are_told_apart():
    header = a_run().header
    told = facts(header)
    times = header.times
    assert (told["start"], told["first_event"]) == (times.run_start, times.first_event)
    assert told["last_event"] == times.last_event
    json.dumps(told)


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf"), -37.0, 1e18])
def test_what_is_no_time_is_told_as_unknown(odd):
    told = facts(replace(a_run().header, times=RunTimes(odd, odd, odd, 37.0)))
    assert (told["start"], told["first_event"], told["last_event"]) == (None, None, None)
    json.dumps(told, allow_nan=False)
