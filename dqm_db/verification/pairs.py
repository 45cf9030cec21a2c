"""Judges two sides: which transactions differ, and what a pack explains.

A pack removes from one side what was replaced before the pack's time, and what no longer leads
anywhere. So up to ``packed_until`` a side may lack records, or transactions all of whose records
have gone. Each record that it lacks is then looked up there: its object must have been written
later, or be gone, and then the other side must not be able to reach it from the root either. What
both have must be the same all the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dqm_db.verification.sides import Side
from dqm_db.volume.digests import Detail, TransactionDigest
from dqm_db.volume.transactions import NO_TRANSACTION

LISTED = 20
"""Findings that are kept of a pair; all are counted."""

RESTORED = " (after a restore verify once without --new)"

ASKED_AT_ONCE = 2000
"""Objects that are looked up together."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A transaction that is not the same on both sides.

    Attributes
    ----------
    tid : bytes
    text : str
        What is not the same, for people.
    faulty : tuple of str
        Names of the sides whose own file is damaged there.
    is_whole : bool
        Both have it, but in which records it differs was not looked at.
    """

    tid: bytes
    text: str
    faulty: tuple[str, ...] = ()
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """A transaction that was found to be the same on both sides.

    Attributes
    ----------
    tid, digest : bytes
    at : float
        When the verification began, in Unix seconds.
    """

    tid: bytes
    digest: bytes
    at: float


@dataclass
class Pair:
    """Two sides that are compared.

    Attributes
    ----------
    first, second : Side
    packed_until : mapping of str to bytes
        Name of a side -> id up to which a pack may have removed something there.
    remembered : Verified or None
        Where an earlier verification ended.
    first_leads : bool
        Whether the first one must have all that the second one has.
    same : int
        How many transactions were found to be the same.
    last : bytes, digest : bytes
        Of the last one of them.
    findings : list of Finding
        The first `LISTED` of them, in order.
    found : int
        How many there are.
    superseded, unreachable : int
        Records that one side lacks because it was packed.
    """

    first: Side
    second: Side
    packed_until: Mapping[str, bytes] = field(default_factory=dict)
    remembered: Verified | None = None
    first_leads: bool = True
    same: int = 0
    last: bytes = NO_TRANSACTION
    digest: bytes = b""
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    superseded: int = 0
    unreachable: int = 0
    _asked: dict[str, dict[bytes, list[bytes]]] = field(default_factory=lambda: defaultdict(dict))
    _gone: dict[str, dict[bytes, list[bytes]]] = field(default_factory=lambda: defaultdict(dict))
    _met: bool = False

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both."""
        return self.first, self.second

    def take(
        self, tid: bytes, one: TransactionDigest | None, other: TransactionDigest | None
    ) -> None:
        """Judge the transaction *tid* as the sides have it; None on a side that lacks it.

        Not to be called with what follows the end of one side: to lag is no difference.
        """
        if self.remembered is not None and tid == self.remembered.tid:
            self._met = True
            self._compare_with(self.remembered, one, other)
        if one is None or other is None:
            self._lacks(tid, *((self.first, other) if one is None else (self.second, one)))
        elif one.digest == other.digest:
            self.same += 1
            self.last, self.digest = tid, one.digest
        elif not self._is_explained(tid, one, other):
            self._find(tid, "differs", one, other, is_whole=True)

    def finish(self) -> None:
        """Judge what could not be judged before the end."""
        for side in self.sides:
            self._look_up(side)
        first, second = self.sides
        self._reach(first, second)
        self._reach(second, first)
        if self.first_leads and second.last > first.last:
            self._find(second.last, f"is on {second.name}, but {first.name} ends before it")
        known = self.remembered
        if known is None or self._met:
            return
        behind = [side.name for side in self.sides if side.last < known.tid]
        if behind:
            names = " and ".join(behind)
            self._find(
                known.tid, f"was verified before, but {names} has gone back behind it{RESTORED}"
            )
        elif known.tid > max(self._horizon(side) for side in self.sides):
            self._find(known.tid, f"was verified before, and is on neither side now{RESTORED}")

    def _horizon(self, side: Side) -> bytes:
        return self.packed_until.get(side.name, NO_TRANSACTION)

    def _packed(self, tid: bytes) -> list[Side]:
        return [side for side in self.sides if tid <= self._horizon(side)]

    def _lacks(self, tid: bytes, side: Side, had: TransactionDigest | None) -> None:
        """*side* does not have what the other one has."""
        other = self.second if side is self.first else self.first
        explained = tid <= self._horizon(side) and tid != other.last
        if explained and had is not None and had.detail is not None:
            for record in had.detail.records:
                self._ask(side, record.oid, tid)
        else:
            self._find(tid, f"is not on {side.name}", had)

    def _is_explained(self, tid: bytes, one: TransactionDigest, other: TransactionDigest) -> bool:
        """Whether a pack may explain that they differ; what it does not explain is found here."""
        packed = self._packed(tid)
        if not packed or one.detail is None or other.detail is None:
            return False
        if one.detail.metadata != other.detail.metadata:
            self._find(tid, "has another user, description or extension", one, other)
            return True
        mine, theirs = _by_object(one.detail), _by_object(other.detail)
        wrong = sum(mine[oid] != theirs[oid] for oid in mine.keys() & theirs.keys())
        for side, lacking in (
            (self.first, theirs.keys() - mine.keys()),
            (self.second, mine.keys() - theirs.keys()),
        ):
            if side in packed:
                for oid in lacking:
                    self._ask(side, oid, tid)
            else:
                wrong += len(lacking)
        if wrong:
            self._find(tid, f"differs in {_records(wrong)}", one, other)
        else:
            self.same += 1
            self.last, self.digest = tid, one.digest
        return True

    def _compare_with(
        self, known: Verified, one: TransactionDigest | None, other: TransactionDigest | None
    ) -> None:
        if one is None or other is None or one.digest != other.digest:
            return  # it is found to differ anyway, or a pack explains it
        if one.digest != known.digest and not self._packed(known.tid):
            self._find(known.tid, "is on both sides, but no longer what was verified before")

    def _ask(self, side: Side, oid: bytes, tid: bytes) -> None:
        asked = self._asked[side.name]
        asked.setdefault(oid, []).append(tid)
        if len(asked) >= ASKED_AT_ONCE:
            self._look_up(side)

    def _look_up(self, side: Side) -> None:
        """Whether *side* has later revisions of what it lacks."""
        asked = self._asked.pop(side.name, {})
        if not asked:
            return
        lost: list[bytes] = []
        for (oid, tids), current in zip(asked.items(), side.current(list(asked)), strict=True):
            if not current:
                self._gone[side.name].setdefault(oid, []).extend(tids)
                continue
            newest = [tid for tid in tids if tid >= current]
            self.superseded += len(tids) - len(newest)
            lost += newest
        self._lost(side, lost)

    def _reach(self, side: Side, other: Side) -> None:
        """What has gone from *side* may have been removed only where *other* cannot reach it."""
        gone = self._gone.pop(side.name, {})
        reached = other.reachable(list(gone)) if gone else ()
        self._lost(side, [max(gone[oid]) for oid in reached])
        self.unreachable += sum(len(tids) for oid, tids in gone.items() if oid not in reached)

    def _lost(self, side: Side, tids: list[bytes]) -> None:
        for tid, count in sorted(Counter(tids).items()):
            self._find(tid, f"lacks {_records(count)} on {side.name}, which no pack removes")

    def narrow(self) -> None:
        """Say of what differs as a whole in how many records it does; asks both sides again.

        Raises
        ------
        DatabaseUnavailable, DamagedData
        """
        for place, finding in enumerate(self.findings):
            if not finding.is_whole:
                continue
            one, other = (side.one(finding.tid) for side in self.sides)
            if one is None or other is None or one.detail is None or other.detail is None:
                continue  # damaged, and perhaps not where it should be
            mine, theirs = set(one.detail.records), set(other.detail.records)
            count, total = max(len(mine - theirs), len(theirs - mine)), max(len(mine), len(theirs))
            text = f"differs in {count} of {_records(total)}"
            if not count:
                text = "differs in its user, description or extension, or in the order of records"
            self.findings[place] = replace(finding, text=text, is_whole=False)

    def _find(
        self, tid: bytes, text: str, *found: TransactionDigest | None, is_whole: bool = False
    ) -> None:
        self.found += 1
        if len(self.findings) < LISTED:
            pairs = zip(self.sides, found, strict=False) if len(found) == len(self.sides) else ()
            faulty = tuple(side.name for side, one in pairs if one is not None and one.faults)
            self.findings.append(Finding(tid, text, faulty, is_whole))
            self.findings.sort(key=lambda finding: finding.tid)


def _by_object(detail: Detail) -> dict[bytes, bytes]:
    """The digest of what was written for each object.

    ZEO may write a blob's record twice in a transaction; the last one counts, and a pack keeps it.
    """
    return {record.oid: record.digest for record in detail.records}


def _records(number: int) -> str:
    return "1 record" if number == 1 else f"{number} records"
