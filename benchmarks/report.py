"""The table for people and the JSON for machines."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.bars import Bar, Result, bars

FOLDER = Path(__file__).parent / "results"
README = Path(__file__).with_name("README.md")
MARKS = ("<!-- results -->", "<!-- end of results -->")
_PACKAGES = ("bokeh", "numpy", "tornado", "ZEO", "ZODB", "zc.zrs", "zstandard")
_VERDICTS = {True: "[green]pass[/]", False: "[bold red]MISS[/]", None: ""}


def table(results: Sequence[Result]) -> Table:
    """The rows of the measured bars beside what they have to reach."""
    made = Table(title="NectarCAM DQM, measured", title_justify="left")
    made.add_column("what", overflow="fold")
    made.add_column("peer", justify="right")
    made.add_column("bar", justify="right")
    made.add_column("measured", justify="right")
    made.add_column("")
    for bar, result in _rows(results):
        made.add_row(
            bar.what,
            bar.peer,
            bar.words,
            f"{_number(result.value)} {bar.unit}".rstrip(),
            _VERDICTS[bar.passed(result.value)],
        )
    return made


def show(results: Sequence[Result], console: Console) -> None:
    """Print the table."""
    console.print(table(results))


def write(
    results: Sequence[Result], failures: Mapping[str, str], folder: Path, *, quick: bool
) -> Path:
    """Write everything that was measured as JSON; returns the path."""
    now = datetime.datetime.now(datetime.UTC)
    document = {
        "date": now.isoformat(timespec="seconds"),
        "quick": quick,
        "machine": _machine(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "revision": _revision(),
        "failures": dict(failures),
        "results": [
            {
                "key": result.key,
                "group": bar.group,
                "what": bar.what,
                "unit": bar.unit,
                "value": result.value,
                "limit": bar.limit,
                "direction": bar.direction,
                "passed": bar.passed(result.value),
                "peer": bar.peer,
                "detail": dict(result.detail),
            }
            for bar, result in _rows(results)
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def write_readme(results: Sequence[Result], path: Path = README) -> None:
    """Put the measured rows between the marks in the README of this folder."""
    now = datetime.datetime.now(datetime.UTC)
    load, cores = os.getloadavg()[2], len(os.sched_getaffinity(0))
    lines = [
        f"Last full run: {now:%Y-%m-%d}, {cores} cores, average load {load:.1f}, "
        f"revision {_revision()}.",
        "",
        "| what | peer | bar | measured | |",
        "|---|---:|---:|---:|---|",
    ]
    for bar, result in _rows(results):
        verdict = {True: "pass", False: "**miss**", None: ""}[bar.passed(result.value)]
        value = f"{_number(result.value)} {bar.unit}".rstrip()
        lines.append(f"| {bar.what} | {bar.peer} | {bar.words} | {value} | {verdict} |")
    before, _, rest = path.read_text("utf-8").partition(MARKS[0])
    _, found, after = rest.partition(MARKS[1])
    if not found:
        raise ValueError(f"{path} lacks the marks {' and '.join(MARKS)}")
    text = "\n".join([before + MARKS[0], "", *lines, "", MARKS[1] + after])
    path.write_text(text, "utf-8")


def _rows(results: Sequence[Result]) -> list[tuple[Bar, Result]]:
    found = {result.key: result for result in results}
    unknown = found.keys() - bars().keys()
    if unknown:
        raise ValueError(f"measured but not in bars.toml: {', '.join(sorted(unknown))}")
    return [(bar, found[key]) for key, bar in bars().items() if key in found]


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value)}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _revision() -> str | None:
    """Commit that was measured, with ``+`` when the tree has changes; None outside git."""
    here = Path(__file__).parent
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return asked.stdout.strip()
