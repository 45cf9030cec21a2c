"""Short words for narrow places, from ``data/overview.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources

from dqm_app.views.choices import plainly


def short(words: str) -> str:
    """*words*, a title or a unit, as written where there is little room."""
    for long, shorter in _table().items():
        words = words.replace(long, shorter)
    return words


def short_reason(reason: str | None) -> str:
    """Why there is no value, without the words that say no more than that it is so."""
    return plainly(reason or "no data").removeprefix("the run has ")


@functools.cache
def _table() -> Mapping[str, str]:
    """The table ``short``, the longer words first."""
    text = resources.files("dqm_app").joinpath("data/overview.toml").read_text("utf-8")
    table: dict[str, str] = tomllib.loads(text)["short"]
    return dict(sorted(table.items(), key=lambda pair: -len(pair[0])))
