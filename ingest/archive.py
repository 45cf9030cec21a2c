"""From a file on disk to the bytes of the results file in it, and whose run that is.

The grid delivers ``{camera}_DQM_Run{run}.tar.gz`` with one ``NectarCAM_Run{run}_Results.fits`` in
it; bare FITS files, gzipped or not, are taken as well. What a file *is* is told by its first bytes,
not by its name. Nothing is ever extracted to disk, and nothing in a file decides how much memory is
used: sizes, compression ratio and number of members are bounded before anything is unpacked.
"""

from __future__ import annotations

import hashlib
import io
import re
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import zstandard

from dqm_db.codec import LEVEL
from dqm_db.content import LARGEST_RUN, Original, Provenance
from ingest import PARSER_VERSION
from ingest.errors import ResultsFileError, Unreadable, one_line, printable

ARCHIVE_NAME = re.compile(r"(?P<camera>[A-Za-z][A-Za-z0-9_-]{0,63}?)_DQM_Run(?P<run>\d{1,10})")
RESULTS_NAME = re.compile(r"NectarCAM_Run(?P<run>\d{1,10})_Results\.fits")
CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

_GZIP, _FITS = b"\x1f\x8b", b"SIMPLE  ="
_BLOCK = 512  # of tar


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a file may ask for; a results file of a million events has about 70 MB."""

    source_bytes: int = 512 * 2**20
    unpacked_bytes: int = 1024 * 2**20
    ratio: int = 200
    free_bytes: int = 64 * 2**20  # below it any compression ratio will do
    members: int = 1000

    def unpacked(self, size: int) -> int:
        """Bytes that a compressed file of *size* bytes may unpack to."""
        return min(self.unpacked_bytes, max(self.free_bytes, self.ratio * size))


@dataclass(frozen=True, slots=True)
class ResultsFile:
    """A results file and where it comes from.

    Attributes
    ----------
    camera, run
        From the names, or as the user said.
    fits : bytes
        The results file.
    original : Original
        What to store of the source.
    provenance : Provenance
        Not yet ingested: ``ingested_at`` is 0.
    """

    camera: str
    run: int
    fits: bytes
    original: Original
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Claim:
    """What one name says about camera and run; None where it says nothing."""

    where: str
    camera: str | None = None
    run: int | None = None


def read_source(path: Path, limits: Limits) -> bytes:
    """All bytes of a regular file.

    Raises
    ------
    ResultsFileError
        It is a folder or device, is empty or too large; `Unreadable` when it is not there or
        cannot be read.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ResultsFileError("is a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise ResultsFileError("is not a regular file")
        if status.st_size > limits.source_bytes:
            raise ResultsFileError(
                f"has {status.st_size} bytes, more than the {limits.source_bytes} allowed"
            )
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or one_line(error)}") from error
    if not data:
        raise ResultsFileError("is empty (0 bytes)")
    return data


def open_source(
    data: bytes,
    path: Path,
    *,
    source: str | None = None,
    camera: str | None = None,
    run: int | None = None,
    limits: Limits | None = None,
) -> ResultsFile:
    """Find the results file in the bytes *data* of a file called *path*.

    Parameters
    ----------
    data : bytes
        All bytes of the file.
    path : Path
        Only its name is looked at.
    source : str, optional
        Where it comes from, for the provenance; the path when not given.
    camera, run : optional
        What the user says; must not contradict the names.
    limits : Limits, optional
        What the file may ask for.

    Raises
    ------
    ResultsFileError
        Damaged, hostile, ambiguous, or its camera or run cannot be told.
    """
    limits = limits or Limits()
    claims = [Claim("--camera or --run", camera, run), claim_of_name(path.name)]
    unpacked = _gunzip(data, limits) if data.startswith(_GZIP) else data
    if unpacked.startswith(_FITS):
        fits, name = unpacked, path.name.removesuffix(".gz")
        original = Original("fits+zstd", zstandard.ZstdCompressor(level=LEVEL).compress(fits))
    else:
        fits, name = _find_member(unpacked, limits)
        original = Original("tar", data)
        claims += _claims_of_member(name)
    camera, run = agree(claims)
    return ResultsFile(
        camera=camera,
        run=run,
        fits=fits,
        original=original,
        provenance=Provenance(
            source=printable(source or path.absolute()),
            source_size=len(data),
            source_adler32=zlib.adler32(data),
            results_name=printable(name),
            results_size=len(fits),
            results_sha256=hashlib.sha256(fits).hexdigest(),
            ingested_at=0.0,
            parser_version=PARSER_VERSION,
        ),
    )


def open_original(original: Original, provenance: Provenance) -> bytes:
    """The results file in a stored original, byte for byte.

    Raises
    ------
    ResultsFileError
        The stored bytes are damaged, or are not what the provenance says.
    """
    if original.media == "tar":
        limits = Limits()
        data = original.data
        unpacked = _gunzip(data, limits) if data.startswith(_GZIP) else data
        fits, _ = _find_member(unpacked, limits)
    elif original.media == "fits+zstd":
        try:
            fits = zstandard.ZstdDecompressor().decompress(
                original.data, max_output_size=provenance.results_size
            )
        except zstandard.ZstdError as error:
            raise ResultsFileError(f"stored original is damaged: {one_line(error)}") from error
    else:
        raise ResultsFileError(f"stored original has unknown media {original.media!r}")
    if hashlib.sha256(fits).hexdigest() != provenance.results_sha256:
        raise ResultsFileError("stored original does not have the checksum it was stored with")
    return fits


def claimed(path: Path, camera: str | None = None, run: int | None = None) -> Claim:
    """What the name of *path* and the user say, without opening the file."""
    name = claim_of_name(path.name)
    return Claim(name.where, camera or name.camera, run if run is not None else name.run)


def agree(claims: list[Claim]) -> tuple[str, int]:
    """Camera and run that all *claims* agree on.

    Raises
    ------
    ResultsFileError
        Two claims differ, none says the camera or the run, or one is not usable.
    """
    cameras = [(claim.camera, claim.where) for claim in claims if claim.camera is not None]
    runs = [(claim.run, claim.where) for claim in claims if claim.run is not None]
    for what, values in (("camera", cameras), ("run", runs)):
        if not values:
            raise ResultsFileError(f"the name does not tell the {what}: give --{what}")
        first, where = values[0]
        for other, elsewhere in values[1:]:
            if other != first:
                raise ResultsFileError(
                    f"{what} {first} according to {where}, but {other} according to {elsewhere}"
                )
    camera, run = cameras[0][0], runs[0][0]
    if not CAMERA_NAME.fullmatch(camera):
        raise ResultsFileError(f"{camera!r} cannot be the name of a camera")
    if not 0 < run <= LARGEST_RUN:
        raise ResultsFileError(f"run number {run} is not between 1 and {LARGEST_RUN}")
    return camera, run


def claim_of_name(name: str) -> Claim:
    """What the name of a file says about camera and run."""
    where = f"the name {printable(name)}"
    if match := ARCHIVE_NAME.match(name):
        return Claim(where, match["camera"], int(match["run"]))
    if match := RESULTS_NAME.match(name):
        return Claim(where, None, int(match["run"]))
    return Claim(where)


def _claims_of_member(name: str) -> Iterator[Claim]:
    where = f"the member {printable(name)}"
    *folders, results = PurePosixPath(name).parts
    if match := RESULTS_NAME.fullmatch(results):
        yield Claim(where, None, int(match["run"]))
    for folder in folders:
        if match := ARCHIVE_NAME.fullmatch(folder):
            yield Claim(where, match["camera"], int(match["run"]))


def _gunzip(data: bytes, limits: Limits) -> bytes:
    """Decompress all members of a gzip file, checking CRC and length (RFC 1952)."""
    allowed = limits.unpacked(len(data))
    parts: list[bytes] = []
    size = 0
    rest = data
    while rest:
        # wbits 31: gzip header and trailer, so zlib compares CRC-32 and length itself
        member = zlib.decompressobj(31)
        try:
            part = member.decompress(rest, allowed - size + 1)
        except zlib.error as error:
            raise ResultsFileError(f"damaged gzip: {one_line(error)}") from error
        size += len(part)
        if size > allowed:
            raise ResultsFileError(
                f"{len(data)} bytes unpack to more than {allowed}: not a results file"
            )
        if not member.eof:
            raise ResultsFileError("truncated gzip: the file ends too early")
        parts.append(part)
        rest = member.unused_data.lstrip(b"\0")  # padding, as gzip allows
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _find_member(data: bytes, limits: Limits) -> tuple[bytes, str]:
    """Bytes and name of the one results file in a tar archive."""
    found: list[tarfile.TarInfo] = []
    end = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for count, member in enumerate(archive, start=1):
                if count > limits.members:
                    raise ResultsFileError(f"holds more than {limits.members} members")
                _check_member(member)
                base = PurePosixPath(member.name).name
                if member.isreg() and RESULTS_NAME.fullmatch(base):
                    found.append(member)
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
    except ResultsFileError:
        raise
    except Exception as error:
        # beside TarError, damaged headers end in ValueError, OverflowError, RecursionError, …
        raise ResultsFileError(
            f"neither FITS nor a sound tar archive: {one_line(error)}"
        ) from error
    if end > len(data):
        raise ResultsFileError("truncated tar: its last member is cut short")
    # tarfile takes a damaged header for the end of the archive
    if data.count(0, end) != len(data) - end:
        raise ResultsFileError("damaged tar: bytes after its last readable member")
    if not found:
        raise ResultsFileError("the archive holds no NectarCAM_Run…_Results.fits")
    if len(found) > 1:
        names = ", ".join(printable(member.name) for member in found[:3])
        raise ResultsFileError(f"the archive holds {len(found)} results files: {names}")
    (member,) = found
    if not member.size:
        raise ResultsFileError(f"{printable(member.name)} in the archive is empty (0 bytes)")
    return data[member.offset_data : member.offset_data + member.size], member.name


def _check_member(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise ResultsFileError(f"the archive wants to write outside its folder: {member.name!r}")
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise ResultsFileError(
            f"the archive holds {member.name!r}, which is neither a plain file nor a folder"
        )
