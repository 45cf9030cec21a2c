"""What is remembered of a verification, and the digests that are sent."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqm_db.settings import VerificationSettings
from dqm_db.verification.pairs import Verified
from dqm_db.verification.remembered import Memory, StateUnusable
from dqm_db.volume.digest_wire import from_plain, to_plain
from dqm_db.volume.digests import Detail, TransactionDigest
from dqm_db.volume.record_digests import RecordDigest

VERIFIED = Verified(b"\x03\x04" * 4, b"digest of 16 byt", 1.8e9)
ONE, OTHER = "10.8.0.1:8100", "[fd00::2]:8100"

eight = st.binary(min_size=8, max_size=8)
digests = st.binary(min_size=16, max_size=16)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


def test_it_is_remembered_whichever_is_the_primary(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "new" / "folder")
    assert memory.recall(ONE, OTHER) is None
    memory.remember(ONE, OTHER, VERIFIED)
    assert memory.recall(OTHER, ONE) == VERIFIED
    assert memory.recall(ONE, "10.8.0.3:8100") is None
    later = Verified(b"\x04" * 8, VERIFIED.digest, 1.9e9)
    memory.remember(OTHER, ONE, later)
    assert memory.recall(ONE, OTHER) == later
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1


@given(contents=plain)
def test_anything_else_in_its_file_is_refused(
    contents: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("state")
    memory = Memory(folder)
    memory.remember(ONE, OTHER, VERIFIED)
    (path,) = folder.iterdir()
    path.write_text(json.dumps(contents, default=str))
    with pytest.raises(StateUnusable, match="everything is verified"):
        memory.recall(ONE, OTHER)


@pytest.mark.parametrize("changed", [{"tid": "00"}, {"digest": "x"}, {"at": None}, {"tid": 5}])
def test_a_changed_file_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.remember(ONE, OTHER, VERIFIED)
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(StateUnusable):
        memory.recall(ONE, OTHER)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable, match="DQM_STATE_DIR"):
        Memory(tmp_path / "file").remember(ONE, OTHER, VERIFIED)


def test_where_it_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DQM_STATE_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert VerificationSettings().state_dir == Path("/state/nectarcam-dqm")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # to be ignored, says XDG
    monkeypatch.setenv("HOME", "/home/somebody")
    assert VerificationSettings().state_dir == Path("/home/somebody/.local/state/nectarcam-dqm")
    monkeypatch.delenv("HOME")
    assert VerificationSettings().state_dir == Path("/var/lib/nectarcam-dqm")


@given(
    st.builds(
        TransactionDigest,
        tid=eight,
        digest=digests,
        records=st.integers(0, 2**40),
        bytes=st.integers(0, 2**60),
        packed=st.booleans(),
        faults=st.lists(st.text(), max_size=3).map(tuple),
        detail=st.none()
        | st.builds(
            Detail,
            metadata=digests,
            description=st.binary(max_size=20),
            records=st.lists(st.builds(RecordDigest, eight, digests), max_size=4).map(tuple),
        ),
    )
)
def test_digests_arrive_as_they_were_sent(found: TransactionDigest) -> None:
    assert from_plain(to_plain(found)) == found


@given(plain)
def test_what_is_no_digest_is_refused(value: Any) -> None:
    """Or it is one by chance; whatever a server sends, nothing else is raised."""
    try:
        found = from_plain(value)
    except ValueError:
        return
    assert isinstance(found.tid, bytes)
    assert math.isfinite(found.bytes)


@pytest.mark.parametrize("tid", [10**15, -1, "text", None, b"short"])
def test_an_id_is_bytes(tid: Any) -> None:
    sent = to_plain(TransactionDigest(b"12345678", b"digest of 16 byt", 1, 1, False))
    with pytest.raises(ValueError, match="no digest of a transaction"):
        from_plain([tid, *sent[1:]])
