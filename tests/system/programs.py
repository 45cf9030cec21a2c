"""A dashboard with accounts, asked by programs."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from many_runs import Row, write_many
from processes import LOOPBACK, DatabaseServer, ServerProcess, free_port

from dqm_db.settings import DatabaseSettings
from dqm_db.writer import open_writer
from ingest.reading import ReadJob, read_run

SAMPLES = Path(__file__).parents[1] / "data"
CAMERA = "NectarCAMQM"
"""Its run 6001 is a sample; 1 to 400 are rows of the catalogue, with times a minute apart."""
QUANTITY = "CHARGE-INTEGRATION-PED-ALL-AVERAGE-HIGH-GAIN"
SECRET = "a key that is the same for all processes of a test"


class Api:
    """A dashboard with accounts in front of a database, and a token to ask it with."""

    def __init__(self, folder: Path, primary: DatabaseServer) -> None:
        self.settings = DatabaseSettings(db_url=primary.url, db_wait=5, lock_dir=folder / "locks")
        self.port = free_port()
        self.environment = {
            "DQM_AUTH": "accounts",
            "DQM_STATE_DIR": str(folder / "state"),
            "DQM_DB_URL": primary.url,
            "DQM_DB_WAIT": "0.2",
            "BOKEH_SECRET_KEY": SECRET,
        }
        command = ["dqm", "serve", "--port", str(self.port), "--num-procs", "2"]
        self.server = ServerProcess(command, self.port, folder / "serve.log", self.environment)
        self.url = f"http://{LOOPBACK}:{self.port}"

    def user(self, *words: str, given: str = "") -> str:
        done = subprocess.run(
            [self.server.command[0], "user", *words],
            input=given,
            env=self.server.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.strip()

    def ask(
        self, path: str, token: str | None = None, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        connection.close()
        return found


@contextlib.contextmanager
def interface(folder: Path) -> Iterator[Api]:
    """With the expert anna and the viewer ben."""
    with DatabaseServer(folder, "primary") as primary:
        made = Api(folder, primary)
        content = read_run(ReadJob(SAMPLES / f"{CAMERA}_DQM_Run6001.tar.gz")).content
        rows = [
            Row(run, 1_700_000_000.0 + 60 * run, events=run, verdict=run % 4)
            for run in range(1, 401)
        ]
        with open_writer(made.settings) as writer:
            write_many(writer, content, rows)
            writer.store_run(replace(content, header=replace(content.header, run=6001)), None)
        made.user(
            "add", "anna", "--role", "expert", "--password-stdin", given="correct horse bat\n"
        )
        made.user("add", "ben", "--password-stdin", given="another horse bat\n")
        with made.server:
            yield made
