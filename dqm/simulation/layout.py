"""FITS bytes of a results file, card for card as production writes them.

Production fills an astropy HDU per quantity. Building 66 of them takes several times as long as
simulating the run, so each header is built once by astropy for every name and shape, and reused.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

BLOCK = 2880  # bytes; every part of a FITS file is padded to a multiple of it

ColumnKey = tuple[str, str, tuple[int, ...]]  # TTYPE, dtype, shape


@dataclass(frozen=True, slots=True)
class ResultsTable:
    """A binary table; with no columns, one of TFIELDS = 0.

    Attributes
    ----------
    name : str
        EXTNAME, written in upper case.
    columns : mapping of str to ndarray
        TTYPE to values, float64 or int64; the first axis is the rows.
    name_first : bool
        Whether EXTNAME stands before the columns' cards, as it does where a processor returns
        a dictionary of columns, and not after them.
    """

    name: str
    columns: Mapping[str, NDArray] = field(default_factory=dict)
    name_first: bool = False


@dataclass(frozen=True, slots=True)
class ResultsImage:
    """An image extension: EXTNAME and float64 values."""

    name: str
    values: NDArray[np.float64]


ResultsHDU = ResultsTable | ResultsImage


def fits_bytes(hdus: Iterable[ResultsHDU]) -> bytes:
    """The FITS file with an empty primary HDU and *hdus*, in this order."""
    parts = [_primary_header()]
    for hdu in hdus:
        if isinstance(hdu, ResultsImage):
            parts += [_image_header(hdu.name, hdu.values.shape), _big_endian(hdu.values)]
        else:
            columns = {name: _plain(values) for name, values in hdu.columns.items()}
            key = tuple((name, a.dtype.str, a.shape) for name, a in columns.items())
            parts += [_table_header(hdu.name, key, hdu.name_first), _rows(columns)]
        parts.append(bytes(-len(parts[-1]) % BLOCK))
    return b"".join(parts)


def _plain(values: NDArray) -> NDArray:
    return np.asarray(values, "<i8" if np.asarray(values).dtype.kind in "iu" else "<f8")


def _big_endian(values: NDArray) -> bytes:
    return values.astype(values.dtype.newbyteorder(">")).tobytes()


def _rows(columns: Mapping[str, NDArray]) -> bytes:
    if len(columns) < 2:
        return b"".join(_big_endian(values) for values in columns.values())
    dtype = [(name, a.dtype.newbyteorder(">"), a.shape[1:]) for name, a in columns.items()]
    rows = np.empty(len(next(iter(columns.values()))), dtype)
    for name, values in columns.items():
        rows[name] = values
    return rows.tobytes()


@functools.cache
def _primary_header() -> bytes:
    return fits.PrimaryHDU().header.tostring().encode("ascii")


@functools.lru_cache(maxsize=256)
def _image_header(name: str, shape: tuple[int, ...]) -> bytes:
    hdu = fits.ImageHDU(np.zeros(shape))
    hdu.name = name
    return hdu.header.tostring().encode("ascii")


@functools.lru_cache(maxsize=1024)
def _table_header(name: str, columns: tuple[ColumnKey, ...], name_first: bool) -> bytes:
    table = Table({ttype: np.zeros(shape, dtype) for ttype, dtype, shape in columns})
    hdu = fits.BinTableHDU(table)
    if name_first:
        hdu.header.insert("TTYPE1", ("EXTNAME", name.upper(), "extension name"))
    else:
        hdu.name = name
    return hdu.header.tostring().encode("ascii")
