"""The document of the page about the system, what all pages say of it, and its words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dqm_app.database_health import State
from dqm_app.system_page import Alarm, SystemPage
from dqm_app.theme import themes
from dqm_app.views.system import words
from dqm_db.errors import ConfigurationError
from dqm_db.operations import OperationName
from dqm_db.server_answers import ServerAnswer
from dqm_db.settings import DatabaseSettings, WatchSettings, load
from dqm_db.status.judging import judge
from dqm_db.status.limits import Limits
from dqm_db.status.model import DatabaseFacts, Item, Level, ServerStatus, SystemStatus
from dqm_db.status.server_rules import WAITING

NOW = 1_800_000_000.0
PRIMARY = ServerStatus(
    "a:8100", ServerAnswer(bytes(8), role="primary", clients=3, host="dqm1"), role="primary"
)
REPLICA = ServerStatus("b:8100", ServerAnswer(bytes(8), role="replica"), role="replica")
SILENT = ServerStatus("a:8100", error="It does not answer")
BAD = Item(Level.CRITICAL, "disk", "Disk", "Nothing is free.", "a:8100")
POOR = Item(Level.WARNING, "backup", "Backup", "None is known.")


def status(*items: Item, servers: tuple[ServerStatus, ...] = (PRIMARY, REPLICA)) -> SystemStatus:
    return SystemStatus(NOW, servers, DatabaseFacts(), "", items)


def told(page: SystemPage) -> dict:
    return json.loads(page.text)


def test_nothing_is_said_before_anything_is_known():
    page = SystemPage(["b:8100"])
    assert told(page) is None
    assert page.alarm is None


def test_the_document_says_what_this_dashboard_reads():
    page = SystemPage(["b:8100"])
    page.renew(status(POOR))
    document = told(page)
    assert document["level"] == "warning"
    assert document["dashboard"]["reads"] == ["b:8100"]
    assert [server["answered"] for server in document["servers"]] == [NOW, NOW]
    assert [server["before"] for server in document["servers"]] == [None, None]


def test_what_a_silent_server_said_last_is_kept_until_it_answers():
    page = SystemPage()
    page.renew(status())
    for later in (10, 20):
        page.renew(replace(status(servers=(SILENT, REPLICA)), at=NOW + later))
        silent, other = told(page)["servers"]
        assert (silent["answers"], silent["role"], silent["answered"]) == (False, None, NOW)
        assert (silent["before"]["role"], silent["before"]["clients"]) == ("primary", 3)
        assert (other["answered"], other["before"]) == (NOW + later, None)
    page.renew(status())
    assert told(page)["servers"][0]["before"] is None


def test_of_a_server_that_never_answered_nothing_is_known():
    page = SystemPage()
    page.renew(status(servers=(SILENT,)))
    (silent,) = told(page)["servers"]
    assert (silent["answered"], silent["before"], silent["error"]) == (None, None, SILENT.error)


def test_only_another_alarm_is_news():
    page = SystemPage()
    assert not page.renew(status(POOR))
    assert page.renew(status(BAD, POOR))
    assert page.alarm == Alarm("Disk", "a:8100", 1)
    older = replace(BAD, text="Still nothing is free.")
    assert not page.renew(status(older, POOR)), "ages in its words go on"
    assert page.renew(status(BAD, replace(BAD, subject="b:8100")))
    assert page.alarm.sign() == {"title": "Disk", "subject": "a:8100", "count": 2}
    assert page.renew(status(POOR))
    assert page.alarm is None


def test_the_servers_that_are_read_are_those_of_the_url():
    def page(url: str) -> SystemPage:
        return SystemPage.of(load(DatabaseSettings, db_url=url))

    for url, reads in (
        ("zeo://a:8100,[::1]:8101", ["a:8100", "[::1]:8101"]),
        ("file:///data/filestorage/Data.fs", []),
    ):
        made = page(url)
        made.renew(status())
        assert told(made)["dashboard"]["reads"] == reads
    with pytest.raises(ConfigurationError):
        page("zeo://nowhere")


def test_there_are_words_for_everything():
    said = words()
    assert list(said["levels"]) == [str(level) for level in Level], "from fine to worst"
    colours = {name.removeprefix("status_") for name in themes()["light"].colours}
    assert {level["status"] for level in said["levels"].values()} <= colours
    assert set(said["health"]) == {str(state) for state in State}
    assert {state["level"] for state in said["health"].values()} <= set(said["levels"])
    assert {row["key"] for row in said["care"]} >= {str(name) for name in OperationName}
    assert set(said["following"]) >= {"connected", "unreachable", "refused", WAITING}
    assert set(said["roles"]) >= {"primary", "replica"}


def test_what_is_judged_about_a_server_has_its_row():
    sick = replace(
        PRIMARY.answer,
        role="replica",
        source="c:5000",
        following="refused",
        fence_state="demoted",
        epoch=1,
        disk_free=1,
        disk_total=100,
        aside_bytes=50,
        certificate_expires=NOW,
        now=NOW + 100,
    )
    servers = (
        replace(PRIMARY, answer=sick, role="replica"),
        replace(PRIMARY, address="c:8100", answer=replace(sick, epoch=2)),
    )
    limits = Limits.of(WatchSettings())
    judged = judge(servers, DatabaseFacts(), None, limits, NOW).items
    keys = {item.key for item in judged if item.subject}
    assert len(keys) > 7
    rows = {key for row in words()["rows"] for key in row.get("items", ())}
    assert keys - rows == {"server-answers"}, "which the box as a whole says"
