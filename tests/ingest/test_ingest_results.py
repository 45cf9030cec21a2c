"""HDUs as arrays; whatever is wrong with a file is one clear error."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from results_files import build_fits, raw_columns, run_fits, sample_fits

from dqm_db.content import Kind, Provenance
from dqm_db.packing import pack_run
from ingest.errors import ResultsFileError
from ingest.parse import parse_results
from ingest.results import read_hdus

KNOWN = {"TRIGGER-TYPES": np.array([2, 32])}
PROVENANCE = Provenance("x", 1, 1, "x.fits", 1, "0" * 64, 0.0, 0)


@pytest.mark.parametrize("run", [6001, 8001, 8003])
def test_samples_are_read_as_astropy_reads_them(samples: Path, run: int) -> None:
    data = sample_fits(samples, run)
    expected = raw_columns(data)
    hdus = read_hdus(data)
    assert list(hdus) == list(expected)
    for name, columns in expected.items():
        assert list(hdus[name].columns) == list(columns)
        for key, values in columns.items():
            found = hdus[name].columns[key]
            assert found.shape == values.shape
            assert found.dtype == values.dtype.newbyteorder("<")
            assert found.dtype.isnative
            np.testing.assert_array_equal(found, values)


def test_every_plain_dtype() -> None:
    columns = {
        "D": np.array([1.5, -0.0, np.nan, np.inf]),
        "E": np.array([1.5, 2, 3, 4], "f4"),
        "K": np.array([2**62, -(2**62), 1, 0]),
        "J": np.array([1, -2, 3, 4], "i4"),
        "I": np.array([1, -2, 3, 4], "i2"),
        "B": np.array([1, 2, 255, 0], "u1"),
        "vector": np.arange(12.0).reshape(4, 3),
        "text": np.array(["a", "bc", "", "d"]),
        "flag": np.array([True, False, True, True]),
    }
    hdus = read_hdus(build_fits({**KNOWN, "MIXED": columns}))
    for name, values in columns.items():
        np.testing.assert_array_equal(hdus["MIXED"].columns[name], values)
        assert hdus["MIXED"].columns[name].dtype.kind == values.dtype.kind


def test_scaled_and_unsigned_columns_and_images() -> None:
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("U", "K", bzero=2**63, array=np.array([2**63 + 5, 7], np.uint64)),
            fits.Column("S", "I", array=np.array([2, 5])),
        ],
        name="SCALED",
    )
    table.header["TSCAL2"], table.header["TZERO2"] = 0.5, 10.0
    image = fits.ImageHDU(np.array([[1, 65535]], np.uint16), name="UNSIGNED")
    stream = io.BytesIO()
    known = fits.ImageHDU(np.arange(3.0), name="TRIGGER-TYPES")
    fits.HDUList([fits.PrimaryHDU(), known, table, image]).writeto(stream)
    hdus = read_hdus(stream.getvalue())
    np.testing.assert_array_equal(hdus["SCALED"].columns["S"], [11.0, 12.5])
    np.testing.assert_array_equal(hdus["SCALED"].columns["U"], np.array([2**63 + 5, 7], np.uint64))
    np.testing.assert_array_equal(hdus["UNSIGNED"].columns["UNSIGNED"], [[1, 65535]])


def test_duplicate_and_missing_names() -> None:
    first, second = np.arange(3.0), np.arange(4.0)
    data = build_fits([("X", first), ("TRIGGER-TYPES", first), ("X", second), ("", {"c": second})])
    hdus = read_hdus(data)
    assert list(hdus) == ["X", "TRIGGER-TYPES", "X#2", "HDU4"]
    np.testing.assert_array_equal(hdus["X#2"].only(), second)
    assert [name for name, hdu in hdus.items() if hdu.is_repeated] == ["X#2"]


def test_columns_without_names() -> None:
    data = build_fits({**KNOWN, "X": {"one": np.arange(3.0), "two": np.arange(3)}})
    hdus = read_hdus(data.replace(b"TTYPE", b"OTYPE"))
    np.testing.assert_array_equal(hdus["X"].columns["col1"], np.arange(3.0))
    np.testing.assert_array_equal(hdus["X"].columns["col2"], np.arange(3))


def test_names_are_upper_case() -> None:
    image = fits.ImageHDU(np.arange(2.0))
    image.header["EXTNAME"] = "trigger-types"
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(stream)
    assert list(read_hdus(stream.getvalue())) == ["TRIGGER-TYPES"]


def test_image_in_the_primary_hdu_is_kept() -> None:
    stream = io.BytesIO()
    known = fits.ImageHDU(np.arange(3.0), name="TRIGGER-TYPES")
    fits.HDUList([fits.PrimaryHDU(np.eye(2)), known]).writeto(stream)
    hdus = read_hdus(stream.getvalue())
    np.testing.assert_array_equal(hdus["PRIMARY"].only(), np.eye(2))


def test_table_without_columns() -> None:
    hdus = read_hdus(build_fits({**KNOWN, "CAMERA-TEMPERATURE-TREND": None}))
    assert hdus["CAMERA-TEMPERATURE-TREND"].columns == {}


@pytest.mark.parametrize("cut", [1, 2880, 2881, 40_000])
def test_truncated(samples: Path, cut: int) -> None:
    data = sample_fits(samples, 8003)
    with pytest.raises(ResultsFileError, match=r"truncated|damaged"):
        read_hdus(data[:-cut])


def test_a_damaged_header_does_not_hide_the_hdus_behind_it(samples: Path) -> None:
    data = bytearray(sample_fits(samples, 8003))
    place = data.index(b"XTENSION", len(data) // 2)
    data[place : place + 8] = b"\xff" * 8
    with pytest.raises(ResultsFileError, match="damaged"):
        read_hdus(bytes(data))


def test_bytes_after_the_last_hdu() -> None:
    with pytest.raises(ResultsFileError, match=r"no readable HDU|damaged"):
        read_hdus(build_fits(KNOWN) + b"more")


def test_wrong_checksum() -> None:
    stream = io.BytesIO()
    known = fits.ImageHDU(np.arange(300.0), name="TRIGGER-TYPES")
    fits.HDUList([fits.PrimaryHDU(), known]).writeto(stream, checksum=True)
    data = bytearray(stream.getvalue())
    read_hdus(bytes(data))
    data[-2000] ^= 1
    with pytest.raises(ResultsFileError, match=r"[Cc]hecksum|Datasum"):
        read_hdus(bytes(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a FITS file"),
        (b"hello world" * 1000, "not a FITS file"),
        (b"SIMPLE  =", "damaged|truncated"),
        (b"SIMPLE  =" + b"x" * 10_000, "damaged|truncated"),
        (build_fits({"OTHER": np.arange(3.0)}), r"holds no DQM quantity \(HDUs: OTHER\)"),
        (build_fits({}), r"holds no DQM quantity \(HDUs: none\)"),
    ],
)
def test_not_a_results_file(data: bytes, message: str) -> None:
    with pytest.raises(ResultsFileError, match=message) as caught:
        read_hdus(data)
    assert "\n" not in str(caught.value)


def test_too_many_hdus() -> None:
    # each HDU of a header only: 2880 bytes
    data = build_fits([("A", None)] * 3)
    hdu = data[2 * 2880 : 3 * 2880]
    with pytest.raises(ResultsFileError, match="more than 2000 HDUs"):
        read_hdus(data + hdu * 2000)


def test_all_empty() -> None:
    data = build_fits({"TRIGGER-TYPES": None, "WF-PHY-HIGH-GAIN": None})
    with pytest.raises(ResultsFileError, match="all of its HDUs are empty"):
        parse_results(data, camera="X", run=1, provenance=PROVENANCE)


def _parse_quietly(data: bytes) -> None:
    """Parse; a clear error or a run that can be stored, and not a word on the console."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            content = parse_results(data, camera="NectarCAMQM", run=1, provenance=PROVENANCE)
        except ResultsFileError as error:
            assert "\n" not in str(error)
            return
    pack_run(content, None)
    for quantity in content.quantities:
        assert (not quantity.columns) == (quantity.unavailable is not None)
        if quantity.kind is Kind.PIXEL_MAP and quantity.columns:
            (values,) = quantity.columns.values()
            assert values.shape == (1855,) and values.dtype.kind in "iuf"
    for by_name in content.statistics.values():
        assert all(np.isfinite(value) for value in by_name.values())


SMALL_RUN = run_fits(absent=range(70, 84))
HEADERS = [
    place
    for start in range(0, len(SMALL_RUN), 2880)
    if SMALL_RUN[start : start + 8] in (b"XTENSION", b"SIMPLE  ")
    for place in range(start, start + 2880)
    if SMALL_RUN[place : place + 1] != b" "
]


@settings(max_examples=100, deadline=None)
@given(
    edits=st.lists(st.tuples(st.sampled_from(HEADERS), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_mutated_headers(edits: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL_RUN)
    for place, value in edits:
        data[place] = value
    _parse_quietly(bytes(data))


@settings(max_examples=60, deadline=None)
@given(
    place=st.sampled_from(HEADERS),
    text=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20),
)
def test_mutated_header_text(place: int, text: str) -> None:
    data = bytearray(SMALL_RUN)
    data[place : place + len(text)] = text.encode()
    _parse_quietly(bytes(data))


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(2880, len(SMALL_RUN) - 4096),
    block=st.binary(min_size=1, max_size=4096),
    end=st.one_of(st.none(), st.integers(0, len(SMALL_RUN))),
)
def test_mutated_blocks(start: int, block: bytes, end: int | None) -> None:
    data = bytearray(SMALL_RUN)
    data[start : start + len(block)] = block
    _parse_quietly(bytes(data[:end]))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_shape_of_any_known_quantity(data: st.DataObject) -> None:
    names = data.draw(
        st.lists(
            st.sampled_from(
                [
                    "TRIGGER-STATISTICS",
                    "TRIGGER-EVENTS-ALL",
                    "TRIGGER-EVENTS-PED",
                    "TRIGGER-EVENTS-WRONG",
                    "START-TIMES",
                    "WF-PHY-HIGH-GAIN",
                    "WF-PHY-AVERAGE-PIX-HIGH-GAIN",
                    "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN",
                    "CHARGE-INTEGRATION-IMAGE-ALL-RMS-HIGH-GAIN",
                    "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN",
                    "CAMERA-BADPIXTIMELINE-PED-HIGH-GAIN",
                    "CAMERA-TEMPERATURE-TREND",
                    "PED-INTEGRATION-PED-ALL-STD-LOW-GAIN",
                    "X",
                ]
            ),
            min_size=1,
            max_size=6,
            unique=True,
        )
    )
    numbers = st.sampled_from([0.0, 1.0, -1.0, np.nan, np.inf, 65535.0, 1e308, 1.75e9])
    shapes = st.sampled_from([(1,), (1771,), (1855,), (1855, 3), (265, 2), (3, 2, 2), (2000,)])
    columns = ["All", "Pedestals", "Timestamps", "IDs", "First event"]
    content: dict[str, object] = {}
    for name in names:
        values = np.full(data.draw(shapes), data.draw(numbers))
        if data.draw(st.booleans()):
            values.flat[:: data.draw(st.integers(2, 9))] = data.draw(numbers)
        if data.draw(st.booleans()):
            values = np.nan_to_num(values, posinf=7, neginf=-7).clip(-1e15, 1e15).astype(np.int64)
        several = name.startswith(("TRIGGER", "START")) or data.draw(st.booleans())
        content[name] = dict.fromkeys(columns, values) if several else values
    _parse_quietly(build_fits(content))
