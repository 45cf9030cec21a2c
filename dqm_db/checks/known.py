"""Which checks there are, from ``dqm_db/data/checks.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from dqm_db.checks.kinds import AnyCheck, Check

GAINS = ("high", "low")

_ADAPTER: TypeAdapter[AnyCheck] = TypeAdapter(Annotated[AnyCheck, Field(discriminator="kind")])


@functools.cache
def known_checks() -> Mapping[str, Check]:
    """All checks by id, in the order in which they are listed."""
    text = resources.files("dqm_db").joinpath("data/checks.toml").read_text("utf-8")
    found: dict[str, Check] = {}
    for given in tomllib.loads(text)["check"]:
        for expanded in _of_gains(given):
            check = _ADAPTER.validate_python(expanded)
            found[check.id] = check
    return MappingProxyType(found)


def _of_gains(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    gains = GAINS if "{gain}" in given["id"] else ("",)
    for gain in gains:
        yield {
            key: value.replace("{gain}", gain).replace("{GAIN}", gain.upper())
            if isinstance(value, str)
            else value
            for key, value in given.items()
        }
