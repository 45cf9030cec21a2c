"""Every plot can be saved: its data as CSV with the numbers of the results file, and as PNG."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Download
from plots_page import CAMERA, LIGHT, Plots, opened, read_geometry, rgb
from processes import LOOPBACK, ServerProcess, free_port
from results_files import raw_columns, raw_values, sample_fits

from dqm_app.page import SCRIPTS_OF_VIEWS
from dqm_app.theme import themes
from dqm_app.views import VIEWS
from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

pytestmark = [pytest.mark.system, pytest.mark.browser]

SAMPLES = Path(__file__).parent.parent / "data"
RUN, OTHER = 6001, 8001
CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
MASK = "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION"
WAVEFORMS = "WF-PHY-HIGH-GAIN"
TIMELINE = "CAMERA-BADPIXTIMELINE-PHY-HIGH-GAIN"
TRIGGER = "TRIGGER-EVENTS-ALL"
READINGS = "CAMERA-TEMPERATURE-TREND"
PICKED = (3, 28, 1000)
TAI_MINUS_UTC = 37.0
EVENTS_WITHOUT_PEDESTALS = 276


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a dashboard of the sample runs 6001 and 8001."""
    directory = tmp_path_factory.mktemp("saved")
    url = f"file://{directory}/Data.fs"
    settings = load(DatabaseSettings, db_url=url, lock_dir=directory / "locks")
    with open_writer(settings) as writer:
        for run in (RUN, OTHER):
            content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz")).content
            assert content is not None
            writer.store_run(content, None)
    port = free_port()
    command = ["dqm", "serve", "--port", str(port), "--num-procs", "1"]
    with ServerProcess(command, port, directory / "dashboard.log", {"DQM_DB_URL": url}):
        yield f"http://{LOOPBACK}:{port}/"


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    """Run 6001 as astropy reads it."""
    values = raw_values(sample_fits(SAMPLES, RUN))
    flagged = values[MASK.removesuffix("-FRACTION")]
    return {
        **values,
        TRIGGER: raw_columns(sample_fits(SAMPLES, RUN))[TRIGGER],
        MASK: flagged / EVENTS_WITHOUT_PEDESTALS,
    }


@dataclass(frozen=True)
class Saved:
    """A CSV file: its name, the lines of its head, its columns by their headings."""

    name: str
    head: list[str]
    columns: dict[str, list[str]]

    @classmethod
    def read(cls, name: str, text: str) -> Saved:
        lines = text.split("\r\n")
        assert lines[-1] == "", "the last line ends like the others"
        head = [line.removeprefix("# ") for line in lines if line.startswith("#")]
        header, *rows = csv.reader(io.StringIO("\r\n".join(lines[len(head) :]), newline=""))
        assert all(len(row) == len(header) for row in rows)
        return cls(name, head, {key: [row[at] for row in rows] for at, key in enumerate(header)})

    def numbers(self, heading: str) -> NDArray[np.float64]:
        """A column; NaN where it is empty."""
        return np.array([float(cell) if cell else math.nan for cell in self.columns[heading]])


class Exports(Plots):
    """A page whose menu is used."""

    view: str

    def open_menu(self) -> None:
        """Have the menu of the view open and filled."""
        menu = self[f"#toolbar-{self.view} .export"]
        if menu.get_attribute("open") is None:
            menu.locator("summary").click()
        menu.locator(".export-row").first.wait_for()

    def figures(self) -> list[str]:
        """Names of the figures that are to be seen."""
        return self.run(
            "return [...model(given[0]).references()].filter(one => one.type === 'Plot'"
            " && one.visible && Bokeh.index.find_one(one) !== null).map(one => one.name)",
            f"figures-{self.view}",
        )

    def title(self, figure: str) -> str:
        """What the menu calls a figure."""
        return self.run(
            "const get = (of, key) => of instanceof Map ? of.get(key) : of[key];"
            "return get(get(model(given[0]).tags[0], 'export'), 'title')",
            figure,
        )

    def save(self, title: str, label: str) -> tuple[str, bytes]:
        """Choose *label* in the line *title* of the menu; name and content of the file."""
        self.open_menu()
        line = self[f"#toolbar-{self.view} .export-row"].filter(
            has=self.page.get_by_text(title, exact=True)
        )
        with self.page.expect_download() as download:
            line.get_by_text(label, exact=True).click()
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    def labels(self, title: str) -> list[str]:
        """What the menu offers of a plot."""
        self.open_menu()
        line = self[f"#toolbar-{self.view} .export-row"].filter(
            has=self.page.get_by_text(title, exact=True)
        )
        return line.locator("button").all_inner_texts()


def exporting(browser: Any, url: str, view: str, **options: Any) -> Exports:
    page = Exports(browser, opened_url(url, view, **options), size=(1600, 1000))
    page.view = view
    return page


def opened_url(url: str, view: str, quantity: str | None = None, run: int = RUN) -> str:
    query = f"?camera={CAMERA}&run={run}&view={view}&pixels={','.join(map(str, PICKED))}"
    query += {"pixel": "&pixel=28", "compare": f"&reference={OTHER}"}.get(view, "")
    return url + query + (f"&quantity={quantity}" if quantity else "")


# ---- what the files of each figure must say, from the results file ------------------------------

Tables = dict[str, Saved]
Check = Callable[[Tables, dict[str, Any]], None]


def same(saved: Saved, heading: str, values: Any) -> None:
    """Bit for bit: JavaScript writes the shortest text that gives the number back."""
    assert np.array_equal(saved.numbers(heading), values, equal_nan=True), heading


def pixels_of(quantity: str, unit: str, *, mask: bool = False) -> Check:
    def check(tables: Tables, raw: dict[str, Any]) -> None:
        (saved,) = tables.values()
        same(saved, "pixel id", np.arange(1855))
        same(saved, "module", np.arange(1855) // 7)
        places = np.array([saved.numbers("x [m]"), saved.numbers("y [m]")]).T
        assert places == pytest.approx(read_geometry(), abs=1e-6)
        same(saved, f"value [{unit}]" if unit else "value", raw[quantity])
        if mask:
            same(saved, "flagged bad [fraction of events]", raw[MASK])
            bad = raw[MASK] > 0.5
            assert [word == "bad" for word in saved.columns["state"]] == bad.tolist()
        assert f"quantity: {quantity}" in saved.head
        assert "picked pixels: 3,28,1000" in saved.head

    return check


def histogram(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    starts, ends = saved.numbers("from [ADC counts]"), saved.numbers("to [ADC counts]")
    assert np.array_equal(starts[1:], ends[:-1])
    edges, bad = np.append(starts, ends[-1]), raw[MASK] > 0.5
    same(saved, "good pixels", np.histogram(raw[CHARGE][~bad], edges)[0])
    same(saved, "bad pixels", np.histogram(raw[CHARGE][bad], edges)[0])


def waveforms(tables: Tables, raw: dict[str, Any]) -> None:
    waves = raw[WAVEFORMS]
    camera, picked = tables["camera"], tables["picked pixels"]
    same(camera, "sample", np.arange(waves.shape[1]))
    assert camera.numbers("mean of the camera [ADC counts]") == pytest.approx(waves.mean(axis=0))
    same(camera, "median of the camera [ADC counts]", np.median(waves, axis=0))
    same(picked, "pixel", np.repeat(PICKED, waves.shape[1]))
    same(picked, "sample", np.tile(np.arange(waves.shape[1]), len(PICKED)))
    same(picked, "value [ADC counts]", waves[list(PICKED)].ravel())


def readings(tables: Tables, raw: dict[str, Any]) -> None:
    modules = sorted({pixel // 7 for pixel in PICKED})
    camera, picked = tables["camera"], tables["picked modules"]
    same(camera, "coldest [°C]", raw[READINGS].min(axis=0))
    same(camera, "hottest [°C]", raw[READINGS].max(axis=0))
    same(picked, "module", np.repeat(modules, raw[READINGS].shape[1]))
    same(picked, "value [°C]", raw[READINGS][modules].ravel())


def timeline(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    events = saved.numbers("first event").astype(int)
    same(saved, "last event", events)
    same(saved, "mean [fraction of pixels]", raw[TIMELINE][events])
    assert events.size == np.count_nonzero(raw[TIMELINE]), "all events of the class"


def trigger(tables: Tables, raw: dict[str, Any]) -> None:
    events, negative = tables["events"], tables["negative time steps"]
    same(events, "event id", raw[TRIGGER]["IDs"])
    utc = raw[TRIGGER]["Timestamps"] - TAI_MINUS_UTC
    assert events.numbers("time [s since 1970]") == pytest.approx(utc, abs=1e-6, rel=0)
    dates = np.array([text.removesuffix("Z") for text in events.columns["time [UTC]"]], "M8[us]")
    off = dates - (utc * 1e6).astype("i8").astype("M8[us]")
    assert abs(off.astype(int)).max() <= 2, "µs"
    steps = np.diff(utc)
    lags = -1000 * steps[steps < 0]
    found = negative.numbers("earlier than the event before by [ms]")
    assert np.sort(found) == pytest.approx(np.sort(lags), abs=1e-3)


def rate(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    times, rates = saved.numbers("middle of the bin [s since 1970]"), saved.numbers("rate [Hz]")
    width = times[1] - times[0]
    assert rates.sum() * width == pytest.approx(len(raw[TRIGGER]["IDs"]), rel=1e-5)


def differences(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    later = np.diff(raw[TRIGGER]["Timestamps"]) > 0
    assert saved.numbers("pairs of events").sum() == np.count_nonzero(later)


def changes(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    times = np.sort(raw["CAMERA-PING-PONG-CHANGES-TIMES"].ravel()) - TAI_MINUS_UTC
    assert saved.numbers("time [s since 1970]") == pytest.approx(times, abs=1e-6, rel=0)
    same(saved, "changes so far", np.arange(1, times.size + 1))


def series(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    same(saved, "index", np.arange(len(raw[TRIGGER]["IDs"])))
    (value,) = [heading for heading in saved.columns if heading.startswith("value")]
    assert saved.numbers(value) == pytest.approx(raw[TRIGGER]["Timestamps"], abs=1e-6, rel=0)


def distribution(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    assert saved.numbers("values").sum() == len(raw[TRIGGER]["IDs"])


def trend(tables: Tables, raw: dict[str, Any]) -> None:
    saved = tables[""]
    same(saved, "run", [RUN, 8001])
    assert saved.columns["start [UTC]"][0] == "2025-05-02T00:30:00.000000Z"
    assert saved.numbers("mean of the pixels [ADC counts]")[0] == pytest.approx(raw[CHARGE].mean())


def trend_distribution(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    assert saved.numbers("runs").sum() == 2


def history(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    at = list(saved.numbers("run")).index(RUN)
    kept = raw[CHARGE].astype("f4")  # histories are in single precision
    for pixel in range(28, 35):
        assert np.float32(saved.numbers(f"pixel {pixel} [ADC counts]")[at]) == kept[pixel]
    median = np.float32(saved.numbers("camera median [ADC counts]")[at])
    assert median == np.float32(np.median(raw[CHARGE]))


def states(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    assert saved.numbers("first run")[0] == RUN
    assert saved.columns["state"][0] == ("bad" if raw[MASK][28] > 0.5 else "good")


def deviations(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    ours = np.array(saved.columns["quantity"]) == CHARGE
    distances = saved.numbers("distance from the camera's median [robust widths]")[ours]
    starts = saved.numbers("from run")[ours]
    assert starts[0] == RUN - 0.5
    median = np.median(raw[CHARGE])
    width = 1.4826 * np.median(abs(raw[CHARGE] - median))
    assert distances[0] == pytest.approx((raw[CHARGE][28] - median) / width, rel=1e-3)


def compared(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    same(saved, "pixel id", np.arange(1855))
    ours = saved.numbers(f"A: run {RUN} [ADC counts]")
    same(saved, f"A: run {RUN} [ADC counts]", raw[CHARGE])
    other = saved.numbers(f"B: run {OTHER} [ADC counts]")
    assert np.count_nonzero(np.isnan(other)) == 84, "12 modules are absent"
    same(saved, "A − B [ADC counts]", ours - other)
    absent = [word.endswith("B: absent: not read out") for word in saved.columns["state"]]
    assert absent == np.isnan(other).tolist()
    assert f"A is run {RUN}, B is run {OTHER}" in saved.head


def compared_distributions(tables: Tables, raw: dict[str, Any]) -> None:
    (saved,) = tables.values()
    starts, ends = saved.numbers("from [ADC counts]"), saved.numbers("to [ADC counts]")
    edges, bad = np.append(starts, ends[-1]), raw[MASK] > 0.5
    expected = np.histogram(raw[CHARGE][~bad], edges)[0]
    same(saved, f"pixels in A (run {RUN})", expected)
    assert 0 < saved.numbers(f"pixels in B (run {OTHER})").sum() <= 1855 - 84


def compared_waveforms(tables: Tables, raw: dict[str, Any]) -> None:
    waves, picked = raw[WAVEFORMS], tables["picked pixels"]
    mean = tables["camera in A"].numbers("mean of the camera [ADC counts]")
    assert mean == pytest.approx(waves.mean(axis=0))
    assert tables["camera in B"].numbers("sample").size == waves.shape[1]
    ours = np.array(picked.columns["run"]) == f"run {RUN}"
    assert np.array_equal(picked.numbers("value [ADC counts]")[ours], waves[list(PICKED)].ravel())
    assert set(np.array(picked.columns["run"])[~ours]) == {f"run {OTHER}"}


CHECKS: dict[str, Check] = {
    "maps-map": pixels_of(CHARGE, "ADC counts", mask=True),
    "maps-scatter": pixels_of(CHARGE, "ADC counts", mask=True),
    "maps-histogram": histogram,
    "waveforms-map": pixels_of(
        "CAMERA-AVERAGE-PHY-OVEREVENTS-OVERSAMP-HIGH-GAIN", "ADC counts", mask=True
    ),
    "waveforms-plot": waveforms,
    "timelines-plot": timeline,
    "trigger-times": trigger,
    "trigger-rate": rate,
    "trigger-differences": differences,
    "temperature-map": pixels_of("CAMERA-TEMPERATURE-AVERAGE", "°C"),
    "temperature-trend": readings,
    "pingpong-map": pixels_of("CAMERA-PING-PONG-CHANGES", "changes"),
    "pingpong-times": changes,
    "compare-a": compared,
    "compare-b": compared,
    "compare-comparison": compared,
    "compare-distributions": compared_distributions,
    "compare-waveforms": compared_waveforms,
    "trends-plot": trend,
    "trends-distribution": trend_distribution,
    "pixel-history": history,
    "pixel-states": states,
    "pixel-deviations": deviations,
    "contents-map": pixels_of(CHARGE, "ADC counts", mask=True),
    "contents-series": series,
    "contents-distribution": distribution,
}
"""By the name of the figure; one without an entry fails the test below."""

QUANTITIES = {
    "maps": [CHARGE],
    "waveforms": [WAVEFORMS],
    "timelines": [TIMELINE],
    "trigger": [TRIGGER],
    "compare": [CHARGE],
    "trends": [CHARGE],
    "pixel": [CHARGE],
    "contents": [CHARGE, TRIGGER],
}


@pytest.mark.parametrize(
    ("view", "quantity"),
    [(view, quantity) for view in VIEWS for quantity in QUANTITIES.get(view, [None])],
)
def test_every_plot_of_every_view_is_saved_with_the_numbers_of_the_file(
    browser, dashboard, raw, view, quantity
):
    with exporting(browser, dashboard, view, quantity=quantity) as page:
        picked = f"{view}-{'trend' if view == 'temperature' else 'plot'}-picked"
        if view in ("waveforms", "temperature"):
            page.wait_for(
                f"Bokeh.documents.at(-1).get_model_by_name('{picked}').data.id.length > 0"
            )
        if view == "compare":
            pixels = "Bokeh.documents.at(-1).get_model_by_name('compare-waveforms-pixels')"
            page.wait_for(f"{pixels}.data.id.length > 0")
        if view == "pixel":  # all quantities come after the one that is asked for
            rows = "Bokeh.documents.at(-1).get_model_by_name('pixel-deviations-rows')"
            page.wait_for(f"{rows}.data.name.length > 0")
        figures = page.figures()
        assert (figures == []) == (view in SCRIPTS_OF_VIEWS), "views of figures have some"
        for figure in figures:
            title = page.title(figure)
            assert title
            labels = page.labels(title)
            assert labels[-1] == "PNG"
            tables = {}
            for label in labels[:-1]:
                name, content = page.save(title, label)
                saved = Saved.read(name, content.decode())
                assert "NectarCAM DQM" in saved.head[0]
                assert f"camera: {CAMERA}" in saved.head
                if VIEWS[view].of_run:
                    assert name.startswith(f"{CAMERA}_Run{RUN}_{view}_")
                    assert f"run: {RUN}" in saved.head
                    (sha,) = [line for line in saved.head if line.startswith("SHA-256: ")]
                    assert sha.removeprefix("SHA-256: ") == page.state["header"]["sha256"]
                about = {"pixel": "_Pixel-28_", "trends": "_mean_"}.get(view, "_")
                assert about in name, "files of several pixels must not have one name"
                tables[label.removeprefix("CSV").removeprefix(": ")] = saved
            assert tables, f"{figure} offers no data"
            CHECKS[figure](tables, raw)
            name, content = page.save(title, "PNG")
            assert name.endswith(".png")
            width, height = page.run(
                "const { width, height } = view(given[0]).el.getBoundingClientRect();"
                "return [width, height]",
                figure,
            )
            image = Image.open(io.BytesIO(content)).convert("RGB")
            assert image.width == pytest.approx(2 * width, abs=2)
            assert 2 * height < image.height < 2 * height + 200, "a caption is below"
            colours = image.getcolors(image.width * image.height)
            assert colours is not None and len(colours) > 10, "something is drawn"
        assert page.errors == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_is_what_the_page_shows(browser, dashboard, raw, theme):
    with exporting(browser, dashboard, "maps", quantity=CHARGE) as page:
        if theme == "dark":
            page.press("t")
        low, high = page.run('const { low, high } = model("maps-mapper"); return [low, high]')
        page.page.keyboard.press("Escape")
        centres = page.on_screen("maps-map", *read_geometry().T)
        corner = page.run(
            "const { x, y } = view('maps-map').el.getBoundingClientRect(); return [x, y]"
        )
        _, content = page.save(page.title("maps-map"), "PNG")
        image = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        surface = rgb(themes()[theme]["surface"])
        assert tuple(image[2, 2]) == tuple(image[-2, -2]) == surface
        caption = image[-40:, : image.shape[1] // 2]
        assert (caption != surface).any()
        columns, rows = np.round(2 * (centres - corner)).astype(int).T
        palette = np.array([rgb(colour) for colour in LIGHT.palettes["value"]])
        scaled = np.clip((raw[CHARGE] - low) / (high - low) * len(palette), 0, len(palette) - 1)
        good = raw[MASK] <= 0.5
        assert (image[rows, columns] == palette[scaled.astype(int)])[good].all()
        assert page.errors == []


def test_rows_that_only_break_a_line_are_left_out(browser, dashboard):
    with exporting(browser, dashboard, "maps", quantity=CHARGE) as page:
        page.open_menu()
        table = page.page.evaluate(
            """async () => {
              const scripts = performance.getEntriesByType("resource").map((one) => one.name);
              const { tabled } = await import(scripts.find((name) => name.includes("/csv.js")));
              const value = new Float64Array([5, 6, NaN, 7, NaN]);
              const columns = [["run", "run", "", "plain"], ["value", "value", "V", "plain"]];
              return tabled({ run: [1, 2, 90, 90, 91], value }, columns, [2]);
            }"""
        )
        header, rows = table
        assert header == ["run", "value [V]"]
        assert [row[0] for row in rows] == [1, 2, 90, 91]
        assert math.isnan(rows[3][1]), "a run without a value is not left out"


def test_all_of_a_view_at_once(browser, dashboard):
    with exporting(browser, dashboard, "maps", quantity=CHARGE) as page:
        name, content = page.save("All of the view", "PNG")
        assert name == f"{CAMERA}_Run{RUN}_maps_{CHARGE}.png"
        image = Image.open(io.BytesIO(content))
        (whole,) = page.run(
            "return [model('figures-maps')].map(one => Bokeh.index.find_one(one).el.clientWidth)"
        )
        assert image.width == pytest.approx(2 * whole, abs=40)
        page.open_menu()
        names = []

        def second(download: Download) -> bool:
            names.append(download.suggested_filename)
            return len(names) == 2

        with page.page.expect_download(second):
            page.page.get_by_text("CSV (2 files)").click()
        assert sorted(names) == [
            f"{CAMERA}_Run{RUN}_maps_{CHARGE}_{figure}.csv" for figure in ("histogram", "map")
        ]


def test_the_menu_is_used_with_the_keyboard(browser, dashboard):
    with exporting(browser, dashboard, "maps", quantity=CHARGE) as page:
        page["#toolbar-maps .export summary"].focus()
        page.page.keyboard.press("Enter")
        page["#toolbar-maps .export-row"].first.wait_for()
        page.page.keyboard.press("Tab")
        with page.page.expect_download() as download:
            page.page.keyboard.press("Enter")
        assert download.value.suggested_filename.endswith("_map.csv")
        page.wait_for("!document.querySelector('#toolbar-maps .export').open")
        page.page.keyboard.press("Enter")
        page["#toolbar-maps .export-row"].first.wait_for()
        page.page.keyboard.press("Escape")
        page.wait_for("!document.querySelector('#toolbar-maps .export').open")
        assert page.picked == list(PICKED), "Esc closed the menu and nothing else"


def test_absent_pixels_have_empty_cells(browser, dashboard):
    with exporting(browser, dashboard, "maps", quantity=CHARGE, run=8001) as page:
        _, content = page.save(page.title("maps-map"), "CSV")
        saved = Saved.read("", content.decode())
        absent = [word.startswith("absent") for word in saved.columns["state"]]
        assert sum(absent) == 84
        assert [cell == "" for cell in saved.columns["value [ADC counts]"]] == absent


HOSTILE = ["=1+1", "+A1", "-cmd", "@SUM(A1)", "\tx", 'a "quoted", text', "two\nlines", "-1.5e3"]


def test_texts_are_quoted_and_are_no_formulas(browser, dashboard):
    with opened(browser, dashboard, "maps", quantity=CHARGE) as page:
        with page.page.expect_download() as download:
            page.page.evaluate(
                """async (texts) => {
                  const map = document.querySelector("script[type=importmap]");
                  const { imports } = JSON.parse(map.textContent);
                  const script = Object.keys(imports).find((name) => name.endsWith("/csv.js"));
                  const { download } = await import(script);
                  const rows = texts.map((text, at) => [text, at === 0 ? NaN : -at - 0.5]);
                  download("x.csv", ["=text", "number"], rows, ['a "comment",\\nin two lines']);
                }""",
                HOSTILE,
            )
        text = Path(download.value.path()).read_bytes().decode()
        assert text.startswith("# a 'comment', in two lines\r\n")
        header, *rows = csv.reader(io.StringIO(text.partition("\r\n")[2], newline=""))
        assert header == ["'=text", "number"]
        expected = [*(f"'{words}" for words in HOSTILE[:5]), *HOSTILE[5:]]
        assert [words for words, _ in rows] == expected
        assert [number for _, number in rows] == ["", *(str(-at - 0.5) for at in range(1, 8))]
