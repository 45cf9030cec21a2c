"""Keeps a primary from serving once another server of the database has a higher epoch."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Mapping

from dqm_db.peers import ask_servers, is_serving_primary
from dqm_db.replication.addresses import Address
from dqm_db.replication.errors import Fenced
from dqm_db.replication.identity import Identity, ServerIdentity
from dqm_db.server_answers import ServerAnswer

logger = logging.getLogger(__name__)

ASKED_EVERY = 3.0
"""Seconds between two looks at the other servers."""


def highest_epoch(answers: Mapping[Address, ServerAnswer]) -> int:
    """The highest epoch of servers that tell one; 0 when none does."""
    return max((answer.epoch or 0 for answer in answers.values()), default=0)


def require_highest(epoch: int, answers: Mapping[Address, ServerAnswer]) -> None:
    """Refuse that a database of *epoch* is served as primary beside servers that gave *answers*.

    Raises
    ------
    Fenced
        One has a higher epoch.
    """
    for address, answer in answers.items():
        if (answer.epoch or 0) > epoch:
            raise Fenced(
                f"the {answer.role or 'server'} at {address} has epoch {answer.epoch}, this "
                f"database {epoch}: another server was promoted, or this database restored. "
                "`dqm demote --follow HOST:PORT` lets it follow the primary of today; if this is "
                f"the one to keep, `dqm resync` what runs at {address} first"
            )


def require_alone(answers: Mapping[Address, ServerAnswer], since: int = 0) -> None:
    """Refuse to begin to serve as primary beside servers that gave *answers*.

    Parameters
    ----------
    answers
        By address.
    since
        Lowest epoch of those that count: one of a lower epoch than ours will end by itself.

    Raises
    ------
    Fenced
        One of them serves as primary.
    """
    for address, answer in answers.items():
        if is_serving_primary(answer) and (answer.epoch or 0) >= since:
            raise Fenced(
                f"{address} serves as primary already, in epoch {answer.epoch or 0}: there can "
                "only be one; stop or demote it, or let this server follow (`dqm demote --follow "
                "HOST:PORT`), or take it out of DQM_SERVERS when it serves another database"
            )


def require_only(own: ServerIdentity, answers: Mapping[Address, ServerAnswer]) -> str:
    """Refuse to go on beside another primary of the same epoch that was there before.

    Two that were both forced to be primary are in the same epoch. The one whose epoch was begun
    first goes on; of two copies of one volume, that which was started first.

    Returns
    -------
    str
        What to say of others that will end; empty when there are none.

    Raises
    ------
    Fenced
        This one is the later one.
    """
    later = []
    for address, answer in answers.items():
        is_own = (answer.host, answer.started) == (own.host, own.started)
        if is_own or not is_serving_primary(answer) or (answer.epoch or 0) != own.epoch:
            continue
        theirs = (answer.fence_at or 0.0, answer.started or 0.0, answer.host or "")
        if theirs < (own.fence_at, own.started, own.host):
            raise Fenced(
                f"{address} serves as primary in epoch {own.epoch}, too, and has for longer: there "
                "can only be one, so this server ends. `dqm demote --follow HOST:PORT` lets it "
                f"follow; if this is the one to keep, stop what runs at {address} first"
            )
        later.append(str(address))
    if not later:
        return ""
    return (
        f"{' and '.join(later)} also serves as primary in epoch {own.epoch}: it ends by itself "
        "when it asks this server (DQM_SERVERS); else stop it, and let it follow with `dqm demote`"
    )


class FenceWatch:
    """Asks the other servers now and then; ends this one when it is not the primary any more.

    Parameters
    ----------
    identity
        What this server is.
    servers
        Where clients connect to all servers; this one may be among them.
    """

    def __init__(self, identity: Identity, servers: tuple[Address, ...]) -> None:
        self._identity = identity
        self._servers = servers
        self._stopping = threading.Event()
        self.fenced: Fenced | None = None
        """Why the server was ended, once it was."""
        self._thread = threading.Thread(target=self._run, name="fence", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; returns when nothing is asked any more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        fault = warned = ""  # of the last look, to be logged once
        while not self._stopping.wait(ASKED_EVERY):
            try:
                answers, own = ask_servers(self._servers), self._identity.now()
                require_highest(own.epoch, answers)
                warning = require_only(own, answers)
                if warning and warning != warned:
                    logger.error("%s", warning)
                fault, warned = "", warning
            except Fenced as error:
                logger.critical("%s", error)
                self.fenced = error
                os.kill(os.getpid(), signal.SIGTERM)  # ends ZEO's loop, in order
                return
            except Exception as error:
                # An accident here must not end the watch: without it, nobody ends this server.
                if fault != str(error):
                    fault = str(error)
                    logger.exception("cannot ask the other servers for their epoch")
