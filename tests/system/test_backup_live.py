"""Copies of a primary that is written to all the while: ``dqm backup``, and tar as it was used."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_load import BusyWriter, readable
from processes import COMMANDS, DatabaseServer

from backup.place import BackupPlace
from dqm_db.operations import OperationName
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.volume.layout import Volume

pytestmark = pytest.mark.system

CREATE = "tar zcf /backup/zodb.tar.gz /data"
RESTORE = "cd /data && tar xvf /backup/zodb.tar.gz --strip 1"
ORDERS = {
    "as it comes": CREATE,
    "blobs first": CREATE.replace("/data", "/data/blobstorage /data/filestorage"),
    "Data.fs first": CREATE.replace("/data", "/data/filestorage /data/blobstorage"),
}


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[DatabaseServer]:
    with filled_primary(tmp_path) as primary:
        yield primary


@contextlib.contextmanager
def filled_primary(folder: Path) -> Iterator[DatabaseServer]:
    """A primary with enough runs for a copy to take a moment."""
    with DatabaseServer(folder, "primary") as primary:
        with BusyWriter(client(primary)) as writer:
            writer.wait_for(30)
        yield primary


def client(server: DatabaseServer) -> DatabaseSettings:
    return load(
        DatabaseSettings,
        db_url=server.url,
        db_wait=30.0,
        lock_dir=server.data_dir.parent / "locks",
    )


def files_of(volume: Volume) -> DatabaseSettings:
    url = f"file://{volume.data_file}?blobstorage_dir={volume.blob_dir}"
    return load(DatabaseSettings, db_url=url)


def next_run(server: DatabaseServer) -> int:
    with open_database(client(server)) as database, database.snapshot() as snapshot:
        return max(snapshot.runs("NectarCAMQM")) + 1


def dqm(*words: str | Path, server: DatabaseServer | None = None) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name[:4] != "DQM_"}
    if server is not None:
        environment |= {
            "DQM_DB_URL": server.url,
            "DQM_LOCK_DIR": str(server.data_dir.parent / "locks"),
            "DQM_DATA_DIR": str(server.data_dir),
        }
    return subprocess.run(
        [COMMANDS / "dqm", *words], env=environment, capture_output=True, text=True, check=False
    )


def test_backups_of_a_primary_that_is_written_to(primary: DatabaseServer, tmp_path: Path) -> None:
    place = BackupPlace(tmp_path / "backups")
    before: list[set[int]] = []
    first = next_run(primary)
    old = set(range(1, first))
    with BusyWriter(client(primary), first) as writer:
        for _ in range(2):
            writer.wait_for(5)
            before.append(old | writer.stored)
            done = dqm("backup", "create", "--to", place.root, server=primary)
            assert done.returncode == 0, done.stderr
    # The writer had the lock: a backup waits for nobody.
    assert "does not know of the backup (another command is writing" in done.stderr
    kinds = [one.manifest.kind for one in place.read().found]
    assert kinds == ["full", "incremental"]
    checked = dqm("backup", "verify", "--all", "--from", place.root, server=primary)
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr == "" and checked.stdout.count(": sound") == 2
    with open_database(client(primary)) as database, database.snapshot() as snapshot:
        assert snapshot.operations()[OperationName.BACKUP_VERIFICATION].ok
    for number, one in enumerate(place.read().found):
        volume = Volume(tmp_path / f"restored-{number}")
        restored = dqm(
            "backup", "restore", "--from", place.root, "--to", volume.root, "--backup", one.name
        )
        assert restored.returncode == 0, restored.stderr
        there, whole = readable(files_of(volume))
        assert before[number] <= there == whole
    refused = dqm("backup", "repair", primary.data_dir)
    assert refused.returncode == 75
    assert "another server uses the same data" in refused.stderr


class Container:
    """What ``docker run --rm --volumes-from … -v $(pwd):/backup IMAGE`` starts a command in.

    A root of its own, with this system's programs, ``/data`` and ``/backup``. Where that is not
    allowed, folders below one take their places, in commands too.
    """

    def __init__(self, root: Path, backup: Path) -> None:
        self.root = root
        self.backup = backup
        backup.mkdir()
        root.mkdir()
        self.is_one = self._mounts_here()

    @staticmethod
    def _mounts_here() -> bool:
        tried = subprocess.run(
            ["unshare", "--mount", "mount", "--bind", "/usr", "/usr"],
            capture_output=True,
            check=False,
        )
        return os.geteuid() == 0 and tried.returncode == 0

    def run(self, command: str, data: Path) -> subprocess.CompletedProcess[str]:
        """Run *command* with *data* at ``/data``."""
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        if not self.is_one:
            here = {"/data": data, "/backup": self.backup}
            for name, path in here.items():
                link = self.root / name[1:]
                link.unlink(missing_ok=True)
                link.symlink_to(path)
            # names as tar itself makes them, without the leading slash
            command = re.sub(r"(?<=\s)/data", "data", command).replace("/backup", str(self.backup))
            command = command.replace("cd data", f"cd {data}").replace(
                " data", " --dereference data"
            )
            return self._ran(["bash", "-c", command], environment, self.root)
        mounts = []
        for path in sorted(Path("/").iterdir()):
            if path.name in ("bin", "etc", "lib", "lib64", "sbin", "usr"):
                mounts.append((path, f"/{path.name}"))
        mounts += [(data, "/data"), (self.backup, "/backup")]
        script = ["set -e"]
        for source, name in mounts:
            script.append(
                f"mkdir -p '{self.root}{name}'; mount --bind '{source}' '{self.root}{name}'"
            )
        script.append(f"exec chroot '{self.root}' bash -c \"$0\"")
        unshared = ["unshare", "--mount", "bash", "-c", "\n".join(script), command]
        return self._ran(unshared, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}, None)

    @staticmethod
    def _ran(
        words: list[str], environment: dict[str, str], cwd: Path | None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env=environment, cwd=cwd, capture_output=True, text=True, check=False
        )


def check_tar(primary: DatabaseServer, command: str, folder: Path) -> int:
    """One copy while runs are stored: nothing from before is lost, after the repair all is whole.

    Returns how many runs were cut.
    """
    folder.mkdir()
    container = Container(folder / "container", folder / "backup")
    first = next_run(primary)
    with BusyWriter(client(primary), first) as writer:
        writer.wait_for(3)
        before = set(range(1, first)) | writer.stored
        copied = container.run(command, primary.data_dir)
        during = writer.stored | set(range(1, first))
    assert copied.returncode in (0, 1), copied.stderr
    said = [line for line in copied.stderr.splitlines() if "Removing leading" not in line]
    assert all(
        re.search(r"file changed as we|File removed before|File shrank", one) for one in said
    )
    assert bool(said) == (copied.returncode == 1)

    target = folder / "restored"
    target.mkdir()
    unpacked = container.run(RESTORE, target)
    assert unpacked.returncode == 0, unpacked.stderr
    volume = Volume(target)
    _, whole = readable(files_of(volume), before)
    assert before <= whole, "what was committed before tar started is whole, repaired or not"

    repaired = dqm("backup", "repair", target)
    assert repaired.returncode == 0, repaired.stderr
    there, whole = readable(files_of(volume))
    assert before <= whole == there
    assert there <= during | {max(during) + 1}
    again = dqm("backup", "repair", target)
    assert again.returncode == 0 and again.stdout.startswith("nothing to cut"), again.stdout
    cut = re.findall(r"^cut: store NectarCAMQM run (\d+) \(", repaired.stdout, re.MULTILINE)
    assert not {int(run) for run in cut} & before
    return len(cut)


@pytest.mark.parametrize("order", ORDERS)
def test_tar_of_a_primary_that_is_written_to(
    primary: DatabaseServer, tmp_path: Path, order: str
) -> None:
    cut = check_tar(primary, ORDERS[order], tmp_path / "round")
    if order == "Data.fs first":
        assert cut == 0
    # A server serves the copy, as the database that it was.
    volume = tmp_path / "round" / "restored"
    shutil.move(volume, tmp_path / "again")
    with DatabaseServer(tmp_path, "again") as again:
        there, whole = readable(client(again))
        assert there == whole
        with BusyWriter(client(again), 100_000) as writer:
            writer.wait_for(2)


@pytest.mark.soak
@pytest.mark.parametrize("order", ORDERS)
def test_many_tars(tmp_path: Path, order: str) -> None:
    cut = 0
    for number in range(50):
        folder = tmp_path / str(number)
        folder.mkdir()
        with filled_primary(folder) as primary:
            cut += check_tar(primary, ORDERS[order], folder / "round")
        shutil.rmtree(folder)
    assert (cut > 0) == (order == "blobs first") or order == "as it comes"
