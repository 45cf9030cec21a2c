"""What the pages say of the puller: when it looked for files last, and which it could not store.

Every page knows the little that its sign in the top bar needs; the list of files is read when
somebody asks for it.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from dqm_app.newest import NewestOnly
from dqm_db.errors import DatabaseUnavailable, DQMError
from dqm_db.ingestion import Failure, Pull
from dqm_db.reader import Snapshot

log = logging.getLogger(__name__)

LISTED = 200
"""Failures that are sent to a page at most."""
LONGEST_TEXT = 600
"""Characters of a reason or source that are sent at most."""
SHARE = 0.1
"""Of the time of one thread that may be spent on reading failures while there is much to read."""
RETRY_SECONDS = 3.0

_EXITS = {
    0: ("ok", "nothing went wrong"),
    1: ("partly", "some files could not be stored"),
    66: ("failed", "nothing was found where files should be"),
    69: ("failed", "the source of the files does not answer"),
    73: ("failed", "files could not be written while they were fetched"),
    74: ("failed", "the database could not store a run"),
    75: ("failed", "another command was writing"),
    77: ("failed", "the source refused the credentials, or they have expired"),
    78: ("failed", "a setting has no usable value"),
    130: ("stopped", "it was stopped by Ctrl-C; what was stored until then stays"),
    143: ("stopped", "it was stopped; what was stored until then stays"),
}


@dataclass(frozen=True, slots=True)
class PullState:
    """What all pages show.

    Attributes
    ----------
    pull : Pull or None
        The last one; None: there was none.
    failures : int
        Files that could not be stored, and runs that somebody deleted.
    quarantined : int
        Those of them that wait for a person.
    """

    pull: Pull | None = None
    failures: int = 0
    quarantined: int = 0

    @classmethod
    def read(cls, snapshot: Snapshot) -> PullState:
        """Of one state of the database; some 10 µs per failure, more when they are new."""
        failures = quarantined = 0
        for failure in snapshot.failures():
            failures += 1
            quarantined += _state(failure) == "quarantine"
        return cls(snapshot.last_pull(), failures, quarantined)

    def sign(self, stale: float) -> dict[str, Any]:
        """The state in brief; *stale* is the age in seconds from which a pull is too old."""
        pull = self.pull
        return {
            "at": None if pull is None else pull.finished,
            "outcome": None if pull is None else _outcome(pull),
            "failures": self.failures,
            "quarantined": self.quarantined,
            "stale": stale,
        }


class PullWatch:
    """Keeps `state` up to date, apart from the catalogues and never in their way.

    Parameters
    ----------
    read : coroutine function
        Gives a snapshot to a function, in a thread, and returns its value.
    changed : callable
        Called on the event loop when `state` is another one.
    """

    def __init__(
        self,
        read: Callable[[Callable[[Snapshot], PullState]], Awaitable[PullState]],
        changed: Callable[[], None],
    ) -> None:
        self.state = PullState()
        self._read = read
        self._changed = changed
        self._looks = NewestOnly(self._look)

    def look(self) -> None:
        """Look soon: there is a new transaction."""
        self._looks.ask(None)

    def close(self) -> None:
        """Stop looking."""
        self._looks.cancel()

    async def _look(self, _nothing: None) -> None:
        started = time.monotonic()
        try:
            state = await self._read(PullState.read)
        except DatabaseUnavailable:  # which the pages say already
            await asyncio.sleep(RETRY_SECONDS)
            self.look()
            return
        except DQMError as error:  # the runs can be shown all the same
            log.warning("the last pull and the quarantine could not be read: %s", error)
            return
        if state != self.state:
            self.state = state
            self._changed()
        await asyncio.sleep((time.monotonic() - started) / SHARE)


def listing(snapshot: Snapshot, camera: str, now: float) -> dict[str, Any]:
    """``Page.failures``: the last pull in words, and the newest failures of *camera* ("": all)."""
    failures = snapshot.failures()
    matching = [failure for failure in failures if camera in ("", failure.camera)]
    newest = heapq.nlargest(LISTED, matching, key=lambda failure: failure.last_at)
    pull = snapshot.last_pull()
    return {
        "camera": camera,
        "cameras": dict(sorted(Counter(failure.camera for failure in failures).items())),
        "matching": len(matching),
        "rows": [_row(failure, now) for failure in newest],
        "pull": None if pull is None else _described(pull),
    }


def _row(failure: Failure, now: float) -> dict[str, Any]:
    state = _state(failure)
    if failure.next_at is not None and failure.next_at > now:
        state = "later"
    return {
        "camera": failure.camera,
        "run": failure.run,
        "state": state,
        "next_at": failure.next_at,
        "kind": _cut(failure.kind),
        "reason": _cut(failure.error),
        "source": _cut(failure.source),
        "attempts": failure.attempts,
        "first_at": failure.first_at,
        "last_at": failure.last_at,
    }


def _state(failure: Failure) -> str:
    if failure.is_removed:
        return "deleted"
    return "quarantine" if failure.is_quarantined else "next"


def _outcome(pull: Pull) -> str:
    outcome, _ = _EXITS.get(pull.exit_code, ("failed", ""))
    return "partly" if outcome == "ok" and pull.error else outcome


def _described(pull: Pull) -> dict[str, Any]:
    _, words = _EXITS.get(pull.exit_code, ("failed", "it did not end as it should"))
    return {
        "started": pull.started,
        "finished": pull.finished,
        "host": _cut(pull.host),
        "sources": [_cut(source) for source in pull.sources[:LISTED]],
        "counts": [[_cut(what), count] for what, count in pull.counts.items() if count],
        "outcome": _outcome(pull),
        "exit": f"{words} (exit code {pull.exit_code})",
        "error": _cut(pull.error),
    }


def _cut(text: str) -> str:
    r"""*text* without what does not print (it comes out as ``\u....``), of limited length."""
    cut = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in cut
    )
