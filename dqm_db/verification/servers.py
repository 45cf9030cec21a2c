"""Sides that are running servers, asked through ZEO; they compute, we only compare."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected

from dqm_db.errors import DatabaseUnavailable
from dqm_db.replication.addresses import Address
from dqm_db.settings import DatabaseSettings, SystemSettings, load
from dqm_db.tls import client_context
from dqm_db.verification.sides import before
from dqm_db.volume.digest_wire import MOST_OIDS, from_plain, of_bytes
from dqm_db.volume.digests import TransactionDigest
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.transactions import NO_TRANSACTION
from dqm_db.watchdog import Watchdog

PIECE_BYTES = 1 << 25
"""Bytes that a server reads for one answer."""

CACHE_BYTES = 1 << 20
"""Of ZEO's cache, which is not used here."""


@dataclass(frozen=True, slots=True)
class _Piece:
    transactions: list[TransactionDigest]
    complete: bool
    broken: str | None


class ServerSide:
    """A running server.

    Parameters
    ----------
    address
        Where its clients connect.
    settings
        How long to wait for it.

    Raises
    ------
    DatabaseUnavailable
        It does not answer, or is no server of this release.
    """

    def __init__(self, address: Address, settings: DatabaseSettings) -> None:
        self.name = str(address)
        self._resources = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self._resources)
            with self._answering():
                self._storage = ClientStorage(
                    tuple(address),
                    read_only=True,
                    wait=True,
                    wait_timeout=settings.db_wait,
                    cache_size=CACHE_BYTES,
                    ssl=client_context(load(SystemSettings)),
                )
            self._resources.callback(self._storage.close)
            self._resources.callback(Watchdog(self._storage, settings.db_patience).stop)
            self._ahead = ThreadPoolExecutor(1, thread_name_prefix="asking for digests")
            self._resources.callback(self._ahead.shutdown)
            self.last = self._storage.lastTransaction()
            self.packed_until(self.last)  # whether it knows our methods at all
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def transactions(
        self, after: bytes, detailed_until: bytes = NO_TRANSACTION
    ) -> Iterator[TransactionDigest]:
        """See `Side`; the next piece is being read while one is looked at."""
        coming = self._ahead.submit(self._piece, after, detailed_until, PIECE_BYTES)
        while True:
            piece = coming.result()
            more = not piece.complete and piece.broken is None and piece.transactions
            if more:
                last = piece.transactions[-1].tid
                coming = self._ahead.submit(self._piece, last, detailed_until, PIECE_BYTES)
            yield from piece.transactions
            if piece.broken is not None:
                raise DamagedData(f"{self.name}: {piece.broken}")
            if not more:
                return

    def packed_until(self, after: bytes) -> bytes:
        """See `Side`."""
        answer = self._call("dqm_packed_until", after)
        try:
            return of_bytes(answer, 8)
        except ValueError as error:
            raise self._misunderstood(error) from error

    def one(self, tid: bytes) -> TransactionDigest | None:
        """See `Side`."""
        found = self._piece(before(tid), tid, 0).transactions
        return found[0] if found and found[0].tid == tid else None

    def current(self, oids: Sequence[bytes]) -> Sequence[bytes]:
        """See `Side`."""
        return self._ids("dqm_current", oids)

    def reachable(self, oids: Sequence[bytes]) -> Collection[bytes]:
        """See `Side`."""
        return set(self._ids("dqm_reachable", oids))

    def _ids(self, method: str, oids: Sequence[bytes]) -> list[bytes]:
        found: list[bytes] = []
        for first in range(0, len(oids), MOST_OIDS):
            answer = self._call(method, list(oids[first : first + MOST_OIDS]))
            try:
                found += [of_bytes(one) for one in answer]
            except (TypeError, ValueError) as error:
                raise self._misunderstood(error) from error
        return found

    def _piece(self, after: bytes, detailed_until: bytes, size: int) -> _Piece:
        answer = self._call("dqm_digests", after, size, detailed_until)
        try:
            broken = answer["broken"]
            return _Piece(
                [from_plain(one) for one in answer["transactions"]],
                bool(answer["complete"]),
                None if broken is None else str(broken),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._misunderstood(error) from error

    def _misunderstood(self, error: Exception) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"{self.name} answers in another form ({error}): use the same release on all hosts"
        )

    def _call(self, method: str, *arguments: Any) -> Any:
        with self._answering():
            return self._storage._call(method, *arguments)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except ClientDisconnected as error:
            raise DatabaseUnavailable(
                f"{self.name} does not answer ({error or 'it hung up'}): is it running, and a "
                "server of this release?"
            ) from error
