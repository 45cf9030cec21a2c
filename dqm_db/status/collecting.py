"""Asks all servers of a database how they are, and reads what the database says of itself."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from dqm_db.errors import DatabaseUnavailable, DQMError, NoDataYet
from dqm_db.peers import known_servers
from dqm_db.replication.addresses import Address
from dqm_db.server_answers import ServerAnswer, ask_status, transaction_time
from dqm_db.settings import DatabaseSettings, SystemSettings, WatchSettings, load
from dqm_db.status.missing import bytes_after
from dqm_db.status.model import PRIMARY, REPLICA, DatabaseFacts, OwnCertificate, ServerStatus
from dqm_db.storage import open_database
from dqm_db.tls import TLSFiles, client_context

AT_ONCE = 16
"""Servers that are asked at the same time."""
ON_ITS_WAY = 3.0
"""Seconds for which a replica that has not got all yet is asked again: a commit may be on its way,
or the replica about to connect again."""
AGAIN = 0.5
"""Seconds between two such questions."""
NOTHING_KNOWN: Mapping[bytes, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Servers:
    """Whom to ask, and how.

    Attributes
    ----------
    addresses : tuple of Address
        Where clients connect.
    primary : Address or None
        The one that the settings call the primary; what servers say of themselves counts more.
    patience : float
        Seconds within which one must have answered.
    tls : ssl.SSLContext or None
    certificate : OwnCertificate or None
        What `tls` was made of; None without TLS.
    """

    addresses: tuple[Address, ...]
    primary: Address | None
    patience: float
    tls: ssl.SSLContext | None = None
    certificate: OwnCertificate | None = None

    @classmethod
    def of(cls, database: DatabaseSettings, watch: WatchSettings) -> Servers:
        """Those of ``DQM_SERVERS``, else of ``DQM_DB_URL`` and ``DQM_PRIMARY_ZEO``.

        Raises
        ------
        ConfigurationError
            An address cannot be understood, or the certificates cannot be used.
        """
        system = load(SystemSettings)
        found = known_servers(database)
        if watch.primary is not None and not system.servers:  # which may call it otherwise
            found = tuple(dict.fromkeys([*found, watch.primary]))
        tls, certificate = client_context(system), None
        files = TLSFiles.of(system)
        if found and files is not None:
            ends = files.expires()
            certificate = OwnCertificate(
                socket.gethostname(),
                str(files.certificate),
                ends[files.certificate],
                str(files.ca),
                ends[files.ca],
            )
        return cls(found, watch.primary, database.db_patience, tls, certificate)


NO_SERVERS = Servers((), None, 1.0)
"""Of a database that is read without a server."""


async def ask_servers(servers: Servers) -> tuple[ServerStatus, ...]:
    """All of them, at the same time; one that does not answer is one that has an error."""
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(address: Address) -> ServerStatus:
        async with places:
            try:
                answer = await ask_status(*address, servers.patience, servers.tls)
            except DatabaseUnavailable as error:
                return ServerStatus(str(address), error=said_of_it(address, str(error)))
        return ServerStatus(
            str(address),
            answer,
            role=answer.role,
            transaction_time=transaction_time(answer.last_transaction),
        )

    asked = await asyncio.gather(*map(ask, servers.addresses))
    found = with_roles(without_second_names(asked), servers.primary)
    primary = primary_of(found)
    if primary is None or primary.answer is None:
        return tuple(found)
    had = primary.answer.last_transaction
    began = time.monotonic()
    while (behind := _behind(found, had)) and time.monotonic() < began + ON_ITS_WAY:
        await asyncio.sleep(AGAIN)
        again = await asyncio.gather(*(ask(_where(found[number])) for number in behind))
        for number, server in zip(behind, again, strict=True):
            found[number] = replace(server, role=server.role or found[number].role)
    missing: dict[bytes, int] = {}
    if behind and primary.answer.is_ours:
        tids = set(behind.values())
        missing = await asyncio.to_thread(
            bytes_after, _where(primary), tids, servers.patience, servers.tls
        )
    clock = primary.answer.now
    now = time.time() if clock is None else clock + time.monotonic() - began
    return tuple(with_lag(server, primary.answer, now, missing) for server in found)


def said_of_it(address: Address, error: str) -> str:
    """*error* of the server at *address* without the address, which stands beside it already."""
    for name in (str(address), f"{address.host}:{address.port}"):  # of IPv6 without brackets, too
        if error.startswith(f"{name}: "):
            return error.removeprefix(f"{name}: ")
        if error.startswith(f"{name} "):
            return "It " + error.removeprefix(f"{name} ")
        if error.startswith(f"what answers at {name} "):
            return error.replace(f"what answers at {name} ", "What answers there ", 1)
    return error


def without_second_names(found: Sequence[ServerStatus]) -> list[ServerStatus]:
    """*found*, with those left out that are another one under another name.

    The settings may call a server by its name here and by its number there. One that was started
    on the same host in the same microsecond is the same; it would be a second primary otherwise.
    """
    known: set[tuple[str, float]] = set()
    unique = []
    for server in found:
        answer = server.answer
        if answer is not None and answer.host is not None and answer.started is not None:
            identity = (answer.host, answer.started)
            if identity in known:
                continue
            known.add(identity)
        unique.append(server)
    return unique


def _where(server: ServerStatus) -> Address:
    return Address.read(server.address, "a server")


def _behind(found: Sequence[ServerStatus], had: bytes) -> dict[int, bytes]:
    """The numbers of those that lack the transaction *had*, with their last one."""
    return {
        number: server.answer.last_transaction
        for number, server in enumerate(found)
        if server.answer is not None and server.answer.last_transaction < had
    }


def with_roles(found: Sequence[ServerStatus], primary: Address | None) -> list[ServerStatus]:
    """*found*; where none says that it is the primary, the one that the settings call so is.

    Servers of stock ZEO, or of an older release, do not tell their role.
    """
    told = any(server.role == PRIMARY for server in found)
    if told or primary is None or str(primary) not in {server.address for server in found}:
        return list(found)
    return [
        replace(server, role=PRIMARY if server.address == str(primary) else REPLICA)
        if server.answer is not None and server.role is None
        else server
        for server in found
    ]


def primary_of(found: Sequence[ServerStatus]) -> ServerStatus | None:
    """The primary that answers; of several the one with the highest epoch, which writers use."""
    primaries = [server for server in found if server.role == PRIMARY and server.answer is not None]
    return max(
        primaries,
        key=lambda server: (
            (server.answer.epoch or 0, server.answer.last_transaction)
            if server.answer is not None
            else (0, b"")
        ),
        default=None,
    )


def with_lag(
    server: ServerStatus,
    primary: ServerAnswer,
    now: float,
    missing: Mapping[bytes, int] = NOTHING_KNOWN,
) -> ServerStatus:
    """*server* with how far it is behind what *primary* had when it was asked.

    *now* is a Unix time by the clock of the primary, as transactions have them. What follows its
    last transaction on the primary is taken from *missing* if it is there.

    How long something has been missing is not known to who asks but once. The age of the last
    transaction that is there is the most that it can be.
    """
    answer = server.answer
    if answer is None:
        return server
    if answer.last_transaction >= primary.last_transaction:
        return replace(server, lag_seconds=0.0, lag_bytes=0)
    has = server.transaction_time
    lacks = transaction_time(primary.last_transaction)
    since = lacks if has is None else has  # an empty replica lacks everything
    return replace(
        server,
        lag_seconds=None if since is None else max(0.0, now - since),
        lag_bytes=missing.get(answer.last_transaction, _difference(answer, primary)),
    )


def _difference(replica: ServerAnswer, primary: ServerAnswer) -> int | None:
    """The difference of the files, which is what is missing unless one of them was packed."""
    if replica.packed is not None or primary.packed is not None:
        return None
    if replica.file_bytes is None or primary.file_bytes is None:
        return None
    return max(0, primary.file_bytes - replica.file_bytes)


def facts_of_whichever_answers(
    database: DatabaseSettings, found: Sequence[ServerStatus]
) -> tuple[DatabaseFacts | None, DQMError | None]:
    """What the database says of itself, or None and why it cannot be read.

    Parameters
    ----------
    database
        What to read where there are no servers; what is no server's is read from there, too.
    found
        Servers; of those that answer, the one with the newest transactions is asked first.
    """
    urls = [database.db_url]
    if found and database.db_url.startswith("zeo://"):
        answering = [(one.answer.last_transaction, one) for one in found if one.answer is not None]
        answering.sort(key=lambda pair: pair[0], reverse=True)
        urls = [f"zeo://{server.address}" for _, server in answering]
    error: DQMError = DatabaseUnavailable("no server answers")
    for url in urls:
        try:
            return _facts(database.model_copy(update={"db_url": url})), None
        except DQMError as failed:
            error = failed
    return None, error


def _facts(settings: DatabaseSettings) -> DatabaseFacts:
    try:
        with open_database(settings) as database, database.snapshot() as snapshot:
            return DatabaseFacts.read(snapshot)
    except NoDataYet:  # an empty one is a good one
        return DatabaseFacts()
