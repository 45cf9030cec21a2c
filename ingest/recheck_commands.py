"""The command ``dqm recheck``."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dqm_db.settings import CheckSettings, DatabaseSettings, load
from ingest.errors import one_line, printable
from ingest.options import EXIT_CODES, RunRangesType, camera_option, database_option

if TYPE_CHECKING:
    from dqm_db.checks import CheckResult, Judge, Verdict
    from dqm_db.rechecking import Rechecked
    from dqm_db.storage import Database
    from ingest.finding import RunRanges
    from ingest.stopping import StopRequest

NOT_JUDGED = "not judged"
ALL_CAMERAS = "default"  # in the place of a camera's name
SOME_FAILED = 1


@click.command(epilog=EXIT_CODES)
@camera_option
@click.option("--runs", type=RunRangesType(), help="Only these runs, e.g. 6000-6100,6200.")
@click.option("--preview", is_flag=True, help="Change nothing, only say what would change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per changed run.")
@database_option
def recheck(
    settings: DatabaseSettings,
    camera: str | None,
    runs: RunRanges | None,
    preview: bool,
    as_json: bool,
) -> None:
    """Judge stored runs again, e.g. after a change of thresholds.

    From their stored statistics, with the limits of this release and those in DQM_THRESHOLDS_DIR.
    Lists the runs whose verdict is another, and why. --preview also works on a replica.
    """
    from ingest.stopping import StopRequest

    started = time.monotonic()
    count: Counter[str] = Counter()
    moves: Counter[tuple[str, str]] = Counter()
    with StopRequest() as stop:
        for name, one in _judged(settings, camera, runs, preview, stop):
            if one.error is not None:
                count["failed"] += 1
                click.echo(f"failed: {name} run {one.run}: {one_line(one.error)}", err=as_json)
                continue
            count["judged"] += 1
            if not one.changed:
                continue
            count["changed"] += 1
            before, after = _word(one.before), _word(one.after)
            if before != after:
                moves[before, after] += 1
            if as_json:
                click.echo(json.dumps(_object(name, one)))
            elif before != after:
                click.echo(f"{name} run {one.run}: {before} -> {after}: {_why(one)}")
            elif one.differences:
                click.echo(f"{name} run {one.run}: {after} as before, but: {_why(one)}")
    seconds = time.monotonic() - started
    would = "would change" if preview else "changed"
    failed = f", {count['failed']} failed" if count["failed"] else ""
    totals = "".join(f"; {old} -> {new}: {runs}" for (old, new), runs in sorted(moves.items()))
    click.echo(
        f"recheck: {count['judged']} runs judged, {count['changed']} {would}{failed} "
        f"in {seconds:.1f} s{totals}{'; stopped' if stop() else ''}",
        err=as_json,
    )
    if stop():
        sys.exit(stop.exit_code)
    if count["failed"]:
        sys.exit(SOME_FAILED)


def _judged(
    settings: DatabaseSettings,
    camera: str | None,
    runs: RunRanges | None,
    preview: bool,
    stop: StopRequest,
) -> Iterator[tuple[str, Rechecked]]:
    from dqm_db import rechecking
    from dqm_db.checks import Judge
    from dqm_db.storage import open_database
    from dqm_db.writer import open_writer

    def wanted(run: int) -> bool:
        return runs is None or run in runs

    with contextlib.ExitStack() as opened:
        if preview:
            judge = Judge(load(CheckSettings).thresholds_dir)
            database = opened.enter_context(open_database(settings))
            _say_unused(judge, database)
            for name in _cameras(database, camera):
                for one in rechecking.preview(database, judge, name, wanted):
                    if stop():
                        return
                    yield name, one
        else:
            writer = opened.enter_context(open_writer(settings))
            _say_unused(writer.judge, writer.database)
            for name in _cameras(writer.database, camera):
                for one in rechecking.recheck(writer, name, wanted, stop=stop):
                    yield name, one


def _cameras(database: Database, camera: str | None) -> tuple[str, ...]:
    with database.snapshot() as snapshot:
        return snapshot.cameras() if camera is None else (camera,)


def _say_unused(judge: Judge, database: Database) -> None:
    """Name limits that hold for no run, since their camera's name may be misspelt."""
    with database.snapshot() as snapshot:
        for name in sorted({*judge.own} - {*snapshot.cameras(), ALL_CAMERAS}):
            click.echo(
                f"dqm: warning: DQM_THRESHOLDS_DIR has limits of a camera {printable(name)}, of "
                "which no run is stored",
                err=True,
            )


def _word(verdict: Verdict | None) -> str:
    return NOT_JUDGED if verdict is None else verdict.status.name


def _why(one: Rechecked) -> str:
    """The checks that tell another thing than before, or all that are not passed."""
    if one.before is None:
        results = () if one.after is None else one.after.results
        told = [result for result in results if _matters(result)]
        return printable(" ".join(result.text for result in told)) or "all checks passed."
    words = []
    for before, after in one.differences:
        if after is None:
            words.append(f"{before.title if before else ''}: not checked any more.")
        else:
            words.append(after.text)
    return printable(" ".join(words))


def _matters(result: CheckResult) -> bool:
    return result.status.name not in ("OK", "UNKNOWN")


def _object(camera: str, one: Rechecked) -> dict[str, Any]:
    return {
        "camera": camera,
        "run": one.run,
        "before": None if one.before is None else one.before.status.name,
        "after": _word(one.after),
        "checks": [
            {
                "check": (after or before).check,  # type: ignore[union-attr]
                "before": None if before is None else before.status.name,
                "after": None if after is None else after.status.name,
                "value": None if after is None else after.value,
                "text": None if after is None else after.text,
            }
            for before, after in one.differences
        ],
    }
