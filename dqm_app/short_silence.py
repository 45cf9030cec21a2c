"""A server that is silent for a moment, such as one that is restarted, is no alarm yet.

Who asks but once, as ``dqm status``, cannot know; a dashboard process asks again and again.
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import replace

from dqm_db.status.model import PRIMARY, Item, Level, SystemStatus
from dqm_db.status.server_rules import worst_first

GRACE_SECONDS = 5.0
"""For so long after the first question to which there was no answer."""

_DATABASE = ""  # what can be silent besides servers, which have addresses


class ShortSilences:
    """Remembers since when there is no answer.

    Attributes
    ----------
    is_one : bool
        Whether something is silent that may answer again in a moment.
    """

    def __init__(self) -> None:
        self.is_one = False
        self._since: dict[str, float] | None = None

    def forgive(
        self,
        status: SystemStatus,
        primary: str,
        *,
        is_readable: bool,
        asked: float,
        now: float,
    ) -> SystemStatus:
        """*status*, in which a silence that has just begun is a warning.

        What was silent from the start is not forgiven: nobody knows whether it ever answered.

        Parameters
        ----------
        status
            As it was judged.
        primary
            Address of the primary that was found last.
        is_readable
            False while the database does not answer; one that answers what cannot be read does.
        asked, now
            When the questions were asked, and when all had been answered or given up; seconds of a
            clock that nobody sets.
        """
        silent = {server.address for server in status.servers if server.answer is None}
        if not is_readable:
            silent.add(_DATABASE)
        begins = -math.inf if self._since is None else asked
        known = self._since or {}
        self._since = {name: known.get(name, begins) for name in silent}
        forgiven = {name for name, since in self._since.items() if now - since < GRACE_SECONDS}
        self.is_one = bool(forgiven)
        if not forgiven:
            return status
        without = not any(server.role == PRIMARY for server in status.servers)
        is_primary = without and primary in forgiven  # else there are two, or it was lost before
        items = (
            replace(item, level=Level.WARNING)
            if item.level is Level.CRITICAL and _is_about(item, forgiven, is_primary)
            else item
            for item in status.items
        )
        return replace(status, items=worst_first(items))


def _is_about(item: Item, silent: Set[str], primary_is_silent: bool) -> bool:
    if item.key == "server-answers":
        return item.subject in silent
    if item.key == "database":
        return _DATABASE in silent
    return item.key == "primary" and primary_is_silent
