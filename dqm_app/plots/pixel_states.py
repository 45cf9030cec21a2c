"""What a pixel, or a module, was like in every run: a strip of stretches, and its changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Quad
from bokeh.models.ranges import Range
from numpy.typing import NDArray

from dqm_app.plots.columns import gaps, put
from dqm_app.plots.export import Column, Table
from dqm_app.plots.frame import LEFT, AxisSpec, PlotFrame
from dqm_app.plots.numbers import counted
from dqm_app.plots.options import plot_options
from dqm_app.plots.pixels import ABSENT, BAD, GOOD, NO_VALUE, STATE_WORDS
from dqm_app.plots.tips import tip
from dqm_app.theme import Theme
from dqm_db.content import PIXELS_PER_MODULE

UNFLAGGED, NOT_MEASURED = 4, 5
WORDS = (*STATE_WORDS, "has a value; flags not known", "not measured")
KEYS = ("good", "bad", "absent", "no-value", "unflagged", "not-measured")
"""Of the states, for code and style sheets."""
LOOKS: dict[int, tuple[str, str, str]] = {
    GOOD: ("band", "surface", "blank"),
    BAD: ("status_bad", "surface", "cross"),
    ABSENT: ("grid", "absent", "right_diagonal_line"),
    NO_VALUE: ("surface", "status_warning", "dot"),
    UNFLAGGED: ("surface", "band", "vertical_line"),
    NOT_MEASURED: ("surface", "outline", "blank"),
}
"""Tokens of fill and hatch, and the pattern, by state."""
HEIGHT = 62
"""px, title included."""


@dataclass(frozen=True)
class Change:
    """A run in which the state is another one than in the run before that says anything."""

    run: int
    state: int
    text: str


@dataclass(frozen=True)
class States:
    """States over runs.

    Attributes
    ----------
    run : ndarray of int32, shape (runs,)
        Ascending.
    state : ndarray of uint8, shape (runs,)
    fraction : ndarray of float64, shape (runs,)
        Of the events in which the pixel is flagged, or of the pixels of a module that are bad; NaN
        where it is not known.
    of_module : bool
    """

    run: NDArray[np.int32]
    state: NDArray[np.uint8]
    fraction: NDArray[np.float64]
    of_module: bool = False

    @classmethod
    def of_pixel(
        cls,
        run: NDArray[np.integer],
        value: NDArray[np.floating],
        fraction: NDArray[np.floating],
        measured: NDArray[np.bool_],
        flags_known: NDArray[np.bool_],
    ) -> States:
        """From what is stored of a pixel; all shapes (runs,).

        Parameters
        ----------
        run, value : ndarray
            The value is NaN where there is none.
        fraction : ndarray
            Of the events in which it is flagged; NaN where it was not read out, or is not known.
        measured, flags_known : ndarray of bool
            Whether the run has values of the quantity, and flags, for any pixel.
        """
        has, read_out = np.isfinite(value), np.isfinite(fraction)
        state = np.full(run.shape, NOT_MEASURED, np.uint8)
        state[measured & ~has] = NO_VALUE
        state[has & ~flags_known] = UNFLAGGED
        state[has & read_out] = GOOD
        state[flags_known & ~read_out] = ABSENT
        with np.errstate(invalid="ignore"):
            state[read_out & (fraction > plot_options().bad_fraction)] = BAD
        return cls(run.astype("<i4"), state, np.asarray(fraction, "<f8"))

    @classmethod
    def of_pixels(cls, states: list[States]) -> States:
        """Of a module with pixels of these *states*: bad as soon as one of them is."""
        table = np.array([one.state for one in states])
        state = np.full(table.shape[1], NOT_MEASURED, np.uint8)
        for code in (ABSENT, NO_VALUE, UNFLAGGED, GOOD, BAD):  # what is said last holds
            state[(table == code).any(axis=0)] = code
        bad = (table == BAD).sum(axis=0) / len(states)
        return cls(states[0].run, state, np.where(state == NOT_MEASURED, np.nan, bad), True)

    def counts(self) -> dict[int, int]:
        """How many runs have which state."""
        codes, numbers = np.unique(self.state, return_counts=True)
        return dict(zip(codes.tolist(), numbers.tolist(), strict=True))

    def changes(self) -> list[Change]:
        """Where the state became another one, oldest first; runs that say nothing are passed."""
        rows = np.flatnonzero((self.state != NOT_MEASURED) & (self.state != UNFLAGGED))
        states = self.state[rows]
        changed = np.flatnonzero(np.diff(states) != 0) + 1
        return [
            Change(
                int(self.run[rows[at]]),
                int(states[at]),
                self._words(int(rows[at]), int(states[at]), int(states[at - 1])),
            )
            for at in changed
        ]

    def words(self, row: int) -> str:
        """The state in a run, in words."""
        return WORDS[self.state[row]] + self._flagged(row)

    def stretches(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """First and last row of each stretch of runs of one state without a gap between them."""
        if not self.run.size:
            return np.empty(0, np.intp), np.empty(0, np.intp)
        edges = np.union1d(np.flatnonzero(np.diff(self.state) != 0) + 1, gaps(self.run))
        first = np.concatenate([[0], edges]).astype(np.intp)
        return first, np.concatenate([first[1:], [self.run.size]]).astype(np.intp) - 1

    def _words(self, row: int, state: int, before: int) -> str:
        flagged = self._flagged(row)
        if state == BAD:
            return f"became bad{flagged}"
        if state == ABSENT:
            return "absent: not read out"
        if state == NO_VALUE:
            return "no value"
        return {BAD: "good again", ABSENT: "read out again"}.get(before, "has a value again")

    def _flagged(self, row: int) -> str:
        fraction = float(self.fraction[row])
        if self.state[row] != BAD or not np.isfinite(fraction):
            return ""
        if self.of_module:
            return (
                f" ({counted(round(fraction * PIXELS_PER_MODULE), 'pixel')} of {PIXELS_PER_MODULE})"
            )
        return f" (flagged in {100 * fraction:.3g}\N{NO-BREAK SPACE}% of events)"


class StateStrip(PlotFrame):
    """One coloured and hatched stretch for runs of one state.

    Parameters
    ----------
    x_range : Range
        That of the plot above it.
    """

    def __init__(self, name: str, theme: Theme, x_range: Range) -> None:
        self.hover = HoverTool(
            visible=False, tooltips=tip([("Runs", "@first to @last"), ("State", "@words")])
        )
        super().__init__(
            name,
            theme,
            AxisSpec(type="none"),
            AxisSpec(type="none"),
            tools=[self.hover],
            x_range=x_range,
        )
        self.figure.update(min_border_left=LEFT, sizing_mode="stretch_width", height=HEIGHT)
        self.source = ColumnDataSource(
            name=f"{name}-stretches",
            data={key: [] for key in ("left", "right", "first", "last", "state", *_DRAWN)},
        )
        quads: dict[str, Any] = {key: key for key in _DRAWN[:-1]}
        self._quads = self.add(
            Quad(
                left="left", right="right", bottom=0, top=1, line_color=None,
                hatch_scale=7, hatch_weight=1.5, **quads,
            ),
            self.source,
        )  # fmt: skip
        self.hover.renderers = [self._quads]
        self.restyle(theme)

    def update(self, data: States) -> None:
        """Show *data*."""
        first, last = data.stretches()
        run, state = data.run, data.state
        # halfway to the neighbours, so that no line of nothing stands between stretches
        left, right = run[first] - 0.5, run[last] + 0.5
        touching = np.flatnonzero(~np.isin(first, gaps(run)))[1:] if first.size else first
        left[touching] = right[touching - 1] = (run[first[touching]] + run[last[touching - 1]]) / 2
        put(
            self.source,
            {
                "left": left,
                "right": right,
                "first": run[first],
                "last": run[last],
                "state": state[first],
                "words": [
                    data.words(int(row)) if row == end else WORDS[state[row]]
                    for row, end in zip(first, last, strict=True)
                ],
                **self._look(state[first]),
            },
        )
        columns = [
            Column("first", "first run"),
            Column("last", "last run"),
            Column("words", "state"),
        ]
        self.offer("States", Table(self.source, columns))
        counts = data.counts()
        words = [
            f"{WORDS[code].partition(':')[0]} in {counts[code]:,}" for code in range(len(WORDS))
            if code in counts
        ]  # fmt: skip
        self.title.text = f"State: {', '.join(words)} of {counted(int(run.size), 'run')}"

    def style(self) -> None:
        """Colour the glyphs from ``self.theme``."""
        self.title.update(text_font_size=self.theme.font["label"], text_font_style="normal")
        states = self.source.data["state"]
        if len(states):
            columns: dict[str, Any] = dict(self.source.data)
            put(self.source, {**columns, **self._look(np.asarray(states))})

    def _look(self, states: NDArray) -> dict[str, list[str]]:
        looks = [LOOKS[int(state)] for state in states]
        return {
            "fill_color": [self.theme[fill] for fill, _, _ in looks],
            "hatch_color": [self.theme[hatch] for _, hatch, _ in looks],
            "hatch_pattern": [pattern for _, _, pattern in looks],
        }


_DRAWN = ("fill_color", "hatch_color", "hatch_pattern", "words")
