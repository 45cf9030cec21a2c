"""Each condition shows in the file as it does in production."""

import io

import numpy as np
import pytest
from astropy.io import fits

from dqm.simulation import Condition, condition_named, named_conditions, simulate_results
from dqm_db.errors import ConfigurationError

START = 1746145800


def hdus_of(condition: str, **arguments) -> fits.HDUList:
    results = simulate_results(
        "NectarCAMQM", 7, start=START, condition=condition_named(condition), **arguments
    )
    return fits.open(io.BytesIO(results))


def column(hdus: fits.HDUList, name: str) -> np.ndarray:
    return np.asarray(hdus[name].data.field(0))


@pytest.fixture(scope="module")
def healthy() -> fits.HDUList:
    return hdus_of("healthy")


@pytest.mark.parametrize("name", named_conditions())
def test_every_named_condition_is_valid_fits(name):
    hdus = hdus_of(name, events=50)
    hdus.verify("exception")
    names = [hdu.name for hdu in hdus[1:]]
    assert len(set(names)) == len(names)
    assert "WF-PHY-HIGH-GAIN" in names


def test_only_pedestals():
    hdus = hdus_of("only_pedestals")
    for gain in ("HIGH", "LOW"):
        assert not hdus[f"WF-PHY-{gain}-GAIN"].data.any()
        assert hdus[f"WF-PHY-{gain}-GAIN"].shape == (1855, 60)
        assert hdus[f"WF-PHY-AVERAGE-PIX-{gain}-GAIN"].header["TFIELDS"] == 0
    rest = [hdu.name for hdu in hdus if not hdu.name.startswith("WF-")]
    assert not [name for name in rest if "-PHY-" in name.replace("PED-PHY", "PED")]
    assert not [name for name in rest if "IMAGE" in name]
    assert column(hdus, "TRIGGER-TYPES").tolist() == [2]
    assert np.isfinite(hdus["WF-PED-HIGH-GAIN"].data).all()


@pytest.mark.parametrize(
    ("condition", "fill"), [("absent_modules", np.inf), ("absent_modules_pre_v6", 65535.0)]
)
def test_absent_modules(condition, fill):
    hdus = hdus_of(condition)
    waveforms = hdus["WF-PHY-HIGH-GAIN"].data
    absent = np.flatnonzero((waveforms == fill).all(axis=1))
    present = np.setdiff1d(np.arange(1855), absent)
    assert len(absent) == 12 * 7
    assert np.array_equal(absent.reshape(12, 7) // 7, np.repeat(absent[::7, None] // 7, 7, 1))
    assert waveforms[present].max() < 1000
    for name in ("WF-PED-HIGH-GAIN", "WF-PHY-LOW-GAIN", "WF-PED-LOW-GAIN"):
        assert np.array_equal(np.flatnonzero(hdus[name].data[:, 0] == fill), absent)
    camera = column(hdus, "WF-PHY-AVERAGE-PIX-HIGH-GAIN")
    np.testing.assert_allclose(camera, waveforms.mean(axis=0), rtol=1e-6)
    assert len(column(hdus, "CHARGE-INTEGRATION-IMAGE-ALL-RMS-LOW-GAIN")) == len(present)
    averages = column(hdus, "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN")
    order = np.concatenate([np.arange(84), present])
    np.testing.assert_allclose(averages, waveforms[order].mean(axis=1), atol=1e-3)
    bad = column(hdus, "CAMERA-BADPIX-PHY-OVEREVENTS-LOW-GAIN")
    flat = present[waveforms[present].std(axis=1) == 0]
    assert set(order[84:][bad[84:] > 0]) == set(flat)
    assert len(flat) == 9


def test_absent_pixels_among_those_stored_twice():
    results = simulate_results(
        "NectarCAMQM", 7, start=START, events=50, condition=Condition(absent_modules=100)
    )
    hdus = fits.open(io.BytesIO(results))
    averages = column(hdus, "CAMERA-AVERAGE-PED-OVEREVENTS-OVERSAMP-LOW-GAIN")
    absent = np.isinf(hdus["WF-PED-LOW-GAIN"].data[:, 0])
    assert absent[:700].any()
    assert np.array_equal(np.isinf(averages[:700]), absent[:700])
    assert np.isfinite(averages[700:]).all()


def test_front_end_before_v6_has_no_ping_pong(healthy):
    names = {hdu.name for hdu in hdus_of("pre_v6")}
    lost = {hdu.name for hdu in healthy} - names
    assert lost == {"CAMERA-PING-PONG-CHANGES", "CAMERA-PING-PONG-CHANGES-TIMES"}


def test_no_temperature_leaves_empty_tables(healthy):
    hdus = hdus_of("no_temperature")
    assert [hdu.name for hdu in hdus] == [hdu.name for hdu in healthy]
    for quantity in ("AVERAGE", "STD", "TREND"):
        hdu = hdus[f"CAMERA-TEMPERATURE-{quantity}"]
        assert isinstance(hdu, fits.BinTableHDU)
        assert (hdu.header["TFIELDS"], hdu.header["NAXIS1"], hdu.header["NAXIS2"]) == (0, 0, 0)


def test_healthy_run_has_a_ping_pong_table_without_rows(healthy):
    hdu = healthy["CAMERA-PING-PONG-CHANGES-TIMES"]
    assert hdu.header["TFORM1"] == "D"
    assert len(hdu.data) == 0
    assert "TRIGGER-EVENTS-WRONG" not in healthy


def test_no_others():
    hdus = hdus_of("no_others")
    assert "TRIGGER-EVENTS-OTHERS" not in hdus
    assert "TRIGGER-EVENTS-WRONG" not in hdus
    assert hdus["TRIGGER-STATISTICS"].data["Others"].tolist() == [0]


def test_long_run():
    hdus = hdus_of("long")
    times = hdus["TRIGGER-EVENTS-ALL"].data["Timestamps"]
    assert 19900 < len(times) < 20000
    assert len(column(hdus, "CAMERA-BADPIXTIMELINE-PHY-HIGH-GAIN")) == 20000
    assert 40 <= np.count_nonzero(np.diff(times) < 0) <= 48
    assert np.ptp(times) == pytest.approx(20.0, rel=0.05)


def test_negative_steps():
    times = hdus_of("negative_steps")["TRIGGER-EVENTS-ALL"].data["Timestamps"]
    assert np.count_nonzero(np.diff(times) < 0) > 10


def test_bad_pixels():
    counts = column(hdus_of("bad_pixels"), "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN")
    assert np.count_nonzero(counts == counts.max()) == 120 + 8 * 7
    assert np.count_nonzero(counts) == 120 + 12 * 7 + 150


def test_hot_module_is_warmer_than_all_others(healthy):
    hot = column(hdus_of("hot_module"), "CAMERA-TEMPERATURE-AVERAGE")
    cool = column(healthy, "CAMERA-TEMPERATURE-AVERAGE")
    assert np.count_nonzero(hot > cool.max() + 3.0) == 7
    trend = hdus_of("hot_module")["CAMERA-TEMPERATURE-TREND"].data
    warmest = trend[trend.mean(axis=1).argmax()]
    assert warmest[-1] > warmest[0]


def test_noisy_and_hot_pixels(healthy):
    hdus = hdus_of("noisy_pixels")
    usual = column(healthy, "CHARGE-INTEGRATION-PED-ALL-STD-HIGH-GAIN")
    noisy = column(hdus, "CHARGE-INTEGRATION-PED-ALL-STD-HIGH-GAIN")
    assert np.count_nonzero(noisy > 1.3 * usual.max()) >= 20
    usual = column(healthy, "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN")
    bright = column(hdus, "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN")
    assert np.count_nonzero(bright > usual.max() + 100) >= 5


def test_pedestal_subtracted_charges():
    hdus = hdus_of("pedestal_subtracted")
    charge = column(hdus, "CHARGE-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN")
    assert abs(charge.mean()) < 50
    assert column(hdus, "PED-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN")[0] == pytest.approx(
        column(hdus, "WF-PED-AVERAGE-PIX-HIGH-GAIN")[20], abs=1e-3
    )


def test_unknown_quantities_come_last(healthy):
    hdus = hdus_of("unknown_quantities")
    assert [hdu.name for hdu in hdus[:-2]] == [hdu.name for hdu in healthy]
    image, table = hdus[-2:]
    assert isinstance(image, fits.ImageHDU)
    assert image.shape == (32, 16)
    assert len(table.data) == 265
    assert len(table.columns) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"pedestal_fraction": 0.7, "flatfield_fraction": 0.4},
        {"pedestal_fraction": -0.1},
        {"rate": 0.0},
        {"absent_modules": 200, "dead_modules": 66},
        {"dead_pixels": 1856},
        {"wrong_times": -1},
    ],
)
def test_impossible_conditions_are_refused(fields):
    with pytest.raises(ConfigurationError):
        Condition(**fields)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"'sunny'.*healthy, complete"):
        condition_named("sunny")


def test_a_run_without_events_is_refused():
    with pytest.raises(ConfigurationError, match="at least one event"):
        simulate_results("NectarCAMQM", 1, start=START, events=0)
