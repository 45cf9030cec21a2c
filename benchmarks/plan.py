"""How much is measured: full runs for numbers that count, quick ones to see that it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

SAMPLES = Path(__file__).parent.parent / "tests" / "data"
SAMPLE = SAMPLES / "NectarCAMQM_DQM_Run6001.tar.gz"
SAMPLE_CAMERA, SAMPLE_RUN = "NectarCAMQM", 6001


@dataclass(frozen=True, slots=True)
class Plan:
    """Repetitions and sizes.

    Attributes
    ----------
    folder : Path
        Scratch space of this measurement.
    say : callable
        Tells the user what is being done, in one line.
    quick : bool
        Few repetitions of small things: the values mean nothing.
    """

    folder: Path
    say: Callable[[str], None]
    quick: bool = False
    warm_pages: int = 2
    pages: int = 15
    changes: int = 15
    idle_seconds: float = 5.0
    large_cameras: int = 3
    large_runs: int = 1000
    table_runs: int = 10_000
    api_questions: int = 400
    basket_runs: int = 100
    baskets: int = 5
    page_changes: int = 480
    sessions: int = 50
    runs_per_session: int = 10
    waves: int = 3
    ingested_runs: int = 60
    growth_runs: int = 1000
    fresh_runs: int = 10
    pulled_runs: int = 200
    known_runs: int = 5000
    quiet_pulls: int = 5
    history_runs: int = 1000
    trend_runs: int = 5000
    trend_changes: int = 15
    leak_changes: int = 200
    clients: int = 100
    client_arrival: float = 20.0
    client_period: float = 10.0
    client_seconds: float = 60.0
    dirac_runs: int = 200
    dirac_rounds: int = 5
    visible_runs: int = 200
    restarts: int = 5
    kept_runs: int = 2000
    kept_originals: int = 200
    kill_trials: int = 100

    @classmethod
    def small(cls, folder: Path, say: Callable[[str], None]) -> Plan:
        """A quick plan."""
        return cls(
            folder,
            say,
            quick=True,
            warm_pages=1,
            pages=2,
            changes=2,
            idle_seconds=0.5,
            large_cameras=2,
            large_runs=40,
            table_runs=200,
            api_questions=40,
            basket_runs=5,
            baskets=1,
            page_changes=32,
            sessions=4,
            runs_per_session=3,
            waves=2,
            ingested_runs=4,
            growth_runs=300,
            fresh_runs=2,
            pulled_runs=4,
            known_runs=30,
            quiet_pulls=1,
            history_runs=70,
            trend_runs=300,
            trend_changes=2,
            leak_changes=16,
            clients=6,
            client_arrival=1.0,
            client_period=1.0,
            client_seconds=4.0,
            dirac_runs=8,
            dirac_rounds=1,
            visible_runs=4,
            restarts=1,
            kept_runs=60,
            kept_originals=6,
            kill_trials=2,
        )

    @classmethod
    def tiny(cls, folder: Path, say: Callable[[str], None]) -> Plan:
        """The least that can be measured, for tests."""
        return replace(
            cls.small(folder, say),
            warm_pages=0,
            pages=1,
            changes=1,
            large_cameras=1,
            large_runs=4,
        )
