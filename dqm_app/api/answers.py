"""What is answered where that is no table; the OpenAPI document describes these models.

Times are Unix seconds, UTC, or null; those in columns of tables as `ColumnAnswer.time_scale` says.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from dqm_db.quantities import TimeScale


class CameraAnswer(BaseModel):
    """A camera."""

    name: str = Field(description="Name of the camera.")
    runs: int = Field(description="How many runs of it are stored.")
    first_run: int = Field(description="The lowest run number.")
    last_run: int = Field(description="The highest run number.")


class CamerasAnswer(BaseModel):
    """All cameras of which there are runs."""

    cameras: list[CameraAnswer] = Field(description="By name.")


class QuantityAnswer(BaseModel):
    """What a run has, and its file does not."""

    name: str = Field(description="EXTNAME.")
    title: str = Field(description="In words.")
    kind: str = Field(description="What it is: pixel_map, camera_scalar, counters and so on.")
    unit: str = Field(description="As astropy writes it; empty for pure numbers.")
    unavailable: str | None = Field(
        description="Why the run has no values of it; null when it has."
    )
    columns: dict[str, dict[str, Any]] = Field(
        description="By name: dtype and shape as numpy has them, unit, and time_scale of "
        "moments (utc or tai)."
    )


class CheckAnswer(BaseModel):
    """What one check says."""

    check: str = Field(description="Name of the check.")
    title: str = Field(description="In words.")
    status: str = Field(description="ok, info, warning, bad or unknown.")
    text: str = Field(description="What it found.")
    value: float | None = Field(
        description="What was compared with the limits, in unit; null when it is not known."
    )
    unit: str = Field(description="As astropy writes it; empty for pure numbers.")
    limits: dict[str, tuple[float | None, float | None]] = Field(
        description="For each status, below and above which value it begins, in unit; null: there "
        "is no limit on that side."
    )
    quantity: str | None = Field(description="EXTNAME of what was looked at.")
    statistic: str | None = Field(description="Which statistic of it.")


class VerdictAnswer(BaseModel):
    """What all checks together say."""

    camera: str = Field(description="Name of the camera.")
    run: int = Field(description="Run number.")
    status: str = Field(description="The worst of all checks; none: it was not judged.")
    checked_at: float | None = Field(description="When it was judged, Unix time (UTC), in seconds.")
    thresholds: str | None = Field(description="Which thresholds it was judged by.")
    checks: list[CheckAnswer] = Field(description="One by one.")


class RunAnswer(BaseModel):
    """A run."""

    camera: str = Field(description="Name of the camera.")
    run: int = Field(description="Run number.")
    verdict: str = Field(description="ok, info, warning, bad, unknown; none: it was not judged.")
    times: dict[str, float | None] = Field(
        description="Unix time (UTC), in seconds, null where it is not known; tai_minus_utc: the "
        "seconds by which TAI was ahead."
    )
    events: dict[str, int | None] = Field(
        description="How many of each class; null where it is not known."
    )
    absent_pixels: list[int] = Field(description="Ids of pixels that are absent.")
    bad_pixels: int | None = Field(
        description="How many pixels are flagged in more than half of the events; null when that "
        "is not known."
    )
    provenance: dict[str, Any] = Field(
        description="Which file it was read from, its size in bytes, and when it was stored: Unix "
        "time (UTC), in seconds."
    )
    notes: list[str] = Field(description="What was noticed when it was read.")
    quantities: list[QuantityAnswer] = Field(description="What there is of it.")


class ColumnAnswer(BaseModel):
    """A column of a table."""

    name: str = Field(description="In data.")
    unit: str = Field(description="As astropy writes it; empty for pure numbers, and texts.")
    description: str = Field(description="In words.")
    dtype: str = Field(description="As numpy has it; str: texts.")
    time_scale: TimeScale | None = Field(
        description="Of moments, in Unix seconds: utc, or tai, which is ahead of UTC by the "
        "meta.tai_minus_utc of the table. Null where the values are no moments."
    )


class TableAnswer(BaseModel):
    """A table as JSON: one list per column, null for what is not known."""

    meta: dict[str, Any] = Field(description="What is to be known of the table as a whole.")
    columns: list[ColumnAnswer] = Field(description="In order.")
    rows: int = Field(description="How many there are.")
    data: dict[str, list[Any]] = Field(
        description="By name of the column: a value per row, or a list of values; null where it "
        "is not known."
    )


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    title: str = Field(description="The status in words.")
    status: int = Field(description="That of HTTP.")
    detail: str = Field(description="What is wrong, and what to do.")
