"""A run on its whole way: file, `dqm ingest`, primary, replica, dashboard, pixel on the screen.

All processes are those of production. What the file says is read here by astropy alone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import DashboardPage
from numpy.typing import NDArray
from plots_page import CAMERA, check_map, opened
from processes import LOOPBACK, eventually, free_port
from results_files import N_PIXELS, raw_values, sample_fits, sample_path

from dqm.demo.stack import Stack

pytestmark = [pytest.mark.system, pytest.mark.browser]

SAMPLES = Path(__file__).parent.parent / "data"
SIGNAL = "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN"
CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
FLAGGED = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN"


def dqm(
    stack: Stack, *arguments: str | Path, url: str | None = None
) -> subprocess.CompletedProcess:
    """A `dqm` command on the primary, or on the database at *url*."""
    return subprocess.run(
        stack.command(*map(str, arguments)),
        env=stack.environment({} if url is None else {"DQM_DB_URL": url}),
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Primary, replica and dashboard; the runs 6001 and 8001 have arrived at the replica."""
    folder = tmp_path_factory.mktemp("chain")
    with Stack(folder, num_procs=1, settings={"DQM_LOCK_DIR": str(folder / "locks")}) as stack:
        done = dqm(stack, "ingest", *(sample_path(SAMPLES, run) for run in (6001, 8001)))
        assert done.returncode == 0, done.stderr.decode()
        listed = b""

        def arrived() -> bool:
            nonlocal listed
            listed = dqm(stack, "runs", "--csv", url=stack.replica_url).stdout
            return b"6001" in listed and b"8001" in listed

        eventually(arrived, "the replica has both runs")
        yield stack


def stored_values(run: int, quantity: str) -> tuple[NDArray, NDArray]:
    """Values of a quantity in the order of pixel ids, NaN where absent, and the bad pixels.

    In the file, charges are those of the present pixels, one after the other; the counts of flagged
    events have as many entries without meaning in front of them as pixels are absent.
    """
    raw = raw_values(sample_fits(SAMPLES, run))
    present = np.isfinite(raw["WF-PHY-HIGH-GAIN"]).all(axis=1)
    absent = N_PIXELS - np.count_nonzero(present)
    values, flagged = np.full(N_PIXELS, np.nan), np.zeros(N_PIXELS)
    values[present] = raw[quantity][-np.count_nonzero(present) :]
    flagged[present] = raw[FLAGGED][absent:]
    return values, flagged > 0.5 * raw[FLAGGED].max()  # one pixel is flagged in every event


@pytest.mark.parametrize(("run", "quantity", "absent"), [(6001, SIGNAL, 0), (8001, CHARGE, 84)])
def test_every_value_of_the_file_is_seen_at_its_place(
    browser, stack: Stack, run: int, quantity: str, absent: int
) -> None:
    values, bad = stored_values(run, quantity)
    assert np.count_nonzero(np.isnan(values)) == absent
    options = {"quantity": quantity, "size": (1600, 1000)}
    with opened(browser, stack.dashboard_url, "maps", run, **options) as page:
        assert page.errors == []
        check_map(page, values, bad)


@pytest.mark.parametrize("run", [6001, 8001])
def test_the_results_file_comes_back_from_the_replica(
    stack: Stack, tmp_path: Path, run: int
) -> None:
    path = tmp_path / "results.fits"
    done = dqm(stack, "get", str(run), "-o", path, url=stack.replica_url)
    assert done.returncode == 0, done.stderr.decode()
    assert path.read_bytes() == sample_fits(SAMPLES, run)


def test_a_server_that_is_down_is_passed_over(stack: Stack) -> None:
    url = f"zeo://{LOOPBACK}:{free_port()},{LOOPBACK}:{stack.ports.replica}"
    done = dqm(stack, "get", "6001", "-o", "-", url=url)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == sample_fits(SAMPLES, 6001)


def test_what_is_stored_is_not_stored_again(stack: Stack) -> None:
    before = (stack.directory / "primary" / "filestorage" / "Data.fs").read_bytes()
    done = dqm(stack, "ingest", sample_path(SAMPLES, 6001))
    assert done.returncode == 0
    assert b"1 already stored of 1" in done.stdout
    assert (stack.directory / "primary" / "filestorage" / "Data.fs").read_bytes() == before


def test_a_replica_takes_no_runs_and_says_so(stack: Stack) -> None:
    done = dqm(stack, "ingest", sample_path(SAMPLES, 8003), url=stack.replica_url)
    assert done.returncode == 77
    [line] = done.stderr.decode().splitlines()
    assert line.startswith(f"dqm: {stack.replica_url} accepts no writes: it is a replica")


def test_a_new_run_appears_on_an_open_page(browser, stack: Stack) -> None:
    with DashboardPage(browser, f"{stack.dashboard_url}?camera={CAMERA}") as page:
        assert page.state["run"] == 8001, "the newest run is followed"
        done = dqm(stack, "ingest", sample_path(SAMPLES, 8003))
        assert done.returncode == 0, done.stderr.decode()
        page.wait_for_run(8003)
        assert page.errors == []
