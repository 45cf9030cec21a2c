"""Calls `dqm cloud-init`, with options that are in order, and reads what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from click.testing import CliRunner, Result

from dqm.cloud_init.commands import cloud_init
from dqm.shipped import shipped
from dqm_db.errors import ConfigurationError

KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFoAC2s18IPWGgihMwxwOu+UhC0BXmYF0HERoDXIB2GW me@DESK@home"
)
ECDSA = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNY2vSBAMBTd18rXgg1S"
    "OB3Ek3k6QxY4hJ/YrGbxxFDqP9zG2CYwHoX3cKbJ5C50PamA6KBY6x7MuJ8m0ZT0UiQ="
)
B64 = "abcdefgh" * 11
YESCRYPT = f"$y$j9T${B64[:22]}${B64[:43]}"
SHA512 = f"$6$saltsalt${B64[:86]}"
DIGEST = "0123456789abcdef" * 4
ROLES = ("rw", "ro")


def template(role: str) -> str:
    """The shipped one."""
    return (shipped("cloud-init") / f"dqm-web-app-{role}_cloud-init.yml").read_text()


def call(role: str = "rw", **changes: str | Sequence[str] | bool | None) -> Result:
    """The command with options that are in order, but for *changes*."""
    options: dict[str, Any] = {
        "ssh_key": KEY,
        "password_hash": YESCRYPT,
        "primary": "dqm-rw.example.org",
        "secondary": "10.8.0.2",
        "release": "https://example.org/dqm/0.1.0",
        "release_sha256": DIGEST,
        **changes,
    }
    arguments = ["--role", role]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(option)
        else:
            for one in [value] if isinstance(value, str) else value or []:
                arguments += [option, one]
    return CliRunner().invoke(cloud_init, arguments)


def made(role: str = "rw", **changes: str | Sequence[str] | bool | None) -> dict[str, Any]:
    """The user-data that it writes, parsed."""
    done = call(role, **changes)
    assert done.exit_code == 0, done.exception
    return yaml.safe_load(done.stdout)


def refused(role: str = "rw", **changes: str | Sequence[str] | bool | None) -> str:
    """What it says when it refuses an option, and writes nothing."""
    done = call(role, **changes)
    assert isinstance(done.exception, ConfigurationError), done.output
    assert done.stdout == ""
    return str(done.exception)


def file(data: dict[str, Any], path: str) -> str:
    """Content of a file that the machine gets."""
    [content] = [one["content"] for one in data["write_files"] if one["path"] == path]
    return content


def settings(text: str) -> dict[str, str]:
    """What a file of settings says, as systemd and shells read it."""
    lines = [line.partition("=") for line in text.splitlines() if line[0] != "#"]
    return {name: value.strip('"') for name, _, value in lines}
