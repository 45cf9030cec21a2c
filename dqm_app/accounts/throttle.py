"""Makes guessing passwords slow, without letting anybody lock somebody else out for good.

Each attempt counts against the name, and against the address it comes from. After some failures the
next attempt must wait, twice as long each time. A browser in which that user has logged in before
(it keeps a signed cookie) has a counter of its own instead of both, so that who guesses from
elsewhere, or from the same network, does not lock out a shifter at his own desk (OWASP, "Slow down
online guessing attacks with device cookies").

An attempt is counted before the password is looked at, and forgotten when that was right: attempts
at the same moment are as many as attempts one after the other.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dqm_app.accounts.tables import AttemptRow
from dqm_app.accounts.users import folded


@dataclass(frozen=True, slots=True)
class Limit:
    """How often something may fail.

    Attributes
    ----------
    free : int
        Failures after which the next attempt need not wait.
    longest : float
        The longest wait, seconds.
    of : str
        Whose failures they are, for the log.
    """

    free: int
    longest: float
    of: str = ""

    def wait(self, failures: int) -> float:
        """Seconds that must pass after so many *failures*."""
        if failures < self.free:
            return 0.0
        return min(2.0 ** min(failures - self.free, 32), self.longest)


OF_NAME = Limit(5, 900.0, "of the name")
OF_BROWSER = Limit(10, 900.0, "of a browser that is known")
OF_ADDRESS = Limit(30, 300.0, "of the address")
"""More than of a name: a whole control room can have one address."""
DECAY_SECONDS = 600.0
"""After each of these an address has failed once less: more people are behind it than one, and who
waits so long for one more guess gains nothing by it."""
FORGET_SECONDS = 86_400.0
"""After so long without another failure a counter begins again."""


@dataclass(frozen=True, slots=True)
class Counter:
    """What an attempt counts against."""

    key: str
    limit: Limit

    @classmethod
    def of_name(cls, name: str) -> Counter:
        """Of a user, or of a name that is none: nobody can tell them apart."""
        return cls("name:" + hashlib.sha256(folded(name).encode()).hexdigest(), OF_NAME)

    @classmethod
    def of_browser(cls, name: str, device: str) -> Counter:
        """Of a browser in which the user has logged in before."""
        digest = hashlib.sha256(f"{folded(name)}\0{device}".encode()).hexdigest()
        return cls("browser:" + digest, OF_BROWSER)

    @classmethod
    def of_address(cls, address: str) -> Counter:
        """Of a host; of its network for IPv6, where everybody has 2⁶⁴ addresses."""
        return cls("address:" + network_of(address), OF_ADDRESS)


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether an attempt may be made.

    Attributes
    ----------
    wait : float
        0 when it may, else the seconds until another one may.
    reached : tuple of Limit
        Those after which the next attempt has to wait, if this one fails, while this one had not.
    """

    wait: float
    reached: tuple[Limit, ...] = ()


def network_of(address: str) -> str:
    """What is taken for one host: an IPv4 address, an IPv6 network of 64 bits, or other text."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped if mapped is not None else ipaddress.ip_network((found, 64), strict=False))


def wait(session: Session, counters: Sequence[Counter]) -> float:
    """Seconds until an attempt may be made, as it seems; nothing is counted, or waited for."""
    found = ((counter, session.get(AttemptRow, counter.key)) for counter in counters)
    return max(
        (_wait(row, counter, time.time()) for counter, row in found if row is not None), default=0.0
    )


def admit(session: Session, counters: Sequence[Counter]) -> Admission:
    """Count an attempt, if it may be made.

    One that may not be made does not count, so that impatience alone makes nobody wait longer.
    """
    rows = [_locked(session, counter.key) for counter in counters]
    now = time.time()
    longest = max(_wait(row, counter, now) for counter, row in zip(counters, rows, strict=True))
    if longest > 0:
        for row in rows:
            if not row.failures:  # made just now, for nothing
                session.delete(row)
        return Admission(longest)
    reached = []
    for counter, row in zip(counters, rows, strict=True):
        row.failures = _failures(row, counter, now) + 1
        row.last = now
        if row.failures == counter.limit.free:
            reached.append(counter.limit)
    _forget_old(session, now)
    return Admission(0.0, tuple(reached))


def _wait(row: AttemptRow, counter: Counter, now: float) -> float:
    failed = _failures(row, counter, now)
    return max(0.0, row.last + counter.limit.wait(failed) - now) if failed else 0.0


def _failures(row: AttemptRow, counter: Counter, now: float) -> int:
    """Those that count."""
    past = now - row.last
    if past >= FORGET_SECONDS:
        return 0
    decayed = int(past / DECAY_SECONDS) if counter.limit is OF_ADDRESS else 0
    return max(0, row.failures - decayed)


def _locked(session: Session, key: str) -> AttemptRow:
    """A counter, new if there was none, that nobody else reads before this transaction ends.

    A row that is not there cannot be locked: who finds none makes it before he looks at it.
    """
    while True:
        row = session.get(AttemptRow, key, with_for_update=True)
        if row is not None:
            return row
        try:
            with session.begin_nested():
                row = AttemptRow(key=key, failures=0, last=time.time())
                session.add(row)
                session.flush()
                return row
        except IntegrityError:
            continue  # somebody else made it at the same moment


def _forget_old(session: Session, now: float) -> None:
    # but those that somebody else has locked: two could wait for each other
    old = select(AttemptRow.key).where(AttemptRow.last < now - FORGET_SECONDS)
    old = old.with_for_update(skip_locked=True)
    session.execute(delete(AttemptRow).where(AttemptRow.key.in_(old)))


def forgive(session: Session, counters: Sequence[Counter]) -> None:
    """The attempt was none of guessing: forget it, and what the name or browser had failed before.

    An address keeps its earlier failures: who owns one account could begin again with it each time.
    Nobody has to wait for what was right.
    """
    for counter in counters:
        row = session.get(AttemptRow, counter.key, with_for_update=True)
        if row is None:
            continue
        if counter.limit is OF_ADDRESS:
            row.failures = max(0, row.failures - 1)
            row.last -= counter.limit.wait(row.failures)
        else:
            session.delete(row)
