"""The horizontal axis of what is shown over runs: their numbers, or when they started."""

from __future__ import annotations

from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    DatetimeTicker,
    DatetimeTickFormatter,
)
from bokeh.models.axes import Axis


class RunAxes:
    """Turns *axis*, one of run numbers at first, into one of dates and back."""

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self._by_time = False
        self._number = (BasicTicker(min_interval=1), BasicTickFormatter(use_scientific=False))
        axis.update(ticker=self._number[0], formatter=self._number[1])
        self._date: tuple[DatetimeTicker, DatetimeTickFormatter] | None = None

    def show(self, *, by_time: bool) -> None:
        """Dates (positions in ms since 1970, UTC), or run numbers."""
        if by_time == self._by_time:
            return
        self._by_time = by_time
        if by_time and self._date is None:
            formats = DatetimeTickFormatter(
                seconds="%H:%M:%S",
                minsec="%H:%M:%S",
                minutes="%d %b %H:%M",
                hourmin="%d %b %H:%M",
                hours="%d %b %H:%M",
                days="%d %b %Y",
                months="%b %Y",
            )
            self._date = (DatetimeTicker(), formats)
        ticker, formatter = self._date if by_time and self._date else self._number
        self._axis.update(
            ticker=ticker,
            formatter=formatter,
            axis_label="Start of the run (UTC)" if by_time else "Run",
        )
