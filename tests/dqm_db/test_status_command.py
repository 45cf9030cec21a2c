"""How the status is shown: as JSON, as a table, as an exit code."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dqm_db.errors import ConfigurationError
from dqm_db.ingestion import Pull
from dqm_db.operations import Operation, OperationName
from dqm_db.server_answers import FedReplica, ServerAnswer
from dqm_db.settings import DatabaseSettings
from dqm_db.status.commands import EXIT_CODES, status_command
from dqm_db.status.document import document
from dqm_db.status.model import DatabaseFacts, Item, Level, ServerStatus, SystemStatus
from dqm_db.status.table import table
from dqm_db.status.words import duration, size, utc
from dqm_db.writer import open_writer

NOW = 1_800_000_000.0
TID = bytes.fromhex("0403a1b2c3d4e5f6")
PRIMARY = ServerAnswer(
    TID,
    role="primary",
    epoch=2,
    clients=3,
    file_bytes=1_500_000,
    replicas=(FedReplica("10.8.0.2:4000", TID, NOW),),
    disk_free=5 * 10**9,
    disk_total=10**11,
    versions={"ZEO": "6.2"},
)
WHOLE = SystemStatus(
    NOW,
    (
        ServerStatus("10.8.0.1:8100", PRIMARY, "", "primary", NOW - 5, 0.0, 0),
        ServerStatus("10.8.0.2:8100", error="It does not answer within 3 s"),
    ),
    DatabaseFacts(
        Pull(NOW - 90, NOW - 60, ("/data",), {"stored": 3}, 1, "a file is bad", "cta3"),
        failures=1,
        quarantined=2,
        operations={
            OperationName.BACKUP: Operation(
                OperationName.BACKUP, NOW - 900, NOW - 600, True, "full", "cta1", {"bytes": 5}
            )
        },
    ),
    "",
    (
        Item(Level.CRITICAL, "server-answers", "Server", "Start it.", "10.8.0.2:8100"),
        Item(Level.WARNING, "quarantine", "Quarantine", "2 files wait.", "", 2),
        Item(Level.OK, "backup", "Backup", "It ended well.", "", 600.0, "s"),
    ),
)


def shown(of: SystemStatus, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(table(of))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_document_has_what_is_known_with_units_in_the_names():
    found = json.loads(json.dumps(document(WHOLE)))
    assert (found["schema"], found["at"], found["level"]) == (1, NOW, "critical")
    primary, silent = found["servers"]
    assert primary.keys() == silent.keys(), "a server that is silent has the same names"
    assert primary["last_transaction"] == TID.hex()
    assert (primary["level"], primary["role"], primary["epoch"]) == ("ok", "primary", 2)
    assert primary["disk_free_bytes"] == 5 * 10**9
    assert primary["replicas"] == [
        {"peer": "10.8.0.2:4000", "sent": TID.hex(), "connected_since": NOW}
    ]
    assert (silent["answers"], silent["last_transaction"], silent["clients"]) == (False, None, None)
    assert (silent["level"], silent["error"]) == ("critical", "It does not answer within 3 s")
    database = found["database"]
    assert (database["readable"], database["failures"], database["quarantined"]) == (True, 1, 2)
    assert database["last_pull"]["counts"] == {"stored": 3}
    assert database["operations"]["backup"]["facts"] == {"bytes": 5}
    assert found["items"][2] == {
        "level": "ok",
        "key": "backup",
        "subject": "",
        "title": "Backup",
        "text": "It ended well.",
        "value": 600.0,
        "unit": "s",
    }


def test_every_name_of_the_document_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    json_part = page[page.index("### JSON") : page.index("## The dashboard")]
    explained = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", json_part))))
    found = document(WHOLE)
    names = {*found, *found["database"], *found["items"][0]}
    for part in (
        found["servers"][0],
        found["servers"][0]["replicas"][0],
        found["database"]["last_pull"],
        found["database"]["operations"]["backup"],
    ):
        names |= part.keys()
    assert names <= explained


def test_of_a_database_that_cannot_be_read_nothing_is_claimed():
    found = document(replace(WHOLE, database=None, database_error="it is down"))["database"]
    assert found == {
        "readable": False,
        "error": "it is down",
        "last_pull": None,
        "failures": None,
        "quarantined": None,
        "operations": {},
    }


def test_the_table_has_all_that_is_wrong():
    text = shown(WHOLE)
    lines = text.splitlines()
    assert lines[0] == "System: critical, 2027-01-15 08:00:00 UTC"
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in lines[3:10])
    assert rows["state"].split() == ["ok", "critical"]
    assert re.split(r"  +", rows["role"].strip()) == ["primary", "does not answer"]
    assert rows["last transaction, UTC"].split() == ["2027-01-15", "07:59:55", "–"]
    assert rows["lag"].split() == ["none", "–"]
    assert rows["Data.fs"].startswith("1.5 MB")
    assert "disk left" in text and "5.0 GB (5%)" in text
    assert "certificate" not in text, "of no server is known when it ends"
    assert "Start it." in text and "2 files wait." in text and "It ended well." in text
    assert text.index("Start it.") < text.index("2 files wait.") < text.index("It ended well.")
    assert "2 in quarantine, 1 tried again" in text


def test_the_table_fits_a_terminal():
    text = shown(WHOLE, 80)
    assert max(map(len, text.splitlines())) <= 80
    for words in ("10.8.0.1:8100", "2027-01-15 07:59:55", "does not answer", "2 files wait."):
        assert words in text, "nothing is broken up"


def test_an_empty_status_can_be_shown():
    assert shown(SystemStatus(NOW)).startswith("System: ok")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (99, "99 s"), (600, "10 min"), (3 * 3600, "3.0 h"), (86400 * 12, "12 days")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1300, "1.3 kB"), (271e9, "271 GB"), (5e16, "50000 TB")],
)
def test_sizes(count, words):
    assert size(count) == words


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_time_can_be_shown(moment):
    assert utc(moment)


def test_every_level_has_an_exit_code():
    assert EXIT_CODES.keys() == set(Level)
    assert 2 not in EXIT_CODES.values(), "that is a wrong command line"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, **variables: str) -> Result:
    for name, value in {"DQM_SERVERS": "", **variables}.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(status_command(), arguments)


def operations(age: float = 60.0) -> list[Operation]:
    now = time.time() - age
    return [Operation(name, now - 60, now, True, "fine", "here") for name in OperationName]


def test_a_database_in_a_file_needs_no_servers(monkeypatch, file_settings: DatabaseSettings):
    with open_writer(file_settings) as writer:
        for operation in operations():
            writer.note_operation(operation)
    result = run(monkeypatch, "--db", file_settings.db_url)
    assert result.exit_code == 0, result.output
    assert "There are none: the database is read without." in result.output
    assert max(map(len, result.output.splitlines())) < 300, "no terminal, no padding"
    found = json.loads(run(monkeypatch, "--json", "--db", file_settings.db_url).output)
    assert (found["level"], found["servers"]) == ("ok", [])
    assert set(found["database"]["operations"]) == set(OperationName)


def test_what_is_missed_is_a_warning(monkeypatch, file_settings: DatabaseSettings):
    with open_writer(file_settings) as writer:
        for operation in operations():
            if operation.name is not OperationName.BACKUP:
                writer.note_operation(operation)
    result = run(monkeypatch, "--db", file_settings.db_url)
    assert result.exit_code == 1 and "dqm backup create" in result.output


def test_nothing_there_is_critical(monkeypatch, tmp_path, free_port):
    result = run(monkeypatch, "--db", f"file://{tmp_path}/none.fs")
    assert result.exit_code == 69 and "there is no such file" in result.output
    result = run(monkeypatch, "--json", "--db", f"zeo://127.0.0.1:{free_port}")
    assert result.exit_code == 69
    found = json.loads(result.output)
    assert [server["answers"] for server in found["servers"]] == [False]
    assert found["database"]["error"] == "no server answers"


@pytest.mark.parametrize("variables", [{"DQM_SERVERS": "here"}, {"DQM_PRIMARY_ZEO": "1:2:3"}])
def test_an_address_that_is_none_is_named(monkeypatch, variables):
    result = run(monkeypatch, **variables)
    assert isinstance(result.exception, ConfigurationError)
    assert next(iter(variables)) in str(result.exception)
