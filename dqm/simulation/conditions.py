"""What a simulated run is like: numbers that make it healthy or sick, by name or one by one."""

from __future__ import annotations

import enum
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from dqm_db.content import N_MODULES, N_PIXELS
from dqm_db.errors import ConfigurationError


class FrontEnd(enum.StrEnum):
    """Data format of the front-end boards, which decides how absent modules look in the file."""

    V6 = "v6"
    PRE_V6 = "pre-v6"


@dataclass(frozen=True, slots=True)
class Condition:
    """State of camera and data taking during a simulated run; the defaults are a healthy run.

    Attributes
    ----------
    events : int or None
        Triggered events; None leaves it to the caller.
    rate : float
        Mean trigger rate in Hz.
    pedestal_fraction, flatfield_fraction : float
        Share of sky-pedestal and of flat-field events, 0…1; the rest are showers.
    wrong_times : int
        Events some 400 s earlier than the first event.
    negative_steps : int
        Events whose time is up to 1.5 s too early.
    front_end : FrontEnd
    absent_modules : int
        Modules that are not read out.
    dead_modules, dead_pixels : int
        Read out, without signal and noise, flagged in all events.
    failing_modules : int
        Modules flagged from some event on.
    flickering_pixels : int
        Flagged in 8 % of the events, in high gain only.
    noisy_pixels : int
        Pixels with six times the noise.
    hot_pixels : int
        Neighbouring pixels with a raised pedestal and three times the signal.
    hot_modules : int
        Modules 12 °C warmer than they should be.
    ping_pong_modules : int
        Modules with ping-pong changes, four each.
    temperature : bool
        Whether temperature readings were available.
    pedestal_subtracted : bool
        Whether charges are pedestal-subtracted.
    unknown_quantities : bool
        Adds an image and a table that are no part of the format.
    """

    events: int | None = None
    rate: float = 50.0
    pedestal_fraction: float = 0.08
    flatfield_fraction: float = 0.07
    wrong_times: int = 0
    negative_steps: int = 0
    front_end: FrontEnd = FrontEnd.V6
    absent_modules: int = 0
    dead_modules: int = 0
    dead_pixels: int = 3
    failing_modules: int = 0
    flickering_pixels: int = 4
    noisy_pixels: int = 0
    hot_pixels: int = 0
    hot_modules: int = 0
    ping_pong_modules: int = 0
    temperature: bool = True
    pedestal_subtracted: bool = False
    unknown_quantities: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that no run can have.

        Raises
        ------
        ConfigurationError
        """
        fractions = (self.pedestal_fraction, self.flatfield_fraction)
        if min(fractions) < 0 or sum(fractions) > 1:
            raise ConfigurationError(
                "shares of pedestal and flat-field events must be ≥ 0 and sum up to 1 at most, "
                f"not {self.pedestal_fraction} and {self.flatfield_fraction}"
            )
        if self.rate <= 0:
            raise ConfigurationError(f"the trigger rate must be > 0 Hz, not {self.rate}")
        modules = (
            self.absent_modules,
            self.dead_modules,
            self.failing_modules,
            self.hot_modules,
            self.ping_pong_modules,
        )
        if min(modules) < 0 or sum(modules) > N_MODULES:
            raise ConfigurationError(
                f"affected modules must be ≥ 0 each and {N_MODULES} at most together"
            )
        pixels = (self.dead_pixels, self.flickering_pixels, self.noisy_pixels, self.hot_pixels)
        if min(pixels) < 0 or sum(pixels) > N_PIXELS:
            raise ConfigurationError(
                f"affected pixels must be ≥ 0 each and {N_PIXELS} at most together"
            )
        if min(self.wrong_times, self.negative_steps) < 0:
            raise ConfigurationError("numbers of mistimed events must be ≥ 0")


@dataclass(frozen=True, slots=True)
class NamedCondition:
    """A condition of ``conditions.toml`` with its description and its weight in a campaign."""

    name: str
    description: str
    frequency: float
    condition: Condition


@functools.cache
def named_conditions() -> Mapping[str, NamedCondition]:
    """The conditions of ``conditions.toml`` by name, in the file's order."""
    named = {}
    for name, entry in _document()["condition"].items():
        description, frequency = entry.pop("description"), entry.pop("frequency")
        if "front_end" in entry:
            entry["front_end"] = FrontEnd(entry["front_end"])
        named[name] = NamedCondition(name, description, frequency, Condition(**entry))
    return named


def campaign_opening() -> tuple[str, ...]:
    """Names of the conditions of the first runs of a campaign."""
    return tuple(_document()["opening"])


def condition_named(name: str) -> Condition:
    """The condition called *name*.

    Raises
    ------
    ConfigurationError
        When there is none; the text lists those that exist.
    """
    known = named_conditions()
    if name not in known:
        raise ConfigurationError(f"no condition is called {name!r}; there are {', '.join(known)}")
    return known[name].condition


def _document() -> dict[str, Any]:
    text = resources.files("dqm.simulation").joinpath("conditions.toml").read_text("utf-8")
    return tomllib.loads(text)
