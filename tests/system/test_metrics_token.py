"""The secret of a monitor: it opens the metrics, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from visitors import PAGE, LoginServer, Visitor

pytestmark = pytest.mark.system
TOKEN = "0123456789abcdef-of-a-monitor"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    """One that finds the secret where systemd and containers put it."""
    folder = tmp_path_factory.mktemp("metrics-token")
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "DQM_METRICS_TOKEN").write_text(f"{TOKEN}\n")
    settings = {"DQM_SECRETS_DIR": str(secrets)}
    with LoginServer(folder, processes=1, settings=settings, roles=[]) as server:
        yield server


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN.upper()}", 401),
        ("Bearer \xe9", 401),
    ],
)
def test_it_opens_the_metrics(server, shown, status):
    answer = Visitor(server, {"Authorization": shown}).ask("/metrics")
    assert answer.status == status
    assert ("dqm_info" in answer.text) is (status == 200)
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    "path", [PAGE, "/account", "/api/v1/cameras", "/downloads", "/originals/NectarCAMQM/1"]
)
def test_and_nothing_else(server, path):
    answer = Visitor(server, {"Authorization": f"Bearer {TOKEN}"}).ask(path)
    assert answer.status == 401 or answer.asks_for_login


def test_nobody_else_gets_in(server):
    assert Visitor(server).ask("/metrics").status == 401
    assert TOKEN not in server.text()


def test_logins_are_counted(server):
    def told() -> dict[str, str]:
        text = Visitor(server, {"Authorization": f"Bearer {TOKEN}"}).ask("/metrics").text
        return dict(re.findall(r'dqm_logins_total{result="(\w+)"} ([\d.]+)', text))

    server.add("anna")
    for _ in range(5):
        assert Visitor(server).login("anna", "not the password").status == 403
    assert Visitor(server).login("anna").status == 429
    other = Visitor(server)
    server.add("bruno")
    assert other.login("bruno").status == 303
    assert told() == {"right": "1.0", "wrong": "5.0", "refused": "1.0", "unreachable": "0.0"}


def test_one_that_could_be_guessed_is_refused(tmp_path):
    server = LoginServer(tmp_path, settings={"DQM_METRICS_TOKEN": "short secret"}, roles=[])
    server.start(wait=False)
    assert server.wait() == 78
    assert "unusable setting: DQM_METRICS_TOKEN" in server.text()
    assert "short secret" not in server.text()
