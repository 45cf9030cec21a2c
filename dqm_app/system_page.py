"""What the page about the system shows, as JSON: the same for all sessions of a process.

It is the document of ``dqm status --json`` (`dqm_db.status.document`), and ``dashboard``: which
servers this dashboard reads, and where it runs. Each server has besides

``answered``
    When it answered last, Unix seconds; null: not since this process was started.
``before``
    What it said then, for one that is silent now; null: nothing, or it is not silent.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dqm_db.settings import DatabaseSettings
from dqm_db.status.document import document
from dqm_db.status.model import Level, SystemStatus
from dqm_db.urls import zeo_addresses

_NOTHING_YET = "null"


@dataclass(frozen=True, slots=True)
class Alarm:
    """What every page says of a system in which something is critical.

    Attributes
    ----------
    title : str
        The worst thing in a few words.
    subject : str
        The server that it is about; empty: the whole system.
    count : int
        How many things are critical.
    """

    title: str
    subject: str
    count: int

    def sign(self) -> dict[str, Any]:
        """For JSON."""
        return {"title": self.title, "subject": self.subject, "count": self.count}


@dataclass(frozen=True, slots=True)
class _Heard:
    told: dict[str, Any]
    at: float


class SystemPage:
    """Makes the document of the newest status, once for all who want it.

    Parameters
    ----------
    reads : sequence of str
        Addresses of the servers that the dashboard reads; none when it reads a file.

    Attributes
    ----------
    alarm : Alarm or None
        None: nothing is critical, or nothing is known yet.
    """

    def __init__(self, reads: Sequence[str] = ()) -> None:
        self.alarm: Alarm | None = None
        self._reads = tuple(reads)
        self._heard: dict[str, _Heard] = {}
        self._status: SystemStatus | None = None
        self._text: str | None = _NOTHING_YET

    @classmethod
    def of(cls, settings: DatabaseSettings) -> SystemPage:
        """For a dashboard that reads ``settings.db_url``.

        Raises
        ------
        ConfigurationError
            The URL names something that is no server.
        """
        url = settings.db_url
        servers = zeo_addresses(url) if url.startswith("zeo://") else []
        return cls([str(server) for server in servers])

    def renew(self, status: SystemStatus) -> bool:
        """Take over *status*; whether the alarm is another one."""
        self._status, self._text = status, None
        told = document(status)
        for server in told["servers"]:
            if server["answers"]:
                self._heard[server["address"]] = _Heard(server, status.at)
        critical = [item for item in status.items if item.level is Level.CRITICAL]
        worst = critical[0] if critical else None
        alarm = None if worst is None else Alarm(worst.title, worst.subject, len(critical))
        changed = alarm != self.alarm
        self.alarm = alarm
        return changed

    @property
    def text(self) -> str:
        """The document; ``null`` before anything was collected."""
        if self._text is None and self._status is not None:
            self._text = json.dumps(self._document(self._status))
        return self._text or _NOTHING_YET

    def _document(self, status: SystemStatus) -> dict[str, Any]:
        told = document(status)
        for server in told["servers"]:
            heard = self._heard.get(server["address"])
            server["answered"] = None if heard is None else heard.at
            server["before"] = None if heard is None or server["answers"] else heard.told
        told["dashboard"] = {"reads": list(self._reads), "host": socket.gethostname()}
        return told
