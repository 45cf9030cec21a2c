"""The HDUs of a results file as plain arrays.

astropy reads the headers and whatever is not plain; the data of plain tables and images are taken
straight from the bytes, which halves the time. astropy only warns of truncated files, damaged
checksums and unreadable headers, and then leaves HDUs out: here all of these are errors.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyDeprecationWarning, AstropyWarning
from numpy.typing import NDArray

from dqm_db.quantities import known_quantities
from ingest.errors import ResultsFileError, one_line
from ingest.formats import (
    NUMBERS,
    Budget,
    NotKept,
    is_variable_length,
    read_compressed_image,
    read_variable_length,
    split_complex,
)

MOST_HDUS = 2000

_PLAIN_FORMAT = re.compile(r"(?P<repeat>\d*)(?P<code>[BIJKED])")
_IMAGE_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_KEPT_KINDS = frozenset("biufSU")
_SCALING = ("BSCALE", "BZERO", "BLANK")


@dataclass(frozen=True, slots=True)
class RawHDU:
    """One HDU as it is in the file.

    Attributes
    ----------
    name : str
        EXTNAME, upper case; a second HDU of the same name is called ``NAME#2``.
    columns : mapping of str to ndarray
        TTYPE (the name itself for an image) to values, little-endian, in the dtype of the file;
        complex and variable-length columns as `ingest.formats` describes.
    dropped : tuple of str
        What is not kept, with the reason.
    is_repeated : bool
        Whether another HDU before it has the same name.
    """

    name: str
    columns: Mapping[str, NDArray]
    dropped: tuple[str, ...] = field(default=())
    is_repeated: bool = False

    def only(self) -> NDArray | None:
        """The values of the only column; None when there is none, or more than one."""
        if len(self.columns) != 1:
            return None
        return next(iter(self.columns.values()))


def read_hdus(data: bytes) -> dict[str, RawHDU]:
    """All HDUs with a name or data, by name, in file order.

    Raises
    ------
    ResultsFileError
        Not FITS, damaged in any way, or without a single quantity that this release knows.
    """
    if not data.startswith(b"SIMPLE  ="):
        raise ResultsFileError("is not a FITS file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyWarning)
            # oddities of headers that do not touch the data
            warnings.simplefilter("ignore", VerifyWarning)
            warnings.simplefilter("ignore", AstropyDeprecationWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            hdus = _read(data)
    except ResultsFileError:
        raise
    except (Exception, AstropyWarning) as error:
        # astropy meets damaged headers with exceptions of almost every type
        raise ResultsFileError(f"damaged FITS: {one_line(error)}") from error
    if not any(name in known_quantities() for name in hdus):
        names = ", ".join(list(hdus)[:3]) or "none"
        raise ResultsFileError(f"holds no DQM quantity (HDUs: {names})")
    return hdus


def _read(data: bytes) -> dict[str, RawHDU]:
    hdus: dict[str, RawHDU] = {}
    stream = io.BytesIO(data)
    budget = Budget()
    with fits.open(
        stream,
        mode="readonly",
        memmap=False,
        lazy_load_hdus=True,
        # With True all HDUs would be read at once, for ever when the size of one is negative. Any
        # other true value has checksums verified as well, HDU by HDU.
        checksum="datasum",
        disable_image_compression=True,
        ignore_missing_simple=False,
    ) as file:
        end = 0
        for index, hdu in enumerate(file):
            if index >= MOST_HDUS:
                raise ResultsFileError(f"holds more than {MOST_HDUS} HDUs")
            place = hdu.fileinfo()
            if place["datSpan"] < 0:
                raise ResultsFileError(f"damaged: HDU {index} has a negative size")
            end = place["datLoc"] + place["datSpan"]
            if end > len(data):
                raise ResultsFileError(
                    f"truncated: HDU {index} ends at byte {end}, the file at {len(data)}"
                )
            raw = _read_hdu(hdu, index, data, place["datLoc"], budget)
            if raw is not None:
                name = _unused(raw.name, hdus)
                is_repeated = name != raw.name
                hdus[name] = replace(raw, name=name, is_repeated=is_repeated)
    if end != len(data):
        raise ResultsFileError(
            f"damaged: {len(data) - end} bytes after HDU {len(hdus)} are no readable HDU"
        )
    return hdus


def _unused(name: str, taken: Mapping[str, RawHDU]) -> str:
    copies = 1
    candidate = name
    while candidate in taken:
        copies += 1
        candidate = f"{name}#{copies}"
    return candidate


def _read_hdu(
    hdu: fits.PrimaryHDU, index: int, data: bytes, start: int, budget: Budget
) -> RawHDU | None:
    name = str(hdu.name).strip().upper() or f"HDU{index}"
    if index == 0 and not hdu.header.get("NAXIS"):
        return None
    try:
        if isinstance(hdu, fits.BinTableHDU) and hdu.header.get("ZTABLE"):
            raise NotKept("a compressed table")
        if isinstance(hdu, fits.BinTableHDU) and fits.CompImageHDU.match_header(hdu.header):
            image = read_compressed_image(hdu, data, start, budget)
        elif isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
            columns, dropped = _read_table(hdu, data, start, budget)
            return RawHDU(name, columns, dropped)
        else:
            image = _read_image(hdu, data, start)
    except NotKept as reason:
        return RawHDU(name, {}, (f"{reason} is not kept",))
    return RawHDU(name, {} if image is None else {name: _little(image)})


def _read_table(
    hdu: fits.BinTableHDU, data: bytes, start: int, budget: Budget
) -> tuple[dict[str, NDArray], tuple[str, ...]]:
    row = _plain_row(hdu)
    plain = None if row is None else _plain(hdu, row, data, start)
    columns: dict[str, NDArray] = {}
    dropped: list[str] = []
    for position, column in enumerate(hdu.columns):
        label = column.name or f"col{position + 1}"
        try:
            if plain is not None:
                found = {label: plain[position]}
            elif isinstance(hdu, fits.BinTableHDU) and is_variable_length(column):
                found = read_variable_length(hdu, position, data, start, budget)
            else:
                values = np.asarray(hdu.data[column.name]).view(np.ndarray)
                found = split_complex(label, values)
            if any(values.dtype.kind not in _KEPT_KINDS for values in found.values()):
                raise NotKept(f"a column of format {column.format}")
            if not columns.keys().isdisjoint(found):
                raise NotKept("a second column of this name")
        except NotKept as reason:
            dropped.append(f"{label}, {reason}, is not kept")
        else:
            columns |= {name: _little(values) for name, values in found.items()}
    return columns, tuple(dropped)


def _plain_row(hdu: fits.BinTableHDU) -> np.dtype | None:
    """How a row of plain integers and floats is laid out; None when astropy must read the table."""
    if not isinstance(hdu, fits.BinTableHDU):
        return None
    fields = []
    for position, column in enumerate(hdu.columns):
        match = _PLAIN_FORMAT.fullmatch(str(column.format))
        changed = (column.bscale, column.bzero, column.null, column.dim)
        if match is None or any(value not in ("", None) for value in changed):
            return None
        repeat = int(match["repeat"] or 1)
        shape = () if repeat == 1 else (repeat,)
        fields.append((f"f{position}", NUMBERS[match["code"]], shape))
    return np.dtype(fields)


def _plain(hdu: fits.BinTableHDU, row: np.dtype, data: bytes, start: int) -> list[NDArray]:
    rows = int(hdu.header["NAXIS2"])
    if row.itemsize != hdu.header["NAXIS1"]:
        raise ResultsFileError(f"{hdu.name}: its rows have not the length of its columns")
    has_data = rows and row.itemsize
    table = np.frombuffer(data, row, rows, start) if has_data else np.empty(rows, row)
    return [table[field] for field in row.names or ()]


def _read_image(hdu: fits.ImageHDU, data: bytes, start: int) -> NDArray | None:
    header = hdu.header
    shape = tuple(reversed([int(header[f"NAXIS{axis + 1}"]) for axis in range(header["NAXIS"])]))
    if not shape or not math.prod(shape):
        return None
    if any(key in header for key in _SCALING):
        return np.asarray(hdu.data)
    dtype = np.dtype(_IMAGE_TYPES[header["BITPIX"]])
    return np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape)


def _little(array: NDArray) -> NDArray:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
