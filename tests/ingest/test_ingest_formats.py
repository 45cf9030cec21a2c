"""Formats that nectarchain does not write today: kept, or said truthfully, and always bounded."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from results_files import build_fits, run_content

import ingest.formats
from dqm_db.content import Kind, Provenance, Quantity, RunContent
from dqm_db.packing import pack_run
from ingest.errors import ResultsFileError
from ingest.formats import MOST_UNPACKED
from ingest.parse import parse_results
from ingest.results import read_hdus

PROVENANCE = Provenance("x", 1, 1, "x.fits", 1, "0" * 64, 0.0, 0)
ROWS = [[1.0], [], [2.0, 3.0, np.nan]]


def with_known(*hdus: fits.ImageHDU | fits.BinTableHDU) -> bytes:
    stream = io.BytesIO()
    known = fits.ImageHDU(np.arange(3.0), name="TRIGGER-TYPES")
    fits.HDUList([fits.PrimaryHDU(), known, *hdus]).writeto(stream)
    return stream.getvalue()


def table(*columns: fits.Column, name: str = "NEW") -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(columns, name=name)


def ragged(name: str, form: str, rows: Sequence[Sequence[object]], dtype: str) -> fits.Column:
    values = np.empty(len(rows), object)
    values[:] = [np.array(row, dtype) for row in rows]
    return fits.Column(name, form, array=values)


def parse(data: bytes) -> tuple[RunContent, dict[str, Quantity]]:
    run = parse_results(data, camera="NectarCAMQM", run=77, provenance=PROVENANCE)
    pack_run(run, None)
    return run, {quantity.name: quantity for quantity in run.quantities}


def replaced(data: bytes, key: str, value: int) -> bytes:
    """*data* with another value in the only card *key*."""
    card = f"{key:8}= ".encode()
    assert data.count(card) == 1
    place = data.index(card)
    return data[: place + 10] + f"{value:20}".encode() + data[place + 30 :]


@pytest.mark.parametrize(
    ("form", "dtype"), [("PD()", "f8"), ("QE()", "f4"), ("PJ()", "i4"), ("PB()", "u1")]
)
def test_variable_length_columns_are_values_and_offsets(form: str, dtype: str) -> None:
    rows = [[value for value in row if dtype[0] == "f" or value == value] for row in ROWS]
    hdu = table(
        fits.Column("N", "K", array=np.array([2**60 + 1, 2, 3])),
        ragged("V", form, rows, dtype),
        fits.Column("T", "3A", array=np.array(["a", "bc", "def"])),
    )
    run, quantities = parse(with_known(hdu))
    columns = quantities["NEW"].columns
    assert list(columns) == ["N", "V", "V.offsets", "T"]
    offsets = columns["V.offsets"]
    assert columns["V"].dtype == np.dtype(dtype) and offsets.dtype == np.int64
    for index, row in enumerate(rows):
        found = columns["V"][offsets[index] : offsets[index + 1]]
        np.testing.assert_array_equal(found, np.array(row, dtype))
    assert len(offsets) == 4
    assert columns["N"].tolist() == [2**60 + 1, 2, 3]
    assert columns["T"].tolist() == ["a", "bc", "def"]
    assert quantities["NEW"].unavailable is None and run.header.notes == ()


def test_complex_columns_are_two_columns() -> None:
    values = np.array([1 + 2j, complex(np.nan, -0.0), 3])
    hdu = table(
        fits.Column("C", "M", array=values),
        fits.Column("S", "2C", array=np.array([[1j, 2], [3, 4j], [5, 6]], "c8")),
        ragged("V", "PM()", [[1j], [], [2.0, 3 - 4j]], "c16"),
    )
    columns = parse(with_known(hdu))[1]["NEW"].columns
    assert list(columns) == ["C.real", "C.imag", "S.real", "S.imag"] + [
        f"V.{part}" for part in ("real", "imag", "offsets")
    ]
    np.testing.assert_array_equal(columns["C.real"], values.real)
    np.testing.assert_array_equal(columns["C.imag"], values.imag)
    assert columns["S.imag"].dtype == np.float32
    np.testing.assert_array_equal(columns["S.imag"], [[1, 0], [0, 4], [0, 0]])
    np.testing.assert_array_equal(columns["V.imag"], [1, 0, -4])
    np.testing.assert_array_equal(columns["V.offsets"], [0, 1, 1, 3])


@pytest.mark.parametrize("algorithm", ["RICE_1", "GZIP_1", "GZIP_2"])
@pytest.mark.parametrize("dtype", ["i2", "i4", "u2", "f4"])
def test_compressed_images_are_decompressed(algorithm: str, dtype: str) -> None:
    image = np.random.default_rng(0).integers(0, 1000, (50, 70)).astype(dtype)
    # without quantisation, floats are compressed as they are
    hdu = fits.CompImageHDU(
        image, name="NEW", compression_type=algorithm, tile_shape=(16, 70), quantize_level=0
    )
    (found,) = parse(with_known(hdu))[1]["NEW"].columns.values()
    assert found.dtype.kind == np.dtype(dtype).kind
    np.testing.assert_array_equal(found, image)


def test_quantised_images_are_as_astropy_reads_them() -> None:
    image = np.random.default_rng(0).normal(0, 1, (50, 70)).astype("f4")
    data = with_known(fits.CompImageHDU(image, name="NEW", quantize_method=1, dither_seed=5))
    with fits.open(io.BytesIO(data)) as file:
        expected = np.array(file["NEW"].data)
    (found,) = parse(data)[1]["NEW"].columns.values()
    np.testing.assert_array_equal(found, expected)


UNKEPT: list[tuple[str, fits.BinTableHDU, str]] = [
    ("text", table(ragged("V", "PA()", [[b"a"], [b"b", b"c"]], "S1")), "PA"),
    ("flags", table(ragged("V", "PL()", [[True], [False]], "?")), "PL"),
    (
        "plio",
        fits.CompImageHDU(np.ones((9, 9), "i2"), name="NEW", compression_type="PLIO_1"),
        "PLIO_1",
    ),
    (
        "hcompress",
        fits.CompImageHDU(np.ones((9, 9), "i2"), name="NEW", compression_type="HCOMPRESS_1"),
        "HCOMPRESS_1",
    ),
]


@pytest.mark.parametrize(("hdu", "words"), [(hdu, words) for _, hdu, words in UNKEPT])
@pytest.mark.parametrize("name", ["NEW", "CAMERA-PING-PONG-CHANGES-TIMES"])
def test_what_is_not_kept_is_said_truthfully(hdu: fits.BinTableHDU, words: str, name: str) -> None:
    hdu.header["EXTNAME"] = name
    run, quantities = parse(with_known(hdu))
    quantity = quantities[name]
    assert quantity.columns == {}
    for text in (str(quantity.unavailable), *run.header.notes):
        assert words in text and "is not kept" in text and "`dqm get 77`" in text
        assert "empty" not in text
    assert run.header.notes


def test_nothing_that_can_be_kept() -> None:
    hdu = UNKEPT[0][1].copy()
    hdu.header["EXTNAME"] = "TRIGGER-TYPES"
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    with pytest.raises(ResultsFileError, match="nothing that can be stored: V, a variable-length"):
        parse(stream.getvalue())


def bomb(size: int) -> bytes:
    """A compressed image of 10 × 10 pixels whose tile is *size* zeros."""
    packed = gzip.compress(bytes(size), 9)
    hdu = fits.CompImageHDU(
        np.frombuffer(np.random.default_rng(0).bytes(40_000), ">i4").reshape(100, 100),
        name="NEW",
        compression_type="GZIP_1",
        tile_shape=(100, 100),
    )
    data = with_known(hdu)
    place = data.index(b"\x1f\x8b")
    assert len(packed) < 38_000
    return data[:place] + packed + data[place + len(packed) :]


def test_a_bomb_in_a_compressed_image() -> None:
    size = 30_000_000
    data = bomb(size)
    tracemalloc.start()
    try:
        with pytest.raises(ResultsFileError, match=r"unpacks to more than|damaged"):
            read_hdus(data)
        assert tracemalloc.get_traced_memory()[1] < size / 10
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("images", [1, 3])
def test_images_that_unpack_to_too_much(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is small in the file; together they have less than the budget, or more."""
    hdus = [
        fits.CompImageHDU(np.zeros((100, 100), "i4"), name=f"X{index}") for index in range(images)
    ]
    data = with_known(*hdus)
    small = ingest.formats.Budget(200_000)
    monkeypatch.setattr("ingest.results.Budget", lambda: small)
    found = read_hdus(data)
    assert [bool(found[f"X{index}"].columns) for index in range(images)] == [True, True, False][
        :images
    ]
    if images == 3:
        assert "too many to unpack" in found["X2"].dropped[0]


def test_a_huge_image_is_not_even_tried() -> None:
    hdu = fits.CompImageHDU(np.zeros((10, 10), "i4"), name="NEW", tile_shape=(10, 10))
    data = replaced(with_known(hdu), "ZNAXIS1", MOST_UNPACKED)
    (dropped,) = read_hdus(data)["NEW"].dropped
    assert "too many to unpack" in dropped


def test_pointers_that_share_their_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand rows that all point to the same kilobyte are a megabyte."""
    rows = 1000
    column = ragged("V", "PD()", [[float(row)] for row in range(rows)], "f8")
    data = bytearray(with_known(table(column)))
    start = data.index(np.array([1, 0, 1, 8], ">i4").tobytes())
    descriptors = np.tile(np.array([rows, 0], ">i4"), rows)
    data[start : start + 8 * rows] = descriptors.tobytes()
    found = read_hdus(bytes(data))["NEW"].columns
    assert found["V"].shape == (rows * rows,)
    monkeypatch.setattr("ingest.results.Budget", lambda: ingest.formats.Budget(10**6))
    (dropped,) = read_hdus(bytes(data))["NEW"].dropped
    assert "too many to unpack" in dropped


@pytest.mark.parametrize("pair", [(2, 0), (1, 16), (-1, 0), (1, -8), (2**31 - 1, 2**31 - 1)])
def test_pointers_outside_the_file(pair: tuple[int, int]) -> None:
    data = with_known(table(ragged("V", "PD()", [[1.5]], "f8")))
    place = data.rindex(np.array([1, 0], ">i4").tobytes() + np.array([1.5], ">f8").tobytes())
    inside = data[:place] + np.array(pair, ">i4").tobytes() + data[place + 8 :]
    with pytest.raises(ResultsFileError, match="points outside its HDU"):
        read_hdus(inside)


ODD = with_known(
    table(ragged("V", "PD()", [[1.5], [2.5, 3.5]], "f8"), fits.Column("C", "C", array=[1j, 2])),
    fits.CompImageHDU(np.arange(400, dtype="i4").reshape(20, 20), name="RICE"),
    fits.CompImageHDU(
        np.arange(400, dtype="i2").reshape(20, 20), name="GZIP", compression_type="GZIP_2"
    ),
)
ODD_HEADERS = [
    place
    for start in range(2880, len(ODD), 2880)
    if ODD[start : start + 8] == b"XTENSION"
    for place in range(start, min(start + 2 * 2880, len(ODD)))
    if ODD[place] != 32
]


@settings(max_examples=60, deadline=None)
@given(
    edits=st.lists(
        st.tuples(
            st.sampled_from(ODD_HEADERS), st.one_of(st.integers(48, 57), st.integers(0, 255))
        ),
        min_size=1,
        max_size=4,
    )
)
def test_mutated(edits: list[tuple[int, int]]) -> None:
    data = bytearray(ODD)
    for place, value in edits:
        data[place] = value
    try:
        parse(bytes(data))
    except ResultsFileError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["A#B", "X#2"])
def test_a_name_with_a_number_sign_is_a_name(name: str) -> None:
    run, quantities = parse(build_fits({**run_content(), name: np.arange(4.0)}))
    assert quantities[name].kind is Kind.GENERIC
    assert run.header.notes == ()


LARGE = 2**60 + 1


def integers() -> NDArray[np.int64]:
    values = np.ones(1855, np.int64)
    values[1000] = LARGE
    return values


def test_integer_maps_stay_integers() -> None:
    name = "CAMERA-PING-PONG-CHANGES"
    run, quantities = parse(build_fits({**run_content(), name: integers()}))
    (found,) = quantities[name].columns.values()
    assert found.dtype == np.int64 and found[1000] == LARGE
    assert run.header.notes == ()


def test_integer_maps_with_absent_pixels_say_what_is_rounded() -> None:
    name = "CAMERA-PING-PONG-CHANGES"
    content = run_content(absent=range(70, 77))
    run, quantities = parse(build_fits({**content, name: integers()}))
    (found,) = quantities[name].columns.values()
    assert found.dtype == np.float64 and np.flatnonzero(np.isnan(found)).tolist() == [
        *range(70, 77)
    ]
    (note,) = run.header.notes
    assert note.startswith(f"{name}: ") and "rounds integers above 2^53" in note
    exact, _ = parse(build_fits({**content, name: np.ones(1855, np.int64)}))
    assert exact.header.notes == ()
