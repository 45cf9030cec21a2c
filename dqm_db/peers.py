"""Asks the servers of a database what they are, from code that does not wait for anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dqm_db.errors import DatabaseUnavailable
from dqm_db.replication.addresses import Address
from dqm_db.server_answers import ServerAnswer, ask_status
from dqm_db.settings import DatabaseSettings, SystemSettings, load
from dqm_db.urls import zeo_addresses

PATIENCE = 3.0
"""Seconds for a server to answer; one that is there does so at once."""


def configured_servers() -> tuple[Address, ...]:
    """The servers of ``DQM_SERVERS``; none when it is not set.

    Raises
    ------
    ConfigurationError
        One is not HOST:PORT.
    """
    servers = load(SystemSettings).servers
    return tuple(dict.fromkeys(Address.parse(server, "DQM_SERVERS") for server in servers))


def known_servers() -> tuple[Address, ...]:
    """The servers of ``DQM_SERVERS``, else of ``DQM_DB_URL``.

    Raises
    ------
    ConfigurationError
        One is not HOST:PORT.
    """
    url = load(DatabaseSettings).db_url
    if (found := configured_servers()) or not url.startswith("zeo://"):
        return found
    return tuple(dict.fromkeys(Address(*address) for address in zeo_addresses(url)))


def ask_servers(
    addresses: Iterable[Address], patience: float = PATIENCE
) -> dict[Address, ServerAnswer]:
    """What those of the servers that answer within *patience* seconds say, all asked at once."""

    async def ask(address: Address) -> tuple[Address, ServerAnswer] | None:
        try:
            return address, await ask_status(*address, patience)
        except DatabaseUnavailable:
            return None  # it is left out: whoever asks knows whom he asked

    async def ask_all() -> dict[Address, ServerAnswer]:
        return dict(filter(None, await asyncio.gather(*map(ask, addresses))))

    return asyncio.run(ask_all())


def is_serving_primary(answer: ServerAnswer) -> bool:
    """Whether it accepts writes, as far as it says; older releases tell no more than the role."""
    return answer.role == "primary" and answer.fence_state != "demoted"
