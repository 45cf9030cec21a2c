"""A table as JSON, CSV, FITS or VOTable.

JSON has one list per column, ``null`` for what is not known. CSV (RFC 4180) is a line of names and
units, and the rows; what is not known is empty. FITS and VOTable are written by astropy
(`dqm_app.api.astronomical`).
"""

from __future__ import annotations

import csv
import enum
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_app.api.accepting import weights
from dqm_app.api.tables import Column, Table


@enum.unique
class Format(enum.StrEnum):
    """What a table can be given out as."""

    JSON = "json"
    CSV = "csv"
    FITS = "fits"
    VOTABLE = "votable"

    @property
    def media(self) -> str:
        """Its media type."""
        return _MEDIA[self]

    @property
    def suffix(self) -> str:
        """That of a file."""
        return "vot" if self is Format.VOTABLE else self.value

    @classmethod
    def accepted(cls, accept: str) -> Format | None:
        """What an ``Accept`` header wants most; JSON when it takes anything; None: none of them."""
        found = weights(accept) or {"*/*": 1.0}
        by_media = {form.media.partition(";")[0]: form for form in cls}
        for media, weight in found.items():
            if weight and media in by_media:
                return by_media[media]
            if weight and media in ("*/*", "application/*"):
                # what is refused by name is not anything
                return next((f for m, f in by_media.items() if found.get(m, 1.0)), None)
        return None


_MEDIA: Mapping[Format, str] = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv; charset=utf-8",
    Format.FITS: "application/fits",
    Format.VOTABLE: "application/x-votable+xml",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def encode(table: Table, form: Format) -> bytes:
    """*table* in the given form."""
    if form is Format.JSON:
        return dump(document(table))
    if form is Format.CSV:
        return _csv(table)
    # takes half a second to import: only for those who ask for it
    from dqm_app.api import astronomical

    return astronomical.fits(table) if form is Format.FITS else astronomical.votable(table)


def dump(value: object) -> bytes:
    """*value*, in which there is no NaN, as JSON."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def document(table: Table) -> dict[str, Any]:
    """*table* as plain values for JSON."""
    return {
        "meta": dict(table.meta),
        "columns": [
            {
                "name": column.name,
                "unit": column.unit,
                "description": column.about,
                "dtype": _dtype(column),
                "time_scale": column.time_scale,
            }
            for column in table.columns
        ],
        "rows": len(table),
        "data": {column.name: plain(column.values, column.missing) for column in table.columns},
    }


def plain(values: NDArray, missing: int | None = None) -> list[Any]:
    """The values of an array as lists, None for what is not known or not finite."""
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.all():
            return _with_nothing(_exact(values), ~finite)
        return _exact(values).tolist()
    if missing is not None and (values == missing).any():
        return _with_nothing(values.astype(object), values == missing)
    return values.tolist()


def _with_nothing(values: NDArray, where: NDArray[np.bool_]) -> list[Any]:
    values[where] = None
    return values.tolist()


def _exact(values: NDArray) -> NDArray:
    """Single precision as the shortest numbers that mean the same: 0.1, not 0.10000000149."""
    if values.dtype.itemsize >= 8:
        return values.astype(object)
    return np.array([float(str(value)) for value in values.ravel()], object).reshape(values.shape)


def _dtype(column: Column) -> str:
    return "str" if column.values.dtype.kind == "U" else column.values.dtype.name


def _csv(table: Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    flat = [part for column in table.columns for part in _flat(column)]
    writer.writerow([_safe(name) for name, _ in flat])
    for row in zip(*(values for _, values in flat), strict=True):
        writer.writerow(["" if value is None else _safe(value) for value in row])
    return text.getvalue().encode()


def _flat(column: Column) -> list[tuple[str, list[Any]]]:
    """A column with several values per row as several columns: ``name[3]``."""
    values = column.values
    words = [word for word in (column.unit, (column.time_scale or "").upper()) if word]
    unit = f" [{' '.join(words)}]" if words else ""
    width = int(np.prod(values.shape[1:]))
    if width == 1:
        return [(f"{column.name}{unit}", plain(values.ravel(), column.missing))]
    wide = values.reshape(len(values), width)
    return [
        (f"{column.name}[{at}]{unit}", plain(wide[:, at], column.missing)) for at in range(width)
    ]


def _safe(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula stands behind an apostrophe.

    Control characters, which some readers take for the end of a line, are replaced.
    """
    if not isinstance(value, str):
        return value
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in value)
    return f"'{printable}" if value.startswith(_FORMULA) else printable
