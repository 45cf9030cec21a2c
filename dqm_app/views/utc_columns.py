"""Times of results files as people read them, beside the numbers that the file holds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dqm_app.plots.options import plot_options
from dqm_db.content import RunHeader
from dqm_db.quantities import TimeScale, describe

LABEL = "{} in UTC"
NO_DATES = "All contents has the numbers."


def why_no_dates(header: RunHeader, what: str) -> str:
    """Why none of the times of *what* can be placed in UTC, in words for people."""
    reason = (
        f"The times of {what} cannot be converted to UTC: the results file does not say when its "
        "first event was."
        if header.times.tai_minus_utc is None
        else f"No time of {what} is a date between 1972 and 9999."
    )
    return f"{reason} {NO_DATES}"


def with_utc(name: str, columns: Mapping[str, NDArray], header: RunHeader) -> dict[str, NDArray]:
    """*columns*, and after each one of times the same as dates.

    Parameters
    ----------
    name : str
        EXTNAME; it decides what the numbers are.
    columns : mapping of str to ndarray
        As the file has them; times are unix_tai seconds, but for those that are known to be UTC.
    header : RunHeader
        Its ``times.tai_minus_utc`` converts; without it nothing is added.
    """
    info = describe(name)
    seconds = info.unit in plot_options().time_units
    shown: dict[str, NDArray] = {}
    for label, values in columns.items():
        shown[label] = values
        is_utc = info.column(label).time_scale is TimeScale.UTC
        ahead = 0.0 if is_utc else header.times.tai_minus_utc
        if not seconds or ahead is None:
            continue
        if values.dtype.kind == "f" or is_utc:
            shown[LABEL.format(label)] = _dates(values.ravel().astype("<f8") - ahead)
    return shown


def _dates(seconds: NDArray[np.float64]) -> NDArray[np.datetime64]:
    known = np.isfinite(seconds) & (np.abs(seconds) < 1e11)
    micro = np.rint(np.where(known, seconds, 0.0) * 1e6).astype("<i8").astype("datetime64[us]")
    return np.where(known, micro, np.datetime64("NaT"))
