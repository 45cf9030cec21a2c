"""Results files with anything wrong in them: a clear error or a whole run, and nothing between."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from results_files import build_run_archive, run_fits

from dqm_db.content import Kind
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import Writer, open_writer
from ingest.outcomes import Status
from ingest.pipeline import ingest_files

CAMERA = "NectarCAMQM"
BLOCK = 2880
CARD = 80
STRANGE = [
    b"\0" * 8,
    b"\xff" * 8,
    *(struct.pack(">d", value) for value in (float("inf"), 1e308, -1e308, 5e-324)),
    struct.pack(">q", -(2**63)),
    b"'A\n\x1b[1m'",
]
NUMBERS = ["-1", "0", "1", "7", "2880", "99999999", "-32", "1E400", "T", "'x'", "", "1.5"]

Mutation = Callable[[bytes], bytes]


@functools.cache
def healthy() -> bytes:
    return run_fits(seed=3, absent=range(14))


@functools.cache
def cards() -> list[int]:
    """Where the header cards are that have a value."""
    data = healthy()
    return [
        place
        for place in range(0, len(data), CARD)
        if data[place + 8 : place + 10] == b"= " and data[place : place + 8].strip().isascii()
    ]


def replaced(place: int, what: bytes) -> Mutation:
    return lambda data: data[:place] + what + data[place + len(what) :]


def valued(card: int, value: str) -> Mutation:
    return replaced(card + 10, value.rjust(20).ljust(CARD - 10).encode())


def cut(first: int, last: int) -> Mutation:
    return lambda data: data[: first * BLOCK] + data[last * BLOCK :]


def repeated(block: int) -> Mutation:
    return lambda data: data[: block * BLOCK] + data[block * BLOCK - BLOCK :]


def truncated(size: int) -> Mutation:
    return lambda data: data[:size]


def negative_size(data: bytes) -> bytes:
    """One HDU of so many rows less than none that the next one would begin before it."""
    rows = data.index(b"NAXIS2  =", 3 * BLOCK)
    return valued(rows, "-999")(data)


@st.composite
def mutations(draw: st.DrawFn) -> list[Mutation]:
    data = healthy()
    places = st.integers(0, len(data) - 8)
    blocks = st.integers(0, len(data) // BLOCK)
    kinds = st.one_of(
        st.builds(replaced, places, st.binary(min_size=1, max_size=8)),
        st.builds(replaced, places, st.sampled_from(STRANGE)),
        st.builds(valued, st.sampled_from(cards()), st.sampled_from(NUMBERS)),
        st.builds(replaced, st.sampled_from(cards()), st.sampled_from([b"XTENSION", b"END     "])),
        st.builds(cut, blocks, blocks),
        st.builds(repeated, st.integers(1, len(data) // BLOCK)),
        st.builds(truncated, places),
    )
    return draw(st.lists(kinds, min_size=1, max_size=4))


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    folder = tmp_path_factory.mktemp("mutations")
    own = load(DatabaseSettings, db_url=f"file://{folder}/Data.fs", lock_dir=folder)
    with open_writer(own) as writer:
        yield writer


def check_whole(writer: Writer, run: int) -> None:
    """Everything that the run says it holds can be read."""
    with writer.database.snapshot() as snapshot:
        header = snapshot.header(CAMERA, run)
        assert header.run == run and header.provenance.results_sha256
        assert snapshot.catalogue(CAMERA).position(run) is not None
        snapshot.statistics(CAMERA, run)
        assert snapshot.original(CAMERA, run).data
        maps = snapshot.pixel_maps(CAMERA, run)
        for entry in snapshot.quantities(CAMERA, run):
            columns = snapshot.columns(CAMERA, run, entry.name)
            snapshot.summary(CAMERA, run, entry.name)
            assert {name: values.shape for name, values in columns.items()} == {
                name: shape for name, (_, shape) in entry.columns.items()
            }
            assert (entry.unavailable is None) or not columns
            if entry.kind is Kind.PIXEL_MAP and columns:
                assert entry.name in maps


@settings(max_examples=150)
@given(mutations())
@example([valued(80, "99999999")])
@example([truncated(BLOCK)])
@example([cut(1, 2)])
@example([negative_size])
def test_an_error_or_a_run(
    writer: Writer, tmp_path_factory: pytest.TempPathFactory, changes: list[Mutation]
) -> None:
    data = healthy()
    for change in changes:
        data = change(data)
    path = tmp_path_factory.getbasetemp() / f"{CAMERA}_DQM_Run7.tar.gz"
    path.write_bytes(build_run_archive(CAMERA, 7, data))
    before = writer.database.last_transaction()
    (outcome,) = ingest_files(writer, [path])
    if outcome.status is Status.STORED:
        check_whole(writer, 7)
        writer.delete_run(CAMERA, 7)
        return
    assert outcome.status is Status.FAILED
    assert outcome.kind == "ResultsFileError", outcome
    assert outcome.message and "\n" not in outcome.message
    assert writer.database.last_transaction() == before, "nothing was written"
    assert writer.stored(CAMERA, 7) is None


def test_the_healthy_one_is_stored(writer: Writer, tmp_path: Path) -> None:
    path = tmp_path / f"{CAMERA}_DQM_Run7.tar.gz"
    path.write_bytes(build_run_archive(CAMERA, 7, healthy()))
    (outcome,) = ingest_files(writer, [path])
    assert outcome.status is Status.STORED
    check_whole(writer, 7)
    writer.delete_run(CAMERA, 7)
    assert len(cards()) > 100
