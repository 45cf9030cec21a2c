"""Simulated runs on their way into the primary, by the commands that production uses.

`dqm simulate` writes results files into a folder; whatever is complete there is handed to the next
`dqm ingest`, as the cron job of the primary does, and removed when it is stored. Both are processes
of their own, so that the first run is on the screen while the last is still being simulated.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from dqm.demo.processes import ProcessFailed, Supervised
from dqm.demo.series import CameraRun, Series
from dqm.demo.stack import Stack

# Few at first, so that there is something to look at; then enough to make the start of a process
# cheap, and not too many for a progress bar that moves.
FIRST_BATCH, LARGEST_BATCH = 2, 12


class Filling:
    """Fills the primary of *stack* with what it lacks of the simulated runs of *series*.

    Parameters
    ----------
    stack, series
        What is filled, and with what.
    present
        Runs of the series that are stored already.

    Attributes
    ----------
    runs : int
        How many will be stored in the end.
    stored : int
        How many are stored by now.
    """

    def __init__(
        self, stack: Stack, series: Series, present: frozenset[CameraRun] = frozenset()
    ) -> None:
        self.runs = series.runs
        self.stored = len(present)
        self._stack = stack
        self._incoming = stack.directory / "incoming"
        self._simulate = stack.supervised(
            "simulate", None, "--out", str(self._incoming), *series.options(set(present))
        )
        self._ingest: Supervised | None = None
        self._batch: list[Path] = []
        self._ingested = False

    @property
    def complete(self) -> bool:
        """Whether all runs are stored."""
        return self.stored == self.runs

    def start(self) -> None:
        """Begin to simulate; the primary need not answer yet."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._stack.launch(self._simulate)

    def step(self) -> None:
        """Look what has ended, and ingest what is there; to be called every now and then.

        Raises
        ------
        ProcessFailed
            When a run cannot be simulated or stored.
        """
        if self._ingest is not None:
            if self._ingest.exit_code is None:
                return
            if self._ingest.exit_code != 0:
                self._ingest.check()
            self._finish_batch(self._ingest)
        if self.complete:
            return
        simulated = self._simulate.exit_code  # asked first: nothing is written after its end
        limit = LARGEST_BATCH if self._ingested else FIRST_BATCH
        self._batch = sorted(self._incoming.glob("*.tar.gz"), key=_written)[:limit]
        if self._batch:
            self._ingest = self._stack.supervised("ingest", None, *map(str, self._batch))
            self._stack.launch(self._ingest)
        elif simulated == 0:
            raise ProcessFailed(
                f"only {self.stored} of {self.runs} runs were simulated\n{self._simulate.tail()}"
            )
        elif simulated is not None:
            self._simulate.check()

    def discard(self) -> None:
        """Remove the files that were simulated but not stored, after everything has stopped."""
        shutil.rmtree(self._incoming, ignore_errors=True)

    def _finish_batch(self, ingest: Supervised) -> None:
        self._stack.forget(ingest)
        self._ingest = None
        for path in self._batch:
            path.unlink()
        self.stored += len(self._batch)
        self._ingested = True


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns
