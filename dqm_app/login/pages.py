"""The page to log in on, and logging out."""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import Any, ClassVar

from tornado.web import HTTPError

from dqm_app.accounts.accounts import Client, Refused
from dqm_app.accounts.errors import AccountsUnavailable
from dqm_app.login.access import SAFE_METHODS, Access, Guarded
from dqm_app.login.next import is_within
from dqm_app.login.rendering import UNREACHABLE, finish_with
from dqm_app.meters import LoginResult

LONGEST_FIELD = 1000
"""Characters of what is typed; nobody's name or password has more."""
CHANGED = "changed"
"""Leads to the page to log in on after another password: how many tokens have ended with the old
one."""


class FormPage(Guarded):
    """A page of its own, without Bokeh, that works without scripts."""

    def show(self, template: str, **values: Any) -> None:
        """Answer with a page."""
        finish_with(self, template, xsrf=self.xsrf_token.decode("ascii"), **values)

    def field(self, name: str) -> str:
        """What was typed into a field of the form; raises `HTTPError` 400 when it is too long."""
        value = self.get_body_argument(name, "", strip=False)
        if len(value) > LONGEST_FIELD:
            raise HTTPError(HTTPStatus.BAD_REQUEST)
        return value

    def set_wait(self, seconds: float) -> None:
        """Answer that there were too many attempts, and when another one may be made."""
        self.set_status(HTTPStatus.TOO_MANY_REQUESTS)
        self.set_header("Retry-After", str(math.ceil(seconds)))

    def client_as(self, name: str) -> Client:
        """From where this call comes, and as which known browser of the user *name*."""
        seen = self.client
        cookies = self.gate.cookies
        device = None if cookies is None else cookies.device(self.request, name)
        return Client(seen.address, seen.browser, device)


class LoginPage(FormPage):
    """Asks for name and password; leads to where the user wanted to go."""

    access: ClassVar[Access] = Access.OPEN
    greets: ClassVar[bool] = True
    _unreachable: bool = False

    async def prepare(self) -> None:
        """There is no such page where nobody needs to log in."""
        try:
            await super().prepare()
        except AccountsUnavailable as error:
            self.gate.report(error)
            self._unreachable = True
            if self.request.method not in SAFE_METHODS:
                self.check_xsrf_cookie()
        if self.gate.accounts is None:
            raise HTTPError(HTTPStatus.NOT_FOUND)

    async def get(self) -> None:
        """Show the form; who has logged in already is led on."""
        if self.visitor is not None:
            self.redirect(self._next())
            return
        if self._unreachable:
            self.set_unreachable()
            await self._show(fault=UNREACHABLE)
            return
        await self._show()

    head = get

    async def post(self) -> None:
        """Check name and password."""
        gate, cookies = self.gate, self.gate.cookies
        if gate.accounts is None or cookies is None:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        name, password = self.field("name"), self.field("password")
        try:
            answer = await gate.run_hashing(
                gate.accounts.login, name, password, name=name, client=self.client_as(name)
            )
        except AccountsUnavailable as error:
            gate.report(error)
            gate.meters.login(LoginResult.UNREACHABLE)
            self.set_unreachable()
            await self._show(name, UNREACHABLE)
            return
        if isinstance(answer, Refused):
            if answer.wait > 0:
                gate.meters.login(LoginResult.REFUSED)
                self.set_wait(answer.wait)
                await self._show(name, f"Too many attempts: try again in {in_words(answer.wait)}.")
            else:
                gate.meters.login(LoginResult.WRONG)
                self.set_status(HTTPStatus.FORBIDDEN)
                await self._show(
                    name, "This name and password do not fit, or the account is disabled."
                )
            return
        gate.meters.login(LoginResult.RIGHT)
        # a session that was there before is another one: nobody can have planted the new one
        cookies.set_session(self, answer.secret, answer.ends)
        cookies.remember_device(self, answer.user.name)
        self.redirect(self._next(), status=HTTPStatus.SEE_OTHER)

    def _next(self) -> str:
        wanted = self.get_argument("next", "")
        return wanted if is_within(wanted) else f"{self.application.prefix}/"

    def _changed(self) -> int | None:
        tokens = self.get_query_argument(CHANGED, "")
        return int(tokens) if re.fullmatch(r"[0-9]{1,4}", tokens) else None

    async def _show(self, name: str = "", fault: str = "") -> None:
        wanted = self.get_argument("next", "")
        cookies = self.gate.cookies
        self.show(
            "login.html",
            name=name,
            fault=fault,
            next=wanted if is_within(wanted) else "",
            nobody=not await self.gate.has_users(),
            ended=cookies is not None and cookies.session(self.request) is not None,
            changed=self._changed(),
        )


class Logout(FormPage):
    """Ends the session of this browser; asked for by a form, so that no link can do it."""

    access: ClassVar[Access] = Access.OPEN
    greets: ClassVar[bool] = True

    async def get(self) -> None:
        """Lead to the page with the button."""
        self.redirect(f"{self.application.prefix}/account")

    head = get

    async def post(self) -> None:
        """Log out, here or everywhere."""
        gate, visitor = self.gate, self.visitor
        everywhere = self.get_body_argument("everywhere", "") == "yes"
        if gate.accounts is not None and visitor is not None and visitor.user is not None:
            if everywhere:
                await gate.run(gate.accounts.logout_everywhere, visitor.user, self.client)
                gate.forget()
            elif visitor.secret is not None:
                await gate.run(gate.accounts.logout, visitor.secret, visitor.user, self.client)
                gate.forget(visitor.secret)
        if gate.cookies is not None:
            gate.cookies.clear_session(self)
        self.redirect(f"{self.application.prefix}/login", status=HTTPStatus.SEE_OTHER)


def in_words(seconds: float) -> str:
    """How long that is, rounded up."""
    if seconds <= 90:
        whole = math.ceil(seconds)
        return f"{whole} second{'s' if whole != 1 else ''}"
    return f"{math.ceil(seconds / 60)} minutes"
