"""What a container engine is told of a container."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from processes import DatabaseServer, ServerProcess, free_port

from dqm.healthcheck import DEFAULTS, role_of
from dqm.repeat import RepeatSettings
from dqm_app.settings import DashboardSettings
from dqm_db.settings import ServerSettings, SystemSettings

BIN = Path(sys.executable).parent


def _check(*arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [BIN / "dqm", "healthcheck", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("tini -- dqm primary", "server"),
        ("/opt/x/bin/python /opt/x/bin/dqm replica --from primary:5000", "server"),
        ("tini -- dqm serve --use-xheaders", "dashboard"),
        ("tini -- /share/docker/web.sh", "site"),
        ("tini -- dqm repeat --every 5m dqm ingest", "repeat"),
        ("tini -- dqm ingest /data/primary serve", None),
        ("tini -- tar zcf /backup/zodb.tar.gz /data/primary", None),
        ("tini -- dqm --help", None),
        ("", None),
    ],
)
def test_the_role_is_that_of_the_command(line: str, role: str | None) -> None:
    assert role_of(line.split(" ")) == role


def test_defaults_are_those_of_the_settings() -> None:
    kinds = (DashboardSettings, RepeatSettings, ServerSettings, SystemSettings)
    fields = {
        f"DQM_{name.upper()}": field for kind in kinds for name, field in kind.model_fields.items()
    }
    assert {name: str(fields[name].default or "") for name in DEFAULTS} == DEFAULTS


@pytest.mark.system
def test_a_server_with_tls_is_asked_by_any_name(tmp_path: Path) -> None:
    for command in (["ca"], ["host", "elsewhere.example.org"]):
        made = [BIN / "dqm", "certs", *command, "--dir", tmp_path / "ca"]
        subprocess.run(made, check=True, capture_output=True)
    own = tmp_path / "ca/hosts/elsewhere.example.org"
    tls = {f"DQM_TLS_{name.upper()}": str(own / f"{name}.pem") for name in ("ca", "cert", "key")}
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, path in tls.items():
        (secrets / name).write_text(f"{path}\n")
    with DatabaseServer(tmp_path, "primary", environment=tls) as server:
        address = {"DQM_ZEO_ADDRESS": f"0.0.0.0:{server.port}"}
        well = (0, f"primary answers at 0.0.0.0:{server.port}\n")
        assert _check("server", **address, **tls) == well
        assert _check("server", **address, DQM_SECRETS_DIR=str(secrets)) == well
        assert _check("server", **address)[0] == 69


@pytest.mark.system
def test_a_server_is_asked_where_it_listens(tmp_path: Path) -> None:
    with DatabaseServer(tmp_path, "primary") as server:
        port = server.port
        said = _check("server", DQM_ZEO_ADDRESS=f"0.0.0.0:{port}")
        assert said == (0, f"primary answers at 0.0.0.0:{port}\n")
    code, said_then = _check("server", DQM_ZEO_ADDRESS=f"0.0.0.0:{port}")
    assert (code, "does not answer" in said_then) == (69, True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        assert _check("server", "--patience", "0.2", DQM_ZEO_ADDRESS=place)[0] == 69


@pytest.mark.system
def test_it_loads_nothing_that_takes_long() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dqm", "healthcheck", "server"],
        env=os.environ | {"DQM_ZEO_ADDRESS": f"127.0.0.1:{free_port()}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 69
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "ipaddress" in loaded  # that of dqm.healthcheck
    assert not loaded & {"pydantic", "asyncio", "ZODB", "numpy", "cryptography"}


@pytest.mark.system
def test_a_dashboard_is_healthy_whatever_its_database_does(tmp_path: Path) -> None:
    port = free_port()
    environment = {"DQM_SERVE_PORT": str(port), "DQM_SERVE_PREFIX": "/dqm", "DQM_NUM_PROCS": "1"}
    nobody = {"DQM_DB_URL": f"zeo://127.0.0.1:{free_port()}", "DQM_DB_WAIT": "0.1"}
    log = tmp_path / "log"
    with ServerProcess(["dqm", "serve"], port, log, environment | nobody):
        assert _check("dashboard", **environment)[0] == 0
        code, said = _check("dashboard", **environment | {"DQM_SERVE_PREFIX": "/other"})
        assert (code, "answers with 404 to /other/health" in said) == (69, True)
    assert _check("dashboard", **environment)[0] == 69


def test_a_missing_setting_is_named() -> None:
    assert _check("repeat") == (
        78,
        "dqm: DQM_REPEAT_STATUS is not set, here or for dqm repeat\n",
    )
    assert _check("site", DQM_WEB_LISTEN="here")[0] == 78
