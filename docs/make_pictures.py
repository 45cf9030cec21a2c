"""Takes the pictures of the documentation: ``make pictures``.

Starts the whole system on loopback, ingests simulated runs and lets headless Chromium look at it.
With ``--all DIR`` it writes every view in both themes and two sizes, for judging the design.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from dqm.demo.stack import Stack
from dqm.simulation import condition_named, simulate_run
from dqm_app.views import VIEWS

IMAGES = Path(__file__).parent / "images"
CAMERA = "NectarCAMQM"
FIRST = 1_777_600_000  # unix s, UTC
RUNS = {6001: "healthy", 6002: "absent_modules", 6003: "no_pedestals", 6004: "negative_steps"}
LARGE, SMALL = (1600, 1000), (1280, 720)
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Picture:
    """What to look at, how, and where the picture goes."""

    path: Path
    query: str
    size: tuple[int, int] = LARGE
    theme: str = "light"


def documentation() -> Iterator[Picture]:
    """The pictures that the documentation shows."""
    overview = f"camera={CAMERA}&run=6002&view=overview"
    yield Picture(IMAGES / "dashboard.png", overview, SMALL)
    yield Picture(IMAGES / "dashboard-dark.png", overview, SMALL, "dark")
    yield Picture(IMAGES / "waveforms.png", f"camera={CAMERA}&run=6004&view=waveforms", SMALL)
    yield Picture(IMAGES / "trigger.png", f"camera={CAMERA}&run=6004&view=trigger", SMALL)
    yield Picture(IMAGES / "system.png", f"camera={CAMERA}&run=6001&view=system", SMALL)


def everything(folder: Path) -> Iterator[Picture]:
    """Every view of every simulated run, light and dark, large and small."""
    for view in VIEWS:
        for run in RUNS:
            for theme in ("light", "dark"):
                for size in (LARGE, SMALL):
                    path = folder / f"{view}-{run}-{theme}-{size[0]}.png"
                    yield Picture(path, f"camera={CAMERA}&run={run}&view={view}", size, theme)


def fill(stack: Stack, folder: Path) -> None:
    """Simulate the runs, pull them, and do what keeps them safe."""
    runs, backups = folder / "runs", folder / "backups"
    runs.mkdir()
    for index, (run, condition) in enumerate(RUNS.items()):
        simulate_run(
            runs,
            CAMERA,
            run,
            start=FIRST + 1200 * index,
            condition=condition_named(condition),
        )
    for command in (
        ("ingest", str(runs)),
        ("backup", "create", "--data-dir", str(stack.directory / "primary"), "--to", str(backups)),
        ("backup", "verify", "--from", str(backups)),
        ("verify",),
    ):
        subprocess.run(stack.command(*command), env=stack.environment(), check=True)


def take(browser: Browser, url: str, picture: Picture) -> None:
    """Open the page and write the picture when it shows what was asked for."""
    width, height = picture.size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=picture.theme)
    page.goto(f"{url}?{picture.query}")
    page.wait_for_selector("html[data-shown]", timeout=20_000)
    page.wait_for_timeout(500)  # the shown mark is set with the frame, not after the last one
    picture.path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=picture.path)
    page.close()
    print(picture.path)


def main() -> None:
    """Entry point of ``make pictures``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="DIR", help="every view, into DIR")
    arguments = parser.parse_args()
    pictures = everything(arguments.all) if arguments.all else documentation()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("make_pictures: chromium is not installed")
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder) / "stack", num_procs=1) as stack,
        sync_playwright() as playwright,
    ):
        fill(stack, Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        for picture in pictures:
            take(browser, stack.dashboard_url, picture)
        browser.close()


if __name__ == "__main__":
    main()
