"""The run table and the calendar of nights in a browser."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from browsing import DashboardPage
from hypothesis import given, settings
from hypothesis import strategies as st
from many_runs import write_many
from processes import DatabaseServer
from runs_page import (
    BROKEN,
    CAMERA,
    FAILURES,
    FIRST,
    GRID,
    LINE,
    LOAD_FILTERS,
    NEWEST,
    PER_NIGHT,
    TEXT,
    TOTAL,
    Site,
    dashboard,
    opened,
    rows,
    sample,
    settings_of,
)

from dqm_db.content import RunContent
from dqm_db.writer import open_writer

pytestmark = [pytest.mark.system, pytest.mark.browser]


@pytest.fixture(scope="module")
def content() -> RunContent:
    return sample()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, content: RunContent) -> Iterator[Site]:
    """All `rows` and `FAILURES`."""
    directory = tmp_path_factory.mktemp("runs")
    url = f"file://{directory}/Data.fs"
    with open_writer(settings_of(directory, url)) as writer:
        write_many(writer, content, rows())
        for failure in FAILURES:
            writer.note_failure(failure)
    with dashboard(directory, url) as found:
        yield found


def test_only_the_rows_in_sight_are_in_the_page(browser, site):
    with opened(browser, site) as page:
        page.counts("2,996 runs")
        assert page.runs()[0] == NEWEST
        assert page[LINE].count() < 60
        assert page[GRID].get_attribute("aria-rowcount") == str(TOTAL + 4 + 1), (
            "rows, gaps, heading"
        )
        first = page.lines()[0]
        assert first[0].split() == ["✓", "OK"]
        assert first[2:] == [
            "2026-05-31 00:45",
            "29.0 s",
            "3,000",
            "20",
            "0",
            "0",
            "2026-05-31 00:50",
        ]
        page.page.keyboard.press("Tab")
        page[GRID].evaluate("grid => { grid.scrollTop = grid.scrollHeight }")
        page.wait_for(f"[...document.querySelectorAll('{LINE} a')].some(a => a.text === '{FIRST}')")
        assert page.runs()[-1] == FIRST
        assert page[LINE].count() < 60
        index = page[f"{LINE}:has(a:text-is('{FIRST}'))"].get_attribute("aria-rowindex")
        assert index == page[GRID].get_attribute("aria-rowcount")
        assert page.errors == []


def test_filters_leave_what_matches_and_are_in_the_address(browser, site):
    with opened(browser, site) as page:
        page[TEXT].fill("10100-10109")
        page.counts("10 of 2,996 runs")
        assert page.runs() == list(range(10_109, 10_099, -1))
        assert page.address["filter"] == "text.10100-10109"
        page[TEXT].fill("2026-02")
        page.counts(f"{28 * PER_NIGHT} of 2,996 runs")
        page[TEXT].fill("")
        page["button[aria-label^='BAD:']"].click()
        page.counts("15 of 2,996 runs")
        page["button[aria-label^='WARNING:']"].click()
        page.counts("30 of 2,996 runs")
        assert page.address["filter"] == "verdict.bad.warning"
        page.page.get_by_label("From, YYYY-MM-DD").fill("2026-02-01")
        page.page.get_by_label("Until, YYYY-MM-DD").fill("2026-02-28")
        page.counts("6 of 2,996 runs")
        page.page.get_by_label("Events, at least").fill("700")
        page.page.get_by_label("Events, at most").fill("1020")
        page.counts("4 of 2,996 runs")
        filters = "verdict.bad.warning from.2026-02-01 until.2026-02-28 events.700-1020"
        assert page.address["filter"] == filters
        assert [cells[0].split()[1] for cells in page.lines()] == ["BAD", "WARNING"] * 2
        page.page.get_by_role("button", name="Clear").click()
        page.counts("2,996 runs")
        assert "filter" not in page.address
        assert page[TEXT].input_value() == ""
        assert page.page.get_by_label("Events, at most").input_value() == ""
        assert page.errors == []


def test_an_address_is_understood_and_what_makes_no_sense_in_it_is_said(browser, site):
    good = "verdict.bad+events.100-+sort.duration.up+text.10000-10500+2026-01"
    with opened(browser, site, good) as page:
        page.counts("2 of 2,996 runs")
        page.page.get_by_label("Events, at least").fill("300")
        page.counts("1 of 2,996 runs")
        assert page[TEXT].input_value() == "10000-10500 2026-01"
    bad = "verdict.awful+from.2026-13-41+events.x+sort.colour.up+nothing+night.2026-01-01"
    with opened(browser, site, bad) as page:
        page.counts("18 of 2,996 runs")
        words = page.text("#runs-wrong")
        for part in ("verdict.awful", "from.2026-13-41", "events.x", "sort.colour.up", "nothing"):
            assert part in words
        assert "night" not in words
        page[TEXT].fill("6310 what?")
        page.wait_for("document.querySelector('#runs-wrong').textContent.includes('“what?”')")
        assert page.errors == []


@pytest.fixture(scope="module")
def filters(browser, site) -> Iterator[DashboardPage]:
    """A page with the functions of ``runs_filter.js``."""
    with opened(browser, site) as page:
        page.page.evaluate(LOAD_FILTERS)
        yield page


PART = st.one_of(
    st.text(max_size=12),
    st.builds(
        "{}.{}".format,
        st.sampled_from(["verdict", "from", "until", "events", "night", "sort", "gaps", "text"]),
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(["bad.ok", "2026-02-29", "2024-02-29", "5-", "-", "run.up", "off"]),
            st.dates().map(str),
            st.integers(0).map(lambda number: f"{number}-{number}"),
        ),
    ),
)


@settings(max_examples=40)
@given(addresses=st.lists(st.lists(PART, max_size=5).map(" ".join), min_size=5, max_size=40))
def test_whatever_the_address_says_makes_a_filter_that_can_be_said_again(filters, addresses):
    answers = filters.page.evaluate(
        """(addresses) => {
          const { format, parse, search } = globalThis.filters;
          return addresses.map((address) => {
            const said = format(parse(address).filter);
            search(parse(address).filter.text).find?.(6310, 1.7e9);
            return [said, format(parse(said).filter), parse(said).wrong];
          });
        }""",
        addresses,
    )
    assert all(said == again and wrong == [] for said, again, wrong in answers), answers


def test_columns_sort_both_ways_and_unknown_values_are_last(browser, site):
    with opened(browser, site) as page:
        heading = page.page.get_by_role("columnheader", name="Events")
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        assert page.lines()[0][4] == "3,000"
        heading.get_by_role("button").press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        assert page.runs()[:2] == [FIRST, FIRST + 1]
        assert page.address["filter"] == "sort.events.up"
        page.page.get_by_role("columnheader", name="Verdict").get_by_role("button").click()
        assert [cells[0].split()[1] for cells in page.lines()[:16]] == ["BAD"] * 15 + ["WARNING"]
        assert page[f"{GRID} [aria-sort]"].count() == 1


def test_keys_move_through_the_table_and_open_a_run_from_which_one_comes_back(browser, site):
    with opened(browser, site, "verdict.ok") as page:
        page[GRID].focus()
        page.page.keyboard.press("End")
        page.wait_for(f"document.querySelector('{LINE}.active a').text === '{FIRST}'")
        page.page.keyboard.press("PageUp")
        page.page.keyboard.press("ArrowUp")
        page.page.keyboard.press("ArrowDown")
        page.wait_for(f"document.querySelector('{LINE}.active a').text !== '{FIRST}'")
        active = page[f"#{page[GRID].get_attribute('aria-activedescendant')}"]
        run = int(active.locator("a").inner_text())
        assert FIRST < run < FIRST + 60
        top = page.top()
        page.page.keyboard.press("Enter")
        page.wait_for_run(run)
        assert page.state["view"] != "runs"
        page.page.go_back()
        page.wait_for_run(NEWEST)
        assert page.address["filter"] == "verdict.ok"
        page.wait_for(f"document.querySelector('{GRID}').scrollTop === {top}")
        page.wait_for(f"document.activeElement === document.querySelector('{GRID}')")
        page.page.keyboard.press("ArrowDown")
        page.wait_for(f"document.querySelector('{LINE}.active a').text === '{run - 1}'")
        page.page.keyboard.press("Home")
        page.wait_for(f"document.querySelector('{GRID}').scrollTop === 0")
        page.page.keyboard.press("/")
        page.page.keyboard.type("10044")
        page.counts("1 of 2,996 runs")
        assert page.errors == []


def test_a_click_opens_the_run_and_the_table_marks_it(browser, site):
    with opened(browser, site, "text.10500-10540") as page:
        page[f"{LINE}:has(a:text-is('10522')) .of-events"].click()
        page.wait_for_run(10_522)
        page["[data-view=runs]"].click()
        page.settled()
        assert page.address["filter"] == "text.10500-10540"
        marked = page[f"{LINE}[aria-current]"]
        assert marked.locator("a").inner_text() == "10522"
        page.press("]")
        page.wait_for(f"document.querySelector('{LINE}[aria-current] a').text === '10523'")
        page.page.reload()
        page.settled()
        page.counts("41 of 2,996 runs")
        assert page[f"{LINE}[aria-current] a"].inner_text() == "10523"


def test_missing_runs_stand_between_the_rows_with_what_is_known_of_them(browser, site):
    with opened(browser, site, "text.10001-10080") as page:
        page.wait_for(f"document.querySelector('{LINE}.gap') !== null")
        page[GRID].evaluate("grid => { grid.scrollTop = grid.scrollHeight }")
        page.wait_for(f"[...document.querySelectorAll('{LINE} a')].some(a => a.text === '{FIRST}')")
        assert page.gaps() == [f"Run 10012 in quarantine: {BROKEN}", "Run 10011 not here"]
        page[GRID].evaluate("grid => { grid.scrollTop = 0 }")
        page.wait_for(f"[...document.querySelectorAll('{LINE} a')].some(a => a.text === '10080')")
        assert page.gaps() == ["Run 10072 not here", "Run 10071 deleted by hand"]
        assert "4 run numbers are missing." in page.text(".runs-result")
        page.page.get_by_role("button", name="Gaps").click()
        page.wait_for(f"document.querySelector('{LINE}.gap') === null")
        assert page.address["filter"] == "gaps.off text.10001-10080"
        page.page.get_by_role("button", name="Gaps").click()
        assert page.address["filter"] == "text.10001-10080"
        page[TEXT].fill("10012")  # asked for by its number, although no run matches
        page.counts("0 of 2,996 runs")
        assert page.gaps() == [f"Run 10012 in quarantine: {BROKEN}"]


def test_nights_have_the_sign_of_their_worst_verdict_and_filter_the_table(browser, site):
    with opened(browser, site) as page:
        page.wait_for("document.querySelector('.missing:not(:empty)') !== null")
        months = page[".runs-calendar h3"].all_inner_texts()
        assert [text.split("\n")[0] for text in months[:2]] == ["May 2026", "April 2026"]
        bad, warning, good = (page.night(f"2026-01-{day:02d}") for day in (1, 6, 2))
        assert bad.get_attribute("data-status") == "bad"
        assert bad.inner_text().split() == ["1", "−2", "✕", "18"]
        assert warning.inner_text().split() == ["6", "▲", "20"]
        assert good.get_attribute("data-status") == "info"
        title = bad.get_attribute("title") or ""
        assert "Thu, 1 January 2026: 18 runs (10001–10020)" in title
        assert "1 BAD, 3 INFO, 14 OK" in title
        assert "2 run numbers are missing" in title
        empty = page.night("2026-05-31")
        assert empty.is_disabled()
        assert empty.inner_text() == "31"
        bad.click()
        page.counts("18 of 2,996 runs")
        assert page.address["filter"] == "night.2026-01-01"
        assert bad.get_attribute("aria-pressed") == "true"
        page.page.keyboard.press("ArrowRight")
        page.page.keyboard.press("Enter")
        page.counts("20 of 2,996 runs")
        assert page.address["filter"] == "night.2026-01-02"
        page.page.keyboard.press("Enter")
        page.counts("2,996 runs")
        page["button[aria-label^='WARNING:']"].click()
        page.counts("15 of 2,996 runs")
        assert "out" in (bad.get_attribute("class") or "")
        assert "out" not in (warning.get_attribute("class") or "")
        assert page.errors == []


def test_a_table_is_saved_as_it_is_shown(browser, site, tmp_path):
    with opened(browser, site, "sort.duration.up+text.10001-10030") as page:
        page.counts("28 of 2,996 runs")
        with page.page.expect_download() as download:
            page.page.get_by_role("button", name="CSV").click()
        assert download.value.suggested_filename == f"runs-{CAMERA}.csv"
        download.value.save_as(tmp_path / "runs.csv")
        with (tmp_path / "runs.csv").open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
    assert len(table) == 28
    expected = sorted(
        (row for row in rows() if row.run <= 10_030), key=lambda row: (row.duration, -row.run)
    )
    assert [int(row["run"]) for row in table] == [row.run for row in expected]
    assert [float(row["duration (s)"]) for row in table] == [row.duration for row in expected]
    assert table[0]["start (UTC)"] == "2026-01-02T20:00:00Z"
    assert table[0]["verdict"] == "OK"
    assert {row["events"] for row in table} == {str(row.run - 10_000) for row in expected}


def test_new_runs_come_by_themselves_and_nothing_moves(browser, tmp_path, content):
    with DatabaseServer(tmp_path, "primary") as database:
        settings = settings_of(tmp_path, database.url)
        few = rows()[:400]
        with open_writer(settings) as writer:
            write_many(writer, content, few)
        newest = few[-1]
        next_run = replace(
            content.header,
            run=newest.run + 1,
            times=replace(content.header.times, run_start=newest.start + 900),
        )
        night = datetime.fromtimestamp(newest.start - 43_200, UTC).date().isoformat()
        with (
            dashboard(tmp_path, database.url) as site,
            opened(browser, site) as page,
            opened(browser, site, f"night.{night}") as other,
        ):
            page.counts("400 runs")
            page[GRID].focus()
            page[GRID].evaluate("grid => { grid.scrollTop = 5000 }")
            page.wait_for(f"Number(document.querySelector('{LINE}').ariaRowIndex) > 100")
            before, top, beside = page.runs(), page.top(), other.runs()
            sent = "Bokeh.documents.at(-1).get_model_by_name('runs-table').tags[0]"
            page.page.evaluate(f"() => {{ globalThis.sent = {sent}; }}")
            with open_writer(settings) as writer:
                writer.store_run(replace(content, header=next_run), None)
            page.counts("401 runs")
            assert page.runs() == before
            assert page.top() == top + 26
            assert page.page.evaluate(f"() => globalThis.sent === {sent}"), "not all is sent again"
            assert page.page.evaluate(f"document.activeElement.matches('{GRID}')")
            other.counts(f"{len(beside) + 1} of 401 runs")
            assert other.runs() == [next_run.run, *beside]
            assert other.address["filter"] == f"night.{night}"
            assert page.errors == other.errors == []


def test_a_run_list_says_what_should_be_there(browser, tmp_path, content):
    few = rows()[:38]
    path = tmp_path / "runs.csv"
    path.write_text(
        "camera;run;date\n"
        + "".join(f"{CAMERA};{row.run};\n" for row in few[1:])
        + f"{CAMERA};10011;2026-01-01\n{CAMERA};10045;2026-01-03\n"
    )
    url = f"file://{tmp_path}/Data.fs"
    with open_writer(settings_of(tmp_path, url)) as writer:
        write_many(writer, content, few)
    with (
        dashboard(tmp_path, url, DQM_RUN_LIST=str(path)) as site,
        opened(browser, site) as page,
    ):
        page.wait_for(f"document.querySelector('{LINE}.gap') !== null")
        assert page.gaps()[0] == "Run 10045 on the list, not here"
        summary = page.text(".runs-result")
        assert "39 runs are on the list. 2 not here. 1 stored run is not on it." in summary
        assert page.night("2026-01-01").inner_text().split() == ["1", "✕", "17/18"]
        assert page.cut(".night.incomplete") == []
        title = page.night("2026-01-01").get_attribute("title") or ""
        assert "17 of 18 listed runs, 1 not on the list" in title
        assert page.night("2026-01-03").inner_text().split() == ["3", "–", "0/1"]
        path.write_text("run\n10001\nten\n")
        page.page.evaluate(
            "Bokeh.documents.at(-1).get_model_by_name('runs-asked').tags = [{number: 99}]"
        )
        page.wait_for("document.querySelector('#runs-wrong').textContent.includes('line 3')")
        assert "1 run is on the list. All are here." in page.text(".runs-result")
        assert page.errors == []


@pytest.mark.parametrize("size", [(1280, 720), (1024, 768)])
def test_nothing_is_cut_off(browser, site, size):
    with opened(browser, site, size=size) as page:
        wide = page.page.evaluate(
            "[document.documentElement, document.querySelector('#view-runs')]"
            ".map(node => node.scrollWidth - node.clientWidth)"
        )
        assert max(wide) <= 0
        assert page.cut(".runs-grid .body span, .night") == []
        assert len(page.runs()) >= 6
