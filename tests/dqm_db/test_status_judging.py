"""What of the system is fine, a warning or critical."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ZODB.TimeStamp import TimeStamp

from dqm_db.errors import DamagedDatabase, DatabaseUnavailable, DQMError, NewerDatabase
from dqm_db.ingestion import Pull
from dqm_db.operations import Operation, OperationName
from dqm_db.server_answers import ServerAnswer, transaction_time
from dqm_db.settings import WatchSettings
from dqm_db.status.judging import judge
from dqm_db.status.limits import DAY, HOUR, Limits
from dqm_db.status.model import (
    DatabaseFacts,
    Item,
    Level,
    OwnCertificate,
    ServerStatus,
    SystemStatus,
)
from dqm_db.status.server_rules import WAITING

NOW = 1_800_000_000.0
LIMITS = Limits.of(WatchSettings(lag_warn=30, lag_alert=300, pull_stale=7200))
TID = TimeStamp(2027, 1, 15, 7, 59, 0).raw()
VERSIONS = {"nectarcam-dqm": "0.1.0", "ZODB": "6.4", "ZEO": "6.2", "python": "3.11.2"}
HEALTHY = ServerAnswer(
    TID,
    role="primary",
    epoch=2,
    fence_state="serving",
    disk_free=60 * 10**9,
    disk_total=100 * 10**9,
    aside_bytes=0,
    versions=VERSIONS,
    certificate_expires=NOW + 200 * DAY,
    authority_expires=NOW + 2000 * DAY,
    now=NOW,
    is_ours=True,
)


def server(address: str, role: str = "primary", lag: float | None = 0.0, **told: Any):
    answer = replace(HEALTHY, role=role, **told)
    return ServerStatus(address, answer, "", role, transaction_time(TID), lag, None)


def replica(lag: float | None = 0.0, **told: Any) -> ServerStatus:
    following = {"source": "a:5000", "following": "connected"}
    return server("b:8100", "replica", lag, **{**following, **told})


def own_certificate(days: float, authority_days: float = 2000) -> OwnCertificate:
    ends = NOW + days * DAY, NOW + authority_days * DAY
    return OwnCertificate("cta3", "/etc/dqm/cert.pem", ends[0], "/etc/dqm/ca.pem", ends[1])


def done(name: OperationName, age: float = HOUR, ok: bool = True) -> Operation:
    return Operation(name, NOW - age - 60, NOW - age, ok, "12 runs", "cta1")


PRIMARY = server("a:8100")
SILENT = ServerStatus("b:8100", error="It does not answer within 3 s")
FACTS = DatabaseFacts(
    Pull(NOW - 700, NOW - 600, host="cta3"), operations={name: done(name) for name in OperationName}
)


def judged(
    servers: Iterable[ServerStatus] = (PRIMARY, replica()),
    facts: DatabaseFacts | None = FACTS,
    own: OwnCertificate | None = None,
) -> SystemStatus:
    error = None if facts else DatabaseUnavailable("all are down.")
    return judge(tuple(servers), facts, error, LIMITS, NOW, own)


def only(status: SystemStatus, key: str) -> Item:
    [item] = [item for item in status.items if item.key == key and item.level is not Level.OK]
    return item


def with_operation(operation: Operation | None, name: OperationName) -> DatabaseFacts:
    others = {key: value for key, value in FACTS.operations.items() if key is not name}
    return replace(FACTS, operations=others | ({} if operation is None else {name: operation}))


def test_a_system_in_order_is_fine():
    status = judged()
    assert status.level is Level.OK
    assert {item.key for item in status.items} >= {
        "primary", "epoch", "versions", "server-answers", "replica-lag", "following", "disk",
        "certificate", "authority", "database", "pull", "quarantine", "backup",
        "backup-verification", "verification", "pack",
    }  # fmt: skip
    for item in status.items:
        assert item.text.endswith(".") and item.title


def test_every_key_stands_in_the_documents():
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    [keys] = re.findall(r"The `key` of an item.*?\n\n", page, re.DOTALL)
    documented = set(re.findall(r"`([a-z-]+)`", keys)) - {"key"} | set(OperationName)
    servers = [
        server("a:8100", fence_state="demoted", epoch=1, now=NOW - 99, aside_bytes=9),
        replica(),
        SILENT,
    ]
    both = judged(servers, own=own_certificate(0)), judged([])
    made = {item.key for status in both for item in status.items}
    of_dashboards = {"accounts", "metrics-token", "baskets"}  # whose facts the database has not
    assert of_dashboards < documented
    assert made == documented - of_dashboards


def test_what_is_worst_comes_first_and_counts():
    status = judged([PRIMARY, SILENT], replace(FACTS, quarantined=2))
    levels = [item.level for item in status.items]
    assert levels == sorted(levels, key=list(Level).index, reverse=True)
    assert levels[0] is Level.CRITICAL is status.level
    assert status.level_of("b:8100") is Level.CRITICAL
    assert status.level_of("a:8100") is Level.OK


@pytest.mark.parametrize(
    ("servers", "level", "words"),
    [
        ([replica()], Level.CRITICAL, "DQM_SERVERS"),
        ([replica(), ServerStatus("a:8100", error="silent")], Level.CRITICAL, "dqm promote"),
        ([PRIMARY, server("c:8100")], Level.CRITICAL, "a:8100 and c:8100"),
        ([ServerStatus("a:8100", ServerAnswer(TID))], Level.UNKNOWN, "DQM_PRIMARY_ZEO"),
    ],
)
def test_there_must_be_one_primary(servers, level, words):
    item = only(judged(servers), "primary")
    assert item.level is level and words in item.text


def test_a_server_that_does_not_answer_says_why():
    item = only(judged([PRIMARY, SILENT]), "server-answers")
    assert (item.level, item.subject) == (Level.CRITICAL, "b:8100")
    assert item.text == ("It does not answer within 3 s; see whether its host and its service run.")


def test_a_server_that_speaks_otherwise_is_not_called_down():
    other = ServerStatus("b:8100", error="TLS failed: it does not know our CA")
    item = only(judged([PRIMARY, other]), "server-answers")
    assert item.text == "TLS failed: it does not know our CA."


def test_without_servers_there_is_nothing_to_say_about_them():
    status = judged([])
    assert status.level is Level.OK
    assert not any(item.subject for item in status.items)


@pytest.mark.parametrize(
    ("servers", "level", "subject", "words"),
    [
        ([PRIMARY, replica(epoch=1)], Level.WARNING, "b:8100", "not got the change"),
        ([server("a:8100", epoch=1), replica()], Level.CRITICAL, "a:8100", "dqm resync"),
    ],
)
def test_epochs_that_differ(servers, level, subject, words):
    item = only(judged(servers), "epoch")
    assert (item.level, item.subject) == (level, subject) and words in item.text


def test_servers_that_tell_no_epoch_are_not_judged_by_it():
    status = judged([PRIMARY, replica(epoch=None)])
    assert status.level is Level.OK


def test_a_primary_that_was_demoted_accepts_nothing():
    item = only(judged([server("a:8100", fence_state="demoted"), replica()]), "fence")
    assert item.level is Level.CRITICAL and "dqm promote" in item.text


@pytest.mark.parametrize(
    ("lag", "level"),
    [
        (0.0, Level.OK),
        (29.0, Level.OK),
        (31.0, Level.WARNING),
        (301.0, Level.CRITICAL),
        (None, Level.UNKNOWN),
    ],
)
def test_the_lag(lag, level):
    items = [item for item in judged([PRIMARY, replica(lag)]).items if item.key == "replica-lag"]
    assert [(item.level, item.value) for item in items] == [(level, lag)]


def test_the_lag_in_bytes_is_said():
    behind = replace(replica(3600.0), lag_bytes=12_300_000)
    assert (
        "is 60 min old, and lacks 12.3 MB:" in only(judged([PRIMARY, behind]), "replica-lag").text
    )


@pytest.mark.parametrize(
    ("told", "level", "words"),
    [
        ({"following": "unreachable", "heard": NOW}, Level.WARNING, "heard last at 2027-01-15"),
        ({"following": "refused", "reason": "no 03e8"}, Level.CRITICAL, "(no 03e8): it has"),
    ],
)
def test_a_replica_that_does_not_follow(told, level, words):
    item = only(judged([PRIMARY, replica(**told)]), "following")
    assert item.level is level and words in item.text and "a:5000" in item.text


@pytest.mark.parametrize("following", ["refused", "connecting"])
def test_who_was_demoted_waits_for_its_successor(following):
    waiting = replica(following=following, reason="no 03e8", fence_state="demoted", source="b:5000")
    item = only(judged([waiting, replica()]), "following")
    assert (item.level, item.value) == (Level.WARNING, WAITING)
    assert "waits for dqm promote on b:5000 (no 03e8)" in item.text


def test_who_was_demoted_and_is_refused_by_a_primary_has_diverged():
    refused = replica(following="refused", fence_state="demoted")
    item = only(judged([server("a:8100"), refused]), "following")
    assert item.level is Level.CRITICAL
    assert "it has diverged" in item.text


@pytest.mark.parametrize(
    ("free", "level"),
    [(11, Level.OK), (9, Level.WARNING), (4, Level.CRITICAL), (0, Level.CRITICAL)],
)
def test_the_disk(free, level):
    servers = [server("a:8100", disk_free=free * 10**9), replica()]
    [item] = [i for i in judged(servers).items if (i.key, i.subject) == ("disk", "a:8100")]
    assert (item.level, item.value) == (level, free / 100)
    assert ("make space" in item.text) == (level is not Level.OK)


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [
        (31, Level.OK, "valid for 31 days"),
        (29, Level.WARNING, "ends in 29 days"),
        (6, Level.CRITICAL, "dqm certs"),
        (-1, Level.CRITICAL, "has ended at 2027-01-14"),
    ],
)
def test_the_certificate(days, level, words):
    servers = [server("a:8100", certificate_expires=NOW + days * DAY), replica()]
    [item] = [i for i in judged(servers).items if (i.key, i.subject) == ("certificate", "a:8100")]
    assert item.level is level and words in item.text
    assert "CA first" not in item.text


CA_ENDS = pytest.mark.parametrize(
    ("days", "level", "words"),
    [
        (31, Level.OK, "is valid for 31 days"),
        (29, Level.WARNING, "ends in 29 days"),
        (6, Level.CRITICAL, "ends in 6 days"),
        (-1, Level.CRITICAL, "has ended at 2027-01-14"),
    ],
)


@CA_ENDS
def test_the_ca_of_a_server(days, level, words):
    servers = [server("a:8100", authority_expires=NOW + days * DAY), replica()]
    [item] = [i for i in judged(servers).items if (i.key, i.subject) == ("authority", "a:8100")]
    assert (item.level, item.value) == (level, days * DAY)
    assert f"The CA that it has {words}" in item.text
    assert ("dqm certs ca --renew" in item.text) == (level is not Level.OK)


@CA_ENDS
def test_the_ca_of_the_host_that_asks(days, level, words):
    status = judged(own=own_certificate(200, days))
    [item] = [item for item in status.items if item.key == "own-authority"]
    assert (item.level, item.subject, status.level) == (level, "", level)
    assert f"The CA in /etc/dqm/ca.pem of cta3, which asks, {words}" in item.text
    assert ("dqm certs ca --renew" in item.text) == (level is not Level.OK)


def test_a_certificate_that_ends_with_its_ca_is_renewed_after_it():
    end = NOW + 20 * DAY
    servers = [server("a:8100", certificate_expires=end, authority_expires=end)]
    status = judged(servers, own=own_certificate(20, 20))
    assert "renew the CA first, then make a new one" in only(status, "certificate").text
    assert "renew the CA first, then renew it with dqm" in only(status, "own-certificate").text
    assert "dqm certs ca --renew" in only(status, "authority").text


def test_a_server_without_tls_has_no_certificates():
    status = judged([server("a:8100", certificate_expires=None, authority_expires=None)])
    assert not {item.key for item in status.items} & {"certificate", "authority"}


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [
        (31, Level.OK, "is valid for 31 days"),
        (29, Level.WARNING, "ends in 29 days"),
        (6, Level.CRITICAL, "ends in 6 days"),
        (-1, Level.CRITICAL, "has ended at 2027-01-14"),
    ],
)
def test_the_certificate_of_the_host_that_asks(days, level, words):
    status = judged(own=own_certificate(days))
    [item] = [item for item in status.items if item.key == "own-certificate"]
    assert (item.level, item.subject, item.value) == (level, "", days * DAY)
    assert f"/etc/dqm/cert.pem of cta3, which asks, {words}" in item.text
    assert ("dqm certs host --renew" in item.text) == (level is not Level.OK)
    assert status.level is level
    assert not any(item.key == "own-certificate" for item in judged().items), "without TLS"


def test_files_set_aside_that_take_much():
    small, large = replica(aside_bytes=10**9), replica(aside_bytes=10**10)
    assert judged([PRIMARY, small]).level is Level.OK
    assert "10.0 GB" in only(judged([PRIMARY, large]), "aside").text


def test_releases_that_differ_but_not_those_of_python():
    other = replica(versions={**VERSIONS, "ZEO": "6.1", "python": "3.13.0"})
    item = only(judged([PRIMARY, other]), "versions")
    assert item.level is Level.WARNING
    assert item.value == "ZEO (6.1, 6.2)"


@pytest.mark.parametrize("off", [-3600.0, 11.0])
def test_a_clock_that_is_wrong(off):
    item = only(judged([PRIMARY, replica(now=NOW + off)]), "clock")
    assert item.level is Level.WARNING and ("ahead" if off > 0 else "behind") in item.text


def test_a_database_that_cannot_be_read():
    status = judged(facts=None)
    item = only(status, "database")
    assert item.level is Level.CRITICAL and "all are down" in item.text
    assert not any(item.key in ("pull", "backup", "quarantine") for item in status.items)


@pytest.mark.parametrize(
    ("error", "servers", "text"),
    [
        (DatabaseUnavailable("it is silent"), [], "it is silent; see whether DQM_DB_URL is right"),
        (DatabaseUnavailable("it is silent"), [SILENT], "it is silent; start a server, or"),
        (DatabaseUnavailable("it is silent"), [PRIMARY, SILENT], "it is silent; see what is said"),
        (NewerDatabase("too new: upgrade"), [PRIMARY], "too new: upgrade."),
        (DamagedDatabase("damaged: restore it"), [SILENT], "damaged: restore it."),
    ],
)
def test_what_to_do_about_a_database_that_cannot_be_read(
    error: DQMError, servers: list[ServerStatus], text: str
):
    status = judge(servers, None, error, LIMITS, NOW)
    assert only(status, "database").text.startswith(f"It cannot be read: {text}")
    assert status.database_error == str(error)


@pytest.mark.parametrize(
    ("age", "code", "error", "level", "words"),
    [
        (600, 0, "", Level.OK, "on cta3"),
        (600, 0, "source 2 is down.", Level.WARNING, "could not store some files"),
        (600, 1, "", Level.WARNING, "(exit code 1)."),
        (
            600,
            77,
            "proxy expired",
            Level.WARNING,
            "failed 10 min ago on cta3 (exit code 77): proxy",
        ),
        (600, 130, "", Level.OK, ""),
        (7300, 0, "", Level.WARNING, "timer"),
        (4 * 7200 + 60, 77, "", Level.CRITICAL, "timer"),
    ],
)
def test_the_last_pull(age, code, error, level, words):
    pull = Pull(NOW - age - 10, NOW - age, exit_code=code, error=error, host="cta3")
    [item] = [i for i in judged(facts=replace(FACTS, pull=pull)).items if i.key == "pull"]
    assert item.level is level and words in item.text
    assert item.text.count("..") == 0


def test_a_database_into_which_nobody_pulls_is_fine():
    assert judged(facts=replace(FACTS, pull=None)).level is Level.OK


@pytest.mark.parametrize(("count", "words"), [(1, "1 file waits"), (3, "3 files wait")])
def test_the_quarantine(count, words):
    item = only(judged(facts=replace(FACTS, quarantined=count)), "quarantine")
    assert item.level is Level.WARNING and item.value == count and item.text.startswith(words)


@pytest.mark.parametrize(
    ("name", "age", "level"),
    [
        (OperationName.BACKUP, 25 * HOUR, Level.OK),
        (OperationName.BACKUP, 27 * HOUR, Level.WARNING),
        (OperationName.BACKUP, 51 * HOUR, Level.CRITICAL),
        (OperationName.BACKUP_VERIFICATION, 7 * DAY, Level.OK),
        (OperationName.BACKUP_VERIFICATION, 9 * DAY, Level.WARNING),
        (OperationName.VERIFICATION, 9 * DAY, Level.WARNING),
        (OperationName.PACK, 900 * DAY, Level.OK),
    ],
)
def test_how_old_what_keeps_the_database_safe_is(name, age, level):
    status = judged(facts=with_operation(done(name, age), name))
    assert [i.level for i in status.items if i.key == str(name)] == [level]


@pytest.mark.parametrize(
    ("name", "level"),
    [
        (OperationName.BACKUP, Level.CRITICAL),
        (OperationName.BACKUP_VERIFICATION, Level.CRITICAL),
        (OperationName.VERIFICATION, Level.CRITICAL),
        (OperationName.PACK, Level.WARNING),
    ],
)
def test_what_failed_is_said_with_its_reason(name, level):
    item = only(judged(facts=with_operation(done(name, 60, ok=False), name)), str(name))
    assert item.level is level
    assert item.text.startswith("It failed 60 s ago on cta1 (12 runs): run dqm ")


@pytest.mark.parametrize(
    ("name", "level"),
    [
        (OperationName.BACKUP, Level.WARNING),
        (OperationName.BACKUP_VERIFICATION, Level.WARNING),
        (OperationName.VERIFICATION, Level.WARNING),
        (OperationName.PACK, Level.OK),
    ],
)
def test_what_never_was_done(name, level):
    status = judged(facts=with_operation(None, name))
    assert [i.level for i in status.items if i.key == str(name)] == [level]
    assert status.level is level


def test_what_cannot_be_done_is_not_missed():
    no_backup = judged(facts=DatabaseFacts())
    assert not any(item.key == "backup-verification" for item in no_backup.items)
    alone = judged([PRIMARY], with_operation(None, OperationName.VERIFICATION))
    assert alone.level is Level.OK
