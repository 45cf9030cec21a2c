"""Campaigns: a plausible series of runs, and `dqm simulate`, which writes one."""

import io
import itertools
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from dqm.cli import dqm
from dqm.simulation import campaign, named_conditions, plan_campaign, simulate_results

CAMERAS = ("NectarCAMQM", "NectarCAM2")
UNTIL = datetime(2026, 3, 14, 12, tzinfo=UTC).timestamp()


def test_a_short_campaign_shows_variety():
    plan = plan_campaign(CAMERAS, 6, until=UNTIL)
    conditions = [planned.condition for planned in plan]
    assert {"absent_modules", "no_temperature", "bad_pixels", "complete"} <= set(conditions)
    assert conditions[-1] == "complete"
    assert {planned.camera for planned in plan} == set(CAMERAS)


@pytest.mark.parametrize("runs", [1, 2, 3, 7, 300])
def test_runs_are_in_order_of_time_and_number(runs):
    plan = plan_campaign(CAMERAS, runs, until=UNTIL)
    assert len(plan) == runs
    assert all(a.start <= b.start for a, b in itertools.pairwise(plan))
    assert plan[-1].start < UNTIL
    for planned in plan:
        assert not 5 <= datetime.fromtimestamp(planned.start, UTC).hour < 20
    for camera in CAMERAS:
        numbers = [planned.run for planned in plan if planned.camera == camera]
        assert numbers == sorted(set(numbers))
        if len(numbers) > 10:
            assert numbers[-1] - numbers[0] > len(numbers)  # with gaps


def test_a_long_campaign_is_mostly_healthy_and_has_every_condition():
    conditions = [planned.condition for planned in plan_campaign(CAMERAS, 2000, until=UNTIL)]
    assert set(conditions) == set(named_conditions())
    assert conditions.count("healthy") > 1000


def test_pixels_die_and_stay_dead():
    plan = [p for p in plan_campaign(CAMERAS, 300, until=UNTIL) if p.camera == "NectarCAMQM"]
    dead: set[int] = set()
    for planned in plan:
        assert set(planned.dead_pixels) >= dead
        assert len(planned.dead_pixels) == len(dead) + planned.new_dead_pixels
        assert ("died" in planned.description) == bool(planned.new_dead_pixels)
        dead = set(planned.dead_pixels)
    assert 3 <= len(dead) <= 12


def test_the_same_plan_for_the_same_seed_only():
    plan = plan_campaign(CAMERAS, 50, seed=4, until=UNTIL)
    assert plan == plan_campaign(CAMERAS, 50, seed=4, until=UNTIL)
    assert plan != plan_campaign(CAMERAS, 50, seed=5, until=UNTIL)


def test_plans_end_by_now_without_a_date():
    before = datetime.now(UTC).timestamp()
    last = plan_campaign(CAMERAS, 4)[-1]
    assert before - 3 * 86400 < last.start < before


def test_one_file_at_a_time(tmp_path):
    runs = campaign(tmp_path, CAMERAS, 3, until=UNTIL, events=20)
    path, description = next(runs)
    assert list(tmp_path.iterdir()) == [path]
    assert path.name.startswith(tuple(CAMERAS))
    assert "UTC" in description
    assert len(list(runs)) == 2


def test_dead_pixels_show_in_the_file():
    results = simulate_results("NectarCAMQM", 5, start=1746145800, events=20, dead_pixels=[11, 800])
    hdus = fits.open(io.BytesIO(results))
    flat = np.flatnonzero(hdus["WF-PHY-HIGH-GAIN"].data.std(axis=1) == 0)
    assert {11, 800} <= set(flat)
    assert len(flat) == 2 + 3


def test_cameras_differ_and_drift_slowly():
    def pedestals(camera: str, day: int) -> np.ndarray:
        start = 1746145800 + 86400 * day
        hdus = fits.open(io.BytesIO(simulate_results(camera, day, start=start, events=2000)))
        return hdus["CAMERA-AVERAGE-PED-OVEREVENTS-OVERSAMP-HIGH-GAIN"].data.field(0)

    first, later, much_later = (pedestals("NectarCAMQM", day) for day in (0, 1, 60))
    other = pedestals("NectarCAM2", 0)
    assert (later - first).std() < (much_later - first).std() < (other - first).std()
    assert (much_later - first).std() < 2.0


def invoke(*arguments: str | Path) -> tuple[int, list[str]]:
    result = CliRunner().invoke(dqm, ["simulate", *map(str, arguments)])
    return result.exit_code, result.stdout.splitlines()


def test_command_writes_and_names_the_files(tmp_path):
    options = ("--runs", "3", "--events", "20", "--until", "2026-03-14", "--camera", "NectarCAM7")
    code, lines = invoke("--out", tmp_path / "new", *options)
    assert code == 0
    assert sorted(lines) == sorted(str(path) for path in (tmp_path / "new").iterdir())
    assert all(Path(line).name.startswith("NectarCAM7_DQM_Run") for line in lines)
    code, again = invoke("--out", tmp_path / "again", *options)
    contents = [Path(line).read_bytes() for line in lines]
    assert contents == [Path(line).read_bytes() for line in again]


def test_command_takes_conditions_in_turn(tmp_path):
    code, lines = invoke(
        "--out", tmp_path, "--runs", "3", "--events", "20", "--until", "2026-03-14",
        "--condition", "no_pedestals", "--condition", "pre_v6",
    )  # fmt: skip
    assert code == 0
    kinds = []
    for line in lines:
        with tarfile.open(line) as tar:
            file = tar.extractfile(tar.getmembers()[-1])
            assert file is not None
            names = {hdu.name for hdu in fits.open(io.BytesIO(file.read()))}
        kinds.append(("WF-PED-HIGH-GAIN" in names, "CAMERA-PING-PONG-CHANGES" in names))
    assert kinds == [(False, True), (True, False), (False, True)]


def test_command_lists_conditions():
    code, lines = invoke("--list-conditions")
    assert code == 0
    assert [line.split()[0] for line in lines] == list(named_conditions())


def test_command_refuses_an_unknown_condition(tmp_path):
    result = CliRunner().invoke(
        dqm, ["simulate", "--out", str(tmp_path / "out"), "--condition", "sunny"]
    )
    assert result.exit_code != 0
    assert "sunny" in str(result.exception)
    assert not (tmp_path / "out").exists()
