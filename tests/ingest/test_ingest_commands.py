"""The commands as users call them: output, files and exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from pathlib import Path

import pytest
from astropy.io import fits
from calling import Call
from results_files import build_run_archive, run_fits, sample_fits, sample_path, write_run

from dqm_db.errors import WriteFailed
from dqm_db.settings import DatabaseSettings
from dqm_db.writer import writer_lock


@pytest.fixture
def stored(call: Call, tmp_path: Path) -> Call:
    """Runs 1 and 2 of one camera, 2 and 30 of another."""
    folder = tmp_path / "source"
    folder.mkdir()
    for camera, run in (("NectarCAMQM", 1), ("NectarCAMQM", 2), ("NectarCAM2", 2)):
        write_run(folder, run, camera=camera, seed=run)
    path = folder / "NectarCAM_Run30_Results.fits"
    path.write_bytes(run_fits(seed=30))
    assert call("ingest", *folder.glob("*.tar.gz"), "--workers", 0).code == 0
    assert call("ingest", path, "--camera", "NectarCAM2").code == 0
    return call


def test_ingest_reports_and_exits(call: Call, tmp_path: Path) -> None:
    good = write_run(tmp_path, 1)
    bad = tmp_path / "NectarCAMQM_DQM_Run2.tar.gz"
    bad.write_bytes(good.read_bytes()[:-9])
    result = call("ingest", good, bad)
    assert result.code == 1
    assert result.err == f"failed: {bad}: truncated gzip: the file ends too early\n"
    assert result.out.startswith("ingest: 1 stored, 1 failed of 2 in ")
    again = call("ingest", good)
    assert again.code == 0 and again.out.startswith("ingest: 1 already stored of 1 in ")
    assert again.err == ""


def test_ingest_refuses_and_forces(call: Call, tmp_path: Path) -> None:
    path = write_run(tmp_path, 1)
    assert call("ingest", path).code == 0
    write_run(tmp_path, 1, seed=1)
    refused = call("ingest", path)
    assert refused.code == 1
    assert refused.err.startswith(f"refused: {path}: NectarCAMQM run 1 is stored with other")
    forced = call("ingest", path, "--force")
    assert forced.code == 0 and forced.out.startswith("ingest: 1 replaced of 1")


def test_ingest_says_what_it_left_alone(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_run(folder, 1)
    (folder / "notes.txt").touch()
    (folder / "link").symlink_to(tmp_path)
    result = call("ingest", folder)
    assert result.code == 1
    assert result.err.startswith(f"failed: {folder / 'link'}: the folder was not looked into")
    assert result.out.startswith("ingest: 1 stored, 1 failed of 2 in ")
    assert result.out.endswith("; files not named like results files: 1\n")
    (folder / "link").unlink()
    assert call("ingest", folder).code == 0
    (folder / "NectarCAMQM_DQM_Run1.tar.gz").rename(folder / "other.tar.gz")
    nothing = call("ingest", folder)
    assert nothing.code == 66 and "not named like results files: 2" in nothing.err


def test_what_the_database_cannot_take_is_not_the_fault_of_the_file(
    stored: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_run(tmp_path, 3)
    bad = tmp_path / "NectarCAMQM_DQM_Run4.tar.gz"
    bad.touch()

    def full(*_: object, **__: object) -> None:
        raise WriteFailed("could not store run 3: No space left on device")

    monkeypatch.setattr("dqm_db.writer.Writer.store_run", full)
    result = stored("ingest", good, bad)
    assert result.code == 74
    assert f"not written: {good}: could not store run 3: No space left on device" in result.err
    assert f"failed: {bad}: is empty" in result.err
    assert result.out.startswith("ingest: 1 failed, 1 not written of 2 in ")
    again = stored("reparse", 1, "--force")
    assert again.code == 74 and "not written: NectarCAMQM run 1: " in again.err
    assert stored("ingest", bad).code == 1


def test_help_lists_the_documented_exit_codes(call: Call) -> None:
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    documented = {
        int(code)
        for row in re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE)
        for code in row.split(",")
    }
    for command in ("ingest", "runs", "get", "rm", "reparse"):
        _, _, text = call(command, "--help").out.partition("Exit codes:")
        listed = {int(code) for code in re.findall(r"^ +(\d+)  ", text, re.MULTILINE)}
        assert listed == documented - {70}  # of the demo


def test_ingest_of_nothing(call: Call, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (empty, tmp_path / "none.tar.gz"):
        result = call("ingest", path)
        assert result.code == 66 and str(path) in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest"],
        ["ingest", "a", "b", "--run", "4"],
        ["ingest", "a", "--workers", "-1"],
        ["reparse"],
        ["reparse", "4", "--all"],
        ["runs", "--json", "--csv"],
        ["get", "4", "X", "--archive"],
        ["get", "4", "--format", "csv"],
        ["get", "four"],
        ["rm"],
    ],
)
def test_usage_errors(call: Call, tmp_path: Path, arguments: list[str]) -> None:
    for name in ("a", "b"):
        Path(name).touch()
    assert call(*arguments).code == 2


def test_database_down(call: Call, tmp_path: Path) -> None:
    path = write_run(tmp_path, 1)
    result = call("ingest", path, "--db", "zeo://127.0.0.1:9")
    assert result.code == 69 and "127.0.0.1:9" in result.err
    assert call("runs").code == 69


def test_another_writer(stored: Call, tmp_path: Path, file_settings: DatabaseSettings) -> None:
    path = write_run(tmp_path, 1)
    with writer_lock(file_settings):
        for command in (["ingest", path], ["rm", 1, "--yes"], ["reparse", "--all"]):
            assert stored(*command).code == 75


def test_runs(stored: Call) -> None:
    rows = [json.loads(line) for line in stored("runs", "--json").out.splitlines()]
    assert [(row["camera"], row["run"]) for row in rows] == [
        ("NectarCAM2", 30),
        ("NectarCAM2", 2),
        ("NectarCAMQM", 2),
        ("NectarCAMQM", 1),
    ]
    assert rows[0]["events"] == 49 and rows[0]["start"] is None
    assert len(rows[0]["sha256"]) == 64 and rows[0]["ingested_at"].endswith("Z")
    table = list(csv.DictReader(io.StringIO(stored("runs", "--csv").out)))
    assert [row["run"] for row in table] == ["30", "2", "2", "1"]
    limited = stored("runs", "--json", "--limit", 1, "--camera", "NectarCAMQM").out
    assert json.loads(limited)["run"] == 2
    text = stored("runs").out.splitlines()
    assert len(text) == 6  # the headings take two lines
    assert text[2].split()[:5] == ["NectarCAM2", "30", "–", "BAD", "49"]
    assert stored("runs", "--camera", "None").code == 66


def test_get_the_original(stored: Call, tmp_path: Path) -> None:
    expected = run_fits(seed=1)
    assert stored("get", 1).code == 0
    path = Path("NectarCAM_Run1_Results.fits")
    assert path.read_bytes() == expected
    again = stored("get", 1)
    assert again.code == 73 and "--overwrite" in again.err
    path.write_bytes(b"")
    assert stored("get", 1, "--overwrite").code == 0
    assert path.read_bytes() == expected
    assert stored("get", 1, "-o", "-").raw == expected
    assert sorted(Path().iterdir()) == [path]
    assert stored("get", 1, "-o", "no/folder/x").code == 73


def test_get_the_archive(stored: Call) -> None:
    assert stored("get", 1, "--archive", "-o", "x.tar.gz").code == 0
    with tarfile.open("x.tar.gz") as archive:
        assert any(name.endswith("NectarCAM_Run1_Results.fits") for name in archive.getnames())
    assert Path("x.tar.gz").read_bytes() == build_run_archive("NectarCAMQM", 1, run_fits(1))
    bare = stored("get", 30, "--archive")
    assert bare.code == 66 and "did not come in an archive" in bare.err
    assert stored("get", 30, "-o", "-").raw == run_fits(seed=30)


def test_get_a_quantity(stored: Call) -> None:
    result = stored("get", 1, "camera-temperature-average")
    assert result.out.startswith("# camera: NectarCAMQM\n# run: 1\n")
    assert len([line for line in result.out.splitlines() if not line.startswith("#")]) == 1856
    assert stored("get", 1, "CAMERA-TEMPERATURE-AVERAGE", "--format", "fits").code == 0
    with fits.open("NectarCAMQM_Run1_CAMERA-TEMPERATURE-AVERAGE.fits") as file:
        assert file[1].header["RUN"] == 1 and len(file[1].data) == 1855


def test_get_what_is_not_there(stored: Call) -> None:
    unknown = stored("get", 1, "NONE")
    assert unknown.code == 66 and "--list" in unknown.err
    missing = stored("get", 1, "CAMERA-TEMPERATURE-TREND")
    assert missing.code == 66 and "temperature readings were not available" in missing.err
    assert stored("get", 99).code == 66
    assert stored("get", 1, "--camera", "NectarCAM2").code == 66


def test_a_run_of_two_cameras_needs_the_camera(stored: Call) -> None:
    for command in (["get", 2], ["rm", 2, "--yes"], ["reparse", 2]):
        result = stored(*command)
        assert result.code == 2
        assert "run 2 exists for NectarCAM2 and NectarCAMQM: say which with --camera" in result.err
    assert stored("rm", 2, "--yes", "--camera", "NectarCAM2").code == 0
    assert stored("get", 2).code == 0


def test_list(stored: Call) -> None:
    lines = stored("get", 1, "--list").out.splitlines()
    by_name = {line.split()[0]: line for line in lines}
    assert "1855×12" in by_name["WF-PHY-HIGH-GAIN"]
    assert "temperature readings were not available" in by_name["CAMERA-TEMPERATURE-TREND"]


def test_rm(stored: Call) -> None:
    assert stored("rm", 1, stdin="n\n").code == 1
    assert stored("get", 1, "--list").code == 0
    assert "deleted NectarCAMQM run 1" in stored("rm", 1, stdin="y\n").out
    assert stored("get", 1, "--list").code == 66
    assert stored("rm", 1, "--yes").code == 66
    assert stored("rm", 1, stdin="y\n").code == 66


def test_rm_keeps_nobody_from_writing_while_it_asks(
    stored: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "NectarCAMQM_DQM_Run3.tar.gz"
    new.write_bytes(build_run_archive("NectarCAMQM", 3, run_fits(3)))

    def answer(*_: object, **__: object) -> bool:
        assert stored("ingest", new).code == 0
        return True

    monkeypatch.setattr("click.confirm", answer)
    assert stored("rm", 1).code == 0
    rows = [json.loads(line) for line in stored("runs", "--json").out.splitlines()]
    assert [row["run"] for row in rows if row["camera"] == "NectarCAMQM"] == [3, 2]


def test_rm_deletes_only_what_was_asked_about(
    stored: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_run(tmp_path, 1, seed=77)

    def answer(*_: object, **__: object) -> bool:
        assert stored("ingest", other, "--force").code == 0
        return True

    monkeypatch.setattr("click.confirm", answer)
    result = stored("rm", 1)
    assert result.code == 1 and "replaced meanwhile" in result.err and str(other) in result.err
    assert stored("get", 1, "-o", "-").raw == run_fits(seed=77)


def test_reparse(stored: Call) -> None:
    assert stored("reparse", "--all").out.startswith("reparse: 4 already stored of 4")
    forced = stored("reparse", 1, 30, "--force")
    assert forced.code == 0 and forced.out.startswith("reparse: 2 replaced of 2")
    assert stored("get", 30, "-o", "-").raw == run_fits(seed=30)
    assert stored("reparse", 99).code == 66


def test_a_sample_there_and_back(call: Call, samples: Path) -> None:
    path = sample_path(samples, 8003)
    assert call("ingest", path).code == 0
    assert call("get", 8003, "-o", "-").raw == sample_fits(samples, 8003)
    assert call("get", 8003, "--archive", "-o", "-").raw == path.read_bytes()
