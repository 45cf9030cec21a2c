"""Temperature: a map of the modules, and their readings over the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bokeh.models import LinearColorMapper

from dqm_app.plots.camera_map import CameraMap
from dqm_app.plots.curves import Curves
from dqm_app.plots.pixels import PixelValues
from dqm_app.plots.temperature import TemperatureTrend, Trend
from dqm_app.theme import Theme
from dqm_app.views.base import MAP_COLUMN, REST, Ask, QuantityChoice, View, ViewContext, laid_out
from dqm_app.views.choices import choices, chosen, why_missing
from dqm_app.views.pixel_data import load_pixels, pixel_info
from dqm_db.content import Kind, RunHeader
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

READINGS = "CAMERA-TEMPERATURE-TREND"


@dataclass(frozen=True)
class TemperatureData:
    """A map of module temperatures and the readings behind it.

    ``trend`` is None for the reason ``no_trend``.
    """

    quantity: str
    camera: str
    run: int
    pixels: PixelValues
    trend: Trend | None
    no_trend: str


class TemperatureView(View):
    """A map and a trend; pixels picked on the map add the readings of their modules."""

    name: ClassVar[str] = "temperature"
    title: ClassVar[str] = "Temperature"

    def __init__(self, context: ViewContext) -> None:
        self._context = context
        self._data: TemperatureData | None = None
        source = context.pixels.source("temperature-source")
        mapper = LinearColorMapper(name="temperature-mapper", low=0, high=1)
        self.map = CameraMap("temperature-map", context.theme, source, mapper)
        self.map.point_out()
        self.trend = TemperatureTrend("temperature-trend", context.theme)
        self.root = laid_out(self.name, (MAP_COLUMN, REST), [self.map.figure], [self.trend.figure])
        context.pixels.on_pick(self._fetch_picked)

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """Mean and standard deviation of each module."""
        return choices(entries, {Kind.PIXEL_MAP}, section="Temperature")

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> TemperatureData:
        """The map, and mean and extremes of the readings."""
        entries = snapshot.quantities(header.camera, header.run)
        name = chosen(cls.quantities(entries), ask.quantity)
        missing = why_missing(entries, READINGS)
        summary = snapshot.summary(header.camera, header.run, READINGS) if missing is None else {}
        info = describe(READINGS)
        return TemperatureData(
            quantity=name,
            camera=header.camera,
            run=header.run,
            pixels=load_pixels(snapshot, header, name),
            trend=Trend(
                quantity=READINGS,
                title=info.title,
                unit=info.unit,
                mean=summary["mean"],
                low=summary["low"],
                high=summary["high"],
            )
            if summary
            else None,
            no_trend=missing or info.unavailable,
        )

    def update(self, data: TemperatureData) -> None:
        """Show map and trend at once and ask for the readings of picked modules."""
        self._data = data
        self.map.update(data.pixels)
        if data.trend is not None:
            self.trend.update(data.trend)
        else:
            self.trend.clear(describe(READINGS).title, data.no_trend)
        self._tell(None)
        self._fetch_picked()

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        self.map.restyle(theme)
        self.trend.restyle(theme)

    def _fetch_picked(self) -> None:
        data, modules = self._data, self._context.pixels.picked_modules
        if data is None or data.trend is None:
            return
        if not modules:
            self._show_picked(data, None)
            return

        def read(snapshot: Snapshot) -> Curves:
            columns = snapshot.columns(data.camera, data.run, READINGS)
            return Curves.of(next(iter(columns.values())), modules)

        self._context.fetch(
            read, lambda curves: self._show_picked(data, curves), "temperature-picked"
        )

    def _show_picked(self, data: TemperatureData, curves: Curves | None) -> None:
        if data is self._data:
            self.trend.show_picked(curves)
            self._tell(curves)

    def _tell(self, curves: Curves | None) -> None:
        if self._data is None:
            return
        info = pixel_info(self._data.pixels)
        if curves is not None and curves.left_out:
            info["note"] = curves.drawn_of("module")
        self.say(**info)
