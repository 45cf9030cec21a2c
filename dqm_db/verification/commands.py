"""``dqm verify``."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from dqm_db.errors import ConfigurationError, DatabaseUnavailable, DQMError
from dqm_db.peers import ask_each_server, is_serving_primary, known_servers, named_servers
from dqm_db.replication.addresses import Address
from dqm_db.server_answers import ServerAnswer
from dqm_db.settings import DatabaseSettings, VerificationSettings, load
from dqm_db.urls import shown
from dqm_db.verification.comparing import Progress, Verification, compare
from dqm_db.verification.pairs import Verified
from dqm_db.verification.remembered import Memory, StateUnusable
from dqm_db.verification.report import Report

SHOWN_EVERY = 0.2
"""Seconds between two looks at the progress."""

EPILOG = """\b
Exit codes:
    0  all are the same, and sound
    2  the command line is wrong
   65  something differs, or is damaged
   69  a server does not answer
   78  a setting has no usable value
"""


@click.command(epilog=EPILOG)
@click.option(
    "--servers",
    metavar="HOST:PORT,…",
    help="Where clients connect to the servers to compare, instead of DQM_SERVERS.",
)
@click.option(
    "--data-dir",
    "data_dirs",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A volume on this host, read without a server; several are compared.",
)
@click.option("--new", is_flag=True, help="Only what follows the last verification.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, for programs.")
@click.option("--db", metavar="URL", help="Where to note the outcome, instead of DQM_DB_URL.")
def verify(
    servers: str | None, data_dirs: Sequence[Path], new: bool, as_json: bool, db: str | None
) -> None:
    """Prove that primary and replicas hold the same, and that all of it can be read.

    Asks the servers of DQM_SERVERS, else those of DQM_DB_URL.
    """
    settings = load(DatabaseSettings, db_url=db)
    if data_dirs:
        if servers is not None or new:
            raise click.UsageError("--data-dir goes with neither --servers nor --new")
        report = _verify_volumes(data_dirs)
    else:
        report = _verify_servers(_addresses(settings, servers), settings, new=new)
        _note(report, settings)
    if as_json:
        click.echo(json.dumps(report.document(), indent=2))
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(report.exit_code)


def _verify_volumes(directories: Sequence[Path]) -> Report:
    from dqm_db.verification.local import VolumeSide
    from dqm_db.volume.layout import Volume

    sides = [VolumeSide(Volume(directory)) for directory in directories]
    with _progress(None) as progress:
        report = Report(compare(sides, first_leads=False, progress=progress))
        report.describe()
    return report


def _addresses(settings: DatabaseSettings, servers: str | None) -> Sequence[Address]:
    found = known_servers(settings) if servers is None else named_servers(servers, "--servers")
    if len(found) < 2:
        raise ConfigurationError(
            f"{shown(settings.db_url)} and DQM_SERVERS name fewer than two servers to compare: "
            "give them in DQM_SERVERS or --servers, or a volume of this host with --data-dir"
        )
    return found


def _verify_servers(
    addresses: Sequence[Address], settings: DatabaseSettings, *, new: bool
) -> Report:
    from dqm_db.verification.servers import ServerSide

    answers, silent = _ask(addresses, settings)
    ordered = sorted(answers, key=lambda one: _rank(answers[one]))
    with contextlib.ExitStack() as opened:
        sides = []
        for address in reversed(ordered):  # the primary last: it then has what the others have
            try:
                sides.append(opened.enter_context(ServerSide(address, settings)))
            except DatabaseUnavailable as error:
                silent[str(address)] = str(error)
        sides.reverse()
        if len(sides) < 2:
            raise DatabaseUnavailable(f"nothing to compare: {'; '.join(silent.values())}")
        by_name = {str(address): answer for address, answer in answers.items()}
        reference, *others = (side.name for side in sides)
        memory = Memory(load(VerificationSettings).state_dir)
        with _progress(None if new else _size(by_name[reference])) as progress:
            outcome = compare(
                sides,
                remembered=[_recall(memory, reference, other) for other in others] if new else (),
                first_leads=is_serving_primary(by_name[reference]),
                progress=progress,
            )
            report = Report(outcome, _roles(by_name), silent)
            report.describe()
    _remember(memory, outcome)
    return report


def _ask(
    addresses: Sequence[Address], settings: DatabaseSettings
) -> tuple[dict[Address, ServerAnswer], dict[str, str]]:
    """What servers say of themselves, and why the others do not."""
    said = ask_each_server(addresses, settings.db_patience)
    return (
        {one: answer for one, answer in said.items() if isinstance(answer, ServerAnswer)},
        {str(one): str(why) for one, why in said.items() if isinstance(why, DatabaseUnavailable)},
    )


def _rank(answer: ServerAnswer) -> tuple[bool, int]:
    """Primaries first, and of two of them the one of the later epoch."""
    return not is_serving_primary(answer), -(answer.epoch or 0)


def _roles(answers: Mapping[str, ServerAnswer]) -> dict[str, str]:
    return {name: answer.role for name, answer in answers.items() if answer.role is not None}


def _size(answer: ServerAnswer) -> int | None:
    if answer.file_bytes is None or answer.blob_bytes is None:
        return None
    return answer.file_bytes + answer.blob_bytes


def _recall(memory: Memory, one: str, other: str) -> Verified | None:
    try:
        return memory.recall(one, other)
    except StateUnusable as error:
        click.echo(f"dqm: warning: {error}", err=True)
        return None


def _remember(memory: Memory, outcome: Verification) -> None:
    if outcome.is_damaged or outcome.silent:
        return
    for pair in outcome.pairs:
        if pair.same:
            verified = Verified(pair.last, pair.digest, outcome.started)
            try:
                memory.remember(pair.first.name, pair.second.name, verified)
            except StateUnusable as error:
                click.echo(f"dqm: warning: {error}", err=True)


def _note(report: Report, settings: DatabaseSettings) -> None:
    """Let the database remember the outcome; a database that cannot is no fault of the servers."""
    from dqm_db.operations import Operation, OperationName
    from dqm_db.writer import open_writer

    outcome = report.verification
    operation = Operation.ended(
        OperationName.VERIFICATION,
        outcome.started,
        report.summary(),
        ok=report.exit_code == 0,
        facts={
            "transactions": max(read.transactions for read in outcome.read),
            "bytes": max(read.size for read in outcome.read),
            "differences": sum(pair.found for pair in outcome.pairs),
            "damaged": sum(read.faulty for read in outcome.read),
            "servers": len(outcome.read),
            "silent": len(report.all_silent),
        },
    )
    try:
        with open_writer(settings) as writer:
            writer.note_operation(operation)
    except DQMError as error:
        click.echo(f"dqm: warning: the outcome is not noted in the database: {error}", err=True)


@contextlib.contextmanager
def _progress(total: int | None) -> Iterator[Progress]:
    """Says how far it has come, on a terminal only; *total* in bytes, None when not known."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _size: None
        return
    done, began, shown_at = 0, time.monotonic(), 0.0
    with console.status("verify") as status:

        def show(size: int) -> None:
            nonlocal done, shown_at
            done += size
            now = time.monotonic()
            if now - shown_at > SHOWN_EVERY:
                shown_at = now
                of = "" if total is None else f" of {total / 1e6:.0f}"
                speed = done / 1e6 / max(now - began, 1e-3)
                status.update(f"verify: {done / 1e6:.0f}{of} MB, {speed:.0f} MB/s")

        yield show
