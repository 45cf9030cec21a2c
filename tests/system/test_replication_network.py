"""Networks that fail, with and without a word, and servers that fall silent.

Each test ends with the proof that primary, replica and the last link of the chain hold the same.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import transaction
import ZODB
from feed_relay import BOTH, TO_PRIMARY, TO_REPLICA
from fleet import Fleet, in_background, told
from persistent.mapping import PersistentMapping
from processes import DatabaseServer, eventually
from ZODB.blob import Blob
from ZODB.FileStorage import FileIterator

pytestmark = pytest.mark.system

KEEP_ALIVE = 2
SILENT = f"no sign of life for {2 * KEEP_ALIVE} s"
REPLICA_SILENT = "no sign of life of the replica"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    environment = {"DQM_KEEP_ALIVE": str(KEEP_ALIVE)}
    with Fleet(tmp_path_factory.mktemp("network"), environment) as fleet:
        yield fleet


@pytest.fixture
def fleet(servers: Fleet) -> Iterator[Fleet]:
    """In sync, and healed after the test, whatever it did."""
    servers.put("before", "the failure")
    servers.converge()
    servers.follows()
    yield servers
    servers.relay.mend()
    for server in (servers.primary, servers.replica):
        server.send(signal.SIGCONT)


def followers(fleet: Fleet) -> int:
    return len(told(fleet.primary).replicas)


def threads(fleet: Fleet) -> int:
    status = f"/proc/{fleet.primary.pid}/status"
    with open(status) as lines:  # noqa: PTH123 (not a file)
        return next(int(line.split()[1]) for line in lines if line.startswith("Threads:"))


@pytest.mark.parametrize(
    "directions", [BOTH, (TO_PRIMARY,), (TO_REPLICA,)], ids=["both", *map(str, BOTH)]
)
def test_a_network_that_swallows_everything_is_noticed(
    fleet: Fleet, directions: tuple[str, ...]
) -> None:
    silences = fleet.replica.text().count(SILENT), fleet.primary.text().count(REPLICA_SILENT)
    busy = threads(fleet)
    fleet.relay.swallow(*directions)
    fleet.put("swallowed", directions)
    if TO_REPLICA in directions:
        fleet.replica.wait_for_log(SILENT, count=silences[0] + 1)
        answer = told(fleet.replica)
        assert (answer.following, answer.reason) == ("unreachable", SILENT)
    if TO_PRIMARY in directions:
        fleet.primary.wait_for_log(REPLICA_SILENT, count=silences[1] + 1)
        if directions == BOTH:  # nobody comes again
            eventually(lambda: followers(fleet) == 0, "the primary lets the replica go")
            eventually(lambda: threads(fleet) < busy, "its thread ends")
    assert fleet.get(fleet.replica, "before") == "the failure"
    fleet.relay.mend()
    fleet.put("healed", directions)
    fleet.converge()
    fleet.follows()
    assert followers(fleet) == 1


def test_a_network_that_is_cut_and_healed(fleet: Fleet) -> None:
    fleet.relay.cut()
    fleet.put("cut", Blob(bytes(300_000)))
    eventually(lambda: told(fleet.replica).following == "unreachable", "the cut is noticed")
    fleet.relay.mend()
    fleet.converge()
    fleet.follows()
    assert told(fleet.replica).reason is None


def test_a_record_without_data_is_no_sign_of_life(fleet: Fleet) -> None:
    """What undoes the creation of an object is sent as an empty message, too."""
    database = ZODB.DB(fleet.primary.client())
    with database.transaction() as connection:
        connection.root()["created"] = PersistentMapping({"a": 1})
    manager = transaction.TransactionManager()
    database.undo(database.undoInfo(0, 1)[0]["id"], manager.get())
    manager.commit()
    database.close()
    fleet.converge()
    for each in FileIterator(str(fleet.tail.data_file)):
        data = [record.data for record in each]
    assert None in data
    assert fleet.get(fleet.tail, "created") is None


def test_a_network_that_is_cut_again_and_again_in_blobs(fleet: Fleet) -> None:
    """At whatever byte it is cut, nothing half is kept."""
    for number in range(5):
        fleet.put(f"blob {number}", Blob(bytes([number]) * (200_000 + number)))
        fleet.relay.cut()
        fleet.relay.mend()
    fleet.converge()
    temporary = fleet.replica.data_dir / "blobstorage" / "tmp"
    assert [path for path in temporary.iterdir() if path.is_file()] == []


def test_a_frozen_primary_is_noticed(fleet: Fleet) -> None:
    silences = fleet.replica.text().count(SILENT)
    heard = told(fleet.replica).heard
    fleet.primary.send(signal.SIGSTOP)
    fleet.replica.wait_for_log(SILENT, count=silences + 1)
    answer = told(fleet.replica)
    assert (answer.following, answer.reason) == ("unreachable", SILENT)
    assert answer.heard is not None
    assert heard is not None
    assert answer.now is not None
    assert heard <= answer.heard <= answer.now - KEEP_ALIVE
    assert fleet.get(fleet.replica, "before") == "the failure"
    fleet.primary.send(signal.SIGCONT)
    fleet.put("thawed", "primary")
    fleet.converge()
    fleet.follows()


def test_a_frozen_replica_is_let_go(fleet: Fleet) -> None:
    silences = fleet.primary.text().count(REPLICA_SILENT)
    fleet.replica.send(signal.SIGSTOP)
    fleet.put("while it is frozen", Blob(bytes(500_000)))
    fleet.primary.wait_for_log(REPLICA_SILENT, count=silences + 1)
    eventually(lambda: followers(fleet) == 0, "the primary lets the replica go")
    fleet.replica.send(signal.SIGCONT)
    fleet.put("thawed", "replica")
    fleet.converge()
    assert followers(fleet) == 1


def test_a_slow_link_is_no_silence_and_slows_nobody_else(fleet: Fleet) -> None:
    silences = fleet.replica.text().count(SILENT), fleet.primary.text().count(REPLICA_SILENT)
    since = told(fleet.primary).replicas[0].connected_since
    fleet.relay.slow_down(rate=100_000, delay=0.02)
    before = told(fleet.primary).now
    assert before is not None
    fleet.put("slowly", Blob(bytes(range(256)) * 2000))  # takes more than twice the patience
    for number in range(3):
        fleet.put("at once", number)
    # The primary has committed everything long before the replica has got it.
    assert fleet.replica.last_transaction() != fleet.primary.last_transaction()
    fleet.converge()
    now = told(fleet.primary).now
    assert now is not None
    assert now - before > 2 * KEEP_ALIVE
    assert silences == (
        fleet.replica.text().count(SILENT),
        fleet.primary.text().count(REPLICA_SILENT),
    )
    assert told(fleet.primary).replicas[0].connected_since == since  # in one go


def test_writers_do_not_wait_for_a_replica_that_hears_nothing(fleet: Fleet) -> None:
    fleet.relay.swallow()
    writer = in_background(fleet.put, "many bytes", Blob(bytes(3_000_000)))
    eventually(lambda: not writer.is_alive(), "the commit returns")
    fleet.relay.mend()
    fleet.converge()


def test_servers_with_another_keep_alive_stay_connected(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Hasty is the replica in the middle, towards its primary and towards the last link."""
    directory = tmp_path_factory.mktemp("hasty")
    hasty = {"DQM_KEEP_ALIVE": str(KEEP_ALIVE)}
    with Fleet(directory, {"DQM_KEEP_ALIVE": "60"}, replica=hasty) as fleet:
        fleet.put("a", 1)
        fleet.converge()

        def lasts(server: DatabaseServer) -> bool:
            answer = told(server)
            (follower,) = answer.replicas
            assert answer.now is not None
            assert follower.connected_since is not None
            return answer.now - follower.connected_since > 2.5 * KEEP_ALIVE

        for source in (fleet.primary, fleet.replica):
            eventually(lambda source=source: lasts(source), "it outlives the patience")
        for server in (fleet.primary, fleet.replica, fleet.tail):
            assert "no sign of life" not in server.text()
