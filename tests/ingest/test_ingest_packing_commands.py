"""What ``dqm pack`` warns of before it packs."""

from __future__ import annotations

from dataclasses import replace

from dqm_db.operations import Operation, OperationName
from ingest.packing_commands import missing_backup

NOW = 1_800_000_000.0
BACKUP = Operation(OperationName.BACKUP, NOW, NOW + 60, True, "full", "cta1")


def test_what_is_in_a_backup_is_packed_without_a_word():
    assert missing_backup(BACKUP, until=NOW) is None


def test_what_came_after_the_last_backup_is_named_with_its_time():
    warning = missing_backup(BACKUP, until=NOW + 3600)
    assert warning is not None
    assert "the last backup is of 2027-01-15T08:00:00" in warning
    assert "between then and 2027-01-15T09:00:00" in warning


def test_without_any_backup_nothing_is_kept():
    warning = missing_backup(None, until=NOW)
    assert warning == "no backup is known: what is packed away now is nowhere else"


def test_an_attempt_that_failed_is_not_called_no_backup():
    warning = missing_backup(replace(BACKUP, ok=False), until=NOW - 3600)
    assert warning is not None
    assert warning.startswith("the last backup, of 2027-01-15T08:00:00")
    assert "failed: unless an older one is good, " in warning
    assert "no backup is known" not in warning
