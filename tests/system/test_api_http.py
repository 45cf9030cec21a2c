"""The programming interface by HTTP: errors, formats, what still holds, who asks too much."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from programs import CAMERA, QUANTITY, Api, interface

from dqm_client import ApiError, Client

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with interface(tmp_path_factory.mktemp("api")) as made:
        yield made


@pytest.fixture(scope="module")
def token(api: Api) -> str:
    return api.user("token", "anna", "--label", "tests", "--scope", "read")


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
