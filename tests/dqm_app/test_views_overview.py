"""The overview against the sample files, read with astropy alone, and against made-up runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_runs import (
    CHARGE,
    FINE,
    NOT_JUDGED,
    PEDESTAL,
    TOO_MANY_BAD,
    WIDE,
    forget_verdict,
    store_verdict,
)
from plot_runs import a_context, load_view
from synthetic_runs import a_run

from dqm_app.catalogues import CameraRuns, Catalogues
from dqm_app.plots.options import plot_options
from dqm_app.theme import themes
from dqm_app.views.base import Ask
from dqm_app.views.key_numbers import known_numbers
from dqm_app.views.maps import MapsView
from dqm_app.views.overview import OverviewData, OverviewView
from dqm_app.views.places import place_of
from dqm_app.views.thumbnails import ABSENT, BAD, COLOURS, NO_VALUE
from dqm_db.content import N_PIXELS, Kind, Quantity, RunContent
from dqm_db.errors import RunNotFound
from dqm_db.quantities import known_quantities
from dqm_db.storage import Database
from dqm_db.writer import Writer, open_writer
from ingest.reading import ReadJob, read_run
from ingest.statistics import compute_statistics

CAMERA = "NectarCAMQM"
SAMPLES = Path(__file__).parent.parent / "data"
MASK = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"
SCALAR = "PED-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN"
DEAD, COUNTS = 5002, 5003


def sample(run: int) -> RunContent:
    content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz")).content
    assert content is not None
    return content


def with_maps(content: RunContent, run: int, **new: Any) -> RunContent:
    """*content* as another run, in which maps named CHARGE or MASK are replaced; None drops all."""
    names = {"charge": CHARGE, "mask": MASK}
    values = {names[key]: value for key, value in new.items() if value is not None}
    kept = [
        replace(q, columns=dict.fromkeys(q.columns, values[q.name])) if q.name in values else q
        for q in content.quantities
        if new or q.kind is not Kind.PIXEL_MAP
    ]
    return replace(
        content,
        header=replace(content.header, run=run),
        quantities=tuple(kept),
        statistics=compute_statistics(kept),
    )


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """6001 good; 6002: three pixels of it changed; 8001 (absent), 8003 (no pedestals) judged; 5001
    without any map; 5002 with bad pixels only; 9001 never judged."""
    from dqm_db.settings import DatabaseSettings, load

    folder = tmp_path_factory.mktemp("overview")
    settings = load(DatabaseSettings, db_url=f"file://{folder}/Data.fs", lock_dir=folder / "locks")
    good = sample(6001)
    (charge,) = next(q for q in good.quantities if q.name == CHARGE).columns.values()
    (mask,) = next(q for q in good.quantities if q.name == MASK).columns.values()
    other, flagged = charge.copy(), mask.copy()
    other[[3, 4, 5]] += 5000
    flagged[14:21], flagged[30] = 1.0, 1.0
    with open_writer(settings) as writer:
        for content in (
            with_maps(good, 5001),
            with_maps(good, DEAD, mask=np.ones(N_PIXELS)),
            good,
            with_maps(good, 6002, charge=other, mask=flagged),
            sample(8001),
            sample(8003),
            with_maps(good, 9001, charge=charge),
        ):
            writer.store_run(content, None)
        store_verdict(writer, CAMERA, 5001, FINE)
        store_verdict(writer, CAMERA, DEAD, TOO_MANY_BAD)
        store_verdict(writer, CAMERA, 6001, FINE)
        store_verdict(writer, CAMERA, 6002, WIDE, FINE, TOO_MANY_BAD, NOT_JUDGED)
        store_verdict(writer, CAMERA, 8001, TOO_MANY_BAD)
        store_verdict(writer, CAMERA, 8003, NOT_JUDGED, checked_at=2e9)
        forget_verdict(writer, CAMERA, 9001)
        yield writer


@pytest.fixture(scope="module")
def database(writer: Writer) -> Database:
    return writer.database


def page(database: Database, run: int, **options: str) -> dict[str, Any]:
    data = load_view(database, OverviewView, run, None, **options)
    return json.loads(data.page) | {"maps": maps_of(data)}


def maps_of(data: OverviewData) -> list[dict[str, Any]]:
    """The listing of the small maps, each with what it is called."""
    words = json.loads(data.words)
    return [words[small["quantity"]] | small for small in json.loads(data.page)["maps"]]


def runs(database: Database) -> CameraRuns:
    with database.snapshot() as snapshot:
        return Catalogues().renewed(snapshot)[CAMERA]


def line(lines: list[dict[str, Any]], key: str, name: str) -> dict[str, Any]:
    (found,) = [line for line in lines if line[key] == name]
    return found


# ---- the verdict --------------------------------------------------------------------------------


def test_reasons_come_worst_first_with_value_limits_and_where_to_look(database):
    verdict = page(database, 6002)["verdict"]
    assert (verdict["status"], verdict["checkedAt"]) == (3, 1.9e9)
    assert [result["status"] for result in verdict["results"]] == [3, 2, 0, 4]
    bad, wide, fine, unknown = verdict["results"]
    assert (bad["text"], bad["value"]) == ("30 pixels are bad.", "30 pixels")
    assert bad["limits"] == "at most 20", "the limit that was passed"
    assert (bad["between"], wide["between"], fine["between"]) == (False, True, False)
    assert bad["address"] == {"view": "maps", "quantity": MASK}
    assert bad["trend"] == {"view": "trends", "quantity": MASK, "statistic": "bad"}
    assert wide["limits"] == "4500 to 5000"
    assert wide["address"] == {"view": "maps", "quantity": CHARGE}
    assert (fine["limits"], fine["address"]) == ("", {"view": "maps"})
    assert fine["trend"] == {"view": "trends", "quantity": "RUN", "statistic": "absent_modules"}
    assert (unknown["value"], unknown["reason"]) == (None, "no pedestal events")


def test_a_run_that_was_never_judged_says_so(database):
    assert page(database, 9001)["verdict"] is None


def test_judging_again_is_seen_and_so_is_another_reference(writer, database):
    def version(run: int, **options: str) -> object:
        return OverviewView.version(Ask(run, None, runs(database), options))

    before = version(8003), version(6002), version(9001)
    assert before == (version(8003), version(6002), version(9001))
    store_verdict(writer, CAMERA, 8003, NOT_JUDGED, checked_at=3e9)
    assert version(8003) != before[0]
    assert version(6002) == before[1]
    assert version(6002, reference="8001") != before[1]
    assert version(404, reference="8001") == version(404, reference="8001")


# ---- key numbers --------------------------------------------------------------------------------


def test_key_numbers_and_their_change_are_those_of_the_files(database):
    ours, theirs = sample(8003), sample(6001)
    shown = page(database, 8003)["numbers"]
    assert len(shown) == len(known_numbers())
    events = line(shown, "title", "Events")
    total, before = ours.header.events.total, theirs.header.events.total
    assert events["value"] == f"{total:,}"
    assert events["change"] == {
        "direction": -1,
        "before": f"{before:,}",
        "absolute": f"−{before - total}",
        "relative": f"−{100 * (before - total) / before:.1f} %",
    }
    charge = line(shown, "name", f"{CHARGE}: mean")
    new, old = (run.statistics[CHARGE]["mean"] for run in (ours, theirs))
    assert charge["value"] == f"{new:.1f}"
    assert charge["change"]["absolute"] == f"−{abs(new - old):.1f}"
    bad = line(shown, "title", "Bad pixels")
    assert (bad["value"], bad["change"]["direction"]) == (str(ours.header.bad_pixels), 0)
    assert bad["trend"] == {"view": "trends", "quantity": "RUN", "statistic": "bad_pixels"}
    temperature = line(shown, "title", "Temperature mean")
    assert temperature["change"]["relative"] == "", "0 °C is no zero"


def test_numbers_that_a_run_has_not_say_why(database):
    pedestal = line(page(database, 8003)["numbers"], "name", f"{PEDESTAL}: median")
    assert (pedestal["value"], pedestal["reason"]) == (None, "no pedestal events")
    back = page(database, 6002, reference="8003")["numbers"]
    assert line(back, "name", f"{PEDESTAL}: median")["change"] is None


def test_every_statistic_of_the_key_numbers_is_computed_from_a_results_file():
    statistics = sample(6001).statistics
    for number in known_numbers():
        assert number.header or number.statistic in statistics[number.quantity]


# ---- the run to compare with --------------------------------------------------------------------


def test_the_reference_is_the_last_good_run_unless_another_one_is_asked_for(database):
    assert page(database, 9001)["reference"]["run"] == 6001, "later ones are bad, or not judged"
    first = page(database, 5001)
    assert (first["reference"]["run"], first["changes"]) == (None, None)
    assert all("change" not in number for number in first["numbers"])
    chosen = page(database, 6001, reference="08003")["reference"]
    assert (chosen["run"], chosen["chosen"], chosen["problem"]) == (8003, True, "")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("77", "no run “77”"),
        ("<b>", "no run “<b>”"),
        ("6002", "is the run itself"),
        ("٣", "no run"),
    ],
)
def test_a_reference_that_makes_no_sense_is_said(database, typed, words):
    found = page(database, 6002, reference=typed)["reference"]
    assert (found["run"], found["chosen"]) == (6001, False)
    assert words in found["problem"]


def test_a_reference_that_was_deleted_a_moment_ago_is_none(database, monkeypatch):
    with database.snapshot() as snapshot:
        header, read = snapshot.header(CAMERA, 6002), type(snapshot).header

        def gone(self, camera: str, run: int) -> Any:
            if run == 6001:
                raise RunNotFound("gone")
            return read(self, camera, run)

        monkeypatch.setattr(type(snapshot), "header", gone)
        data = OverviewView.load(snapshot, header, Ask(6002, None, runs(database)))
    assert json.loads(data.page)["reference"]["run"] is None


# ---- what changed -------------------------------------------------------------------------------


def test_changed_pixels_modules_and_quantities_are_found(database):
    changes = page(database, 6002)["changes"]
    assert changes["quantities"][0]["quantity"] == MASK
    charge = line(changes["quantities"], "quantity", CHARGE)
    assert (charge["count"], charge["picks"]) == (3, "3,4,5")
    assert (charge["shift"], charge["strong"]) == ("", False)
    assert changes["strong"] == [MASK]
    (state,) = changes["states"]
    assert (state["kind"], state["modules"], state["pixels"]) == ("bad", [2], [30])
    assert state["picks"] == "m2,30"
    back = page(database, 6001, reference="6002")["changes"]["states"]
    assert [state["kind"] for state in back] == ["recovered"]


def test_absent_modules_are_told_and_no_pedestals_heal_nobody(database):
    (gone, *_) = page(database, 8001)["changes"]["states"]
    assert (gone["kind"], len(gone["modules"]), gone["pixels"]) == ("absent", 12, [])
    changes = page(database, 8003)["changes"]
    bad = []
    for run in (6001, 8003):
        masks = [q for q in sample(run).quantities if q.name in (MASK, MASK.replace("HIGH", "LOW"))]
        bad.append(np.any([next(iter(q.columns.values())) > 0.5 for q in masks], axis=0))
    recovered = line(changes["states"], "kind", "recovered")
    healed = {7 * module + at for module in recovered["modules"] for at in range(7)}
    assert healed | set(recovered["pixels"]) == set(np.flatnonzero(bad[0] & ~bad[1]))
    assert changes["unpaired"] == 12, "maps of pedestal events"


# ---- small maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [6001, 8001, 8003])
def test_small_maps_have_the_colours_of_the_large_ones(database, run):
    data = load_view(database, OverviewView, run)
    listing = maps_of(data)
    absent = np.zeros(N_PIXELS, np.bool_)
    absent[sample(run).header.absent_pixels] = True
    for small in listing:
        if "row" not in small:
            assert small["reason"] == "no pedestal events"
            continue
        large = load_view(database, MapsView, run, small["quantity"]).pixels
        codes = data.codes[small["row"]]
        assert ((codes == ABSENT) == absent).all()
        bad = large.flagged & (small["section"] != "Bad pixels")
        assert ((codes == BAD) == bad).all()
        drawn = ~absent & ~bad
        low, high = large.auto
        expected = np.clip((large.values[drawn] - low) / ((high - low) or 1) * COLOURS, 0, 252)
        assert np.abs(codes[drawn] - np.floor(expected)).max() <= 1, small["quantity"]
        shown = float(small["median"].replace("−", "-"))
        assert shown == pytest.approx(large.statistics.median, rel=2e-3, abs=1e-4)


def test_all_known_maps_are_listed_once_and_sections_stay_together(database):
    listing = page(database, 6001)["maps"]
    known = {info.name for info in known_quantities().values() if info.kind is Kind.PIXEL_MAP}
    assert {small["quantity"] for small in listing} == known
    assert len(listing) == len(known)
    sections = [small["section"] for small in listing]
    assert sections == sorted(sections, key=sections.index), "in stretches"
    missing = [small for small in page(database, 8003)["maps"] if "row" not in small]
    assert len(missing) == 16


def test_a_run_without_any_map_still_has_its_verdict_and_numbers(database):
    data = load_view(database, OverviewView, 5001)
    assert data.codes.shape == (0, N_PIXELS)
    shown = json.loads(data.page)
    assert all(small["reason"] for small in shown["maps"])
    assert shown["verdict"]["status"] == 0
    assert line(shown["numbers"], "title", "Events")["value"] is not None


def test_a_camera_that_is_all_bad_is_drawn_as_such(database):
    data = load_view(database, OverviewView, DEAD)
    listing = maps_of(data)
    charge = line(listing, "quantity", CHARGE)
    assert (data.codes[charge["row"]] == BAD).all()
    assert charge["median"] is not None, "of all pixels, as on the large map"
    mask = line(listing, "quantity", MASK)
    assert mask["bad"] == N_PIXELS
    assert (data.codes[mask["row"]] == COLOURS - 1).all(), "where badness is the value"


def test_maps_of_odd_values(writer, database):
    values = np.full(N_PIXELS, np.nan)
    values[:4] = [np.inf, -np.inf, 1.0, 1.0]
    content = a_run(COUNTS, camera="Odd")
    maps = (
        Quantity(CHARGE, Kind.PIXEL_MAP, {"a": values}),
        Quantity("X-NONE", Kind.PIXEL_MAP, {"n": np.full(N_PIXELS, np.nan)}),
        Quantity("X-INT", Kind.PIXEL_MAP, {"n": np.arange(N_PIXELS) + 2**40}),
    )
    writer.store_run(replace(content, quantities=maps), None)
    with database.snapshot() as snapshot:
        ask = Ask(COUNTS, None, Catalogues().renewed(snapshot)["Odd"])
        data = OverviewView.load(snapshot, snapshot.header("Odd", COUNTS), ask)
    listing = maps_of(data)
    codes = data.codes[line(listing, "quantity", CHARGE)["row"]]
    assert codes[:4].tolist() == [NO_VALUE, NO_VALUE, 0, 0]
    assert (codes[21:28] == ABSENT).all()
    none = line(listing, "quantity", "X-NONE")
    assert none["median"] is None
    whole = line(listing, "quantity", "X-INT")
    assert len(np.unique(data.codes[whole["row"]])) > 200


# ---- the view -----------------------------------------------------------------------------------


def test_the_palette_and_the_positions_travel_once(database):
    context, _ = a_context(database)
    view = OverviewView(context)
    view.update(load_view(database, OverviewView, 6001))
    frame = view.frame.tags[0]
    assert (frame["x"].shape, frame["palette"].shape) == ((N_PIXELS,), (COLOURS, 3))
    assert frame["palette"][0].tolist() == list(
        bytes.fromhex(themes()["light"].palettes["value"][0][1:])
    )
    view.update(load_view(database, OverviewView, 8001))
    assert view.frame.tags[0] is frame
    assert view.root.tags[0]["codes"].nbytes < 70_000
    assert len(view.root.tags[0]["page"]) < 30_000


def test_places_are_views_that_show_the_quantity():
    assert place_of("WF-PHY-AVERAGE-PIX-HIGH-GAIN")["quantity"] == "WF-PHY-HIGH-GAIN"
    assert place_of("CAMERA-TEMPERATURE-TREND") == {"view": "temperature"}
    assert place_of("CAMERA-PING-PONG-CHANGES-TIMES") == {"view": "pingpong"}
    assert place_of("TRIGGER-EVENTS-WRONG") == place_of("TRIGGER-STATISTICS") == {"view": "trigger"}
    assert place_of(SCALAR, "value")["view"] == "trends"
    assert place_of(SCALAR) == {"view": "contents", "quantity": SCALAR}
    from dqm_app.views import VIEWS

    for info in known_quantities().values():
        place = place_of(info.name)
        assert place["view"] in VIEWS
        if "quantity" in place and place["view"] != "contents":
            offered = [choice.name for choice in VIEWS[place["view"]].quantities([])]
            assert place["quantity"] in offered


def test_bad_pixels_are_those_of_the_plots():
    assert plot_options().bad_fraction == 0.5, "the words of the page say half of the events"
