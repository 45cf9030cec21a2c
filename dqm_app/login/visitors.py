"""Whoever calls, and what a request says of him."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import RequestHandler

from dqm_app.accounts.accounts import Client
from dqm_app.accounts.roles import Role
from dqm_app.accounts.tokens import Scope, Token
from dqm_app.accounts.users import User


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who calls.

    Attributes
    ----------
    user : User or None
        None where there are no accounts: everybody may use the dashboard.
    role : Role
    secret : str or None
        Of the session, when a browser calls.
    token : Token or None
        When a program calls.
    """

    user: User | None
    role: Role
    secret: str | None = None
    token: Token | None = None

    @property
    def name(self) -> str:
        """As it is shown, and in the audit log."""
        return "" if self.user is None else self.user.name

    def may(self, needed: Role | None, scope: Scope | None) -> bool:
        """Whether this is enough where a role is *needed*, if any; programs then need *scope*."""
        if needed is None:
            return True
        if self.token is not None and (scope is None or scope not in self.token.scopes):
            return False
        return self.role >= needed


ANYBODY = Visitor(None, Role.ADMIN)
"""Whoever calls a dashboard without accounts."""


def bearer_of(handler: RequestHandler) -> str | None:
    """The token that whoever calls shows, however bad; None: no token at all.

    Other schemes are not for us: a browser adds ``Authorization: Basic …`` to whatever it asks of a
    host with such a lock before it.
    """
    scheme, _, shown = handler.request.headers.get("Authorization", "").partition(" ")
    return shown.strip() if scheme.casefold() == "bearer" else None  # RFC 9110, 11.1


def client_of(handler: RequestHandler) -> Client:
    """The address and browser that *handler* answers; no device, since no name is known yet."""
    browser = handler.request.headers.get("User-Agent", "")
    return Client(handler.request.remote_ip or "", browser)
