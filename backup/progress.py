"""How far a backup is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from backup.files import Advance

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class Progress:
    """Is told what is done, and how much of it; this one tells nobody."""

    def begin(self, what: str, total: int) -> Advance:  # noqa: ARG002
        """A part of *total* bytes begins; call what it gives with the bytes that were done."""
        return lambda _: None


class _Shown(Progress):
    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def begin(self, what: str, total: int) -> Advance:
        task = self._bars.add_task(what, total=max(total, 1))
        return lambda done: self._bars.advance(task, done)


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Bars on the standard error, when that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        yield _Shown(bars)
