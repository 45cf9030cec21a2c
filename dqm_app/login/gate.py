"""Finds out who calls; one per process."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from tornado.web import HTTPError, RequestHandler

from dqm_app.accounts.accounts import HASHING_AT_ONCE, Accounts, Client, Refused
from dqm_app.accounts.audit import AGAIN_SECONDS, Event
from dqm_app.accounts.errors import AccountsUnavailable
from dqm_app.accounts.roles import Role
from dqm_app.accounts.sessions import SEEN_SECONDS
from dqm_app.accounts.tokens import Token
from dqm_app.accounts.users import User
from dqm_app.login.cookies import Cookies
from dqm_app.login.short_memory import ShortMemory
from dqm_app.login.visitors import ANYBODY, Visitor, bearer_of
from dqm_app.meters import Meters, NoMeters

if TYPE_CHECKING:
    from bokeh.server.auth_provider import AuthProvider
    from bokeh.server.tornado import BokehTornado

log = logging.getLogger(__name__)

T = TypeVar("T")
THREADS = 4
MOST_WAITING = 40
"""Passwords that one process has to check, or is checking: some seconds of work."""


class Gate:
    """Whether there are accounts, and who calls.

    Parameters
    ----------
    accounts : Accounts or None
        None: everybody may use the dashboard (``DQM_AUTH=none``).
    cookies : Cookies or None
        None without accounts.
    meters : Meters
        Counts logins; nothing is counted without.
    """

    def __init__(
        self, accounts: Accounts | None, cookies: Cookies | None, meters: Meters | None = None
    ) -> None:
        self.meters = meters or NoMeters()
        self.accounts = accounts
        self.cookies = cookies
        # apart: programs show what they like as a token, also the secret of a session
        self._browsers: ShortMemory[tuple[User, float]] = ShortMemory()
        self._programs: ShortMemory[tuple[User, Token]] = ShortMemory()
        self._nobody: ShortMemory[bool] = ShortMemory()
        self._touched: ShortMemory[bool] = ShortMemory(SEEN_SECONDS)
        self._noted: ShortMemory[bool] = ShortMemory(AGAIN_SECONDS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dqm-accounts")
        self._hashing = ThreadPoolExecutor(HASHING_AT_ONCE, thread_name_prefix="dqm-passwords")
        self._waiting = 0
        self._has_users = False  # users are never removed

    def close(self) -> None:
        """Stop the threads and close the database of accounts."""
        for threads in (self._threads, self._hashing):
            threads.shutdown(wait=False, cancel_futures=True)
        if self.accounts is not None:
            self.accounts.close()

    async def run(self, ask: Callable[..., T], *arguments: object, **named: object) -> T:
        """What *ask*, of `accounts`, returns; it waits in a thread.

        Raises
        ------
        AccountsUnavailable
        Exception
            Whatever *ask* raises.
        """
        work = functools.partial(ask, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def run_hashing(
        self, ask: Callable[..., T], *arguments: object, name: str, client: Client
    ) -> T | Refused:
        """The same for what checks the password of *name*, in threads of its own: it takes long.

        Whoever has to wait is refused before he stands in anybody's way.

        Raises
        ------
        HTTPError
            503: so many wait already that somebody must be flooding us.
        """
        if self.accounts is not None:
            wait = await self.run(self.accounts.wait, name, client)
            if wait > 0:
                return Refused(wait)
        if self._waiting >= MOST_WAITING:
            raise HTTPError(HTTPStatus.SERVICE_UNAVAILABLE)
        self._waiting += 1
        try:
            work = functools.partial(ask, *arguments, client)
            return await asyncio.get_running_loop().run_in_executor(self._hashing, work)
        finally:
            self._waiting -= 1

    async def has_users(self) -> bool:
        """Whether anybody has an account; once it is so, nobody is asked again.

        Also true while the accounts cannot be reached.
        """
        if self.accounts is None or self._has_users:
            return True
        if self._nobody.get("") is None:
            try:
                self._has_users = await self.run(self.accounts.has_users)
            except AccountsUnavailable as error:
                self.report(error)
                return True
            if not self._has_users:
                self._nobody.put("", True)
        return self._has_users

    async def visitor(self, handler: RequestHandler) -> Visitor | None:
        """Who calls *handler*; None: nobody that is known.

        A site may have given the server a way of its own (``--auth-module``): whom that knows may
        see everything, and nothing else.
        """
        if self.accounts is None or self.cookies is None:
            return ANYBODY
        other = foreign_provider(handler)
        if other is not None:
            found = other.get_user(handler) if other.get_user else None  # type: ignore[arg-type]
            if found is None and other.get_user_async:
                found = await other.get_user_async(handler)  # type: ignore[arg-type]
            return Visitor(None, Role.VIEWER) if found else None
        return await self.own_visitor(handler)

    async def own_visitor(self, handler: RequestHandler) -> Visitor | None:
        """The same by our own cookies and tokens."""
        if self.accounts is None or self.cookies is None:
            return ANYBODY
        shown = bearer_of(handler)
        if shown is not None:
            return await self._program(self.accounts, shown)
        secret = self.cookies.session(handler.request)
        return None if secret is None else await self.browser(secret)

    async def browser(self, secret: str) -> Visitor | None:
        """Who has logged in with *secret*; None when that has ended."""
        if self.accounts is None:
            return ANYBODY
        found = self._browsers.get(secret)
        if found is None:
            found = await self.run(self.accounts.owner, secret)
            if found is None:
                return None
            self._browsers.put(secret, found)
        user, ends = found
        if ends <= time.time():
            return None
        await self._touch(secret, self.accounts.touch, secret)
        return Visitor(user, user.role, secret=secret)

    @staticmethod
    def login_address(handler: RequestHandler) -> str:
        """Where whoever calls *handler* can log in."""
        other = foreign_provider(handler)
        if other is not None and other.get_login_url:
            return other.get_login_url(handler)  # type: ignore[arg-type]
        application: BokehTornado = handler.application  # type: ignore[assignment]
        path = "/login" if other is None else other.login_url
        return f"{application.prefix}{path}"

    def forget(self, secret: str | None = None) -> None:
        """A session, or somebody's and tokens, has ended in this process: ask again."""
        self._browsers.forget(secret)
        if secret is None:
            self._programs.forget()
            self._nobody.forget()

    async def note_once(
        self, accounts: Accounts, event: Event, user: User, client: Client, detail: str
    ) -> None:
        """Put it into the audit log, unless it is there; mostly the database is not asked."""
        key = "\0".join((event, user.name, client.address, detail))
        if self._noted.get(key) is None:
            await self.run(accounts.note_once, event, user, client, detail)
            self._noted.put(key, True)

    @staticmethod
    def report(error: Exception) -> None:
        """Log what somebody was not told."""
        log.error("%s", error)

    async def _program(self, accounts: Accounts, text: str) -> Visitor | None:
        found = self._programs.get(text)
        if found is None:
            found = await self.run(accounts.bearer, text)
            if found is None:
                return None
            self._programs.put(text, found)
        user, token = found
        if token.ends <= time.time():
            return None
        await self._touch(text, accounts.token_used, token)
        return Visitor(user, user.role, token=token)

    async def _touch(self, key: str, touch: Callable[..., None], what: object) -> None:
        if self._touched.get(key) is not None:
            return
        self._touched.put(key, True)
        try:
            await self.run(touch, what)
        except AccountsUnavailable as error:  # who was let in stays so
            log.warning("%s", error)


def foreign_provider(handler: RequestHandler) -> AuthProvider | None:
    """What the site gave to Bokeh in place of `dqm_app.login.provider`; None without."""
    application: BokehTornado = handler.application  # type: ignore[assignment]
    provider = application.auth_provider
    if not (provider.get_user or provider.get_user_async):
        return None
    ours = getattr(provider.get_user_async, "__module__", "") == "dqm_app.login.provider"
    return None if ours else provider
