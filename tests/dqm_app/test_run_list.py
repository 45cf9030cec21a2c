"""The list of runs that others keep, and the nights that it speaks of."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqm_app.nights import UNKNOWN_NIGHT, night_of
from dqm_app.run_list import LARGEST, RunListFile, parse
from dqm_app.settings import DashboardSettings
from dqm_db.settings import load

MAY_3 = 19_846  # days from 1970-01-01 to 2024-05-03


def runs_of(text: str, camera: str = "NectarCAMQM") -> dict[int, int]:
    found = parse(text, "runs.csv")
    assert found.problem == ""
    listed = found.of(camera)
    assert listed is not None
    assert listed.runs.tolist() == sorted(set(listed.runs.tolist()))
    return dict(zip(listed.runs.tolist(), listed.nights.tolist(), strict=True))


def utc(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()


def test_a_night_lasts_from_noon_to_noon():
    assert night_of(utc(2024, 5, 3, 12)) == MAY_3
    assert night_of(utc(2024, 5, 4, 11, 59)) == MAY_3
    assert night_of(utc(2024, 5, 3, 11, 59)) == MAY_3 - 1


@pytest.mark.parametrize(
    "text",
    [
        "6311\n6312\n",
        "6311 # the first\n\n# nothing\n6312",
        "run\n6312\n6311\n6311\n",
        "6311,NectarCAMQM\n6312,NectarCAMQM\n6313,Other\n",
        "6311 NectarCAMQM\n6312\n",
        "date;remark;Run\n;a, b;6311\n;;6312\n",
        "camera\trun\nNectarCAMQM\t6311\n\t6312\nOther\t7\n",
        '"run","camera"\n"6311","NectarCAMQM"\n"6312",""\n',
    ],
)
def test_runs_are_found_in_every_form(text):
    assert runs_of(text) == {6311: UNKNOWN_NIGHT, 6312: UNKNOWN_NIGHT}


def test_a_date_is_an_evening_and_a_moment_is_in_its_night():
    found = runs_of(
        "run,date\n1,2024-05-03\n2,2024-05-03T23:12\n3,2024-05-04 02:00:01\n"
        "4,2024-05-04T13:30+02:00\n5,2024-05-04T12:00Z\n"
    )
    assert found == {1: MAY_3, 2: MAY_3, 3: MAY_3, 4: MAY_3, 5: MAY_3 + 1}


def test_lines_that_make_no_sense_are_said_and_the_others_read():
    found = parse("6311\nsix\n6313,,yesterday\n6314\n1234567890123\n", "runs.txt")
    assert found.problem == (
        "Of the run list runs.txt, 3 lines could not be understood "
        "(line 2: “six” is not a run number)."
    )
    listed = found.of("any")
    assert listed is not None
    assert listed.runs.tolist() == [6311, 6314]


def test_a_list_without_runs_is_said():
    for text in ("", "# nothing yet\n", "run,camera\n"):
        found = parse(text, "runs.txt")
        assert "names no run" in found.problem
        assert found.of("NectarCAMQM") is None


def test_a_camera_that_is_not_listed_has_no_list():
    found = parse("run,camera\n6311,NectarCAMQM\n", "runs.txt")
    assert found.of("Other") is None


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_nothing_that_a_file_holds_is_an_error(text):
    found = parse(text, "runs.txt")
    listed = found.of("NectarCAMQM")
    assert found.problem or listed is not None or set(found.cameras) - {"", "NectarCAMQM"}


def test_a_file_is_read_again_when_it_has_changed(tmp_path):
    path = tmp_path / "runs.txt"
    path.write_text("6311\n")
    file = RunListFile(path)
    first = file.read()
    assert file.read() is first
    path.write_text("6311\n6312\n")
    os.utime(path, ns=(1, 1))
    again = file.read()
    assert again is not None
    listed = again.of("c")
    assert listed is not None
    assert listed.runs.tolist() == [6311, 6312]


def test_a_file_that_cannot_be_read_is_said_until_it_can(tmp_path):
    path = tmp_path / "runs.txt"
    file = RunListFile(path)
    missing = file.read()
    assert missing is not None
    assert missing.problem == "The run list runs.txt cannot be read: No such file or directory."
    path.write_bytes(b"6311\xff\n")
    binary = file.read()
    assert binary is not None
    assert "not text in UTF-8" in binary.problem
    with path.open("r+b") as stream:
        stream.truncate(LARGEST + 1)
    large = file.read()
    assert large is not None
    assert "larger than" in large.problem
    path.write_text("6311\n")
    good = file.read()
    assert good is not None
    assert good.problem == ""


def test_without_a_file_there_is_no_list(monkeypatch):
    monkeypatch.setenv("DQM_RUN_LIST", "")
    assert RunListFile(load(DashboardSettings).run_list).read() is None
