"""The plots of a page in a browser, and what the camera map on the screen has to look like."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import DashboardPage
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser

from dqm_app.theme import themes

CAMERA = "NectarCAMQM"
LIGHT = themes()["light"]

# the view of a figure, and where its data coordinates are on the screen
FIND = """
const model = (name) => Bokeh.documents.at(-1).get_model_by_name(name);
const view = (name) => {
  const wanted = model(name);
  const look = (one) => one.model === wanted ? one
    : [...(one.children_views?.() ?? one.children())]
      .reduce((found, child) => found ?? look(child), null);
  return [...Bokeh.index.roots].reduce((found, root) => found ?? look(root), null);
};
const place = (name, xs, ys) => {
  const { canvas_view, frame } = view(name);
  const { x, y } = canvas_view.el.getBoundingClientRect();
  return xs.map((at, n) => [x + frame.x_scale.compute(at), y + frame.y_scale.compute(ys[n])]);
};
"""


class Plots(DashboardPage):
    """A page, with what is in its figures."""

    def run(self, script: str, *arguments: Any) -> Any:
        """Value of a script with ``model``, ``view``, ``place`` and ``given``."""
        return self.page.evaluate(f"(given) => {{ {FIND} {script} }}", list(arguments))

    def column(self, source: str, name: str) -> np.ndarray:
        """A column of a source, as the browser has it; NaN comes as None."""
        values = self.run(
            "return Array.from(model(given[0]).data[given[1]],"
            " value => Number.isNaN(value) ? null : value)",
            source,
            name,
        )
        return np.array([np.nan if value is None else value for value in values])

    def on_screen(self, figure: str, xs: Any, ys: Any) -> np.ndarray:
        """Screen coordinates (px) of data coordinates."""
        return np.array(self.run("return place(...given)", figure, list(map(float, xs)), list(ys)))

    def picture(self) -> np.ndarray:
        """What is on the screen, (rows, columns, RGB)."""
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))

    @property
    def picked(self) -> list[int]:
        """Ids of the picked pixels, sorted."""
        return sorted(self.run('return [...model("picked-pixels").indices]'))

    def drag(self, start: np.ndarray, end: np.ndarray) -> None:
        """Drag the mouse over the screen."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*((start + end) / 2))
        self.page.mouse.move(*end)
        self.page.mouse.up()

    def wait_for_words(self, selector: str, words: str) -> None:
        """Wait until an element says so."""
        self.wait_for(f"document.querySelector('{selector}').innerText.includes('{words}')")

    def told(self, view: str) -> str:
        """The words above the figures of a view."""
        return self.text(f"#toolbar-{view}")


def opened(browser: Browser, url: str, view: str, run: int = 6001, **options: Any) -> Plots:
    quantity = options.pop("quantity", None)
    query = f"?camera={CAMERA}&run={run}&view={view}"
    return Plots(browser, url + query + (f"&quantity={quantity}" if quantity else ""), **options)


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def read_geometry() -> np.ndarray:
    """Positions (m) of the pixels, (1855, 2), from the packaged file by numpy alone."""
    path = Path(__file__).parents[2] / "dqm_db" / "data" / "NectarCam-003.ecsv"
    rows = [line.split() for line in path.read_text("utf-8").splitlines() if line[0].isdigit()]
    return np.array([[float(row[2]), float(row[3])] for row in rows])


def check_map(page: Plots, values: NDArray, bad: NDArray) -> None:
    """The camera map on the screen shows *values* at the places of their pixels.

    Parameters
    ----------
    page
        Open on the view of maps, in the light theme.
    values
        In the order of pixel ids, (1855,); NaN where a pixel is absent.
    bad
        Which pixels carry a cross, (1855,) of bool.
    """
    assert np.array_equal(page.column("maps-source", "value"), values, equal_nan=True)
    low, high = page.run('const { low, high } = model("maps-mapper"); return [low, high]')
    absent = np.isnan(values)
    assert [low, high] == pytest.approx(np.percentile(values[~absent & ~bad], [0.5, 99.5]))
    palette = np.array([rgb(colour) for colour in LIGHT.palettes["value"]])
    scaled = (values - low) / (high - low) * len(palette)
    expected = palette[np.clip(np.nan_to_num(scaled), 0, len(palette) - 1).astype(int)]
    expected[absent] = rgb(LIGHT["surface"])
    columns, rows = np.round(page.on_screen("maps-map", *read_geometry().T)).astype(int).T
    found = page.picture()[rows, columns]
    wrong = np.flatnonzero((found != expected).any(axis=1) & ~bad)
    assert wrong.size == 0, f"pixels {wrong[:10]}: {found[wrong[:3]]} is not {expected[wrong[:3]]}"
    assert (found[bad] != expected[bad]).any(axis=1).all(), "bad pixels carry a cross"
