"""Manifests are read as they were written, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.errors import DamagedBackup
from backup.manifest import FILE, Manifest, StoredBlob, StoredFile, _digest_of, name_of

DIGEST = "ab" * 32


def a_manifest(name: str = "2026-05-03T01-30-00.000Z", **changes: object) -> Manifest:
    fields: dict[str, object] = {
        "name": name,
        "kind": "full",
        "time": 1.7e9,
        "tid": "03ffaa0011223344",
        "follows": None,
        "begin": 0,
        "end": 100,
        "data": StoredFile("Data.fs.zst", 60, 100, DIGEST),
        "compare_from": 10,
        "md5": "00" * 16,
        "index": StoredFile("Data.fs.index.zst", 10, 20, DIGEST),
        "blobs": (StoredBlob("00" * 8, "03ffaa0011223344", 5, DIGEST),),
        "database": 1.6e9,
        "epoch": 2,
        "host": "camera-host",
        "volume": "/srv/dqm",
        "versions": {"ZODB": "6.4"},
        "seconds": 1.5,
    }
    return Manifest(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifest") / a_manifest().name
    folder.mkdir()
    a_manifest().write(folder)
    return folder


def test_it_is_read_as_it_was_written(written: Path) -> None:
    assert Manifest.read(written) == a_manifest()
    assert a_manifest().bytes == 105 and a_manifest().stored == 70


@given(st.data())
def test_any_flipped_bit_is_noticed(written: Path, data: st.DataObject) -> None:
    raw = bytearray((written / FILE).read_bytes())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    folder = written.parent / "flipped" / written.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(raw)
    try:
        assert Manifest.read(folder) == a_manifest()  # as when one blank became another
    except DamagedBackup as error:
        assert str(folder / FILE) in str(error)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["format", "digest", "backup", "data", "blobs", "name"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_anything_else_is_refused(written: Path, raw: bytes) -> None:
    folder = written.parent / "other" / written.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(raw)
    with pytest.raises(DamagedBackup):
        Manifest.read(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../somewhere"},
        {"kind": "other"},
        {"time": -1.0},
        {"time": 1},
        {"tid": "03"},
        {"follows": "2026-05-02T01-30-00.000Z"},
        {"kind": "incremental"},
        {"kind": "incremental", "follows": "../x"},
        {"begin": 1},
        {"end": 99},
        {"data": None},
        {"data": StoredFile("../../etc/passwd", 60, 100, DIGEST)},
        {"data": StoredFile("", 60, 100, DIGEST)},
        {"index": StoredFile("x", 60, -1, DIGEST)},
        {"index": StoredFile("x", 60, 1, "ab")},
        {"blobs": (StoredBlob("../../../etc", "03ffaa0011223344", 5, DIGEST),)},
        {"blobs": (StoredBlob("00" * 8, "03ffaa0011223344", True, DIGEST),)},
        {"epoch": -1},
        {"database": -1.0},
        {"database": 1},
        {"database": float("nan")},
        {"compare_from": 101},
        {"md5": "00 1 2"},
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """Also when its digest is right: names in it lead to files."""
    folder = tmp_path / a_manifest().name
    folder.mkdir()
    a_manifest(**change).write(folder)
    with pytest.raises(DamagedBackup):
        Manifest.read(folder)


def test_one_of_another_format_or_name_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / a_manifest().name
    folder.mkdir()
    a_manifest().write(folder)
    document = json.loads((folder / FILE).read_bytes())
    assert document["digest"] == _digest_of(document["backup"])
    (folder / FILE).write_text(json.dumps({**document, "format": 2}))
    with pytest.raises(DamagedBackup, match="format 2"):
        Manifest.read(folder)
    other = tmp_path / "2026-05-04T01-30-00.000Z"
    other.mkdir()
    a_manifest().write(other)
    with pytest.raises(DamagedBackup, match="is that of the backup 2026-05-03"):
        Manifest.read(other)
    with pytest.raises(DamagedBackup, match="cannot be read"):
        Manifest.read(tmp_path)


def test_names_tell_the_time_in_utc() -> None:
    assert name_of(1.7e9 + 0.25) == "2023-11-14T22-13-20.250Z"
