"""What pages are told of the puller, and the list of what it could not store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from fake_database import until

from dqm_app import pulls
from dqm_app.pulls import PullState, PullWatch, listing
from dqm_db.errors import DamagedDatabase, DatabaseUnavailable
from dqm_db.ingestion import Failure, Pull
from dqm_db.writer import Writer, open_writer

NOW = 1_800_000_000.0


@pytest.fixture
def writer(file_settings) -> Iterator[Writer]:
    with open_writer(file_settings) as writer:
        yield writer


def failure(run: int, camera: str = "A", **other: object) -> Failure:
    values = {
        "source": f"/data/{camera}_DQM_Run{run}.tar.gz",
        "kind": "Corrupt",
        "error": "the checksum differs",
        "attempts": 2,
        "first_at": NOW - 1000,
        "last_at": NOW - run,
        "next_at": None,
    }
    return Failure(camera=camera, run=run, **(values | other))


def state(writer: Writer) -> PullState:
    with writer.database.snapshot() as snapshot:
        return PullState.read(snapshot)


def listed(writer: Writer, camera: str = "") -> dict:
    with writer.database.snapshot() as snapshot:
        return json.loads(json.dumps(listing(snapshot, camera, NOW)))


def test_nothing_was_ever_pulled(writer):
    assert state(writer) == PullState()
    sign = PullState().sign(7200)
    assert (sign["at"], sign["outcome"], sign["failures"]) == (None, None, 0)
    assert listed(writer)["pull"] is None
    assert listed(writer)["rows"] == []


def test_only_what_waits_for_a_person_counts_as_in_quarantine(writer):
    writer.note_failure(failure(1))
    writer.note_failure(failure(2, next_at=NOW + 60))
    writer.note_failure(failure(3, kind="removed"))
    assert state(writer) == PullState(None, 3, 1)
    assert state(writer).sign(7200)["quarantined"] == 1


@pytest.mark.parametrize(
    ("code", "error", "outcome", "words"),
    [
        (0, "", "ok", "nothing went wrong (exit code 0)"),
        (0, "one folder is not there", "partly", "nothing went wrong (exit code 0)"),
        (1, "", "partly", "some files could not be stored (exit code 1)"),
        (69, "down", "failed", "the source of the files does not answer (exit code 69)"),
        (77, "", "failed", "refused the credentials, or they have expired (exit code 77)"),
        (143, "", "stopped", "(exit code 143)"),
        (3, "", "failed", "it did not end as it should (exit code 3)"),
    ],
)
def test_a_pull_in_words(writer, code, error, outcome, words):
    counts = {"stored": 12, "failed": 0, "in quarantine": 1}
    writer.note_pull(Pull(NOW - 60, NOW - 50, ("root://a//b",), counts, code, error, "host"))
    pull = listed(writer)["pull"]
    assert pull["outcome"] == outcome == state(writer).sign(1)["outcome"]
    assert words in pull["exit"]
    assert pull["counts"] == [["stored", 12], ["in quarantine", 1]]
    assert (pull["started"], pull["finished"]) == (NOW - 60, NOW - 50)
    assert (pull["sources"], pull["error"], pull["host"]) == (["root://a//b"], error, "host")


def test_the_newest_failures_of_all_cameras_or_one(writer):
    for run in (3, 1, 2):
        writer.note_failure(failure(run))
    writer.note_failure(failure(7, "B", last_at=NOW))
    answer = listed(writer)
    assert [(row["camera"], row["run"]) for row in answer["rows"]] == [
        ("B", 7),
        ("A", 1),
        ("A", 2),
        ("A", 3),
    ]
    assert (answer["matching"], answer["cameras"]) == (4, {"A": 3, "B": 1})
    answer = listed(writer, "B")
    assert [row["run"] for row in answer["rows"]] == [7]
    assert (answer["matching"], answer["cameras"]) == (1, {"A": 3, "B": 1})
    assert listed(writer, "C")["rows"] == []


def test_thousands_of_failures_with_long_texts_stay_light(writer, monkeypatch):
    monkeypatch.setattr(pulls, "LISTED", 5)
    for run in range(1, 9):
        writer.note_failure(failure(run, error="x" * 5000, source="/" * 5000))
    answer = listed(writer)
    assert [row["run"] for row in answer["rows"]] == [1, 2, 3, 4, 5]
    assert answer["matching"] == 8
    assert len(json.dumps(answer)) < 10_000
    assert answer["rows"][0]["reason"].endswith("x…")


def test_states(writer):
    writer.note_failure(failure(1))
    writer.note_failure(failure(2, next_at=NOW + 60))
    writer.note_failure(failure(3, next_at=NOW - 60))
    writer.note_failure(failure(4, kind="removed"))
    rows = listed(writer)["rows"]
    assert [row["state"] for row in rows] == ["quarantine", "later", "next", "deleted"]
    assert [row["next_at"] for row in rows] == [None, NOW + 60, NOW - 60, None]


def test_texts_are_printable(writer):
    writer.note_failure(failure(1, source="/a/\u202egz.tar\n\x1b[31m", error="µs – 1 °C"))
    (row,) = listed(writer)["rows"]
    assert row["source"] == r"/a/\u202egz.tar\n\x1b[31m"
    assert row["reason"] == "µs – 1 °C"


class Looks:
    """A database that answers with what it is given, an error or a state."""

    def __init__(self, *answers: PullState | Exception) -> None:
        self.answers = list(answers)
        self.changes = 0
        self.reads = 0

    async def read(self, _loader: object) -> PullState:
        self.reads += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def changed(self) -> None:
        self.changes += 1


def test_looking_again_while_the_database_does_not_answer(monkeypatch):
    monkeypatch.setattr(pulls, "RETRY_SECONDS", 0.01)

    async def scenario() -> None:
        looks = Looks(DatabaseUnavailable("a"), DatabaseUnavailable("b"), PullState(None, 1, 1))
        watch = PullWatch(looks.read, looks.changed)
        watch.look()
        await until(lambda: watch.state.failures == 1)
        assert looks.changes == 1

    asyncio.run(scenario())


def test_a_failure_that_cannot_be_read_is_logged_and_harms_nothing(caplog):
    async def scenario() -> None:
        looks = Looks(DamagedDatabase("record 7 is damaged"), PullState(None, 1, 0))
        watch = PullWatch(looks.read, looks.changed)
        watch.look()
        await until(lambda: "record 7 is damaged" in caplog.text)
        assert watch.state == PullState()
        watch.look()
        await until(lambda: looks.changes == 1)

    asyncio.run(scenario())


def test_much_to_read_does_not_occupy_a_thread():
    async def scenario() -> None:
        class Slow(Looks):
            async def read(self, loader: object) -> PullState:
                await asyncio.sleep(0.05)
                return await super().read(loader)

        looks = Slow(*(PullState(None, number, 0) for number in range(1, 5)))
        watch = PullWatch(looks.read, looks.changed)
        for _ in range(20):
            watch.look()
            await asyncio.sleep(0.01)
        assert looks.reads == 1, "the pause is ten times as long as the reading"
        await until(lambda: looks.reads == 2)  # what came meanwhile is not forgotten
        watch.close()

    asyncio.run(scenario())
