"""The programming interface, asked by its client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import vstack
from astropy.time import Time
from processes import LOOPBACK, ServerProcess, eventually, free_port
from programs import CAMERA, QUANTITY, SAMPLES, Api, interface

from dqm_client import ApiError, Client
from dqm_db.reader import Snapshot
from dqm_db.storage import open_database
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with interface(tmp_path_factory.mktemp("api")) as made:
        yield made


@pytest.fixture(scope="module")
def token(api: Api) -> str:
    return api.user("token", "anna", "--label", "tests", "--scope", "read")


@pytest.fixture(scope="module")
def client(api: Api, token: str) -> Client:
    return Client(api.url, token)


@pytest.fixture
def snapshot(api: Api) -> Iterator[Snapshot]:
    with open_database(api.settings) as database, database.snapshot() as found:
        yield found


# ---- what is answered ----------------------------------------------------------------------------


def test_three_lines_give_a_table(api: Api, token: str) -> None:
    dqm = Client(api.url, token=token)
    runs = dqm.runs(CAMERA, verdict=["warning", "bad"], first=100, last=199)
    assert runs["run"].tolist() == [r for r in range(199, 99, -1) if r % 4 >= 2]
    assert set(runs["verdict"]) == {"warning", "bad"}
    assert runs["start"].unit == "s"


def test_runs_are_filtered_and_paged(client: Client) -> None:
    assert client.cameras() == [CAMERA]
    assert len(client.runs(CAMERA)) == 401
    assert client.runs(CAMERA, limit=3)["run"].tolist() == [6001, 400, 399]
    late = client.runs(CAMERA, after="2023-11-14T22:20:00Z", last=400)
    assert late["start"].min() >= 1_700_000_400
    assert len(late) + len(client.runs(CAMERA, before="2023-11-14T22:20:00", last=400)) == 400
    assert client.runs(CAMERA, min_events=390, last=400)["run"].tolist() == [*range(400, 389, -1)]


def test_a_limit_is_rows_at_most(client: Client) -> None:
    none = client.runs(CAMERA, limit=0)
    assert (len(none), none["start"].unit) == (0, "s")
    assert none.colnames == client.runs(CAMERA, limit=1).colnames
    assert len(client.runs(CAMERA, limit=10_000)) == 401
    quiet = client.runs(CAMERA, verdict="bad", first=9999)
    full = client.runs(CAMERA, limit=2)
    assert (len(quiet), quiet.colnames) == (0, none.colnames)
    for column in full.itercols():
        of_none = quiet[column.name].dtype
        assert of_none == column.dtype or (of_none.kind, column.dtype.kind) == ("U", "U")
    both = vstack([quiet, full], metadata_conflicts="silent")
    assert both["verdict"].tolist() == full["verdict"].tolist()
    with pytest.raises(ValueError, match="None for all"):
        client.runs(CAMERA, limit=-1)


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_hold_still_while_runs_come_and_go(
    api: Api, client: Client, newest_first: bool
) -> None:
    """Behind each page a run that was shown is deleted, and one is stored that was never there."""
    content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run6001.tar.gz")).content
    assert content is not None
    at = 7000 if newest_first else 0
    numbers = [at + run for run in range(401, 408)]
    late, *early = numbers
    span: dict[str, Any] = {"first": numbers[0], "last": numbers[-1]}

    def seen(runs: set[int]) -> bool:
        """By each process of the dashboard: any of them answers."""
        return all(set(client.runs(CAMERA, **span)["run"]) == runs for _ in range(12))

    with open_writer(api.settings) as writer:
        for run in early:
            writer.store_run(replace(content, header=replace(content.header, run=run)), None)
        eventually(lambda: seen({*early}), "all are there")
        pages = client.run_pages(CAMERA, **span, newest_first=newest_first, rows=2)
        shown = next(pages)["run"].tolist()
        writer.delete_run(CAMERA, shown[0])
        writer.store_run(replace(content, header=replace(content.header, run=late)), None)
        left = {*numbers} - {shown[0]}
        eventually(lambda: seen(left), "one has gone, one has come")
        for page in pages:
            shown += page["run"].tolist()
        for run in left:
            writer.delete_run(CAMERA, run)
    assert [run for run in shown if run != late] == sorted(early, reverse=newest_first)
    # the one that came is before the first page, or behind it: then whoever knows it shows it last
    assert late not in shown or (newest_first and shown[-1] == late)
    eventually(lambda: seen(set()), "they are gone")


def test_a_run_and_its_verdict(client: Client, snapshot: Snapshot) -> None:
    run = client.run(CAMERA, 6001)
    header = snapshot.header(CAMERA, 6001)
    assert run["events"]["total"] == header.events.total
    assert run["times"]["run_start"] == header.times.run_start
    assert run["provenance"]["results_sha256"] == header.provenance.results_sha256
    assert {one["name"] for one in run["quantities"]} == {
        entry.name for entry in snapshot.quantities(CAMERA, 6001)
    }
    verdict, stored = client.verdict(CAMERA, 6001), snapshot.verdict(CAMERA, 6001)
    assert stored is not None
    assert [one["check"] for one in verdict["checks"]] == [one.check for one in stored.results]
    assert verdict["status"] == stored.status.name.lower()


def test_quantities_are_exactly_those_that_are_stored(client: Client, snapshot: Snapshot) -> None:
    for entry in snapshot.quantities(CAMERA, 6001):
        if entry.unavailable is not None or not entry.columns:
            continue
        table = client.quantity(CAMERA, 6001, entry.name)
        for name, values in snapshot.columns(CAMERA, 6001, entry.name).items():
            found = np.asarray(table[name]).reshape(values.shape)
            if values.dtype.kind == "S":
                assert found.tolist() == np.char.decode(values, "latin-1").tolist()
            else:
                assert found.dtype == values.dtype, (entry.name, name)
                finite = np.isfinite(values) if values.dtype.kind == "f" else slice(None)
                np.testing.assert_array_equal(found[finite], values[finite])


def test_times_of_events_are_tai_in_a_notebook(client: Client) -> None:
    start = client.quantity(CAMERA, 6001, "START-TIMES")
    assert start["First event"].meta["time_scale"] == "tai"
    assert start["Run start time"].meta["time_scale"] == "utc"
    first = Time(start["First event"].item(), format="unix_tai")
    told = client.run(CAMERA, 6001)["times"]["first_event"]
    assert abs(first.unix - told) < 1e-5
    assert start["First event"].item() - start.meta["tai_minus_utc"] == told


def test_a_quantity_has_a_unit_and_reading_it_warns_nobody(
    api: Api, client: Client, token: str
) -> None:
    table = client.quantity(CAMERA, 6001, QUANTITY)
    assert table[QUANTITY].quantity.to("adu").unit == "adu"
    path = f"/api/v1/cameras/{CAMERA}/runs/6001/quantities/CAMERA-TEMPERATURE-AVERAGE"
    for form in ("fits", "votable"):
        assert api.ask(f"{path}?format={form}", token)[0] == 200
    assert "Warning" not in api.server.log.read_text("utf-8")


def test_statistics_trends_and_pixels(client: Client, snapshot: Snapshot) -> None:
    table = client.statistics(CAMERA, 6001)
    stored = snapshot.statistics(CAMERA, 6001)
    assert len(table) == sum(map(len, stored.values()))
    names = client.trend_names(CAMERA)
    quantity, statistic = names["quantity"][0], names["statistic"][0]
    trend = client.trends(CAMERA, f"{quantity}.{statistic}", first=6001)
    assert trend["run"].tolist() == [6001]
    assert trend[f"{quantity}.{statistic}"][0] == stored[quantity][statistic]
    pixels = client.pixels(CAMERA, QUANTITY, [3, 1854])
    assert pixels.colnames == ["run", "pixel_3", "pixel_1854"]
    at = pixels["run"].tolist().index(6001)
    expected = np.float32(snapshot.pixel_maps(CAMERA, 6001).of(QUANTITY)[[3, 1854]])
    np.testing.assert_array_equal([pixels["pixel_3"][at], pixels["pixel_1854"][at]], expected)


def test_without_the_database_it_says_so(api: Api, token: str, tmp_path: Path) -> None:
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    environment: dict[str, Any] = api.environment | {"DQM_DB_URL": f"zeo://{LOOPBACK}:1"}
    with ServerProcess(command, port, tmp_path / "serve.log", environment) as server:
        with pytest.raises(ApiError) as caught:
            Client(f"http://{LOOPBACK}:{port}", token).runs(CAMERA)
        assert caught.value.status == 503
        assert server.is_running()
