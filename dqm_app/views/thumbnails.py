"""Small camera maps of all quantities of a run: a byte per pixel, which the page colours."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_app.changes import growing_quantities
from dqm_app.plots.numbers import alike
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixel_numbers import default_range
from dqm_app.views.base import QuantityChoice
from dqm_app.views.choices import choices
from dqm_app.views.pixel_data import mask_of
from dqm_app.views.short import short, short_reason
from dqm_db.content import N_PIXELS, Kind, RunHeader
from dqm_db.quantities import QuantityInfo, describe, known_quantities
from dqm_db.reader import PixelMaps, Snapshot
from dqm_db.records import QuantityEntry

COLOURS = 253
"""Codes below are colours, the lowest first; static/thumbnails.js knows the others."""
BAD, NO_VALUE, ABSENT = 253, 254, 255


@dataclass(frozen=True)
class Thumbnails:
    """All per-pixel maps of a run, as small pictures.

    Attributes
    ----------
    words : dict
        JSON, EXTNAME -> what a map is called; the same for most runs.
    listing : list of dict
        JSON, one per quantity that is known or held, in the order in which they are shown: ``row``
        of its codes and its numbers, or ``reason`` why it has none.
    codes : ndarray of uint8, shape (maps, 1855)
        `BAD`, `NO_VALUE`, `ABSENT`, or which of the `COLOURS`.
    """

    words: dict[str, dict[str, Any]]
    listing: list[dict[str, Any]]
    codes: NDArray[np.uint8]


def thumbnails(
    snapshot: Snapshot, header: RunHeader, entries: Sequence[QuantityEntry], maps: PixelMaps
) -> Thumbnails:
    """The small maps of the run of *header*, which holds *entries*, of which *maps* are read."""
    words: dict[str, dict[str, Any]] = {}
    listing: list[dict[str, Any]] = []
    rows: list[NDArray[np.uint8]] = []
    for choice in sorted(choices(entries, {Kind.PIXEL_MAP}), key=_place):
        info = describe(choice.name)
        line: dict[str, Any] = {"quantity": info.name}
        words[info.name] = {
            "title": info.title,
            "unit": info.unit,
            "section": info.section,
            "short": [*short(info.title).split(", ", 1), ""][:2],
            "shortUnit": short(info.unit),
        }
        if choice.available:
            drawn, numbers = _drawn(info, _values(snapshot, header, maps, info.name), header, maps)
            line |= {"row": len(rows), **numbers}
            rows.append(drawn)
        else:
            line["reason"] = short_reason(choice.reason)
        listing.append(line)
    codes = np.array(rows, np.uint8) if rows else np.empty((0, N_PIXELS), np.uint8)
    return Thumbnails(words, listing, codes)


def _place(choice: QuantityChoice) -> tuple[int, bool, bool]:
    """By section; in it the event classes apart, and last what grows with the number of events."""
    info = describe(choice.name)
    growing = choice.name in growing_quantities()
    return _sections().get(info.section, len(_sections())), growing, info.event_class == "PED"


@functools.cache
def _sections() -> Mapping[str, int]:
    found = dict.fromkeys(info.section for info in known_quantities().values())
    return {section: place for place, section in enumerate(found)}


def _values(
    snapshot: Snapshot, header: RunHeader, maps: PixelMaps, name: str
) -> NDArray[np.float64]:
    if name in maps:
        return maps.of(name)
    # maps of other dtypes than float64 are stored apart
    (values,) = snapshot.columns(header.camera, header.run, name).values()
    return values.astype("<f8")


def _drawn(
    info: QuantityInfo, values: NDArray[np.float64], header: RunHeader, maps: PixelMaps
) -> tuple[NDArray[np.uint8], Mapping[str, Any]]:
    """Codes of a map, (1855,), and its words; with the colours and the mask of the large map."""
    finite = np.isfinite(values)
    flagged = np.zeros(N_PIXELS, np.bool_)
    mask = mask_of(info)
    if info.section != "Bad pixels" and mask is not None and mask in maps:
        with np.errstate(invalid="ignore"):  # NaN where a pixel is absent
            flagged = maps.of(mask) > plot_options().bad_fraction
    flagged[header.absent_pixels] = False
    counted = finite & ~flagged
    if not counted.any():
        counted = finite
    codes = np.full(N_PIXELS, NO_VALUE, np.uint8)
    words: dict[str, Any] = {"median": None}
    if finite.any():
        good = values[counted]
        low, high = default_range(info, good, _limits(values[finite]))
        width = high - low if high > low else 1.0
        scaled = np.clip((values[finite] - low) / width, 0.0, 1.0) * COLOURS
        codes[finite] = np.minimum(scaled, COLOURS - 1)
        words = _words(info, good, low, high)
    codes[flagged] = BAD
    codes[header.absent_pixels] = ABSENT
    return codes, words


def _words(
    info: QuantityInfo, good: NDArray[np.float64], low: float, high: float
) -> dict[str, Any]:
    with np.errstate(over="ignore"):  # infinite then, and all digits are shown
        spread = float(good.std())
    exact = info.unit in {*plot_options().counts, *plot_options().range}
    median, least, most = alike(0.0 if exact else spread, float(np.median(good)), low, high)
    words: dict[str, Any] = {"median": median, "range": [least, most]}
    if info.section == "Bad pixels" and info.unit in plot_options().range:  # a fraction of events
        words["bad"] = int((good > plot_options().bad_fraction).sum())
    return words


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.min()), float(values.max())
