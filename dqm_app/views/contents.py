"""Contents: everything that the run's results file holds, also what no other view shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from bokeh.models import LinearColorMapper, Spacer
from bokeh.models.plots import Plot

from dqm_app.plots.camera_map import CameraMap
from dqm_app.plots.series import Distribution, SeriesPlot
from dqm_app.theme import Theme
from dqm_app.views.base import Ask, NothingToShow, QuantityChoice, View, ViewContext, stacked
from dqm_app.views.pixel_data import load_pixels
from dqm_app.views.plotted import FEW, Plotted
from dqm_app.views.table import TablePage
from dqm_app.views.timelines import OF_CLASS
from dqm_app.views.utc_columns import with_utc
from dqm_db.content import Kind, RunHeader
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot


@dataclass(frozen=True)
class ContentsData:
    """The list of a run's quantities, and the one that is chosen.

    Attributes
    ----------
    listing : list of dict
        One JSON object per quantity.
    reason : str or None
        Why the chosen one has no values.
    plotted : Plotted
        What is drawn of it.
    table : TablePage or None
    """

    quantity: str
    header: RunHeader
    listing: list[dict[str, Any]]
    reason: str | None
    plotted: Plotted
    table: TablePage | None


class ContentsView(View):
    """A list of all quantities; the chosen one as a map or a series, and as a table of its values.

    The browser asks for another page of the table, or for another of its columns in the plot,
    through the first tag of ``asked``.
    """

    name: ClassVar[str] = "contents"
    title: ClassVar[str] = "All contents"

    def __init__(self, context: ViewContext) -> None:
        self._context = context
        self._data: ContentsData | None = None
        self._plotted = Plotted()
        source = context.pixels.source("contents-source")
        mapper = LinearColorMapper(name="contents-mapper", low=0, high=1)
        self.map = CameraMap("contents-map", context.theme, source, mapper)
        self.series = SeriesPlot("contents-series", context.theme)
        self.distribution = Distribution("contents-distribution", context.theme)
        self._used: list[Plot] = []
        # the list is long and the same for all quantities of a run: it travels on its own
        self.listing = Spacer(name="contents-listing", visible=False)
        self.asked = Spacer(name="contents-asked", visible=False)
        self._figures = stacked(self.name, [self.listing, self.asked])
        self.root = self._figures
        self.asked.on_change("tags", lambda _attr, _old, new: self._answer(new))

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """Everything that the run holds, in the order of its file."""
        return [
            QuantityChoice(
                name=entry.name,
                title=info.title,
                section=info.section,
                available=entry.unavailable is None,
                reason=entry.unavailable,
            )
            for entry in entries
            for info in [describe(entry.name)]
        ]

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> ContentsData:
        """The list, and the values of *quantity*; what has none is shown with the reason."""
        camera, run = header.camera, header.run
        entries = snapshot.quantities(camera, run)
        if not entries:
            raise NothingToShow("The results file of this run holds no quantity.")
        held = {entry.name: entry for entry in entries}
        first = next((entry for entry in entries if entry.unavailable is None), entries[0])
        entry = held.get(ask.quantity or "", first)
        columns = snapshot.columns(camera, run, entry.name) if entry.unavailable is None else {}
        if entry.unavailable is None and entry.kind is Kind.PIXEL_MAP:
            plotted = Plotted(pixels=load_pixels(snapshot, header, entry.name))
        else:
            plotted = Plotted.of(entry.name, with_utc(entry.name, columns, header), header)
        return ContentsData(
            quantity=entry.name,
            header=header,
            listing=_listing(entries),
            reason=entry.unavailable,
            plotted=plotted,
            table=_page(entry.name, columns, header) if columns else None,
        )

    def update(self, data: ContentsData) -> None:
        """Show the list and the chosen quantity."""
        self._data, self._plotted = data, data.plotted
        self._draw(data.plotted)
        self.listing.tags = [{"listing": data.listing}]
        self._tell(data.table, data.plotted)

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        for plot in (self.map, self.series, self.distribution):
            plot.restyle(theme)

    def _draw(self, plotted: Plotted) -> None:
        pixels, series = plotted.pixels, plotted.series
        # what is hidden has no aspect to match
        self.map.figure.update(match_aspect=pixels is not None, visible=pixels is not None)
        self.series.figure.visible = self.distribution.figure.visible = series is not None
        if pixels is not None:
            self._use(self.map.figure)
            self.map.update(pixels)
        if series is not None:
            self._use(self.series.figure, self.distribution.figure)
            self.series.update(series)
            self.distribution.update(series)

    def _use(self, *figures: Plot) -> None:
        """Give the browser figures when they are first needed: hidden ones have no size."""
        new = [figure for figure in figures if figure not in self._used]
        if new:
            self._used += new
            self._figures.children = [*self._figures.children, *new]

    def _answer(self, tags: Sequence[Any]) -> None:
        data = self._data
        if data is None or data.table is None or not tags or not isinstance(tags[0], dict):
            return
        row, column = int(tags[0].get("row", 0)), int(tags[0].get("column", 0))
        plot = tags[0].get("plot")

        def read(snapshot: Snapshot) -> tuple[TablePage, Plotted | None]:
            header = data.header
            columns = snapshot.columns(header.camera, header.run, data.quantity)
            page = _page(data.quantity, columns, header, row, column)
            if plot is None:
                return page, None
            shown = with_utc(data.quantity, columns, header)
            return page, Plotted.of(data.quantity, shown, header, int(plot))

        def then(answer: tuple[TablePage, Plotted | None]) -> None:
            page, plotted = answer
            if self._data is not data:
                return
            if plotted is not None and not plotted.nothing:
                self._plotted = plotted
                self._draw(plotted)
            self._tell(page, self._plotted)

        self._context.fetch(read, then, "contents-page")

    def _tell(self, page: TablePage | None, plotted: Plotted) -> None:
        data = self._data
        if data is None:
            return
        info = describe(data.quantity)
        told: dict[str, Any] = {
            "quantity": data.quantity,
            "title": info.title,
            "unit": info.unit,
            "description": info.description,
            "derivedFrom": info.derived_from,
            "reason": data.reason,
            "plotted": not plotted.nothing,
            "column": plotted.column,
            "few": page is None or page.total_rows <= FEW,
            "table": page.as_json() if page is not None else None,
            "perPixel": data.plotted.pixels is not None,
        }
        self.say(**told)


def _page(
    name: str, columns: dict[str, np.ndarray], header: RunHeader, row: int = 0, column: int = 0
) -> TablePage:
    shown = with_utc(name, columns, header)
    ours = {label for label in shown if label not in columns} | {OF_CLASS}
    return TablePage.of(shown, row, column, ours)


def _listing(entries: Sequence[QuantityEntry]) -> list[dict[str, Any]]:
    """One line per quantity, those of a section together, else in the order of the file."""
    lines = [_line(entry) for entry in entries]
    sections = list(dict.fromkeys(line["section"] for line in lines))
    return sorted(lines, key=lambda line: sections.index(line["section"]))


def _line(entry: QuantityEntry) -> dict[str, Any]:
    info = describe(entry.name)
    return {
        "name": entry.name,
        "title": info.title,
        "unit": info.unit,
        "section": info.section,
        "description": info.description,
        "shape": _shape(entry),
        "reason": entry.unavailable,
    }


def _shape(entry: QuantityEntry) -> str:
    held = {name: column for name, column in entry.columns.items() if name != OF_CLASS}
    columns = list(held.values())
    if not columns:
        return ""
    if len(columns) == 1:
        dtype, shape = columns[0]
        return f"{' × '.join(str(size) for size in shape)} {np.dtype(dtype).name}"
    rows = max((shape[0] if shape else 1) for _, shape in columns)
    names = ", ".join(held)
    return f"{rows} × ({names})"
