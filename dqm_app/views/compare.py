"""Two runs side by side: any per-pixel quantity, how it differs, and the waveforms of both."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dqm_app.changes import change_options
from dqm_app.plots.curves import Curves
from dqm_app.plots.distributions import DistributionPair
from dqm_app.plots.numbers import alike, counted, moment
from dqm_app.plots.options import plot_options
from dqm_app.plots.pair_maps import PairMaps
from dqm_app.plots.pixel_pair import Mode, PixelPair, beyond
from dqm_app.plots.pixels import ABSENT, NO_VALUE
from dqm_app.plots.waveform import Waveforms
from dqm_app.plots.waveform_pair import WaveformPair, WaveformsOfTwo
from dqm_app.theme import Theme
from dqm_app.views.base import Ask, QuantityChoice, View, ViewContext, in_rows
from dqm_app.views.choices import choices, chosen, plainly, why_missing
from dqm_app.views.maps import DEFAULTS
from dqm_app.views.pixel_data import auto_words, load_pixels
from dqm_app.views.reference import REFERENCE, Reference
from dqm_app.views.waveform_data import load_waveforms, waveforms_of
from dqm_db.content import Kind, RunHeader
from dqm_db.errors import RunNotFound
from dqm_db.quantities import describe
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

MODE = "mode"
MAPS, REST = "minmax(0, 1.5fr)", "minmax(0, 1fr)"


@dataclass(frozen=True)
class Other:
    """Run B.

    Attributes
    ----------
    run : int or None
        None when there is none.
    how : str
        ``"chosen"``, ``"last good"`` or ``"previous"``; empty without a run.
    problem : str
        Why it is not the one that was asked for.
    older, newer : int or None
        The runs beside it, A left out.
    """

    run: int | None
    how: str
    problem: str
    older: int | None
    newer: int | None

    @classmethod
    def of(cls, ask: Ask) -> Other:
        """The run asked for, else the last good one before A, else the one before A."""
        found = Reference.of(ask)
        run, how = found.run, "chosen" if found.chosen else "last good"
        if run is None:
            before, _ = ask.runs.neighbours(ask.run, 1)
            run, how = (before[0], "previous") if before else (None, "")
        older, newer = ask.runs.neighbours(ask.run if run is None else run, 2)
        return cls(
            run,
            how,
            found.problem,
            next((one for one in older if one != ask.run), None),
            next((one for one in newer if one != ask.run), None),
        )


@dataclass(frozen=True)
class CompareData:
    """A quantity of two runs.

    Attributes
    ----------
    quantity, camera : str
    run : int
        A.
    other : Other
    start, verdict : float, int or None
        Of B: Unix seconds UTC, and its status.
    pair : PixelPair
    missing : str or None
        Why there are no values of B.
    waves : WaveformsOfTwo
    note : str
        What could not be understood of how it was asked for.
    """

    quantity: str
    camera: str
    run: int
    other: Other
    start: float | None
    verdict: int | None
    pair: PixelPair
    missing: str | None
    waves: WaveformsOfTwo
    note: str

    @property
    def names(self) -> tuple[str, str]:
        """What A and B are called."""
        return f"run {self.run}", "none" if self.other.run is None else f"run {self.other.run}"


class CompareView(View):
    """Maps of A, of B and of their comparison, and distributions and waveforms of both.

    The options are ``reference``, the run B, and ``mode``, ``difference`` or ``ratio``.
    """

    name: ClassVar[str] = "compare"
    title: ClassVar[str] = "Compare"
    options: ClassVar[tuple[str, ...]] = (REFERENCE, MODE)

    def __init__(self, context: ViewContext) -> None:
        self._context = context
        self._data: CompareData | None = None
        self.maps = PairMaps("compare", context.theme, context.pixels.source("compare-source"))
        self.distributions = DistributionPair("compare-distributions", context.theme)
        self.waveforms = WaveformPair("compare-waveforms", context.theme)
        self.root = in_rows(
            self.name,
            (MAPS, REST),
            [camera.figure for camera in self.maps.maps],
            [self.distributions.figure, self.waveforms.figure],
        )
        context.pixels.on_pick(self._fetch_picked)

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:
        """All per-pixel maps."""
        return choices(entries, {Kind.PIXEL_MAP})

    @classmethod
    def version(cls, ask: Ask) -> Hashable:
        """Changes with B: which one it is, its stored version and verdict, and the runs beside."""
        other = Other.of(ask)
        if other.run is None:
            return other
        return other, ask.runs.identity(other.run), ask.runs.verdict(other.run)

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> CompareData:
        """Read A, and B as far as there is one that has the quantity."""
        camera = header.camera
        entries = snapshot.quantities(camera, header.run)
        name = chosen(cls.quantities(entries), ask.quantity, DEFAULTS)
        mode, note = _mode(ask.options.get(MODE, ""))
        other = Other.of(ask)
        runs: list[RunHeader | None] = [header, None]
        missing = f"No run of {camera} is before run {header.run}. Choose another one as B."
        if other.run is not None:
            try:
                runs[1] = snapshot.header(camera, other.run)
            except RunNotFound:  # deleted a moment ago: the catalogue says so at the next look
                missing = f"Run {other.run} has just been deleted."
        b = None
        if runs[1] is not None:
            held = snapshot.quantities(camera, runs[1].run)
            reason = why_missing(held, name) if not _has(held, name) else None
            if reason is None:
                b = load_pixels(snapshot, runs[1], name)
            else:
                missing = f"Run {runs[1].run} has no values: {plainly(reason)}."
        options = change_options()
        pair = PixelPair.of(
            load_pixels(snapshot, header, name),
            b,
            mode,
            sigmas=options.outlier,
            least=options.least.get(describe(name).unit, 0.0),
        )
        return CompareData(
            quantity=name,
            camera=camera,
            run=header.run,
            other=other,
            start=None if runs[1] is None else moment(runs[1].times.start),
            verdict=None if other.run is None else ask.runs.verdict(other.run),
            pair=pair,
            missing=missing if b is None else None,
            waves=_waves(snapshot, runs, name),
            note=note,
        )

    def update(self, data: CompareData) -> None:
        """Show both runs at once, and ask for the waveforms of picked pixels."""
        self._data = data
        self.maps.update(data.pair, data.names, data.missing)
        self.distributions.update(data.pair, data.names)
        self.waveforms.update(data.waves, data.names)
        self.say(**_info(data), compare=_comparison(data))
        self._fetch_picked()

    def restyle(self, theme: Theme) -> None:
        """Take the look of *theme*."""
        for plot in (self.maps, self.distributions, self.waveforms):
            plot.restyle(theme)

    def _fetch_picked(self) -> None:
        data, picked = self._data, self._context.pixels.picked
        if data is None or not data.waves.known:
            return
        if not picked:
            self.waveforms.show_picked(None, None)
            return
        wanted = ((data.run, data.waves.a), (data.other.run, data.waves.b))

        def read(snapshot: Snapshot) -> list[Curves | None]:
            found: list[Curves | None] = []
            for run, waves in wanted:
                if waves is None or run is None:
                    found.append(None)
                    continue
                columns = snapshot.columns(data.camera, run, waves.quantity)
                found.append(Curves.of(next(iter(columns.values())), picked))
            return found

        self._context.fetch(read, lambda curves: self._show_picked(data, curves), "compare-picked")

    def _show_picked(self, data: CompareData, curves: Sequence[Curves | None]) -> None:
        if data is self._data:
            self.waveforms.show_picked(*curves)


def _mode(text: str) -> tuple[Mode, str]:
    wanted = text.strip().lower()
    if wanted in ("", *Mode):
        return Mode(wanted or Mode.DIFFERENCE), ""
    return Mode.DIFFERENCE, f"“{text[:20]}” is no way to compare; the difference is shown."


def _has(entries: Sequence[QuantityEntry], name: str) -> bool:
    return any(entry.name == name and entry.unavailable is None for entry in entries)


def _waves(snapshot: Snapshot, runs: Sequence[RunHeader | None], quantity: str) -> WaveformsOfTwo:
    name = waveforms_of(describe(quantity))
    if name is None:
        return WaveformsOfTwo(None, None, "No waveforms belong to this quantity.")
    found: list[Waveforms | None] = []
    for header in runs:
        held = header is not None and _has(snapshot.quantities(header.camera, header.run), name)
        found.append(load_waveforms(snapshot, header, name) if header and held else None)
    title = describe(name).title
    reason = None if any(found) else f"{title}: neither run has them."
    return WaveformsOfTwo(found[0], found[1], reason)


def _info(data: CompareData) -> dict[str, Any]:
    """What the toolbars of all views of pixels say."""
    pair = data.pair
    a, options = pair.a, plot_options()
    bad, absent, valueless = (
        int(marked.sum()) for marked in (pair.flagged, pair.state == ABSENT, pair.state == NO_VALUE)
    )
    where = "in A or B" if pair.b is not None else "in A"
    masked = a.mask or (pair.b.mask if pair.b is not None else None)
    unit = f" {pair.unit}" if pair.unit else ""
    good = f"{counted(pair.compared, 'pixel')} that are good in both runs"
    middle, sigma = alike(pair.sigma, pair.middle, pair.sigma)
    return {
        "quantity": data.quantity,
        "title": a.title,
        "unit": a.unit,
        "description": a.description,
        "note": data.note,
        "legend": {
            "bad": bad,
            "mask": masked,
            "badText": f"{bad} bad {where}" if masked else "",
            "badNote": f"Flagged in more than {100 * options.bad_fraction:g} % of the events",
            "absent": absent,
            "absentText": f"{absent} absent {where}",
            "noValue": valueless,
            "noValueText": f"{valueless} without a value {where}",
        },
        "numbers": [
            [f"median {pair.mode.sign}", middle + unit, f"Of {good}"],
            ["spread", sigma + unit, f"1.48 × median absolute deviation of {good}"],
        ]
        if pair.compared
        else [],
        "range": {
            "auto": list(pair.auto),
            "full": list(pair.auto if a.unit in options.counts else pair.full),
            "autoText": auto_words(a),
        },
    }


def _comparison(data: CompareData) -> dict[str, Any]:
    """What only this view's toolbar says."""
    pair, other = data.pair, data.other
    options = change_options()
    centre = pair.mode.centre
    groups = [[group.words, group.pixels.tolist()] for group in pair.changes]
    return {
        "run": data.run,
        "other": other.run,
        "how": other.how,
        "problem": other.problem,
        "older": other.older,
        "newer": other.newer,
        "start": data.start,
        "verdict": data.verdict,
        "missing": data.missing,
        "mode": pair.mode.value,
        "sign": pair.mode.sign,
        "outliers": [beyond(pair, options.outlier), pair.outliers.tolist()]
        if pair.compared
        else None,
        "changes": groups,
        "judged": pair.judged,
        "range": None
        if pair.nothing
        else {
            "centre": centre,
            "auto": [centre - pair.reach, centre + pair.reach],
            "full": [centre - pair.whole, centre + pair.whole],
            "autoText": _auto_words(pair),
        },
    }


def _auto_words(pair: PixelPair) -> str:
    """What the default colour range of the comparison is."""
    options = plot_options()
    if pair.unit in options.range:
        return f"±{pair.reach:g}"
    if pair.unit in options.counts:
        return "max"
    low, high = options.colour_percentiles
    return f"{high - low:g} %"
