"""Makes the answers from the database. Functions that take a snapshot run in a thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_app.api.answers import (
    CameraAnswer,
    CamerasAnswer,
    CheckAnswer,
    QuantityAnswer,
    RunAnswer,
    VerdictAnswer,
)
from dqm_app.api.encoding import plain
from dqm_app.api.questions import HistoryQuestion, RunsQuestion, TrendQuestion
from dqm_app.api.run_columns import run_columns
from dqm_app.api.tables import Column, Table
from dqm_app.catalogues import CameraRuns, Catalogues
from dqm_app.statistics import statistics_of
from dqm_db.checks import Status
from dqm_db.content import N_PIXELS
from dqm_db.errors import RunNotFound
from dqm_db.quantities import QuantityInfo, TimeScale, describe
from dqm_db.reader import Snapshot
from dqm_db.units import standard_unit

NOT_JUDGED = "none"
NEXT_CURSOR = "next_cursor"
"""What a page of runs says of the one behind it; None: it is the last one."""
_WORDS = np.array([NOT_JUDGED, *(status.name.lower() for status in sorted(Status))])


def cameras(catalogues: Catalogues) -> CamerasAnswer:
    """All cameras."""
    return CamerasAnswer(
        cameras=[
            CameraAnswer(
                name=name,
                runs=len(runs),
                first_run=int(runs.columns["run"][0]),
                last_run=runs.newest,
            )
            for name, runs in sorted(catalogues.items())
        ]
    )


def runs(camera: CameraRuns, asked: RunsQuestion) -> Table:
    """One row per run that *asked* is about, at most as many as it wants.

    A page begins behind a run number, not behind so many rows: whichever runs are added or deleted
    between two pages, every other run is on one page, once.
    """
    columns = camera.columns
    number, start = columns["run"], columns["start"]
    chosen = np.ones(len(camera), bool)
    if asked.first is not None:
        chosen &= number >= asked.first
    if asked.last is not None:
        chosen &= number <= asked.last
    if asked.after is not None:
        chosen &= start >= _unix(asked.after)  # False where it is not known
    if asked.before is not None:
        chosen &= start < _unix(asked.before)
    if asked.min_events is not None:
        chosen &= columns["events"] >= asked.min_events
    if asked.verdict:
        words = [list(_WORDS).index(word) - 1 for word in asked.verdict]
        chosen &= np.isin(columns["verdict"], words)
    matching = int(np.count_nonzero(chosen))
    if asked.cursor is not None:
        chosen &= number < asked.cursor if asked.newest_first else number > asked.cursor
    left = np.flatnonzero(chosen)
    if asked.newest_first:
        left = left[::-1]
    shown = left[: asked.limit]
    return Table(
        f"{camera.name}-runs",
        run_columns(lambda name: _as_given_out(name, columns[name][shown])),
        {
            "camera": camera.name,
            "matching": matching,
            "total": len(camera),
            NEXT_CURSOR: int(number[shown[-1]]) if len(shown) < len(left) else None,
        },
    )


def run(snapshot: Snapshot, camera: str, number: int) -> RunAnswer:
    """All of a run that is no table; raises `RunNotFound`."""
    header = snapshot.header(camera, number)
    verdict = snapshot.verdict(camera, number)
    return RunAnswer(
        camera=camera,
        run=number,
        verdict=NOT_JUDGED if verdict is None else verdict.status.name.lower(),
        times=asdict(header.times),
        events=asdict(header.events),
        absent_pixels=header.absent_pixels.tolist(),
        bad_pixels=header.bad_pixels,
        provenance=asdict(header.provenance),
        notes=list(header.notes),
        quantities=[
            QuantityAnswer(
                name=entry.name,
                title=describe(entry.name).title,
                kind=entry.kind.value,
                unit=standard_unit(describe(entry.name).unit),
                unavailable=entry.unavailable,
                columns={
                    name: {
                        "dtype": np.dtype(dtype).name,
                        "shape": list(shape),
                        "unit": standard_unit(describe(entry.name).column(name).unit),
                        "time_scale": describe(entry.name).column(name).time_scale,
                    }
                    for name, (dtype, shape) in entry.columns.items()
                },
            )
            for entry in snapshot.quantities(camera, number)
        ],
    )


def verdict(snapshot: Snapshot, camera: str, number: int) -> VerdictAnswer:
    """What the checks say of a run; raises `RunNotFound`."""
    found = snapshot.verdict(camera, number)
    return VerdictAnswer(
        camera=camera,
        run=number,
        status=NOT_JUDGED if found is None else found.status.name.lower(),
        checked_at=None if found is None else found.checked_at,
        thresholds=None if found is None else found.thresholds,
        checks=[]
        if found is None
        else [
            CheckAnswer(
                check=one.check,
                title=one.title,
                status=one.status.name.lower(),
                text=one.text,
                value=_finite(one.value),
                unit=standard_unit(one.unit),
                limits=dict(one.limits),
                quantity=one.quantity,
                statistic=one.statistic,
            )
            for one in found.results
        ],
    )


def statistics(snapshot: Snapshot, camera: str, number: int) -> Table:
    """All statistics of a run, one per row; raises `RunNotFound`."""
    rows = [
        (quantity, name, value, standard_unit(_words_of_unit(quantity, name)))
        for quantity, values in snapshot.statistics(camera, number).items()
        for name, value in values.items()
    ]
    quantities, names, values, units = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Table(
        f"{camera}-{number}-statistics",
        (
            Column("quantity", np.array(quantities, "U"), "", "EXTNAME"),
            Column("statistic", np.array(names, "U"), "", "Name of the statistic"),
            Column("value", np.array(values, float), "", "In the unit of its row"),
            Column("unit", np.array(units, "U"), "", "Unit of the value"),
        ),
        {"camera": camera, "run": number},
    )


def quantity(snapshot: Snapshot, camera: str, number: int, name: str) -> Table:
    """A quantity of a run, exactly as stored, a column per column.

    Raises
    ------
    RunNotFound
        Also when the run has no such quantity, or no values of it, with the reason.
    """
    stored = snapshot.columns(camera, number, name)
    info = describe(name)
    if not stored:
        reasons = {entry.name: entry.unavailable for entry in snapshot.quantities(camera, number)}
        raise RunNotFound(
            f"{camera} run {number} has no values of {name}: {reasons.get(name) or 'it is empty'}"
        )
    # columns of different lengths do not make a table: those of one row each do
    lengths = {len(values) if values.ndim else None for values in stored.values()}
    if len(lengths) > 1 or None in lengths:
        stored = {key: values[np.newaxis] for key, values in stored.items()}
    index: tuple[Column, ...] = ()
    if len(next(iter(stored.values()))) == N_PIXELS and "pixel" not in stored:
        index = (Column("pixel", np.arange(N_PIXELS, dtype=np.int16), "", "Pixel id"),)
    columns = [_column(info, key, values, stored) for key, values in stored.items()]
    meta: dict[str, Any] = {
        "camera": camera,
        "run": number,
        "quantity": name,
        "title": info.title,
    }
    if any(column.time_scale is TimeScale.TAI for column in columns):
        meta["tai_minus_utc"] = snapshot.header(camera, number).times.tai_minus_utc
    return Table(f"{camera}-{number}-{name}", (*index, *columns), meta)


def _column(
    info: QuantityInfo, name: str, values: NDArray, beside: Mapping[str, NDArray]
) -> Column:
    known = info.column(name)
    titles = Counter(info.column(other).title for other in beside)
    title = known.title if titles[known.title] == 1 else f"{known.title}: {name}"
    unit, text = standard_unit(known.unit), _described(title, known.unit)
    return Column(name, _encodable(values), unit, text, None, known.time_scale)


def trends(snapshot: Snapshot, camera: str, asked: TrendQuestion) -> Table:
    """Statistics over all runs, a column each; NaN where a run has none.

    Raises
    ------
    RunNotFound
        There is no such camera, or never was any such statistic.
    """
    known = snapshot.trend_names(camera)
    wanted = []
    for text in dict.fromkeys(asked.column):
        # names of quantities have no dot, those of statistics may
        name, _, statistic = text.partition(".")
        if statistic not in known.get(name, ()):
            raise RunNotFound(
                f"{camera} has no trend {text!r}; /api/v1/cameras/{camera}/trends/names lists all"
            )
        wanted.append((name, statistic))
    numbers, values = snapshot.trends(camera, wanted)
    within = _within(numbers, asked.first, asked.last)
    return Table(
        f"{camera}-trends",
        (
            Column("run", numbers[within], "", "Run number"),
            *(
                Column(
                    f"{name}.{statistic}",
                    row[within],
                    standard_unit(_words_of_unit(name, statistic)),
                    _described(
                        f"{describe(name).title}: {_title(name, statistic)}",
                        _words_of_unit(name, statistic),
                    ),
                )
                for (name, statistic), row in zip(wanted, values, strict=True)
            ),
        ),
        {"camera": camera},
    )


def trend_names(snapshot: Snapshot, camera: str) -> Table:
    """Of what there are trends; raises `RunNotFound`."""
    rows = [
        (name, statistic, standard_unit(_words_of_unit(name, statistic)))
        for name, statistics in sorted(snapshot.trend_names(camera).items())
        for statistic in statistics
    ]
    names, statistics, units = zip(*rows, strict=True) if rows else ((), (), ())
    return Table(
        f"{camera}-trend-names",
        (
            Column("quantity", np.array(names, "U"), "", "EXTNAME"),
            Column("statistic", np.array(statistics, "U"), "", "Name of the statistic"),
            Column("unit", np.array(units, "U"), "", "Unit of its values"),
        ),
        {"camera": camera},
    )


def history(snapshot: Snapshot, camera: str, name: str, asked: HistoryQuestion) -> Table:
    """One quantity of some pixels over all runs, a column per pixel; raises `RunNotFound`."""
    if name not in snapshot.pixel_history_names(camera):
        raise RunNotFound(f"{camera} has no history of pixels of {name!r}")
    pixels = sorted(set(asked.pixel))
    numbers, values = snapshot.pixel_history(camera, name, pixels)
    within = _within(numbers, asked.first, asked.last)
    info = describe(name)
    return Table(
        f"{camera}-{name}-pixels",
        (
            Column("run", numbers[within], "", "Run number"),
            *(
                Column(
                    f"pixel_{pixel}",
                    row[within],
                    standard_unit(info.unit),
                    _described(f"{info.title}, pixel {pixel}", info.unit),
                )
                for pixel, row in zip(pixels, values, strict=True)
            ),
        ),
        {"camera": camera, "quantity": name},
    )


def _within(numbers: NDArray[np.int64], first: int | None, last: int | None) -> NDArray[np.bool_]:
    low = numbers >= first if first is not None else np.ones(len(numbers), bool)
    return low & (numbers <= last) if last is not None else low


def _as_given_out(name: str, values: NDArray) -> NDArray:
    match name:
        case "verdict":
            return _words(values)
        case "sha256":
            return values.astype("U64")
    return values


def _words(statuses: NDArray) -> NDArray[np.str_]:
    return _WORDS[statuses.astype(int) + 1]


def _words_of_unit(name: str, statistic: str) -> str:
    info = describe(name)
    known = statistics_of(info.kind.value).known.get(statistic)
    if known is None:  # counters have the names of their columns
        return info.column(statistic).unit
    return info.unit if known.unit is None else known.unit


def _title(name: str, statistic: str) -> str:
    known = statistics_of(describe(name).kind.value).known.get(statistic)
    return statistic if known is None else known.title


def _described(title: str, unit: str) -> str:
    """Of what a pure number is a number or fraction is in no unit: say it."""
    told = standard_unit(unit) or unit.lower() in title.lower()
    return title if told or not unit else f"{title} ({unit})"


def _unix(moment: datetime) -> float:
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _finite(value: float | None) -> float | None:
    return None if value is None else plain(np.array([value]))[0]


def _encodable(values: NDArray) -> NDArray:
    return np.char.decode(values, "latin-1") if values.dtype.kind == "S" else values
