"""Whether the database can be read, as one dashboard process sees it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.StrEnum):
    """Whether the database can be read."""

    STARTING = "starting"  # asked for, no answer yet
    OK = "ok"
    EMPTY = "empty"  # answers, holds nothing yet
    WAITING = "waiting"  # has been asked for a while and has not answered yet
    DOWN = "down"  # does not answer
    FAULT = "fault"  # holds what this release cannot read, or the settings are wrong


@dataclass(frozen=True, slots=True)
class Health:
    """State of the database as this process sees it.

    Attributes
    ----------
    state : State
    since : float
        Unix seconds, UTC.
    text : str
        What is wrong and what to do; empty when nothing is.
    """

    state: State
    since: float
    text: str = ""
