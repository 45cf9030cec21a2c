"""Parts of FITS that nectarchain does not write today: kept where they can be, bounded always.

``complex columns``
    Two columns, ``NAME.real`` and ``NAME.imag``.
``variable-length columns`` (FITS 4.0, section 7.3.5)
    The values of all rows one after another in ``NAME``, and where rows start in ``NAME.offsets``
    (int64, rows + 1): row i is ``NAME[offsets[i] : offsets[i + 1]]``.
``compressed images`` (FITS 4.0, section 10.1)
    Decompressed, as astropy does it.

Descriptors may all point to the same bytes, and few compressed bytes unpack to many: what a file
unpacks to in all is bounded by a `Budget`.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ingest.errors import ResultsFileError, printable

MOST_UNPACKED = 256 * 2**20
MOST_TILES = 100_000

NUMBERS = {"B": ">u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
"""Column formats (FITS 4.0, table 18): integers and floats."""
_COMPLEX = {"C": ">f4", "M": ">f8"}
_POINTER = re.compile(r"1?(?P<size>[PQ])(?P<code>[A-Z])(\(.*\))?")
_POINTERS = {"P": ">i4", "Q": ">i8"}

_ALGORITHMS = frozenset({"RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "NOCOMPRESS"})
"""Of the decoders of the others, in C, it is not certain that damaged bytes do them no harm."""
_SEEDS = range(1, 10_001)


class NotKept(Exception):
    """Values are in a format that is not stored; the text says which."""


@dataclass(slots=True)
class Budget:
    """How many bytes one file may still unpack to."""

    left: int = MOST_UNPACKED

    def take(self, size: int, what: str) -> None:
        """Use *size* bytes for *what*.

        Raises
        ------
        NotKept
        """
        if size > self.left:
            raise NotKept(f"{what} of {size} bytes, too many to unpack")
        self.left -= size


def split_complex(name: str, values: NDArray) -> dict[str, NDArray]:
    """*values* under *name*; complex ones as two columns."""
    if values.dtype.kind != "c":
        return {name: values}
    return {f"{name}.real": values.real, f"{name}.imag": values.imag}


def is_variable_length(column: fits.Column) -> bool:
    """Whether the rows of the column hold pointers into the heap."""
    return re.match(r"\d*[PQ]", str(column.format)) is not None


def read_variable_length(
    hdu: fits.BinTableHDU, position: int, data: bytes, start: int, budget: Budget
) -> dict[str, NDArray]:
    """A variable-length column as values and offsets.

    Parameters
    ----------
    hdu : BinTableHDU
        The table.
    position : int
        Of the column, from 0.
    data : bytes
        The file.
    start : int
        Where the data of the HDU start in it.
    budget : Budget
        Of the file.

    Raises
    ------
    NotKept
        It does not hold numbers, is scaled, or is too large.
    ResultsFileError
        It points outside its HDU.
    """
    column = hdu.columns[position]
    name = column.name or f"col{position + 1}"
    words = f"a variable-length column (format {printable(str(column.format))})"
    match = _POINTER.fullmatch(str(column.format))
    code = match["code"] if match else ""
    dtype = np.dtype(NUMBERS.get(code) or _COMPLEX.get(code) or "V1")
    changed = (column.bscale, column.bzero, column.null, column.dim)
    if match is None or dtype.kind == "V":
        raise NotKept(words)
    if any(value not in ("", None) for value in changed):
        raise NotKept(f"{words} with a scale, a blank or a shape")
    lengths, places = _pointers(hdu, position, data, start, _POINTERS[match["size"]])
    sizes = lengths * dtype.itemsize * (2 if code in _COMPLEX else 1)
    heap = _heap(hdu, data, start)
    if len(lengths) and (
        min(lengths.min(), places.min()) < 0
        or max(lengths.max(), places.max()) > len(heap)
        or (places + sizes).max() > len(heap)
    ):
        raise ResultsFileError(f"{hdu.name}: column {name} points outside its HDU")
    budget.take(sum(sizes.tolist()), words)
    parts = zip(places.tolist(), (places + sizes).tolist(), strict=True)
    values = np.frombuffer(b"".join(heap[first:last] for first, last in parts), dtype)
    if code in _COMPLEX:
        values = values.view(f">c{2 * dtype.itemsize}")
    return {
        **split_complex(name, values),
        f"{name}.offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    }


def read_compressed_image(
    hdu: fits.BinTableHDU, data: bytes, start: int, budget: Budget
) -> NDArray | None:
    """The image in a table of compressed tiles; None when it has no pixels.

    Raises
    ------
    NotKept
        It is compressed in a way that is not read, or too large.
    ResultsFileError
        It is damaged.
    """
    header = hdu.header
    algorithm = str(header["ZCMPTYPE"])
    words = f"a compressed image ({printable(algorithm)})"
    shape = [int(header[f"ZNAXIS{axis + 1}"]) for axis in range(int(header["ZNAXIS"]))]
    if not shape or not math.prod(shape):
        return None
    if algorithm not in _ALGORITHMS or not _is_sound(header):
        raise NotKept(words)
    if min(shape) < 0:
        raise ResultsFileError(f"{hdu.name}: a compressed image of negative size")
    axes = range(len(shape))
    tile = [int(header.get(f"ZTILE{axis + 1}", 1 if axis else shape[0])) for axis in axes]
    if min(tile) <= 0:
        raise ResultsFileError(f"{hdu.name}: a compressed image with empty tiles")
    tiles = math.prod(-(-pixels // step) for pixels, step in zip(shape, tile, strict=True))
    if tiles > MOST_TILES:
        raise NotKept(f"{words} of {tiles} tiles, too many to unpack")
    # float64 is the widest that pixels become, whatever their scale
    budget.take(8 * math.prod(shape), words)
    largest = 8 * math.prod(min(pair) for pair in zip(shape, tile, strict=True))
    _check_tiles(hdu, data, start, largest)
    return np.asarray(fits.CompImageHDU(bintable=hdu).data)


def _is_sound(header: fits.Header) -> bool:
    """Whether the settings of decoders written in C are among those of the standard."""
    dithered = header.get("ZQUANTIZ", "NO_DITHER") != "NO_DITHER"
    if header.get("ZDITHER0", 0 if dithered else 1) not in _SEEDS:
        return False
    allowed: Mapping[str, tuple[int, ...]] = {"BLOCKSIZE": (16, 32), "BYTEPIX": (1, 2, 4)}
    settings = (
        (str(name).upper(), header[f"ZVAL{key[5:]}"]) for key, name in header["ZNAME*"].items()
    )
    return all(value in allowed.get(name, (value,)) for name, value in settings)


def _check_tiles(hdu: fits.BinTableHDU, data: bytes, start: int, largest: int) -> None:
    """Check that no gzipped tile unpacks to more than *largest* bytes; astropy does not."""
    heap = _heap(hdu, data, start)
    for position, column in enumerate(hdu.columns):
        if not is_variable_length(column):
            continue
        match = _POINTER.fullmatch(str(column.format))
        if match is None:
            raise ResultsFileError(f"{hdu.name}: column {column.name} is not one of tiles")
        gzipped = str(column.name).upper() == "GZIP_COMPRESSED_DATA" or (
            str(column.name).upper() == "COMPRESSED_DATA"
            and str(hdu.header["ZCMPTYPE"]).startswith("GZIP")
        )
        width = np.dtype(NUMBERS.get(match["code"], ">u1")).itemsize
        pointers = _pointers(hdu, position, data, start, _POINTERS[match["size"]])
        for length, place in zip(*(values.tolist() for values in pointers), strict=True):
            if length < 0 or place < 0 or place + length * width > len(heap):
                raise ResultsFileError(f"{hdu.name}: a tile lies outside its HDU")
            if gzipped and length:
                _check_gzip(heap[place : place + length * width], largest, hdu.name)


def _check_gzip(packed: bytes, largest: int, name: str) -> None:
    size = 0
    while packed:
        member = zlib.decompressobj(31)
        size += len(member.decompress(packed, largest - size + 1))
        if size > largest:
            raise ResultsFileError(f"{name}: a compressed tile unpacks to more than it holds")
        if not member.eof:
            raise ResultsFileError(f"{name}: a compressed tile is cut short")
        packed = member.unused_data.lstrip(b"\0")


def _pointers(
    hdu: fits.BinTableHDU, position: int, data: bytes, start: int, dtype: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lengths, in elements, and places in the heap, in bytes, one per row."""
    rows, width = int(hdu.header["NAXIS2"]), int(hdu.header["NAXIS1"])
    row: np.dtype = hdu.columns.dtype
    if row.itemsize != width:
        raise ResultsFileError(f"{hdu.name}: its rows have not the length of its columns")
    place = 0
    if row.names and row.fields:
        place = row.fields[row.names[position]][1]
    table = np.frombuffer(data, np.uint8, rows * width, start).reshape(rows, width)
    size = 2 * np.dtype(dtype).itemsize
    pairs = np.ascontiguousarray(table[:, place : place + size]).view(dtype).astype(np.int64)
    return pairs[:, 0], pairs[:, 1]


def _heap(hdu: fits.BinTableHDU, data: bytes, start: int) -> bytes:
    header = hdu.header
    table = int(header["NAXIS1"]) * int(header["NAXIS2"])
    first = int(header.get("THEAP", table))
    if not table <= first <= table + int(header["PCOUNT"]):
        raise ResultsFileError(f"{hdu.name}: its heap is not where it can be")
    return data[start + first : start + table + int(header["PCOUNT"])]
