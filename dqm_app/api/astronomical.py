"""A table as FITS or VOTable, by astropy, which takes half a second to import."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from astropy.io.votable import from_table
from astropy.io.votable.tree import TimeSys
from astropy.table import Column as AstropyColumn
from astropy.table import MaskedColumn
from astropy.table import Table as AstropyTable
from astropy.units import Unit, UnitBase
from astropy.utils.xml.check import fix_id
from numpy.typing import NDArray

from dqm_app.api.tables import Column, Table

UNIX_EPOCH = 2440587.5
"""As a Julian date, of either time scale."""
_SPELT = {"%": "percent"}
"""Units that are no letters, which cannot be quoted."""
_WIDER = {
    np.dtype(narrow): np.dtype(wide) for narrow, wide in (("i1", "i2"), ("u2", "i4"), ("u4", "i8"))
}


def fits(table: Table) -> bytes:
    """*table* as the first extension; texts in ASCII, as FITS has it."""
    columns = []
    for number, column in enumerate(table.columns, 1):
        plain = _ascii(column.name, "_")
        name = plain if plain == column.name else f"{plain}_{number}"  # else two may be the same
        if column.values.dtype == np.int8:  # which astropy would write as truth values
            column = replace(column, values=column.values.astype(np.int16))
        made = _astropy(column, name, column.unit or None)
        if made.dtype.kind == "U":
            made = AstropyColumn(
                np.char.encode(_each(made, _ascii), "ascii"), name, description=made.description
            )
        columns.append(made)
    found = AstropyTable(columns)
    # keywords have eight letters; longer ones would warn
    found.meta["COMMENT"] = [_ascii(line) for line in _facts(table)]
    for number, column in enumerate(table.columns, 1):
        if column.about:
            found.meta[f"TCOMM{number}"] = _ascii(column.about)
    written = io.BytesIO()
    found.write(written, format="fits")
    return written.getvalue()


def votable(table: Table) -> bytes:
    """*table* as VOTable 1.4; the names of columns are theirs, their ids are XML's."""
    scales = {column.time_scale for column in table.columns if column.time_scale is not None}
    free = _ids([*(f"time_{scale}" for scale in sorted(scales)), *(c.name for c in table.columns)])
    systems = dict(zip(sorted(scales), free, strict=False))
    ids = free[len(systems) :]
    made = AstropyTable(
        [
            _astropy(_for_xml(column), name, _vounit(column.unit))
            for column, name in zip(table.columns, ids, strict=True)
        ]
    )
    made.meta["description"] = _printable("; ".join(_facts(table)))
    document = from_table(made)
    (resource,) = document.resources
    for scale, name in systems.items():
        resource.time_systems.append(
            TimeSys(
                ID=name,
                timeorigin=UNIX_EPOCH,
                timescale=scale.upper(),
                refposition="TOPOCENTER",
                config={"version_1_4_or_later": True},
            )
        )
    fields = resource.tables[0].fields
    for field, column, held in zip(fields, table.columns, made.itercols(), strict=True):
        field.name = _printable(column.name)
        if held.ndim > 2 and held.dtype.kind != "U":
            # astropy has them in numpy's order; here the first is that which varies fastest
            # (VOTable 1.4, 2.2), and astropy itself would read the others
            field.arraysize = "x".join(map(str, reversed(held.shape[1:])))
        if column.time_scale is not None:
            field.ref = systems[column.time_scale]
    written = io.BytesIO()
    document.to_xml(written)
    return written.getvalue()


def _astropy(column: Column, name: str, unit: UnitBase | str | None) -> AstropyColumn:
    """With a mask only where something may be missing: no other number stands for nothing."""
    text = column.about or None
    if column.missing is None:
        return AstropyColumn(column.values, name, unit=unit, description=text)
    return MaskedColumn(
        column.values,
        name,
        unit=unit,
        description=text,
        mask=column.values == column.missing,
        fill_value=column.missing,
    )


def _vounit(unit: str) -> UnitBase | None:
    """What VOUnits 1.0 does not know, such as degrees Celsius, is quoted (section 2.12)."""
    if not unit:
        return None
    found = Unit(unit)
    try:
        found.to_string("vounit")
    except ValueError:
        return Unit(f"'{_SPELT.get(unit, unit)}'", format="vounit")
    return found


def _ids(names: Sequence[str]) -> list[str]:
    """Names as ids of XML, each once in a document, none of them the name of another one."""
    found: list[str] = []
    for name in names:
        first = candidate = fix_id(name)
        number = 2
        while candidate in found or (candidate != name and candidate in names):
            candidate = f"{first}_{number}"
            number += 1
        found.append(candidate)
    return found


def _facts(table: Table) -> list[str]:
    return [
        f"{key}: {' '.join(str(value).split())}"
        for key, value in table.meta.items()
        if value is not None
    ]


def _for_xml(column: Column) -> Column:
    """With values of types that VOTable has, and no control characters, which XML has not."""
    values = column.values
    if values.dtype.kind == "U":
        values = _each(values, _printable)
    elif values.dtype in _WIDER:
        values = values.astype(_WIDER[values.dtype])
    elif values.dtype == np.uint64:  # a text, if need be, is better than another number
        values = values.astype(np.int64) if (values < 2**63).all() else _one_text_each(values)
    return replace(column, values=values, description=_printable(column.description))


def _one_text_each(values: NDArray[np.uint64]) -> NDArray[np.str_]:
    """Numbers of each row with blanks between: astropy writes no cells of several texts."""
    rows = values.reshape(len(values), -1).tolist()
    return np.array([" ".join(map(str, row)) for row in rows])


def _each(texts: NDArray, change: Callable[[str], str]) -> NDArray:
    changed = [change(text) for text in np.asarray(texts).ravel().tolist()]
    return np.array(changed, texts.dtype).reshape(texts.shape)


def _ascii(text: str, other: str = "?") -> str:
    """What FITS can hold: printable ASCII, *other* for all else."""
    return "".join(letter if " " <= letter <= "~" else other for letter in text)


def _printable(text: str) -> str:
    """What XML can hold: no control characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
