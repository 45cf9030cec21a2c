"""What opening a database says when something is wrong with it."""

import dataclasses

import pytest
import transaction
import ZODB
from synthetic_runs import a_run
from ZODB.FileStorage import FileStorage

from dqm_db.errors import (
    ConfigurationError,
    DamagedDatabase,
    DatabaseUnavailable,
    ForeignDatabase,
    NewerDatabase,
    OlderDatabase,
    WriterLocked,
)
from dqm_db.migrations import migrate
from dqm_db.model import ROOT_KEY, SCHEMA, Root
from dqm_db.settings import DatabaseSettings, ServerSettings, load
from dqm_db.storage import open_database
from dqm_db.urls import file_url, identities, shown, zeo_addresses
from dqm_db.writer import open_writer


def write_root(tmp_path, **root):
    db = ZODB.DB(FileStorage(str(tmp_path / "Data.fs")))
    with db.transaction() as connection:
        connection.root().update(root)
    db.close()


def read(settings):
    with open_database(settings) as database, database.snapshot() as snapshot:
        return snapshot.cameras()


def test_a_missing_file(file_settings):
    with pytest.raises(DatabaseUnavailable, match="no such file"):
        open_database(file_settings)


def test_a_foreign_database_is_left_alone(file_settings, tmp_path):
    write_root(tmp_path, NectarCAMQM_Run6310=1)
    with pytest.raises(ForeignDatabase, match="NectarCAMQM_Run6310"):
        read(file_settings)
    with pytest.raises(ForeignDatabase), open_writer(file_settings):
        pass


def test_a_stranger_under_our_key(file_settings, tmp_path):
    write_root(tmp_path, **{ROOT_KEY: ["something else"]})
    with pytest.raises(ForeignDatabase, match="list"):
        read(file_settings)


def test_a_newer_schema(file_settings, tmp_path):
    root = Root(0.0)
    root.schema = SCHEMA + 1
    write_root(tmp_path, **{ROOT_KEY: root})
    with pytest.raises(NewerDatabase, match="upgrade"):
        read(file_settings)


def test_nobody_answers(tmp_path, free_port):
    settings = load(
        DatabaseSettings, db_url=f"zeo://127.0.0.1:{free_port}", db_wait=0.2, lock_dir=tmp_path
    )
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        open_database(settings)
    with open_database(settings, must_answer=False) as database:
        assert not database.is_connected()
        with pytest.raises(DatabaseUnavailable), database.snapshot():
            pass
    with pytest.raises(DatabaseUnavailable), open_writer(settings):
        pass


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("zeo://a:1", [("a", 1)]),
        ("zeo://a:1,b:65535/", [("a", 1), ("b", 65535)]),
        ("zeo://[::1]:8100", [("::1", 8100)]),
        ("zeo:///run/dqm/zeo.sock", [("/run/dqm/zeo.sock", 0)]),
    ],
)
def test_zeo_urls(url, addresses):
    assert zeo_addresses(url) == addresses


@pytest.mark.parametrize("url", ["zeo://", "zeo://a", "zeo://a:b", "zeo://a:0", "zeo://a:1,,"])
def test_unusable_zeo_urls(url):
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        zeo_addresses(url)


@pytest.mark.parametrize("url", ["zeo:///", "zeo:///a.sock,/b.sock", "zeo:///a.sock,b:1"])
def test_a_unix_socket_is_alone(url):
    with pytest.raises(ConfigurationError, match="UNIX socket is named alone"):
        zeo_addresses(url)


def test_options_of_a_zeo_url_are_refused_and_not_ignored():
    with pytest.raises(ConfigurationError, match="storage=2"):
        zeo_addresses("zeo://a:1?storage=2")


def test_one_database_has_one_identity(tmp_path):
    names = ("zeo://127.0.0.1:8100", "zeo://localhost:8100", "zeo://127.0.0.1:8100/")
    assert len({tuple(identities(name)) for name in names[::2]}) == 1
    assert identities("zeo://b.invalid:1,127.0.0.1:2") == ["127.0.0.1:2", "b.invalid:1"]
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert identities(f"zeo://{tmp_path}/link/zeo.sock") == [str(tmp_path / "real" / "zeo.sock")]
    assert identities(f"file://{tmp_path}/link/Data.fs?x=1") == identities(
        f"file://{tmp_path}/real/Data.fs"
    )


def test_passwords_are_not_shown():
    assert shown("postgresql://user:secret@host/db") == "postgresql://user:…@host/db"
    assert shown("zeo://127.0.0.1:8100") == "zeo://127.0.0.1:8100"
    text = "no 'postgresql://u:s3cr3t@h/x' and no mysql://h/x?user=u&password=s3cr3t&x=1"
    assert "s3cr3t" not in shown(text) and shown(text).endswith("password=…&x=1")


def test_errors_of_others_do_not_show_passwords(tmp_path):
    """zodburi repeats the whole URL; what it says reaches terminals, logs and pages."""
    settings = load(DatabaseSettings, db_url="postgresql://u:s3cr3t@h/x", lock_dir=tmp_path)
    with pytest.raises(ConfigurationError, match="RelStorage") as refused:
        open_database(settings)
    assert "s3cr3t" not in str(refused.value) and "postgresql://u:…@h/x" in str(refused.value)


def test_blobs_of_a_servers_volume_are_found_and_none_are_made_by_reading(tmp_path):
    (tmp_path / "filestorage").mkdir()
    (tmp_path / "blobstorage").mkdir()
    url = file_url(f"file://{tmp_path}/filestorage/Data.fs", read_only=True)
    assert f"blobstorage_dir={str(tmp_path).replace('/', '%2F')}%2Fblobstorage" in url
    assert "blobstorage_dir" not in file_url(f"file://{tmp_path}/Data.fs", read_only=True)
    assert "Data.fs.blobs" in file_url(f"file://{tmp_path}/Data.fs", read_only=False)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ZODB's own files
def test_a_file_that_is_no_database(file_settings, tmp_path):
    (tmp_path / "Data.fs").write_bytes(b"garbage " * 600)
    with pytest.raises(DamagedDatabase, match="not a ZODB file"):
        read(file_settings)
    with pytest.raises(DamagedDatabase), open_writer(file_settings):
        pass


def test_a_file_that_another_process_has_open(file_settings, tmp_path):
    other = FileStorage(str(tmp_path / "Data.fs"))
    try:
        with (
            pytest.raises(WriterLocked, match="open in another process"),
            open_writer(file_settings),
        ):
            pass
    finally:
        other.close()


def test_folders_that_cannot_be_made(file_settings, tmp_path):
    (tmp_path / "file").write_text("in the way")
    locks = file_settings.model_copy(update={"lock_dir": tmp_path / "file" / "locks"})
    with pytest.raises(ConfigurationError, match="DQM_LOCK_DIR"), open_writer(locks):
        pass
    data = file_settings.model_copy(update={"db_url": f"file://{tmp_path}/file/Data.fs"})
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"), open_writer(data):
        pass


def test_an_older_schema_is_not_read_as_todays(file_settings, tmp_path):
    root = Root(0.0)
    root.schema = SCHEMA - 1
    write_root(tmp_path, **{ROOT_KEY: root})
    with pytest.raises(OlderDatabase, match="migrates it"):
        read(file_settings)


def test_a_damaged_record_is_named(file_settings):
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(), None)
        with writer.database.connection() as connection:
            run = connection.root()[ROOT_KEY].cameras["NectarCAMQM"].runs[6001]
            run.maps.values = b"\x93\xa3<f8\x91\x03\xc4\x01x"
            connection.transaction_manager.commit()
        with (
            pytest.raises(DamagedDatabase, match="damaged"),
            writer.database.snapshot() as snapshot,
        ):
            snapshot.pixel_maps("NectarCAMQM", 6001)


def test_a_scheme_that_is_not_installed(file_settings):
    settings = file_settings.model_copy(update={"db_url": "carrier-pigeon://coop"})
    with pytest.raises(ConfigurationError, match="carrier-pigeon"):
        open_database(settings)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("DQM_DB_URL", "zeo://db:1")
    assert load(DatabaseSettings).db_url == "zeo://db:1"
    assert load(DatabaseSettings, db_url="zeo://other:2").db_url == "zeo://other:2"
    monkeypatch.setenv("DQM_KEEP_ALIVE", "soon")
    with pytest.raises(ConfigurationError, match="DQM_KEEP_ALIVE"):
        load(ServerSettings)


def test_migrations_run_one_step_at_a_time():
    root = Root(0.0)
    root.schema = 1
    seen = []

    def first(root):
        seen.append(1)
        root.schema = 2

    def second(root):  # needs two calls, as one that rewrites many records does
        seen.append(2)
        if seen.count(2) == 2:
            root.schema = 3

    steps = {1: first, 2: second}
    while migrate(root, steps, target=3):
        pass
    assert (root.schema, seen) == (3, [1, 2, 2])
    with pytest.raises(ForeignDatabase, match="schema 3"):
        migrate(root, steps, target=4)


def test_a_database_written_with_schema_1_reads(tmp_path, samples):
    """The stored fixture was written by the first release of schema 1 and never changes."""
    stored = tmp_path / "Data.fs"
    stored.write_bytes((samples / "schema-1.fs").read_bytes())
    settings = load(DatabaseSettings, db_url=f"file://{stored}", lock_dir=tmp_path)
    expected = a_run(6001)
    with open_writer(settings) as writer, writer.database.snapshot() as snapshot:
        header = snapshot.header("NectarCAMQM", 6001)
        assert dataclasses.replace(header, absent_pixels=None) == dataclasses.replace(
            expected.header, absent_pixels=None
        )
        for quantity in expected.quantities:
            stored_columns = snapshot.columns("NectarCAMQM", 6001, quantity.name)
            assert {k: v.tobytes() for k, v in stored_columns.items()} == {
                k: v.tobytes() for k, v in quantity.columns.items()
            }
        assert snapshot.statistics("NectarCAMQM", 6001) == expected.statistics
        assert snapshot.catalogue("NectarCAMQM").columns["run"].tolist() == [6001, 6002]


def test_only_a_few_classes_are_stored(file_settings, monkeypatch):
    """Records name only our own classes, BTrees and blobs, so nothing else may ever move."""
    import pickletools

    from dqm_db import pixel_folding, trends
    from dqm_db.content import Original

    monkeypatch.setattr(trends, "FOLD", 1)
    monkeypatch.setattr(pixel_folding.fold, "__defaults__", (1,))
    monkeypatch.setattr(pixel_folding.needs_folding, "__defaults__", (1,))
    with open_writer(file_settings) as writer:
        writer.store_run(a_run(), Original("tar", b"x"))
        with writer.database.connection() as connection:
            camera = connection.root()[ROOT_KEY].cameras["NectarCAMQM"]
            assert len(camera.trends.blocks) == len(camera.pixels.blocks) == 1
            assert len(camera.verdicts) == 1
        storage = writer.database._storage
        modules = set()
        for record in (r for t in storage.iterator() for r in t):
            strings = []
            for opcode, argument, _ in pickletools.genops(record.data):
                if isinstance(argument, str):
                    strings.append(argument)
                if opcode.name == "GLOBAL":
                    modules.add(argument.split()[0])
                elif opcode.name == "STACK_GLOBAL":
                    modules.add(strings[-2])
                elif opcode.name == "STOP":
                    break
    assert {module.partition(".")[0] for module in modules} <= {
        "dqm_db", "BTrees", "persistent", "ZODB",
    }  # fmt: skip
    assert {module for module in modules if module.startswith("dqm_db")} == {"dqm_db.model"}
    transaction.abort()
