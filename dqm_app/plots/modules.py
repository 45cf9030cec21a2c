"""Per-pixel values rolled up to modules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dqm_app.plots.pixel_numbers import (
    default_range,
    limits_of,
    pixel_histogram,
    statistics_of,
)
from dqm_app.plots.pixels import ABSENT, NO_VALUE, STATE_WORDS, ModuleSpread, PixelValues
from dqm_db.content import N_MODULES, PIXELS_PER_MODULE
from dqm_db.quantities import describe


def rolled_up(data: PixelValues) -> PixelValues:
    """*data* with the mean of its module in the place of the value of each pixel.

    Into the mean go the pixels of the module that have a value and are not bad (the bad ones, too,
    where badness itself is shown). A pixel that was not read out stays absent. Ranges, statistics
    and histogram are those of the modules.
    """
    values = data.values.reshape(N_MODULES, PIXELS_PER_MODULE)
    counted = data.counted.reshape(N_MODULES, PIXELS_PER_MODULE)
    pixels = counted.sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0 / 0 where no pixel counts, which is NaN, as it should
        mean = np.where(counted, values, 0.0).sum(axis=1) / pixels
        apart = np.where(counted, values - mean[:, None], 0.0)
        std = np.sqrt((apart**2).sum(axis=1) / pixels)
    known = mean[np.isfinite(mean)]
    full = limits_of(known)
    auto = default_range(describe(data.quantity), known, full)
    shown = np.where(data.state == ABSENT, np.nan, _of_pixels(mean))
    state = data.state.copy()
    state[(state != ABSENT) & np.isnan(shown)] = NO_VALUE
    return replace(
        data,
        values=shown,
        state=state,
        words=[
            words if code != NO_VALUE else STATE_WORDS[NO_VALUE]
            for words, code in zip(data.words, state, strict=True)
        ],
        statistics=statistics_of(known, all_pixels=data.statistics.all_pixels),
        auto=auto,
        full=full,
        histogram=pixel_histogram(data.unit, mean, np.zeros(N_MODULES, np.bool_), auto, full),
        modules=ModuleSpread(_of_pixels(std), _of_pixels(pixels.astype(np.uint8))),
    )


def _of_pixels(values: NDArray) -> NDArray:
    return np.repeat(values, PIXELS_PER_MODULE)
