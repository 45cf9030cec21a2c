"""Which pixels were not read out, and every per-pixel value put in the place of its pixel.

When modules are absent, nectarchain 0.4.0 writes its per-pixel arrays in three orders
(`QuantityInfo.pixel_order`); with k absent pixels and *present* the ids of the others, sorted:

``pixel_id``
    1855 values in place; absent pixels hold the fill value of the source.
``present``
    1855 − k values, those of *present*.
``shifted``
    1855 values of the pixels ``concatenate([0 … k−1], present)``: the last 1855 − k are those of
    *present*.

Which pixels are absent is not written. The waveforms tell: mean waveforms of absent pixels are +inf
in all samples (front-end version 6: float32 maxima, summed) or 65535 (before it). Without waveforms
the first k values of a shifted map still tell which of the pixels 0 … k−1 are present, because each
of these occurs once more. What cannot be placed for certain is not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import N_PIXELS, Kind
from dqm_db.quantities import QuantityInfo, describe
from ingest.results import RawHDU

FILL = 60_000.0
"""ADC counts: above everything that a 12-bit sample can reach, below the fill value 65535."""

_AGREEMENT = 0.25
"""ADC counts: mean signal and mean of the mean waveform differ by the rounding of float32 sums,
about 1e-3 counts; those of different pixels by about 10."""
_AGREEING = 0.95
"""Fraction of the pixels that have to agree; some waveforms may hold overflows."""


class CannotPlace(Exception):
    """Values of a map cannot be assigned to pixels; the text says why."""


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the per-pixel arrays of one file are to be read.

    Attributes
    ----------
    present : ndarray of bool, shape (1855,)
        All true when it is unknown which pixels are absent.
    shift : int
        Pixels that the file's own list of pixels lacks (k above).
    unknown : str or None
        Why maps that depend on the list of pixels cannot be placed.
    shift_unknown : str or None
        The same, for shifted maps only.
    notes : tuple of str
    """

    present: NDArray[np.bool_]
    shift: int = 0
    unknown: str | None = None
    shift_unknown: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def absent_pixels(self) -> NDArray[np.uint16]:
        """Ids of the absent pixels, sorted."""
        return np.flatnonzero(~self.present).astype(np.uint16)

    def place(self, values: NDArray, info: QuantityInfo) -> NDArray:
        """A map in pixel-id order, NaN where a pixel is absent; shape (1855,).

        It is as in the file when no pixel is absent, float64 otherwise. What module sensors
        measure (`QuantityInfo.of_sensors`) is kept for absent pixels too, as in the file.

        Raises
        ------
        CannotPlace
        """
        if info.of_sensors and len(values) == N_PIXELS:
            return values
        if info.pixel_order == "shifted" and self.shift and len(values) == N_PIXELS:
            if reason := self.unknown or self.shift_unknown:
                raise CannotPlace(reason)
            values = values[self.shift :]
        elif len(values) == N_PIXELS:
            if self.present.all():
                return values
            return np.where(self.present, values, np.nan)
        elif self.unknown:
            raise CannotPlace(self.unknown)
        if info.pixel_order == "pixel_id" or len(values) != np.count_nonzero(self.present):
            raise CannotPlace(
                f"it has {len(values)} values for {np.count_nonzero(self.present)} present pixels"
            )
        placed = np.full(N_PIXELS, np.nan)
        placed[self.present] = values
        return placed


def find_layout(hdus: Mapping[str, RawHDU]) -> PixelLayout:
    """Find the absent pixels of a file and the order of its maps."""
    waveforms = _waveforms(hdus)
    listed = _listed_pixels(hdus)
    shift = None if listed is None else N_PIXELS - listed
    if not waveforms:
        return _layout_without_waveforms(hdus, shift)
    fills = np.array([is_fill(values) for values in waveforms.values()])
    always, ever = np.logical_and.reduce(fills), np.logical_or.reduce(fills)
    notes: list[str] = []
    absent = always
    if shift is not None and np.count_nonzero(ever) == shift:
        absent = ever
    elif not np.array_equal(always, ever):
        notes.append(
            f"{np.count_nonzero(ever & ~always)} pixels have no waveforms in some classes or gains"
        )
    count = int(np.count_nonzero(absent))
    present = np.logical_not(absent)
    layout = PixelLayout(present, count if shift is None else shift, notes=tuple(notes))
    if shift is not None and shift != count:
        reason = (
            f"the charges list {N_PIXELS - shift} pixels, but by the waveforms "
            f"{N_PIXELS - count} are present"
        )
        return PixelLayout(layout.present, shift, unknown=reason, notes=(*notes, reason))
    if count and _contradicts(hdus, waveforms, layout):
        reason = "the mean signals are not in the order known, by comparison with the waveforms"
        return PixelLayout(
            layout.present, layout.shift, shift_unknown=reason, notes=(*notes, reason)
        )
    return layout


def is_fill(waveforms: NDArray) -> NDArray[np.bool_]:
    """Which rows of mean waveforms (pixels, samples) hold the fill value in all samples."""
    return ((waveforms >= FILL) | ~np.isfinite(waveforms)).all(axis=1)


def _waveforms(hdus: Mapping[str, RawHDU]) -> dict[str, NDArray]:
    """Pixel waveforms that hold data; all zeros are written for classes without events."""
    found = {}
    for name, hdu in hdus.items():
        values = hdu.only()
        if describe(name).kind is not Kind.PIXEL_WAVEFORMS or values is None:
            continue
        if values.ndim == 2 and len(values) == N_PIXELS and values.shape[1] and values.any():
            found[name] = values
    return found


def _listed_pixels(hdus: Mapping[str, RawHDU]) -> int | None:
    """Pixels in the file's own list: the length of the maps that hold present pixels only."""
    lengths = {
        len(values)
        for name, hdu in hdus.items()
        if describe(name).pixel_order == "present"
        and (values := hdu.only()) is not None
        and values.ndim == 1
        and 0 < len(values) <= N_PIXELS
    }
    return lengths.pop() if len(lengths) == 1 else None


def _contradicts(
    hdus: Mapping[str, RawHDU], waveforms: Mapping[str, NDArray], layout: PixelLayout
) -> bool:
    """Whether a mean signal, once placed, is not the mean of the waveforms of its pixels."""
    for name, values in waveforms.items():
        info = describe(name)
        mean_signal = hdus.get(
            f"CAMERA-AVERAGE-{info.event_class}-OVEREVENTS-OVERSAMP-{info.gain}-GAIN"
        )
        signal = None if mean_signal is None else mean_signal.only()
        if signal is None or signal.shape != (N_PIXELS,):
            continue
        expected = values[layout.present].mean(axis=1)
        agree = np.abs(signal[layout.shift :] - expected) <= _AGREEMENT
        if np.count_nonzero(agree) < _AGREEING * len(agree):
            return True
    return False


def _layout_without_waveforms(hdus: Mapping[str, RawHDU], shift: int | None) -> PixelLayout:
    everything = np.ones(N_PIXELS, np.bool_)
    maps = [
        values
        for name, hdu in hdus.items()
        if name.startswith("CAMERA-AVERAGE-")
        and describe(name).pixel_order == "shifted"
        and (values := hdu.only()) is not None
        and values.shape == (N_PIXELS,)
    ]
    if shift == 0 or (shift is None and not maps):
        return PixelLayout(everything)
    found = _read_shift(np.array(maps), shift) if maps else None
    if found is None and shift is None:
        return PixelLayout(everything)
    if found is not None:
        shift, absent = found
        if len(absent) == shift:
            everything[absent] = False
            return PixelLayout(everything, shift)
    reason = f"{shift} pixels are absent and the file does not tell which: it has no waveforms"
    return PixelLayout(everything, shift or 0, unknown=reason, notes=(reason,))


def _read_shift(maps: NDArray, shift: int | None) -> tuple[int, list[int]] | None:
    """Read k, and the absent ones among the pixels 0 … k−1, off shifted maps.

    Parameters
    ----------
    maps : ndarray, shape (maps, 1855)
        Shifted maps of one file; together their columns are as good as unique.
    shift : int or None
        k, when it is known.

    Returns
    -------
    (k, absent pixels below k), or None when the maps show no shift.
    """
    if len(np.unique(maps, axis=1).T) < N_PIXELS // 2:
        return None  # too uniform to tell one pixel from another
    fill = ((maps >= FILL) | ~np.isfinite(maps)).all(axis=0)
    candidates = range(N_PIXELS - 1, 0, -1) if shift is None else (shift,)
    for k in candidates:
        absent = _absent_below(maps, fill, k)
        if absent is not None:
            return k, absent
    return None


def _absent_below(maps: NDArray, fill: NDArray[np.bool_], k: int) -> list[int] | None:
    """Absent pixels among 0 … k−1 if the maps are shifted by k, else None."""
    if fill[k:].any():
        return None
    absent: list[int] = []
    following = k
    for pixel in range(k):
        if fill[pixel]:
            absent.append(pixel)
        elif following < N_PIXELS and np.array_equal(maps[:, pixel], maps[:, following]):
            following += 1
        else:
            return None
    return absent
