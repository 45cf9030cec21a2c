"""``dqm recheck`` and the verdict in ``dqm runs``, as users call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from calling import Call, caller
from results_files import write_run

from dqm_db.storage import checked_root
from dqm_db.writer import open_writer

CAMERA = "NectarCAMQM"


@pytest.fixture
def environment(file_settings) -> dict[str, str]:
    return {"DQM_DB_URL": file_settings.db_url, "DQM_LOCK_DIR": str(file_settings.lock_dir)}


@pytest.fixture
def call(environment, samples, tmp_path) -> Call:
    """A database with two sample runs: 6001, which is good, and 8001 without 12 modules."""
    call = caller(environment)
    files = [samples / f"{CAMERA}_DQM_Run{run}.tar.gz" for run in (6001, 8001)]
    assert call("ingest", *files).code == 0
    return call


@pytest.fixture
def stricter(tmp_path) -> Path:
    (tmp_path / f"{CAMERA}.toml").write_text(
        "[[valid]]\nfrom_run = 7000\n[valid.limits.absent-modules]\nbad = [0, 2]\n"
    )
    return tmp_path


def test_runs_lists_the_verdict_in_a_word(call):
    lines = call("runs").out.splitlines()
    assert "verdict" in " ".join(lines[:2])
    assert "WARNING" in lines[-2].split() and "INFO" in lines[-1].split()
    rows = [json.loads(line) for line in call("runs", "--json").out.splitlines()]
    assert {row["run"]: row["verdict"] for row in rows} == {6001: "INFO", 8001: "WARNING"}


def test_preview_says_what_would_change_and_changes_nothing(call, environment, stricter):
    strict = caller(environment | {"DQM_THRESHOLDS_DIR": str(stricter)})
    done = strict("recheck", "--preview")
    assert done.code == 0
    line, total = done.out.splitlines()
    assert line == f"{CAMERA} run 8001: WARNING -> BAD: Absent modules: 12 modules, above 2."
    assert total.startswith("recheck: 2 runs judged, 1 would change in ")
    assert total.endswith("; WARNING -> BAD: 1")
    assert strict("recheck", "--preview").out.splitlines()[0] == line


def test_recheck_changes_it_once(call, environment, stricter):
    strict = caller(environment | {"DQM_THRESHOLDS_DIR": str(stricter)})
    done = strict("recheck", "--json")
    assert json.loads(done.out) == {
        "camera": CAMERA,
        "run": 8001,
        "before": "WARNING",
        "after": "BAD",
        "checks": [
            {
                "check": "absent-modules",
                "before": "WARNING",
                "after": "BAD",
                "value": 12.0,
                "text": "Absent modules: 12 modules, above 2.",
            }
        ],
    }
    assert "1 changed" in done.err
    again = strict("recheck", "--json")
    assert again.out == "" and "2 runs judged, 0 changed" in again.err
    rows = [json.loads(line) for line in call("runs", "--json").out.splitlines()]
    assert {row["run"]: row["verdict"] for row in rows} == {6001: "INFO", 8001: "BAD"}


def test_another_reason_for_the_same_verdict_is_said(call, environment, tmp_path):
    (tmp_path / "default.toml").write_text(
        "[[valid]]\n[valid.limits.trigger-rate]\nwarning = [51, 100]\n"
    )
    strict = caller(environment | {"DQM_THRESHOLDS_DIR": str(tmp_path)})
    first, total = strict("recheck", "--preview", "--runs", "6001").out.splitlines()
    assert first == f"{CAMERA} run 6001: INFO -> WARNING: Trigger rate: 50.4 Hz, below 51."
    assert total.endswith("; INFO -> WARNING: 1")
    (tmp_path / "default.toml").write_text(
        "[[valid]]\n[valid.limits.trigger-rate]\nwarning = [60, 100]\n"
    )
    first, total = strict("recheck", "--preview", "--runs", "8001").out.splitlines()
    assert first == f"{CAMERA} run 8001: WARNING as before, but: Trigger rate: 53.7 Hz, below 60."
    assert "1 would change" in total and "->" not in total


def test_a_damaged_run_is_named(call, environment, file_settings, stricter):
    with open_writer(file_settings) as writer:

        def spoil(connection) -> None:
            checked_root(connection, "").cameras[CAMERA].runs[6001].header = b"rubbish"

        writer.commit("spoil", spoil)
    strict = caller(environment | {"DQM_THRESHOLDS_DIR": str(stricter)})
    done = strict("recheck")
    assert done.code == 1
    assert f"failed: {CAMERA} run 6001: " in done.out
    assert "1 runs judged, 1 changed, 1 failed in " in done.out


def test_limits_of_a_camera_that_is_not_there_are_named(call, environment, stricter):
    (stricter / "default.toml").write_text("")
    strict = caller(environment | {"DQM_THRESHOLDS_DIR": str(stricter)})
    assert strict("recheck", "--preview").err == ""
    (stricter / f"{CAMERA}.toml").rename(stricter / "NectarCamQM.toml")
    for arguments in (["recheck", "--preview"], ["recheck"]):
        done = strict(*arguments)
        assert done.code == 0 and "2 runs judged, 0 " in done.out
        assert "limits of a camera NectarCamQM, of which no run is stored" in done.err


def test_only_some_runs(call, environment, stricter):
    strict = caller(environment | {"DQM_THRESHOLDS_DIR": str(stricter)})
    assert "1 runs judged, 0 changed" in strict("recheck", "--runs", "6000-7000").out
    assert strict("recheck", "--camera", "NectarCAM9").code == 66


def test_bad_thresholds_are_named(call, environment, tmp_path):
    (tmp_path / "default.toml").write_text("[[valid]]\noff = ['pong']\n")
    strict = caller(environment | {"DQM_THRESHOLDS_DIR": str(tmp_path)})
    for arguments in (["recheck"], ["recheck", "--preview"], ["ingest", tmp_path / "x.fits"]):
        (tmp_path / "x.fits").write_bytes(write_run(tmp_path, 9001).read_bytes())
        done = strict(*arguments)
        assert done.code == 78
        assert "default.toml: section 1, off: there is no check “pong”" in done.err
