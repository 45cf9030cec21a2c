"""Trends and the biography of a pixel on the sample runs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from plot_runs import a_context, load_view, same
from results_files import raw_values, sample_fits
from run_series import BAD_PIXEL, TEMPERATURE, series_run
from run_series import RUNS as RUN_SERIES

from dqm_app.plots.pixels import ABSENT, BAD
from dqm_app.views import NothingToShow
from dqm_app.views.maps import MapsView
from dqm_app.views.pixel import PixelView
from dqm_app.views.pixel_history import Subject, deviations_of
from dqm_app.views.trends import RUN, TrendsView
from dqm_db.checks.judging import Judge
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer

CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
PEDESTAL = "CHARGE-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN"
FLAGS = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"
NEVER_MEASURED = "CHARGE-INTEGRATION-IMAGE-ALL-STD-LOW-GAIN"
RUNS = [6001, 7001, 8001, 8003]
LIMITS = """
[[valid]]
[valid.limits.temperature-mean]
warning = [0.0, 25.0]
bad = [-10.0, 30.0]

[[valid]]
from_run = 6010
[valid.limits.temperature-mean]
warning = [0.0, 19.0]
bad = [-10.0, 22.0]
"""


def told(view):
    (info,) = view.root.tags
    json.dumps(info)
    return info


def test_a_trend_is_the_statistic_of_every_run(sample_database, samples):
    data = load_view(sample_database, TrendsView, 6001, CHARGE, statistic="median")
    assert data.trend is not None
    assert same(data.trend.run[np.isfinite(data.trend.value)], RUNS)
    expected = np.median(raw_values(sample_fits(samples, 6001))[CHARGE])
    assert data.trend.value[0] == pytest.approx(expected)
    assert data.missing == 0


def test_runs_without_the_value_are_counted_in_words(sample_database):
    context, _ = a_context(sample_database)
    view = TrendsView(context)
    data = load_view(sample_database, TrendsView, 8003, PEDESTAL)
    view.update(data)
    view.locate(8003)
    assert data.missing == 1
    numbers = {number[0]: number[1] for number in told(view)["numbers"]}
    assert numbers["runs"] == "3 of 4 (1 without)"
    assert numbers["run 8003"] == "no value"
    assert not view.plot._span.visible
    view.locate(8001)
    assert view.plot._span.location == 8001
    assert told(view)["trend"]["run"] == 8001


def test_every_statistic_can_be_chosen_and_nonsense_shows_the_default(sample_database):
    data = load_view(sample_database, TrendsView, 6001, CHARGE, statistic="<script>", axis="x")
    assert data.shown.statistic.name == "mean"
    assert not data.by_time
    assert data.note == (
        "There is no statistic “<script>” of this; the mean of the pixels is shown. "
        "There is no axis “x”; run numbers are shown."
    )
    names = [info.name for info in data.shown.statistics]
    assert {"mean", "sigma", "outliers"} <= set(names)
    assert "bad" not in names
    for name in names:
        found = load_view(sample_database, TrendsView, 6001, CHARGE, statistic=name, axis="time")
        assert found.shown.statistic.name == name
        assert (found.by_time, found.note) == (True, "")
        assert found.shown.statistic.title in found.trend.label


def test_the_run_itself_has_trends(sample_database):
    data = load_view(sample_database, TrendsView, 6001, RUN, statistic="absent_pixels")
    known = np.isfinite(data.trend.value)
    assert dict(zip(data.trend.run[known], data.trend.value[known], strict=True))[8001] == 84
    duration = load_view(sample_database, TrendsView, 6001, RUN, statistic="duration")
    assert (duration.trend.known > 0).all()
    assert duration.trend.unit == "s"


def test_every_offered_quantity_has_a_trend_or_a_reason(sample_database):
    context, _ = a_context(sample_database)
    view = TrendsView(context)
    with sample_database.snapshot() as snapshot:
        entries = snapshot.quantities("NectarCAMQM", 6001)
    choices = TrendsView.quantities(entries)
    assert choices[0].name == RUN
    shown = 0
    for choice in choices:
        try:
            data = load_view(sample_database, TrendsView, 6001, choice.name)
        except NothingToShow as reason:
            assert "no run of NectarCAMQM has values" in str(reason)
            continue
        shown += 1
        assert data.quantity == choice.name
        view.update(data)
        view.locate(6001)
        assert told(view)["quantity"] == choice.name
    assert shown > 60


def test_an_unknown_quantity_shows_another_one(sample_database):
    data = load_view(sample_database, TrendsView, 6001, "NONSENSE")
    assert data.quantity == "PED-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN"
    assert data.trend.title.startswith("Pedestal mean"), "the only statistic need not be named"


def test_a_biography_has_the_values_of_the_files(sample_database, samples):
    data = load_view(sample_database, PixelView, 6001, CHARGE, pixel="12")
    assert data.reason is None
    assert same(data.history.run, RUNS)
    raw = raw_values(sample_fits(samples, 6001))[CHARGE]
    assert data.history.value[0] == np.float32(raw[12])
    assert data.history.ids == (7, 8, 9, 10, 11, 13)
    assert data.history.around[5, 0] == np.float32(raw[13])
    assert data.history.median[0] == np.float32(np.median(raw))
    assert data.history.noun == "Pixel 12"


def test_absent_and_bad_runs_of_a_pixel_are_told(sample_database, samples):
    wave = raw_values(sample_fits(samples, 8001))["WF-PHY-HIGH-GAIN"]
    absent = int(np.flatnonzero(~np.isfinite(wave).all(axis=1))[0])
    data = load_view(sample_database, PixelView, 6001, CHARGE, pixel=str(absent))
    at = RUNS.index(8001)
    assert data.states.state[at] == ABSENT
    assert (8001, "absent: not read out") in [(c.run, c.text) for c in data.states.changes()]
    flags = load_view(sample_database, PixelView, 6001, FLAGS, pixel="0")
    assert flags.history.unit == "fraction of events"
    raw = raw_values(sample_fits(samples, 6001))["CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN"]
    bad = int(np.argmax(raw))
    states = load_view(sample_database, PixelView, 6001, CHARGE, pixel=str(bad)).states
    assert states.state[0] == BAD
    assert states.words(0).startswith("bad (flagged in ")


def test_a_module_is_the_mean_of_its_pixels(sample_database, samples):
    data = load_view(sample_database, PixelView, 6001, CHARGE, pixel="12", level="module")
    raw = raw_values(sample_fits(samples, 6001))[CHARGE]
    assert data.history.value[0] == pytest.approx(raw[7:14].mean(), rel=1e-6)
    assert data.history.ids == tuple(range(7, 14))
    assert data.history.noun == "Module 1"
    asked = {"pixel": "12", "level": "camera"}
    data = load_view(sample_database, PixelView, 6001, CHARGE, **asked)
    assert data.history.noun == "Pixel 12"
    assert data.note == "There is no level “camera”; pixels are shown."


@pytest.mark.parametrize("quantity", [CHARGE, FLAGS, TEMPERATURE])
def test_a_module_has_the_mean_that_the_map_of_modules_shows(tmp_path, quantity):
    settings = load(DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs", lock_dir=tmp_path)
    module = BAD_PIXEL // 7
    with open_writer(settings) as writer:
        for run in RUN_SERIES:
            writer.store_run(series_run(run), None)
        asked = {"pixel": str(BAD_PIXEL), "level": "module"}
        data = load_view(writer.database, PixelView, 6001, quantity, **asked)
        for run, value in zip(data.history.run, data.history.value, strict=True):
            pixels = load_view(writer.database, MapsView, int(run), quantity, level="module").pixels
            assert value == pytest.approx(pixels.values[7 * module], rel=1e-6)
        with writer.database.snapshot() as snapshot:
            found = deviations_of(snapshot, "NectarCAMQM", data.held, Subject(BAD_PIXEL, True))
    far = np.abs(found.rows[found.names.index(CHARGE)])
    assert far.max() < 5, "the mean of the module is without its bad pixel"


@pytest.mark.parametrize("pixel", ["", "-1", "1855", "1e3", "٣", "9" * 30, "x"])
def test_a_pixel_that_does_not_exist_is_asked_for_in_words(sample_database, pixel):
    context, fetches = a_context(sample_database)
    view = PixelView(context)
    data = load_view(sample_database, PixelView, 6001, CHARGE, pixel=pixel)
    assert data.history is None
    assert "Which pixel?" in data.reason
    view.update(data)
    view.locate(6001)
    assert told(view)["pixel"]["pixel"] is None
    note = f"There is no pixel “{pixel[:20]}”: they are 0–1854."
    assert told(view)["note"] == (note if pixel else "")
    assert fetches.waiting == {}


def biography(database, quantity, pixel):
    """As one session gets it, where the catalogue stays the same object."""
    return replace(load_view(database, PixelView, 6001, quantity, pixel=pixel), serial=1)


def test_all_quantities_are_read_after_the_first_one_and_kept_for_the_next(sample_database):
    context, fetches = a_context(sample_database)
    view = PixelView(context)
    view.update(biography(sample_database, CHARGE, pixel="12"))
    view.locate(6001)
    assert view.strips.source.data["y"] == []
    view.locate(7001)  # another run is looked at before the answer came
    assert fetches.answer() == 1
    rows = dict(zip(view.strips.source.data["name"], view.strips.source.data["image"], strict=True))
    assert len(rows) >= 30
    with sample_database.snapshot() as snapshot:
        statistics = snapshot.statistics("NectarCAMQM", 6001)[CHARGE]
        value = snapshot.pixel_maps("NectarCAMQM", 6001).of(CHARGE)[12]
    expected = (value - statistics["median"]) / statistics["sigma"]
    assert rows[CHARGE][0, 0] == pytest.approx(expected, rel=1e-4)
    view.update(biography(sample_database, FLAGS, pixel="12"))
    view.locate(7001)
    assert fetches.waiting == {}, "another quantity of the same pixel is there already"
    framed = view.strips.chosen.data["bottom"]
    assert len(framed) == 1
    view.update(biography(sample_database, FLAGS, pixel="13"))
    assert view.strips.source.data["y"] == [], "what is shown is of no other pixel"
    view.locate(7001)
    late = dict(fetches.waiting)
    view.update(biography(sample_database, FLAGS, pixel="14"))
    fetches.waiting = late
    fetches.answer()
    assert view.strips.source.data["y"] == [], "an answer about pixel 13 comes too late"


def test_every_map_has_a_biography_or_a_reason(sample_database):
    context, _ = a_context(sample_database)
    view = PixelView(context)
    for choice in PixelView.quantities(()):
        data = load_view(sample_database, PixelView, 6001, choice.name, pixel="900")
        assert data.quantity == choice.name
        assert (data.history is None) == (data.reason is not None)
        view.update(data)
        view.locate(6001)
        assert told(view)["pixel"]["pixel"] == 900


def test_a_quantity_that_was_never_measured_says_so(tmp_path):
    settings = load(DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs", lock_dir=tmp_path)
    with open_writer(settings) as writer:
        for run in (6001, 6002):
            writer.store_run(series_run(run), None)
        data = load_view(writer.database, PixelView, 6001, NEVER_MEASURED, pixel="1")
        view = PixelView(a_context(writer.database)[0])
    assert "was never measured by NectarCAMQM" in data.reason
    assert data.states is None
    view.update(data)
    shown = view.strips.x_range  # what there is of other quantities has to be in sight
    assert shown.start < 6001 < 6002 < shown.end


def test_a_pixel_that_was_absent_in_all_runs_says_so(tmp_path, samples):
    from ingest.reading import ReadJob, read_run

    content = read_run(ReadJob(samples / "NectarCAMQM_DQM_Run8001.tar.gz")).content
    settings = load(DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs", lock_dir=tmp_path)
    with open_writer(settings) as writer:
        writer.store_run(content, None)
        absent = str(content.header.absent_pixels[0])
        data = load_view(writer.database, PixelView, 8001, CHARGE, pixel=absent)
    assert data.history is None
    assert data.reason == f"Pixel {absent} was never read out: absent in 1 run."


def test_limits_are_drawn_as_they_were_valid_for_each_run(tmp_path, samples):
    folder = tmp_path / "thresholds"
    folder.mkdir()
    (folder / "NectarCAMQM.toml").write_text(LIMITS)
    settings = load(DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs", lock_dir=tmp_path)
    with open_writer(settings) as writer:
        writer.judge = Judge(folder)
        for run in RUN_SERIES:
            writer.store_run(series_run(run), None)
        data = load_view(writer.database, TrendsView, 6010, TEMPERATURE)
        context, _ = a_context(writer.database)
    assert {limits.status for limits in data.trend.limits} >= {2, 3}
    bad = next(limits for limits in data.trend.limits if limits.status == 3)
    assert bad.at(6001.0)[1] == 30.0
    assert bad.at(6020.0)[1] == 22.0
    assert 6009 < bad.start[1] < 6011
    assert data.verdicts.keys() != {-1}
    view = TrendsView(context)
    view.update(data)
    view.locate(6015)
    (found,) = [limits for limits in told(view)["trend"]["limits"] if limits[0] == 3]
    assert "above 22 °C" in found[1]
