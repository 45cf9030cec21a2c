"""What checks know of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dqm_db.content import N_PIXELS, Quantity, RunHeader, Statistics
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry


class NotMeasured(Exception):
    """A check cannot be made; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as checks see it.

    Attributes
    ----------
    run : int
    start : float or None
        Unix s, UTC.
    absent_modules, present_pixels : int
    bad_pixels : int or None
        See `dqm_db.content.RunHeader`.
    statistics : Statistics
    missing : mapping of str to (str or None)
        Why there are no values, by EXTNAME, for all quantities of the run; None: there are.
    """

    run: int
    start: float | None
    absent_modules: int
    present_pixels: int
    bad_pixels: int | None
    statistics: Statistics
    missing: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        header: RunHeader,
        quantities: Iterable[Quantity | QuantityEntry],
        statistics: Statistics,
    ) -> RunFacts:
        """The facts of a run that has been parsed, or read from the database."""
        return cls(
            run=header.run,
            start=header.times.start,
            absent_modules=len(header.absent_modules),
            present_pixels=N_PIXELS - len(header.absent_pixels),
            bad_pixels=header.bad_pixels,
            statistics=statistics,
            missing={quantity.name: quantity.unavailable for quantity in quantities},
        )

    def statistic(self, quantity: str, name: str) -> float:
        """One statistic.

        Raises
        ------
        NotMeasured
            The run has none.
        """
        value = self.statistics.get(quantity, {}).get(name)
        if value is not None:
            return value
        reason = self.missing.get(quantity, describe(quantity).unavailable)
        # Whether it has other statistics makes no difference: those who judge again read none but
        # what checks look at, and must come to the same words.
        if reason is None:
            reason = (
                f"the run has values of {describe(quantity).title} but no statistic “{name}”: it "
                "cannot be computed, or is not stored (dqm rebuild-trends)"
            )
        raise NotMeasured(reason)
