"""The comparison of two runs: which one is B, what is read of it, and what the page is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_runs import FINE, TOO_MANY_BAD, forget_verdict, store_verdict
from plot_runs import a_context, load_view, same
from results_files import raw_values, sample_fits
from run_series import (
    ABSENT_MODULE,
    ABSENT_RUN,
    BAD_PIXEL,
    BAD_RUNS,
    CAMERA,
    CHARGE,
    NO_PEDESTALS,
    PEDESTAL,
    TEMPERATURE,
    charges,
    series_run,
)

from dqm_app.catalogues import CameraRuns, Catalogues
from dqm_app.plots.pixel_pair import Mode
from dqm_app.views.base import Ask
from dqm_app.views.choices import NothingToShow
from dqm_app.views.compare import CompareData, CompareView, Other
from dqm_db.errors import RunNotFound
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import Database
from dqm_db.writer import Writer, open_writer

OLDEST = 6001
RUNS = (OLDEST, 6002, NO_PEDESTALS, 6004, BAD_RUNS[0], ABSENT_RUN)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    settings = load(
        DatabaseSettings, db_url=f"file://{tmp_path}/Data.fs", lock_dir=tmp_path / "locks"
    )
    with open_writer(settings) as opened:
        for run in RUNS:
            opened.store_run(series_run(run), None)
            forget_verdict(opened, CAMERA, run)
        yield opened


def runs_of(database: Database) -> CameraRuns:
    with database.snapshot() as snapshot:
        return Catalogues().renewed(snapshot)[CAMERA]


def asked(database: Database, run: int, **options: str) -> Ask:
    return Ask(run, None, runs_of(database), options)


def shown(database: Database, data: CompareData) -> tuple[CompareView, dict[str, Any]]:
    view = CompareView(a_context(database)[0])
    view.update(data)
    return view, view.root.tags[0]


def test_b_is_the_last_good_run_else_the_one_before(writer):
    database = writer.database
    assert Other.of(asked(database, 6004)) == Other(NO_PEDESTALS, "previous", "", 6002, 6005)
    store_verdict(writer, CAMERA, 6002, FINE)
    store_verdict(writer, CAMERA, NO_PEDESTALS, TOO_MANY_BAD)
    assert Other.of(asked(database, 6004)) == Other(6002, "last good", "", OLDEST, NO_PEDESTALS)
    assert Other.of(asked(database, OLDEST)) == Other(None, "", "", None, 6002)


def test_b_can_be_chosen_and_a_choice_that_makes_no_sense_is_said(writer):
    found = Other.of(asked(writer.database, 6002, reference="6012"))
    assert found == Other(6012, "chosen", "", 6005, None)
    for typed, words in (
        ("9999", "no run “9999”"),
        ("x", "no run “x”"),
        ("6002", "the run itself"),
    ):
        found = Other.of(asked(writer.database, 6002, reference=typed))
        assert (found.run, found.how) == (OLDEST, "previous")
        assert words in found.problem


def test_the_version_changes_when_b_is_replaced_or_judged(writer):
    def version() -> Any:
        return CompareView.version(asked(writer.database, 6002))

    first = version()
    assert version() == first
    again = series_run(OLDEST)
    header = replace(
        again.header, provenance=replace(again.header.provenance, results_sha256="f" * 64)
    )
    writer.store_run(replace(again, header=header), None, replace=True)
    replaced = version()
    assert replaced != first
    store_verdict(writer, CAMERA, OLDEST, TOO_MANY_BAD)
    assert version() not in (first, replaced)
    writer.delete_run(CAMERA, OLDEST)
    assert version() == Other(None, "", "", None, NO_PEDESTALS)


def test_values_of_both_runs_and_their_difference(writer):
    data = load_view(writer.database, CompareView, ABSENT_RUN, CHARGE, reference="6005")
    view, info = shown(writer.database, data)
    columns = view.maps.source.data
    a, b = charges(ABSENT_RUN), charges(6005)
    assert same(columns["value_a"], a)
    assert same(columns["value_b"], b)
    assert same(columns["value"], a - b)
    compare = info["compare"]
    module = list(range(7 * ABSENT_MODULE, 7 * ABSENT_MODULE + 7))
    assert compare["changes"] == [["absent in A only", module], ["bad in B only", [BAD_PIXEL]]]
    good = np.delete(a - b, [*module, BAD_PIXEL])
    assert dict(map(lambda told: told[:2], info["numbers"]))["median A − B"].startswith(
        f"{np.median(good):.1f}"[:4]
    )
    low, high = compare["range"]["auto"]
    assert -low == high == view.maps.comparison_mapper.high
    assert info["range"]["auto"] == [view.maps.mapper.low, view.maps.mapper.high]
    assert columns["words"][BAD_PIXEL] == "A: good; B: bad"
    assert view.maps.comparison.bad.data["x"].size == 1


def test_the_ratio_is_an_option_and_a_wrong_one_is_said(writer):
    data = load_view(writer.database, CompareView, 6002, CHARGE, mode="RATIO")
    assert data.pair.mode is Mode.RATIO
    assert same(data.pair.values, charges(6002) / charges(OLDEST))
    assert shown(writer.database, data)[1]["compare"]["range"]["centre"] == 1.0
    data = load_view(writer.database, CompareView, 6002, CHARGE, mode="<b>")
    assert data.pair.mode is Mode.DIFFERENCE
    assert "“<b>” is no way to compare" in shown(writer.database, data)[1]["note"]


def test_b_without_the_quantity_says_why_and_a_is_shown(writer):
    data = load_view(writer.database, CompareView, 6004, PEDESTAL, reference=str(NO_PEDESTALS))
    view, info = shown(writer.database, data)
    assert data.missing is not None
    assert f"Run {NO_PEDESTALS} has no values" in data.missing
    assert info["compare"]["missing"] == data.missing
    assert info["compare"]["range"] is None
    assert info["numbers"] == []
    assert same(view.maps.source.data["value_a"], charges(6004) / 10)
    assert view.distributions.source.data["a"].sum() > 1800
    with pytest.raises(NothingToShow, match="pedestal"):
        load_view(writer.database, CompareView, NO_PEDESTALS, PEDESTAL)


def test_the_oldest_run_has_nothing_to_compare_with(writer):
    data = load_view(writer.database, CompareView, OLDEST, CHARGE)
    assert "Choose another one" in (data.missing or "")
    _, info = shown(writer.database, data)
    assert info["compare"]["other"] is None
    assert info["compare"]["newer"] == 6002


def test_b_that_is_deleted_meanwhile_is_said(writer):
    ask = Ask(6002, CHARGE, runs_of(writer.database), {})
    writer.delete_run(CAMERA, OLDEST)
    with writer.database.snapshot() as snapshot:
        with pytest.raises(RunNotFound):
            snapshot.header(CAMERA, OLDEST)
        data = CompareView.load(snapshot, snapshot.header(CAMERA, 6002), ask)
    assert data.missing == f"Run {OLDEST} has just been deleted."


def test_what_no_run_has_waveforms_of_says_so(writer):
    data = load_view(writer.database, CompareView, 6002, TEMPERATURE)
    assert data.waves.reason == "No waveforms belong to this quantity."
    data = load_view(writer.database, CompareView, 6002, CHARGE)
    assert "neither run has them" in (data.waves.reason or "")


def test_waveforms_of_both_runs_and_of_picked_pixels(sample_database, samples):
    charge = CHARGE.replace("HIGH", "LOW")
    name = "WF-PHY-LOW-GAIN"
    raw = {run: raw_values(sample_fits(samples, run))[name] for run in (6001, 8003)}
    context, fetches = a_context(sample_database)
    view = CompareView(context)
    view.update(load_view(sample_database, CompareView, 8003, charge, reference="6001"))
    for source, run in zip(view.waveforms.sources, (8003, 6001), strict=True):
        assert source.data["mean"] == pytest.approx(raw[run].mean(axis=0))
    context.pixels.pick([12])
    assert fetches.answer() == 1
    drawn = view.waveforms.picked.data
    assert drawn["id"] == [12, 12]
    assert drawn["run"] == ["run 8003", "run 6001"]
    assert same(drawn["y"][0], raw[8003][12])
    assert same(drawn["y"][1], raw[6001][12])
    context.pixels.pick([])
    assert view.waveforms.picked.data["id"] == []
