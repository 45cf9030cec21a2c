"""Times that are no dates: every view shows the rest of the run, and says what is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import Range1d
from numpy.typing import NDArray
from plot_runs import TRIGGER, a_context, load_view
from results_files import build_fits, build_run_archive, run_content

from dqm_app.views import VIEWS
from dqm_app.views.pingpong import TIMES, PingPongView
from dqm_app.views.trigger import WRONG, TriggerView
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import Database, open_database
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

CAMERA = "NectarCAMQM"
ODD = {"nan": math.nan, "inf": math.inf, "zero": 0.0, "far": 1e18}
START = 1.75e9
CHANGES = START + np.array([0.1, 0.2, 0.3])


def all_times() -> dict[str, dict[str, NDArray]]:
    """Every HDU of times, as nectarchain writes them for the events of `run_content`."""
    listed = run_content()[TRIGGER]
    assert isinstance(listed, Mapping)
    return {
        "START-TIMES": {
            "Run start time": np.array([1_749_999_960]),
            "First event": np.array([START]),
            "Last event": np.array([START + 0.49]),
        },
        TRIGGER: dict(listed),
        WRONG: {WRONG: START - np.array([3.0, 2.0, 1.0])},
        TIMES: {TIMES: CHANGES.copy()},
    }


@dataclass(frozen=True)
class Odd:
    """Something wrong with the times of a file."""

    name: str
    spoil: Callable[[dict[str, dict[str, NDArray]]], None]


def _put(
    hdus: tuple[str, ...], where: str, value: float
) -> Callable[[dict[str, dict[str, NDArray]]], None]:
    def spoil(times: dict[str, dict[str, NDArray]]) -> None:
        for column in (column for hdu in hdus for column in times[hdu].values()):
            if column.dtype.kind == "f":
                column[slice(None) if where == "all" else column.size // 2] = value

    return spoil


def _without(*prefixes: str) -> Callable[[dict[str, dict[str, NDArray]]], None]:
    def spoil(times: dict[str, dict[str, NDArray]]) -> None:
        for name in [name for name in times if name.startswith(prefixes)]:
            del times[name]

    return spoil


def _one_event(times: dict[str, dict[str, NDArray]]) -> None:
    times[TRIGGER] = {name: column[:1] for name, column in times[TRIGGER].items()}


FILES = [
    *(
        Odd(f"{name}-{where}-{word}", _put(hdus, where, value))
        for name, hdus in {"start": ("START-TIMES",), "events": (TRIGGER, WRONG, TIMES)}.items()
        for where in ("all", "one")
        for word, value in ODD.items()
    ),
    Odd("no-start", _without("START")),
    Odd("no-trigger", _without("START", "TRIGGER")),
    Odd("one-event", _one_event),
]
RUNS = {odd.name: 9000 + number for number, odd in enumerate(FILES)}


@pytest.fixture(scope="module")
def odd_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One run for each of `FILES`, read as any other, with the numbers `RUNS`."""
    folder: Path = tmp_path_factory.mktemp("odd")
    settings = load(DatabaseSettings, db_url=f"file://{folder}/Data.fs", lock_dir=folder / "locks")
    with open_writer(settings) as writer:
        for odd in FILES:
            times = all_times()
            odd.spoil(times)
            kept = {
                name: values
                for name, values in run_content().items()
                if not name.startswith("TRIGGER") or TRIGGER in times
            }
            run = RUNS[odd.name]
            path = folder / f"{CAMERA}_DQM_Run{run}.tar.gz"
            path.write_bytes(build_run_archive(CAMERA, run, build_fits(kept | times)))
            content = read_run(ReadJob(path)).content
            assert content is not None
            writer.store_run(content, None)
    with open_database(settings) as database:
        yield database


def shown(database: Database, view: str, file: str):
    """The view *view* of one of `FILES`."""
    context, fetches = a_context(database)
    built = VIEWS[view](context)
    built.update(load_view(database, VIEWS[view], RUNS[file]))
    fetches.answer()
    return built


def notes(view) -> str:
    return str(view.root.tags[0])


@pytest.mark.parametrize("file", [odd.name for odd in FILES])
def test_every_view_shows_a_run_with_odd_times(odd_database, file):
    for name in VIEWS:
        if name == "trigger" and file == "no-trigger":
            continue  # the run has no trigger times: said in the place of the view
        view = shown(odd_database, name, file)
        document = Document()
        document.add_root(view.root)
        document.to_json()
        for model in document.select({"type": Range1d}):
            assert math.isfinite(model.start) and math.isfinite(model.end), name
            assert model.start < model.end, name


@pytest.mark.parametrize("word", list(ODD))
def test_an_event_without_a_date_is_left_out_and_counted(odd_database, word):
    view = shown(odd_database, "trigger", f"events-one-{word}")
    assert isinstance(view, TriggerView)
    listed = all_times()[TRIGGER]
    kept = np.delete(np.arange(49), 24)
    assert np.array_equal(view.times.source.data["id"], listed["IDs"][kept])
    assert view.times.source.data["time"] == pytest.approx(
        (listed["Timestamps"][kept] - 37.0) * 1000
    )
    assert "1 event without a usable time not drawn" in notes(view)
    assert "all 48 events are drawn" in notes(view)
    assert view.times.negative.data["id"].size == 0
    rate = {label: value for label, value, _ in view.root.tags[0]["numbers"]}
    assert rate["Mean rate of this class"] == "100 Hz"
    assert view.times.x_range.end - view.times.x_range.start < 600


@pytest.mark.parametrize("file", [f"events-all-{word}" for word in ODD])
def test_without_any_date_the_trigger_view_says_so_and_keeps_the_counts(odd_database, file):
    view = shown(odd_database, "trigger", file)
    for plot in (view.times, view.rate, view.differences):
        words = plot._message.text.replace("\n", " ")
        assert plot._message.visible
        assert "No time of these events is a date" in words
        assert "All contents" in words
    assert "['Physical', '49'" in notes(view)
    assert "49 events without a usable time not drawn" in notes(view)
    assert "'– Hz'" not in notes(view)
    assert not view.times.legend.visible
    view.update(load_view(odd_database, TriggerView, RUNS["one-event"]))
    assert not view.times._message.visible
    assert view.times.legend.visible


def test_a_wrong_time_that_is_no_date_is_listed_in_words(odd_database):
    for word in ODD:
        told = notes(shown(odd_database, "trigger", f"events-one-{word}"))
        assert "3 events with wrong times" in told
        assert "no date; TRIGGER-EVENTS-WRONG in All contents has the number" in told
        assert "before the first event" in told


@pytest.mark.parametrize("word", list(ODD))
def test_a_change_without_a_date_is_left_out_and_counted(odd_database, word):
    view = shown(odd_database, "pingpong", f"events-one-{word}")
    assert view.times.source.data["time"] == pytest.approx((CHANGES[[0, 2]] - 37.0) * 1000)
    assert view.times.source.data["number"].tolist() == [1, 2]
    assert "1 change without a usable time not drawn" in notes(view)
    assert "['times', '3'" in notes(view)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("no-trigger", "does not say when its first event was"),
        ("events-all-nan", "No time of these changes is a date between 1972 and 9999"),
    ],
)
def test_changes_without_any_date_are_explained(odd_database, file, words):
    view = shown(odd_database, "pingpong", file)
    assert isinstance(view, PingPongView)
    assert words in view.times._message.text.replace("\n", " ")
    assert view.times.source.data["time"].size == 0


def test_a_single_event_is_shown_within_a_second(odd_database):
    view = shown(odd_database, "trigger", "one-event")
    (time,) = view.times.source.data["time"]
    assert view.times.x_range.start == pytest.approx(time - 500)
    assert view.times.x_range.end == pytest.approx(time + 500)
