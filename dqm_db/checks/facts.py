"""What checks know of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dqm_db.content import N_PIXELS, Quantity, RunHeader, Statistics
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

NO_STATISTICS = (
    "the run has values of it but no statistics: they cannot be computed, or are not stored "
    "(dqm rebuild-trends)"
)


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
    missing : mapping of str to str
        Why there is nothing to look at, by EXTNAME, for quantities without statistics.
    """

    run: int
    start: float | None
    absent_modules: int
    present_pixels: int
    bad_pixels: int | None
    statistics: Statistics
    missing: Mapping[str, str] = field(default_factory=dict)

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
            missing={
                quantity.name: quantity.unavailable or NO_STATISTICS for quantity in quantities
            },
        )

    def statistic(self, quantity: str, name: str) -> float:
        """One statistic.

        Raises
        ------
        NotMeasured
            The run has none.
        """
        found = self.statistics.get(quantity)
        if found is None:
            raise NotMeasured(self.missing.get(quantity, describe(quantity).unavailable))
        if name not in found:
            raise NotMeasured(
                f"{describe(quantity).title} has no statistic “{name}”: it cannot be computed, or "
                "the run was stored by an older release (dqm rebuild-trends)"
            )
        return found[name]
