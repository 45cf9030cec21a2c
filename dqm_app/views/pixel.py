"""The biography of a pixel, or of a module: its quantities over all runs, and when it changed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dqm_app.plots.deviations import Deviations, DeviationStrips
from dqm_app.plots.numbers import counted, significant
from dqm_app.plots.pixel_history import History, PixelHistoryPlot
from dqm_app.plots.pixel_states import KEYS, WORDS, States, StateStrip
from dqm_app.theme import Theme
from dqm_app.views.base import Ask, NothingToShow, QuantityChoice, View, ViewContext, stacked
from dqm_app.views.maps import DEFAULTS, MODULE, PIXEL, level_of
from dqm_app.views.pixel_history import OfPixels, Subject, deviations_of
from dqm_db.content import N_PIXELS, PIXELS_PER_MODULE, Kind, RunHeader
from dqm_db.quantities import describe, known_quantities
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

LISTED = 200
"""Most changes of state that are listed."""
NO_PIXEL = "Which pixel? Type its number, or m and a module, above; or pick one in a camera map."
NO_SUCH_PIXEL = f"There is no pixel “{{}}”: they are 0–{N_PIXELS - 1}."
NO_HISTORY = (
    "There is no history of single pixels of {camera} yet: it is made when runs are stored, "
    "and for runs that were stored before by `dqm rebuild-trends`."
)


@dataclass(frozen=True)
class PixelData:
    """One quantity of a pixel or a module.

    Attributes
    ----------
    quantity : str
    camera : str
    subject : Subject or None
        None when nobody said which pixel.
    title, description : str
        Of the quantity.
    held : tuple of str
        All quantities that have a history.
    history : History or None
        None when no value can be drawn; ``reason`` says why then.
    states : States or None
    span : tuple of int or None
        First and last run of the camera; None when all have been deleted.
    serial : int
        Which state of the catalogue it was read for.
    note : str
        What could not be understood of how it was asked for.
    """

    quantity: str
    camera: str
    subject: Subject | None
    title: str
    description: str
    held: tuple[str, ...]
    history: History | None
    states: States | None
    reason: str | None
    span: tuple[int, int] | None
    serial: int
    note: str = ""

    def alike(self, other: PixelData | None) -> str:
        """Which axes have the same meaning in *other*, e.g. ``"x"``."""
        if other is None or other.camera != self.camera:
            return ""
        same = (other.quantity, other.subject) == (self.quantity, self.subject)
        return "xy" if same else "x"

    @property
    def whose(self) -> Hashable:
        """What the deviations of all quantities depend on."""
        return (self.camera, self.subject, self.serial)


class PixelView(View):
    """Values over runs, states over runs, and all quantities at a glance.

    The last is read when the first quantity is shown, and kept while the pixel stays the same.
    """

    name: ClassVar[str] = "pixel"
    title: ClassVar[str] = "Pixel"
    options: ClassVar[tuple[str, ...]] = ("pixel", "level")
    of_run: ClassVar[bool] = False

    def __init__(self, context: ViewContext) -> None:
        self._fetch = context.fetch
        self.plot = PixelHistoryPlot("pixel-history", context.theme)
        self.strip = StateStrip("pixel-states", context.theme, self.plot.x_range)
        self.strips = DeviationStrips("pixel-deviations", context.theme, self.plot.x_range)
        self.root = stacked(self.name, [self.plot.figure, self.strip.figure, self.strips.figure])
        self._data: PixelData | None = None
        self._of: Hashable = None  # whose deviations are shown

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """All quantities with a value per pixel, whether or not the run in front has them."""
        known = known_quantities()
        strangers = [e.name for e in entries if e.kind is Kind.PIXEL_MAP and e.name not in known]
        infos = [info for info in known.values() if info.kind is Kind.PIXEL_MAP]
        return [
            QuantityChoice(info.name, info.title, info.section, available=True, reason=None)
            for info in (*infos, *map(describe, strangers))
        ]

    @classmethod
    def version(cls, ask: Ask) -> Hashable:
        """Every new run adds a value."""
        return ask.runs.serial

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> PixelData:
        """Values and states over runs of one quantity."""
        camera = header.camera
        held = snapshot.pixel_history_names(camera)
        if not held:
            raise NothingToShow(NO_HISTORY.format(camera=camera))
        known = known_quantities()
        quantity = ask.quantity or ""
        if quantity not in held and quantity not in known:
            quantity = next((name for name in (*DEFAULTS, *held) if name in held), held[0])
        info = describe(quantity)
        subject = asked_for(ask.options)
        runs = ask.runs.columns["run"]
        history = states = None
        reason: str | None = NO_PIXEL
        if subject is not None and quantity not in held:
            reason = f"{info.title} was never measured by {camera}."
        elif subject is not None:
            of_pixels = OfPixels.read(snapshot, camera, quantity, subject, ask.runs, held)
            states = of_pixels.states()
            history = of_pixels.history()
            reason = of_pixels.reason()
        return PixelData(
            quantity=quantity,
            camera=camera,
            subject=subject,
            title=info.title,
            description=info.description,
            held=tuple(dict.fromkeys(name for name in (*known, *held) if name in held)),
            history=history if reason is None else None,
            states=states,
            reason=reason,
            span=(int(runs[0]), int(runs[-1])) if len(runs) else None,
            serial=ask.runs.serial,
            note=_misread(ask.options),
        )

    def update(self, data: PixelData) -> None:
        """Show one quantity, and ask for all of them unless they are shown.

        What is zoomed to stays where it means the same as before.
        """
        before, self._data = self._data, data
        self.plot.explain(data.reason)
        keep = data.alike(before)
        if data.span is not None:
            self.plot.show_runs(*data.span, keep=keep)
        if data.history is not None:
            self.plot.update(data.history, keep=keep)
        self.strip.explain(None if data.states is not None else " ")
        if data.states is not None:
            self.strip.update(data.states)
        if data.subject is not None and data.whose == self._of:
            self.strips.choose(data.quantity)
        else:
            self._of = None
            self.strips.clear(" " if data.subject is None else "Reading all quantities…")

    def locate(self, run: int) -> None:
        """Mark the run in front; read on when another page was asked for meanwhile."""
        data = self._data
        self.plot.locate(run if data is not None and data.history is not None else None)
        self._tell(run)
        if data is not None and data.subject is not None and data.whose != self._of:
            self._read_all(data, data.subject)

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        for plot in (self.plot, self.strip, self.strips):
            plot.restyle(theme)

    def _read_all(self, data: PixelData, subject: Subject) -> None:
        camera, held, of = data.camera, data.held, data.whose

        def read(snapshot: Snapshot) -> Deviations | None:
            return deviations_of(snapshot, camera, held, subject)

        def then(found: Deviations | None) -> None:
            if self._data is None or self._data.whose != of:
                return
            self._of = of
            if found is None:
                self.strips.clear("No quantity has a value in any run.")
                return
            self.strips.update(found)
            self.strips.choose(self._data.quantity)

        self._fetch(read, then, "pixel-all")

    def _tell(self, run: int) -> None:
        data = self._data
        if data is None:
            return
        subject, states = data.subject, data.states
        changes = states.changes() if states is not None else []
        self.say(
            quantity=data.quantity,
            title=data.title,
            description=data.description,
            numbers=_numbers(data, run),
            note=data.note,
            about=None if subject is None else subject.noun,
            pixel={
                "pixel": None if subject is None else subject.pixel,
                "module": None if subject is None else subject.module,
                "level": MODULE if subject is not None and subject.whole_module else PIXEL,
                "last": N_PIXELS - 1,
                "perModule": PIXELS_PER_MODULE,
                "noun": "" if subject is None else subject.noun,
                "counts": []
                if states is None
                else [[KEYS[code], WORDS[code], n] for code, n in states.counts().items()],
                "changes": [
                    [change.run, change.text, KEYS[change.state]]
                    for change in reversed(changes[-LISTED:])
                ],
                "allChanges": len(changes),
                "steady": _steady(data),
            },
        )


def asked_for(options: Mapping[str, str]) -> Subject | None:
    """The pixel, or its module, that the options name; None when they name none that exists."""
    text = options.get("pixel", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) < N_PIXELS):
        return None
    return Subject(int(text), level_of(options)[0] == MODULE)


def _misread(options: Mapping[str, str]) -> str:
    """What is asked for and does not exist, in words."""
    pixel = options.get("pixel", "").strip()
    missing = pixel and asked_for(options) is None
    _, note = level_of(options)
    return " ".join(filter(None, [NO_SUCH_PIXEL.format(pixel[:20]) if missing else "", note]))


def _numbers(data: PixelData, run: int) -> list[list[str]]:
    history = data.history
    if history is None:
        return []
    unit = f" {history.unit}" if history.unit else ""
    rows = history.known()

    def value(row: int) -> str:
        return significant(float(history.value[row])) + unit

    here = rows[history.run[rows] == run]
    return [
        ["runs with a value", f"{rows.size:,}"],
        ["last", value(rows[-1]), f"Run {history.run[rows[-1]]}"],
        [f"run {run}", value(here[0]) if here.size else "no value", ""],
    ]


def _steady(data: PixelData) -> str:
    """What is said in the place of a list of changes."""
    states = data.states
    if states is None or not states.run.size:
        return ""
    kinds = [WORDS[code] for code in states.counts()]
    if len(kinds) == 1:
        return f"No change: {kinds[0]} in all {counted(int(states.run.size), 'run')}."
    return "No change of state in any run."
