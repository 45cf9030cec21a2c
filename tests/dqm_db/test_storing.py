"""Storing, reading, replacing and deleting runs in a real FileStorage."""

import dataclasses

import numpy as np
import pytest
from synthetic_runs import MAP, TIMELINE, WAVEFORMS, a_run
from ZODB.Connection import Connection
from ZODB.POSException import ConflictError, StorageError

from dqm_db.content import Kind, Original, Quantity
from dqm_db.errors import NoDataYet, RunExists, RunNotFound, WriteFailed, WriterLocked
from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database
from dqm_db.writer import RETRIES, open_writer, writer_lock

CAMERA = "NectarCAMQM"


def assert_same_columns(stored, expected):
    assert list(stored) == list(expected)
    for name, array in expected.items():
        assert stored[name].dtype == array.dtype.newbyteorder("<")
        assert stored[name].tobytes() == array.tobytes()


def test_everything_comes_back_bit_for_bit(file_settings):
    content = a_run(6001)
    original = Original("tar", bytes(range(256)) * 50)
    with open_writer(file_settings) as writer:
        writer.store_run(content, original)
    with open_database(file_settings) as database, database.snapshot() as snapshot:
        assert snapshot.cameras() == (CAMERA,)
        for quantity in content.quantities:
            assert_same_columns(snapshot.columns(CAMERA, 6001, quantity.name), quantity.columns)
            assert_same_columns(snapshot.summary(CAMERA, 6001, quantity.name), quantity.summary)
        entries = snapshot.quantities(CAMERA, 6001)
        assert [(e.name, e.kind, e.unavailable) for e in entries] == [
            (q.name, q.kind, q.unavailable) for q in content.quantities
        ]
        header = snapshot.header(CAMERA, 6001)
        assert np.array_equal(header.absent_pixels, content.header.absent_pixels)
        assert dataclasses.replace(header, absent_pixels=None) == dataclasses.replace(
            content.header, absent_pixels=None
        )
        assert snapshot.statistics(CAMERA, 6001) == content.statistics
        assert snapshot.original(CAMERA, 6001) == original


def test_maps_share_one_matrix_with_histograms(file_settings):
    content = a_run()
    with open_writer(file_settings) as writer:
        writer.store_run(content, None)
    with open_database(file_settings) as database, database.snapshot() as snapshot:
        maps = snapshot.pixel_maps(CAMERA, 6001)
    values = maps.of(MAP)
    assert np.isnan(values[21:28]).all()
    counts, edges = maps.histogram(MAP)
    assert counts.sum() == np.isfinite(values).sum()
    assert (edges[0], edges[-1]) == (np.nanmin(values), np.nanmax(values))
    expected, _ = np.histogram(values[np.isfinite(values)], bins=edges)
    assert np.abs(counts - expected).sum() <= 2  # values on an edge may fall on either side
    with pytest.raises(KeyError):
        maps.of("NO-SUCH-MAP")


@pytest.mark.parametrize(
    "values", [np.full(1855, 7.0), np.full(1855, np.nan), np.full(1855, 1e300), np.zeros(1855)]
)
def test_maps_without_spread_have_histograms_too(file_settings, values):
    content = dataclasses.replace(
        a_run(), quantities=(Quantity(MAP, Kind.PIXEL_MAP, {"v": values}),)
    )
    with open_writer(file_settings) as writer:
        writer.store_run(content, None)
        with writer.database.snapshot() as snapshot:
            counts, edges = snapshot.pixel_maps(CAMERA, 6001).histogram(MAP)
    assert counts.sum() == np.isfinite(values).sum()
    assert (np.diff(edges) > 0).all()


def test_an_existing_run_is_replaced_only_on_demand(file_settings):
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(seed=1), None)
        with pytest.raises(RunExists, match="6001"):
            writer.store_run(a_run(seed=2), None)
        with writer.database.snapshot() as snapshot:
            assert_same_columns(
                snapshot.columns(CAMERA, 6001, WAVEFORMS), a_run(seed=1).quantities[2].columns
            )
        writer.store_run(a_run(seed=2), None, replace=True)
        with writer.database.snapshot() as snapshot:
            assert_same_columns(
                snapshot.columns(CAMERA, 6001, WAVEFORMS), a_run(seed=2).quantities[2].columns
            )
            assert len(snapshot.catalogue(CAMERA)) == 1
            assert snapshot.statistics(CAMERA, 6001) == a_run(seed=2).statistics


def test_a_deleted_run_is_gone_everywhere(file_settings):
    with open_writer(file_settings) as writer:
        for run in (1, 2, 300):
            writer.store_run(a_run(run), None)
        writer.delete_run(CAMERA, 2)
        with pytest.raises(RunNotFound):
            writer.delete_run(CAMERA, 2)
        with writer.database.snapshot() as snapshot:
            assert snapshot.runs(CAMERA) == [1, 300]
            assert snapshot.catalogue(CAMERA).columns["run"].tolist() == [1, 300]
            assert snapshot.trend(CAMERA, MAP, "mean")[0].tolist() == [1, 300]
            with pytest.raises(RunNotFound, match="no run 2"):
                snapshot.header(CAMERA, 2)


def test_a_camera_without_runs_is_forgotten(file_settings):
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(1, camera="Typo"), None)
        writer.delete_run("Typo", 1)
        with writer.database.snapshot() as snapshot:
            assert snapshot.cameras() == ()


def test_the_lock_does_not_depend_on_how_the_database_is_named(tmp_path):
    settings = [
        load(DatabaseSettings, db_url=url, lock_dir=tmp_path)
        for url in (
            "zeo://127.0.0.1:8100",
            "zeo://127.0.0.1:8100/",
            "zeo://127.0.0.1:9,127.0.0.1:8100",
        )
    ]
    for other in settings[1:]:
        with writer_lock(settings[0]), pytest.raises(WriterLocked), writer_lock(other):
            pass


def test_the_lock_is_the_same_in_every_kind_of_session(monkeypatch):
    monkeypatch.delenv("DQM_LOCK_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    in_a_login = load(DatabaseSettings).lock_dir
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert load(DatabaseSettings).lock_dir == in_a_login


def test_a_failed_store_changes_nothing(file_settings):
    twice = Quantity("X", Kind.GENERIC, {"x": np.arange(3)})
    broken = dataclasses.replace(a_run(2), quantities=(twice, twice))
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(1), None)
        before = writer.database.last_transaction()
        with pytest.raises(ValueError, match="twice"):
            writer.store_run(broken, None)
        with pytest.raises(ValueError, match="empty"):
            writer.store_run(a_run(3), Original("tar", b""))
        with pytest.raises(ValueError, match="between 1 and"):
            writer.store_run(a_run(2**31), None)
        assert writer.database.last_transaction() == before


def test_unknown_names_say_what_there_is(file_settings):
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(), None)
        with writer.database.snapshot() as snapshot:
            with pytest.raises(RunNotFound, match="NectarCAMQM"):
                snapshot.header("NectarCAM9", 6001)
            with pytest.raises(RunNotFound, match=TIMELINE):
                snapshot.columns(CAMERA, 6001, TIMELINE)
            with pytest.raises(RunNotFound, match="without its original"):
                snapshot.original(CAMERA, 6001)


def test_one_writer_at_a_time(file_settings):
    with (
        open_writer(file_settings),
        pytest.raises(WriterLocked, match="another command"),
        writer_lock(file_settings),
    ):
        pass
    with writer_lock(file_settings):
        pass


def test_a_new_database_has_a_root_but_no_cameras(file_settings):
    with open_writer(file_settings) as writer, writer.database.snapshot() as snapshot:
        assert snapshot.cameras() == ()


def test_an_empty_file_is_no_data_yet(file_settings, tmp_path):
    import ZODB
    from ZODB.FileStorage import FileStorage

    ZODB.DB(FileStorage(str(tmp_path / "Data.fs"))).close()
    with (
        open_database(file_settings) as database,
        pytest.raises(NoDataYet, match="no data yet"),
        database.snapshot(),
    ):
        pass


def failing_votes(monkeypatch, error, times):
    """Make the database refuse the next *times* transactions; returns the list of refusals."""
    refused = []
    vote = Connection.tpc_vote

    def tpc_vote(connection, transaction):
        if len(refused) < times:
            refused.append(transaction)
            raise error
        return vote(connection, transaction)

    monkeypatch.setattr(Connection, "tpc_vote", tpc_vote)
    return refused


def test_conflicts_are_retried(file_settings, monkeypatch):
    with open_writer(file_settings) as writer:
        refused = failing_votes(monkeypatch, ConflictError("busy"), RETRIES - 1)
        writer.store_run(a_run(), Original("tar", b"x"))
        assert len(refused) == RETRIES - 1
        with writer.database.snapshot() as snapshot:
            assert snapshot.runs(CAMERA) == [6001]
            assert snapshot.original(CAMERA, 6001).data == b"x"


@pytest.mark.parametrize(
    "error", [ConflictError("busy"), StorageError("disk full"), OSError(28, "No space left")]
)
def test_what_cannot_be_stored_leaves_no_trace(file_settings, monkeypatch, error):
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(1), None)
        with monkeypatch.context() as patch:
            failing_votes(patch, error, RETRIES)
            with pytest.raises(WriteFailed, match="store NectarCAMQM run 2"):
                writer.store_run(a_run(2), Original("tar", b"x"))
        with writer.database.snapshot() as snapshot:
            assert snapshot.runs(CAMERA) == [1]
        writer.store_run(a_run(2), None)
