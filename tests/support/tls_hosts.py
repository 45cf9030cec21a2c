"""Certificates of hosts for tests, good ones and bad ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from dqm_db.authority import Authority
from dqm_db.certificates import read_certificates
from dqm_db.settings import SystemSettings, load


def new_authority(directory: Path) -> Authority:
    """A CA in *directory*."""
    authority = Authority(directory)
    authority.create("CA of a test", 100)
    return authority


def host(authority: Authority, name: str, days: int = 90) -> Path:
    """The folder of a new host, which is also good for 127.0.0.1."""
    return authority.issue([name], days).path.parent


def settings(folder: Path) -> SystemSettings:
    """Those of a host with that folder."""
    return load(
        SystemSettings, **{name[4:].lower(): path for name, path in variables(folder).items()}
    )


def variables(folder: Path) -> Mapping[str, str]:
    """The environment of a host with that folder."""
    return {
        "DQM_TLS_CA": str(folder / "ca.pem"),
        "DQM_TLS_CERT": str(folder / "cert.pem"),
        "DQM_TLS_KEY": str(folder / "key.pem"),
    }


def changed(
    authority: Authority,
    folder: Path,
    *,
    begins: dt.timedelta = dt.timedelta(days=-20),
    expires: dt.timedelta = dt.timedelta(days=20),
    names: list[str] | None = None,
    usages: list[x509.ObjectIdentifier] | None = None,
) -> Path:
    """*folder*, with its certificate signed again: valid from and until, from now on."""
    old = read_certificates(folder / "cert.pem")[0]
    key = serialization.load_pem_private_key(authority.key_file.read_bytes(), None)
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + expires)
    )
    for extension in old.extensions:
        value = extension.value
        if names is not None and isinstance(value, x509.SubjectAlternativeName):
            value = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        if usages is not None and isinstance(value, x509.ExtendedKeyUsage):
            value = x509.ExtendedKeyUsage(usages)
        builder = builder.add_extension(value, extension.critical)
    signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return folder


def expired(authority: Authority, name: str) -> Path:
    """The folder of a host whose certificate has expired yesterday."""
    return changed(authority, host(authority, name), expires=dt.timedelta(days=-1))
