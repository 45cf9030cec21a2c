"""Waveforms: the camera's mean, the spread of the pixels, and every picked pixel's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from bokeh.models import LinearColorMapper

from dqm_app.plots.camera_map import CameraMap
from dqm_app.plots.curves import Curves
from dqm_app.plots.numbers import significant
from dqm_app.plots.pixels import PixelValues
from dqm_app.plots.waveform import WaveformPlot, Waveforms
from dqm_app.theme import Theme
from dqm_app.views.base import (
    MAP_COLUMN,
    REST,
    Ask,
    NothingToShow,
    QuantityChoice,
    View,
    ViewContext,
    laid_out,
)
from dqm_app.views.choices import choices, chosen
from dqm_app.views.pixel_data import load_pixels, pixel_info
from dqm_app.views.waveform_data import load_waveforms
from dqm_db.content import Kind, RunHeader
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

SIGNAL_MAP = "CAMERA-AVERAGE-{events}-OVEREVENTS-OVERSAMP-{gain}-GAIN"


@dataclass(frozen=True)
class WaveformsData:
    """Waveforms of one class and gain.

    ``signal`` is the map of the mean signal of the same class and gain, to pick pixels from; None
    when the run has none.
    """

    quantity: str
    camera: str
    run: int
    waveforms: Waveforms
    signal: PixelValues | None


class WaveformsView(View):
    """A map to pick pixels from, and waveforms."""

    name: ClassVar[str] = "waveforms"
    title: ClassVar[str] = "Waveforms"

    def __init__(self, context: ViewContext) -> None:
        self._context = context
        self._data: WaveformsData | None = None
        source = context.pixels.source("waveforms-source")
        mapper = LinearColorMapper(name="waveforms-mapper", low=0, high=1)
        self.map = CameraMap("waveforms-map", context.theme, source, mapper)
        self.map.point_out()
        self.plot = WaveformPlot("waveforms-plot", context.theme)
        self.root = laid_out(self.name, (MAP_COLUMN, REST), [self.map.figure], [self.plot.figure])
        context.pixels.on_pick(self._fetch_picked)

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """Pixel waveforms of each class and gain."""
        return choices(entries, {Kind.PIXEL_WAVEFORMS})

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> WaveformsData:
        """What was computed at ingestion; pixels' own waveforms are read when picked."""
        entries = snapshot.quantities(header.camera, header.run)
        name = chosen(cls.quantities(entries), ask.quantity)
        info = describe(name)
        waveforms = load_waveforms(snapshot, header, name)
        if waveforms is None:
            raise NothingToShow(f"{info.title}: no pixel has a waveform.")
        signal = SIGNAL_MAP.format(events=info.event_class, gain=info.gain)
        held = any(entry.name == signal and entry.unavailable is None for entry in entries)
        return WaveformsData(
            quantity=name,
            camera=header.camera,
            run=header.run,
            waveforms=waveforms,
            signal=load_pixels(snapshot, header, signal) if held else None,
        )

    def update(self, data: WaveformsData) -> None:
        """Show the camera's waveforms at once and ask for those of picked pixels."""
        self._data = data
        self.plot.update(data.waveforms)
        if data.signal is not None:
            self.map.update(data.signal)
        else:
            self.map.clear("This run has no map of the mean signal of these events.")
        self._tell(None)
        self._fetch_picked()

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        self.map.restyle(theme)
        self.plot.restyle(theme)

    def _fetch_picked(self) -> None:
        data, picked = self._data, self._context.pixels.picked
        if data is None:
            return
        if not picked:
            self._show_picked(data, None)
            return

        def read(snapshot: Snapshot) -> Curves:
            columns = snapshot.columns(data.camera, data.run, data.quantity)
            return Curves.of(next(iter(columns.values())), picked)

        self._context.fetch(
            read, lambda curves: self._show_picked(data, curves), "waveforms-picked"
        )

    def _show_picked(self, data: WaveformsData, curves: Curves | None) -> None:
        if data is self._data:
            self.plot.show_picked(curves)
            self._tell(curves)

    def _tell(self, curves: Curves | None) -> None:
        data = self._data
        if data is None:
            return
        waves = data.waveforms
        info = pixel_info(data.signal) if data.signal is not None else {}
        known = bool(np.isfinite(waves.mean).any())
        peak = int(np.nanargmax(waves.mean)) if known else 0
        info |= {
            "quantity": data.quantity,
            "title": waves.title,
            "description": waves.description,
            "numbers": []
            if not known
            else [
                ["peak of the mean", f"{significant(float(waves.mean[peak]))} {waves.unit}"],
                ["at sample", str(peak)],
                ["lowest", f"{significant(float(np.nanmin(waves.mean)))} {waves.unit}"],
            ],
        }
        if curves is not None and curves.left_out:
            info["note"] = curves.drawn_of("pixel")
        self.say(**info)
