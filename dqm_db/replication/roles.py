"""What a server is, by its command line and its ``volume.json``, and the epochs that begin or end.

``volume.json`` counts more than the command line: a server that was promoted stays primary when
its unit file still says ``dqm replica``. What it leaves to be done is done here, once, before the
storage is served; each step can be repeated, so that a start which was cut short is finished by
the next.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dqm_db.peers import ask_servers
from dqm_db.replication.addresses import Address
from dqm_db.replication.configuration import REPLICATION_ADDRESS
from dqm_db.replication.errors import Fenced, RoleContradiction
from dqm_db.replication.fencing import highest_epoch, require_alone, require_highest
from dqm_db.server_answers import ServerAnswer
from dqm_db.settings import ServerSettings
from dqm_db.volume.fence import DEMOTED, SERVING, Fence
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import PRIMARY, REPLICA, VolumeState

logger = logging.getLogger(__name__)

PATIENCE = 1.5
"""Seconds for other servers to answer at a start; `FenceWatch` asks the slow ones again."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a server is to be.

    Attributes
    ----------
    settings : ServerSettings
        With its addresses.
    source : str or None
        HOST:PORT that it follows; None for a primary.
    notice : str
        What to tell when this is not what the command line says; else empty.
    """

    settings: ServerSettings
    source: str | None
    notice: str = ""


def assigned(settings: ServerSettings, source: str | None, state: VolumeState) -> Assignment:
    """What the server of a volume in *state* is, when it was started to follow *source*.

    Raises
    ------
    RoleContradiction
        A primary cannot begin without its files.
    """
    path = Volume(settings.data_dir).state
    if state.set_aside and (state.role == PRIMARY or (state.role is None and source is None)):
        raise RoleContradiction(
            f"{path} says that the files of this replica are to be set aside ({state.why}), but it "
            "is started as primary: start it with `dqm replica`, or remove that file to serve "
            "the files as they are"
        )
    started_as = PRIMARY if source is None else REPLICA
    if state.role is not None and (state.role != started_as or settings.zrs_address is None):
        feeds_at = state.feeds_at or settings.zrs_address
        if feeds_at is None and source is None:  # a demoted primary goes on feeding its replicas
            feeds_at = REPLICATION_ADDRESS
        settings = settings.model_copy(update={"zrs_address": feeds_at})
    if state.role == PRIMARY and source is not None:
        return Assignment(
            settings,
            None,
            f"this server was started as a replica of {source}, but it SERVES AS PRIMARY: "
            f"{path} says so ({state.why}); start it with `dqm primary` from now on",
        )
    if state.role == REPLICA and state.source != source:
        as_what = "as primary" if source is None else f"as a replica of {source}"
        return Assignment(
            settings,
            state.source,
            f"this server was started {as_what}, but it FOLLOWS {state.source}: {path} says so "
            f"({state.why}); start it with `dqm replica --from {state.source}` from now on",
        )
    return Assignment(settings, source)


def require_agreement(volume: Volume, state: VolumeState, source: Address | None) -> None:
    """Refuse a ``zeo.conf`` that says otherwise than ``volume.json``.

    Parameters
    ----------
    volume, state
        Where ``volume.json`` is, and what it says.
    source
        What ``replicate-from`` says.

    Raises
    ------
    RoleContradiction
    """
    says = f"{volume.state} says otherwise than {volume.configuration}"
    hint = "start the server with `dqm primary` or `dqm replica`, which write zeo.conf anew"
    if state.set_aside:
        raise RoleContradiction(f"{says}: its files are to be set aside first; {hint}")
    if state.role == PRIMARY and source is not None:
        raise RoleContradiction(f"{says}: it is a primary; {hint}")
    if state.role == REPLICA and str(source).lower() != str(state.source).lower():  # as ZConfig
        raise RoleContradiction(f"{says}: it follows {state.source}; {hint}")


def settle_epoch(
    files: Any, volume: Volume, state: VolumeState, servers: tuple[Address, ...], *, primary: bool
) -> Fence:
    """Do with the fence what *state* wants, before anybody is served; the fence as it is then.

    Parameters
    ----------
    files
        The open FileStorage.
    volume, state
        Where ``volume.json`` is, and what it says.
    servers
        Where clients connect to the servers of the database.
    primary
        Whether this server is to be the primary.

    Raises
    ------
    Fenced
        Another server was promoted, so that this one cannot serve as primary.
    DamagedFence
        The fence cannot be read or written.
    """
    fence = Fence.of_storage(files)
    if primary:
        return _begin(files, volume, state, fence, ask_servers(servers, PATIENCE))
    if state.demote:
        highest = highest_epoch(ask_servers(servers, PATIENCE))
        if highest > fence.epoch:
            logger.warning("another server is in epoch %d already: it is only followed", highest)
        elif fence.state == SERVING:
            fence = _write(files, replace(_fence(state, DEMOTED), epoch=fence.epoch, state=DEMOTED))
        _forget(volume, state)
    return fence


def _begin(
    files: Any,
    volume: Volume,
    state: VolumeState,
    fence: Fence,
    answers: Mapping[Address, ServerAnswer],
) -> Fence:
    """Let this server be the primary, in a new epoch if *state* wants one."""
    reason = state.begin_epoch
    if reason is not None and (fence.at, fence.reason) != (float(state.at), reason):
        require_alone(answers)
        epoch = max(fence.epoch, state.after_epoch, highest_epoch(answers)) + 1
        fence = _write(files, replace(_fence(state, reason), epoch=epoch))
    if reason is not None:
        _forget(volume, state)
    require_alone(answers, since=fence.epoch)
    require_highest(fence.epoch, answers)
    if fence.state == DEMOTED:
        raise Fenced(
            f"the database in {volume.root} was demoted by {fence.host}, so that another server "
            "can be promoted: let this one follow that (`dqm demote --follow HOST:PORT`), or make "
            "it the primary again (`dqm promote`)"
        )
    return fence


def _fence(state: VolumeState, reason: str) -> Fence:
    return Fence(host=socket.gethostname(), at=float(state.at), reason=reason)


def _write(files: Any, fence: Fence) -> Fence:
    fence.write(files)
    logger.warning("epoch %d: %s (%s)", fence.epoch, fence.state, fence.reason)
    return fence


def _forget(volume: Volume, done: VolumeState) -> None:
    """Take from ``volume.json`` what is *done*, unless something else was decided meanwhile."""
    if VolumeState.read(volume) == done:
        replace(done, begin_epoch=None, after_epoch=0, demote=False).write(volume)
