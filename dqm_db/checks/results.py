"""What checks say: statuses, results, verdicts. Plain values."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Limits = Mapping[str, tuple[float | None, float | None]]
"""``"info"``, ``"warning"`` and ``"bad"`` -> lowest and highest value that is not yet that; None:
there is no such limit."""


class Status(enum.IntEnum):
    """How good something is, the worse the higher; `UNKNOWN` is beside this order."""

    OK = 0
    INFO = 1  # good, with something worth knowing
    WARNING = 2  # somebody should look
    BAD = 3  # not fit for use
    UNKNOWN = 4  # could not be judged


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check says of one run.

    Attributes
    ----------
    check : str
        Its id.
    title : str
        For people.
    status : Status
    text : str
        One sentence for people: what was found, or why it could not be judged.
    value : float or None
    unit : str
        Of value and limits.
    limits : Limits
    quantity, statistic : str or None
        What of the run it looked at: EXTNAME and name of the statistic.
    """

    check: str
    title: str
    status: Status
    text: str
    value: float | None = None
    unit: str = ""
    limits: Limits = field(default_factory=dict)
    quantity: str | None = None
    statistic: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all checks together say of one run.

    Attributes
    ----------
    status : Status
        The worst that is known; `Status.UNKNOWN` when no check could be judged.
    results : tuple of CheckResult
        The worst first, those that could not be judged last.
    thresholds : str
        Which thresholds were applied.
    checked_at : float
        Unix s, UTC.
    """

    status: Status
    results: tuple[CheckResult, ...]
    thresholds: str
    checked_at: float

    def says_the_same_as(self, other: Verdict | None) -> bool:
        """Whether *other* is this verdict, perhaps made at another time or with other files."""
        return other is not None and (self.status, self.results) == (other.status, other.results)

    @classmethod
    def of(cls, results: Iterable[CheckResult], thresholds: str, checked_at: float) -> Verdict:
        """The verdict that *results* make, those of equal status in the order given."""
        place = {status: index for index, status in enumerate(_WORST_FIRST)}
        ordered = tuple(sorted(results, key=lambda result: place[result.status]))
        status = ordered[0].status if ordered else Status.UNKNOWN
        return cls(status, ordered, thresholds, checked_at)


_WORST_FIRST = (Status.BAD, Status.WARNING, Status.INFO, Status.OK, Status.UNKNOWN)
