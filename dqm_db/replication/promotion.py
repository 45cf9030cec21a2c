"""Whether a server may be promoted or demoted, by what it and the other servers say."""

from __future__ import annotations

from collections.abc import Mapping

from dqm_db.peers import is_serving_primary
from dqm_db.replication.addresses import Address
from dqm_db.replication.errors import RoleRefused
from dqm_db.replication.fencing import highest_epoch
from dqm_db.replication.local_server import LocalServer
from dqm_db.server_answers import NO_TRANSACTION, ServerAnswer
from dqm_db.volume.fence import DEMOTED, SERVING
from dqm_db.volume.state import PRIMARY

OLD_PRIMARY_IS_OFF = "--old-primary-is-off"


def others(
    server: LocalServer, answers: Mapping[Address, ServerAnswer]
) -> dict[Address, ServerAnswer]:
    """*answers* without that of *server* itself, under whichever name it was asked."""

    def is_itself(address: Address, answer: ServerAnswer) -> bool:
        own = server.answer
        if own is None:
            return False  # it does not run, so it has not answered
        return address == server.address or (
            own.started is not None and (answer.host, answer.started) == (own.host, own.started)
        )

    return {
        address: answer for address, answer in answers.items() if not is_itself(address, answer)
    }


def is_primary_already(server: LocalServer) -> bool:
    """Whether there is nothing to promote."""
    return (
        server.role == PRIMARY
        and server.fence_state == SERVING
        and server.state.begin_epoch is None
        and not server.state.demote
    )


def require_promotable(
    server: LocalServer,
    answers: Mapping[Address, ServerAnswer],
    *,
    old_primary_is_off: bool,
    source_is_on: bool,
) -> None:
    """Refuse a promotion that could lose transactions, or leave two primaries.

    Parameters
    ----------
    server
        The one to promote.
    answers
        What the other servers say, by address.
    old_primary_is_off
        Somebody has made sure of that.
    source_is_on
        Whether something accepts connections where *server* gets its transactions from.

    Raises
    ------
    RoleRefused
    """
    epoch = server.epoch
    if server.state.set_aside:
        raise RoleRefused(
            f"{server.volume.state} says that the files of this replica are to be set aside (`dqm "
            "resync`): start it, and let it get its new copy first"
        )
    if server.last_transaction == NO_TRANSACTION:
        raise RoleRefused(f"{server.volume.data_file} holds nothing that could be served")
    for address, answer in answers.items():
        if is_serving_primary(answer):
            raise RoleRefused(
                f"{address} answers as the primary, in epoch {answer.epoch or 0}: demote it first "
                f"(`dqm demote --follow {server.feeds_at or 'HOST:PORT'}` on its host), or stop it "
                f"and say {OLD_PRIMARY_IS_OFF}"
            )
    if (highest := highest_epoch(answers)) > epoch:
        raise RoleRefused(
            f"another server is in epoch {highest} already, this one in {epoch}: it lacks what was "
            "written since a promotion; let it catch up, or promote the other one"
        )
    for address, answer in answers.items():
        if (answer.epoch or 0) == epoch and answer.last_transaction > server.last_transaction:
            raise RoleRefused(
                f"{address} has transactions that are not here: the last one is "
                f"{answer.last_transaction.hex()} there and {server.last_transaction.hex()} here; "
                "wait until this replica has them (`dqm status`), or promote that server"
            )
    if server.fence_state == DEMOTED:
        return
    if not old_primary_is_off:
        raise RoleRefused(
            "the primary was not demoted, or this replica has not heard of it: `dqm demote "
            f"--follow {server.feeds_at or 'HOST:PORT'}` on the primary's host comes first, and "
            "loses nothing. Only when the primary is off for good, or until it is told to follow "
            f"this one: `dqm promote {OLD_PRIMARY_IS_OFF}`"
        )
    if source_is_on:
        raise RoleRefused(
            f"{OLD_PRIMARY_IS_OFF} was said, but {server.source}, which this replica follows, "
            "accepts connections: stop it, or, when it is a replica itself, promote that one"
        )


def require_followable(server: LocalServer, successor: Address) -> None:
    """Refuse to let *server* follow itself.

    Raises
    ------
    RoleRefused
    """
    if successor in (server.feeds_at, server.address):
        raise RoleRefused(
            f"{successor} is an address of this server itself: give the one where the server "
            "that is to be the primary listens for replicas"
        )
