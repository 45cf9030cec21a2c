"""Runs that only a former primary had come back from the files that were set aside."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import COMMANDS, LOOPBACK, DatabaseServer, eventually, free_port
from results_files import write_run

from dqm_db.peers import ask_servers
from dqm_db.replication.addresses import Address
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import open_writer
from ingest.outcomes import Status
from ingest.pipeline import ingest_files

pytestmark = pytest.mark.system

CAMERA = "NectarCAMQM"


def test_the_runs_of_a_former_primary_come_back(
    database_server: Callable[..., DatabaseServer], tmp_path: Path
) -> None:
    ports = [free_port(), free_port()]
    variables = {
        "DQM_SERVERS": ",".join(f"{LOOPBACK}:{port}" for port in ports),
        "DQM_LOCK_DIR": str(tmp_path / "locks"),
        "DQM_INGEST_WORKERS": "0",
        "DQM_DB_WAIT": "10",
    }
    old = database_server("old", port=ports[0], environment=variables).start()
    new = database_server("new", source=old, feeds=True, port=ports[1], environment=variables)
    new.start()

    def dqm(*words: object, server: DatabaseServer | None = None) -> str:
        """What a command prints; it is told where the database is, not what happened."""
        url = {} if server is None else {"DQM_DB_URL": server.url}
        done = subprocess.run(
            [COMMANDS / "dqm", *map(str, words)],
            env=old.environment | url,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def ingest(server: DatabaseServer, *runs: int) -> dict[int, bytes]:
        paths = [write_run(tmp_path, run, seed=run) for run in runs]
        locks = tmp_path / "locks"
        settings = load(DatabaseSettings, db_url=server.url, db_wait=10, lock_dir=locks)
        with open_writer(settings) as writer:
            assert {one.status for one in ingest_files(writer, paths)} == {Status.STORED}
        return {run: path.read_bytes() for run, path in zip(runs, paths, strict=True)}

    def originals(server: DatabaseServer) -> dict[int, bytes]:
        settings = load(DatabaseSettings, db_url=server.url, db_wait=10)
        with open_database(settings) as database, database.snapshot() as snapshot:
            runs = snapshot.runs(CAMERA)
            return {run: snapshot.original(CAMERA, run).data for run in runs}

    files = ingest(old, 1)
    new.wait_for(old)
    new.stop()  # as when the line between both is cut
    files |= ingest(old, 2, 3)
    old.kill()
    new.start()
    dqm("promote", "--data-dir", new.data_dir, "--old-primary-is-off")
    files |= ingest(new, 4)

    follow = f"{LOOPBACK}:{new.replication_port}"
    dqm("demote", "--data-dir", old.data_dir, "--follow", follow)
    old.start()
    old.wait_for_log("refused by the primary")
    told = dqm("resync", "--data-dir", old.data_dir)
    old_address = Address(LOOPBACK, old.port)

    def is_in_sync() -> bool:
        answer = ask_servers([old_address]).get(old_address)
        return answer is not None and answer.last_transaction == new.last_transaction()

    eventually(is_in_sync, "the former primary in sync")
    assert originals(old) == {run: files[run] for run in (1, 4)}

    (hint,) = re.findall(r"`(dqm ingest volume:[^`]*)`", told)
    (aside,) = old.data_dir.glob("aside-*")
    rows = dqm("runs", "--only-in", aside, "--json", server=new).splitlines()
    assert [(row["run"], row["here"]) for row in map(json.loads, rows)] == [
        (2, "missing"),
        (3, "missing"),
    ]
    words = shlex.split(hint)[1:]
    assert dqm(*words, server=new).startswith("dry run: 1 already stored, 2 to do of 3")
    assert sorted(originals(new)) == [1, 4]
    words.remove("--dry-run")
    assert dqm(*words, server=new).startswith("ingest: 2 stored, 1 already stored of 3")
    eventually(is_in_sync, "the former primary in sync")
    assert originals(new) == originals(old) == files
    assert dqm("runs", "--only-in", aside, "--json", server=new) == ""
