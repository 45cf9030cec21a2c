"""Quantities as tables: CSV and FITS that come back exactly."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dqm_db.content import EventCounts, Kind, Provenance, RunHeader, RunTimes
from ingest.export import iso_utc, quantity_table

HEADER = RunHeader(
    camera="NectarCAMQM",
    run=6001,
    times=RunTimes(run_start=1746145800.0, tai_minus_utc=37.0),
    events=EventCounts(10),
    absent_pixels=np.array([3], np.uint16),
    bad_pixels=None,
    provenance=Provenance("/a/ü.tar.gz", 5, 6, "in/x.fits", 7, "ab" * 32, 1746150000.0, 1),
)


def exported(
    quantity: str, kind: Kind, columns: Mapping[str, NDArray]
) -> tuple[list[str], dict[str, list[str]], fits.HDUList]:
    """Comment lines and columns of the CSV, and the FITS file."""
    table = quantity_table(HEADER, quantity, kind, columns)
    lines = table.to_csv().splitlines()
    comments = [line for line in lines if line.startswith("# ")]
    rows = list(csv.reader(lines[len(comments) :]))
    by_name = {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}
    return comments, by_name, fits.open(io.BytesIO(table.to_fits()), checksum=True)


def test_pixel_map() -> None:
    values = np.random.default_rng(0).normal(250, 4, 1855)
    values[3] = np.nan
    name = "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN"
    comments, columns, file = exported(name, Kind.PIXEL_MAP, {"Mixed-Case": values})
    assert "# camera: NectarCAMQM" in comments and "# run: 6001" in comments
    assert f"# results sha256: {'ab' * 32}" in comments
    assert "# run start (UTC): 2025-05-02T00:30:00Z" in comments
    assert "# units: Mixed-Case [ADC counts]" in comments
    assert columns["pixel_id"] == [str(pixel) for pixel in range(1855)]
    assert columns["module"][7:9] == ["1", "1"]
    np.testing.assert_array_equal([float(value) for value in columns["Mixed-Case"]], values)
    table = file[1]
    assert (table.name, table.header["CAMERA"], table.header["RUN"]) == (name, "NectarCAMQM", 6001)
    assert table.columns["Mixed-Case"].unit == "adu"
    np.testing.assert_array_equal(table.data["Mixed-Case"], values)
    np.testing.assert_array_equal(table.data["pixel_id"], np.arange(1855))
    assert any("results sha256: " + "ab" * 20 in line for line in table.header["COMMENT"])


def test_waveforms() -> None:
    values = np.random.default_rng(0).normal(250, 4, (1855, 5))
    _, columns, file = exported("WF-PHY-HIGH-GAIN", Kind.PIXEL_WAVEFORMS, {"W": values})
    assert list(columns) == ["pixel_id", "module", "W[0]", "W[1]", "W[2]", "W[3]", "W[4]"]
    np.testing.assert_array_equal([float(value) for value in columns["W[4]"]], values[:, 4])
    np.testing.assert_array_equal(file[1].data["W"], values)


def test_trigger_events_have_utc_beside_tai() -> None:
    times = 1746145849.0 + np.arange(4) * 0.1
    ids = np.array([2, 3, 2**60, 5])
    comments, columns, file = exported(
        "TRIGGER-EVENTS-PED", Kind.TRIGGER_EVENTS, {"Timestamps": times, "IDs": ids}
    )
    assert columns["IDs"] == [str(event) for event in ids]
    np.testing.assert_array_equal([float(v) for v in columns["Timestamps"]], times)
    np.testing.assert_array_equal([float(v) for v in columns["time_utc"]], times - 37)
    assert "# units: Timestamps [s (TAI)], time_utc [s (UTC)]" in comments
    np.testing.assert_array_equal(file[1].data["IDs"], ids)


def test_start_times_tell_utc_from_tai() -> None:
    values = {
        "Run start time": np.array([1746145800]),
        "First event": np.array([1746145849.25]),
        "Last event": np.array([1746145900.5]),
    }
    comments, columns, file = exported("START-TIMES", Kind.COUNTERS, values)
    assert (
        "# units: Run start time [s (UTC)], First event [s (TAI)], Last event [s (TAI)], "
        "First event UTC [s (UTC)], Last event UTC [s (UTC)]"
    ) in comments
    assert columns == {
        "Run start time": ["1746145800"],
        "First event": ["1746145849.25"],
        "Last event": ["1746145900.5"],
        "First event UTC": ["1746145812.25"],
        "Last event UTC": ["1746145863.5"],
    }
    assert {file[1].columns[name].unit for name in columns} == {"s"}
    remarks = list(file[1].header["COMMENT"])
    assert "unit of Run start time: s (UTC)" in remarks
    assert "unit of First event: s (TAI)" in remarks


def test_timeline() -> None:
    columns = {"T": np.array([0.1, 0.0]), "of_class": np.array([True, False])}
    _, found, file = exported("CAMERA-BADPIXTIMELINE-PHY-HIGH-GAIN", Kind.EVENT_TIMELINE, columns)
    assert found == {"event": ["0", "1"], "T": ["0.1", "0.0"], "of_class": ["True", "False"]}
    np.testing.assert_array_equal(file[1].data["of_class"], [True, False])


def test_temperature_unit_is_ascii_in_fits() -> None:
    _, found, file = exported(
        "CAMERA-TEMPERATURE-TREND", Kind.DRAWER_TREND, {"T": np.ones((265, 2))}
    )
    assert found["module"][-1] == "264"
    assert file[1].columns["T"].unit == "Celsius"


def test_columns_of_different_length() -> None:
    columns = {
        "a": np.array([1, 2, 3]),
        "b": np.array([0.5]),
        "t": np.array(["x", "y"]),
        "v": np.ones((1, 2)),
    }
    _, found, file = exported("NEW", Kind.GENERIC, columns)
    assert found["a"] == ["1", "2", "3"] and found["b"] == ["0.5", "nan", "nan"]
    assert found["t"] == ["x", "y", ""]
    assert len(file[1].data) == 3


@pytest.mark.parametrize("seconds", [None, math.nan, math.inf, 1e300])
def test_unknown_times(seconds: float | None) -> None:
    assert iso_utc(seconds) == "unknown"


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(), min_size=1, max_size=20))
def test_every_float_comes_back(values: list[float]) -> None:
    array = np.array(values)
    table = quantity_table(HEADER, "X", Kind.GENERIC, {"v": array})
    rows = [line for line in table.to_csv().splitlines() if not line.startswith("#")][1:]
    np.testing.assert_array_equal(np.array([float(row) for row in rows]), array)
    with fits.open(io.BytesIO(table.to_fits())) as file:
        np.testing.assert_array_equal(file[1].data["v"], array)
