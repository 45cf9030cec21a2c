"""Waves of sessions: the dashboard gives back what they took."""

from __future__ import annotations

import pytest

from benchmarks import sessions
from benchmarks.bars import bars
from benchmarks.plan import Plan

pytestmark = [pytest.mark.system, pytest.mark.soak]


def test_three_waves_of_fifty_sessions_leave_nothing(tmp_path):
    results = {result.key: result for result in sessions.measure(Plan(tmp_path, print))}
    for key in ("waves_peak_growth", "documents_left", "connections_over_pool"):
        result = results[key]
        assert bars()[key].passed(result.value), f"{key}: {result.value} {result.detail}"
