"""nginx with the site of `docker/nginx` in front of real dashboards, on loopback."""

from __future__ import annotations

import http.client
import re
import shlex
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme
from grid_servers import program
from processes import LOOPBACK, DatabaseServer, ServerProcess, free_port

from dqm_db.settings import DatabaseSettings, load
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docker" / "nginx"
SAMPLES = ROOT / "tests" / "data"
CAMERA = "NectarCAMQM"
RUN, OTHER = 6001, 8001
SECRET = "one secret for all dashboards"


@dataclass(frozen=True)
class Answer:
    """What a server said; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()


class Dashboard(ServerProcess):
    """`dqm serve` as one of several behind a proxy."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        origin: str,
        *,
        prefix: str = "",
        processes: int = 1,
        **variables: str,
    ) -> None:
        port = free_port()
        command = ["dqm", "serve", "--port", str(port), "--num-procs", str(processes)]
        environment = {
            "DQM_DB_URL": database_url,
            "DQM_DB_WAIT": "0.2",
            "DQM_ALLOWED_ORIGINS": origin,
            "DQM_SERVE_PREFIX": prefix,
            "BOKEH_SECRET_KEY": SECRET,
            **variables,
        }
        log = folder / f"dashboard-{port}.log"
        super().__init__([*command, "--use-xheaders", "-v"], port, log, environment)


class Website(ServerProcess):
    """nginx with our site, filled in by the command that the documents give.

    Parameters
    ----------
    folder
        Gets configuration and logs.
    dashboards
        Where they listen: ports, or ``unix:PATH``.
    prefix
        ``DQM_SERVE_PREFIX`` of the dashboards.
    monitors
        Directives for who may read ``/metrics``, beside this machine.
    more
        Directives for nginx beside the site.
    aside
        Seconds for which a dashboard that failed is left alone.
    changed
        Values of directives of the site as a whole, for which a test would wait too long.
    port
        A free one when None.
    """

    def __init__(
        self,
        folder: Path,
        dashboards: Sequence[int | str],
        *,
        prefix: str = "",
        monitors: str = "",
        more: str = "",
        aside: int = 10,
        changed: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        port, self.plain_port = port or free_port(), free_port()
        home = folder / f"nginx-{port}"
        home.mkdir()
        self.origin = f"localhost:{port}"
        self.url = f"https://{self.origin}{prefix}/"
        self.access_log = home / "access.log"
        self.errors = home / "error.log"
        authority = trustme.CA()
        own = authority.issue_cert("localhost", LOOPBACK)
        own.cert_chain_pems[0].write_to_path(home / "cert.pem")
        own.private_key_pem.write_to_path(home / "key.pem")
        self.tls = ssl.create_default_context()
        authority.configure_trust(self.tls)
        places = [f"{LOOPBACK}:{at}" if isinstance(at, int) else at for at in dashboards]
        values = {
            "DQM_WEB_NAME": "localhost",
            "DQM_WEB_ORIGIN": self.origin,
            "DQM_WEB_LISTEN": f"{LOOPBACK}:{port}",
            "DQM_WEB_LISTEN_PLAIN": f"{LOOPBACK}:{self.plain_port}",
            "DQM_WEB_CERT": str(home / "cert.pem"),
            "DQM_WEB_KEY": str(home / "key.pem"),
            "DQM_WEB_DASHBOARDS": " ".join(
                f"server {place} max_fails=1 fail_timeout={aside}s;" for place in places
            ),
            "DQM_WEB_PREFIX": prefix,
            "DQM_WEB_MONITORS": monitors,
            "DQM_WEB_PAGES": str(SITE),
            "DQM_WEB_LOG": str(self.access_log),
        }
        site = filled_in(home, values)
        for directive, value in (changed or {}).items():
            site, found = re.subn(rf"(?m)^(    {directive}) [^;]+;", rf"\1 {value};", site)
            assert found, f"the site has no {directive}"
        (home / "site.conf").write_text(site)
        temporary = " ".join(
            f"{kind}_temp_path {home}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # One process: when it is killed, nobody is left that would finish what it has begun.
        (home / "nginx.conf").write_text(f"""
            daemon off; master_process off; pid {home}/pid; error_log {self.errors} info;
            events {{ worker_connections 2048; }}
            http {{ include /etc/nginx/mime.types; {temporary} {more} include {home}/site.conf; }}
            """)
        command = [program("nginx", "nginx"), "-e", str(self.errors), "-c", f"{home}/nginx.conf"]
        super().__init__(command, port, home / "output.log")

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        source: str = LOOPBACK,
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """Its answer to one request over TLS from the address *source*; redirects are answers."""
        connection = http.client.HTTPSConnection(
            "localhost", self.port, context=self.tls, timeout=30, source_address=(source, 0)
        )
        return _asked(connection, method, path, body, headers)

    def ask_plainly(self, path: str) -> Answer:
        """Its answer without TLS."""
        connection = http.client.HTTPConnection(LOOPBACK, self.plain_port, timeout=30)
        return _asked(connection, "GET", path, None, {})

    def page_token(self, path: str = "/dqm_app") -> str:
        """What a new page would show when it opens its websocket."""
        found = re.search(r'"token": "([^"]+)"', self.ask(path).body.decode())
        assert found is not None
        return found[1]

    def open_websocket(
        self, token: str, origin: str | None = None, path: str = "/dqm_app/ws"
    ) -> tuple[int, bytes]:
        """Status of the handshake, and what the session says first when it is 101."""
        origin = origin or f"https://{self.origin}"
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {self.origin}",
            f"Origin: {origin}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Sec-WebSocket-Protocol: bokeh, {token}",
        ]
        with (
            socket.create_connection((LOOPBACK, self.port), 30) as plain,
            self.tls.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = connection.makefile("rb")
            status = int(answer.readline().split()[1])
            while answer.readline().strip():
                pass
            return status, answer.read(40) if status == 101 else b""


def _asked(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        cookies = tuple(answer.headers.get_all("Set-Cookie", ()))
        return Answer(answer.status, found, answer.read(), cookies)
    finally:
        connection.close()


def filled_in(home: Path, values: Mapping[str, str]) -> str:
    """The site with these values instead of those of ``site.env``, made as docs/nginx.md says."""
    given = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    settings = home / "site.env"
    settings.write_text((SITE / "site.env").read_text("utf-8") + given)
    program("envsubst", "gettext-base")
    document = (ROOT / "docs" / "nginx.md").read_text("utf-8")
    (command,) = re.findall(r"^(\(.*?\)) > /etc/nginx/conf\.d/dqm\.conf$", document, re.M | re.S)
    here = command.replace("/etc/nectarcam-dqm/web/site.env", str(settings)).replace(
        "/opt/nectarcam-dqm/share/nectarcam-dqm/nginx", str(SITE)
    )
    return subprocess.run(
        ["sh", "-ec", here],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
    ).stdout


def store_samples(database: DatabaseServer) -> None:
    """Store the sample runs `RUN` and `OTHER`."""
    locks = database.data_dir.parent / "locks"
    settings = load(DatabaseSettings, db_url=database.url, db_wait=20, lock_dir=locks)
    with open_writer(settings) as writer:
        for run in (RUN, OTHER):
            content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run{run}.tar.gz")).content
            assert content is not None
            writer.store_run(content, None)
