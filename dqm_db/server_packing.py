"""Packs all servers of a database to the same time, without leaving a replica behind.

Packing drops what was replaced or deleted before that time. It does not replicate, so each server
is packed by itself. A replica asks its primary for what follows its own last transaction; when that
one was packed away, it cannot be told from one that never was, and the replica is refused for good.
So first a transaction later than the time is written, and every replica has to get it, or to have
one that is later than the time at least. Replicas are packed before the primary: should one fail,
the primary still has everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ZODB.Connection import Connection

from dqm_db.errors import DQMError, PackRefused
from dqm_db.peers import ask_servers, is_serving_primary
from dqm_db.replication.addresses import Address
from dqm_db.server_answers import ServerAnswer, transaction_time
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import checked_root, open_database
from dqm_db.urls import shown
from dqm_db.writer import Writer

SYNC_SECONDS = 10.0
"""How long replicas have for the transaction that was just written."""
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Fit:
    """What was found before anything is packed.

    Attributes
    ----------
    servers : tuple of (Address, ServerAnswer)
        Those that answer, in the order in which to pack them: the primary last.
    faults : tuple of str
        Why some of all servers had better be looked after first.
    remarks : tuple of str
        What else is worth knowing.
    """

    servers: tuple[tuple[Address, ServerAnswer], ...]
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PackedServer:
    """One server after its pack.

    Attributes
    ----------
    address : Address
    role : str
        ``primary``, ``replica`` or ``server``, when it does not say.
    gained : mapping of str to float
        As `dqm_db.storage.Database.pack`.
    error : DQMError or None
        Why it could not be packed.
    """

    address: Address
    role: str
    gained: Mapping[str, float] = field(default_factory=dict)
    error: DQMError | None = None


def mark(writer: Writer) -> bytes:
    """Write a transaction that changes nothing, and return its tid (8 bytes)."""
    url = shown(writer.database.settings.db_url)

    def touch(connection: Connection) -> None:
        checked_root(connection, url)._p_changed = True

    writer.commit("mark a pack", touch)
    return writer.database.last_transaction()


def look_at(addresses: Sequence[Address], until: float, marked: bytes) -> Fit:
    """Whether the servers at *addresses* can be packed to *until* (Unix seconds).

    Waits for replicas that do not have the transaction *marked*, which is later, for a moment.
    """
    end = time.monotonic() + SYNC_SECONDS
    while True:
        answers = ask_servers(addresses)
        late = [where for where, answer in answers.items() if answer.last_transaction < marked]
        if not late or time.monotonic() > end:
            break
        time.sleep(_LOOK_SECONDS)
    faults = [f"{where} does not answer" for where in addresses if where not in answers]
    remarks = []
    for where in late:
        last = transaction_time(answers[where].last_transaction)
        words = f"{where} lacks transactions{_because(answers[where])}"
        if last is None or last < until:
            faults.append(words)
        else:
            remarks.append(f"{words}; it can be packed all the same")
    if not any(is_serving_primary(answer) or not answer.is_ours for answer in answers.values()):
        faults.append("no primary is among the servers")
    followers = sum(len(answer.replicas) for answer in answers.values())
    listed = sum(answer.role == "replica" for answer in answers.values())
    if followers > listed:
        remarks.append(
            f"{followers} replicas follow, {listed} of them are listed: the others are not packed, "
            "and one that lacks transactions now will be refused; set DQM_SERVERS"
        )
    in_order = sorted(answers.items(), key=lambda pair: is_serving_primary(pair[1]))
    return Fit(tuple(in_order), tuple(faults), tuple(remarks))


def refuse(fit: Fit) -> None:
    """Raise `PackRefused` when there are faults."""
    if fit.faults:
        raise PackRefused(
            f"nothing was packed: {'; '.join(fit.faults)}; a replica that is down or behind when "
            "its primary is packed may be refused afterwards and need `dqm resync`: start it, or "
            "give --anyway"
        )


def pack_servers(
    settings: DatabaseSettings,
    fit: Fit,
    until: float,
    *,
    begin: Callable[[Address], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[PackedServer]:
    """Pack one server after the other, and yield what became of each.

    Parameters
    ----------
    settings
        How clients connect.
    fit
        From `look_at`.
    until : float
        Unix seconds.
    begin
        Called before each pack.
    stop
        Once it returns true no further server is packed.
    """
    for address, answer in fit.servers:
        if stop():
            return
        begin(address)
        role = answer.role or "server"
        of_server = settings.model_copy(update={"db_url": f"zeo://{address}"})
        try:
            with open_database(of_server) as database:
                gained = database.pack(until)
        except DQMError as error:
            yield PackedServer(address, role, error=error)
        else:
            yield PackedServer(address, role, gained)


def _because(answer: ServerAnswer) -> str:
    if answer.following in (None, "connected"):
        return ""
    return f" ({answer.following}{f': {answer.reason}' if answer.reason else ''})"
