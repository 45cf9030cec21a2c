"""Which backups are kept: a pure function of what there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from dqm_db.errors import ConfigurationError

_PERIODS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "d": lambda at: (at.year, at.month, at.day),
    "w": lambda at: at.isocalendar()[:2],
    "m": lambda at: (at.year, at.month),
    "y": lambda at: (at.year,),
}
_RULE = re.compile(r"([1-9][0-9]{0,3})([dwmy])")


@dataclass(frozen=True, slots=True)
class Keep:
    """How many periods are kept, by their letter: ``{"d": 7, "w": 4}``."""

    periods: Mapping[str, int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """``7d,4w,12m``: days, weeks (of ISO 8601), months and years, all in UTC.

        Raises
        ------
        ConfigurationError
        """
        periods: dict[str, int] = {}
        for part in text.replace(" ", "").split(","):
            rule = _RULE.fullmatch(part)
            if rule is None or rule[2] in periods:
                raise ConfigurationError(
                    f"{text!r} does not say which backups to keep (--keep, DQM_BACKUP_KEEP): "
                    "give numbers of days, weeks, months or years, such as 7d,4w,12m"
                )
            periods[rule[2]] = int(rule[1])
        return cls(periods)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backup as far as it matters here.

    Attributes
    ----------
    name : str
    time : float
        Unix seconds.
    age : tuple of int and str
        Later backups have more: epoch, and the last transaction in it.
    follows : str or None
        The backup that it needs.
    is_sound : bool
        Whether its files are there, and no verification has found it damaged.
    is_verified : bool
        Whether a verification has found it sound.
    """

    name: str
    time: float
    age: tuple[int, str]
    follows: str | None
    is_sound: bool
    is_verified: bool = False


def kept(candidates: Sequence[Candidate], keep: Keep) -> set[str]:
    """The names of those to keep.

    For each kind of period, the newest sound backup of each of the newest so many periods *that
    have one*: periods without backups do not count, so that nothing goes because none was made.
    Beside these, whatever the rules say: the latest sound one by epoch and transaction, of those
    that were verified the latest one, and all that a kept one needs.

    Damaged ones take no place of a sound one, but they are not worthless: one blob that every
    backup shares can make all of them damaged. Of a period that has no other, the newest stays as
    long as the rules would keep a sound one.
    """
    newest_first = sorted(candidates, key=lambda one: one.time, reverse=True)
    sound = [one for one in newest_first if one.is_sound]
    chosen: set[str] = set()
    for letter, count in keep.periods.items():
        for some in (sound, newest_first):
            chosen.update(_newest(some, letter)[:count])
    for some in (sound, [one for one in sound if one.is_verified]):
        if some:
            chosen.add(max(some, key=lambda one: (one.age, one.time)).name)
    needs = {one.name: one.follows for one in candidates}
    for name in list(chosen):
        while (follows := needs.get(name)) is not None and follows not in chosen:
            chosen.add(follows)
            name = follows
    return chosen


def _newest(newest_first: Sequence[Candidate], letter: str) -> list[str]:
    """The newest of each period, sound ones before damaged ones; the newest period first."""
    found: dict[tuple[int, ...], Candidate] = {}
    for one in newest_first:
        period = _PERIODS[letter](datetime.fromtimestamp(one.time, UTC))
        if period not in found or one.is_sound > found[period].is_sound:
            found[period] = one
    return [one.name for one in found.values()]
