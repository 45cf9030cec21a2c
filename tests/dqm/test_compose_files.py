"""The files for Compose: what they set is a setting, and what they hide stays hidden."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dqm.variables import known_variables, unknown_variables

DOCKER = Path(__file__).parents[2] / "docker"
FILES = sorted(path.name for path in DOCKER.glob("compose*.yaml"))
OF_LIBRARIES = {"BOKEH_SECRET_KEY"}


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text())
    return document


def services(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(name)["services"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_what_is_set_is_a_setting(name: str) -> None:
    environments = [service.get("environment", {}) for service in services(name).values()]
    assert any(environments)
    for environment in environments:
        assert not list(unknown_variables(environment))
    secrets = read(name).get("secrets", {})
    assert {one for one in secrets if one.isupper()} <= known_variables() | OF_LIBRARIES


@pytest.mark.parametrize("name", FILES)
def test_secrets_are_files_and_those_of_their_services(name: str) -> None:
    """No password is in these files: neither as a value, nor as what is taken without one."""
    declared = set(read("compose.yaml")["secrets"]) | set(read(name).get("secrets", {}))
    for service in services(name).values():
        assert set(service.get("secrets", [])) <= declared
    for secret, place in read(name).get("secrets", {}).items():
        assert place == {"file": f"${{STACK_SECRETS:-./secrets}}/{secret}"}
    assert not re.search(r"://\S*@|password *[:=]", (DOCKER / name).read_text())
