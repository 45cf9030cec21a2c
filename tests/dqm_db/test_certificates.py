"""The private CA, the certificates of hosts, and `dqm certs`."""

from __future__ import annotations

import datetime as dt
import re
import shlex
import ssl
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given
from hypothesis import strategies as st

from dqm_db.authority import Authority, NoAuthority
from dqm_db.certificate_commands import CertificateExpires, certs
from dqm_db.certificate_files import CertificateExists, CertificateUnwritable
from dqm_db.certificates import certificate_expiry, found_certificates, read_certificates
from dqm_db.errors import ConfigurationError


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "ca")
    authority.create("a CA", 1000)
    return authority


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    authority.create("a CA", 1000)
    return authority


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(certs, [str(one) for one in arguments])


def test_what_is_copied_to_a_host_has_all_but_the_key_of_the_ca(authority: Authority) -> None:
    made = authority.issue(["one.example.org", "10.8.0.1"], 10)
    folder = made.path.parent
    assert folder == authority.directory / "hosts" / "one.example.org"
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "ca.pem": 0o644,
        "cert.pem": 0o644,
        "key.pem": 0o600,
    }
    assert mode(folder) == 0o700
    assert mode(authority.key_file) == 0o600
    secret = authority.key_file.read_bytes()
    assert all(path.read_bytes() != secret for path in folder.iterdir())
    assert (folder / "ca.pem").read_bytes() == authority.certificate_file.read_bytes()
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    assert key.public_key() == read_certificates(made.path)[0].public_key()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["one.example.org"]


def handshake(server: Path, client: Path, host: str) -> None:
    """Let a server and a client with these folders, both strict, shake hands in memory."""
    contexts = []
    for folder, protocol in (
        (server, ssl.PROTOCOL_TLS_SERVER),
        (client, ssl.PROTOCOL_TLS_CLIENT),
    ):
        context = ssl.SSLContext(protocol)
        context.load_verify_locations(folder / "ca.pem")
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        contexts.append(context)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        contexts[0].wrap_bio(up, down, server_side=True),
        contexts[1].wrap_bio(down, up, server_hostname=host),
    ]
    open_ = sides[::-1]
    for _ in range(10):
        for side in list(open_):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            open_.remove(side)
    assert not open_


@pytest.mark.parametrize("host", ["one.example.org", "10.8.0.1", "2001:db8::1", "localhost"])
def test_strict_verifiers_accept_both_sides_under_every_name(
    authority: Authority, host: str
) -> None:
    server = authority.issue(["one.example.org", "10.8.0.1", "2001:db8::1"], 10).path.parent
    client = authority.issue(["two"], 10).path.parent
    handshake(server, client, host)
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'elsewhere'"):
        handshake(server, client, "elsewhere")


LABEL = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")
NAMES = st.builds(
    lambda labels, last: ".".join([*labels, last]), st.lists(LABEL, max_size=4), LABEL
).filter(lambda name: not name.rpartition(".")[2].isdigit())
ADDRESSES = st.ip_addresses().map(str)


@given(st.lists(st.one_of(NAMES, ADDRESSES), min_size=1, max_size=5, unique=True))
def test_all_names_are_in_the_certificate(long_lived: Authority, names: list[str]) -> None:
    made = long_lived.issue(names, 10, renew=True)
    assert set(names) <= set(made.names)
    certificate = read_certificates(made.path)[0]
    ours = Store(read_certificates(long_lived.certificate_file))
    verifier = PolicyBuilder().store(ours).build_client_verifier()
    verifier.verify(certificate, [])  # also says that the extensions are in order


@given(st.text(max_size=300))
def test_a_name_is_refused_or_stays_below_the_folder(long_lived: Authority, name: str) -> None:
    try:
        made = long_lived.issue([name], 10, renew=True)
    except ConfigurationError as refused:
        assert repr(name) in str(refused)
        return
    hosts = long_lived.directory / "hosts"
    assert made.path.resolve().parent.parent == hosts.resolve()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../up", "a/b", "*.example.org", "-x", "a..b", "10.0.0.256", "fe80::1%a"],
)
def test_names_that_are_none(authority: Authority, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is neither a host name nor an IP address"):
        authority.issue([name], 10)
    assert not (authority.directory / "hosts").exists()


def test_nothing_is_overwritten(authority: Authority) -> None:
    folder = authority.issue(["one"], 10).path.parent
    before = {path: path.read_bytes() for path in authority.directory.rglob("*.*")}
    with pytest.raises(CertificateExists, match="give --renew"):
        authority.create("another", 10)
    with pytest.raises(CertificateExists, match="give --renew"):
        authority.issue(["ONE"], 10)
    authority.certificate_file.rename(authority.directory / "kept")
    with pytest.raises(CertificateExists, match=r"ca\.key exists, but .* put that back"):
        authority.create("another", 10)
    (authority.directory / "kept").rename(authority.certificate_file)
    assert {path: path.read_bytes() for path in before} == before
    assert folder.exists()


def test_a_renewed_host_has_a_new_key_and_the_old_names(authority: Authority) -> None:
    old = authority.issue(["one", "one.example.org", "10.8.0.1"], 10)
    key = (old.path.parent / "key.pem").read_bytes()
    new = authority.issue(["one"], 500, renew=True)
    assert new.names == old.names
    assert new.expires > old.expires
    assert (new.path.parent / "key.pem").read_bytes() != key
    other = authority.issue(["one", "uno"], 10, renew=True)
    assert "uno" in other.names
    assert "one.example.org" not in other.names
    assert sorted(path.name for path in new.path.parent.parent.iterdir()) == ["one"]


def test_certificates_of_hosts_outlive_the_renewal_of_the_ca(authority: Authority) -> None:
    one = authority.issue(["one"], 10).path.parent
    key = authority.key_file.read_bytes()
    renewed = authority.renew(2000)
    assert renewed.days_left(dt.datetime.now(dt.UTC).timestamp()) > 1999
    assert authority.key_file.read_bytes() == key
    two = authority.issue(["two"], 10).path.parent  # with the new certificate of the CA
    handshake(one, two, "one")
    handshake(two, one, "two")


def test_no_certificate_outlives_its_ca(authority: Authority) -> None:
    made = authority.issue(["one"], 5000)
    assert made.expires == certificate_expiry(authority.certificate_file)


def test_without_a_usable_ca(tmp_path: Path, authority: Authority) -> None:
    with pytest.raises(NoAuthority, match="make one with `dqm certs ca"):
        Authority(tmp_path / "nothing").issue(["one"], 10)
    other = Authority(tmp_path / "other")
    other.create("another", 10)
    authority.key_file.write_bytes(other.key_file.read_bytes())
    with pytest.raises(ConfigurationError, match="is not the key of"):
        authority.issue(["one"], 10)
    authority.key_file.write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match="no private key"):
        authority.issue(["one"], 10)
    authority.key_file.unlink()
    with pytest.raises(ConfigurationError, match=r"cannot read the key .*ca\.key"):
        authority.issue(["one"], 10)


KILLED = """
import os, sys
from pathlib import Path
from dqm_db import certificate_files
from dqm_db.authority import Authority

real, left = Path.rename, int(sys.argv[2])

def rename(path, target):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    return real(path, target)

Path.rename = rename
certificate_files.shutil.rmtree = lambda _path, **_more: os._exit(9)
Authority(Path(sys.argv[1])).issue(["one"], 20, renew=True)
"""


@pytest.mark.parametrize("command", ["host", "show", "ca"])
@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_renewal_that_was_killed_is_put_right_by_the_next_command(
    authority: Authority, caplog: pytest.LogCaptureFixture, renames: int, command: str
) -> None:
    folder = authority.issue(["one", "10.8.0.1"], 10).path.parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    killed = [sys.executable, "-c", KILLED, str(authority.directory), str(renames)]
    assert subprocess.run(killed, check=False).returncode == 9
    assert folder.exists() == (renames != 1)
    assert len(list(folder.parent.iterdir())) > 1
    if command == "host":
        done = run("host", "one", "--dir", authority.directory)
        assert isinstance(done.exception, CertificateExists)
    elif command == "show":
        shown = run("show", authority.directory).stdout
        assert shown.count("hosts/one/cert.pem") == 1 and ".old-" not in shown
    else:
        assert run("ca", "--renew", "--dir", authority.directory).exit_code == 0
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    now = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert (now == before) == (renames < 2)
    key = serialization.load_pem_private_key(now["key.pem"], None)
    assert key.public_key() == read_certificates(folder / "cert.pem")[0].public_key()
    assert ("it is as it was before" in caplog.text) == (renames == 1)
    again = authority.issue(["one"], 10, renew=True)
    assert "10.8.0.1" in again.names


def test_two_commands_replace_folders_one_after_the_other(authority: Authority) -> None:
    folder = authority.issue(["one"], 10).path.parent
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda days: authority.issue(["one"], days, renew=True), range(20, 60)))
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    assert key.public_key() == read_certificates(folder / "cert.pem")[0].public_key()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CertificateUnwritable, match="Not a directory"):
        Authority(tmp_path / "file" / "ca").create("a CA", 10)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_files_that_hold_no_certificate(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cert.pem"
    with pytest.raises(ConfigurationError, match="cannot read the certificate"):
        certificate_expiry(path)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="holds no certificate in PEM format"):
        certificate_expiry(path)


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = tmp_path / "ca"
    assert "valid until" in run("ca", "--dir", ca, "--name", "Site CA", "--days", "400").output
    made = run("host", "one.example.org", "one", "--ip", "10.8.0.1", "--dir", ca, "--days", "100")
    assert made.exit_code == 0
    assert "one.example.org, one, localhost, 10.8.0.1" in made.stdout
    again = run("host", "one.example.org", "--dir", ca)
    assert isinstance(again.exception, CertificateExists)

    shown = run("show", ca)
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 3  # key.pem is none
    assert "400 days left  Site CA  (CA)" in shown.stdout
    assert "100 days left  one.example.org  (one.example.org, one, localhost" in shown.stdout

    soon = run("show", ca / "hosts", "--days", "101")
    assert isinstance(soon.exception, CertificateExpires)
    assert soon.exception.exit_code == 1
    assert "cert.pem expires on" in str(soon.exception)
    assert "ca.pem expires" not in str(soon.exception)
    assert len(soon.stdout.splitlines()) == 2  # it lists them all the same

    monkeypatch.delenv("DQM_TLS_CERT", raising=False)
    monkeypatch.delenv("DQM_TLS_CA", raising=False)
    assert "give a PATH, or set DQM_TLS_CERT" in str(run("show").exception)
    monkeypatch.setenv("DQM_TLS_CERT", str(ca / "hosts" / "one.example.org" / "cert.pem"))
    assert run("show").stdout.splitlines() == shown.stdout.splitlines()[2:]


def test_the_documented_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "replication.md").read_text()
    [block] = [text for text in re.findall(r"^```console\n(.*?)^```", page, re.M | re.S) if
               "dqm certs" in text]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        words = shlex.split(line.removeprefix("$ dqm certs "))
        done = CliRunner().invoke(certs, words)
        assert done.exit_code == 0, done.output
    hosts = tmp_path / "dqm-ca" / "hosts"
    copied = hosts / "replica.example.org"
    for variable in ("CA", "CERT", "KEY"):
        [name] = re.findall(rf"export DQM_TLS_{variable}=/etc/nectarcam-dqm/tls/(\S+)", page)
        assert (copied / name).exists()
    handshake(hosts / "primary.example.org", copied, "10.8.0.1")


def test_what_another_tool_made_is_shown(tmp_path: Path) -> None:
    name = x509.Name([])
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    bare = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=3))
        .not_valid_after(now - dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "bare.pem"
    path.write_bytes(bare.public_bytes(serialization.Encoding.PEM))
    [found] = found_certificates(path)
    assert found.names == ()
    assert not found.is_authority
    shown = run("show", path)
    assert "expired" in shown.stdout
    assert isinstance(shown.exception, CertificateExpires)
    with pytest.raises(ConfigurationError, match="no certificates below"):
        (tmp_path / "empty").mkdir()
        found_certificates(tmp_path / "empty")
