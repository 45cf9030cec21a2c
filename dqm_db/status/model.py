"""What is known of the system at one moment, as plain values."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dqm_db.ingestion import Pull
from dqm_db.operations import Operation, OperationName
from dqm_db.reader import Snapshot
from dqm_db.server_answers import ServerAnswer

PRIMARY = "primary"
REPLICA = "replica"


class Level(enum.StrEnum):
    """How bad it is, from fine to worst in the order of this list."""

    OK = "ok"
    UNKNOWN = "unknown"  # could not be found out
    WARNING = "warning"  # somebody should look, soon
    CRITICAL = "critical"  # somebody should look, now

    @classmethod
    def worst(cls, levels: Iterable[Level]) -> Level:
        """The worst of *levels*; `OK` when there are none."""
        order = list(cls)
        return max(levels, key=order.index, default=cls.OK)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was judged.

    Attributes
    ----------
    level : Level
    key : str
        Which thing, such as ``replica-lag``; the same in all releases.
    subject : str
        The address of the server that it is about; empty: the whole system.
    title : str
        The thing in a few words.
    text : str
        A sentence that says how it is, and what to do unless it is fine.
    value : float, str or None
        What was compared with the limits.
    unit : str
        Of a number: ``s``, ``bytes`` or ``fraction``; empty for a plain count.
    """

    level: Level
    key: str
    title: str
    text: str
    subject: str = ""
    value: float | str | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server of the database.

    Attributes
    ----------
    address : str
        HOST:PORT where its clients connect.
    answer : ServerAnswer or None
        What it says of itself; None: it does not answer.
    error : str
        Why it does not, in a sentence without the address; empty otherwise.
    role : str or None
        ``primary`` or ``replica``; None: not known.
    transaction_time : float or None
        When its last transaction was made, unix seconds by the clock of the primary.
    lag_seconds : float or None
        0 when it has all that the primary had a moment before; otherwise the age of its last
        transaction. None: there is no primary to compare with.
    lag_bytes : int or None
        What it lacks of the primary's data.
    """

    address: str
    answer: ServerAnswer | None = None
    error: str = ""
    role: str | None = None
    transaction_time: float | None = None
    lag_seconds: float | None = None
    lag_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """What the host that asks has for TLS, as it was loaded.

    Attributes
    ----------
    host : str
        Its name.
    path : str
        The file of the certificate that it shows to servers.
    expires : float
        When that ends to be valid, unix seconds.
    authority_path : str
        The file of the CA that servers must be of.
    authority_expires : float
        When that ends.
    """

    host: str
    path: str
    expires: float
    authority_path: str
    authority_expires: float


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What the database itself tells.

    Attributes
    ----------
    pull : Pull or None
        The last one; None: there was none.
    failures, quarantined : int
        Files that could not be stored and are tried again, and those that wait for a person.
    operations : mapping of OperationName to Operation
        The last backup, verification and pack.
    """

    pull: Pull | None = None
    failures: int = 0
    quarantined: int = 0
    operations: Mapping[OperationName, Operation] = field(default_factory=dict)

    @classmethod
    def read(cls, snapshot: Snapshot) -> DatabaseFacts:
        """Of one state of the database; some 10 µs per failure."""
        failed = [failure for failure in snapshot.failures() if not failure.is_removed]
        quarantined = sum(failure.is_quarantined for failure in failed)
        return cls(
            pull=snapshot.last_pull(),
            failures=len(failed) - quarantined,
            quarantined=quarantined,
            operations=snapshot.operations(),
        )


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """All of it.

    Attributes
    ----------
    at : float
        When it was collected, unix seconds.
    servers : tuple of ServerStatus
        In the order of the settings.
    database : DatabaseFacts or None
        None: no server lets it be read, or it holds nothing yet.
    database_error : str
        Why it could not be read; empty otherwise.
    items : tuple of Item
        Everything that was judged, the worst first.
    """

    at: float
    servers: tuple[ServerStatus, ...] = ()
    database: DatabaseFacts | None = None
    database_error: str = ""
    items: tuple[Item, ...] = ()

    @property
    def level(self) -> Level:
        """The worst of all items."""
        return Level.worst(item.level for item in self.items)

    def level_of(self, subject: str) -> Level:
        """The worst of the items about one server, or ("") about the whole system."""
        return Level.worst(item.level for item in self.items if item.subject == subject)
