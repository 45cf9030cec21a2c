"""The outcome of a verification in words, and as a document for programs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dqm_db.errors import DatabaseUnavailable
from dqm_db.server_answers import transaction_time
from dqm_db.verification.comparing import Verification
from dqm_db.verification.pairs import Finding, Pair
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.transactions import NO_TRANSACTION

LONGEST_DESCRIPTION = 120
"""Characters."""


@dataclass(frozen=True)
class Report:
    """What can be said of a verification.

    Attributes
    ----------
    verification : Verification
    roles : mapping of str to str
        Side -> what it says it is, such as ``primary``.
    silent : mapping of str to str
        Server that could not be asked at all -> why.
    descriptions : dict of bytes to str
        Transaction -> what it did, of those that differ; see `describe`.
    """

    verification: Verification
    roles: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    descriptions: dict[bytes, str] = field(default_factory=dict)

    @property
    def all_silent(self) -> dict[str, str]:
        """Servers that did not answer, or not to the end, and why."""
        ended = {one.side.name: str(one.error) for one in self.verification.silent}
        return {**self.silent, **ended}

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        if self.verification.is_damaged:
            return DamagedData.exit_code
        return DatabaseUnavailable.exit_code if self.all_silent else 0

    def describe(self) -> None:
        """Look up what the transactions did that differ, as long as the sides can be asked.

        That only helps: where it cannot be had, ids are enough.
        """
        for pair in self.verification.pairs:
            with contextlib.suppress(DatabaseUnavailable, DamagedData):
                pair.narrow()
        sides = [read.side for read in self.verification.read]
        for finding in self._findings():
            if finding.tid in self.descriptions:
                continue
            for side in sides:
                with contextlib.suppress(DatabaseUnavailable, DamagedData):
                    found = side.one(finding.tid)
                    if found is not None and found.detail is not None:
                        self.descriptions[finding.tid] = _text(found.detail.description)
                        break

    def _findings(self) -> Iterator[Finding]:
        for pair in self.verification.pairs:
            yield from pair.findings
        for read in self.verification.read:
            yield from read.faults

    def summary(self) -> str:
        """One sentence."""
        outcome = self.verification
        names = " and ".join(self._named(read.side.name) for read in outcome.read)
        count = max((pair.same for pair in outcome.pairs), default=outcome.read[0].transactions)
        if outcome.is_damaged:
            wrong = sum(pair.found for pair in outcome.pairs)
            parts = [f"{_number(wrong, 'transaction')} not the same"] if wrong else []
            parts += [
                f"damage on {read.side.name}"
                for read in outcome.read
                if read.faulty or isinstance(read.error, DamagedData)
            ]
            text = f"{names}: {', '.join(parts)}"
        elif outcome.pairs:
            text = f"{names} are the same in {_number(count, 'transaction')}"
        else:
            text = f"{names} is sound in {_number(count, 'transaction')}"
        if outcome.after != NO_TRANSACTION:
            text += f" since {_time(outcome.after)}"
        if self.all_silent:
            text += f"; no answer of {' and '.join(self.all_silent)}"
        return text

    def lines(self) -> Iterator[str]:
        """Everything, for people."""
        for read in self.verification.read:
            yield (
                f"{self._named(read.side.name)}: {_number(read.transactions, 'transaction')}, "
                f"{_size(read.size)} read, {self._soundness(read.faulty)}"
            )
            for fault in read.faults:
                yield f"  {self._transaction(fault.tid)}: {fault.text}"
            if isinstance(read.error, DamagedData):
                yield f"  {read.error}"
        for pair in self.verification.pairs:
            yield from self._pair(pair)
        for reason in self.all_silent.values():
            yield f"no answer: {reason}"
        yield f"{self.summary()} ({self._speed()})"

    def _pair(self, pair: Pair) -> Iterator[str]:
        first, second = pair.first, pair.second
        for finding in pair.findings:
            yield f"different: {self._transaction(finding.tid)} {finding.text}{_fault(finding)}"
        if pair.found > len(pair.findings):
            yield f"and {pair.found - len(pair.findings)} more"
        if pair.superseded or pair.unreachable:
            yield (
                f"packed away on one side of {first.name} and {second.name}: "
                f"{pair.superseded} replaced and {pair.unreachable} removed records"
            )
        if second.last < first.last:
            yield (
                f"{second.name} is behind {first.name}: compared up to "
                f"{self._transaction(second.last)}"
            )

    def _soundness(self, faulty: int) -> str:
        return f"{_number(faulty, 'transaction')} damaged" if faulty else "sound"

    def _named(self, name: str) -> str:
        role = self.roles.get(name)
        return f"{name} ({role})" if role else name

    def _transaction(self, tid: bytes) -> str:
        text = f"transaction {tid.hex()} of {_time(tid)}"
        described = self.descriptions.get(tid)
        return f"{text} ({described})" if described else text

    def _speed(self) -> str:
        seconds = self.verification.seconds
        size = max(read.size for read in self.verification.read)
        return f"{seconds:.1f} s, {size / 1e6 / max(seconds, 1e-3):.0f} MB/s per side"

    def document(self) -> dict[str, Any]:
        """Everything, for JSON; ids in hexadecimal, times in Unix seconds."""
        outcome = self.verification
        return {
            "ok": self.exit_code == 0,
            "summary": self.summary(),
            "started": outcome.started,
            "seconds": outcome.seconds,
            "after": None if outcome.after == NO_TRANSACTION else outcome.after.hex(),
            "sides": [
                {
                    "name": read.side.name,
                    "role": self.roles.get(read.side.name),
                    "transactions": read.transactions,
                    "bytes": read.size,
                    "damaged": read.faulty,
                    "faults": [self._finding(fault) for fault in read.faults],
                    "error": None if read.error is None else str(read.error),
                }
                for read in outcome.read
            ],
            "pairs": [
                {
                    "sides": [side.name for side in pair.sides],
                    "same": pair.same,
                    "last": pair.last.hex() if pair.same else None,
                    "different": pair.found,
                    "findings": [self._finding(finding) for finding in pair.findings],
                    "superseded": pair.superseded,
                    "unreachable": pair.unreachable,
                }
                for pair in outcome.pairs
            ],
            "silent": self.all_silent,
        }

    def _finding(self, finding: Finding) -> dict[str, Any]:
        return {
            "transaction": finding.tid.hex(),
            "time": transaction_time(finding.tid),
            "description": self.descriptions.get(finding.tid),
            "text": finding.text,
            "faulty": list(finding.faulty),
        }


def _fault(finding: Finding) -> str:
    if not finding.faulty:
        return "; neither side's file says which one is right: compare with a backup"
    return f"; at fault: {' and '.join(finding.faulty)}, whose file is damaged there"


def _time(tid: bytes) -> str:
    """When a transaction was made; a damaged id may be no time at all."""
    try:
        seconds = transaction_time(tid)
        if seconds is None:
            return "nothing"
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return "no time"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _text(description: bytes) -> str:
    text = description.decode("utf-8", "replace")[:LONGEST_DESCRIPTION]
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
