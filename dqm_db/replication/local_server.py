"""The server of a volume on this host, as a command sees it that changes what the server is."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.FileStorage.format import CorruptedError

from dqm_db.errors import DatabaseUnavailable
from dqm_db.peers import ask_servers
from dqm_db.replication.addresses import Address
from dqm_db.replication.errors import RoleNotTaken, RoleRefused
from dqm_db.server_answers import NO_TRANSACTION, ServerAnswer
from dqm_db.volume.errors import DamagedData
from dqm_db.volume.fence import Fence
from dqm_db.volume.holder import is_alive, is_held, server_of
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import PRIMARY, REPLICA, VolumeState
from dqm_db.volume.transactions import last_transaction

ANSWERS_WITHIN = 15.0
"""Patience in seconds with a server that runs: it may just be starting."""
CHANGES_WITHIN = 120.0
"""Patience in seconds with a server that changes: it sends what replicas lack, and opens again."""
LOOKED_EVERY = 0.2

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (what is listened at, and asked)


@dataclass(frozen=True, slots=True)
class LocalServer:
    """What the server of a volume is, whether it runs or not.

    Attributes
    ----------
    volume : Volume
    state : VolumeState
    address : Address
        Where its clients connect.
    feeds_at, source : Address or None
        Where replicas connect to it, and whom it follows, as it was started last.
    answer : ServerAnswer or None
        What it says; None when it does not run.
    epoch : int
    fence_state : str
    last_transaction : bytes
        Its tid, 8 bytes.
    """

    volume: Volume
    state: VolumeState
    address: Address
    feeds_at: Address | None
    source: Address | None
    answer: ServerAnswer | None
    epoch: int
    fence_state: str
    last_transaction: bytes

    @property
    def role(self) -> str:
        """What it is, or will be when it is started as it was last."""
        if self.answer is not None and self.answer.role is not None:
            return self.answer.role
        return self.state.role or (PRIMARY if self.source is None else REPLICA)

    @classmethod
    def of(cls, volume: Volume, *, look: bool = True) -> LocalServer:
        """Look at the server of *volume*.

        Parameters
        ----------
        volume
            Where one ran at least once.
        look
            Into the file of one that does not run; else epoch and last transaction are those of
            an empty database.

        Raises
        ------
        RoleRefused
            No server ever ran there.
        DatabaseUnavailable
            One runs, but it does not answer.
        DataInUse, DataUnwritable, DamagedData, DamagedVolumeState, DamagedFence
            The volume cannot be looked at.
        """
        state = VolumeState.read(volume)
        told = _configuration(volume)
        address = told["address"]
        answer = None
        if is_held(volume):
            answer = _wait_for_answer(volume, address)
        if answer is not None:
            fence = Fence(answer.epoch or 0, answer.fence_state or Fence().state)
            last = answer.last_transaction
        else:
            fence, last = _look(volume) if look else (Fence(), NO_TRANSACTION)
        return cls(
            volume,
            state,
            address,
            told.get("replicate-to"),
            told.get("replicate-from"),
            answer,
            fence.epoch,
            fence.state,
            last,
        )

    def become(
        self, state: VolumeState, done: Callable[[ServerAnswer], bool]
    ) -> ServerAnswer | None:
        """Write *state*, and let a running server begin anew with it.

        Parameters
        ----------
        state
            For ``volume.json``.
        done
            Whether the server's answer shows it.

        Returns
        -------
        ServerAnswer or None
            That answer; None when no server runs, so that it happens at its next start.

        Raises
        ------
        RoleNotTaken
            It is written, but the server does not show it.
        """
        state.write(self.volume)
        if not is_held(self.volume):
            return None
        pid = server_of(self.volume)
        if pid is None:
            raise RoleNotTaken(
                f"{self.volume.state} is written, but the server that has the volume open cannot "
                "be told from here: it belongs to another user or container; restart it"
            )
        os.kill(pid, signal.SIGHUP)
        end = time.monotonic() + CHANGES_WITHIN
        while time.monotonic() < end:
            answer = ask_server(self.address)
            if answer is not None and done(answer):
                return answer
            if not is_alive(pid):
                raise RoleNotTaken(
                    f"{self.volume.state} is written, but the server (process {pid}) has ended "
                    "instead of beginning anew: its log says why; its next start goes on"
                )
            time.sleep(LOOKED_EVERY)
        raise RoleNotTaken(
            f"{self.volume.state} is written, but the server (process {pid}) does not show it "
            f"within {CHANGES_WITHIN:g} s: look at its log, or restart it"
        )


def ask_server(address: Address) -> ServerAnswer | None:
    """What the server at *address* says; None when it does not answer."""
    return ask_servers([address]).get(address)


def _configuration(volume: Volume) -> dict[str, Address]:
    """The addresses in ``zeo.conf``: ``address``, ``replicate-to``, ``replicate-from``."""
    try:
        text = volume.configuration.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RoleRefused(
            f"no server ever ran on {volume.root}: there is no {volume.configuration.name}; give "
            "the server's --data-dir (DQM_DATA_DIR)"
        ) from None
    found = re.findall(r"^\s*(address|replicate-to|replicate-from)\s+(\S.*?)\s*$", text, re.M)
    told = {
        key: Address.read(value.replace("$$", "$"), str(volume.configuration))
        for key, value in found
    }
    if "address" not in told:
        raise RoleRefused(f"{volume.configuration} names no address of clients")
    host, port = told["address"]
    told["address"] = Address(_EVERYWHERE.get(host, host), port)
    return told


def _wait_for_answer(volume: Volume, address: Address) -> ServerAnswer | None:
    """The answer of the server that holds *volume*; None when it has ended meanwhile."""
    end = time.monotonic() + ANSWERS_WITHIN
    while (answer := ask_server(address)) is None:
        if not is_held(volume):
            return None
        if time.monotonic() > end:
            raise DatabaseUnavailable(
                f"a process has {volume.data_file} open, but no server answers at {address}: when "
                "it is another command, wait for it; when it is a server, look at its log"
            )
        time.sleep(LOOKED_EVERY)
    return answer


def _look(volume: Volume) -> tuple[Fence, bytes]:
    """The fence and the last tid in the file of a server that does not run."""
    if not volume.data_file.exists():
        return Fence(), NO_TRANSACTION
    with volume.locked():
        try:
            storage = FileStorage(str(volume.data_file), read_only=True)
        except (FileStorageError, CorruptedError) as error:
            raise DamagedData(
                f"{volume.data_file} is damaged ({type(error).__name__}: {error}): restore it, or "
                "`dqm resync` when it is a replica's"
            ) from error
        try:
            return Fence.of_storage(storage), last_transaction(storage._file, storage._pos)
        finally:
            storage.close()
