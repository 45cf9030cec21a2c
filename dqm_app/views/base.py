"""What every view is: one layout, built once, and data loaded elsewhere that are put into it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from bokeh.models import Column, GridBox, Plot
from bokeh.models.ui import UIElement

from dqm_app.catalogues import CameraRuns
from dqm_app.plots.pixels import PixelSource
from dqm_app.run_list import RunListFile
from dqm_app.theme import Theme
from dqm_db.content import RunHeader
from dqm_db.errors import DQMError
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

T = TypeVar("T")

MAP_COLUMN = "minmax(0, min(58%, calc(var(--room) * 1.06)))"
"""Width of a camera map in a grid: its height, and room for the colour bar."""
REST = "minmax(0, 1fr)"
"""Width of what shares the rest of the room."""
SPACING: Any = 6


class NothingToShow(DQMError):
    """There is nothing to show; the text says why, for the user, in the place of the view."""


class Fetch(Protocol):
    """Get something from the database without stopping the event loop."""

    def __call__(
        self, loader: Callable[[Snapshot], T], then: Callable[[T], None], key: str
    ) -> None:
        """Run *loader* in a worker thread with a fresh snapshot, then *then* on the event loop.

        Of several with the same *key* only the newest is carried through.
        """


@dataclass(frozen=True)
class NothingRead:
    """What `View.load` returns for a view that needs nothing of the database."""

    quantity: None = None


@dataclass
class ViewContext:
    """What the session gives to its views.

    Attributes
    ----------
    theme : Theme
        Of the page now; views that are built already hear of another one through `View.restyle`.
    pixels : PixelSource
        The pixels picked in this session.
    fetch : Fetch
    run_list : RunListFile
        The list of the runs that were taken, if the settings name one.
    system : callable
        The newest document of `dqm_app.system_page`, as JSON.
    """

    theme: Theme
    pixels: PixelSource
    fetch: Fetch
    run_list: RunListFile = field(default_factory=lambda: RunListFile(None))
    system: Callable[[], str] = field(default=lambda: "null")


@dataclass(frozen=True)
class QuantityChoice:
    """A quantity that a view can show.

    Attributes
    ----------
    name : str
        EXTNAME.
    title, section : str
        For people.
    available : bool
    reason : str or None
        Why it is not available.
    """

    name: str
    title: str
    section: str
    available: bool
    reason: str | None


@dataclass(frozen=True)
class Ask:
    """What a view is asked to show of a run.

    Attributes
    ----------
    run : int
    quantity : str or None
        EXTNAME; not necessarily one that exists. None leaves the choice to the view.
    options : mapping of str to str
        Those of `View.options` that the address has; texts as somebody may have typed them.
    runs : CameraRuns
        All runs of the camera, *run* perhaps not among them.
    """

    run: int
    quantity: str | None
    runs: CameraRuns
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> int | None:
        """The run to compare with: the option of this name, else the last good one before ours."""
        text = self.options.get("reference", "")
        if text.isascii() and text.isdigit() and len(text) <= 18 and int(text) in self.runs:
            return int(text)
        return self.runs.last_good(self.run)


class View(ABC):
    """One view of a session.

    Building it makes its figures, without data. All methods but `quantities`, `version` and `load`
    belong to the event loop; those are class methods that know no session.

    A view shows one run, unless ``of_run`` is false: then it shows a camera, and stays as it is
    when another run is looked at, which `locate` tells it. ``options`` are the keys of the address
    that `load` heeds beside the quantity. One with ``of_database`` false is shown even when the
    database cannot be read or holds nothing; nothing is loaded for it.

    What the page says beside the figures in plain HTML (numbers, legend, controls) is JSON in the
    first tag of ``root``; ``static/plots.js`` writes it into ``<div id="toolbar-NAME">``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    of_run: ClassVar[bool] = True
    of_database: ClassVar[bool] = True
    root: UIElement

    @abstractmethod
    def __init__(self, context: ViewContext) -> None: ...

    @classmethod
    @abstractmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """What can be chosen in this view for a run with *entries*; empty: no chooser."""

    @classmethod
    def version(cls, ask: Ask) -> Hashable:  # noqa: ARG003  for those that override it
        """What `load` depends on beside the stored run and what is asked for: changes with it."""
        return None

    @classmethod
    @abstractmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> Any:
        """Read what `update` shows, in a worker thread.

        Returns
        -------
        data : frozen dataclass
            Its ``quantity`` is the one that is shown: the one asked for, or the view's default when
            that is None or nothing that this view knows. None: the view has no quantities.

        Raises
        ------
        NothingToShow
            When the run has no values for it.
        """

    @abstractmethod
    def update(self, data: Any) -> None:
        """Show what `load` returned: changes columns and ranges, builds nothing."""

    @abstractmethod
    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""

    def locate(self, run: int) -> None:  # noqa: B027  most views have nothing to do
        """Tell a view of a camera which run the page is at; called after every `update`, too."""

    def say(self, **info: Any) -> None:
        """Tell the page what to write into the view's toolbar; values must be JSON.

        ``about`` names in one or two words what is shown beside run and quantity: files that are
        saved are called so.
        """
        self.root.tags = [{"view": self.name, "ofRun": self.of_run, **info}]


def laid_out(name: str, columns: Sequence[str], *cells: Sequence[Plot]) -> GridBox:
    """A view's root: columns of figures that fill the width and the height that the page leaves.

    Parameters
    ----------
    name : str
        Of the view.
    columns : sequence of str
        Widths as CSS tracks, e.g. ``(MAP_COLUMN, REST)``.
    *cells : sequence of Plot
        The figures of each column, from the top, of equal heights.
    """
    # every column is a grid of its own: figures of one grid get common borders, which wastes room
    return GridBox(
        name=f"figures-{name}",
        children=[(_stack(figures), 0, column) for column, figures in enumerate(cells)],
        cols=_tracks(columns),
        rows=_tracks([REST]),
        spacing=SPACING,
        **_root(name),
    )


def in_rows(name: str, heights: Sequence[str], *rows: Sequence[Plot]) -> GridBox:
    """A view's root: rows of figures, those of a row of equal width.

    Parameters
    ----------
    name : str
        Of the view.
    heights : sequence of str
        Of the rows, as CSS tracks.
    *rows : sequence of Plot
        The figures of each row, from the left.
    """
    boxes = [
        GridBox(
            children=[(figure, 0, column) for column, figure in enumerate(figures)],
            cols=_tracks([REST] * len(figures)),
            rows=_tracks([REST]),
            spacing=SPACING,
            sizing_mode="stretch_both",
        )
        for figures in rows
    ]
    return GridBox(
        name=f"figures-{name}",
        children=[(box, row, 0) for row, box in enumerate(boxes)],
        cols=_tracks([REST]),
        rows=_tracks(heights),
        spacing=SPACING,
        **_root(name),
    )


def stacked(name: str, figures: Sequence[UIElement]) -> Column:
    """A view's root: figures one below the other, where those that are hidden leave no gap."""
    return Column(name=f"figures-{name}", children=list(figures), spacing=SPACING, **_root(name))


def _root(name: str) -> dict[str, Any]:
    return {
        "sizing_mode": "stretch_width",
        "css_classes": ["dqm-figures"],
        # how much of the window the page around the figures takes is for its style sheet to say
        "styles": {
            "--room": "var(--dqm-figures-height, calc(100vh - 230px))",
            "height": "var(--room)",
        },
        "tags": [{"view": name}],
    }


def _stack(figures: Sequence[Plot]) -> GridBox:
    return GridBox(
        children=[(figure, row, 0) for row, figure in enumerate(figures)],
        cols=_tracks([REST]),
        rows=_tracks([REST] * len(figures)),
        spacing=SPACING,
        sizing_mode="stretch_both",
    )


def _tracks(sizes: Sequence[str]) -> Any:
    # Bokeh's type stubs name their own property classes where plain values are meant
    return list(sizes)
