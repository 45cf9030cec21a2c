"""Walks along all sides at once, transaction by transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dqm_db.errors import DatabaseUnavailable, DQMError
from dqm_db.verification.pairs import LISTED, Finding, Pair, Verified
from dqm_db.verification.sides import Side, before
from dqm_db.volume.digests import TransactionDigest
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.transactions import NO_TRANSACTION

Progress = Callable[[int], None]
"""Is told how many more bytes were verified, of the side that comes first."""


@dataclass
class Read:
    """What was read of one side.

    Attributes
    ----------
    side : Side
    transactions, size : int
        How much of it was read; *size* in bytes.
    faults : list of Finding
        The first `LISTED` places where its own disk is at fault.
    faulty : int
        How many transactions are.
    error : DQMError or None
        Why it could not be read to its end.
    """

    side: Side
    transactions: int = 0
    size: int = 0
    faults: list[Finding] = field(default_factory=list)
    faulty: int = 0
    error: DQMError | None = None

    def walk(self, after: bytes, detailed_until: bytes) -> Iterator[TransactionDigest]:
        """Its transactions; ends early, with `error`, where it cannot be read any more."""
        try:
            for found in self.side.transactions(after, detailed_until):
                self.transactions += 1
                self.size += found.bytes
                if found.faults:
                    self.faulty += 1
                    self.faults += [
                        Finding(found.tid, fault, (self.side.name,)) for fault in found.faults
                    ][: LISTED - len(self.faults)]
                yield found
        except (DamagedData, DatabaseUnavailable) as error:
            self.error = error


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome.

    Attributes
    ----------
    started, seconds : float
        When it began (Unix seconds), and how long it took.
    after : bytes
        Only what followed this transaction was read; `NO_TRANSACTION` for everything.
    read : tuple of Read
        Each side.
    pairs : tuple of Pair
        The first side with each of the others.
    """

    started: float
    seconds: float
    after: bytes
    read: tuple[Read, ...]
    pairs: tuple[Pair, ...]

    @property
    def is_damaged(self) -> bool:
        """Whether something differs, or cannot be read."""
        return any(pair.found for pair in self.pairs) or any(
            read.faulty or isinstance(read.error, DamagedData) for read in self.read
        )

    @property
    def silent(self) -> list[Read]:
        """Sides that did not answer to the end."""
        return [read for read in self.read if isinstance(read.error, DatabaseUnavailable)]


def compare(
    sides: Sequence[Side],
    *,
    remembered: Sequence[Verified | None] = (),
    first_leads: bool = True,
    progress: Progress = lambda _bytes: None,
) -> Verification:
    """Compare the first side with each of the others; one side alone is only read.

    Parameters
    ----------
    sides
        When the first leads, such as a primary, it must have all that the others have.
    remembered
        For each of the others, where an earlier verification ended. When all are known, only what
        follows the earliest is read, and that one again.
    first_leads
        See *sides*.
    progress
        Called after each transaction.
    """
    started = time.time()
    known = list(remembered) or [None] * (len(sides) - 1)
    after = NO_TRANSACTION
    if known and all(known):
        after = before(min(one.tid for one in known if one is not None))
    packed_until = _packed_until(sides, after)
    while True:
        pairs = [
            Pair(sides[0], other, packed_until, one, first_leads)
            for other, one in zip(sides[1:], known, strict=True)
        ]
        read = [Read(side) for side in sides]
        _compare(read, pairs, after, max(packed_until.values(), default=NO_TRANSACTION), progress)
        outcome = Verification(started, time.time() - started, after, tuple(read), tuple(pairs))
        if not any(pair.found for pair in pairs) or outcome.silent:
            return outcome
        earlier, packed_until = packed_until, _packed_until(sides, after)
        if packed_until == earlier:
            return outcome
        # A pack in the meantime may be all that was found: once more, with what it explains.


def _packed_until(sides: Sequence[Side], after: bytes) -> dict[str, bytes]:
    """Of each side, when there is something to explain: one alone differs from nothing."""
    return {side.name: side.packed_until(after) for side in sides} if len(sides) > 1 else {}


def _compare(
    read: Sequence[Read],
    pairs: Sequence[Pair],
    after: bytes,
    detailed_until: bytes,
    progress: Progress,
) -> None:
    until = max(one.side.last for one in read)  # what is committed meanwhile is left out
    _walk(read, pairs, after, detailed_until, until, progress)
    for pair, mine in zip(pairs, read[1:], strict=True):
        if read[0].error is None and mine.error is None:
            try:
                pair.finish()
            except DatabaseUnavailable as error:
                mine.error = error


def _walk(
    read: Sequence[Read],
    pairs: Sequence[Pair],
    after: bytes,
    detailed_until: bytes,
    until: bytes,
    progress: Progress,
) -> None:
    walks = [one.walk(after, detailed_until) for one in read]
    heads = [next(walk, None) for walk in walks]
    while True:
        tid = min((head.tid for head in heads if head is not None), default=None)
        if tid is None or tid > until:
            break
        here = [head if head is not None and head.tid == tid else None for head in heads]
        has_ended = [head is None for head in heads]
        for pair, mine, ended in zip(pairs, here[1:], has_ended[1:], strict=True):
            # What follows the end of a side is not compared: it lags, or can be read no further.
            # Its last id would not do: of all of its ids just that one may be damaged.
            if not has_ended[0] and not ended:
                pair.take(tid, here[0], mine)
        if here[0] is not None:
            progress(here[0].bytes)
        heads = [
            next(walk, None) if found is not None else head
            for walk, found, head in zip(walks, here, heads, strict=True)
        ]
