"""The benchmarks' own logic; that they run at all is tested in tests/system."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from benchmarks import report
from benchmarks.__main__ import GROUPS
from benchmarks.bars import Bar, Result, bars
from benchmarks.browser import QUIET, drawn_fraction, settled

SECONDS = st.floats(0, 30)


def a_bar(**values: object) -> Bar:
    given = {"key": "k", "group": "pages", "what": "w", "unit": "s", "peer": "", "limit": 2.0}
    return Bar(**(given | values))


def test_a_page_is_idle_at_its_last_frame_before_the_quiet():
    assert settled([0.1, 0.2, 0.5, 2.0], ready=0.2, end=2.1) == 0.5


def test_a_page_is_not_idle_before_it_says_that_it_is_painted():
    assert settled([0.1], ready=1.0, end=2.0) == 1.0


def test_a_page_that_goes_on_drawing_is_not_idle():
    frames = [index / 10 for index in range(50)]
    assert settled(frames, ready=0.2, end=5.0) is None


@given(st.lists(SECONDS), SECONDS, SECONDS)
def test_after_idle_nothing_was_drawn_for_a_while(frames, ready, end):
    idle = settled(frames, ready, end)
    if idle is not None:
        assert idle == ready or (idle in frames and idle > ready)
        assert not [frame for frame in frames if idle < frame < idle + QUIET]


def test_bars_are_met_from_the_right_side():
    assert a_bar(direction="most").passed(2.0)
    assert not a_bar(direction="most").passed(2.1)
    assert a_bar(direction="least").passed(2.0)
    assert not a_bar(direction="least").passed(1.9)
    assert a_bar(limit=None).passed(1.0) is None


def test_every_bar_belongs_to_a_group_that_exists():
    assert {bar.group for bar in bars().values()} == set(GROUPS)
    assert all(bar.direction in ("most", "least") for bar in bars().values())


def test_the_table_says_which_bars_are_missed():
    text = io.StringIO()
    results = [Result("page_idle_ratio", 1.4), Result("page_bytes", 251.0)]
    report.show(results, Console(file=text, width=120))
    (good,) = [line for line in text.getvalue().splitlines() if "1.4 ×" in line]
    (bad,) = [line for line in text.getvalue().splitlines() if "251 kB" in line]
    assert "pass" in good
    assert "MISS" in bad
    assert "≤ 250 kB" in bad


def test_what_was_measured_is_written_beside_its_bar(tmp_path):
    results = [Result("freshness", 2.5, {"seconds": [0.5, 2.5]})]
    path = report.write(results, {"pages": "no browser"}, tmp_path / "new", quick=True)
    document = json.loads(path.read_text())
    (row,) = document["results"]
    assert (row["value"], row["limit"], row["passed"]) == (2.5, 2, False)
    assert row["detail"] == {"seconds": [0.5, 2.5]}
    assert document["failures"] == {"pages": "no browser"}
    assert document["quick"] is True
    assert document["machine"]["cores"] >= 1


def test_a_measurement_without_a_bar_is_refused(tmp_path):
    with pytest.raises(ValueError, match="bogus"):
        report.write([Result("bogus", 1.0)], {}, tmp_path, quick=True)


def test_the_readme_keeps_the_last_results(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("above\n<!-- results -->\nold\n<!-- end of results -->\nbelow\n")
    for value in (2.5, 0.5):
        report.write_readme([Result("freshness", value)], readme)
    text = readme.read_text()
    assert text.startswith("above\n<!-- results -->\n")
    assert text.endswith("\n<!-- end of results -->\nbelow\n")
    assert "| 0.5 s | pass |" in text
    assert "| 2.5 s |" not in text
    assert "old" not in text


def test_a_readme_without_marks_is_left_alone(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("nothing here\n")
    with pytest.raises(ValueError, match="marks"):
        report.write_readme([], readme)
    assert readme.read_text() == "nothing here\n"


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_an_empty_plot_shows_nothing():
    image = Image.new("RGB", (20, 10), "white")
    assert drawn_fraction(png(image)) == 0
    image.paste("navy", (0, 0, 5, 10))
    assert drawn_fraction(png(image)) == 0.25
