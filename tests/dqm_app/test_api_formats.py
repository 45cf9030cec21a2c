"""Whatever a table holds, what other programs read is what was given out."""

from __future__ import annotations

import io
import json
import warnings
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.votable import parse, validate
from astropy.table import Table as AstropyTable
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dqm_app.api.encoding import Format, encode
from dqm_app.api.tables import Column, Table
from dqm_client.client import _table

KINDS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"]
TEXT = st.text(max_size=8)
NAME = st.from_regex(r"[A-Za-z]([A-Za-z0-9_ .-]{0,20}[a-z])?", fullmatch=True) | st.text(
    st.characters(categories=["L", "N"]), min_size=1, max_size=6
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(NAME, min_size=1, max_size=4, unique_by=str.lower))
    columns = []
    for name in names:
        unit = draw(st.sampled_from(["", "s", "adu", "byte", "deg_C", "%"]))
        if draw(st.booleans()):
            values = np.array(draw(st.lists(TEXT, min_size=rows, max_size=rows)), "U8")
            columns.append(Column(name, values, "", draw(TEXT)))
            continue
        shape = draw(st.sampled_from([(rows,), (rows, 2), (rows, 2, 3)]))
        values = draw(hnp.arrays(draw(st.sampled_from(KINDS)), shape))
        missing = -1 if values.dtype.kind == "i" and draw(st.booleans()) else None
        columns.append(Column(name, values, unit, draw(TEXT), missing))
    meta = draw(st.dictionaries(st.sampled_from(["camera", "note"]), st.none() | TEXT))
    return Table("t", tuple(columns), meta)


FEW = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


def texts(column: Any) -> list[Any]:
    return np.ma.filled(np.ma.asarray(column), "").tolist()


def assert_same(found: Any, column: Column) -> None:
    """Numbers of *column* in what was read; without rows the shape of each is not looked at."""
    values = column.values
    if not len(values):
        assert not len(found)
        return
    known = np.ones(values.shape, bool)
    if values.dtype.kind == "f":
        known = np.isfinite(values)
    if column.missing is not None:
        known = values != column.missing
        assert np.array_equal(np.broadcast_to(np.ma.getmaskarray(found), values.shape), ~known)
    found = np.asarray(np.ma.getdata(found))
    assert found.shape == values.shape
    assert np.array_equal(found[known], values[known])
    if values.dtype.kind == "f":
        assert not np.isfinite(found[~known].astype(float)).any()


@FEW
@given(tables())
@example(Table("t", (Column("A", np.array([[-1, 3], [4, -1]]), missing=-1),)))
def test_the_client_reads_what_json_says(table: Table) -> None:
    found = _table(json.loads(encode(table, Format.JSON)))
    assert found.colnames == [column.name for column in table.columns]
    for column in table.columns:
        read = found[column.name]
        if column.values.dtype.kind == "U":
            assert read.tolist() == column.values.tolist()
        else:
            assert read.dtype == column.values.dtype
            assert str(read.unit or "") == column.unit
            assert_same(read, column)


@FEW
@given(tables())
def test_fits_is_valid_and_the_same(table: Table) -> None:
    data = encode(table, Format.FITS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(io.BytesIO(data)) as file:
            file.verify("exception")
        found = AstropyTable.read(io.BytesIO(data), format="fits")
    assert len(found) == len(table)
    for name, column in zip(found.colnames, table.columns, strict=True):
        if column.name.isascii():
            assert name == column.name
        if column.values.dtype.kind == "U":
            # FITS has printable ASCII alone, and no blanks at an end
            said = [bytes(np.bytes_(one)).decode().rstrip() for one in texts(found[name])]
            told = [
                "".join(c if " " <= c <= "~" else "?" for c in v).rstrip() for v in column.values
            ]
            assert said == told
        else:
            assert_same(found[name], column)


@FEW
@given(tables())
@example(Table("t", (Column("A", np.arange(12).reshape(2, 2, 3)),)))
@example(Table("t", (Column("A", np.full((2, 2), 2**63, np.uint64)),)))
def test_votable_is_valid_and_the_same(table: Table) -> None:
    data = encode(table, Format.VOTABLE)
    report = io.StringIO()
    assert validate(io.BytesIO(data), output=report), report.getvalue()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = parse(io.BytesIO(data), verify="exception").get_first_table()
        read = first.to_table(use_names_over_ids=True)
    assert read.colnames == [column.name for column in table.columns]
    assert len(read) == len(table)
    for column in table.columns:
        if column.values.dtype.kind == "U":
            told = ["".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in v)
                    for v in column.values]  # fmt: skip
            # blanks around it are of the layout of XML
            found = [str(one).strip() for one in texts(read[column.name])]
            assert found == [text.strip() for text in told]
        elif column.values.dtype == np.uint64 and (column.values >= 2**63).any():
            told = [" ".join(map(str, row)) for row in column.values.reshape(len(table), -1)]
            assert [str(one) for one in read[column.name]] == told
        else:
            assert_same(read[column.name], column)


@FEW
@given(tables())
def test_csv_is_read_by_astropy(table: Table) -> None:
    data = encode(table, Format.CSV).decode()
    found = AstropyTable.read(data, format="csv", fast_reader=False)
    assert len(found) == len(table)
    assert len(found.colnames) == sum(
        int(np.prod(column.values.shape[1:])) for column in table.columns
    )
