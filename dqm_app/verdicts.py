"""The verdicts of runs and checks in words and signs, from ``data/verdicts.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

NOT_JUDGED = -1
"""In the place of a status: the run was never checked."""


class Wording(NamedTuple):
    """One status for people.

    Attributes
    ----------
    key : str
        ``"ok"``, ``"bad"``, …: for code, and ``status_KEY`` is its colour (but for ``"none"``,
        which has that of ``"unknown"``).
    word : str
        What stands beside the sign.
    sign : str
        One letter that says the same without colour.
    meaning : str
        A few words, e.g. for a tooltip.
    """

    key: str
    word: str
    sign: str
    meaning: str

    @property
    def colour(self) -> str:
        """The token of the theme, e.g. ``"status_ok"``."""
        return f"status_{'unknown' if self.key == 'none' else self.key}"


@functools.cache
def words() -> Mapping[int, Wording]:
    """All statuses by number, `NOT_JUDGED` included, in the order of lists: the worst first."""
    text = resources.files("dqm_app").joinpath("data/verdicts.toml").read_text("utf-8")
    rows = tomllib.loads(text)["verdict"]
    return {row.pop("status"): Wording(**row) for row in rows}
