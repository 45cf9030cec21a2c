"""Remembers in the database what was done, for the status and the pages."""

from __future__ import annotations

from collections.abc import Mapping

import click

from dqm_db.errors import DQMError
from dqm_db.operations import Operation, OperationName
from dqm_db.settings import DatabaseSettings, load


def note(
    name: OperationName,
    started: float,
    text: str,
    *,
    ok: bool,
    facts: Mapping[str, float | int | str] | None = None,
) -> None:
    """Tell the primary at ``DQM_DB_URL``; a warning when that cannot be done.

    Parameters
    ----------
    name
        What was done.
    started
        Unix seconds.
    text
        What came of it, in one sentence.
    ok
        Whether it did what it should.
    facts
        Its numbers.
    """
    from dqm_db.writer import open_writer

    operation = Operation.ended(name, started, text, ok=ok, facts=facts or {})
    try:
        with open_writer(load(DatabaseSettings)) as writer:
            writer.note_operation(operation)
    except DQMError as error:
        click.echo(f"dqm: warning: the database does not know of the {name} ({error})", err=True)
