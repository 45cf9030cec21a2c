"""A page of a table, as exact text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_app.plots.options import plot_options

CELLS = 1200
COLUMNS = 60


@dataclass(frozen=True)
class TablePage:
    """Some rows and columns of a quantity.

    Attributes
    ----------
    header : list of str
    types : list of str
        Dtype of each column.
    ours : list of bool
        Which columns are not in the results file.
    rows : list of list of str
        Numbers as the shortest text that gives back the same bits.
    first_row, total_rows, first_column, total_columns : int
    """

    header: list[str]
    types: list[str]
    ours: list[bool]
    rows: list[list[str]]
    first_row: int
    total_rows: int
    first_column: int
    total_columns: int

    @classmethod
    def of(
        cls,
        columns: Mapping[str, NDArray],
        first_row: int = 0,
        first_column: int = 0,
        ours: Collection[str] = (),
    ) -> TablePage:
        """The page of *columns* that begins at a row and a column, moved into the table.

        Names in *ours* are columns that the results file does not have.
        """
        flat = flattened(columns)
        total_rows = max((values.size for _, values in flat), default=0)
        shown = flat[max(0, min(first_column, len(flat) - 1)) :][:COLUMNS]
        column = len(flat) - len(flat[max(0, min(first_column, len(flat) - 1)) :])
        height = max(5, min(plot_options().table_rows, CELLS // max(1, len(shown))))
        row = max(0, min(first_row, total_rows - 1))
        texts = [[_text(value) for value in values[row : row + height]] for _, values in shown]
        count = max((len(text) for text in texts), default=0)
        return cls(
            header=[label for label, _ in shown],
            types=[values.dtype.name for _, values in shown],
            ours=[label in ours for label, _ in shown],
            rows=[[text[at] if at < len(text) else "" for text in texts] for at in range(count)],
            first_row=row,
            total_rows=total_rows,
            first_column=column,
            total_columns=len(flat),
        )

    def as_json(self) -> dict[str, Any]:
        """For ``static/plots_contents.js``."""
        return {
            "header": self.header,
            "types": self.types,
            "ours": self.ours,
            "rows": self.rows,
            "firstRow": self.first_row,
            "totalRows": self.total_rows,
            "firstColumn": self.first_column,
            "totalColumns": self.total_columns,
        }


def flattened(columns: Mapping[str, NDArray]) -> list[tuple[str, NDArray]]:
    """The columns of the table: as they are, matrices column by column with their numbers."""
    return [part for name, array in columns.items() for part in _split(name, array)]


def _split(name: str, array: NDArray) -> list[tuple[str, NDArray]]:
    if array.ndim <= 1:
        return [(name, array.ravel())]
    matrix = array.reshape(array.shape[0], -1)
    if matrix.shape[1] == 1:
        return [(name, matrix[:, 0])]
    return [(str(at), matrix[:, at]) for at in range(matrix.shape[1])]


def _text(value: np.generic) -> str:
    item = value.item()
    if isinstance(item, bytes):
        return item.decode("utf-8", "backslashreplace")
    if isinstance(item, datetime):
        return f"{item:%Y-%m-%d %H:%M:%S.%f}"
    if item is None:
        return "–"  # no moment
    return item if isinstance(item, str) else repr(item)
