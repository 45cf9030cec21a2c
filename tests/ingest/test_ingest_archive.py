"""From files to the results file in them: identity, limits, damage."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_files import build_run_archive, build_tar, sample_fits, sample_path

from ingest.archive import Limits, open_original, open_source, read_source
from ingest.errors import ResultsFileError

FITS = b"SIMPLE  =".ljust(2880)
"""Enough of a results file for this module, which does not look into it."""

NAME = "NectarCAMQM_DQM_Run12.tar.gz"
MEMBER = "NectarCAMQM_DQM_Run12/output/NectarCAM_Run12/NectarCAM_Run12_calib/{}"
RESULTS = MEMBER.format("NectarCAM_Run12_Results.fits")


def test_sample_tarball(samples: Path) -> None:
    path = sample_path(samples, 6001)
    data = path.read_bytes()
    file = open_source(read_source(path, Limits()), path)
    fits = sample_fits(samples, 6001)
    assert (file.camera, file.run, file.fits) == ("NectarCAMQM", 6001, fits)
    assert (file.original.media, file.original.data) == ("tar", data)
    provenance = file.provenance
    assert provenance.source == str(path)
    assert provenance.source_size == len(data)
    assert provenance.source_adler32 == zlib.adler32(data)
    assert provenance.results_size == len(fits)
    assert provenance.results_sha256 == hashlib.sha256(fits).hexdigest()
    assert provenance.results_name.endswith("/NectarCAM_Run6001_Results.fits")
    assert open_original(file.original, provenance) == fits


@pytest.mark.parametrize("compress", [False, True])
def test_bare_fits(compress: bool) -> None:
    data = gzip.compress(FITS) if compress else FITS
    path = Path("NectarCAM_Run77_Results.fits" + (".gz" if compress else ""))
    file = open_source(data, path, camera="NectarCAM3")
    assert (file.camera, file.run, file.fits) == ("NectarCAM3", 77, FITS)
    assert file.original.media == "fits+zstd"
    assert file.provenance.results_name == "NectarCAM_Run77_Results.fits"
    assert open_original(file.original, file.provenance) == FITS


@pytest.mark.parametrize("name", ["x.tar.gz", "NectarCAMQM_DQM_Run12.tgz", "any.bin"])
def test_the_content_tells_what_a_file_is(name: str) -> None:
    file = open_source(build_tar([(RESULTS, FITS)]), Path(name))
    assert (file.camera, file.run) == ("NectarCAMQM", 12)
    plain = open_source(build_tar([(RESULTS, FITS)], compress=False), Path(name))
    assert plain.fits == FITS


@pytest.mark.parametrize("camera", ["NectarCAMQM", "NectarCAM2", "NectarCAM9"])
def test_camera_names(camera: str) -> None:
    file = open_source(build_run_archive(camera, 5, FITS), Path(f"{camera}_DQM_Run5.tar.gz"))
    assert (file.camera, file.run) == (camera, 5)


@pytest.mark.parametrize(
    ("name", "member", "options", "message"),
    [
        ("NectarCAMQM_DQM_Run13.tar.gz", RESULTS, {}, "run 13 according to .* but 12 according to"),
        ("NectarCAM2_DQM_Run12.tar.gz", RESULTS, {}, "camera NectarCAM2 according to .* but"),
        (NAME, RESULTS, {"run": 13}, "run 13 according to --camera or --run, but 12"),
        (NAME, RESULTS, {"camera": "NectarCAM2"}, "camera NectarCAM2 according to --camera"),
        ("x.tar.gz", "NectarCAM_Run12_Results.fits", {}, "does not tell the camera: give --camera"),
        ("x.tar.gz", "NectarCAM_Run0_Results.fits", {"camera": "A"}, "run number 0 is not between"),
        ("x.tar.gz", "NectarCAM_Run9999999999_Results.fits", {"camera": "A"}, "is not between 1"),
        ("x.tar.gz", "NectarCAM_Run1_Results.fits", {"camera": "a/b"}, "cannot be the name of a c"),
    ],
)
def test_contradictions(name: str, member: str, options: dict, message: str) -> None:
    with pytest.raises(ResultsFileError, match=message):
        open_source(build_tar([(member, FITS)]), Path(name), **options)


def test_bare_fits_needs_camera_and_run() -> None:
    with pytest.raises(ResultsFileError, match="give --camera"):
        open_source(FITS, Path("NectarCAM_Run5_Results.fits"))
    with pytest.raises(ResultsFileError, match="give --run"):
        open_source(FITS, Path("results.fits"), camera="NectarCAMQM")
    file = open_source(FITS, Path("results.fits"), camera="NectarCAMQM", run=4)
    assert (file.camera, file.run) == ("NectarCAMQM", 4)


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 500])
def test_truncated_gzip(cut: int) -> None:
    data = build_tar([(RESULTS, FITS)])
    with pytest.raises(ResultsFileError, match="truncated gzip"):
        open_source(data[:-cut] if cut < len(data) else data[:20], Path(NAME))


def test_a_flipped_bit_of_a_sample_is_noticed(samples: Path) -> None:
    data = sample_path(samples, 8003).read_bytes()
    for place in range(200, len(data), len(data) // 25):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        with pytest.raises(ResultsFileError, match=r"damaged gzip|truncated gzip"):
            open_source(bytes(damaged), sample_path(samples, 8003))


def test_truncated_tar() -> None:
    data = build_tar([(RESULTS, FITS)], compress=False)
    with pytest.raises(ResultsFileError, match="tar"):
        open_source(data[:2000], Path(NAME))


def test_damaged_header_inside_a_tar() -> None:
    data = bytearray(build_tar([("a.txt", b"x" * 600), (RESULTS, FITS)], compress=False))
    data[512 + 1024 + 10] ^= 0xFF  # header of the second member
    with pytest.raises(ResultsFileError, match="damaged tar: bytes after its last readable member"):
        open_source(bytes(data), Path(NAME))


@pytest.mark.parametrize("data", [b"hello", b"\0" * 4096, b"%PDF-1.7" * 100, b"SIMPLE"])
def test_neither_fits_nor_tar(data: bytes) -> None:
    with pytest.raises(
        ResultsFileError, match=r"neither FITS nor a sound tar archive|holds no Nec"
    ):
        open_source(data, Path(NAME))


def test_bomb_by_ratio() -> None:
    bomb = gzip.compress(bytes(8_000_000), 9)
    limits = Limits(free_bytes=1_000_000, ratio=100)
    with pytest.raises(ResultsFileError, match="unpack to more than"):
        open_source(bomb, Path(NAME), limits=limits)


def test_bomb_by_size_of_many_gzip_members() -> None:
    part = gzip.compress(bytes(600_000), 9)
    with pytest.raises(ResultsFileError, match="unpack to more than 1000000"):
        open_source(part * 3, Path(NAME), limits=Limits(unpacked_bytes=1_000_000))


def test_announced_size_is_not_believed() -> None:
    info = tarfile.TarInfo(RESULTS)
    info.size = 2**33
    header = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(ResultsFileError, match=r"truncated tar|tar archive"):
        open_source(gzip.compress(header + FITS), Path(NAME))


def test_too_many_members() -> None:
    data = build_tar([(f"f{index}", b"") for index in range(30)] + [(RESULTS, FITS)])
    with pytest.raises(ResultsFileError, match="more than 20 members"):
        open_source(data, Path(NAME), limits=Limits(members=20))


def test_gzip_padding_is_allowed_and_garbage_is_not() -> None:
    data = build_tar([(RESULTS, FITS)])
    assert open_source(data + bytes(100), Path(NAME)).fits == FITS
    with pytest.raises(ResultsFileError, match="damaged gzip"):
        open_source(data + b"garbage", Path(NAME))


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../b"])
def test_traversal(name: str) -> None:
    with pytest.raises(ResultsFileError, match="wants to write outside its folder"):
        open_source(build_tar([(RESULTS, FITS), (name, b"x")]), Path(NAME))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices(kind: bytes) -> None:
    info = tarfile.TarInfo(RESULTS)
    info.type = kind
    info.linkname = "/etc/passwd"
    with pytest.raises(ResultsFileError, match="neither a plain file nor a folder"):
        open_source(build_tar([(info, b"")]), Path(NAME))


def test_several_results_files() -> None:
    other = MEMBER.format("copy/NectarCAM_Run12_Results.fits")
    with pytest.raises(ResultsFileError, match="holds 2 results files"):
        open_source(build_tar([(RESULTS, FITS), (other, FITS)]), Path(NAME))


def test_other_members_are_ignored() -> None:
    data = build_tar([(MEMBER.format("log.txt"), b"log"), (RESULTS, FITS), ("x/", b"")])
    assert open_source(data, Path(NAME)).fits == FITS


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("readme", b"x")], "holds no NectarCAM_Run"),
        ([], "holds no NectarCAM_Run|neither FITS"),
        ([(RESULTS, b"")], "is empty"),
    ],
)
def test_nothing_to_read(members: list, message: str) -> None:
    with pytest.raises(ResultsFileError, match=message):
        open_source(build_tar(members), Path(NAME))


def test_reading(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    large = tmp_path / "large"
    large.write_bytes(bytes(2000))
    with pytest.raises(ResultsFileError, match="is empty"):
        read_source(empty, Limits())
    with pytest.raises(ResultsFileError, match="is a folder"):
        read_source(tmp_path, Limits())
    with pytest.raises(ResultsFileError, match="No such file"):
        read_source(tmp_path / "none", Limits())
    with pytest.raises(ResultsFileError, match="more than the 1000 allowed"):
        read_source(large, Limits(source_bytes=1000))
    with pytest.raises(ResultsFileError, match="not a regular file"):
        read_source(Path("/dev/null"), Limits())


def test_damaged_original_is_noticed(samples: Path) -> None:
    path = sample_path(samples, 8003)
    file = open_source(path.read_bytes(), path)
    other = open_source(build_run_archive("NectarCAMQM", 8003, FITS), path)
    with pytest.raises(ResultsFileError, match="checksum"):
        open_original(other.original, file.provenance)


@settings(max_examples=60, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), min_size=1, max_size=8),
    end=st.integers(0, 6000),
)
def test_mutated_tar_gives_an_error_or_the_file(edits: list[tuple[int, int]], end: int) -> None:
    data = bytearray(build_tar([("log", b"y" * 700), (RESULTS, FITS)], compress=False))
    for place, value in edits:
        data[place % len(data)] = value
    try:
        file = open_source(bytes(data[: max(end, 10)]), Path(NAME))
    except ResultsFileError as error:
        assert "\n" not in str(error)
    else:
        assert file.fits and (file.camera, file.run) == ("NectarCAMQM", 12)
