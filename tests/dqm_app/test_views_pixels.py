"""Views of per-pixel quantities on the sample runs: right values, right mask, reasons in words."""

from __future__ import annotations

import numpy as np
import pytest
from bokeh.models import ColumnDataSource, LinearColorMapper, Plot
from plot_runs import a_context, load_view, same
from results_files import raw_values, sample_fits

from dqm_app.plots.camera_map import CameraMap
from dqm_app.plots.curves import Curves
from dqm_app.plots.pixels import ABSENT, BAD, PixelSource, PixelValues
from dqm_app.theme import themes
from dqm_app.views import VIEWS, NothingToShow
from dqm_app.views.maps import MapsData, MapsView
from dqm_app.views.pingpong import PingPongView
from dqm_app.views.pixel_data import mask_of, pixel_info
from dqm_app.views.temperature import TemperatureView
from dqm_db.content import N_PIXELS, Kind
from dqm_db.quantities import describe, known_quantities

CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"


@pytest.mark.parametrize("gain", ["HIGH", "LOW"])
@pytest.mark.parametrize(
    ("events", "mask"),
    [
        ("IMAGE", "CAMERA-BADPIX-PHY-OVEREVENTS-{gain}-GAIN-FRACTION"),
        ("PED", "CAMERA-BADPIX-PED-PHY-OVEREVENTS-{gain}-GAIN-FRACTION"),
    ],
)
def test_every_map_has_the_mask_of_its_own_gain_and_class(gain, events, mask):
    info = describe(f"CHARGE-INTEGRATION-{events}-ALL-STD-{gain}-GAIN")
    assert mask_of(info) == mask.format(gain=gain)


def test_every_mask_is_a_known_quantity_and_sensors_have_none():
    maps = [info for info in known_quantities().values() if info.kind is Kind.PIXEL_MAP]
    masks = {mask_of(info) for info in maps} - {None}
    assert len(masks) == 4
    assert masks <= known_quantities().keys()
    assert mask_of(describe("CAMERA-TEMPERATURE-AVERAGE")) is None


def test_the_map_shows_the_values_of_the_file(sample_database, samples):
    raw = raw_values(sample_fits(samples, 6001))
    data = load_view(sample_database, MapsView, 6001, CHARGE)
    assert same(data.pixels.values, raw[CHARGE])
    context, _ = a_context(sample_database)
    view = MapsView(context)
    view.update(data)
    assert same(view.map.source.data["value"], raw[CHARGE])
    counts = raw["CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN"]
    assert same(data.pixels.state == BAD, counts > 0.5 * 276)
    assert view.root.tags[0]["quantity"] == CHARGE


def test_the_mask_of_the_low_gain_is_not_that_of_the_high_gain(sample_database, samples):
    raw = raw_values(sample_fits(samples, 6001))
    low = load_view(sample_database, MapsView, 6001, CHARGE.replace("HIGH", "LOW")).pixels
    high = load_view(sample_database, MapsView, 6001, CHARGE).pixels
    for data, gain in ((low, "LOW"), (high, "HIGH")):
        counts = raw[f"CAMERA-BADPIX-PHY-OVEREVENTS-{gain}-GAIN"]
        assert data.mask == f"CAMERA-BADPIX-PHY-OVEREVENTS-{gain}-GAIN-FRACTION"
        assert same(data.bad_fraction, counts / 276)
    assert not same(low.bad_fraction, high.bad_fraction)


def test_absent_modules_are_absent_and_not_zero(sample_database):
    data = load_view(sample_database, MapsView, 8001, CHARGE).pixels
    absent = data.state == ABSENT
    assert absent.sum() == 84
    assert np.isnan(data.values[absent]).all()
    assert np.isfinite(data.values[~absent]).all()
    context, _ = a_context(sample_database)
    view = MapsView(context)
    view.update(load_view(sample_database, MapsView, 8001, CHARGE))
    info = view.root.tags[0]
    assert info["legend"]["absent"] == 84
    assert "84 absent pixels" in info["legend"]["absentText"]


def test_the_default_is_the_charge_and_an_unknown_quantity_leads_there(sample_database):
    for wish in (None, "NO-SUCH-QUANTITY", "WF-PHY-HIGH-GAIN"):
        assert load_view(sample_database, MapsView, 6001, wish).quantity == CHARGE


def test_a_quantity_that_a_run_lacks_is_explained_not_replaced(sample_database):
    with pytest.raises(NothingToShow, match=r"pedestal events.*the run has no pedestal events"):
        load_view(sample_database, MapsView, 8003, CHARGE.replace("IMAGE", "PED"))


def test_the_chooser_lists_what_a_run_lacks_with_the_reason(sample_database):
    with sample_database.snapshot() as snapshot:
        entries = snapshot.quantities("NectarCAMQM", 8003)
    offered = {choice.name: choice for choice in MapsView.quantities(entries)}
    missing = offered[CHARGE.replace("IMAGE", "PED")]
    assert not missing.available
    assert "no pedestal events" in missing.reason
    assert offered[CHARGE].available
    assert offered[CHARGE].reason is None


def test_a_change_of_run_or_quantity_keeps_what_is_picked(sample_database):
    context, _ = a_context(sample_database)
    view = MapsView(context)
    view.update(load_view(sample_database, MapsView, 6001, CHARGE))
    context.pixels.pick([12, 13])
    view.update(load_view(sample_database, MapsView, 8001, CHARGE.replace("HIGH", "LOW")))
    assert context.pixels.picked == (12, 13)
    assert view.map.source.selected.indices == [12, 13]


def test_temperatures_of_picked_modules_are_fetched(sample_database, samples):
    raw = raw_values(sample_fits(samples, 6001))
    context, fetches = a_context(sample_database)
    view = TemperatureView(context)
    view.update(load_view(sample_database, TemperatureView, 6001))
    trend = raw["CAMERA-TEMPERATURE-TREND"]
    assert same(view.trend.source.data["low"], trend.min(axis=0))
    assert same(view.map.source.data["value"], raw["CAMERA-TEMPERATURE-AVERAGE"])
    assert fetches.waiting == {}
    context.pixels.pick([7, 8, 700])
    assert fetches.answer() == 1
    drawn = view.trend.picked.source.data
    assert drawn["id"] == [1, 100]
    assert same(drawn["y"][1], trend[100])
    context.pixels.pick([])
    assert fetches.answer() == 0
    assert view.trend.picked.source.data["id"] == []


def test_ping_pong_shows_changes_and_their_times_in_utc(sample_database, samples):
    raw = raw_values(sample_fits(samples, 6001))
    context, _ = a_context(sample_database)
    view = PingPongView(context)
    data = load_view(sample_database, PingPongView, 6001)
    view.update(data)
    times = np.sort(raw["CAMERA-PING-PONG-CHANGES-TIMES"]) - 37.0
    assert view.times.source.data["time"] == pytest.approx(times * 1000)
    assert same(view.map.source.data["value"], raw["CAMERA-PING-PONG-CHANGES"])
    numbers = {label: value for label, value, *_ in view.root.tags[0]["numbers"]}
    assert numbers["times"] == str(times.size)


@pytest.mark.parametrize("name", list(VIEWS))
def test_every_view_shows_every_sample_run_in_both_themes(sample_database, name):
    context, fetches = a_context(sample_database)
    context.pixels.pick([0, 900])
    view = VIEWS[name](context)
    for run in (6001, 8001, 8003, 7001):
        view.update(load_view(sample_database, VIEWS[name], run))
        fetches.answer()
        view.restyle(themes()["dark" if run == 8001 else "light"])
        assert view.root.tags[0]["view"] == name
    assert view.root.name == f"figures-{name}"


@pytest.mark.parametrize("name", list(VIEWS))
def test_an_update_builds_nothing(sample_database, name):
    context, fetches = a_context(sample_database)
    view = VIEWS[name](context)
    view.update(load_view(sample_database, VIEWS[name], 6001))
    models = {model.id for model in view.root.references()}
    figures = sum(isinstance(model, Plot) for model in view.root.references())
    assert len(models) < max(170, 50 * figures), "each model costs server and browser time"
    view.update(load_view(sample_database, VIEWS[name], 8001))
    fetches.answer()
    assert {model.id for model in view.root.references()} == models


def test_all_pixel_columns_are_little_endian_floats_or_small_integers(sample_database):
    context, _ = a_context(sample_database)
    view = MapsView(context)
    view.update(load_view(sample_database, MapsView, 6001, CHARGE))
    for plot in (view.map, view.scatter, view.histogram):
        for renderer in plot.figure.renderers:
            for name, column in renderer.data_source.data.items():
                if name not in {"words", "marker"}:
                    assert isinstance(column, np.ndarray), name
                    assert column.dtype.str in {"<f8", "<f4", "<i4", "<i2", "|u1"}, name
    assert view.map.source.data["value"].shape == (N_PIXELS,)


def test_colours_of_counts_run_from_zero_over_all_pixels():
    info = describe("CAMERA-PING-PONG-CHANGES")
    none = PixelValues.of(info, np.zeros(N_PIXELS), np.empty(0, int))
    assert none.auto == (0.0, 1.0)
    one_module = np.zeros(N_PIXELS)
    one_module[:7] = 4.0
    few = PixelValues.of(info, one_module, np.empty(0, int))
    assert few.auto == (0.0, 4.0), "percentiles would hide a single module"
    source = ColumnDataSource(data=dict(PixelSource().source("any").data))
    plot = CameraMap("any-map", themes()["light"], source, LinearColorMapper(low=0, high=1))
    plot.update(few)
    assert plot.colour_bar.ticker.min_interval == 1
    assert pixel_info(few)["range"]["autoText"] == "0–max"


def test_pixels_without_a_value_are_counted_and_a_map_without_any_is_explained(sample_database):
    context, _ = a_context(sample_database)
    view = MapsView(context)
    data = load_view(sample_database, MapsView, 6001, CHARGE)
    info, whole = describe(CHARGE), data.pixels.values
    some = whole.copy()
    some[[3, 4, 5]] = np.nan, np.inf, -np.inf
    for values, text in (
        (some, "3 pixels without a value"),
        (some * np.nan, "1,855 pixels without"),
    ):
        view.update(MapsData(CHARGE, PixelValues.of(info, values, np.empty(0, int))))
        told = view.root.tags[0]
        assert told["legend"]["noValueText"].startswith(text)
        nothing = np.isnan(values).all()
        assert (told["range"] is None) == (told["numbers"] == []) == nothing
        for plot in (view.map, view.scatter, view.histogram):
            explained = plot._message is not None and plot._message.visible
            assert explained == nothing
        assert view.map.colour_bar.visible != nothing
    assert view.map._message.text == "No pixel has a value."
    view.update(data)
    assert view.root.tags[0]["legend"]["noValue"] == 0
    assert not view.map._message.visible and view.map.colour_bar.visible


def test_numbers_beside_a_map_say_which_pixels_they_are_of(sample_database):
    data = load_view(sample_database, MapsView, 6001, CHARGE).pixels
    bad = int((data.state == BAD).sum())
    told = pixel_info(data)
    assert told["legend"]["badText"] == f"{bad} bad in this gain and class"
    assert "50 %" in told["legend"]["badNote"]
    assert told["numbers"][0][0] == "good pixels: min"
    temperatures = load_view(sample_database, TemperatureView, 6001).pixels
    assert pixel_info(temperatures)["numbers"][0][0] == "min"


def test_curves_say_how_many_of_the_picked_are_drawn():
    curves = Curves.of(np.ones((N_PIXELS, 3)), range(N_PIXELS))
    assert curves.drawn_of("pixel") == "40 of 1,855 picked pixels drawn"
