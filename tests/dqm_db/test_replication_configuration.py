"""Addresses, `zeo.conf`, and the section that ZConfig makes of it."""

from __future__ import annotations

import logging
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click
import pytest
import tls_hosts
import ZConfig
import ZEO.runzeo
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from ZODB.config import storageFromString

from dqm_db.errors import ConfigurationError, DQMError
from dqm_db.replication.addresses import Address, listen
from dqm_db.replication.commands import primary, replica
from dqm_db.replication.configuration import configuration, write_configuration
from dqm_db.replication.errors import AddressInUse
from dqm_db.replication.local_server import LocalServer
from dqm_db.settings import ServerSettings, load
from dqm_db.tls import TLSFiles
from dqm_db.volume.errors import DataUnwritable
from dqm_db.volume.layout import Volume


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return load(ServerSettings, data_dir=tmp_path / "volume")


@pytest.fixture(autouse=True)
def nothing_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections are made in this process here, which is no server."""
    monkeypatch.setattr("dqm_db.replication.adapter.install", lambda: None)
    monkeypatch.setattr("dqm_db.replication.zeo_server.install", lambda: None)
    monkeypatch.setattr("dqm_db.replication.zeo_server.leave_conflicts_to_clients", lambda _: None)


@pytest.fixture(autouse=True)
def log_restored() -> Iterator[None]:
    """Reading what servers are to log makes this process log it, too."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.setLevel(level)


@pytest.fixture
def signals_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8100", Address("127.0.0.1", 8100)),
        (" host.example.org:1 ", Address("host.example.org", 1)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert Address.parse(text, "here") == address
    assert Address.read(text, "here") == address
    assert Address.parse(str(address), "here") == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        ":8100",
        "8100",
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "::1:8100",
        "a b:1",
        "host:1e3",
        "/run/dqm/zeo.sock",
        "/run/dqm/zeo.sock:1",
        "host:٣",
        "host\n%import os:1",
        "/run/zeo.sock",
        "zeo://host:1",
    ],
)
def test_unusable_addresses_are_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DQM_ZEO_ADDRESS: .* is not HOST:PORT"):
        Address.parse(text, "DQM_ZEO_ADDRESS")


@given(st.text())
def test_an_accepted_address_stays_on_its_line(text: str) -> None:
    try:
        address = Address.parse(text, "here")
    except ConfigurationError:
        return
    assert len(str(address).splitlines()) == 1
    assert Address.parse(str(address), "here") == address


def test_loopback() -> None:
    assert all(Address(host, 1).is_loopback() for host in ("localhost", "127.0.0.2", "::1"))
    assert not any(Address(host, 1).is_loopback() for host in ("0.0.0.0", "10.0.0.1", "::"))
    assert Address.of_socket("/run/dqm/zeo.sock").is_loopback()


def test_what_is_shown_of_a_unix_socket_is_read() -> None:
    address = Address.of_socket("/run/dqm/zeo.sock")
    assert Address.read(str(address), "here") == address


def test_inherited_sockets_stand_in_zeo_conf_for_commands_of_this_host(
    settings: ServerSettings,
) -> None:
    path = Address.of_socket("/run/dqm/it is $here.sock")
    replicas = Address("127.0.0.1", 5050)
    text = configuration(settings, clients=path, replicas=replicas)
    options = ZEO.runzeo.ZEOOptions()
    options.realize(["-C", str(write_configuration(settings, text))])
    assert (options.family, options.address) == (socket.AF_UNIX, path.host)
    server = LocalServer.of(Volume(settings.data_dir))
    assert (server.address, server.feeds_at) == (path, replicas)


def test_a_source_cannot_be_an_inherited_socket(settings: ServerSettings) -> None:
    with pytest.raises(ConfigurationError, match=r"replicas 127\.0\.0\.1:5000, primary"):
        configuration(settings, source="127.0.0.1:5000", replicas=Address("127.0.0.1", 5000))


def test_listening_where_another_does() -> None:
    with listen(Address("127.0.0.1", _free()), "here") as listener:
        assert not listener.getblocking()
        taken = Address(*listener.getsockname())
        with pytest.raises(AddressInUse, match=f"here: another process listens at {taken}"):
            listen(taken, "here")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_listening_at_a_host_that_is_not_ours(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"here: "):
        listen(Address(host, _free()), "here")


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def options(path: Path) -> ZEO.runzeo.ZEOOptions:
    """What `runzeo -C` reads from the file."""
    found = ZEO.runzeo.ZEOOptions()
    found.realize(["-C", str(path)])
    return found


def test_a_primary(settings: ServerSettings) -> None:
    read = options(write_configuration(settings, configuration(settings)))
    assert read.address == ("127.0.0.1", 8100)
    assert read.msgpack is True
    assert read.client_conflict_resolution is True
    assert read.invalidation_queue_size == 1000
    assert read.transaction_timeout == 120
    [section] = read.storages
    assert section.name == "1"
    assert section.replicate_to == ("127.0.0.1", 5000)
    assert section.replicate_from is None
    files = section.file_storage.config
    assert files.path == str(Volume(settings.data_dir).data_file)
    assert files.blob_dir == str(Volume(settings.data_dir).blob_dir)
    assert files.pack_keep_old is False


def test_a_replica(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQM_KEEP_ALIVE", "7.5")
    settings = load(ServerSettings, data_dir=settings.data_dir, reconnect_delay=0.25)
    text = configuration(settings, source="[2001:db8::1]:5000")
    [section] = options(write_configuration(settings, text)).storages
    assert section.replicate_to is None
    assert section.replicate_from == ("2001:db8::1", 5000)
    assert (section.reconnect_delay, section.keep_alive) == (0.25, 7.5)


def test_a_link_of_a_chain(settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQM_ZRS_ADDRESS", "127.0.0.1:5001")
    settings = load(ServerSettings, data_dir=settings.data_dir)
    text = configuration(settings, source="primary:5000")
    [section] = options(write_configuration(settings, text)).storages
    assert section.replicate_to == ("127.0.0.1", 5001)
    assert section.replicate_from == ("primary", 5000)


def test_tls_for_clients_and_replicas(settings: ServerSettings, tmp_path: Path) -> None:
    authority = tls_hosts.new_authority(tmp_path / "the ca $")
    files = TLSFiles.of(tls_hosts.settings(tls_hosts.host(authority, "one")))
    assert files is not None
    read = options(write_configuration(settings, configuration(settings, tls=files)))
    assert read.ssl.verify_mode is ssl.CERT_REQUIRED
    assert read.ssl.verify_flags & ssl.VERIFY_X509_STRICT
    assert read.ssl.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(read.ssl.get_ca_certs()) == 1
    [section] = read.storages
    assert section.tls == files
    plain = options(write_configuration(settings, configuration(settings)))
    assert plain.ssl is None
    assert plain.storages[0].tls is None


@pytest.mark.parametrize(("seconds", "timeout"), [(0.2, 1), (1.5, 2), (0, None)])
def test_the_timeout_is_in_whole_seconds(
    settings: ServerSettings, seconds: float, timeout: int | None
) -> None:
    settings = load(ServerSettings, data_dir=settings.data_dir, transaction_timeout=seconds)
    read = options(write_configuration(settings, configuration(settings)))
    assert read.transaction_timeout == timeout


@pytest.mark.parametrize("name", ["with space", "a$b", "$HOME", "été #1", "<x>", "%import os"])
def test_odd_folders(tmp_path: Path, name: str) -> None:
    settings = load(ServerSettings, data_dir=tmp_path / name)
    [section] = options(write_configuration(settings, configuration(settings))).storages
    assert section.file_storage.config.path == str(tmp_path / name / "filestorage" / "Data.fs")


@pytest.mark.parametrize("name", ["line\nbreak", "tab\tbed", "end\r"])
def test_folders_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    settings = load(ServerSettings, data_dir=tmp_path / name)
    with pytest.raises(ConfigurationError, match=r"cannot be written in a zeo.conf"):
        configuration(settings)


def test_addresses_must_differ(settings: ServerSettings) -> None:
    link = load(ServerSettings, data_dir=settings.data_dir, zrs_address="127.0.0.1:5001")
    with pytest.raises(ConfigurationError, match=r"each address must be another one"):
        configuration(link, source="127.0.0.1:5001")
    with pytest.raises(ConfigurationError, match=r"clients 127.0.0.1:8100, primary 127.0.0.1:8100"):
        configuration(settings, source="127.0.0.1:8100")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = load(ServerSettings, data_dir=tmp_path / "file" / "volume")
    with pytest.raises(DataUnwritable, match=r"cannot use .*file.*Not a directory") as refused:
        write_configuration(settings, configuration(settings))
    assert refused.value.exit_code == 73


def section(tmp_path: Path, keys: str, blobs: str = "blob-dir blobs") -> str:
    return (
        f"%import dqm_db.replication\n<replicated>\n{keys}\n<filestorage>\n"
        f"path {tmp_path}/Data.fs\n{blobs.replace('blobs', f'{tmp_path}/blobs')}\n"
        "</filestorage>\n</replicated>\n"
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("", "needs replicate-to, replicate-from or both"),
        ("replicate-to /run/zrs.sock", "replicate-to needs HOST:PORT"),
        ("replicate-from host", "replicate-from needs HOST:PORT"),
        ("replicate-to h:1\nreplicate-from h:1", "replicate-from h:1 would follow itself"),
        ("replicate-to h:1\ntls-ca /ca.pem", "needs tls-ca, tls-certificate and tls-key, or none"),
    ],
)
def test_sections_that_make_no_sense(tmp_path: Path, keys: str, message: str) -> None:
    with pytest.raises(ZConfig.ConfigurationError, match=message):
        storageFromString(section(tmp_path, keys))


def test_a_file_storage_without_blobs_is_refused(tmp_path: Path) -> None:
    text = section(tmp_path, f"replicate-to 127.0.0.1:{_free()}", blobs="")
    for _ in range(2):  # the first left no lock behind
        with pytest.raises(ValueError, match=r"needs a <filestorage> with a blob-dir"):
            storageFromString(text)


def test_a_busy_port_leaves_no_lock_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        text = section(tmp_path, f"replicate-to 127.0.0.1:{occupied.getsockname()[1]}")
        for _ in range(2):
            with pytest.raises(AddressInUse, match=r"replicate-to: another process listens"):
                storageFromString(text)


class Served(Exception):
    """Stands for the server that would run now."""


@pytest.mark.usefixtures("signals_restored")
@pytest.mark.parametrize(
    ("command", "arguments", "follows", "feeds_at"),
    [
        (primary, [], None, 5001),
        (replica, [], ("primary", 5000), 5001),
        (replica, ["--from", "other:7"], ("other", 7), 5001),
        (replica, ["--replication-address", "127.0.0.1:5002"], ("primary", 5000), 5002),
    ],
)
def test_both_commands_heed_the_variables(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: click.Command,
    arguments: list[str],
    follows: tuple[str, int] | None,
    feeds_at: int,
) -> None:
    monkeypatch.setenv("DQM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DQM_ZEO_ADDRESS", f"127.0.0.1:{_free()}")
    monkeypatch.setenv("DQM_ZRS_ADDRESS", "127.0.0.1:5001")
    monkeypatch.setenv("DQM_PRIMARY", "primary:5000")
    served: list[Path] = []

    def serve(path: Path, clients: list[object], replicas: list[object]) -> NoReturn:
        assert not clients
        assert not replicas
        served.append(path)
        raise Served

    monkeypatch.setattr("dqm_db.replication.server.serve", serve)
    ended = CliRunner().invoke(command, arguments)
    assert isinstance(ended.exception, Served), ended.exception
    [section] = options(served[0]).storages
    assert section.replicate_from == follows
    assert section.replicate_to == ("127.0.0.1", feeds_at)


@pytest.mark.usefixtures("signals_restored")
@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (primary, ["--address", "nonsense"], "address: 'nonsense' is not HOST:PORT"),
        (primary, ["--replication-address", "x:0"], "replication address: 'x:0' is not"),
        (replica, [], "--from HOST:PORT, or DQM_PRIMARY"),
        (replica, ["--from", "x"], "address of the primary: 'x' is not HOST:PORT"),
        (replica, ["--from", "h:1", "--address", "192.0.2.1:1"], "cannot listen at 192.0.2.1:1"),
        (primary, ["--replication-address", "10.8.0.1:5"], "10.8.0.1:5 is not loopback: without"),
    ],
)
def test_unusable_options_end_with_78(
    tmp_path: Path, command: click.Command, arguments: list[str], message: str
) -> None:
    arguments = [*arguments, "--data-dir", str(tmp_path / "volume")]
    ended = CliRunner().invoke(command, arguments)
    assert isinstance(ended.exception, DQMError)
    assert ended.exception.exit_code == 78
    assert message in str(ended.exception)
    assert not (tmp_path / "volume").exists()


@pytest.mark.usefixtures("signals_restored")
def test_unusable_certificates_end_with_78(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = tls_hosts.new_authority(tmp_path / "ca")
    for name, path in tls_hosts.variables(tls_hosts.expired(authority, "old")).items():
        monkeypatch.setenv(name, path)
    arguments = ["--data-dir", str(tmp_path / "volume"), "--address", f"127.0.0.1:{_free()}"]
    ended = CliRunner().invoke(primary, arguments)
    assert isinstance(ended.exception, ConfigurationError)
    assert "cert.pem has expired" in str(ended.exception)
    assert not (tmp_path / "volume").exists()


@pytest.mark.usefixtures("signals_restored")
def test_a_second_signal_does_not_interrupt_the_closing() -> None:
    from dqm_db.replication.server import stop

    with pytest.raises(SystemExit) as ended:
        stop(signal.SIGTERM, None)
    assert ended.value.code == 0
    for number in (signal.SIGTERM, signal.SIGINT):
        assert signal.getsignal(number) is signal.SIG_IGN
