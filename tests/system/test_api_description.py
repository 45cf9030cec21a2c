"""The OpenAPI document holds: schemathesis asks what it says, and what it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import CAMERA, QUANTITY, Api, interface

from dqm_app.api.handlers import routes as api_routes
from dqm_app.downloads.handlers import routes as file_routes

pytestmark = pytest.mark.system
RIGHT = f"""
[parameters]
"path.camera" = "{CAMERA}"
"path.run" = 6001
"path.quantity" = "{QUANTITY}"
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with interface(tmp_path_factory.mktemp("api")) as made:
        yield made


@pytest.fixture(scope="module")
def token(api: Api) -> str:
    return api.user("token", "anna", "--label", "tests", "--scope", "read", "--scope", "download")


def questions(api: Api, token: str, folder: Path, settings: str, *options: str) -> str:
    """Made by schemathesis, in *folder*; what it says when all is well."""
    (folder / "schemathesis.toml").write_text(settings)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"{api.url}/api/v1/openapi.json",
            f"--header=Authorization: Bearer {token}",
            "--seed=1",
            "--no-color",
            "--suppress-health-check=all",
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_whatever_is_asked(api: Api, token: str, tmp_path: Path) -> None:
    # without a token a browser is led to the login, and may change nothing: 302 and 403, not 401
    without = "--exclude-checks=missing_required_header"
    questions(api, token, tmp_path, "", "--max-examples=5", without)


def test_of_a_run_that_is_there(api: Api, token: str, tmp_path: Path) -> None:
    """Else nearly every answer would be that there is no such camera."""
    questions(api, token, tmp_path, RIGHT, "--max-examples=5", "--phases=fuzzing")


def test_every_address_and_property_is_described(api: Api, token: str) -> None:
    status, _, body = api.ask("/api/v1/openapi.json", token)
    assert status == 200
    document = json.loads(body)
    answered = len(api_routes()) - 2 + len(file_routes())  # but the document, and what is not there
    assert len(document["paths"]) == answered
    for model, schema in document["components"]["schemas"].items():
        for name, described in schema.get("properties", {}).items():
            assert described.get("description"), (model, name)
            if described.get("type") == "number" and "time" in described["description"].lower():
                assert "UTC" in described["description"], (model, name)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                assert parameter["description"], (path, parameter["name"])
