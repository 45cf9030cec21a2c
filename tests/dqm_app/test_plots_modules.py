"""Roll-up of pixels to modules: what goes into a mean, and what is told of it."""

from __future__ import annotations

import numpy as np
import pytest
from bokeh.models import LinearColorMapper
from plot_runs import a_context, load_view

from dqm_app.plots.camera_map import CameraMap
from dqm_app.plots.histogram import ValueHistogram
from dqm_app.plots.modules import rolled_up
from dqm_app.plots.pixels import ABSENT, BAD, GOOD, NO_VALUE, PixelSource, PixelValues, pixel_table
from dqm_app.theme import themes
from dqm_app.views.maps import MapsView
from dqm_db.content import N_PIXELS
from dqm_db.quantities import describe

CHARGE = describe("CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN")
FRACTION = describe("CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION")
NOBODY = np.empty(0, int)


def ramp() -> np.ndarray:
    return 100.0 + np.arange(N_PIXELS)


def test_every_pixel_has_the_mean_of_its_module_and_its_spread():
    data = rolled_up(PixelValues.of(CHARGE, ramp(), NOBODY))
    assert data.modules is not None
    assert data.values[:14].tolist() == [103.0] * 7 + [110.0] * 7
    assert data.modules.std == pytest.approx(np.full(N_PIXELS, 2.0))
    assert (data.modules.pixels == 7).all()
    assert data.statistics.pixels == 265
    assert data.histogram.good.sum() + data.histogram.below + data.histogram.above == 265
    assert data.full == (103.0, 103.0 + 7 * 264)
    assert data.noun == "module"


def test_bad_absent_and_valueless_pixels_stay_out_of_the_mean():
    values, fraction = ramp(), np.zeros(N_PIXELS)
    values[[0, 1]] = 1e6
    fraction[0] = 0.9  # bad, far off
    values[1] = np.nan  # read out, no value
    values[7:14] = np.nan  # absent
    fraction[14:21] = 0.9  # a module of bad pixels only
    data = rolled_up(PixelValues.of(CHARGE, values, np.arange(7, 14), fraction, "MASK"))
    assert data.modules is not None
    assert data.values[:7] == pytest.approx(np.full(7, np.mean([102, 103, 104, 105, 106])))
    assert data.modules.pixels[0] == 5
    assert data.state[:3].tolist() == [BAD, NO_VALUE, GOOD]
    assert (data.state[7:14] == ABSENT).all()
    assert np.isnan(data.values[7:21]).all()
    assert (data.state[14:21] == NO_VALUE).all()
    assert data.flagged[14:21].all(), "they keep their crosses"
    assert data.statistics.pixels == 263


def test_where_badness_is_shown_bad_pixels_count():
    fraction = np.zeros(N_PIXELS)
    fraction[0] = 0.7
    pixels = PixelValues.of(FRACTION, fraction, NOBODY, fraction, "MASK", count_bad=True)
    data = rolled_up(pixels)
    assert data.values[0] == pytest.approx(0.1)
    assert data.auto == (0.0, 1.0)


def test_a_camera_without_values_has_no_modules_either():
    data = rolled_up(PixelValues.of(CHARGE, np.full(N_PIXELS, np.nan), np.arange(N_PIXELS)))
    assert data.nothing
    assert (data.state == ABSENT).all()


def test_the_plots_say_that_these_are_modules():
    source = PixelSource().source("any")
    mapper = LinearColorMapper(low=0, high=1)
    camera = CameraMap("map", themes()["light"], source, mapper)
    histogram = ValueHistogram("histogram", themes()["light"], source, mapper)
    pixels = PixelValues.of(CHARGE, ramp(), NOBODY)
    for data in (rolled_up(pixels), pixels):
        camera.update(data)
        histogram.update(data)
        whole = data.modules is not None
        assert ("@std" in camera.hover.tooltips) == whole
        assert ("265 modules" in histogram.title.text) == whole
        assert histogram.y_axis.axis_label == ("Modules" if whole else "Pixels")
        names = [column.name for column in pixel_table(source, data).columns]
        assert ("mean of the module" in names) == whole
        assert source.data["value"][0] == (103.0 if whole else 100.0)


@pytest.mark.parametrize(
    ("level", "modules", "note"), [("module", True, ""), ("MODULE ", True, ""), ("x", False, "“x”")]
)
def test_the_level_is_an_option_and_a_wrong_one_is_said(sample_database, level, modules, note):
    data = load_view(sample_database, MapsView, 8001, level=level)
    assert (data.pixels.modules is not None) == modules
    view = MapsView(a_context(sample_database)[0])
    view.update(data)
    info = view.root.tags[0]
    assert info["level"] == ("module" if modules else "pixel")
    assert note in info["note"]
    assert info["legend"]["absent"] == 84
