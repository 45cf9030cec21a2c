"""The servers of a database: which there are, what they say, and where to write.

For code that waits for the answers; what serves pages or monitors asks by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dqm_db.errors import DatabaseUnavailable, ReadOnlyDatabase
from dqm_db.replication.addresses import Address
from dqm_db.server_answers import ServerAnswer, ask_status
from dqm_db.settings import DatabaseSettings, SystemSettings, load
from dqm_db.tls import client_context
from dqm_db.urls import shown, zeo_addresses

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


def named_servers(text: str, option: str) -> tuple[Address, ...]:
    """The servers in *text*, separated by commas, as an *option* of a command names them.

    Raises
    ------
    ConfigurationError
        One is not HOST:PORT.
    """
    named = (part.strip() for part in text.split(","))
    return tuple(dict.fromkeys(Address.parse(one, option) for one in named if one))


def known_servers(settings: DatabaseSettings | None = None) -> tuple[Address, ...]:
    """The servers of ``DQM_SERVERS``, else those that *settings* (``DQM_DB_URL``) name.

    Raises
    ------
    ConfigurationError
        One is not HOST:PORT.
    """
    url = (settings or load(DatabaseSettings)).db_url
    if (found := configured_servers()) or not url.startswith("zeo://"):
        return found
    return tuple(dict.fromkeys(zeo_addresses(url)))


def ask_servers(
    addresses: Iterable[Address], patience: float = PATIENCE
) -> dict[Address, ServerAnswer]:
    """What those of the servers that answer within *patience* seconds say, all asked at once.

    Raises
    ------
    ConfigurationError
        The certificates cannot be used.
    """
    return {
        address: said
        for address, said in ask_each_server(addresses, patience).items()
        if isinstance(said, ServerAnswer)
    }


def ask_each_server(
    addresses: Iterable[Address], patience: float
) -> dict[Address, ServerAnswer | DatabaseUnavailable]:
    """What each of the servers says within *patience* seconds, or why it does not.

    Raises
    ------
    ConfigurationError
        The certificates cannot be used.
    """
    asked = tuple(addresses)
    tls = client_context(load(SystemSettings))

    async def ask(address: Address) -> ServerAnswer | DatabaseUnavailable:
        try:
            return await ask_status(*address, patience, tls)
        except DatabaseUnavailable as error:
            return error

    async def ask_all() -> list[ServerAnswer | DatabaseUnavailable]:
        return await asyncio.gather(*map(ask, asked))

    # As asyncio.run, which would also wait for the name of a host that is still looked up.
    loop = asyncio.new_event_loop()
    try:
        return dict(zip(asked, loop.run_until_complete(ask_all()), strict=True))
    finally:
        loop.close()


def is_serving_primary(answer: ServerAnswer) -> bool:
    """Whether it accepts writes, as far as it says; older releases tell no more than the role."""
    return answer.role == "primary" and answer.fence_state != "demoted"


def only_where_to_write(settings: DatabaseSettings) -> DatabaseSettings:
    """*settings* with no servers in ``db_url`` but the primary of the highest epoch that answers.

    A former primary that came back, or has not heard that another server was promoted, would still
    accept what then nobody ever sees. Where there is one server only, nothing is asked.

    Raises
    ------
    DatabaseUnavailable
        Only servers of an older epoch answer at ``db_url``.
    ReadOnlyDatabase
        There is no primary, or more than one.
    ConfigurationError
        ``DQM_SERVERS`` or the certificates cannot be used.
    """
    if not settings.db_url.startswith("zeo://"):
        return settings
    given = zeo_addresses(settings.db_url)
    everyone = dict.fromkeys([*given, *configured_servers()])
    if len(everyone) == 1:
        return settings
    answers = ask_servers(everyone)
    highest = max((answer.epoch or 0 for answer in answers.values()), default=0)
    current = {
        address: answers[address]
        for address in given
        if address in answers and (answers[address].epoch or 0) == highest
    }
    if not current:
        if highest == 0:
            return settings  # nobody answers; opening says so
        raise DatabaseUnavailable(
            f"{shown(settings.db_url)}: no server of epoch {highest} answers there, and one of an "
            "older epoch is not written to; give the address of today's primary in DQM_DB_URL"
        )
    primaries = {
        address: answer for address, answer in current.items() if is_serving_primary(answer)
    }
    if len({(answer.host, answer.started) for answer in primaries.values()}) > 1:
        raise ReadOnlyDatabase(
            f"there is more than one primary in epoch {highest}: "
            f"{', '.join(map(str, primaries))}; stop all but one, and `dqm demote` them"
        )
    if not primaries and all(answer.role is not None for answer in current.values()):
        elsewhere = [
            address
            for address, answer in answers.items()
            if is_serving_primary(answer) and (answer.epoch or 0) == highest
        ]
        raise ReadOnlyDatabase(
            f"{shown(settings.db_url)} accepts no writes: it is a replica, or demoted; "
            + (
                f"the primary is at {' and '.join(map(str, elsewhere))}: give that in DQM_DB_URL"
                if elsewhere
                else "no primary answers: start it, or promote a replica (`dqm promote`)"
            )
        )
    chosen = primaries or current
    return settings.model_copy(update={"db_url": f"zeo://{','.join(map(str, chosen))}"})
