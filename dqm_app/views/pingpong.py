"""Ping-pong: which modules changed state when they should not have, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from bokeh.models import LinearColorMapper

from dqm_app.plots.camera_map import CameraMap
from dqm_app.plots.event_times import EventTimesPlot
from dqm_app.plots.numbers import counted, moment, moments
from dqm_app.plots.pixels import PixelValues
from dqm_app.theme import Theme
from dqm_app.views.base import MAP_COLUMN, REST, Ask, QuantityChoice, View, ViewContext, laid_out
from dqm_app.views.choices import choices, chosen, why_missing
from dqm_app.views.pixel_data import load_pixels, pixel_info
from dqm_app.views.utc_columns import why_no_dates
from dqm_db.content import PIXELS_PER_MODULE, Kind, RunHeader
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

TIMES = "CAMERA-PING-PONG-CHANGES-TIMES"


@dataclass(frozen=True)
class PingPongData:
    """Changes per pixel, and their times (UTC, unix s), ``count`` of them in all.

    ``times`` is None for the reason ``no_times``, ``dated`` of the times are moments in UTC, and
    only these are in ``times``.
    """

    quantity: str
    pixels: PixelValues
    times: np.ndarray | None
    no_times: str
    count: int
    dated: int
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
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> PingPongData:
        """The map and the times."""
        entries = snapshot.quantities(header.camera, header.run)
        name = chosen(cls.quantities(entries), ask.quantity)
        missing = why_missing(entries, TIMES)
        summary = snapshot.summary(header.camera, header.run, TIMES) if missing is None else {}
        times = summary["time"] if summary else np.empty(0)
        count = dated = int(summary["count"][0]) if summary else 0
        known = moments(times)
        if not known.all():
            (stored,) = snapshot.columns(header.camera, header.run, TIMES).values()
            dated = int(moments(stored - (header.times.tai_minus_utc or np.nan)).sum())
            missing = why_no_dates(header, "these changes") if not dated else None
        return PingPongData(
            quantity=name,
            pixels=load_pixels(snapshot, header, name),
            times=np.sort(times[known]) if summary and (dated or not count) else None,
            no_times=missing or describe(TIMES).unavailable,
            count=count,
            dated=dated,
            run=(moment(header.times.first_event), moment(header.times.last_event)),
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
            self.times.update(title, data.times, data.dated, data.run, TIMES)
        values = data.pixels.values
        changed = np.flatnonzero(np.nan_to_num(values) > 0)
        modules = np.unique(changed // PIXELS_PER_MODULE)
        info = pixel_info(data.pixels)
        info["numbers"] = [
            ["times", f"{data.count:,}", TIMES],
            ["pixels with changes", f"{changed.size:,}"],
            ["modules with changes", f"{modules.size:,}"],
        ]
        notes = []
        if modules.size:
            named = ", ".join(str(number) for number in modules[:12])
            more = ", …" if modules.size > 12 else ""
            notes.append(f"{counted(modules.size, 'module')}: {named}{more}")
        if data.dated < data.count:
            undated = data.count - data.dated
            notes.append(f"{counted(undated, 'change')} without a usable time not drawn")
        info["note"] = "; ".join(notes)
        self.say(**info)

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        self.map.restyle(theme)
        self.times.restyle(theme)
