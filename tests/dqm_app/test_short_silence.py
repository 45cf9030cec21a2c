"""Whether a server that is silent for a moment is an alarm."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dqm_app.short_silence import GRACE_SECONDS, ShortSilences
from dqm_db.errors import DatabaseUnavailable, DQMError
from dqm_db.server_answers import ServerAnswer
from dqm_db.settings import WatchSettings
from dqm_db.status.judging import judge
from dqm_db.status.limits import Limits
from dqm_db.status.model import DatabaseFacts, Level, ServerStatus, SystemStatus

LIMITS = Limits.of(WatchSettings())
WELL = [
    ServerStatus(f"{name}:1", ServerAnswer(bytes(8), role=role), role=role, lag_seconds=0.0)
    for name, role in (("a", "primary"), ("b", "replica"))
]
A_SILENT = [ServerStatus("a:1", error="It does not answer"), WELL[1]]
B_SILENT = [WELL[0], ServerStatus("b:1", error="It does not answer")]
DOWN = DatabaseUnavailable("it is down")


class Watch:
    """Asks at given times."""

    def __init__(self) -> None:
        self.silences = ShortSilences()

    def found(
        self,
        at: float,
        servers: Sequence[ServerStatus],
        *,
        primary: str = "a:1",
        lasts: float = 0.0,
        error: DQMError | None = None,
    ) -> SystemStatus:
        status = judge(servers, None if error else DatabaseFacts(), error, LIMITS, 0.0)
        return self.silences.forgive(
            status,
            primary,
            is_readable=not isinstance(error, DatabaseUnavailable),
            asked=at,
            now=at + lasts,
        )


@pytest.fixture
def watch() -> Watch:
    """One that has found all well."""
    watch = Watch()
    assert watch.found(0, WELL).level is Level.WARNING, "there is no backup"
    assert not watch.silences.is_one
    return watch


def level(status: SystemStatus, key: str) -> Level:
    return Level.worst(item.level for item in status.items if item.key == key)


def test_a_primary_that_is_restarted_is_a_warning(watch: Watch):
    status = watch.found(10, A_SILENT)
    assert watch.silences.is_one
    assert status.level is Level.WARNING is status.level_of("a:1")
    assert level(status, "primary") is Level.WARNING is level(status, "server-answers")
    levels = [item.level for item in status.items]
    assert levels == sorted(levels, key=list(Level).index, reverse=True), "the worst first"
    assert watch.found(13, WELL).level_of("a:1") is Level.OK
    assert not watch.silences.is_one


def test_one_that_stays_away_is_critical(watch: Watch):
    watch.found(10, A_SILENT)
    assert watch.found(10 + GRACE_SECONDS - 1, A_SILENT).level is Level.WARNING
    for later in (0, 60):
        status = watch.found(10 + GRACE_SECONDS + later, A_SILENT)
        assert level(status, "primary") is Level.CRITICAL is status.level_of("a:1")
    assert not watch.silences.is_one


def test_each_silence_begins_anew(watch: Watch):
    watch.found(10, B_SILENT)
    watch.found(20, B_SILENT)
    watch.found(30, WELL)
    assert watch.found(40, B_SILENT).level is Level.WARNING


def test_a_question_that_waited_long_has_been_asked_long_ago(watch: Watch):
    assert watch.found(10, B_SILENT, lasts=GRACE_SECONDS).level_of("b:1") is Level.CRITICAL


def test_what_was_silent_from_the_start_is_critical():
    watch = Watch()
    status = watch.found(0, A_SILENT, primary="", error=DOWN)
    for key in ("primary", "server-answers", "database"):
        assert level(status, key) is Level.CRITICAL


def test_a_database_that_does_not_answer_for_a_moment(watch: Watch):
    status = watch.found(10, WELL, error=DOWN)
    assert level(status, "database") is Level.WARNING
    assert level(watch.found(20, WELL, error=DOWN), "database") is Level.CRITICAL


def test_only_silence_is_forgiven(watch: Watch):
    """What servers say while another one is silent is what it is."""
    damaged = watch.found(10, B_SILENT, error=DQMError("damaged: restore it"))
    assert damaged.level_of("b:1") is Level.WARNING
    assert level(damaged, "database") is Level.CRITICAL
    two = [
        *A_SILENT,
        *(ServerStatus(f"{name}:1", WELL[0].answer, role="primary") for name in "cd"),
    ]
    assert level(watch.found(13, two), "primary") is Level.CRITICAL


def test_a_primary_that_was_missing_before_is_not_forgiven(watch: Watch):
    others = [WELL[1], ServerStatus("c:1", error="It does not answer")]
    assert level(watch.found(10, others), "primary") is Level.CRITICAL
