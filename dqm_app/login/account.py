"""The page of a user: password, browsers, tokens; for an admin also what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar
from urllib.parse import urlencode

from tornado.web import HTTPError

from dqm_app.accounts import sessions
from dqm_app.accounts.accounts import Accounts, Refused
from dqm_app.accounts.errors import WeakPassword
from dqm_app.accounts.roles import Role
from dqm_app.accounts.tokens import LONGEST_DAYS, Scope
from dqm_app.accounts.users import User
from dqm_app.login.access import Access
from dqm_app.login.pages import CHANGED, FormPage, in_words

ENTRIES = 100
"""Of the log, on the page; ``dqm user log`` prints all."""
SCOPE_WORDS = {
    Scope.READ: "read the API",
    Scope.DOWNLOAD: "take files away",
    Scope.METRICS: "read /metrics",
}


@dataclass(frozen=True, slots=True)
class WantedToken:
    """What is in the form of a new token; typed again by nobody whose password was wrong."""

    label: str = ""
    days: str = "90"
    scopes: Sequence[str] = (Scope.READ,)


class OfAccount(FormPage):
    """What the page of an account and its forms share."""

    access: ClassVar[Access] = Access.VIEWER
    is_page: ClassVar[bool] = True

    async def show_account(
        self,
        *,
        done: str = "",
        fault: str = "",
        secret: str = "",
        wanted: WantedToken | None = None,
    ) -> None:
        """Show it with what was just done, or why not."""
        if fault and self.get_status() == HTTPStatus.OK:
            self.set_status(HTTPStatus.BAD_REQUEST)
        accounts, user = self.account()
        is_admin = user.role >= Role.ADMIN
        run = self.gate.run
        this = None if self.visitor is None else self.visitor.secret
        self.show(
            "account.html",
            user=user,
            sessions=await run(accounts.sessions_of, user),
            this="" if this is None else sessions.number(this),
            tokens=await run(accounts.tokens_of, user),
            scopes=[scope for scope in Scope if user.role >= scope.needs],
            scope_words=SCOPE_WORDS,
            entries=await run(accounts.entries, most=ENTRIES) if is_admin else None,
            done=done,
            fault=fault,
            secret=secret,
            wanted=wanted or WantedToken(),
        )

    async def show_ended(self, ended: bool, done: str, fault: str) -> None:
        """Show it when a login or token has ended, or says that it had before."""
        self.gate.forget()
        await self.show_account(done=done if ended else "", fault="" if ended else fault)

    async def show_refused(self, refused: Refused, wanted: WantedToken | None = None) -> None:
        """Show it without what was asked for: the password was wrong, or not looked at."""
        if refused.wait > 0:
            self.set_wait(refused.wait)
            fault = f"Too many attempts: try again in {in_words(refused.wait)}."
        else:
            self.set_status(HTTPStatus.FORBIDDEN)
            fault = "This is not your password; nothing was changed."
        await self.show_account(fault=fault, wanted=wanted)

    def account(self) -> tuple[Accounts, User]:
        """The accounts, and whose page this is; raises `HTTPError` 404 where there are none."""
        accounts, visitor = self.gate.accounts, self.visitor
        if accounts is None or visitor is None or visitor.user is None:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        return accounts, visitor.user


class AccountPage(OfAccount):
    """Shows the account of whoever calls."""

    async def get(self) -> None:
        """Show it."""
        await self.show_account()


class EndSession(OfAccount):
    """Logs another browser of the user out."""

    async def post(self) -> None:
        """End the session with that number."""
        accounts, user = self.account()
        ended = await self.gate.run(accounts.end_session, user, self.field("number"), self.client)
        await self.show_ended(
            ended, "That browser is logged out.", "That browser was logged out already."
        )


class ChangePassword(OfAccount):
    """Gives the user another password."""

    async def post(self) -> None:
        """Change it, and lead to the login, which says so."""
        accounts, user = self.account()
        old, new = self.field("old"), self.field("new")
        if new != self.field("again"):
            await self.show_account(fault="Not changed: the new password was typed in two ways.")
            return
        try:
            done = await self.gate.run_hashing(
                accounts.change_password,
                *(user, old, new),
                name=user.name,
                client=self.client_as(user.name),
            )
        except WeakPassword as error:
            await self.show_account(fault=f"Not changed: {error}.")
            return
        if isinstance(done, Refused):
            await self.show_refused(done)
            return
        self.gate.forget()
        if self.gate.cookies is not None:
            self.gate.cookies.clear_session(self)
        query = urlencode({CHANGED: done.tokens})
        self.redirect(f"{self.application.prefix}/login?{query}", status=HTTPStatus.SEE_OTHER)


class CreateToken(OfAccount):
    """Makes a token, and shows it once."""

    async def post(self) -> None:
        """Make it."""
        accounts, user = self.account()
        wanted = WantedToken(
            self.field("label"), self.field("days"), self.get_body_arguments("scope")
        )
        try:
            made = await self.gate.run_hashing(
                accounts.create_token,
                user,
                self.field("password"),
                wanted.label,
                _scopes(wanted.scopes),
                _days(wanted.days),
                name=user.name,
                client=self.client_as(user.name),
            )
        except ValueError as error:
            await self.show_account(fault=f"No token was made: {error}.", wanted=wanted)
            return
        if isinstance(made, Refused):
            await self.show_refused(made, wanted)
            return
        text, token = made
        await self.show_account(
            done=f"The token {token.label!r} is shown only now; keep it like a password:",
            secret=text,
        )


class RevokeToken(OfAccount):
    """Ends a token of the user."""

    async def post(self) -> None:
        """End it."""
        accounts, user = self.account()
        revoked = await self.gate.run(accounts.revoke_token, user, self.field("token"), self.client)
        await self.show_ended(
            revoked, "The token does not work any more.", "There is no such token any more."
        )


def _scopes(words: Sequence[str]) -> list[Scope]:
    if not words or not set(words) <= set(Scope):
        raise ValueError("tick what the token may do")
    return [Scope(word) for word in words]


def _days(word: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise ValueError(
            f"the days until it ends are a number, {LONGEST_DAYS:.0f} at most"
        ) from error
