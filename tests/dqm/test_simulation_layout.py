"""Simulated results files have the layout of the samples, card for card."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from dqm.simulation import condition_named, simulate_run

DATA = Path(__file__).parent.parent / "data"
START = 1746145800
# Sample run, the condition that makes its like, its events.
SAMPLES = [(6001, "complete", 300), (8001, "absent_modules", 200), (8003, "no_pedestals", 200)]
# Events are of random types, so the lengths of these tables are those of each run's own.
RANDOM_LENGTHS = ("TRIGGER-EVENTS-PHY", "TRIGGER-EVENTS-PED", "TRIGGER-EVENTS-OTHERS")
BLOCK = 2880


def unpacked(path: Path) -> tuple[list[tuple[str, str]], bytes]:
    with tarfile.open(path) as tar:
        members = tar.getmembers()
        file = tar.extractfile(members[-1])
        assert file is not None
        return [(member.name, member.type) for member in members], file.read()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, Path]]:
    directory = tmp_path_factory.mktemp("runs")
    return {
        run: (
            DATA / f"NectarCAMQM_DQM_Run{run}.tar.gz",
            simulate_run(
                directory,
                "NectarCAMQM",
                run,
                start=START,
                events=events,
                condition=condition_named(condition),
            ),
        )
        for run, condition, events in SAMPLES
    }


def cards(header: fits.Header, varying: bool) -> list[str]:
    return [str(c) for c in header.cards if not (varying and c.keyword == "NAXIS2")]


@pytest.mark.parametrize("run", [sample[0] for sample in SAMPLES])
class TestAgainstSample:
    def test_archive_has_the_same_name_and_members(self, pairs, run):
        sample, simulated = pairs[run]
        assert simulated.name == sample.name
        assert unpacked(simulated)[0] == unpacked(sample)[0]

    def test_every_header_card_is_the_same(self, pairs, run):
        sample, simulated = (fits.open(io.BytesIO(unpacked(path)[1])) for path in pairs[run])
        assert [hdu.name for hdu in simulated] == [hdu.name for hdu in sample]
        for theirs, ours in zip(sample, simulated, strict=True):
            varying = theirs.name in RANDOM_LENGTHS
            assert cards(ours.header, varying) == cards(theirs.header, varying)

    def test_types_and_shapes_are_the_same(self, pairs, run):
        sample, simulated = (fits.open(io.BytesIO(unpacked(path)[1])) for path in pairs[run])
        for theirs, ours in zip(sample[1:], simulated[1:], strict=True):
            assert type(ours) is type(theirs)
            assert ours.data.dtype == theirs.data.dtype
            if theirs.name not in RANDOM_LENGTHS:
                assert ours.data.shape == theirs.data.shape

    def test_float32_where_the_sample_has_float32(self, pairs, run):
        sample, simulated = (fits.open(io.BytesIO(unpacked(path)[1])) for path in pairs[run])
        for theirs, ours in zip(sample[1:], simulated[1:], strict=True):
            if theirs.name.startswith(("WF-", "CAMERA-AVERAGE-")):
                for hdu in (theirs, ours):
                    name = None if hdu.is_image else hdu.columns[0].name
                    values = np.asarray(hdu.data if name is None else hdu.data[name])
                    assert np.array_equal(values, values.astype(np.float32))

    def test_sizes_are_close(self, pairs, run):
        sample, simulated = pairs[run]
        theirs, ours = len(unpacked(sample)[1]), len(unpacked(simulated)[1])
        assert abs(ours - theirs) <= len(RANDOM_LENGTHS) * BLOCK
        assert simulated.stat().st_size == pytest.approx(sample.stat().st_size, rel=0.10)


def test_complete_run_has_exactly_the_size_of_the_sample(pairs):
    results = unpacked(pairs[6001][1])[1]
    assert len(results) == 4_345_920
    assert len(fits.open(io.BytesIO(results))) == 66


def test_gzip_header_names_the_tar_and_no_moment_of_writing(pairs):
    packed = pairs[6001][1].read_bytes()
    assert packed[10:].startswith(b"NectarCAMQM_DQM_Run6001.tar\0")
    written = int.from_bytes(packed[4:8], "little")
    assert START < written < START + 86400


def test_same_arguments_same_bytes(tmp_path, pairs):
    again = simulate_run(
        tmp_path,
        "NectarCAMQM",
        6001,
        start=START,
        events=300,
        condition=condition_named("complete"),
    )
    assert again.read_bytes() == pairs[6001][1].read_bytes()


def test_no_unfinished_file_stays(tmp_path):
    (tmp_path / "NectarCAMQM_DQM_Run1.tar.gz").mkdir()  # where the finished file cannot be put
    with pytest.raises(OSError, match="NectarCAMQM_DQM_Run1"):
        simulate_run(tmp_path, "NectarCAMQM", 1, start=START, events=1)
    assert [path.name for path in tmp_path.iterdir()] == ["NectarCAMQM_DQM_Run1.tar.gz"]
