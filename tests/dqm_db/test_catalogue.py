import numpy as np
from BTrees.IOBTree import IOBTree
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import a_run

from dqm_db.catalogue import CHUNK, COLUMNS, drop_row, put_row, read_catalogue
from dqm_db.content import EventCounts, RunTimes
from dqm_db.model import CatalogueChunk

HEADER = a_run().header


def header(run, **changes):
    import dataclasses

    return dataclasses.replace(HEADER, run=run, **changes)


@given(st.lists(st.tuples(st.integers(1, 3 * CHUNK), st.booleans()), max_size=40))
def test_rows_follow_inserts_and_deletes(steps):
    chunks, expected = IOBTree(), set()
    for run, insert in steps:
        if insert:
            put_row(chunks, header(run), None)
            expected.add(run)
        else:
            drop_row(chunks, run)
            expected.discard(run)
    catalogue = read_catalogue(chunks)
    assert catalogue.columns["run"].tolist() == sorted(expected)
    assert len(chunks) == len({run // CHUNK for run in expected})
    for run in expected:
        assert catalogue.columns["run"][catalogue.position(run)] == run
    assert catalogue.position(10**6) is None


def test_values_and_their_absence():
    chunks = IOBTree()
    put_row(chunks, header(7), None)
    put_row(chunks, header(8, times=RunTimes(), events=EventCounts(), bad_pixels=None), None)
    columns = read_catalogue(chunks).columns
    assert columns["events"].tolist() == [298, -1]
    assert columns["start"][0] == HEADER.times.run_start
    assert np.isnan(columns["start"][1])
    assert columns["absent_modules"].tolist() == [1, 1]
    assert columns["bad_pixels"].tolist() == [3, -1]
    assert columns["adler32"].tolist() == [0xFFEE0011] * 2
    assert columns["sha256"][0].decode() == HEADER.provenance.results_sha256
    assert columns["verdict"].tolist() == [-1, -1]


def test_a_column_that_an_older_release_did_not_write_reads_as_unknown():
    from dqm_db.codec import pack_record

    chunks = IOBTree({0: CatalogueChunk(pack_record({"run": np.array([5], "<i8")}))})
    columns = read_catalogue(chunks).columns
    assert set(columns) == set(COLUMNS)
    assert columns["verdict"].tolist() == [-1]
    put_row(chunks, header(6), None)
    assert read_catalogue(chunks).columns["run"].tolist() == [5, 6]
