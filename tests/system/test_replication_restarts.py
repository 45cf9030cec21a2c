"""Servers that end and start in any order, with files that a power failure has left.

Each test ends with files that are the same, byte for byte, and some with `dqm verify` as well.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet import Fleet, told
from processes import COMMANDS, LOOPBACK, DatabaseServer, eventually
from ZODB.blob import Blob
from ZODB.FileStorage import FileIterator

from dqm_db.volume.holder import is_held
from dqm_db.volume.layout import Volume

pytestmark = pytest.mark.system

NAMES = ("primary", "replica", "tail")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("restarts")) as fleet:
        yield fleet


@pytest.fixture
def fleet(servers: Fleet) -> Fleet:
    servers.put("before", Blob(bytes(range(256)) * 400))
    servers.put("small", "before")
    servers.converge()
    return servers


def verified(fleet: Fleet) -> None:
    """All hold the same, by the bytes of their files and by what `dqm verify` reads."""
    fleet.converge()
    addresses = ",".join(f"{LOOPBACK}:{getattr(fleet, name).port}" for name in NAMES)
    ended = subprocess.run(
        [COMMANDS / "dqm", "verify", "--servers", addresses],
        env=fleet.primary.environment | {"XDG_STATE_HOME": str(fleet.directory)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def last_transaction_at(server: DatabaseServer) -> tuple[int, int]:
    """Where the last transaction begins and ends in ``Data.fs``."""
    begin = [found._tpos for found in FileIterator(str(server.data_file))][-1]
    return begin, server.data_file.stat().st_size


@pytest.mark.parametrize("stock", [False, True], ids=["dqm", "runzeo"])
def test_a_start_while_a_command_looks_at_the_lock(
    database_server: Callable[..., DatabaseServer], stock: bool
) -> None:
    """It can only tell by taking it whether a server has it."""
    server = database_server("primary", stock=stock)
    volume = Volume(server.data_dir)
    volume.create()
    with volume.locked():
        server.start(wait=False)
        server.wait_for_log("waiting up to 5 s for whoever has the lock")
    eventually(server._answers, "it serves")
    assert is_held(volume)


def test_any_order(fleet: Fleet) -> None:
    orders = [NAMES, NAMES[::-1], ("replica", "primary", "tail")]
    for number, order in enumerate(orders):
        fleet.put("order", order)
        chosen: list[DatabaseServer] = [getattr(fleet, name) for name in order]
        for server in chosen:
            if number % 2:
                server.kill()
            else:
                assert server.stop() == 0
        for server in chosen:
            server.start(wait=False)
        for server in chosen:
            eventually(server._answers, f"{server.data_dir.name} after {order}")
        fleet.put("order", number)
    fleet.converge()
    assert fleet.get(fleet.tail, "order") == number


def half_a_transaction(data: bytes, begin: int, end: int) -> bytes:
    """The last one again, as if it had been written in part, and later."""
    tid = (int.from_bytes(data[begin : begin + 8]) + 1).to_bytes(8)
    return data[:end] + tid + data[begin + 8 : (begin + end) // 2]


def without_an_end(data: bytes, begin: int, end: int) -> bytes:
    return data[: (begin + end) // 2]


def with_a_zeroed_end(data: bytes, begin: int, end: int) -> bytes:
    middle = (begin + end) // 2
    return data[:middle] + bytes(end - middle)


def with_zeros_after_it(data: bytes, begin: int, end: int) -> bytes:
    return data[:end] + bytes(5000)


Damage = Callable[[bytes, int, int], bytes]
UNFINISHED: list[Damage] = [half_a_transaction, with_zeros_after_it]
"""What is left of a commit that had not returned."""


def kill_and(damage: Damage, server: DatabaseServer) -> None:
    begin, end = last_transaction_at(server)
    server.kill()
    # As after a power failure: the index, which is written now and then, knows less.
    Path(f"{server.data_file}.index").unlink(missing_ok=True)
    server.data_file.write_bytes(damage(server.data_file.read_bytes(), begin, end))


@pytest.mark.parametrize("damage", UNFINISHED, ids=lambda damage: damage.__name__)
def test_a_primary_with_a_torn_end_loses_nothing(fleet: Fleet, damage: Damage) -> None:
    before = fleet.primary.data_file.read_bytes()
    kill_and(damage, fleet.primary)
    fleet.primary.start()
    assert fleet.primary.data_file.read_bytes() == before
    fleet.put("after", damage.__name__)
    fleet.converge()


@pytest.mark.parametrize(
    "damage", [*UNFINISHED, without_an_end], ids=lambda damage: damage.__name__
)
def test_a_replica_with_a_torn_end_gets_it_again(fleet: Fleet, damage: Damage) -> None:
    kill_and(damage, fleet.replica)
    fleet.put("meanwhile", damage.__name__)
    fleet.replica.start()
    fleet.converge()


def test_a_primary_that_lost_a_transaction_refuses_the_replica(fleet: Fleet) -> None:
    """As after a power failure, on a disk that had not written what it said it had."""
    lost = fleet.primary.last_transaction()
    refusals = fleet.replica.text().count("refused by the primary")
    kill_and(without_an_end, fleet.primary)
    fleet.primary.start()
    assert fleet.primary.last_transaction() < lost
    fleet.replica.wait_for_log("refused by the primary", count=refusals + 1)
    answer = told(fleet.replica)
    assert answer.following == "refused"
    assert lost.hex() in (answer.reason or "")
    assert fleet.replica.last_transaction() == lost  # untouched, for whoever wants to rescue it
    fleet.put("since", "then")
    for server in (fleet.tail, fleet.replica):  # whom one follows must be there
        server.stop()
        resync(server)
    for server in (fleet.replica, fleet.tail):
        server.start()
    verified(fleet)


@pytest.mark.parametrize("name", ["primary", "replica"])
def test_a_damaged_transaction_is_not_served(fleet: Fleet, name: str) -> None:
    """A finished transaction is never cut off: somebody has to decide."""
    server: DatabaseServer = getattr(fleet, name)
    sound = server.data_file.read_bytes()
    kill_and(with_a_zeroed_end, server)
    damaged = server.data_file.read_bytes()
    assert server.start(wait=False).wait() == 65
    assert "Data.fs is damaged" in server.text()
    assert server.data_file.read_bytes() == damaged
    if name == "primary":
        server.data_file.write_bytes(sound)  # restored
    else:
        resync(server)
    server.start()
    fleet.put("since", name)
    verified(fleet)


def resync(server: DatabaseServer) -> None:
    command = [COMMANDS / "dqm", "resync", "--data-dir", server.data_dir]
    ended = subprocess.run(
        command, env=server.environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
