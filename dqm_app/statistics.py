"""The statistics of which trends are made, in words, from ``data/statistics.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources

OF_RUN = "run"
"""In the place of a kind: what the catalogue knows of every run."""


@dataclass(frozen=True, slots=True)
class StatisticInfo:
    """One statistic of a kind of quantity.

    Attributes
    ----------
    name : str
        As it is stored.
    title : str
    unit : str or None
        None: that of the quantity.
    """

    name: str
    title: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class KindStatistics:
    """Those of one kind of quantity, in the order of the chooser.

    ``default`` is the name of the one that is shown first.
    """

    default: str
    known: Mapping[str, StatisticInfo]

    def described(self, names: Collection[str]) -> list[StatisticInfo]:
        """What is known of *names*: in our order, then those that only the file knows."""
        ours = [info for name, info in self.known.items() if name in names]
        return ours + [StatisticInfo(name, name) for name in names if name not in self.known]

    def chosen(self, names: Collection[str], wanted: str | None) -> str:
        """*wanted* when it is one of *names*, else the default, else the first of them."""
        for name in (wanted, self.default):
            if name in names:
                return str(name)
        return self.described(names)[0].name


def statistics_of(kind: str) -> KindStatistics:
    """The statistics of a `dqm_db.content.Kind`, or of `OF_RUN`."""
    return _all().get(kind, KindStatistics("", {}))


@functools.cache
def _all() -> Mapping[str, KindStatistics]:
    text = resources.files("dqm_app").joinpath("data/statistics.toml").read_text("utf-8")
    return {
        kind: KindStatistics(
            default=table.pop("default"),
            known={name: StatisticInfo(name, **row) for name, row in table.items()},
        )
        for kind, table in tomllib.loads(text).items()
    }
