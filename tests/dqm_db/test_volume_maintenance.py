"""The lock that keeps packing and backups apart."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dqm_db.volume.errors import DataUnwritable, MaintenanceUnderWay
from dqm_db.volume.layout import Volume
from dqm_db.volume.maintenance import maintaining

HOLDER = """
import sys
from pathlib import Path
from dqm_db.volume.layout import Volume
from dqm_db.volume.maintenance import maintaining
with maintaining(Volume(Path(sys.argv[1])), "a backup"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_named_and_its_end_ends_the_lock(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with (
            pytest.raises(MaintenanceUnderWay, match=f"a backup .*process {holder.pid} on "),
            maintaining(volume, "a pack"),
        ):
            pytest.fail("both at once")
    finally:
        holder.kill()
        holder.communicate()
    with maintaining(volume, "a pack"):
        pass


def test_one_process_locks_itself_out_too_and_may_wait(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    entered = threading.Event()

    def second() -> None:
        with maintaining(volume, "a backup", wait=30):
            entered.set()

    with maintaining(volume, "a pack"):
        with (
            pytest.raises(MaintenanceUnderWay, match=f"a pack .*process {os.getpid()}"),
            maintaining(volume, "a backup"),
        ):
            pytest.fail("both at once")
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.2)
    thread.join(30)
    assert entered.is_set()


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"since": 1e300, "what": 1}'])
def test_a_holder_that_cannot_be_told_is_still_one(tmp_path: Path, text: str) -> None:
    volume = Volume(tmp_path)
    with maintaining(volume, "a pack"):
        volume.maintenance.write_text(text)
        with (
            pytest.raises(MaintenanceUnderWay, match="a pack or a backup is under way"),
            maintaining(volume, "a backup"),
        ):
            pytest.fail("both at once")


def test_a_volume_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(DataUnwritable, match=r"maintenance\.lock"),
        maintaining(Volume(tmp_path / "none"), "a pack"),
    ):
        pytest.fail("nothing to lock")
