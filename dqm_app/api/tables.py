"""Columns with units: what nearly everything is given out as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from dqm_db.quantities import TimeScale


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes
    ----------
    name : str
    values : ndarray, shape (rows, …)
        Numbers, truth values or texts (dtype U). What is not known is NaN, or -1 among whole
        numbers that cannot be negative, as `missing` says.
    unit : str
        As astropy writes it (`dqm_db.units.standard_unit`); empty for pure numbers.
    description : str
    missing : int or None
        The value that stands for what is not known among whole numbers.
    time_scale : TimeScale or None
        When the values are moments, in Unix seconds.
    """

    name: str
    values: NDArray
    unit: str = ""
    description: str = ""
    missing: int | None = None
    time_scale: TimeScale | None = None

    @property
    def about(self) -> str:
        """Its description, and in what moments are counted."""
        if self.time_scale is None:
            return self.description
        return f"{self.description}, Unix time ({self.time_scale.upper()})"


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes
    ----------
    name : str
        Of a file with it, without suffix.
    columns : tuple of Column
        At least one, all with as many rows.
    meta : mapping of str to str, int, float or None
        What is to be known of the table as a whole.
    """

    name: str
    columns: tuple[Column, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns[0].values)
