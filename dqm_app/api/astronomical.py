"""A table as FITS or VOTable, by astropy, which takes half a second to import."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from astropy.io.votable import from_table
from astropy.io.votable.tree import TimeSys
from astropy.table import Column as AstropyColumn
from astropy.table import MaskedColumn
from astropy.table import Table as AstropyTable
from astropy.units import Unit, UnitBase
from astropy.utils.xml.check import fix_id

from dqm_app.api.tables import Column, Table

UNIX_EPOCH = 2440587.5
"""As a Julian date, of either time scale."""


def fits(table: Table) -> bytes:
    """*table* as the first extension; texts in ASCII, as FITS has it."""
    columns = []
    for column in table.columns:
        made = _astropy(column, column.name, column.unit or None)
        if made.dtype.kind == "U":
            made = AstropyColumn(
                np.char.encode(made, "ascii", "replace"), made.name, description=made.description
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
            _astropy(column, name, _vounit(column.unit))
            for column, name in zip(table.columns, ids, strict=True)
        ]
    )
    made.meta["description"] = "; ".join(_facts(table))
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
    for field, column in zip(resource.tables[0].fields, table.columns, strict=True):
        field.name = column.name
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
        return Unit(f"'{unit}'", format="vounit")
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


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
