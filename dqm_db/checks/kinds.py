"""The kinds of checks: each class measures one number of a run. Which ones there are is in
``dqm_db/data/checks.toml``, what the number may be in the thresholds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from dqm_db.checks.facts import NotMeasured, RunFacts

Column = tuple[str, str]
"""(quantity, statistic)."""


class Check(BaseModel, ABC):
    """One thing that is checked of every run.

    Attributes
    ----------
    id : str
    title : str
        For people.
    unit : str
        Of the number that is measured, and of its limits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    unit: str
    kind: Any
    plain: ClassVar[bool] = False
    """Whether the number is a statistic as stored, so that limits can be drawn in its trend."""

    @abstractmethod
    def measure(self, facts: RunFacts) -> float:
        """The number.

        Raises
        ------
        NotMeasured
            The run does not say.
        """

    @property
    def columns(self) -> tuple[Column, ...]:
        """The statistics that it is made of, the one that tells most about it first."""
        return ()


class StatisticCheck(Check):
    """A statistic as it is."""

    kind: Literal["statistic"]
    quantity: str
    statistic: str
    plain: ClassVar[bool] = True

    def measure(self, facts: RunFacts) -> float:
        """The statistic."""
        return facts.statistic(self.quantity, self.statistic)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The one that it is."""
        return ((self.quantity, self.statistic),)


class DifferenceCheck(Check):
    """One statistic of a quantity minus another one."""

    kind: Literal["difference"]
    quantity: str
    statistics: tuple[str, str]

    def measure(self, facts: RunFacts) -> float:
        """First minus second."""
        first, second = (facts.statistic(self.quantity, name) for name in self.statistics)
        return first - second

    @property
    def columns(self) -> tuple[Column, ...]:
        """Both."""
        first, second = self.statistics
        return ((self.quantity, first), (self.quantity, second))


class RatioCheck(Check):
    """One statistic divided by another one, times a scale."""

    kind: Literal["ratio"]
    numerator: Column
    denominator: Column
    scale: float = Field(1.0, gt=0)

    def measure(self, facts: RunFacts) -> float:
        """Scale × numerator ÷ denominator."""
        numerator = facts.statistic(*self.numerator)
        denominator = facts.statistic(*self.denominator)
        if denominator <= 0:
            raise NotMeasured(
                f"it is relative to “{self.denominator[1]}”, which is {denominator:g}"
            )
        return self.scale * numerator / denominator

    @property
    def columns(self) -> tuple[Column, ...]:
        """Numerator, denominator."""
        return (self.numerator, self.denominator)


class AbsentModulesCheck(Check):
    """Modules that were not read out."""

    kind: Literal["absent_modules"]

    def measure(self, facts: RunFacts) -> float:
        """Their number."""
        return float(facts.absent_modules)


class BadPixelsCheck(Check):
    """Pixels that are flagged as failing in most events of any gain and class."""

    kind: Literal["bad_pixels"]

    def measure(self, facts: RunFacts) -> float:
        """Per cent of the pixels that were read out."""
        if facts.bad_pixels is None:
            raise NotMeasured("the results file holds no bad-pixel data")
        if not facts.present_pixels:
            raise NotMeasured("no pixel was read out")
        return 100.0 * facts.bad_pixels / facts.present_pixels


AnyCheck = StatisticCheck | DifferenceCheck | RatioCheck | AbsentModulesCheck | BadPixelsCheck
