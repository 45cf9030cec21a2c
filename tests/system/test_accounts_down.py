"""Accounts that cannot be reached: everybody is told so, in words, where he looks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from postgres_server import postgres_server
from processes import eventually
from visitors import PAGE, LoginServer, Visitor, logged_in

from dqm_app.accounts.tokens import Scope

pytestmark = pytest.mark.system
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
MONITOR = "the secret of the monitor"
SAID = "accounts cannot be reached"


@pytest.fixture(scope="module")
def down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Visitor, str]]:
    """Somebody who had logged in before, and the token of a program."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server())
        settings = {"DQM_ACCOUNTS_URL": database.database(), "DQM_METRICS_TOKEN": MONITOR}
        folder = tmp_path_factory.mktemp("down")
        server = stack.enter_context(LoginServer(folder, processes=1, settings=settings))
        visitor = logged_in(server, "admin", headers=dict(BROWSER))
        assert visitor.is_in()
        token = server.token("admin", [Scope.READ, Scope.METRICS])
        database.stop()
        eventually(lambda: visitor.ask(PAGE).status == 503, "the accounts are down")
        yield visitor, token


@pytest.mark.parametrize("path", [PAGE, "/account", "/metrics", f"/downloads/{'0' * 32}/file"])
def test_a_browser_gets_a_page(down, path):
    visitor, _ = down
    answer = visitor.ask(path)
    assert answer.status == 503 and answer.header("Retry-After")
    assert SAID in answer.text and "NectarCAM <b>DQM</b>" in answer.text
    assert "/assets/forms.css?v=" in answer.text
    assert answer.header("Content-Security-Policy").startswith("default-src 'none'")
    assert answer.header("Cache-Control") == "no-store"
    assert "postgresql" not in answer.text, "where they are is nobody's business"


def test_the_page_to_log_in_says_it(down):
    visitor, _ = down
    answer = visitor.ask("/login?next=/dqm_app%3Frun%3D1")
    assert answer.status == 503
    assert SAID in answer.text and 'name="password"' in answer.text
    assert 'value="/dqm_app?run=1"' in answer.text, "it goes on there when they are back"
    answer = visitor.login("admin")
    assert answer.status == 503 and SAID in answer.text
    assert visitor.ask("/login", "POST", b"name=admin").status == 403, "forged as ever"
    answer = visitor.form("/logout")
    assert answer.status == 503 and SAID in answer.text
    assert visitor.session, "the session has not ended"


def test_programs_get_the_sentence(down):
    visitor, token = down
    program = Visitor(visitor.server, {"Authorization": f"Bearer {token}"})
    answer = program.ask("/api/v1/cameras")
    problem = json.loads(answer.text)
    assert (answer.status, problem["status"]) == (503, 503)
    assert SAID in problem["detail"] and answer.header("Retry-After")
    answer = program.ask("/metrics")
    assert answer.status == 503 and SAID in answer.text and "<" not in answer.text


def test_ready_gives_the_reason_and_keeps_the_dashboard(down):
    visitor, _ = down

    def answer() -> dict:
        return json.loads(Visitor(visitor.server).ask("/ready").text)

    eventually(lambda: answer()["accounts"] == "down", "it is noticed without a visitor")
    # the database of runs is down here, too, which alone decides
    assert answer()["database"] != "ok"
    assert any(SAID in reason for reason in answer()["reasons"])
    assert Visitor(visitor.server).ask("/health").status == 200


def test_the_monitor_goes_on(down):
    visitor, _ = down
    monitor = Visitor(visitor.server, {"Authorization": f"Bearer {MONITOR}"})

    def told() -> str:
        answer = monitor.ask("/metrics")
        assert answer.status == 200
        return answer.text

    eventually(lambda: "dqm_accounts_reachable 0.0" in told(), "it is told what is wrong")
    assert "dqm_dashboard_processes 1.0" in told()


def test_the_log_has_one_line_each(down):
    visitor, _ = down
    text = visitor.server.text()
    assert "cannot be used" in text and "Traceback" not in text
