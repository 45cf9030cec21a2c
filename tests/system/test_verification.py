"""`dqm verify` on real servers: what is the same, what differs, and what explains it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from processes import COMMANDS, LOOPBACK, DatabaseServer, eventually, free_port
from ZEO.Exceptions import ServerException
from ZODB.blob import Blob

from dqm_db.operations import OperationName
from dqm_db.replication.addresses import Address
from dqm_db.settings import DatabaseSettings
from dqm_db.storage import open_database
from dqm_db.verification import servers
from dqm_db.verification.comparing import compare
from dqm_db.verification.report import Report
from dqm_db.volume.digest_wire import MOST_OIDS
from dqm_db.writer import open_writer


class System:
    """A primary and its replica, with some transactions, and `dqm verify`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.primary = DatabaseServer(directory, "primary")
        self.replica = DatabaseServer(directory, "replica", source=self.primary)
        self.settings = DatabaseSettings(db_url=self.primary.url, lock_dir=directory / "lock")
        self._resources = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self._resources)
            self._resources.enter_context(self.primary)
            self._resources.enter_context(self.replica)
            with open_writer(self.settings):
                pass  # it makes what this system needs in an empty database
            self.db = ZODB.DB(self.primary.client(blob_dir=str(directory / "blobs")))
            self._resources.callback(self.db.close)
            undo.pop_all()

    def close(self) -> None:
        self._resources.close()

    def write(self, *numbers: int) -> None:
        for number in numbers:
            manager = transaction.TransactionManager(explicit=True)
            manager.begin()
            connection = self.db.open(manager)
            manager.get().note(f"store run {number}")
            top = connection.root()
            top["last"] = number
            top[f"run {number}"] = PersistentMapping(values="x" * 1000)
            top["original"] = Blob(b"%06d" % number * 100)
            manager.commit()
            connection.close()

    def in_sync(self) -> None:
        self.replica.wait_for(self.primary)

    def environment(self) -> dict[str, str]:
        return {
            name: value for name, value in os.environ.items() if not name.startswith("DQM_")
        } | {
            "DQM_DB_URL": self.primary.url,
            "DQM_SERVERS": f"{LOOPBACK}:{self.primary.port},{LOOPBACK}:{self.replica.port}",
            "DQM_STATE_DIR": str(self.directory / "state"),
            "DQM_LOCK_DIR": str(self.directory / "lock"),
            "DQM_DB_PATIENCE": "3",
        }

    def verify(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(COMMANDS / "dqm"), "verify", *options],
            env=self.environment() | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def verified(self, *options: str, code: int = 0, **variables: str) -> dict[str, Any]:
        """The document that it prints."""
        done = self.verify("--json", *options, **variables)
        assert done.returncode == code, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("shared"))
    system.write(1, 2, 3)
    yield system
    system.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path)
    system.write(1, 2, 3)
    system.in_sync()
    yield system
    system.close()


def test_both_are_the_same(shared: System) -> None:
    shared.in_sync()
    done = shared.verify()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert f"{LOOPBACK}:{shared.primary.port} (primary): " in done.stdout
    assert "are the same in " in done.stdout
    with open_database(shared.settings) as database, database.snapshot() as snapshot:
        noted = snapshot.operations()[OperationName.VERIFICATION]
    assert noted.ok
    assert "are the same" in noted.text
    assert noted.facts["servers"] == 2
    assert noted.facts["differences"] == 0


def test_only_what_is_new(shared: System) -> None:
    shared.in_sync()
    everything = shared.verified()
    assert everything["after"] is None
    shared.write(10, 11)
    shared.in_sync()
    found = shared.verified("--new")
    assert found["after"] is not None
    # The last verified one, the note of the verification, and two runs.
    assert [side["transactions"] for side in found["sides"]] == [4, 4]
    state = next((shared.directory / "state").iterdir())
    state.write_text("{}")
    done = shared.verify("--new")
    assert done.returncode == 0
    assert "everything is verified" in done.stderr


def test_what_cannot_be_noted_or_remembered_is_only_said(shared: System) -> None:
    shared.in_sync()
    done = shared.verify(
        DQM_DB_URL=f"zeo://{LOOPBACK}:{shared.replica.port}", DQM_STATE_DIR="/dev/null/state"
    )
    assert done.returncode == 0
    assert "the outcome is not noted in the database" in done.stderr
    assert "DQM_STATE_DIR" in done.stderr


def test_usage(shared: System) -> None:
    one = f"{LOOPBACK}:{shared.primary.port}"
    done = shared.verify("--servers", one)
    assert done.returncode == 78
    assert "fewer than two servers" in done.stderr
    assert shared.verify("--new", "--data-dir", str(shared.primary.data_dir)).returncode == 2


def test_a_volume_below_a_running_server(shared: System) -> None:
    directory = str(shared.primary.data_dir)
    found = shared.verified("--data-dir", directory)
    assert found["sides"][0]["name"] == directory
    assert found["sides"][0]["transactions"] > 3
    shared.in_sync()
    both = shared.verified("--data-dir", directory, "--data-dir", str(shared.replica.data_dir))
    assert both["pairs"][0]["different"] == 0
    assert both["pairs"][0]["same"] == both["sides"][0]["transactions"]


def test_a_server_that_does_not_answer(own: System) -> None:
    own.replica.send(signal.SIGSTOP)
    done = own.verify()
    assert done.returncode == 69
    assert f"{LOOPBACK}:{own.replica.port}" in done.stderr
    own.replica.send(signal.SIGCONT)
    other = f"{LOOPBACK}:{free_port()}"
    both = f"{LOOPBACK}:{own.primary.port},{LOOPBACK}:{own.replica.port}"
    found = own.verified("--servers", f"{both},{other}", code=69)
    assert list(found["silent"]) == [other]
    assert found["pairs"][0]["different"] == 0
    own.replica.kill()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_server_that_stops_to_answer_in_between(
    own: System, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "PIECE_BYTES", 0)  # a question for each transaction
    patience = own.settings.model_copy(update={"db_patience": 3.0})
    lost: list[int] = []

    def stop(_size: int) -> None:
        if not lost:
            lost.append(number)
            own.replica.send(number)

    with (
        servers.ServerSide(Address(LOOPBACK, own.primary.port), patience) as primary,
        servers.ServerSide(Address(LOOPBACK, own.replica.port), patience) as replica,
    ):
        outcome = compare([primary, replica], progress=stop)
    assert [read.side.name for read in outcome.silent] == [replica.name]
    assert not outcome.is_damaged
    assert Report(outcome).exit_code == 69
    assert outcome.read[0].transactions > outcome.read[1].transactions


def test_a_replica_that_lags_or_has_diverged(own: System) -> None:
    own.replica.stop()
    own.write(20, 21)
    alone = DatabaseServer(own.directory, "alone", port=own.replica.port)
    own.replica.data_dir.rename(alone.data_dir)
    with alone:  # no longer a replica: it lags for good
        found = own.verified()
        assert found["pairs"][0]["different"] == 0
        assert found["sides"][0]["transactions"] > found["sides"][1]["transactions"]
        db = ZODB.DB(alone.client())
        with db.transaction() as connection:
            connection.root()["other"] = 1
        db.close()
        (finding,) = own.verified(code=65)["pairs"][0]["findings"][:1]
        assert "is not on" in finding["text"]


def test_after_a_restore_new_is_not_enough(own: System) -> None:
    """Both servers go back behind what was verified, as with an older backup."""
    servers = (own.primary, own.replica)
    for server in servers:
        server.stop()
        shutil.copytree(server.data_dir, own.directory / f"backup of {server.data_dir.name}")
        server.start()
    eventually(own.db.storage.is_connected, "the writer is connected again")
    own.write(30)
    own.in_sync()
    before = own.verified()
    (state,) = (own.directory / "state").iterdir()
    remembered = state.read_text()
    for server in servers:
        server.stop()
        shutil.rmtree(server.data_dir)
        (own.directory / f"backup of {server.data_dir.name}").rename(server.data_dir)
        server.start()
    behind = own.verified("--new", code=65)["pairs"][0]
    assert behind["findings"][0]["text"].startswith("was verified before, but ")
    assert "verify once without --new" in behind["findings"][0]["text"]
    own.in_sync()  # that was noted: both have a later transaction now
    gone = own.verified("--new", code=65)["pairs"][0]["findings"][0]["text"]
    assert gone.startswith("was verified before, and is on neither side now")
    assert "verify once without --new" in gone
    assert state.read_text() == remembered
    own.in_sync()
    assert own.verified()["sides"][0]["transactions"] > 0
    own.in_sync()
    assert own.verified("--new")["after"] > before["pairs"][0]["last"]


def damage(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x10]))


def test_a_flipped_bit_is_found_and_named(own: System) -> None:
    data = own.replica.data_file.read_bytes()
    damage(own.replica.data_file, data.index(b"x" * 1000, data.index(b"store run 2")) + 500)
    done = own.verify()
    assert done.returncode == 65
    assert "different: transaction" in done.stdout
    assert "(store run 2) differs" in done.stdout
    with open_database(own.settings) as database, database.snapshot() as snapshot:
        noted = snapshot.operations()[OperationName.VERIFICATION]
    assert not noted.ok
    assert noted.facts["differences"] == 1
    # It was verified by nobody: --new looks at everything again.
    assert own.verified("--new", code=65)["after"] is None

    # In an original: it changes, and is lost.
    blob = sorted((own.replica.data_dir / "blobstorage").glob("0x*/**/*.blob"))[0]
    blob.chmod(0o600)
    damage(blob, 17)
    found = own.verified(code=65)
    assert [finding["faulty"] for finding in found["pairs"][0]["findings"]] == [[], []]
    blob.unlink()
    found = own.verified(code=65)
    assert found["pairs"][0]["findings"][0]["faulty"] == [f"{LOOPBACK}:{own.replica.port}"]
    assert str(blob) in found["sides"][1]["faults"][0]["text"]

    # In the structure its own file says so; and it is found by the server that has it.
    begin = data.index(b"store run 3") - len(b"/ ") - 23
    damage(own.replica.data_file, begin + 16)
    found = own.verified(code=65)
    assert [side["damaged"] for side in found["sides"]] == [0, 2]
    fault = found["sides"][1]["faults"][-1]
    assert fault["faulty"] == [f"{LOOPBACK}:{own.replica.port}"]
    assert fault["description"] == "store run 3"


def test_packed_servers(own: System) -> None:
    own.verified()
    own.db.pack()
    own.write(30)
    own.in_sync()
    found = own.verified()
    (pair,) = found["pairs"]
    assert pair["superseded"] > 0
    assert pair["different"] == 0
    own.verified("--new")
    # What the pack kept is compared all the same.
    data = own.primary.data_file.read_bytes()
    damage(own.primary.data_file, data.index(b"x" * 1000) + 500)
    assert own.verified(code=65)["pairs"][0]["different"] == 1


def test_digests_do_not_keep_a_writer_waiting_for_the_end(shared: System) -> None:
    """A client asks for digests while others write: both come to an end, and all is the same."""
    process = subprocess.Popen(
        [str(COMMANDS / "dqm"), "verify"],
        env=shared.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    number = 100
    while process.poll() is None:
        shared.write(number)
        number += 1
    assert process.stdout is not None
    assert process.returncode == 0, process.stdout.read()
    process.stdout.close()
    shared.in_sync()
    eventually(lambda: shared.verify().returncode == 0, "all is the same in the end")


@pytest.mark.parametrize(
    "arguments",
    [
        (10**15, 1, bytes(8)),
        ("12345678", 1, bytes(8)),
        (bytes(7), 1, bytes(8)),
        (bytes(8), "many", bytes(8)),
        (bytes(8), 1, None),
        (bytes(8),),
    ],
)
def test_nonsense_gets_an_error(shared: System, arguments: tuple[Any, ...]) -> None:
    storage = shared.primary.client()
    try:
        with pytest.raises((TypeError, ValueError, ServerException)):
            storage._call("dqm_digests", *arguments)
        answer = storage._call("dqm_digests", bytes(8), -5, bytes(8))
        assert len(answer["transactions"]) == 1
        assert storage._call("dqm_bytes_after", storage.lastTransaction()) == 0
        size = shared.primary.data_file.stat().st_size
        assert storage._call("dqm_bytes_after", bytes(8)) == size - 4
    finally:
        storage.close()


def test_too_many_objects_at_once_get_an_error(shared: System) -> None:
    storage = shared.primary.client()
    try:
        for method in ("dqm_current", "dqm_reachable"):
            with pytest.raises((ValueError, ServerException), match="ask for at most"):
                storage._call(method, [bytes(8)] * (MOST_OIDS + 1))
            assert len(storage._call(method, [bytes(8)])) == 1
    finally:
        storage.close()
