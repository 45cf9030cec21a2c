"""What is answered where that is no table; the OpenAPI document describes these models.

Times are Unix seconds, UTC, or null; those in columns of tables as `ColumnAnswer.time_scale` says.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from dqm_db.quantities import TimeScale


class CameraAnswer(BaseModel):
    """A camera."""

    name: str
    runs: int
    first_run: int
    last_run: int


class CamerasAnswer(BaseModel):
    """All cameras of which there are runs."""

    cameras: list[CameraAnswer]


class QuantityAnswer(BaseModel):
    """What a run has, and its file does not."""

    name: str
    title: str
    kind: str
    unit: str
    unavailable: str | None
    columns: dict[str, dict[str, Any]]


class CheckAnswer(BaseModel):
    """What one check says."""

    check: str
    title: str
    status: str
    text: str
    value: float | None
    unit: str
    limits: dict[str, tuple[float | None, float | None]]
    quantity: str | None
    statistic: str | None


class VerdictAnswer(BaseModel):
    """What all checks together say."""

    camera: str
    run: int
    status: str
    checked_at: float | None
    thresholds: str | None
    checks: list[CheckAnswer]


class RunAnswer(BaseModel):
    """A run."""

    camera: str
    run: int
    verdict: str
    times: dict[str, float | None]
    events: dict[str, int | None]
    absent_pixels: list[int]
    bad_pixels: int | None
    provenance: dict[str, Any]
    notes: list[str]
    quantities: list[QuantityAnswer]


class ColumnAnswer(BaseModel):
    """A column of a table."""

    name: str
    unit: str
    description: str
    dtype: str
    time_scale: TimeScale | None = Field(
        description="Of moments, in Unix seconds: utc, or tai, which is ahead of UTC by the "
        "meta.tai_minus_utc of the table. Null where the values are no moments."
    )


class TableAnswer(BaseModel):
    """A table as JSON: one list per column, null for what is not known."""

    meta: dict[str, Any]
    columns: list[ColumnAnswer]
    rows: int
    data: dict[str, list[Any]]


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    title: str
    status: int
    detail: str
