"""Sample runs in a database, for the tests of plots and views."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from plot_runs import long_timeline, long_trigger, with_quantities

from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import Database, open_database
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

CAMERA = "NectarCAMQM"
SAMPLES = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="session")
def sample_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The sample runs 6001, 8001 (12 modules absent) and 8003 (no pedestals), and 7001: run 6001
    with a timeline and trigger times of 20,000 events; opened read-only."""
    directory = tmp_path_factory.mktemp("samples")
    settings = load(
        DatabaseSettings, db_url=f"file://{directory}/Data.fs", lock_dir=directory / "locks"
    )
    with open_writer(settings) as writer:
        for run in (6001, 8001, 8003):
            content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz")).content
            assert content is not None
            writer.store_run(content, None)
            if run == 6001:
                long = with_quantities(content, long_timeline(), long_trigger(), run=7001)
                writer.store_run(long, None)
    with open_database(settings) as database:
        yield database
