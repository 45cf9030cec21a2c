"""``dqm user …``: who may use the dashboard."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy.orm import Session

from dqm_app.accounts import audit, sessions, throttle, tokens, users
from dqm_app.accounts.audit import Event
from dqm_app.accounts.backing_up import copy_accounts
from dqm_app.accounts.opening import open_accounts, translated, upgrade
from dqm_app.accounts.roles import Role
from dqm_app.accounts.sessions import Lifetime
from dqm_app.accounts.settings import AccountSettings
from dqm_app.accounts.throttle import Counter
from dqm_app.accounts.tokens import LONGEST_DAYS, Scope
from dqm_app.accounts.users import User
from dqm_db.settings import load
from dqm_db.status.words import utc, utc_minute

ROLE = click.Choice([role.word for role in Role])
PASSWORD_FROM_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the standard input, one line."
)


@contextmanager
def _writing() -> Iterator[Session]:
    engine = open_accounts(load(AccountSettings).url)
    try:
        upgrade(engine)
        with translated(engine), Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


def _note(session: Session, event: Event, name: str, detail: str = "") -> None:
    audit.note(session, event, name, detail=detail, actor=audit.HOST + _typist())


def _typist() -> str:
    """Who types this, also through ``sudo``."""
    by_sudo = os.environ.get("SUDO_USER")
    if by_sudo:
        return by_sudo
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may know no name for it
        return str(os.getuid())


def _password(from_stdin: bool) -> str:
    if from_stdin:
        try:
            return sys.stdin.readline().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise click.UsageError("the password on the standard input is not UTF-8") from error
    return click.prompt("Password", hide_input=True, confirmation_prompt=True)


@click.group()
def user() -> None:
    """Say who may use the dashboard.

    A viewer sees all pages and reads the API, an expert also takes files away, an admin also sees
    what was done under which name. What is changed holds within seconds on all hosts of the
    dashboard.
    """


@user.command()
@click.argument("name")
@click.option("--role", type=ROLE, default=Role.VIEWER.word, show_default=True, help="May do what.")
@PASSWORD_FROM_STDIN
def add(name: str, role: str, password_stdin: bool) -> None:
    """Let NAME log in; the password is asked for."""
    password = _password(password_stdin)
    with _writing() as session:
        added = users.add(session, name, password, Role.of(role))
        _note(session, Event.USER_ADDED, added.name, role)
    click.echo(f"{added.name} may log in as {role}")


@user.command("list")
def list_() -> None:
    """List all users."""
    with _writing() as session:
        found = users.everybody(session)
    for one in found:
        created = datetime.fromtimestamp(one.created, UTC).date()
        state = "disabled" if one.disabled else ""
        click.echo(f"{one.name:<24} {one.role.word:<8} {created} {state}".rstrip())
    if not found:
        click.echo("dqm: nobody may log in yet: `dqm user add NAME --role admin`", err=True)


@user.command()
@click.argument("name")
@PASSWORD_FROM_STDIN
def passwd(name: str, password_stdin: bool) -> None:
    """Give NAME another password, log all browsers of NAME out, and end all tokens of NAME."""
    password = _password(password_stdin)
    with _writing() as session:
        shut = users.set_password(session, name, password)
        # whoever guessed, guessed another one; the user need not wait for that
        throttle.forgive(session, [Counter.of_name(shut.user.name)])
        _note(session, Event.PASSWORD_CHANGED, shut.user.name, shut.words)
    click.echo(f"{shut.user.name} has another password ({shut.words})")


@user.command()
@click.argument("name")
@click.argument("role", type=ROLE)
def role(name: str, role: str) -> None:
    """Let NAME do more, or less."""
    with _writing() as session:
        changed, before = users.set_role(session, name, Role.of(role))
        _note(session, Event.USER_ROLE, changed.name, f"{before.word} → {role}")
    click.echo(f"{changed.name} is {role} now")


@user.command()
@click.argument("name")
@click.option("--undo", is_flag=True, help="Let NAME in again, with the old password.")
def disable(name: str, undo: bool) -> None:
    """Log NAME out everywhere, end all tokens of NAME, and let NAME not in again."""
    with _writing() as session:
        if undo:
            changed, event, detail = users.enable(session, name), Event.USER_ENABLED, ""
        else:
            shut = users.disable(session, name)
            changed, event, detail = shut.user, Event.USER_DISABLED, shut.words
        _note(session, event, changed.name, detail)
    more = f" ({detail})" if detail else ""
    click.echo(f"{changed.name} may {'' if undo else 'not '}log in{more}")


@user.command()
@click.argument("name")
@click.option("--label", required=True, help="What it is for, e.g. the name of a notebook.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    default=[Scope.READ.value],
    show_default=True,
    help="What it may be used for; may be repeated.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, LONGEST_DAYS, min_open=True),
    default=90.0,
    show_default=True,
    help="How long it lasts.",
)
def token(name: str, label: str, scopes: tuple[str, ...], days: float) -> None:
    """Make a token with which a program acts as NAME; it is printed once."""
    with _writing() as session:
        row = users.required(session, name)
        try:
            text, made = tokens.create(session, User.of(row), label, map(Scope, scopes), days)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        _note(session, Event.TOKEN_CREATED, row.name, made.words)
    click.echo(text)


@user.command()
@click.argument("token")
def revoke(token: str) -> None:
    """End TOKEN: its id, or as much of the token as was found; whose it is need not be known."""
    with _writing() as session:
        owner, revoked = tokens.revoke_found(session, token)
        detail = f"{revoked.id} {revoked.label}"
        _note(session, Event.TOKEN_REVOKED, owner.name, detail)
    click.echo(f"the token {revoked.label!r} ({revoked.id}) of {owner.name} does not work any more")


@user.command()
@click.argument("name")
def logout(name: str) -> None:
    """Log NAME out in all browsers; the password, and tokens, go on working."""
    with _writing() as session:
        found = User.of(users.required(session, name))
        ended = sessions.end_all(session, found.id)
        detail = f"{ended} sessions"
        _note(session, Event.LOGOUT_EVERYWHERE, found.name, detail)
    click.echo(f"{found.name} is logged out everywhere (browsers: {ended})")


@user.command()
@click.argument("name")
def show(name: str) -> None:
    """Say where NAME is logged in, and which tokens NAME has."""
    settings = load(AccountSettings)
    with _writing() as session:
        found = User.of(users.required(session, name))
        browsers = sessions.of_user(session, found.id, Lifetime.of(settings))
        programs = tokens.of_user(session, found.id)
    click.echo(f"{found.name} is {found.role.word}{', and disabled' if found.disabled else ''}")
    click.echo(f"browsers: {len(browsers)}" + (", last used (UTC)" if browsers else ""))
    for one in browsers:
        click.echo(
            f"  {utc_minute(one.seen)}  since {utc_minute(one.began)}  {one.address}  {one.browser}"
        )
    click.echo(f"tokens: {len(programs)}" + (", made (UTC)" if programs else ""))
    for token in programs:
        used = f"last used {utc_minute(token.used)}" if token.used else "never used"
        click.echo(
            f"  {utc_minute(token.created)}  {token.id}  {token.label}: "
            f"{' '.join(sorted(token.scopes))}, {used}, ends {utc_minute(token.ends)}"
        )


@user.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--keep",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Copies that there are in the end; earlier ones become FILE.1, FILE.2 and so on.",
)
def backup(file: Path, keep: int) -> None:
    """Copy the accounts into FILE, also while the dashboard uses them.

    For accounts in a file; those on a database server are copied with its own tool.
    """
    copy_accounts(load(AccountSettings).url, file, keep)
    click.echo(f"the accounts are copied to {file}")


@user.command()
@click.argument("name", required=False)
@click.option("-n", "most", type=click.IntRange(1, 10_000), default=50, show_default=True)
def log(name: str | None, most: int) -> None:
    """Print what was done, by NAME or by everybody, the newest last."""
    with _writing() as session:
        known = None if name is None else users.required(session, name).name
        entries = audit.read(session, name=known, most=most)
    for entry in reversed(entries):
        by = f"by {entry.actor}" if entry.actor not in ("", entry.name) else ""
        # what browsers and users write themselves comes last, where it can pass for nothing else
        words = (utc(entry.at), entry.name, entry.event, by, entry.address, entry.detail)
        click.echo("  ".join(word for word in words if word))
