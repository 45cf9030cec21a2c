"""What may be asked: the parameters of each address, checked by pydantic.

Descriptions go into the OpenAPI document.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from dqm_app.api.encoding import Format
from dqm_db.content import LARGEST_RUN, N_PIXELS

MOST_ROWS = 1000
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)


def _iso(value: object) -> object:
    """Text as in ISO 8601; pydantic alone takes numbers as well, in units that it guesses."""
    if isinstance(value, str) and _ISO.fullmatch(value) is None:
        raise ValueError("is no time as in ISO 8601, e.g. 2026-05-03T12:00:00Z")
    return value


Moment = Annotated[
    datetime, BeforeValidator(_iso), WithJsonSchema({"type": "string", "format": "date-time"})
]
Run = Annotated[int, Field(ge=0, le=LARGEST_RUN)]
Verdict = Literal["ok", "info", "warning", "bad", "unknown", "none"]


class Question(BaseModel):
    """What every address takes; anything else is refused, since it may have been meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TableQuestion(Question):
    """Of addresses that answer with a table."""

    format: Format | None = Field(
        None, description="Of the answer; without it, what the Accept header names, else JSON."
    )


class RunsQuestion(TableQuestion):
    """Which runs."""

    first: Run | None = Field(None, description="Lowest run number.")
    last: Run | None = Field(None, description="Highest run number.")
    after: Moment | None = Field(
        None, description="Runs that started then or later (ISO 8601; UTC when nothing is said)."
    )
    before: Moment | None = Field(None, description="Runs that started earlier.")
    verdict: list[Verdict] = Field([], description="Runs with any of these verdicts.")
    min_events: int | None = Field(None, ge=0, description="Runs with at least so many events.")
    newest_first: bool = Field(True, description="By run number; false: the oldest first.")
    limit: int = Field(50, ge=1, le=MOST_ROWS, description="Runs in one answer.")
    cursor: Run | None = Field(
        None,
        description="The next_cursor of the page before: the number of its last run, behind which "
        "this page begins. Runs that come or go between two pages move no other.",
    )


class TrendQuestion(TableQuestion):
    """Which statistics over all runs."""

    column: list[Annotated[str, Field(max_length=80)]] = Field(
        min_length=1,
        max_length=50,
        description="QUANTITY.STATISTIC, e.g. WF-PHY-HIGH-GAIN.amplitude; may be repeated.",
    )
    first: Run | None = Field(None, description="Lowest run number.")
    last: Run | None = Field(None, description="Highest run number.")


class HistoryQuestion(TableQuestion):
    """Which pixels over all runs."""

    pixel: list[Annotated[int, Field(ge=0, lt=N_PIXELS)]] = Field(
        min_length=1, max_length=70, description="Pixel ids; may be repeated."
    )
    first: Run | None = Field(None, description="Lowest run number.")
    last: Run | None = Field(None, description="Highest run number.")
