"""The puller on a real DIRAC, beside DIRAC's own ``getFile`` with as many streams."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.bars import Result
from benchmarks.plan import Plan
from benchmarks.pulling import CAMERA, FIRST_RUN, find_test_servers
from dqm.demo.stack import Stack
from dqm.simulation import simulate_run
from ingest.sources.dirac import Dirac, DiracSettings
from ingest.transfer import Transfers

ROOT = Path(__file__).parents[1]
INSTALL = ROOT / "tests" / "grid" / "install_dirac.sh"
DIRECTORY = "/ctao/user/d/dqm/bench"
_START = 1_700_000_000


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``dirac``."""
    plan.say("installing DIRAC, if need be")
    installed = subprocess.run([INSTALL], stdout=subprocess.PIPE, text=True, check=True).stdout
    find_test_servers()
    from tests.grid.dirac_server import DiracServer

    folder = plan.folder / "dirac"
    folder.mkdir()
    with DiracServer(folder, Path(installed.split()[0])) as server:
        plan.say("storing the files in it")
        (plan.folder / "files").mkdir()
        files = [
            simulate_run(plan.folder / "files", CAMERA, FIRST_RUN + n, start=_START + 900 * n)
            for n in range(plan.dirac_runs)
        ]
        server.upload(DIRECTORY, files)
        own, ours = [], []
        os.environ.update(server.variables, DQM_DIRAC_PYTHON=str(server.python))
        for turn in range(plan.dirac_rounds):
            plan.say(f"round {turn + 1}: getFile")
            own.append(_own_seconds(server.python, files, plan.folder / f"own-{turn}"))
            plan.say(f"round {turn + 1}: the source")
            ours.append(_source_seconds(plan.folder / f"ours-{turn}", len(files)))
        plan.say("into a database")
        with Stack(plan.folder / "stack", dashboard=False) as stack:
            started = time.monotonic()
            subprocess.run(
                stack.command("ingest", f"dirac:{DIRECTORY}"),
                env={**stack.environment(), "DQM_DIRAC_PYTHON": str(server.python)},
                check=True,
                stdout=subprocess.DEVNULL,
            )
            whole = time.monotonic() - started
    ratios = [theirs / mine for theirs, mine in zip(own, ours, strict=True)]
    runs = len(files)
    detail = {"own_seconds": own, "source_seconds": ours, "ratios": ratios}
    return [
        Result("dirac_ratio", statistics.median(ratios), detail),
        Result("dirac_rate", runs / whole, {"runs": runs, "seconds": whole}),
    ]


def _own_seconds(python: Path, files: list[Path], folder: Path) -> float:
    folder.mkdir()
    done = subprocess.run(
        [
            str(python),
            str(Path(__file__).with_name("dirac_getfile.py")),
            str(folder),
            str(DiracSettings().dirac_streams),
            *(f"{DIRECTORY}/{file.name}" for file in files),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    got = sum(1 for path in folder.rglob("*.tar.gz"))
    if got != len(files):
        raise RuntimeError(f"getFile fetched {got} of {len(files)} files")
    shutil.rmtree(folder)
    found = re.search(r"^seconds ([\d.]+)$", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"getFile says {done.stdout!r}")
    return float(found[1])


def _source_seconds(folder: Path, files: int) -> float:
    """As `dqm ingest` fetches: listed, checked, and safe on the disk."""
    folder.mkdir()
    source = Dirac(f"dirac:{DIRECTORY}")
    try:
        found = source.list(DIRECTORY).files  # starts the process, which is not counted either
        if len(found) != files:
            raise RuntimeError(f"{len(found)} of {files} files are listed")
        transfers = Transfers(source, folder, stall=60.0, largest=10**9, disk=10**10)
        started = time.monotonic()
        with ThreadPoolExecutor(source.streams) as threads:
            paths = list(threads.map(lambda file: transfers.start(file).result(), found))
        seconds = time.monotonic() - started
    finally:
        source.close()
    if not all(path.stat().st_size for path in paths):
        raise RuntimeError("an empty file was fetched")
    shutil.rmtree(folder)
    return seconds
