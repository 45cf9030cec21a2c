"""Units as programs write them, from ``data/units.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources


@functools.cache
def known_units() -> Mapping[str, str]:
    """For the words of each unit, the unit of astropy; empty for pure numbers."""
    text = resources.files("dqm_db").joinpath("data/units.toml").read_text("utf-8")
    return tomllib.loads(text)


def standard_unit(words: str) -> str:
    """The unit of astropy that *words* mean; empty for pure numbers, and for words of others."""
    return known_units().get(words, "")
