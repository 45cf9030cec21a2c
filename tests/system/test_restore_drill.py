"""The drill: the volume of the primary is lost, and comes back from a backup.

All processes are those of production. The page stays open, as on the wall of a control room.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from browsing import DashboardPage
from plots_page import CAMERA, Plots, check_map, opened
from processes import eventually, last_transaction
from results_files import N_PIXELS, raw_values, sample_fits, sample_path

from dqm.demo.stack import Stack
from dqm_db.operations import OperationName
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database

pytestmark = [pytest.mark.system, pytest.mark.browser]

SAMPLES = Path(__file__).parent.parent / "data"
QUANTITY = "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN"
FLAGGED = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN"


class Drill:
    """A primary, a replica and a dashboard, and the commands of their admin."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.backups = stack.directory / "backups"
        self.volume = stack.directory / "primary"

    def dqm(self, *words: str | Path, url: str | None = None, code: int = 0) -> str:
        """What a command says on its standard output."""
        done = subprocess.run(
            self.stack.command(*map(str, words)),
            env=self.stack.environment(
                {"DQM_BACKUP_DIR": str(self.backups), "DQM_DATA_DIR": str(self.volume)}
                | ({} if url is None else {"DQM_DB_URL": url})
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def runs(self, url: str) -> set[int]:
        rows = self.dqm("runs", "--json", url=url).splitlines()
        return {json.loads(row)["run"] for row in rows}

    def wait_for_replica(self) -> None:
        ports = self.stack.ports
        eventually(
            lambda: last_transaction(ports.replica) == last_transaction(ports.primary),
            "the replica in sync",
        )


def shown(page: Plots) -> np.ndarray:
    """The values of the map on the page."""
    return page.column("maps-source", "value")


def test_a_lost_volume_comes_back(browser, tmp_path: Path) -> None:
    settings = {"DQM_LOCK_DIR": str(tmp_path / "locks"), "DQM_RECONNECT_DELAY": "0.2"}
    with Stack(tmp_path / "stack", num_procs=1, settings=settings) as stack:
        drill = Drill(stack)
        drill.dqm("ingest", sample_path(SAMPLES, 6001), sample_path(SAMPLES, 8001))
        drill.dqm("backup", "create")
        assert "sound" in drill.dqm("backup", "verify")
        drill.dqm("ingest", sample_path(SAMPLES, 8003))  # after the backup, so it will be lost
        drill.wait_for_replica()
        assert drill.runs(stack.replica_url) == {6001, 8001, 8003}

        options = {"quantity": QUANTITY, "size": (1600, 1000)}
        with opened(browser, stack.dashboard_url, "maps", **options) as page:
            before = shown(page)
            assert np.isfinite(before).sum() > 1800

            stack.primary.stop()
            shutil.rmtree(drill.volume)
            said = drill.dqm("backup", "restore", "--to", drill.volume)
            assert "restoring full backup" in said
            stack.start_process(stack.primary)
            assert drill.runs(stack.primary_url) == {6001, 8001}

            # The replica knows more than the database does now: it is refused, and untouched.
            eventually(lambda: "refused by the primary" in stack.replica.tail(), "it is refused")
            assert drill.runs(stack.replica_url) == {6001, 8001, 8003}
            status = json.loads(drill.dqm("status", "--json", code=69))
            assert "refused" in json.dumps(status)
            drill.dqm("resync", "--data-dir", stack.directory / "replica")
            eventually(
                lambda: (
                    last_transaction(stack.ports.replica) == last_transaction(stack.ports.primary)
                ),
                "the replica begins anew",
            )
            assert drill.runs(stack.replica_url) == {6001, 8001}

            # What was ingested since comes again, from its file as from the set-aside volume.
            drill.dqm("ingest", sample_path(SAMPLES, 8003))
            drill.wait_for_replica()
            assert page.errors == []

        with opened(browser, stack.dashboard_url, "maps", **options) as page:
            assert np.array_equal(shown(page), before, equal_nan=True)
            raw = raw_values(sample_fits(SAMPLES, 6001))
            flagged = raw[FLAGGED] > 0.5 * raw[FLAGGED].max()
            check_map(page, raw[QUANTITY], flagged)
            assert len(flagged) == N_PIXELS
        with DashboardPage(browser, f"{stack.dashboard_url}?camera={CAMERA}") as page:
            page.wait_for_run(8003)
            assert page.errors == []
        with (
            open_database(load(DatabaseSettings, db_url=stack.primary_url)) as database,
            database.snapshot() as snapshot,
        ):
            told = snapshot.operations()  # the backup was told after it was made
            assert OperationName.BACKUP not in told
        drill.dqm("backup", "create", "--full")
        listed = [json.loads(row) for row in drill.dqm("backup", "list", "--json").splitlines()]
        assert [row["epoch"] for row in listed] == [0, 1]
