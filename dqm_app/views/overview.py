"""Overview: is this run good, why not, and what changed; a small map of every quantity."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from bokeh.models import Column, Spacer
from numpy.typing import NDArray

from dqm_app.plots.numbers import moment
from dqm_app.theme import Theme
from dqm_app.views.base import Ask, QuantityChoice, View, ViewContext
from dqm_app.views.differences import differences
from dqm_app.views.judgement import judgement
from dqm_app.views.key_numbers import RunNumbers, key_numbers, quantities_of_numbers
from dqm_app.views.reference import REFERENCE, Reference
from dqm_app.views.thumbnails import COLOURS, thumbnails
from dqm_db.content import RunHeader
from dqm_db.errors import RunNotFound
from dqm_db.geometry import camera_geometry
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import PixelMaps, Snapshot

JUDGED = ("verdict", "checked_at")
"""Columns of the catalogue that change when a run is judged again."""
NEEDED = quantities_of_numbers()
TENTHS = 1e4
"""Positions of pixels travel in tenths of mm, in which they are small whole numbers."""


@dataclass(frozen=True)
class OverviewData:
    """All that the page shows.

    Attributes
    ----------
    quantity : None
        The view has no quantities to choose from.
    page, words : str
        JSON texts, which static/overview.js reads; ``words`` of `Thumbnails`.
    codes : ndarray of uint8, shape (maps, 1855)
        See `dqm_app.views.thumbnails.Thumbnails`.
    """

    quantity: None
    page: str
    words: str
    codes: NDArray[np.uint8]


class OverviewView(View):
    """Verdict, key numbers, what changed since the reference run, and all maps; no figures.

    What changes with the run is in the tags of ``root``, what does not in those of ``frame`` and
    ``words``.
    """

    name: ClassVar[str] = "overview"
    title: ClassVar[str] = "Overview"
    options: ClassVar[tuple[str, ...]] = (REFERENCE,)

    def __init__(self, context: ViewContext) -> None:
        self.frame = Spacer(name="overview-frame", visible=False)
        self.words = Spacer(name="overview-words", visible=False)
        self.root = Column(
            name=f"figures-{self.name}",
            children=[self.frame, self.words],
            visible=False,
            tags=[{"view": self.name}],
        )
        self.restyle(context.theme)

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:  # noqa: ARG003
        """None: all are shown."""
        return []

    @classmethod
    def version(cls, ask: Ask) -> Hashable:
        """Changes with the verdict, which may be given anew, and with the reference run."""
        reference = Reference.of(ask).run
        other = None if reference is None else (reference, ask.runs.identity(reference))
        columns = ask.runs.columns
        row = columns["run"] == ask.run
        # as bytes: a time that is not known equals itself
        return tuple(columns[name][row].tobytes() for name in JUDGED), other

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> OverviewData:
        """Read the two runs, and put what there is to say into words."""
        camera, run = header.camera, header.run
        entries = snapshot.quantities(camera, run)
        maps = snapshot.pixel_maps(camera, run)
        numbers = RunNumbers(header, entries, snapshot.statistics(camera, run, NEEDED))
        verdict = snapshot.verdict(camera, run)
        reference = Reference.of(ask)
        try:
            other = None if reference.run is None else _other(snapshot, camera, reference.run)
        except RunNotFound:  # deleted a moment ago: the catalogue says so at the next look
            other = None
        small = thumbnails(snapshot, header, entries, maps)
        page = {
            "camera": camera,
            "run": run,
            "verdict": None if verdict is None else judgement(verdict),
            "reference": {
                "run": None if other is None else reference.run,
                "chosen": reference.chosen,
                "problem": reference.problem,
                "start": None if other is None else moment(other[0].header.times.start),
                "earlier": None if other is None else _earlier(other[0].header, header),
            },
            "numbers": key_numbers(numbers, None if other is None else other[0]),
            "changes": None
            if other is None
            else differences((other[0].header, other[1]), (header, maps)),
            "maps": small.listing,
        }
        return OverviewData(None, json.dumps(page), json.dumps(small.words), small.codes)

    def update(self, data: OverviewData) -> None:
        """Send it to the page; the words, which are mostly the same, only when they are not."""
        if self.words.tags != [data.words]:
            self.words.tags = [data.words]
        self.say(page=data.page, codes=data.codes)

    def restyle(self, theme: Theme) -> None:
        """Send the palette; the page has all other colours."""
        geometry = camera_geometry()
        palette = theme.palettes["value"]
        colours = [palette[at * len(palette) // COLOURS] for at in range(COLOURS)]
        frame: dict[str, Any] = {
            "x": np.rint(geometry.x * TENTHS).astype("<i2"),
            "y": np.rint(geometry.y * TENTHS).astype("<i2"),
            "radius": geometry.pixel_radius * TENTHS,
            "rotation": geometry.pixel_rotation,
            "palette": np.array([list(bytes.fromhex(c[1:])) for c in colours], np.uint8),
        }
        self.frame.tags = [frame]


def _other(snapshot: Snapshot, camera: str, run: int) -> tuple[RunNumbers, PixelMaps]:
    header = snapshot.header(camera, run)
    # what a number that it lacks is missing for is never told
    numbers = RunNumbers(header, (), snapshot.statistics(camera, run, NEEDED))
    return numbers, snapshot.pixel_maps(camera, run)


def _earlier(before: RunHeader, after: RunHeader) -> float | None:
    """Seconds by which *before* started earlier; None when a start is not known."""
    starts = moment(before.times.start), moment(after.times.start)
    return None if starts[0] is None or starts[1] is None else starts[1] - starts[0]
