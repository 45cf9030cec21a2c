"""The login of one server, from its settings: checked before it starts, opened after the fork."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import sys
from dataclasses import dataclass
from typing import Any, Self

from bokeh.settings import settings as bokeh_settings
from sqlalchemy.orm import Session
from tornado.httputil import HTTPServerRequest

from dqm_app.accounts import passwords, users
from dqm_app.accounts.accounts import Accounts
from dqm_app.accounts.opening import open_accounts, translated, upgrade
from dqm_app.accounts.settings import STARTED_BY, AccountSettings
from dqm_app.login.cookies import Cookies
from dqm_app.login.gate import Gate
from dqm_app.login.sockets import token_payload
from dqm_app.meters import Meters
from dqm_app.settings import SHORTEST_KEY
from dqm_db.errors import ConfigurationError
from dqm_db.settings import load

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoginOfServer:
    """Who may use a server.

    Attributes
    ----------
    settings : AccountSettings
    cookies : Cookies or None
        None: nobody logs in (``DQM_AUTH=none``).
    """

    settings: AccountSettings
    cookies: Cookies | None

    @classmethod
    def of_settings(cls) -> Self:
        """Read the settings, and bring the accounts up to date.

        Raises
        ------
        ConfigurationError
            Somebody started Bokeh's own server without saying who may use it, or nothing signs the
            cookies of its processes.
        AccountsUnavailable, NewerAccounts
        """
        settings = load(AccountSettings)
        if settings.auth == "none":
            return cls(settings, None)
        if STARTED_BY not in os.environ and not _has_auth_module():
            raise ConfigurationError(
                "nobody said who may use the dashboard: give `bokeh serve` the option "
                "--auth-module dqm_app/auth_module.py, or set DQM_AUTH=none where everybody who "
                "can connect may see everything"
            )
        if _option("--session-ids") not in (None, "signed"):
            raise ConfigurationError(
                "--session-ids would let users write the tokens of pages themselves: leave it out"
            )
        secret = bokeh_settings.secret_key()
        if not secret:
            raise ConfigurationError(
                "BOKEH_SECRET_KEY is not set: logins are signed with it; `bokeh secret` makes one, "
                "the same for all hosts of the dashboard"
            )
        if len(secret) < SHORTEST_KEY:
            raise ConfigurationError(
                f"BOKEH_SECRET_KEY has {len(secret)} characters: whoever has an account could find "
                f"it out from a cookie; take {SHORTEST_KEY} or more, `bokeh secret` makes some"
            )
        bokeh_settings.sign_sessions = True  # for `bokeh serve`, which reads it after this
        passwords.is_right(None, "")  # what is needed for that is computed once, before the fork
        bring_up_to_date(settings.url)
        return cls(settings, Cookies(secret.encode()))

    def open_gate(self, meters: Meters | None = None) -> Gate:
        """The gate of this process, which counts logins with *meters*."""
        if self.cookies is None:
            return Gate(None, None)
        return Gate(Accounts.open(self.settings), self.cookies, meters)

    def token_payload(self, request: HTTPServerRequest) -> dict[str, Any]:
        """What the token of a page says besides, see `dqm_app.login.sockets`."""
        return {} if self.cookies is None else token_payload(self.cookies.session(request))


@functools.cache
def bring_up_to_date(url: str) -> None:
    """Upgrade the accounts at *url*, and say if nobody has one; once, though Bokeh asks twice.

    Raises
    ------
    ConfigurationError, AccountsUnavailable, NewerAccounts
    """
    engine = open_accounts(url)
    try:
        upgrade(engine)
        with translated(engine), Session(engine) as session:
            if not users.exist(session):
                log.warning("nobody may log in yet: `dqm user add NAME --role admin`")
    finally:
        engine.dispose()


def _has_auth_module() -> bool:
    return _option("--auth-module") is not None or bool(bokeh_settings.auth_module())


def _option(name: str) -> str | None:
    """What was given to ``bokeh serve``; None without."""
    # Bokeh puts the application's own arguments into sys.argv while this is loaded
    for word, after in itertools.pairwise((*sys.orig_argv, "")):
        option, equals, value = word.partition("=")
        if option == name:
            return value if equals else after
    return None
