"""The files of TLS, and what is said when it fails."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import logging
import os
import select
import socket
import ssl
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tls_hosts
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from dqm_db import tls
from dqm_db.authority import Authority
from dqm_db.errors import ConfigurationError, DatabaseUnavailable
from dqm_db.replication.refusals import Refusals
from dqm_db.server_answers import ask_status
from dqm_db.settings import SystemSettings, load
from dqm_db.tls_fault import fault_of_server

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return tls_hosts.new_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    return tls_hosts.new_authority(tmp_path / "ca")


def test_without_tls() -> None:
    plain = load(SystemSettings)
    assert tls.client_context(plain) is None
    assert tls.server_context(plain) is None


@pytest.mark.parametrize("missing", ["DQM_TLS_CA", "DQM_TLS_CERT", "DQM_TLS_KEY"])
def test_all_three_files_or_none(
    own: Authority, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, path in tls_hosts.variables(tls_hosts.host(own, "one")).items():
        if name != missing:
            monkeypatch.setenv(name, path)
    with pytest.raises(ConfigurationError, match=f"all three: {missing} not set"):
        tls.client_context(load(SystemSettings))


def test_both_contexts_verify(own: Authority) -> None:
    settings = tls_hosts.settings(tls_hosts.host(own, "one"))
    for context in (tls.client_context(settings), tls.server_context(settings)):
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert len(context.get_ca_certs()) == 1  # none of the system
    client = tls.client_context(settings)
    assert client is not None
    assert client.check_hostname


def test_a_missing_or_unreadable_file_is_named(own: Authority) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        folder = tls_hosts.host(own, f"host-of-{name}")
        path = folder / name
        path.write_text("nonsense")
        with pytest.raises(ConfigurationError, match=f"{path} holds no"):
            tls.server_context(tls_hosts.settings(folder))
        path.unlink()
        with pytest.raises(ConfigurationError, match=f"cannot read .*{path}"):
            tls.server_context(tls_hosts.settings(folder))


def test_a_key_with_a_password(own: Authority) -> None:
    folder = tls_hosts.host(own, "one")
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / "key.pem").write_bytes(locked)
    with pytest.raises(ConfigurationError, match="without password"):
        tls.client_context(tls_hosts.settings(folder))


def test_files_that_do_not_belong_together(own: Authority, tmp_path: Path) -> None:
    one, two = tls_hosts.host(own, "one"), tls_hosts.host(own, "two")
    good = tls_hosts.settings(one)
    with pytest.raises(ConfigurationError, match=r"key\.pem is not the key of the certificate"):
        tls.client_context(good.model_copy(update={"tls_key": two / "key.pem"}))
    stranger = tls_hosts.new_authority(tmp_path / "other").certificate_file
    with pytest.raises(ConfigurationError, match=f"was not issued by the CA in {stranger}"):
        tls.client_context(good.model_copy(update={"tls_ca": stranger}))
    with pytest.raises(ConfigurationError, match="is not the certificate of a CA"):
        tls.client_context(good.model_copy(update={"tls_ca": two / "cert.pem"}))


def test_several_authorities_while_one_replaces_the_other(own: Authority, tmp_path: Path) -> None:
    folder = tls_hosts.host(own, "one")
    other = tls_hosts.new_authority(tmp_path / "other").certificate_file
    both = other.read_bytes() + (folder / "ca.pem").read_bytes()
    (folder / "ca.pem").write_bytes(both)
    context = tls.client_context(tls_hosts.settings(folder))
    assert context is not None
    assert len(context.get_ca_certs()) == 2


def test_certificates_that_are_not_valid_now(own: Authority) -> None:
    old = tls_hosts.settings(tls_hosts.expired(own, "old"))
    with pytest.raises(ConfigurationError, match=r"cert\.pem has expired on .* renew it with"):
        tls.client_context(old)
    early = tls_hosts.changed(own, tls_hosts.host(own, "early"), begins=dt.timedelta(days=1))
    with pytest.raises(ConfigurationError, match=r"is not valid before .* is the clock"):
        tls.client_context(tls_hosts.settings(early))


def test_a_certificate_must_be_for_both_directions(own: Authority) -> None:
    half = tls_hosts.changed(
        own, tls_hosts.host(own, "half"), usages=[ExtendedKeyUsageOID.SERVER_AUTH]
    )
    with pytest.raises(ConfigurationError, match="must be for servers and clients"):
        tls.client_context(tls_hosts.settings(half))


@pytest.mark.parametrize(
    ("days", "words"), [(29, "expires on"), (-1, "has expired on"), (31, None)]
)
def test_logs_warn_a_month_before_the_end(
    own: Authority, caplog: pytest.LogCaptureFixture, days: int, words: str | None
) -> None:
    folder = tls_hosts.changed(
        own, tls_hosts.host(own, "one"), expires=dt.timedelta(days=days, hours=1)
    )
    files = tls.TLSFiles.of(tls_hosts.settings(folder))
    assert files is not None
    with caplog.at_level(logging.WARNING):
        tls.warn_about(files)
    told = [record.getMessage() for record in caplog.records]
    if words is None:
        assert told == []
    else:
        [line] = told
        assert str(folder / "cert.pem") in line
        assert words in line


def test_of_several_cas_that_of_the_host_counts(own: Authority, tmp_path: Path) -> None:
    folder = tls_hosts.host(own, "one")
    files = tls.TLSFiles.of(tls_hosts.settings(folder))
    assert files is not None
    old, before = own.certificate_file.read_bytes(), files.expires()[files.ca]
    renewed = own.renew(400)
    other = Authority(tmp_path / "other")
    other.create("another CA", 5)  # of hosts that have not changed over
    files.ca.write_bytes(other.certificate_file.read_bytes() + old)
    assert files.expires()[files.ca] == before
    files.ca.write_bytes(own.certificate_file.read_bytes() + old)
    assert files.expires()[files.ca] == renewed.expires


def test_a_server_warns_of_what_it_has_loaded(
    own: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tls_hosts.changed(own, tls_hosts.host(own, "one"))
    files = tls.TLSFiles.of(tls_hosts.settings(folder))
    assert files is not None
    loaded = files.expires()
    own.issue(["one"], 90, renew=True)
    tls.warn_about(files)
    assert caplog.records == []
    tls.warn_about(files, loaded)
    assert "cert.pem expires on" in caplog.text


@pytest.mark.parametrize(
    ("mode", "owner", "group", "warns"),
    [
        (0o640, 0, 900, False),  # as it is deployed: root:nectarcam
        (0o640, 900, 900, False),  # the service's own
        (0o600, 900, 100, False),
        (0o640, 900, 100, True),
    ],
)
def test_logs_warn_of_a_key_that_a_strange_group_can_read(
    own: Authority,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    owner: int,
    group: int,
    warns: bool,
) -> None:
    files = tls.TLSFiles.of(tls_hosts.settings(tls_hosts.host(own, "one")))
    assert files is not None
    told = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    real, key = Path.stat, files.key
    monkeypatch.setattr(
        Path, "stat", lambda path, **more: told if path == key else real(path, **more)
    )
    monkeypatch.setattr(os, "getegid", lambda: 900)
    monkeypatch.setattr(os, "getgroups", lambda: [900])
    with caplog.at_level(logging.WARNING):
        tls.warn_about(files, {})
    assert ("group 100, in which this service is not, can read" in caplog.text) is warns
    assert bool(caplog.records) is warns


def test_logs_warn_of_a_key_that_everybody_can_read(
    own: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tls_hosts.host(own, "one")
    files = tls.TLSFiles.of(tls_hosts.settings(folder))
    assert files is not None
    tls.warn_about(files)
    assert caplog.records == []
    files.key.chmod(0o644)
    tls.warn_about(files)
    assert f"everybody can read the private key {files.key}" in caplog.text


def test_refusals_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals("the client")
    for port in range(3):
        for host in ("10.8.0.1", "10.8.0.2"):
            for reason in ("it has no TLS", "it is silent"):
                refusals.log(host, port, reason)
    assert len(caplog.records) == 4
    assert "TLS with the client at 10.8.0.2:0 failed: it is silent" in caplog.text


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does *serve* with whoever comes; its port."""
    listener = socket.create_server((LOOPBACK, 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed
                return
            with connection:
                serve(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)


@contextmanager
def answering(context: ssl.SSLContext | None, greeting: bytes) -> Iterator[int]:
    """A server with *context* that greets whoever comes; its port."""

    def serve(connection: socket.socket) -> None:
        try:
            connection.settimeout(10)
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                connection.sendall(greeting)
                connection.recv(100)
        except OSError:
            return  # what the client says of it is what is looked at

    with listening(serve) as port:
        yield port


GREETING = b"\x00\x00\x00\x02M5"


def told(server: Path | None, client: Path | None, host: str = LOOPBACK) -> tuple[str | None, str]:
    """What `fault_of_server` and `ask_status` say, for the folders of both sides."""
    serving = None if server is None else unchecked(server, ssl.PROTOCOL_TLS_SERVER)
    asking = None if client is None else unchecked(client, ssl.PROTOCOL_TLS_CLIENT)
    with answering(serving, GREETING) as port:
        fault = fault_of_server(host, port, asking, 10)
        with pytest.raises(DatabaseUnavailable) as refused:
            asyncio.run(ask_status(host, port, 10, asking))
    return fault, str(refused.value)


def unchecked(folder: Path, protocol: int) -> ssl.SSLContext:
    """A context that our own check would refuse, too; without certificate if there is none."""
    context = ssl.SSLContext(protocol)
    context.load_verify_locations(folder / "ca.pem")
    if (folder / "cert.pem").exists():
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_nothing_is_wrong_with_a_good_connection(authority: Authority) -> None:
    one, two = tls_hosts.host(authority, "good-1"), tls_hosts.host(authority, "good-2")
    fault, _ = told(one, two)
    assert fault is None
    fault, _ = told(None, None)
    assert fault is None


def test_one_side_without_tls(authority: Authority) -> None:
    folder = tls_hosts.host(authority, "one-side")
    for said in told(None, folder):
        assert said is not None
        assert "it does not speak TLS: set DQM_TLS_CA" in said
    for said in told(folder, None):
        assert said is not None
        assert f"set {tls.VARIABLES}" in said
        assert "wants TLS" in said


def test_certificates_that_the_client_refuses(authority: Authority, tmp_path: Path) -> None:
    folder = tls_hosts.host(authority, "client")
    other = tls_hosts.host(tls_hosts.new_authority(tmp_path / "other"), "server")
    for said in told(other, folder):
        assert said is not None
        assert "not from our CA" in said
    named = tls_hosts.changed(authority, tls_hosts.host(authority, "named"), names=["elsewhere"])
    for said in told(named, folder) + told(named, folder, "localhost"):
        assert said is not None
        assert "certificate is for other names" in said
    for said in told(tls_hosts.expired(authority, "expired"), folder):
        assert said is not None
        assert "its certificate has expired" in said


def test_certificates_that_the_server_refuses(authority: Authority, tmp_path: Path) -> None:
    folder = tls_hosts.host(authority, "server")
    none = tmp_path / "none"
    none.mkdir()
    (none / "ca.pem").write_bytes((folder / "ca.pem").read_bytes())
    for said in told(folder, none):
        assert said is not None
        assert "it wants TLS: set" in said
    for said in told(folder, tls_hosts.expired(authority, "expired-client")):
        assert said is not None
        assert "our certificate has expired" in said


def test_nobody_there_is_no_fault_of_tls() -> None:
    with socket.create_server((LOOPBACK, 0)) as probe:
        port = probe.getsockname()[1]
    assert fault_of_server(LOOPBACK, port, None, 10) is None
    assert fault_of_server("no-such-host.invalid", port, None, 10) is None


@pytest.mark.parametrize("greeting", [GREETING, b""], ids=["speaks", "is silent"])
def test_a_server_without_tls_is_not_asked_by_tls(greeting: bytes) -> None:
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        connection.sendall(greeting)
        while data := connection.recv(100):
            heard.append(data)

    with listening(serve) as port:
        assert fault_of_server(LOOPBACK, port, None, 10 if greeting else 0.2) is None
    assert b"".join(heard) == b"\x00\x00\x00\x04ruok"


def test_connections_that_the_server_resets_are_closed(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.create_connection

    def connect_late(*address: Any) -> socket.socket:
        connection = connect(*address)
        select.select([connection], [], [], 10)  # until it was reset
        return connection

    monkeypatch.setattr(socket, "create_connection", connect_late)
    context = unchecked(tls_hosts.host(authority, "reset"), ssl.PROTOCOL_TLS_CLIENT)

    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with listening(reset) as port, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert fault_of_server(LOOPBACK, port, context, 10) == tls.HUNG_UP
        assert fault_of_server(LOOPBACK, port, None, 10) is None
        gc.collect()
    assert [str(one.message) for one in warned if one.category is ResourceWarning] == []


@given(st.text())
def test_unknown_words_are_repeated(words: str) -> None:
    said = tls.explained(words)
    assert said == words.strip() or said.startswith("it")


def test_a_client_of_tls_is_known_by_its_first_bytes(authority: Authority) -> None:
    context = tls.client_context(tls_hosts.settings(tls_hosts.host(authority, "hello")))
    assert context is not None
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="any").do_handshake()
    assert tls.is_hello(sent.read())
    assert not tls.is_hello(GREETING)
    assert not tls.is_hello(b"")
