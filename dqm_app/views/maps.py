"""Camera maps: any per-pixel quantity as a map, against pixel id, and as a histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bokeh.models import LinearColorMapper

from dqm_app.plots.camera_map import CameraMap
from dqm_app.plots.histogram import ValueHistogram
from dqm_app.plots.modules import rolled_up
from dqm_app.plots.pixel_scatter import PixelScatter
from dqm_app.plots.pixels import PixelValues
from dqm_app.theme import Theme
from dqm_app.views.base import MAP_COLUMN, REST, Ask, QuantityChoice, View, ViewContext, laid_out
from dqm_app.views.choices import choices, chosen
from dqm_app.views.pixel_data import load_pixels, pixel_info
from dqm_db.content import Kind, RunHeader
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

DEFAULTS = (
    "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN",
    "CHARGE-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN",
)
PIXEL, MODULE = "pixel", "module"
"""The levels that a view can show."""


@dataclass(frozen=True)
class MapsData:
    """One map, and what could not be understood of how it was asked for."""

    quantity: str
    pixels: PixelValues
    note: str = ""


def level_of(options: Mapping[str, str]) -> tuple[str, str]:
    """`PIXEL` or `MODULE`, and what could not be understood of how it was asked for, in words."""
    level = options.get("level", PIXEL).strip().lower()
    if level in {PIXEL, MODULE}:
        return level, ""
    return PIXEL, f"There is no level “{level[:20]}”; pixels are shown."


class MapsView(View):
    """Map, value against pixel id, and histogram; a pixel picked in one is picked in all.

    The option ``level`` is ``pixel``, the default, or ``module``: every pixel has the mean of its
    module then.
    """

    name: ClassVar[str] = "maps"
    title: ClassVar[str] = "Camera maps"
    options: ClassVar[tuple[str, ...]] = ("level",)

    def __init__(self, context: ViewContext) -> None:
        mapper = LinearColorMapper(name="maps-mapper", low=0, high=1)
        source = context.pixels.source("maps-source")
        self.map = CameraMap("maps-map", context.theme, source, mapper)
        self.scatter = PixelScatter("maps-scatter", context.theme, source)
        self.histogram = ValueHistogram("maps-histogram", context.theme, source, mapper)
        self.root = laid_out(
            self.name,
            (MAP_COLUMN, REST),
            [self.map.figure],
            [self.scatter.figure, self.histogram.figure],
        )

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """All per-pixel maps."""
        return choices(entries, {Kind.PIXEL_MAP})

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> MapsData:
        """The map and its mask, or the map of the modules."""
        offered = cls.quantities(snapshot.quantities(header.camera, header.run))
        name = chosen(offered, ask.quantity, DEFAULTS)
        pixels = load_pixels(snapshot, header, name)
        level, note = level_of(ask.options)
        return MapsData(name, rolled_up(pixels) if level == MODULE else pixels, note)

    def update(self, data: MapsData) -> None:
        """Show the map in all three figures."""
        self.map.update(data.pixels)
        self.scatter.update(data.pixels)
        self.histogram.update(data.pixels)
        level = PIXEL if data.pixels.modules is None else MODULE
        self.say(**pixel_info(data.pixels), level=level, note=data.note)

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        for plot in (self.map, self.scatter, self.histogram):
            plot.restyle(theme)
