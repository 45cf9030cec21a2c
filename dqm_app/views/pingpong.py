"""Ping-pong: which modules changed state when they should not have, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from bokeh.models import LinearColorMapper

from dqm_app.plots.camera_map import CameraMap
from dqm_app.plots.event_times import EventTimesPlot
from dqm_app.plots.numbers import counted
from dqm_app.plots.pixels import PixelValues
from dqm_app.theme import Theme
from dqm_app.views.base import MAP_COLUMN, REST, QuantityChoice, View, ViewContext, laid_out
from dqm_app.views.choices import choices, chosen, why_missing
from dqm_app.views.pixel_data import load_pixels, pixel_info
from dqm_db.content import PIXELS_PER_MODULE, Kind, RunHeader
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

TIMES = "CAMERA-PING-PONG-CHANGES-TIMES"


@dataclass(frozen=True)
class PingPongData:
    """Changes per pixel, and their times (UTC, unix s), ``count`` of them in all.

    ``times`` is None for the reason ``no_times``.
    """

    quantity: str
    pixels: PixelValues
    times: np.ndarray | None
    no_times: str
    count: int
    run: tuple[float | None, float | None]


class PingPongView(View):
    """A map of changes per pixel, and when they happened."""

    name: ClassVar[str] = "pingpong"
    title: ClassVar[str] = "Ping-pong"

    def __init__(self, context: ViewContext) -> None:
        source = context.pixels.source("pingpong-source")
        mapper = LinearColorMapper(name="pingpong-mapper", low=0, high=1)
        self.map = CameraMap("pingpong-map", context.theme, source, mapper)
        self.times = EventTimesPlot("pingpong-times", context.theme, "Changes")
        self.root = laid_out(self.name, (MAP_COLUMN, REST), [self.map.figure], [self.times.figure])

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """The map of changes."""
        return choices(entries, {Kind.PIXEL_MAP}, section="Ping-pong")

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, quantity: str | None) -> PingPongData:
        """The map and the times."""
        entries = snapshot.quantities(header.camera, header.run)
        name = chosen(cls.quantities(entries), quantity)
        missing = why_missing(entries, TIMES)
        summary = snapshot.summary(header.camera, header.run, TIMES) if missing is None else {}
        return PingPongData(
            quantity=name,
            pixels=load_pixels(snapshot, header, name),
            times=np.sort(summary["time"]) if summary else None,
            no_times=missing or describe(TIMES).unavailable,
            count=int(summary["count"][0]) if summary else 0,
            run=(header.times.first_event, header.times.last_event),
        )

    def update(self, data: PingPongData) -> None:
        """Show map and times."""
        self.map.update(data.pixels)
        title = describe(TIMES).title
        if data.times is None:
            self.times.clear(title, data.no_times)
        elif not data.count:
            self.times.clear(title, "No ping-pong change in this run.")
        else:
            self.times.update(title, data.times, data.count, data.run)
        values = data.pixels.values
        changed = np.flatnonzero(np.nan_to_num(values) > 0)
        modules = np.unique(changed // PIXELS_PER_MODULE)
        info = pixel_info(data.pixels)
        info["numbers"] = [
            ["times", f"{data.count:,}", TIMES],
            ["pixels with changes", f"{changed.size:,}"],
            ["modules with changes", f"{modules.size:,}"],
        ]
        if modules.size:
            named = ", ".join(str(number) for number in modules[:12])
            info["note"] = f"{counted(modules.size, 'module')}: {named}" + (
                ", …" if modules.size > 12 else ""
            )
        self.say(**info)

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        self.map.restyle(theme)
        self.times.restyle(theme)
