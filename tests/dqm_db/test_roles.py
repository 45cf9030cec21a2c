"""What a server is, by its command line and its ``volume.json``; who may be promoted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from server_told import ONE, TWO, answer, primary, replica
from ZODB.FileStorage import FileStorage

import dqm_db.volume.aside
from dqm_db.replication import roles
from dqm_db.replication.addresses import Address
from dqm_db.replication.errors import Fenced, RoleContradiction, RoleRefused
from dqm_db.replication.local_server import LocalServer
from dqm_db.replication.promotion import (
    is_primary_already,
    others,
    require_followable,
    require_promotable,
)
from dqm_db.replication.roles import assigned, require_agreement, settle_epoch
from dqm_db.server_answers import NO_TRANSACTION, ServerAnswer
from dqm_db.settings import ServerSettings
from dqm_db.volume.aside import aside_directories, aside_directory, set_aside
from dqm_db.volume.errors import DataInUse
from dqm_db.volume.fence import DEMOTED, SERVING, Fence
from dqm_db.volume.holder import is_held, server_of
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import PRIMARY, PROMOTED, REPLICA, RESTORED, VolumeState

SOURCE = Address("10.8.0.1", 5000)

PROMOTE = VolumeState(role=PRIMARY, begin_epoch=PROMOTED, at=5.0, why="dqm promote")
DEMOTE = VolumeState(role=REPLICA, source="10.8.0.2:5000", demote=True, at=6.0, why="dqm demote")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path)
    volume.create()
    return volume


@pytest.fixture
def files(volume: Volume) -> Iterator[FileStorage]:
    storage = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir))
    yield storage
    storage.close()


@pytest.fixture
def settings(volume: Volume) -> ServerSettings:
    return ServerSettings(data_dir=volume.root)


# What the command line says counts until volume.json says otherwise.


@pytest.mark.parametrize("source", [None, "10.8.0.1:5000"])
def test_a_server_is_as_it_is_started(settings: ServerSettings, source: str | None) -> None:
    role = assigned(settings, source, VolumeState())
    assert (role.settings, role.source, role.notice) == (settings, source, "")


def test_a_promoted_replica_is_primary_and_says_so(settings: ServerSettings) -> None:
    role = assigned(settings, str(SOURCE), PROMOTE)
    assert role.source is None
    assert "SERVES AS PRIMARY" in role.notice
    assert not assigned(settings, None, PROMOTE).notice


def test_a_promoted_replica_feeds_where_it_was_told_to(settings: ServerSettings) -> None:
    told = replace(PROMOTE, feeds_at="10.8.0.2:5000")
    other = settings.model_copy(update={"zrs_address": "10.8.0.2:5001"})
    for given, source in ((settings, None), (settings, str(SOURCE)), (other, str(SOURCE))):
        assert assigned(given, source, told).settings.zrs_address == "10.8.0.2:5000"
    assert assigned(other, None, told).settings.zrs_address == "10.8.0.2:5001"
    assert assigned(other, str(SOURCE), PROMOTE).settings.zrs_address == "10.8.0.2:5001"
    assert assigned(settings, str(SOURCE), VolumeState(feeds_at="h:1")).settings == settings
    # and when it is demoted later, it goes on
    demoted = replace(DEMOTE, feeds_at="10.8.0.2:5000")
    assert assigned(settings, str(SOURCE), demoted).settings.zrs_address == "10.8.0.2:5000"
    assert assigned(settings, DEMOTE.source, demoted).settings.zrs_address == "10.8.0.2:5000"
    assert assigned(settings, str(SOURCE), DEMOTE).settings.zrs_address is None


def test_a_demoted_primary_follows_and_goes_on_feeding(settings: ServerSettings) -> None:
    role = assigned(settings, None, DEMOTE)
    assert role.source == "10.8.0.2:5000"
    assert role.settings.zrs_address == "127.0.0.1:5000"
    assert "FOLLOWS 10.8.0.2:5000" in role.notice
    assert not assigned(settings, "10.8.0.2:5000", DEMOTE).notice
    assert assigned(settings, "10.8.0.9:5000", DEMOTE).source == "10.8.0.2:5000"


@pytest.mark.parametrize("state", [VolumeState(set_aside=True), replace(PROMOTE, set_aside=True)])
def test_a_primary_never_begins_without_its_files(
    settings: ServerSettings, state: VolumeState
) -> None:
    with pytest.raises(RoleContradiction, match="set aside"):
        assigned(settings, None, state)


def test_zeo_conf_has_to_agree(volume: Volume) -> None:
    require_agreement(volume, VolumeState(), None)
    require_agreement(volume, VolumeState(), SOURCE)
    require_agreement(volume, PROMOTE, None)
    require_agreement(volume, DEMOTE, Address("10.8.0.2", 5000))
    require_agreement(volume, replace(DEMOTE, source="Host:1"), Address("host", 1))
    for state, source in ((PROMOTE, SOURCE), (DEMOTE, None), (DEMOTE, SOURCE)):
        with pytest.raises(RoleContradiction, match=r"volume\.json"):
            require_agreement(volume, state, source)


# Epochs begin and end before anybody is served.


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> dict[Address, ServerAnswer]:
    """What other servers answer."""
    answers: dict[Address, ServerAnswer] = {}
    monkeypatch.setattr(roles, "ask_servers", lambda _servers, _patience: answers)
    return answers


def settle(files: FileStorage, volume: Volume, state: VolumeState, *, is_primary: bool) -> Fence:
    state.write(volume)
    return settle_epoch(files, volume, VolumeState.read(volume), (TWO,), primary=is_primary)


def test_an_epoch_begins_once_however_often_its_start_is_repeated(
    files: FileStorage, volume: Volume, world: dict[Address, ServerAnswer]
) -> None:
    fence = settle(files, volume, PROMOTE, is_primary=True)
    assert (fence.epoch, fence.state, fence.reason) == (1, SERVING, "promoted")
    left = VolumeState.read(volume)
    assert left == replace(PROMOTE, begin_epoch=None)
    assert settle(files, volume, PROMOTE, is_primary=True) == fence  # killed before that
    assert settle(files, volume, replace(PROMOTE, at=7.0), is_primary=True).epoch == 2
    assert world == {}


def test_an_epoch_is_later_than_those_that_only_a_backup_knows(
    files: FileStorage, volume: Volume, world: dict[Address, ServerAnswer]
) -> None:
    restored = VolumeState(begin_epoch=RESTORED, after_epoch=6, at=5.0, why="restored")
    assert settle(files, volume, restored, is_primary=True).epoch == 7
    assert VolumeState.read(volume).after_epoch == 0
    later = VolumeState(begin_epoch=RESTORED, after_epoch=2, at=6.0, why="restored")
    assert settle(files, volume, later, is_primary=True).epoch == 8
    world[TWO] = replica(11)
    assert settle(files, volume, replace(later, at=7.0), is_primary=True).epoch == 12


def test_an_epoch_ends_once(
    files: FileStorage, volume: Volume, world: dict[Address, ServerAnswer]
) -> None:
    fence = settle(files, volume, DEMOTE, is_primary=False)
    assert (fence.epoch, fence.state) == (0, DEMOTED)
    last = files.lastTransaction()
    assert not VolumeState.read(volume).demote
    assert settle(files, volume, DEMOTE, is_primary=False) == fence
    assert files.lastTransaction() == last
    assert world == {}


def test_a_former_primary_that_comes_back_writes_nothing(
    files: FileStorage, volume: Volume, world: dict[Address, ServerAnswer]
) -> None:
    world[TWO] = primary(1)
    before = files.lastTransaction()
    assert settle(files, volume, DEMOTE, is_primary=False) == Fence()
    assert files.lastTransaction() == before
    assert not VolumeState.read(volume).demote


def test_a_replica_never_writes(files: FileStorage, volume: Volume) -> None:
    before = files.lastTransaction()
    settle(files, volume, replace(PROMOTE, role=None), is_primary=False)
    assert files.lastTransaction() == before


@pytest.mark.parametrize(
    ("other", "state", "starts"),
    [
        (replica(0), VolumeState(), True),
        (primary(0), VolumeState(), False),
        (replica(1), VolumeState(), False),
        (replica(0), PROMOTE, True),
        (replica(4), PROMOTE, True),  # in epoch 5
        (primary(0), PROMOTE, False),
        (primary(0, DEMOTED), PROMOTE, True),
        (answer(role="primary"), PROMOTE, False),  # of an older release
        (answer(), VolumeState(), True),  # stock ZEO
    ],
)
def test_a_primary_starts_beside_none(
    files: FileStorage,
    volume: Volume,
    world: dict[Address, ServerAnswer],
    other: ServerAnswer,
    state: VolumeState,
    starts: bool,
) -> None:
    world[TWO] = other
    if starts:
        fence = settle(files, volume, state, is_primary=True)
        assert fence.epoch == ((other.epoch or 0) + 1 if state.begin_epoch else 0)
        return
    with pytest.raises(Fenced, match=r"10\.8\.0\.2:8101"):
        settle(files, volume, state, is_primary=True)
    assert VolumeState.read(volume) == state
    assert Fence.of_storage(files) == Fence()


def test_a_primary_starts_beside_one_whose_epoch_is_over(
    files: FileStorage, volume: Volume, world: dict[Address, ServerAnswer]
) -> None:
    settle(files, volume, PROMOTE, is_primary=True)
    world[TWO] = primary(0)  # it will hear of us
    settle(files, volume, VolumeState(), is_primary=True)


def test_a_demoted_database_is_not_served_as_primary(
    files: FileStorage, volume: Volume, world: dict[Address, ServerAnswer]
) -> None:
    settle(files, volume, DEMOTE, is_primary=False)
    with pytest.raises(Fenced, match="dqm promote"):
        settle(files, volume, VolumeState(), is_primary=True)
    assert settle(files, volume, PROMOTE, is_primary=True).epoch == 1
    assert world == {}


def test_what_is_decided_meanwhile_is_not_forgotten(
    files: FileStorage, volume: Volume, world: dict[Address, ServerAnswer]
) -> None:
    DEMOTE.write(volume)
    settle_epoch(files, volume, PROMOTE, (), primary=True)
    assert VolumeState.read(volume) == DEMOTE
    assert world == {}


# Who may be promoted.


def local(**changed: Any) -> LocalServer:
    own = replica(tid=7, host="two", started=3.0)
    server = LocalServer(
        Volume(Path("/srv/dqm")),
        VolumeState(),
        TWO,
        None,
        SOURCE,
        own,
        0,
        SERVING,
        bytes(7) + b"\7",
    )
    return replace(server, **changed)


def refusal(server: LocalServer, answers: dict[Address, ServerAnswer], **said: bool) -> str:
    said = {"old_primary_is_off": False, "source_is_on": False} | said
    try:
        require_promotable(server, answers, **said)
    except RoleRefused as error:
        return str(error)
    return ""


def test_a_replica_is_promoted_when_its_primary_was_demoted_or_is_said_to_be_off() -> None:
    assert "was not demoted" in refusal(local(), {})
    assert "was not demoted" in refusal(local(), {}, source_is_on=True)
    for forced in (False, True):
        nothing = local(last_transaction=NO_TRANSACTION)
        assert "holds nothing" in refusal(nothing, {}, old_primary_is_off=forced)
        waiting = local(state=VolumeState(set_aside=True))
        assert "dqm resync" in refusal(waiting, {}, old_primary_is_off=forced)
    assert refusal(local(fence_state=DEMOTED), {}) == ""
    assert refusal(local(fence_state=DEMOTED), {ONE: replica(0, DEMOTED, tid=7)}) == ""
    assert refusal(local(), {}, old_primary_is_off=True) == ""
    assert "accepts connections" in refusal(local(), {}, old_primary_is_off=True, source_is_on=True)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("state", [SERVING, DEMOTED])
@pytest.mark.parametrize(
    ("other", "why"),
    [
        (primary(0), "answers as the primary"),
        (answer(role="primary"), "answers as the primary"),
        (replica(1), "epoch 1 already"),
        (replica(0, tid=8), "not here"),
        (replica(0, DEMOTED, tid=8), "not here"),
    ],
)
def test_a_replica_is_not_promoted_beside(
    forced: bool, state: str, other: ServerAnswer, why: str
) -> None:
    assert why in refusal(local(fence_state=state), {ONE: other}, old_primary_is_off=forced)


def test_a_server_knows_itself_under_every_name() -> None:
    server = local()
    assert server.answer is not None
    answers = {TWO: server.answer, Address("two.local", 8101): server.answer, ONE: primary()}
    assert list(others(server, answers)) == [ONE]
    # one that does not run has not answered: whatever answers at its address is another
    assert list(others(replace(server, answer=None), answers)) == list(answers)


def test_what_is_primary_already_and_who_can_be_followed() -> None:
    assert not is_primary_already(local())
    serving = local(answer=primary(), source=None)
    assert is_primary_already(serving)
    assert not is_primary_already(replace(serving, state=PROMOTE))
    assert not is_primary_already(replace(serving, fence_state=DEMOTED))
    require_followable(serving, SOURCE)
    for own in (TWO, Address("10.8.0.2", 5000)):
        with pytest.raises(RoleRefused, match="itself"):
            require_followable(local(feeds_at=Address("10.8.0.2", 5000)), own)


# Files are set aside once, and never those of somebody else.


def test_files_are_set_aside_and_a_start_that_was_cut_short_is_finished(volume: Volume) -> None:
    state = VolumeState(role=REPLICA, source="h:1", set_aside=True, at=0.0)
    volume.data_file.write_bytes(b"old")
    volume.blob_dir.mkdir()
    (volume.blob_dir / "blob").write_bytes(b"old blob")
    left = set_aside(volume, state)
    assert left == VolumeState.read(volume) == replace(state, set_aside=False)
    aside = aside_directory(volume, 0.0)
    assert aside_directories(volume) == [aside]
    assert (aside / "filestorage" / "Data.fs").read_bytes() == b"old"
    assert not volume.data_file.parent.exists()
    # killed after both moves: what the next start finds in their place is not moved over them
    volume.create()
    volume.data_file.write_bytes(b"new")
    set_aside(volume, state)
    assert (aside / "filestorage" / "Data.fs").read_bytes() == b"old"
    assert volume.data_file.read_bytes() == b"new"
    assert set_aside(volume, left) == left


def test_files_in_use_are_not_set_aside(
    volume: Volume, files: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dqm_db.volume.aside, "LOOKED_AT_FOR", 0.0)
    with pytest.raises(DataInUse):
        set_aside(volume, VolumeState(set_aside=True))
    assert not aside_directories(volume)
    assert volume.data_file.exists()
    assert files.getSize() >= 4


@pytest.fixture
def no_hang_up() -> Iterator[None]:
    """This process does not catch SIGHUP, as it may since a test of servers' signals."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("no_hang_up")
def test_only_a_server_is_told_to_begin_anew(volume: Volume, files: FileStorage) -> None:
    assert is_held(volume)
    assert server_of(volume) is None  # this process has it open, but SIGHUP would kill it
    files.close()
    assert not is_held(volume)
    assert server_of(volume) is None
    (volume.root / "filestorage" / "Data.fs.lock").write_text(" 1\n")
    assert server_of(volume) is None
    assert not is_held(Volume(volume.root / "absent"))
