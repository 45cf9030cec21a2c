"""Databases of nectarchain's own tools: every value arrives, and nothing in them is executed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from legacy_databases import flat_entry, nested_entry, rewrite_records
from legacy_imports import opened, run_import, write
from results_files import build_fits, run_content, run_fits, sample_fits, sample_path, write_run
from ZODB.FileStorage import FileStorage

from dqm_db.errors import ConfigurationError, RunNotFound, WriteFailed
from dqm_db.legacy import open_legacy
from dqm_db.settings import load
from dqm_db.writer import Writer
from ingest.errors import ResultsFileError
from ingest.finding import RunRanges, Wanted, find
from ingest.legacy import digest, find_runs, import_runs, source_of, to_hdus
from ingest.outcomes import FileOutcome, Status
from ingest.pipeline import ingest_files
from ingest.pull import Plan, Puller
from ingest.reparse import reparse_runs
from ingest.results import read_hdus
from ingest.settings import IngestSettings
from ingest.sources import open_url

CAMERA = "NectarCAMQM"
SIGNAL = "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database to import is written."""
    (tmp_path / "legacy").mkdir()
    return tmp_path / "legacy" / "Data.fs"


def everything(writer: Writer, camera: str, run: int) -> dict[str, Any]:
    """All that is stored of a run but its provenance, by name, arrays as bytes."""

    def bits(columns: Mapping[str, Any]) -> dict[str, Any]:
        return {name: (v.dtype.str, v.shape, v.tobytes()) for name, v in columns.items()}

    with writer.database.snapshot() as snapshot:
        header = snapshot.header(camera, run)
        entries = snapshot.quantities(camera, run)
        return {
            "header": dataclasses.replace(header, absent_pixels=None, provenance=None, camera=""),
            "absent": header.absent_pixels.tolist(),
            "statistics": snapshot.statistics(camera, run),
            "verdict": dataclasses.replace(snapshot.verdict(camera, run), checked_at=0.0),
            "quantities": {entry.name: entry for entry in entries},
            "columns": {e.name: bits(snapshot.columns(camera, run, e.name)) for e in entries},
            "summaries": {e.name: bits(snapshot.summary(camera, run, e.name)) for e in entries},
        }


@pytest.mark.parametrize("run", [6001, 8001, 8003])
def test_both_layouts_give_what_the_file_gives(
    writer: Writer, path: Path, samples: Path, run: int
) -> None:
    data = sample_fits(samples, run)
    write(
        path,
        {f"NectarCAM2_Run{run}": flat_entry(data), f"NectarCAM_Run{run}": nested_entry(data)},
    )
    assert {one.status for one in run_import(writer, path, camera="NectarCAM2").values()} == {
        Status.STORED,
        Status.SKIPPED,  # the other layout of the same run has the same digest
    }
    (nested,) = (k for k in run_import(writer, path, camera="NectarCAM9") if "2" not in k)
    assert nested == f"NectarCAM_Run{run}"
    list(ingest_files(writer, [sample_path(samples, run)]))
    expected = everything(writer, CAMERA, run)
    assert len(expected["columns"]) > 30 and len(expected["statistics"]) > 20
    assert everything(writer, "NectarCAM2", run) == expected
    assert everything(writer, "NectarCAM9", run) == expected


def test_an_empty_table_and_an_empty_list_are_the_same() -> None:
    data = build_fits(run_content() | {"CAMERA-PING-PONG-CHANGES-TIMES": None})
    entry = nested_entry(data)
    assert entry["Results_PingPongMonitoring"]["CAMERA-PING-PONG-CHANGES-TIMES"] == []
    assert flat_entry(data)["CAMERA-PING-PONG-CHANGES-TIMES"] == {}
    assert digest(to_hdus(entry)) == digest(to_hdus(flat_entry(data))) == digest(read_hdus(data))


def test_provenance_says_where_it_comes_from_and_that_there_is_no_file(
    writer: Writer, path: Path
) -> None:
    entry = flat_entry(run_fits())
    write(path, {"NectarCAMQM_Run7": entry})
    (outcome,) = run_import(writer, path).values()
    assert outcome == FileOutcome(
        f"file://{path}#NectarCAMQM_Run7", Status.STORED, "NectarCAMQM", 7
    )
    with writer.database.snapshot() as snapshot:
        origin = snapshot.header(CAMERA, 7).provenance
        assert origin.source == outcome.source
        assert (origin.results_name, origin.results_size, origin.source_size) == ("", 0, 0)
        assert origin.results_sha256 == digest(to_hdus(entry))
        with pytest.raises(RunNotFound, match="run 7 was stored without its original"):
            snapshot.original(CAMERA, 7)
    (again,) = reparse_runs(writer, [(CAMERA, 7)], force=True)
    assert again.status is Status.FAILED and "without its original" in again.message


def test_the_file_itself_takes_the_place_of_an_import(
    writer: Writer, path: Path, tmp_path: Path
) -> None:
    """It has what the import lacks; nobody needs to ask for it."""
    write(
        path,
        {"NectarCAMQM_Run7": flat_entry(run_fits()), "NectarCAMQM_Run8": flat_entry(run_fits())},
    )
    run_import(writer, path)
    (skipped, _) = reparse_runs(writer, [(CAMERA, 7), (CAMERA, 8)], force=True, every=True)
    assert skipped.status is Status.SKIPPED
    folder = tmp_path / "dqm"
    folder.mkdir()
    file = write_run(folder, 7)
    write_run(folder, 8)
    (outcome,) = ingest_files(writer, [file])
    assert outcome.status is Status.REPLACED
    source = open_url(str(folder))
    puller = Puller(writer, load(IngestSettings))
    statuses = [o.status for o in puller.run([Plan(source, find(source, Wanted()))])]
    assert statuses == [Status.SKIPPED, Status.REPLACED]
    with writer.database.snapshot() as snapshot:
        for run in (7, 8):
            assert snapshot.original(CAMERA, run).media == "tar"


def test_passwords_are_not_in_errors(writer: Writer) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_legacy(writer.database.settings, "postgresql://u:s3cr3t@h/x")
    assert "s3cr3t" not in str(refused.value)


def test_passwords_do_not_get_into_the_provenance() -> None:
    legacy = SimpleNamespace(settings=SimpleNamespace(db_url="postgresql://dqm:secret@host/old"))
    assert source_of(legacy, "K_Run1") == "postgresql://dqm:…@host/old#K_Run1"  # type: ignore[arg-type]


def test_the_same_again_is_skipped_and_other_contents_are_refused(
    writer: Writer, path: Path
) -> None:
    write(path, {"NectarCAMQM_Run7": flat_entry(run_fits(1))})
    assert run_import(writer, path)["NectarCAMQM_Run7"].status is Status.STORED
    before = writer.database.last_transaction()
    assert run_import(writer, path)["NectarCAMQM_Run7"].status is Status.SKIPPED
    write(path, {"NectarCAMQM_Run7": flat_entry(run_fits(2))})
    refused = run_import(writer, path)["NectarCAMQM_Run7"]
    assert refused.status is Status.REFUSED
    assert refused.message.endswith(f"(from {refused.source}); --force replaces it")
    assert writer.database.last_transaction() == before
    assert run_import(writer, path, force=True)["NectarCAMQM_Run7"].status is Status.REPLACED


def test_a_run_from_its_file_is_kept(writer: Writer, path: Path, tmp_path: Path) -> None:
    file = write_run(tmp_path, 7, seed=1)
    list(ingest_files(writer, [file]))
    write(path, {"NectarCAMQM_Run7": flat_entry(run_fits(1))})
    assert run_import(writer, path)["NectarCAMQM_Run7"].status is Status.SKIPPED
    assert run_import(writer, path, force=True)["NectarCAMQM_Run7"].status is Status.SKIPPED
    write(path, {"NectarCAMQM_Run7": flat_entry(run_fits(2))})
    refused = run_import(writer, path)["NectarCAMQM_Run7"]
    assert refused.status is Status.REFUSED
    assert "--force replaces it and its original is lost" in refused.message
    with writer.database.snapshot() as snapshot:
        assert snapshot.original(CAMERA, 7).data == file.read_bytes()
    assert run_import(writer, path, force=True)["NectarCAMQM_Run7"].status is Status.REPLACED
    with writer.database.snapshot() as snapshot, pytest.raises(RunNotFound):
        snapshot.original(CAMERA, 7)


def test_of_two_entries_for_one_run_the_second_never_replaces_the_first(
    writer: Writer, path: Path
) -> None:
    write(
        path,
        {
            "NectarCAM_Run7": nested_entry(run_fits(2)),
            "NectarCAMQM_Run7": flat_entry(run_fits(1)),
        },
    )
    done = run_import(writer, path, camera=CAMERA, force=True)
    assert done["NectarCAMQM_Run7"].status is Status.STORED
    assert done["NectarCAM_Run7"].status is Status.REFUSED
    assert "the entry NectarCAMQM_Run7 is of the same run" in done["NectarCAM_Run7"].message


def test_which_entries_are_taken(writer: Writer, path: Path) -> None:
    keys = ["NectarCAMQM_Run10", "NectarCAMQM_Run9", "NectarCAM2_Run9", "NectarCAM_Run11"]
    write(path, {key: {} for key in [*keys, "settings", "Run12", "NectarCAMQM_Run"]})
    with opened(writer, path) as legacy:
        found = find_runs(legacy)
        assert [one.key for one in found.runs] == [keys[2], keys[1], keys[0]]
        assert [(one.run, one.status) for one in found.unread] == [(11, Status.FAILED)]
        assert "give it with --camera" in found.unread[0].message
        assert found.others == 3
        chosen = find_runs(legacy, camera="NectarCAM2", runs=RunRanges.parse("9,11-20"))
        assert [(one.key, one.camera) for one in chosen.runs] == [
            ("NectarCAM2_Run9", "NectarCAM2"),
            ("NectarCAM_Run11", "NectarCAM2"),
        ]
        assert not chosen.unread


def test_the_oldest_databases_have_plain_dicts(writer: Writer, path: Path) -> None:
    entry = flat_entry(run_fits())
    write(
        path, {"NectarCAMQM_Run7": entry, "NectarCAMQM_Run8": nested_entry(run_fits())}, bare=True
    )
    assert [one.status for one in run_import(writer, path).values()] == [Status.STORED] * 2


def test_databases_written_with_numpy_1(writer: Writer, path: Path) -> None:
    write(path, {"NectarCAMQM_Run7": flat_entry(run_fits())})
    storage = FileStorage(str(path))
    changed = []

    def older(data: bytes) -> bytes:
        changed.append(data.count(b"cnumpy._core.multiarray\n"))
        return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")

    rewrite_records(storage, older)
    assert sum(changed) > 0
    assert run_import(writer, path)["NectarCAMQM_Run7"].status is Status.STORED


def test_dry_runs_change_nothing(writer: Writer, path: Path) -> None:
    write(path, {"NectarCAMQM_Run7": flat_entry(run_fits()), "NectarCAMQM_Run8": {"a": 1}})
    before = writer.database.last_transaction()
    with opened(writer, path) as legacy:
        runs = find_runs(legacy).runs
        outcomes = list(import_runs(legacy, runs, writer.database, None))
    assert [one.status for one in outcomes] == [Status.TO_DO, Status.FAILED]
    assert writer.database.last_transaction() == before


def test_what_the_database_cannot_take_is_not_the_fault_of_the_entry(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, {"NectarCAMQM_Run7": flat_entry(run_fits())})

    def full(*_: object, **__: object) -> None:
        raise WriteFailed("no space left")

    monkeypatch.setattr(writer, "store_run", full)
    (outcome,) = run_import(writer, path).values()
    assert (outcome.status, outcome.message) == (Status.NOT_WRITTEN, "no space left")


def test_run_numbers_that_the_database_cannot_hold(writer: Writer, path: Path) -> None:
    keys = ["NectarCAMQM_Run0", "NectarCAMQM_Run2147483648"]
    write(path, {key: flat_entry(run_fits()) for key in keys})
    for outcome in run_import(writer, path).values():
        assert "not between 1 and 2147483647" in outcome.message


def test_the_digest_depends_on_every_value_and_name_and_on_nothing_else() -> None:
    def of(entry: Mapping[str, Any]) -> str:
        return digest(to_hdus(entry))

    entry = {SIGNAL: {"a": np.arange(4.0)}, "X": {"b": np.arange(3), "c": np.ones(3)}}
    same = [
        dict(reversed(entry.items())),
        {**entry, "X": {"c": np.ones(3), "b": np.arange(3)}},
        {**entry, SIGNAL: {"a": np.arange(4.0, dtype=">f8")}},
        {**entry, SIGNAL: {"a": np.arange(8.0)[::2] / 2}},
    ]
    assert {of(one) for one in same} == {of(entry)}
    other = [
        {**entry, SIGNAL: {"a": np.array([0, 1, 2, -3.0])}},
        {**entry, SIGNAL: {"A": np.arange(4.0)}},
        {**entry, SIGNAL: {"a": np.arange(4)}},
        {**entry, SIGNAL: {"a": np.arange(4.0).reshape(2, 2)}},
        {**entry, "Y": {}},
        {**entry, "X": {"b": np.arange(3)}},
    ]
    assert len({of(one) for one in [entry, *other]}) == 1 + len(other)


def test_complex_values_are_stored_as_those_of_files() -> None:
    hdus = to_hdus({SIGNAL: {"a": np.ones(2)}, "X": {"z": np.array([1 + 2j, 3j])}})
    assert {key: v.tolist() for key, v in hdus["X"].columns.items()} == {
        "z.real": [1.0, 0.0],
        "z.imag": [2.0, 3.0],
    }


def test_integers_beyond_64_bits_are_refused() -> None:
    with pytest.raises(ResultsFileError, match="X: its values are neither"):
        to_hdus({SIGNAL: {"a": np.ones(2)}, "X": {"n": [2**70]}})
