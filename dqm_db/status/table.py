"""The status for people, in a terminal or a mail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from dqm_db.server_answers import NO_TRANSACTION, ServerAnswer
from dqm_db.status.model import DatabaseFacts, Item, Level, ServerStatus, SystemStatus
from dqm_db.status.words import duration, size, utc

STYLES: Mapping[Level, str] = MappingProxyType(
    {
        Level.OK: "green",
        Level.UNKNOWN: "cyan",
        Level.WARNING: "yellow",
        Level.CRITICAL: "bold red",
    }
)
NOT_KNOWN = "–"


def console() -> Console:
    """Where it is printed: fitted to a terminal; nothing is cut or wrapped where there is none."""
    found = Console(highlight=False, markup=False)
    if not found.is_terminal:
        found = Console(highlight=False, markup=False, width=10_000)
    return found


def table(status: SystemStatus) -> RenderableType:
    """All of it: servers, what is wrong, what is fine."""
    summary = Text.assemble(
        ("System: ", "bold"),
        (str(status.level), STYLES[status.level]),
        f", {utc(status.at)} UTC",
    )
    parts: list[RenderableType] = [summary]
    if status.servers:
        parts += ["", _servers(status)]
    fine = [item for item in status.items if item.level is Level.OK and not item.subject]
    wrong = [item for item in status.items if item.level is not Level.OK]
    for items in (wrong, fine):
        if items:
            parts += ["", _items(items)]
    if status.database is not None:
        parts += ["", Text(_counts(status.database))]
    return Group(*parts)


def _servers(status: SystemStatus) -> Table:
    """A column per server, which fits a terminal better than a row."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("", no_wrap=True)
    for server in status.servers:
        shown.add_column(server.address, overflow="fold")
    levels = [status.level_of(server.address) for server in status.servers]
    shown.add_row("state", *(Text(str(level), STYLES[level]) for level in levels))
    columns = [_facts(server) for server in status.servers]
    for name in columns[0]:
        cells = [column[name] for column in columns]
        if any(cell != NOT_KNOWN for cell in cells):
            shown.add_row(name, *cells)
    return shown


def _facts(server: ServerStatus) -> dict[str, str]:
    answer = server.answer or ServerAnswer(NO_TRANSACTION)
    disk = NOT_KNOWN
    if answer.disk_free is not None and answer.disk_total:
        disk = f"{size(answer.disk_free)} ({answer.disk_free / answer.disk_total:.0%})"
    follows = NOT_KNOWN
    if answer.source is not None:
        follows = f"{answer.source} ({answer.following or 'unknown'})"
    role = "unknown" if server.answer else "does not answer"
    return {
        "role": server.role or role,
        "epoch": _known(answer.epoch),
        "last transaction, UTC": _known(server.transaction_time, utc),
        "lag": _lag(server),
        "follows": follows,
        "clients": _known(answer.clients),
        "Data.fs": _known(answer.file_bytes, size),
        "blobs": _known(answer.blob_bytes, size),
        "disk left": disk,
        "started, UTC": _known(answer.started, utc),
        "certificate ends, UTC": _known(answer.certificate_expires, utc),
        "release": answer.versions.get("nectarcam-dqm", NOT_KNOWN),
        "host": answer.host or NOT_KNOWN,
    }


def _known(value: float | None, shown: Callable[[float], str] = str) -> str:
    return NOT_KNOWN if value is None else shown(value)


def _lag(server: ServerStatus) -> str:
    if server.lag_seconds is None:
        return NOT_KNOWN
    if not server.lag_seconds:
        return "none"
    behind = duration(server.lag_seconds)
    return behind if server.lag_bytes is None else f"{behind}, {size(server.lag_bytes)}"


def _items(items: list[Item]) -> Table:
    shown = Table(box=None, pad_edge=False, show_header=False)
    for heading in ("level", "title", "subject"):
        shown.add_column(heading, no_wrap=True)
    shown.add_column("text", overflow="fold")
    for item in items:
        shown.add_row(
            Text(str(item.level), STYLES[item.level]), item.title, item.subject, item.text
        )
    return shown


def _counts(facts: DatabaseFacts) -> str:
    waiting = f"{facts.failures} tried again" if facts.failures else "none tried again"
    return f"Files that could not be stored: {facts.quarantined} in quarantine, {waiting}."
