"""Commands that must succeed, and a certification authority of our own."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

SUBJECT = "/C=ch/O=DIRAC/OU=DQM/CN="
EXTENSIONS = (
    "basicConstraints=CA:FALSE\n"
    "keyUsage=critical,digitalSignature,keyEncipherment\n"
    "extendedKeyUsage=serverAuth,clientAuth\n"
    "subjectAltName=DNS:localhost,DNS:127.0.0.1,IP:127.0.0.1\n"
)


def run(
    command: str,
    cwd: Path,
    *,
    variables: Mapping[str, str] | None = None,
    given: str = "",
    **values: object,
) -> str:
    """Standard output of *command*, in whose words ``{name}`` is one of *values*.

    Fails with all that it said when it fails.
    """
    words = [word.format_map(values) for word in shlex.split(command)]
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **(variables or {})},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


class Authority:
    """Signs certificates of hosts and users; *trusted* is the folder that its own goes to."""

    def __init__(self, folder: Path, trusted: Path) -> None:
        self._folder = folder
        self._certificate = trusted / "ca.pem"
        trusted.mkdir(parents=True)
        run(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -sha256 -keyout ca.key -out {out} "
            "-subj '/O=DQM Test/CN=DQM Test CA' -addext basicConstraints=critical,CA:true "
            "-addext keyUsage=critical,digitalSignature,cRLSign,keyCertSign",
            folder,
            out=self._certificate,
        )
        name = run("openssl x509 -in {ca} -noout -hash", folder, ca=self._certificate).strip()
        (trusted / f"{name}.0").symlink_to(self._certificate.name)

    def sign(self, name: str, certificate: Path, key: Path) -> None:
        """Make the key and certificate of *name*."""
        (self._folder / "extensions").write_text(EXTENSIONS)
        run(
            "openssl req -newkey rsa:2048 -nodes -subj {name} -keyout {key} -out wish.csr",
            self._folder,
            name=SUBJECT + name,
            key=key,
        )
        run(
            "openssl x509 -req -in wish.csr -CA {ca} -CAkey ca.key -CAcreateserial "
            "-CAserial ca.srl -days 30 -sha256 -extfile extensions -out {out}",
            self._folder,
            ca=self._certificate,
            out=certificate,
        )
        key.chmod(0o400)
