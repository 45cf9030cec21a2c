"""What the commands say that change what a server is."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import ZODB
from click.testing import CliRunner
from ZODB.FileStorage import FileStorage

from dqm_db.replication.errors import RoleRefused
from dqm_db.replication.role_commands import promote, resync
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import PROMOTED, RESTORED, VolumeState


def test_resync_refuses_when_there_is_nothing_to_copy_from(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.create()
    with socket.socket() as source:
        source.bind(("127.0.0.1", 0))
        host, port = source.getsockname()
        volume.configuration.write_text(
            f"<zeo>\n  address 127.0.0.1:1\n</zeo>\n  replicate-from {host}:{port}\n"
        )
        words = ["--data-dir", str(tmp_path)]
        silent = CliRunner().invoke(resync, words)
        assert not VolumeState.read(volume).set_aside
        anyway = CliRunner().invoke(resync, [*words, "--anyway"])
        assert VolumeState.read(volume).set_aside
        VolumeState().write(volume)
        source.listen()
        there = CliRunner().invoke(resync, words)
    assert isinstance(silent.exception, RoleRefused)
    reason = f"{host}:{port}, from which the new copy is to come, accepts no connections"
    assert reason in str(silent.exception)
    assert (anyway.exit_code, there.exit_code) == (0, 0)
    assert VolumeState.read(volume).set_aside


def test_promote_forgets_no_epoch_that_only_a_backup_knows(tmp_path: Path) -> None:
    """A restored volume that no primary was started on."""
    volume = Volume(tmp_path)
    volume.create()
    storage = FileStorage(str(volume.data_file), blob_dir=str(volume.blob_dir))
    with contextlib.closing(ZODB.DB(storage)) as database, database.transaction() as connection:
        connection.root()["something"] = 1
    VolumeState(begin_epoch=RESTORED, after_epoch=6, at=time.time(), why="restored").write(volume)
    volume.configuration.write_text("<zeo>\n  address 127.0.0.1:1\n</zeo>\n")
    words = ["--data-dir", str(tmp_path), "--old-primary-is-off"]
    done = CliRunner().invoke(promote, words)
    assert done.exit_code == 0, done.stderr
    state = VolumeState.read(volume)
    assert (state.begin_epoch, state.after_epoch) == (PROMOTED, 6)
