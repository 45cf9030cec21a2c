"""The programming interface, asked by its client, by schemathesis, and by hand."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import vstack
from astropy.time import Time
from many_runs import Row, write_many
from processes import LOOPBACK, DatabaseServer, ServerProcess, eventually, free_port

from dqm_client import ApiError, Client
from dqm_db.reader import Snapshot
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = pytest.mark.system

SAMPLES = Path(__file__).parents[1] / "data"
CAMERA = "NectarCAMQM"
"""Its run 6001 is a sample; 1 to 400 are rows of the catalogue, with times a minute apart."""
SECRET = "a key that is the same for all processes of a test"
QUANTITY = "CHARGE-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN"


class Api:
    """A dashboard with accounts in front of a database, and a token to ask it with."""

    def __init__(self, folder: Path, primary: DatabaseServer) -> None:
        self.settings = DatabaseSettings(db_url=primary.url, db_wait=5, lock_dir=folder / "locks")
        self.port = free_port()
        self.environment = {
            "DQM_AUTH": "accounts",
            "DQM_STATE_DIR": str(folder / "state"),
            "DQM_DB_URL": primary.url,
            "DQM_DB_WAIT": "0.2",
            "BOKEH_SECRET_KEY": SECRET,
        }
        command = ["dqm", "serve", "--port", str(self.port), "--num-procs", "2"]
        self.server = ServerProcess(command, self.port, folder / "serve.log", self.environment)
        self.url = f"http://{LOOPBACK}:{self.port}"

    def user(self, *words: str, given: str = "") -> str:
        done = subprocess.run(
            [self.server.command[0], "user", *words],
            input=given,
            env=self.server.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.strip()

    def ask(
        self, path: str, token: str | None = None, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        connection.close()
        return found


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    with DatabaseServer(folder, "primary") as primary:
        made = Api(folder, primary)
        content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run6001.tar.gz")).content
        rows = [
            Row(run, 1_700_000_000.0 + 60 * run, events=run, verdict=run % 4)
            for run in range(1, 401)
        ]
        with open_writer(made.settings) as writer:
            write_many(writer, content, rows)
            writer.store_run(replace(content, header=replace(content.header, run=6001)), None)
        made.user(
            "add", "anna", "--role", "expert", "--password-stdin", given="correct horse bat\n"
        )
        made.user("add", "ben", "--password-stdin", given="another horse bat\n")
        with made.server:
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
    # whatever is behind the place where one has come is there, and what was before is not
    assert shown == sorted(numbers if newest_first else early, reverse=newest_first)
    eventually(lambda: seen(set()), "they are gone")


def test_the_next_page_is_in_a_header(api: Api, token: str) -> None:
    path = f"/api/v1/cameras/{CAMERA}/runs?limit=200&verdict=ok&verdict=bad&format=csv"
    seen = 0
    while path:
        status, headers, body = api.ask(path, token)
        assert status == 200
        seen += len(re.findall(rb"^[0-9]+,", body, re.MULTILINE))
        found = re.fullmatch('<(.*)>; rel="next"', headers.get("link", ""))
        path = found[1] if found else ""
    assert seen == len(api_runs := Client(api.url, token).runs(CAMERA, verdict=["ok", "bad"]))
    assert len(api_runs) > 150


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


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/cameras/Nobody/runs", 404, "known: NectarCAMQM"),
        (f"/cameras/{CAMERA}/runs/77777", 404, "has no run 77777"),
        (f"/cameras/{CAMERA}/runs/9999999999", 404, "has no run"),
        (f"/cameras/{CAMERA}/runs/6001/quantities/NOTHING", 404, "has no quantity"),
        (f"/cameras/{CAMERA}/runs?limit=0", 400, "limit"),
        (f"/cameras/{CAMERA}/runs?verdcit=bad", 400, "verdcit"),
        (f"/cameras/{CAMERA}/runs?limit=1&limit=2", 400, "2 times"),
        (f"/cameras/{CAMERA}/runs?after=yesterday", 400, "after"),
        (f"/cameras/{CAMERA}/trends?column=A.b", 404, "trends/names"),
        (f"/cameras/{CAMERA}/pixels/{QUANTITY}?pixel=1855", 400, "pixel"),
        ("/nothing", 404, "openapi.json"),
    ],
)
def test_what_is_wrong_is_said(api: Api, token: str, path: str, status: int, words: str) -> None:
    found, headers, body = api.ask(f"/api/v1{path}", token)
    assert (found, headers["content-type"]) == (status, "application/problem+json")
    problem = json.loads(body)
    assert problem["status"] == status and words in problem["detail"]


def test_who_may_not_is_told_how(api: Api, token: str) -> None:
    path = f"/api/v1/cameras/{CAMERA}/runs"
    for wrong in (None, "dqm_0123456789abcdef_" + "x" * 43, token[:-1], token.upper()):
        status, headers, body = api.ask(path, wrong)
        assert (status, headers["www-authenticate"][:6]) == (401, "Bearer")
        assert "token" in json.loads(body)["detail"]
    with pytest.raises(ApiError, match="another scope"):
        Client(api.url, token).original(CAMERA, 6001, "/nonexistent/file")
    metrics = api.ask("/metrics", token)
    assert metrics[0] == 403


def test_an_answer_that_still_holds_is_not_sent_again(api: Api, token: str) -> None:
    path = f"/api/v1/cameras/{CAMERA}/runs/6001"
    status, headers, body = api.ask(path, token)
    assert status == 200 and body
    again = api.ask(path, token, **{"If-None-Match": headers["etag"]})
    assert (again[0], again[2]) == (304, b"")
    other = api.ask(f"{path}/verdict", token, **{"If-None-Match": headers["etag"]})
    assert other[0] == 200


def test_tables_come_in_four_formats(api: Api, token: str) -> None:
    path = f"/api/v1/cameras/{CAMERA}/runs?limit=2"
    kinds = {
        "json": "application/json",
        "csv": "text/csv; charset=utf-8",
        "fits": "application/fits",
        "votable": "application/x-votable+xml",
    }
    for name, media in kinds.items():
        for query, accept in ((f"&format={name}", "*/*"), ("", media)):
            status, headers, body = api.ask(path + query, token, Accept=accept)
            assert (status, headers["content-type"]) == (200, media)
            assert body
            assert ("content-disposition" in headers) == (name != "json")
    assert api.ask(path, token, Accept="image/png")[0] == 406


@pytest.mark.parametrize("form", ["json", "csv", "fits", "votable"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_table_that_still_holds_is_not_sent_again(
    api: Api, token: str, form: str, coding: str
) -> None:
    path = f"/api/v1/cameras/{CAMERA}/runs?format={form}"
    status, headers, body = api.ask(path, token, **{"Accept-Encoding": coding})
    assert (status, headers.get("content-encoding", "identity")) == (200, coding)
    assert {"Accept", "Accept-Encoding", "Authorization"} <= set(headers["vary"].split(", "))
    assert headers["cache-control"] == "private, no-cache"
    tag = headers["etag"]
    for tags in (tag, f'W/{tag}, "x"', "*"):
        again = api.ask(path, token, **{"Accept-Encoding": coding, "If-None-Match": tags})
        assert (again[0], again[1]["etag"], again[2]) == (304, tag, b"")
    # of other bytes: another tag
    others = [
        (path, "gzip" if coding == "identity" else "identity"),
        (path.replace(form, "csv" if form == "json" else "json"), coding),
        (f"{path}&limit=49", coding),
    ]
    for address, other in others:
        found = api.ask(address, token, **{"Accept-Encoding": other, "If-None-Match": tag})
        assert found[0] == 200 and found[1]["etag"] != tag and found[2]
    if coding == "gzip":
        plain = api.ask(path, token)[2]
        assert gzip.decompress(body) == plain and len(body) < len(plain)


def test_head_and_options_and_nothing_else(api: Api, token: str) -> None:
    for path in (f"/api/v1/cameras/{CAMERA}/runs", f"/api/v1/cameras/{CAMERA}/runs/6001"):
        _, headers, body = api.ask(path, token)
        status, of_head, nothing = api.ask(path, token, "HEAD")
        assert (status, nothing) == (200, b"")
        assert of_head["etag"] == headers["etag"]
        assert of_head["content-length"] == str(len(body))
        status, headers, body = api.ask(path, token, "OPTIONS", Origin="https://example.org")
        assert (status, headers["allow"], body) == (204, "GET, HEAD, OPTIONS", b"")
        # pages of other sites may not read what the browser of a user may
        assert not [name for name in headers if name.startswith("access-control")]
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            status, headers, body = api.ask(path, token, method)
            assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS")
            assert "GET, HEAD" in json.loads(body)["detail"]
    assert api.ask("/api/v1/cameras", method="OPTIONS")[0] == 401


def test_who_asks_for_everything_at_once_is_told_to_wait(api: Api, token: str) -> None:
    """Others are answered meanwhile."""
    path = f"/api/v1/cameras/{CAMERA}/runs?limit=1000&format=votable"
    other = api.user("token", "ben", "--label", "tests", "--scope", "read")
    with ThreadPoolExecutor(100) as threads:
        asked = [threads.submit(api.ask, path, token) for _ in range(100)]
        assert api.ask(f"/api/v1/cameras/{CAMERA}/runs?limit=1", other)[0] == 200
        answers = [one.result() for one in asked]
    statuses = {status for status, _, _ in answers}
    assert statuses == {200, 429}
    for status, headers, body in answers:
        if status == 429:
            assert int(headers["retry-after"]) > 0
            assert headers["content-type"] == "application/problem+json"
            assert "wait" in json.loads(body)["detail"]
    assert len({body for status, _, body in answers if status == 200}) == 1


def test_the_description_holds(api: Api, token: str) -> None:
    """Thousands of questions made from the OpenAPI document, right ones and wrong ones."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"{api.url}/api/v1/openapi.json",
            "--header",
            f"Authorization: Bearer {token}",
            "--max-examples=25",
            "--seed=1",
            "--no-color",
            "--suppress-health-check=all",
            "--exclude-checks=unsupported_method",
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_without_the_database_it_says_so(api: Api, token: str, tmp_path: Path) -> None:
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    environment: dict[str, Any] = api.environment | {"DQM_DB_URL": f"zeo://{LOOPBACK}:1"}
    with ServerProcess(command, port, tmp_path / "serve.log", environment) as server:
        with pytest.raises(ApiError) as caught:
            Client(f"http://{LOOPBACK}:{port}", token).runs(CAMERA)
        assert caught.value.status == 503
        assert server.is_running()


def test_a_token_is_never_sent_unencrypted() -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        Client("http://dqm.example.org", token="dqm_x")
    with pytest.raises(ValueError, match="no address"):
        Client("dqm.example.org")
