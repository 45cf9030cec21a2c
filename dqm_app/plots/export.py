"""What of a plot can be saved as CSV; the browser writes the file from the columns that it has.

A plot says so itself, in its ``update``, by `PlotFrame.offer`. Nothing else is needed: the menu of
its view lists it, ``static/csv.js`` writes its files and ``static/png.js`` its picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bokeh.models import ColumnDataSource

ColumnKind = Literal["plain", "utc", "list", "steps"]


@dataclass(frozen=True)
class Column:
    """One column of a file.

    Attributes
    ----------
    key : str
        Of the source.
    name, unit : str
        For people; the heading is ``name [unit]``.
    kind : str
        ``"plain"``: numbers or texts. ``"utc"``: milliseconds since 1970 in UTC, written as an ISO
        date and as seconds. ``"list"``: every row of the source has an array, which becomes as many
        rows of the file. ``"steps"``: the places of the entries of such arrays, which are nowhere
        stored: ``start``, and ``step`` more for each further one.
    start, step : float
    """

    key: str
    name: str
    unit: str = ""
    kind: ColumnKind = "plain"
    start: float = 0.0
    step: float = 1.0


@dataclass(frozen=True)
class Table:
    """One file.

    Attributes
    ----------
    source : ColumnDataSource
    columns : sequence of Column
        In the order of the file; those of the source that only serve the drawing are left out.
    title : str
        What it holds, where a plot has several, e.g. ``"picked pixels"``; else empty.
    skip : sequence of int
        Rows that only serve the drawing, such as breaks in a line.
    """

    source: ColumnDataSource
    columns: Sequence[Column]
    title: str = ""
    skip: Sequence[int] = ()


def offered(
    title: str, tables: Sequence[Table], quantity: str | None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """What the browser has to know; JSON.

    Parameters
    ----------
    title : str
        Of the plot, in the menu.
    tables : sequence of Table
        Empty when there is nothing to save.
    quantity : str or None
        EXTNAME of what is shown; None: that of the view.
    notes : sequence of str
        Further lines for the head of the file, e.g. which runs are compared.
    """
    return {
        "title": title,
        "quantity": quantity,
        "notes": list(notes),
        "tables": [
            {
                "source": table.source.id,
                "title": table.title,
                "skip": list(table.skip),
                "columns": [
                    [column.key, column.name, column.unit, column.kind, *_places(column)]
                    for column in table.columns
                ],
            }
            for table in tables
        ],
    }


def _places(column: Column) -> list[float]:
    return [column.start, column.step] if column.kind == "steps" else []
