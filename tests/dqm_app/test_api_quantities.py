"""Quantities as the interface gives them out: what each column is, in which unit, when."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
import pytest
from astropy.table import Table as AstropyTable
from astropy.units import Unit
from plot_runs import with_quantities

from dqm_app.api import reading
from dqm_app.api.encoding import Format, encode
from dqm_app.api.questions import HistoryQuestion, TrendQuestion
from dqm_app.api.tables import Column, Table
from dqm_app.statistics import statistics_of
from dqm_db.content import Kind, Quantity
from dqm_db.quantities import TimeScale
from dqm_db.storage import open_database
from dqm_db.units import known_units
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

CAMERA = "NectarCAMQM"
CHARGE = "CHARGE-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN"


def columns_of(table: Table) -> dict[str, Column]:
    return {column.name: column for column in table.columns}


def as_json(table: Table) -> dict[str, Any]:
    return json.loads(encode(table, Format.JSON))


@pytest.fixture
def snapshot(sample_database):
    with sample_database.snapshot() as found:
        yield found


@pytest.mark.parametrize("name", ["TRIGGER-EVENTS-ALL", "START-TIMES"])
def test_times_of_events_are_told_to_be_tai(snapshot, name):
    times = snapshot.header(CAMERA, 6001).times
    table = as_json(reading.quantity(snapshot, CAMERA, 6001, name))
    scales = {one["name"]: one["time_scale"] for one in table["columns"]}
    (first, *_) = [column for column, scale in scales.items() if scale == "tai"]
    earliest = min(table["data"][first])
    earliest = earliest[0] if isinstance(earliest, list) else earliest
    difference = table["meta"]["tai_minus_utc"]
    assert difference == times.tai_minus_utc == 37
    first_event = times.first_event
    if name == "TRIGGER-EVENTS-ALL":  # the file leaves the first event out
        assert first_event < earliest - difference < first_event + 0.1
    else:
        assert earliest - difference == first_event


def test_columns_of_one_table_differ(snapshot):
    start = columns_of(reading.quantity(snapshot, CAMERA, 6001, "START-TIMES"))
    assert {name: (one.unit, one.time_scale) for name, one in start.items()} == {
        "Run start time": ("s", TimeScale.UTC),
        "First event": ("s", TimeScale.TAI),
        "Last event": ("s", TimeScale.TAI),
    }
    assert start["First event"].about == "First event, Unix time (TAI)"
    events = columns_of(reading.quantity(snapshot, CAMERA, 6001, "TRIGGER-EVENTS-PHY"))
    assert (events["IDs"].about, events["IDs"].unit) == ("Event id", "")
    assert events["IDs"].time_scale is None


def test_every_column_has_a_description_of_its_own(snapshot):
    for run in (6001, 8001, 8003):
        for entry in snapshot.quantities(CAMERA, run):
            if entry.unavailable is None and entry.columns:
                table = reading.quantity(snapshot, CAMERA, run, entry.name)
                texts = [column.about for column in table.columns]
                assert all(texts) and len(set(texts)) == len(texts), entry.name
                has_tai = any(column.time_scale is TimeScale.TAI for column in table.columns)
                assert has_tai == ("tai_minus_utc" in table.meta)


def test_a_run_says_it_of_its_columns(snapshot):
    run = reading.run(snapshot, CAMERA, 6001)
    (start,) = [one for one in run.quantities if one.name == "START-TIMES"]
    assert start.columns["First event"]["time_scale"] == "tai"
    assert start.columns["Run start time"]["time_scale"] == "utc"


def test_all_words_for_units_of_statistics_are_known():
    statistics = [one for kind in Kind for one in statistics_of(kind.value).known.values()]
    assert {one.unit for one in statistics if one.unit} <= set(known_units())
    assert len(statistics) > 20


def test_units_are_those_of_astropy(snapshot):
    for table in tables(snapshot):
        for column in table.columns:
            Unit(column.unit, parse_strict="raise")
            if column.name == "unit":
                assert {Unit(unit, parse_strict="raise") for unit in column.values}
    charge = reading.quantity(snapshot, CAMERA, 6001, CHARGE)
    assert columns_of(charge)[CHARGE].unit == "adu"
    verdict = reading.verdict(snapshot, CAMERA, 6001)
    assert all(Unit(check.unit, parse_strict="raise") is not None for check in verdict.checks)


@pytest.mark.parametrize("form", [Format.FITS, Format.VOTABLE])
@pytest.mark.filterwarnings("error")
def test_astropy_writes_and_reads_everything_without_a_warning(snapshot, form):
    for table in tables(snapshot):
        found = AstropyTable.read(io.BytesIO(encode(table, form)), format=form.value)
        assert len(found) == len(table)
        for column, name in zip(table.columns, found.colnames, strict=True):
            assert str(found[name].unit or "") == column.unit
            assert found[name].description.split() == column.about.split()
            if column.values.dtype.kind in "iub":
                assert found[name].tolist() == column.values.tolist(), (table.name, name)


def test_a_list_of_times_may_be_empty(samples, file_settings):
    content = read_run(ReadJob(samples / f"{CAMERA}_DQM_Run6001.tar.gz")).content
    assert content is not None
    name = "CAMERA-PING-PONG-CHANGES-TIMES"
    none = Quantity(name, Kind.EVENT_TIMES, {name: np.empty(0)})
    with open_writer(file_settings) as writer:
        writer.store_run(with_quantities(content, none, run=6002), None)
    with open_database(file_settings) as database, database.snapshot() as at:
        table = reading.quantity(at, CAMERA, 6002, name)
    (times,) = table.columns
    assert times.values.shape == (len(table),) == (0,)
    assert times.time_scale is TimeScale.TAI


@pytest.mark.filterwarnings("error")
def test_astropy_reads_every_csv_as_it_is(snapshot):
    for table in tables(snapshot):
        found = AstropyTable.read(encode(table, Format.CSV).decode(), format="ascii.csv")
        assert len(found) == len(table)
        wide = [math.prod(column.values.shape[1:]) for column in table.columns]
        assert len(found.colnames) == sum(wide)
        for column, at in zip(table.columns, np.cumsum([0, *wide]), strict=False):
            assert found.colnames[at].startswith(column.name)
            values = column.values.reshape(len(table), -1)[:, 0]
            if values.dtype.kind in "iu":
                assert found.columns[at].tolist() == values.tolist()
    start = reading.quantity(snapshot, CAMERA, 6001, "START-TIMES")
    header, _ = encode(start, Format.CSV).decode().splitlines()
    assert header == "Run start time [s UTC],First event [s TAI],Last event [s TAI]"


def batched(names: list[str], size: int = 50) -> list[list[str]]:
    return [names[at : at + size] for at in range(0, len(names), size)]


def tables(snapshot) -> list[Table]:
    """All that there is of a run, and of all."""
    names = [
        entry.name
        for entry in snapshot.quantities(CAMERA, 6001)
        if entry.unavailable is None and entry.columns
    ]
    trends = [
        f"{name}.{statistic}"
        for name, statistics in snapshot.trend_names(CAMERA).items()
        for statistic in statistics
    ]
    return [
        reading.statistics(snapshot, CAMERA, 6001),
        reading.trend_names(snapshot, CAMERA),
        *(reading.trends(snapshot, CAMERA, TrendQuestion(column=some)) for some in batched(trends)),
        reading.history(snapshot, CAMERA, CHARGE, HistoryQuestion(pixel=[3, 1854])),
        *(reading.quantity(snapshot, CAMERA, 6001, name) for name in names),
    ]
