"""Per-pixel maps out of a snapshot, with the bad-pixel mask that belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dqm_app.plots.numbers import alike, counted
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixels import ABSENT, NO_VALUE, PixelValues
from dqm_db.content import RunHeader
from dqm_db.quantities import QuantityInfo, describe

if TYPE_CHECKING:
    from dqm_db.reader import PixelMaps, Snapshot

_MASK_OF_CLASS = {
    "PHY": "CAMERA-BADPIX-PHY-OVEREVENTS-{gain}-GAIN-FRACTION",
    "PED": "CAMERA-BADPIX-PED-PHY-OVEREVENTS-{gain}-GAIN-FRACTION",
}


def mask_of(info: QuantityInfo) -> str | None:
    """The bad-pixel quantity of the same gain and event class; None for what has neither."""
    if info.gain is None or info.event_class not in _MASK_OF_CLASS:
        return None
    return _MASK_OF_CLASS[info.event_class].format(gain=info.gain)


def all_masks() -> tuple[str, ...]:
    """The bad-pixel quantities of all gains and event classes."""
    return tuple(
        mask.format(gain=gain) for mask in _MASK_OF_CLASS.values() for gain in ("HIGH", "LOW")
    )


def counts_bad(info: QuantityInfo) -> bool:
    """Whether bad pixels count like all others, as they must where badness itself is shown."""
    return info.section == "Bad pixels"


def load_pixels(snapshot: Snapshot, header: RunHeader, quantity: str) -> PixelValues:
    """The map *quantity* of a run that has it, with the mask of its gain and class."""
    maps = snapshot.pixel_maps(header.camera, header.run)
    if quantity in maps:
        return pixel_values(maps, header, quantity, maps.of(quantity))
    # maps of other dtypes than float64 are stored apart
    (values,) = snapshot.columns(header.camera, header.run, quantity).values()
    return pixel_values(maps, header, quantity, values.astype("<f8"))


def pixel_values(
    maps: PixelMaps, header: RunHeader, quantity: str, values: NDArray[np.float64]
) -> PixelValues:
    """*values*, one per pixel, ready to show with the mask that *maps* has for them."""
    info = describe(quantity)
    mask = mask_of(info)
    known_mask = mask is not None and mask in maps
    return PixelValues.of(
        info,
        values,
        header.absent_pixels,
        bad_fraction=maps.of(mask) if mask is not None and known_mask else None,
        mask=mask if known_mask else None,
        count_bad=counts_bad(info),
    )


def pixel_info(data: PixelValues) -> dict[str, Any]:
    """What the toolbar of a view of pixels says: name, numbers, legend and colour range."""
    bad = int(data.flagged.sum())
    valueless = int((data.state == NO_VALUE).sum())
    absent = int((data.state == ABSENT).sum())
    numbers, unit = data.statistics, f" {data.unit}" if data.unit else ""
    percent = f"{100 * plot_options().bad_fraction:g} %"
    exact = data.unit in {*plot_options().counts, *plot_options().range}
    low, high = alike(0.0 if exact else numbers.std, numbers.low, numbers.high)
    # the range of the colours may be that of all pixels
    counted_pixels = "" if data.statistics.all_pixels else "good pixels: "
    if data.modules is not None:
        counted_pixels = "modules: "
    return {
        "quantity": data.quantity,
        "title": data.title,
        "unit": data.unit,
        "description": data.description,
        "legend": {
            "bad": bad,
            "absent": absent,
            "mask": data.mask,
            "badText": f"{bad} bad in this gain and class" if data.mask else "",
            "badNote": f"Flagged in more than {percent} of the events of this gain and class",
            "absentText": f"{counted(absent, 'absent pixel')} (not read out)",
            "noValue": valueless,
            "noValueText": f"{counted(valueless, 'pixel')} without a value",
        },
        "numbers": []
        if data.nothing
        else [
            [f"{counted_pixels}min", low + unit],
            ["max", high + unit],
        ],
        "range": None
        if data.nothing
        else {
            "auto": list(data.auto),
            "full": list(data.auto if data.unit in plot_options().counts else data.full),
            "autoText": auto_words(data),
        },
    }


def auto_words(data: PixelValues) -> str:
    """What the default colour range is."""
    options = plot_options()
    if data.unit in options.range:
        low, high = options.range[data.unit]
        return f"{low:g}–{high:g}"
    if data.unit in options.counts:
        return "0–max"
    low, high = options.colour_percentiles
    return f"{low:g}–{high:g} %"
