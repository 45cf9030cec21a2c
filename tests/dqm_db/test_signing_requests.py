"""Certificates for keys that hosts make themselves: `dqm certs request`, `sign`, `install`."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from dqm_db.authority import Authority
from dqm_db.certificate_commands import certs
from dqm_db.certificate_files import CertificateUnwritable
from dqm_db.certificates import is_authority, read_certificates
from dqm_db.errors import ConfigurationError
from dqm_db.signing_requests import (
    RequestRefused,
    SigningRequest,
    UnusableCertificate,
    UnusableRequest,
    install,
    make_request,
)

NAME = "ro.example.org"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    authority.create("a CA", 1000)
    return authority


def signed(authority: Authority, request: bytes, *names: str, days: int = 10) -> bytes:
    return authority.sign(SigningRequest.parse(request), names or (NAME,), days)[0]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def built(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *extensions: x509.ExtensionType
) -> bytes:
    """A request as another program might make it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_openssl_accepts_what_is_installed(authority: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    made = install(folder, signed(authority, make_request(folder, []), NAME, "10.8.0.2"))
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "ca.pem": 0o644,
        "cert.pem": 0o644,
        "key.pem": 0o600,
    }
    assert set(made.names) == {NAME, "10.8.0.2", "localhost", "127.0.0.1", "::1"}
    check = ["openssl", "verify", "-x509_strict", "-CAfile", folder / "ca.pem"]
    for options in (
        ["-purpose", "sslserver", "-verify_hostname", NAME],
        ["-purpose", "sslserver", "-verify_ip", "10.8.0.2"],
        ["-purpose", "sslclient"],
    ):
        subprocess.run([*check, *options, folder / "cert.pem"], check=True, capture_output=True)
    wrong = subprocess.run(
        [*check, "-verify_hostname", "other.example.org", folder / "cert.pem"],
        check=False,
        capture_output=True,
    )
    assert wrong.returncode != 0


def test_the_key_fits_and_is_nowhere_else(authority: Authority, tmp_path: Path) -> None:
    request = make_request(tmp_path, [NAME])
    waiting = (tmp_path / "request.key").read_bytes()
    assert mode(tmp_path / "request.key") == 0o600
    answer = signed(authority, request)
    made = install(tmp_path, answer)
    assert (tmp_path / "key.pem").read_bytes() == waiting
    key = serialization.load_pem_private_key(waiting, None)
    assert key.public_key() == read_certificates(made.path)[0].public_key()
    secret = waiting.splitlines()[1]
    assert secret not in request + answer
    assert all(secret not in path.read_bytes() for path in authority.directory.rglob("*.*"))


def test_the_old_key_stays_in_use_until_the_answer_is_there(
    authority: Authority, tmp_path: Path
) -> None:
    install(tmp_path, signed(authority, make_request(tmp_path, [])))
    before = files(tmp_path)
    answer = signed(authority, make_request(tmp_path, []))
    assert files(tmp_path).items() >= before.items()
    install(tmp_path, answer)
    after = files(tmp_path)
    assert after.keys() == before.keys()
    assert after["key.pem"] != before["key.pem"]
    assert after["ca.pem"] == before["ca.pem"]


def test_an_answer_can_be_installed_again(authority: Authority, tmp_path: Path) -> None:
    answer = signed(authority, make_request(tmp_path, []))
    install(tmp_path, answer)
    before = files(tmp_path)
    install(tmp_path, answer)
    assert files(tmp_path) == before


def test_only_names_that_are_granted(authority: Authority, tmp_path: Path) -> None:
    request = make_request(tmp_path, [NAME, "10.8.0.2", "localhost"])
    with pytest.raises(RequestRefused, match=r"asks for 10\.8\.0\.2, too") as refused:
        signed(authority, request, NAME)
    assert refused.value.exit_code == 77
    made = install(tmp_path, signed(authority, request, NAME.upper(), "10.8.0.2", "more.org"))
    assert set(made.names) == {NAME, "10.8.0.2", "localhost", "127.0.0.1", "::1"}
    assert not is_authority(read_certificates(made.path)[0])
    with pytest.raises(ConfigurationError, match="neither a host name nor"):
        signed(authority, request, "*.example.org")


def test_what_was_signed_is_remembered(authority: Authority, tmp_path: Path) -> None:
    made = install(tmp_path, signed(authority, make_request(tmp_path, []), "kept.example.org"))
    kept = authority.directory / "signed" / "kept.example.org.pem"
    assert kept.read_bytes() == made.path.read_bytes()


@pytest.mark.parametrize(
    ("extension", "said"),
    [
        (x509.BasicConstraints(ca=True, path_length=None), "asks for more than names"),
        (x509.SubjectAlternativeName([x509.DNSName("*.example.org")]), "a name that is none"),
        (x509.SubjectAlternativeName([x509.RFC822Name("me@example.org")]), "neither host name nor"),
    ],
)
def test_requests_for_more(extension: x509.ExtensionType, said: str) -> None:
    with pytest.raises(UnusableRequest, match=said):
        SigningRequest.parse(built(ec.generate_private_key(ec.SECP256R1()), extension))


def test_requests_with_other_keys() -> None:
    for key in (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
    ):
        with pytest.raises(UnusableRequest, match="of another kind"):
            SigningRequest.parse(built(key))


def test_a_request_with_the_key_of_somebody_else(tmp_path: Path) -> None:
    """Whoever changes the key, or anything, in a request cannot sign it."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    own, other = (
        key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        for key in keys
    )
    data = x509.load_pem_x509_csr(built(keys[0])).public_bytes(serialization.Encoding.DER)
    assert own in data
    forged = x509.load_der_x509_csr(data.replace(own, other))
    with pytest.raises(UnusableRequest, match="not signed by its own key"):
        SigningRequest.parse(forged.public_bytes(serialization.Encoding.PEM))


def test_the_answer_to_another_request(authority: Authority, tmp_path: Path) -> None:
    install(tmp_path, signed(authority, make_request(tmp_path, [])))
    answer = signed(authority, make_request(tmp_path, []))
    make_request(tmp_path, [])
    before = files(tmp_path)
    with pytest.raises(UnusableCertificate, match="for no key in"):
        install(tmp_path, answer)
    assert files(tmp_path) == before


def test_another_ca_is_taken_only_on_purpose(authority: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    install(folder, signed(authority, make_request(folder, [])))
    other = Authority(tmp_path / "other")
    other.create("another", 10)
    answer = signed(other, make_request(folder, []))
    before = files(folder)
    with pytest.raises(UnusableCertificate, match=r"of another CA .* give --new-ca"):
        install(folder, answer)
    assert files(folder) == before
    install(folder, answer, new_authority=True)
    both = read_certificates(folder / "ca.pem")
    assert both == [
        *read_certificates(other.certificate_file),
        *read_certificates(authority.certificate_file),
    ]
    assert install(folder, answer).names, "it is known now"


def test_a_renewed_ca_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    authority.create("a CA", 100)
    folder = tmp_path / "tls"
    install(folder, signed(authority, make_request(folder, [])))
    authority.renew(500)
    install(folder, signed(authority, make_request(folder, [])))
    assert read_certificates(folder / "ca.pem") == read_certificates(authority.certificate_file)


def test_clocks_that_differ(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = signed(authority, make_request(tmp_path, []), days=5)

    class Later(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Later:
            return cls.fromtimestamp(super().now(tz).timestamp() + 6 * 86_400, tz)

    monkeypatch.setattr("dqm_db.signing_requests.datetime", Later)
    with pytest.raises(UnusableCertificate, match="compare the clocks"):
        install(tmp_path, answer)


def test_answers_that_are_none(authority: Authority, tmp_path: Path) -> None:
    answer = signed(authority, make_request(tmp_path, []))
    parts = re.findall(rb"-----BEGIN.*?-----END CERTIFICATE-----\n", answer, re.DOTALL)
    assert len(parts) == 2
    other = Authority(tmp_path / "other")
    other.create("a CA", 10)  # of the same name
    for data in (parts[0], parts[::-1], [parts[1]] * 2, [parts[0], parts[0]],
                 [parts[0], other.certificate_file.read_bytes()], answer * 100):  # fmt: skip
        with pytest.raises(UnusableCertificate, match="not what `dqm certs sign` prints"):
            install(tmp_path, data if isinstance(data, bytes) else b"".join(data))
    assert sorted(files_of(tmp_path)) == ["request.key"]


def files_of(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file()]


@given(st.binary(max_size=3000))
def test_bytes_that_are_no_request(data: bytes) -> None:
    with pytest.raises(UnusableRequest):
        SigningRequest.parse(data)


@pytest.fixture(scope="module")
def exchanged(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, bytes, bytes]:
    folder = tmp_path_factory.mktemp("tls")
    request = make_request(folder, [NAME])
    return folder, request, signed(authority, request)


@given(st.data())
def test_damaged_requests_and_answers(
    exchanged: tuple[Path, bytes, bytes], data: st.DataObject
) -> None:
    """Whatever a line does to them: an error of ours, or what they said before."""
    folder, request, answer = exchanged

    def damaged(whole: bytes) -> bytes:
        at = data.draw(st.integers(0, len(whole) - 1))
        instead = data.draw(st.binary(max_size=4))
        return whole[:at] + instead + whole[at + data.draw(st.integers(0, 4)) :]

    with contextlib.suppress(UnusableRequest):
        assert SigningRequest.parse(damaged(request)) == SigningRequest.parse(request)
    with contextlib.suppress(UnusableCertificate):
        install(folder, damaged(answer))
        written = [read_certificates(folder / name)[0] for name in ("cert.pem", "ca.pem")]
        assert written == x509.load_pem_x509_certificates(answer)


def run(*arguments: object, given: bytes = b"") -> Result:
    return CliRunner().invoke(certs, [str(one) for one in arguments], input=given)


def test_the_commands(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DQM_TLS_KEY", raising=False)
    assert "which folder? give --dir" in str(run("request").exception)
    monkeypatch.setenv("DQM_TLS_KEY", str(tmp_path / "odd.pem"))
    assert "not called key.pem" in str(run("request").exception)
    monkeypatch.setenv("DQM_TLS_KEY", str(tmp_path / "key.pem"))
    asked = run("request", NAME, "--ip", "10.8.0.2")
    assert asked.exit_code == 0
    sign = ("sign", "--dir", authority.directory, NAME)
    refused = run(*sign, given=asked.stdout_bytes)
    assert isinstance(refused.exception, RequestRefused)
    assert refused.stdout == ""
    answer = run(*sign, "--ip", "10.8.0.2", "--days", "5", given=asked.stdout_bytes)
    assert f"signed: {NAME}, 10.8.0.2" in answer.stderr.replace("localhost, ", "")
    done = run("install", given=answer.stdout_bytes)
    assert done.exit_code == 0
    assert str(tmp_path / "cert.pem") in done.stdout
    assert isinstance(run(*sign).exception, UnusableRequest)
    assert isinstance(run("install").exception, UnusableCertificate)


def test_one_pipeline_between_processes(authority: Authority, tmp_path: Path) -> None:
    dqm = f"{Path(sys.executable).parent / 'dqm'} certs"
    line = (
        f"{dqm} request --dir {tmp_path} | {dqm} sign --dir {authority.directory} {NAME} | "
        f"{dqm} install --dir {tmp_path}"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=True
    )
    assert NAME in done.stdout
    assert sorted(files_of(tmp_path)) == ["ca.pem", "cert.pem", "key.pem"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CertificateUnwritable, match="Not a directory"):
        make_request(tmp_path / "file" / "tls", [])


def test_files_belong_to_the_owner_of_the_folder(authority: Authority, tmp_path: Path) -> None:
    try:
        os.chown(tmp_path, 1234, 1235)
    except PermissionError:
        pytest.skip("only root can give files away")
    install(tmp_path, signed(authority, make_request(tmp_path, [])))
    assert {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()} == {
        (1234, 1235)
    }
