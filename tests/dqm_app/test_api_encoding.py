"""Tables as JSON, CSV, FITS and VOTable: what is read back is what was given out."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from astropy.io import votable
from astropy.table import Table as AstropyTable
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dqm_app.api.encoding import Format, dump, encode, plain
from dqm_app.api.tables import Column, Table
from dqm_db.quantities import TimeScale

TABLE = Table(
    "NectarCAMQM-runs",
    (
        Column("run", np.array([6310, 6311, 6312]), "", "Run number"),
        Column("start", np.array([1.5, np.nan, -np.inf]), "s", "Start", time_scale=TimeScale.UTC),
        Column("gain", np.array([0.1, 58.0, np.nan], np.float32), "adu"),
        Column("events", np.array([100, -1, 0], np.int16), "", "Events", missing=-1),
        Column("verdict", np.array(["ok", "=1+2", 'a "b", c']), "", "What the checks say"),
        Column("two", np.array([[1, 2], [3, 4], [5, 6]], np.int32)),
    ),
    {"camera": "NectarCAMQM", "next_cursor": None, "note": "Two\nlines and é"},
)


def test_json_has_nothing_that_json_has_not() -> None:
    found = json.loads(encode(TABLE, Format.JSON))
    assert found["rows"] == 3
    assert found["meta"]["camera"] == "NectarCAMQM"
    assert found["data"]["start"] == [1.5, None, None]
    assert found["data"]["gain"] == [0.1, 58.0, None]  # and not 0.10000000149
    assert found["data"]["events"] == [100, None, 0]
    assert found["data"]["two"] == [[1, 2], [3, 4], [5, 6]]
    assert found["columns"][1] == {
        "name": "start",
        "unit": "s",
        "description": "Start, Unix time (UTC)",
        "dtype": "float64",
        "time_scale": "utc",
    }
    assert found["columns"][4]["dtype"] == "str"


def test_csv_is_safe_to_open_in_a_spreadsheet() -> None:
    text = encode(TABLE, Format.CSV).decode()
    assert text.count("\r\n") == 1 + len(TABLE)
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == ["run", "start [s UTC]", "gain [adu]", "events", "verdict", "two[0]", "two[1]"]
    assert rows[0] == ["6310", "1.5", "0.1", "100", "ok", "1", "2"]
    assert rows[1] == ["6311", "", "58.0", "", "'=1+2", "3", "4"]
    assert rows[2][4] == 'a "b", c'


def test_names_of_columns_are_no_formulas_either() -> None:
    table = Table("t", (Column("=HYPERLINK(1)", np.array([1])), Column("a\nb", np.array([2]))), {})
    header = next(csv.reader(io.StringIO(encode(table, Format.CSV).decode(), newline="")))
    assert header == ["'=HYPERLINK(1)", "a\ufffdb"]


@pytest.mark.filterwarnings("error")
def test_csv_is_read_as_it_is() -> None:
    found = AstropyTable.read(encode(TABLE, Format.CSV).decode(), format="ascii.csv")
    assert found["run"].tolist() == [6310, 6311, 6312]
    assert found["start [s UTC]"].tolist() == [1.5, None, None]
    assert found["events"].tolist() == [100, None, 0]
    assert found["verdict"].tolist() == ["ok", "'=1+2", 'a "b", c']


@pytest.mark.parametrize("form", [Format.FITS, Format.VOTABLE])
@pytest.mark.filterwarnings("error")
def test_astropy_reads_what_it_wrote(form: Format) -> None:
    found = AstropyTable.read(io.BytesIO(encode(TABLE, form)), format=form.value)
    assert len(found) == 3
    assert found["start"].unit == "s"
    assert found["run"].tolist() == [6310, 6311, 6312]
    assert found["events"].mask.tolist() == [False, True, False]
    assert found["two"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert [str(word).strip() for word in found["verdict"]] == ["ok", "=1+2", 'a "b", c']
    assert found["gain"].dtype.itemsize == 4


@pytest.mark.filterwarnings("error")
def test_columns_of_a_votable_have_ids_and_their_names() -> None:
    names = ["First event", "First_event", "time_tai", "2.5 %", "é"]
    values = np.arange(2.0)
    table = Table(
        "t",
        (
            Column("start", values, "s", "Start", time_scale=TimeScale.UTC),
            *(Column(name, values, "s", name, time_scale=TimeScale.TAI) for name in names),
            Column("mean", values, "deg_C"),
        ),
    )
    document = votable.parse(io.BytesIO(encode(table, Format.VOTABLE)), verify="exception")
    systems = {one.ID: one.timescale for one in document.resources[0].time_systems}
    assert set(systems.values()) == {"TAI", "UTC"}
    start, *fields, mean = document.get_first_table().fields
    assert [field.name for field in fields] == names
    ids = [field.ID for field in (start, *fields, mean)]
    assert len({*ids, *systems}) == len(ids) + len(systems)
    assert [systems[field.ref] for field in (start, *fields)] == ["UTC", *["TAI"] * len(names)]
    assert (str(mean.unit), mean.ref) == ("deg_C", None)


@pytest.mark.parametrize("form", [Format.FITS, Format.VOTABLE])
def test_no_number_stands_for_nothing_unless_it_is_told_to(form: Format) -> None:
    every = np.arange(999_990, 1_000_001)
    table = Table("t", (Column("id", every), Column("events", every, missing=-1)))
    found = AstropyTable.read(io.BytesIO(encode(table, form)), format=form.value)
    assert not found.has_masked_values
    assert found["id"].tolist() == found["events"].tolist() == every.tolist()


NOTHING = Table(
    "nothing",
    (
        Column("run", np.empty(0, np.int64)),
        Column("events", np.empty(0, np.int32), missing=-1),
        Column("start", np.empty(0), "s", time_scale=TimeScale.UTC),
        Column("word", np.empty(0, "U64")),
        Column("two", np.empty((0, 2))),
    ),
)


@pytest.mark.parametrize("form", [Format.FITS, Format.VOTABLE])
@pytest.mark.filterwarnings("error")
def test_without_rows_texts_are_texts(form: Format) -> None:
    found = AstropyTable.read(io.BytesIO(encode(NOTHING, form)), format=form.value)
    assert len(found) == 0
    assert [found[name].dtype.kind for name in ("run", "events", "start")] == ["i", "i", "f"]
    assert found["word"].dtype.kind in "SU"
    assert found["two"].shape == (0, 2)


def test_a_table_may_have_no_rows() -> None:
    found = json.loads(encode(NOTHING, Format.JSON))
    assert found["rows"] == 0
    assert set(map(str, found["data"].values())) == {"[]"}
    dtypes = {column["name"]: column["dtype"] for column in found["columns"]}
    assert (dtypes["word"], dtypes["events"]) == ("str", "int32")
    csv_text = encode(NOTHING, Format.CSV).decode()
    assert csv_text == "run,events,start [s UTC],word,two[0],two[1]\r\n"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Format.JSON),
        ("*/*", Format.JSON),
        ("text/csv", Format.CSV),
        ("text/html, application/fits;q=0.9", Format.FITS),
        ("application/x-votable+xml", Format.VOTABLE),
        ("image/png", None),
        ("text/csv;q=0.2, application/fits;q=0.9", Format.FITS),
        ("*/*, application/json;q=0", Format.CSV),
        ("application/json;q=0", None),
        ("application/json;q=nan, text/csv;q=2", None),
        ("*/*;q=0.1, application/x-votable+xml", Format.VOTABLE),
        (", ;q=1", Format.JSON),
    ],
)
def test_the_accept_header_chooses(accept: str, form: Format | None) -> None:
    assert Format.accepted(accept) is form


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.int64]),
        hnp.array_shapes(max_dims=2, max_side=5),
    )
)
def test_numbers_come_back_exactly(values: np.ndarray) -> None:
    found = json.loads(dump(plain(values)))
    flat = np.array(found, object).reshape(values.shape)
    for one, other in zip(values.ravel(), flat.ravel(), strict=True):
        if other is None:
            assert not np.isfinite(one)
        else:
            assert values.dtype.type(other) == one
