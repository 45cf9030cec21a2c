"""The servers that results files come from, as real processes on loopback, and broken ones."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

import pytest
import trustme
from processes import LOOPBACK, ServerProcess, free_port

HERE = Path(__file__).parent
USER, PASSWORD, TOKEN = "shifter", "a secret/word@1", "a.token.of-the-grid"


def program(name: str, package: str) -> str:
    """Path of a program; without it a test is skipped on a developer's machine and fails in CI."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        message = f"no {name} on this machine: install it (Debian: apt-get install {package})"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return found


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that servers can enter which give up being root; pytest's are private."""
    folder = Path(tempfile.mkdtemp(prefix="dqm-servers-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Certificates:
    """An authority that signs for loopback and for a user.

    Attributes
    ----------
    folder : Path
        The authority under the name that OpenSSL looks for, as ``X509_CERT_DIR`` has it.
    server, user : Path
        Certificate and key in one file, as ``X509_USER_PROXY`` has it.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.folder = folder / "certificates"
        self.folder.mkdir()
        self.authority = self.folder / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        subprocess.run(
            [program("openssl", "openssl"), "rehash", self.folder], check=True, capture_output=True
        )
        self.server, self.user = folder / "server.pem", folder / "user.pem"
        authority.issue_cert(LOOPBACK, "localhost").private_key_and_cert_chain_pem.write_to_path(
            self.server
        )
        authority.issue_cert("shifter@example.org").private_key_and_cert_chain_pem.write_to_path(
            self.user
        )


class XRootD(ServerProcess):
    """xrootd, read-only, with adler32 checksums.

    Parameters
    ----------
    folder
        Of `open_folder`; gets configuration and log.
    data
        What it serves as ``/dqm``.
    certificates
        It speaks TLS only with them.
    """

    def __init__(self, folder: Path, data: Path, certificates: Certificates | None = None) -> None:
        port = free_port()
        home = folder / f"xrootd-{port}"
        for name in ("root", "admin", "run"):
            (home / name).mkdir(parents=True)
        (home / "root" / "dqm").symlink_to(data)
        lines = [
            f"xrd.port {port}",
            "xrd.network nodnr",
            "xrd.protocol xrootd *",
            "all.export /dqm r/o",
            f"oss.localroot {home}/root",
            f"all.adminpath {home}/admin",
            f"all.pidpath {home}/run",
            "xrootd.chksum max 2 adler32",
        ]
        if certificates is not None:
            key = home / "server.pem"
            shutil.copy(certificates.server, key)
            lines += [f"xrd.tls {key}", f"xrd.tlsca certfile {certificates.authority}"]
            lines += ["xrootd.tls all"]
        (home / "xrootd.cfg").write_text("\n".join(lines) + "\n")
        command = [program("xrootd", "xrootd-server"), "-c", str(home / "xrootd.cfg"), "-I", "v4"]
        if os.getuid() == 0:  # it refuses to be root
            command += ["-R", "nobody"]
            for path in (home, *home.rglob("*")):
                shutil.chown(path, "nobody")
                if path.suffix == ".pem":
                    path.chmod(0o400)
        shim = {"LD_PRELOAD": str(_loopback_bind(folder))}
        super().__init__(command, port, folder / f"xrootd-{port}.log", shim, cwd=home)
        scheme = "root" if certificates is None else "roots"
        self.url = f"{scheme}://{LOOPBACK}:{port}//dqm"


def _loopback_bind(folder: Path) -> Path:
    library = folder / "loopback_bind.so"
    if not library.exists():
        compiler = [program("gcc", "gcc libc6-dev"), "-shared", "-fPIC", "-o", str(library)]
        subprocess.run([*compiler, str(HERE / "loopback_bind.c"), "-ldl"], check=True)
    return library


class Nginx(ServerProcess):
    """nginx with the same files below several paths.

    ``/html/`` and ``/json/`` are indexes, ``/slow/`` sends 1 MB/s, ``/forbidden/`` answers 403,
    ``/down/`` 503, ``/login/`` wants `USER` and `PASSWORD`. With certificates it listens at
    `secure_port` as well, where ``/token/`` wants `TOKEN` and ``/proxy/`` the user's certificate.
    """

    def __init__(self, folder: Path, data: Path, certificates: Certificates | None = None) -> None:
        port, self.secure_port = free_port(), free_port()
        home = folder / f"nginx-{port}"
        home.mkdir()
        (home / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        temporary = " ".join(
            f"{kind}_temp_path {home}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        files = f"alias {data}/; autoindex on;"
        json = f"{files} autoindex_format json;"
        secure = (
            ""
            if certificates is None
            else f"""
            server {{
                listen {LOOPBACK}:{self.secure_port} ssl;
                ssl_certificate {certificates.server};
                ssl_certificate_key {certificates.server};
                ssl_client_certificate {certificates.authority};
                ssl_verify_client optional;
                location /token/ {{
                    if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}
                    {json}
                }}
                location /proxy/ {{
                    if ($ssl_client_verify != SUCCESS) {{ return 403; }}
                    {json}
                }}
            }}"""
        )
        # One process: when it is killed, nobody is left that would finish what it has begun.
        (home / "nginx.conf").write_text(f"""
            daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
            events {{}}
            http {{
                access_log off; default_type application/octet-stream; charset utf-8;
                {temporary}
                server {{
                    listen {LOOPBACK}:{port};
                    location /html/ {{ {files} }}
                    location /json/ {{ {json} }}
                    location /slow/ {{ {files} limit_rate 1m; }}
                    location /forbidden/ {{ return 403; }}
                    location /down/ {{ return 503; }}
                    location /login/ {{ auth_basic dqm; auth_basic_user_file {home}/users; {json} }}
                }}{secure}
            }}
            """)
        command = [program("nginx", "nginx"), "-e", str(home / "error.log")]
        command += ["-c", str(home / "nginx.conf")]
        super().__init__(command, port, folder / f"nginx-{port}.log")
        self.url = f"http://{LOOPBACK}:{port}"
        self.secure_url = f"https://{LOOPBACK}:{self.secure_port}"


class WebDav(ServerProcess):
    """WsgiDAV, which lets everybody read."""

    def __init__(self, folder: Path, data: Path) -> None:
        port = free_port()
        command = ["wsgidav", "--host", LOOPBACK, "--port", str(port), "--root", str(data)]
        command += ["--auth", "anonymous", "--server", "cheroot", "--no-config", "-q"]
        super().__init__(command, port, folder / f"webdav-{port}.log")
        self.url = f"webdav://{LOOPBACK}:{port}"


class S3(ServerProcess):
    """moto, which keeps what it is given in memory; use it with `environment_of_clients`."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        command = ["moto_server", "-H", LOOPBACK, "-p", str(port)]
        super().__init__(command, port, folder / f"s3-{port}.log")
        self.url = "s3://results"
        self.environment_of_clients = {
            "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


class Sftp(ServerProcess):
    """asyncssh's server, which lets `USER` in with `PASSWORD`.

    Attributes
    ----------
    known_hosts : str
        Line of ``~/.ssh/known_hosts`` by which clients know it.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        import asyncssh

        port = free_port()
        key = asyncssh.generate_private_key("ssh-ed25519")
        path = folder / f"sftp-{port}.key"
        key.write_private_key(path)
        command = [sys.executable, str(HERE / "sftp_server.py"), str(port), str(data), str(path)]
        super().__init__([*command, USER, PASSWORD], port, folder / f"sftp-{port}.log")
        public = key.export_public_key().decode().strip()
        self.known_hosts = f"[{LOOPBACK}]:{port} {public}\n"
        self.url = f"sftp://{USER}:{quote(PASSWORD, safe='')}@{LOOPBACK}:{port}"


class BrokenServer:
    """Accepts connections, sends the same bytes to whatever it is asked, and closes.

    Parameters
    ----------
    answer
        What it sends; with None it says nothing and keeps the connection.
    """

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def was_asked(self) -> bool:
        """Whether somebody has connected."""
        return bool(self._connections)

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for connection in (self._listener, *self._connections):
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # shut down
                return
            self._connections.append(connection)
            if self.answer is not None:
                with connection:
                    connection.recv(65536)
                    connection.sendall(self.answer)
