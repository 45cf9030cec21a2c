"""What the commands say that change what a server is."""

from __future__ import annotations

import socket
from pathlib import Path

from click.testing import CliRunner

from dqm_db.replication.role_commands import resync
from dqm_db.volume.layout import Volume
from dqm_db.volume.state import VolumeState


def test_resync_warns_when_there_is_nothing_to_copy_from(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.create()
    with socket.socket() as source:
        source.bind(("127.0.0.1", 0))
        host, port = source.getsockname()
        volume.configuration.write_text(
            f"<zeo>\n  address 127.0.0.1:1\n</zeo>\n  replicate-from {host}:{port}\n"
        )
        silent = CliRunner().invoke(resync, ["--data-dir", str(tmp_path)])
        source.listen()
        there = CliRunner().invoke(resync, ["--data-dir", str(tmp_path)])
    assert (silent.exit_code, there.exit_code) == (0, 0)
    warning = f"{host}:{port}, from which the new copy is to come, accepts no connections"
    assert warning in silent.stderr
    assert "accepts no connections" not in there.stderr
    assert VolumeState.read(volume).set_aside
