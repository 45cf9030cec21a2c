"""The benchmarks run and measure what they say: quick modes, no absolute times."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
STILL = "data:text/html,<canvas id=c width=300 height=300></canvas>"
REDRAWN = """() => { globalThis.timer = setInterval(() => {
  const context = document.getElementById("c").getContext("2d");
  context.fillStyle = `hsl(${performance.now()}, 50%, 50%)`;
  context.fillRect(0, 0, 300, 300);
}, 50); }"""
PAINTED = """() => new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100)));
})"""
ASKED_FOR = "() => { (function again() { requestAnimationFrame(again); })(); }"


def test_the_command_measures_and_writes(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "ingest,storage"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "160"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    document = json.loads(path.read_text())
    assert [row["group"] for row in document["results"]] == ["ingest"] * 2 + ["storage"] * 3
    for row in document["results"]:
        assert math.isfinite(row["value"])
        assert row["value"] > 0
        assert row["what"] in done.stdout
    assert list(tmp_path.glob("dqm-bench-*")) == [], "scratch space is left behind"


def test_the_history_of_pixels_is_weighed_and_read(tmp_path):
    from benchmarks import history
    from benchmarks.plan import Plan
    from dqm_db.pixel_history import FOLD

    sizes = {"history_runs": FOLD + 1, "trend_runs": FOLD, "trend_changes": 1}
    plan = replace(Plan.tiny(tmp_path, lambda _text: None), **sizes)
    found = {result.key: result for result in history.measure(plan)}
    growth, folds = found["history_growth"], found["history_transaction"].detail["bytes"]
    assert growth.detail["bytes_per_run"]["dqm_db.model.PixelBlockModule"] > 0
    assert sum(folds) < growth.value * plan.history_runs * 1e3 < growth.detail["data_bytes"]
    assert len(folds) > 3, "a fold has several transactions"
    assert len(found["history_fold_rss"].detail["folding"]) == 1
    for key in ("history_read", "history_read_all", "history_trends"):
        assert found[key].value > 0
        assert found[key].detail["runs"] == 2 * FOLD - 1


def test_replication_and_backups_are_measured(tmp_path):
    from benchmarks import backups, kills, replication
    from benchmarks.plan import Plan

    sizes = {"kept_runs": 12, "kept_originals": 3, "visible_runs": 3, "kill_trials": 1}
    plan = replace(Plan.tiny(tmp_path, lambda _text: None), **sizes)
    found = {}
    for group in (replication, backups, kills):
        folder = tmp_path / group.__name__
        folder.mkdir()
        found |= {result.key: result for result in group.measure(replace(plan, folder=folder))}
    assert len(found["visible_median"].detail["milliseconds"]) == plan.visible_runs
    assert 0 <= found["visible_median"].value <= found["visible_slow"].value
    first, second = found["verify_rate"].detail["bytes"]
    assert first == second > 3 * 1_700_000
    assert set(found["verify_memory"].detail["peak_bytes"]) == {"primary", "replica", "verify"}
    assert found["restart_in_sync"].value > 0
    assert found["backup_rate"].detail["bytes"] > 3 * 1_700_000
    assert found["restore"].value > found["restore"].detail["seconds_without_start"] > 0
    assert found["backup_incremental"].value > 0
    assert (found["kill_losses"].value, found["kill_trials"].value) == (0, 2)


def test_a_group_that_does_not_exist_is_refused():
    command = [sys.executable, "-m", "benchmarks", "--only", "pages,bogus"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "bogus" in done.stderr
    assert "ingest" in done.stderr


@pytest.mark.browser
def test_only_frames_that_show_something_new_are_counted():
    from benchmarks.browser import NotSettled, chromium

    with chromium() as browser, browser.visit("globalThis.painted ?? null") as visit:
        visit.page.goto(STILL)
        visit.page.evaluate(PAINTED)
        visit.page.evaluate(ASKED_FOR)

        def act() -> None:
            visit.page.keyboard.press("a")
            visit.page.evaluate("globalThis.painted = (globalThis.painted ?? 0) + 1")

        assert visit.act(act).frames == 0
        visit.page.evaluate(REDRAWN)
        with pytest.raises(NotSettled):
            visit.act(act)
        visit.page.evaluate("() => clearInterval(timer)")
        visit.page.evaluate(PAINTED)
        assert visit.act(act).frames == 0


@pytest.mark.browser
def test_pages_are_measured_beside_the_bare_page(tmp_path):
    from benchmarks import pages
    from benchmarks.plan import Plan

    said: list[str] = []
    plan = Plan.tiny(tmp_path, said.append)
    found = {result.key: result for result in pages.measure(plan)}
    assert len(found["page_idle_ratio"].detail["seconds"]["bare"]) == plan.pages
    assert all(frames > 0 for frames in found["page_idle_ratio"].detail["frames"]["small"])
    assert found["page_idle"].value > 0
    assert not [path for path in found["page_bytes"].detail["transferred"] if "bokeh.min" in path]
    assert found["page_bytes"].detail["transferred"]["websocket"] > 0
    assert found["change_bytes"].value < found["page_bytes"].value
    assert said


@pytest.mark.browser
def test_the_table_of_runs_is_opened_and_filtered(tmp_path, monkeypatch):
    from benchmarks import run_table
    from benchmarks.plan import Plan

    monkeypatch.setattr(run_table, "KEYS", run_table.KEYS[2:4])
    plan = Plan.tiny(tmp_path, lambda _text: None)
    found = {result.key: result for result in run_table.measure(plan)}
    assert len(found["table_open"].detail["seconds"]) == plan.pages
    assert len(found["table_key"].detail["seconds"]) == len(run_table.KEYS)
    assert min(found["table_key"].value, found["table_open"].value) > 0
    assert found["table_bytes"].value * 1e3 > 20 * plan.table_runs


def test_a_crowd_looks_at_runs(tmp_path):
    from benchmarks import load
    from benchmarks.plan import Plan

    plan = Plan.small(tmp_path, print)
    found = {result.key: result for result in load.measure(plan)}
    detail = found["load_errors"].detail
    assert (found["load_errors"].value, detail["errors"]) == (0, [])
    # every page four times, but for those whose period is just ending
    assert detail["changes"] == pytest.approx(plan.clients * plan.client_seconds, abs=plan.clients)
    assert 0 < found["load_change"].value <= detail["change_seconds_slowest"]
    assert found["load_rss"].value > 50


def test_services_are_started_by_who_connects(tmp_path):
    from benchmarks import activation
    from benchmarks.plan import Plan

    plan = replace(Plan.tiny(tmp_path, lambda _text: None), restarts=2)
    found = {result.key: result for result in activation.measure(plan)}
    assert set(found) == {"activated_dashboard", "activated_primary"}
    for result in found.values():
        assert len(result.detail["seconds"]) == 2
        assert result.value == max(result.detail["seconds"]) > 0


def test_pages_without_a_browser_look_at_runs(tmp_path):
    from benchmarks.processes import ProcessGroup
    from benchmarks.servers import filled_stack
    from benchmarks.session_client import open_page
    from benchmarks.sessions import PROBE, Probe
    from benchmarks.synthetic import CAMERAS, read_sample

    counts = tmp_path / "counts"
    counts.mkdir()
    settings = {"PYTHONPATH": str(PROBE), "BENCH_PROBE_FOLDER": str(counts)}
    runs = {CAMERAS[0]: range(6001, 6004)}

    async def look(url: str, probe: Probe) -> None:
        page = await open_page(url)
        assert page.state["run"] == 6003
        await page.show_run(6001)
        assert page.state["header"]["run"] == 6001
        assert await probe.total("documents") >= 1
        await page.close()

    with filled_stack(tmp_path / "stack", runs, read_sample().content, settings) as stack:
        probe = Probe(counts, ProcessGroup(stack.dashboard.pid))
        asyncio.run(look(stack.dashboard_url, probe))
