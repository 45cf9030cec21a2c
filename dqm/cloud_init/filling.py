"""Puts values into a template of user-data, and proves that nothing else of it has changed.

Placeholders are ``@NAME@``. One that stands alone as an item of a list, such as ``- "@SSH_KEY@"``,
may get several values: its line is repeated. The comment at the top, which explains placeholders,
is left out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import yaml

from dqm_db.errors import DQMError

HEADER = "#cloud-config"
PLACEHOLDER = re.compile(r"@([A-Z][A-Z0-9_]*)@")
_NO_LOGIN = re.compile(r"^( +)#(DQM_AUTH=none)$", re.MULTILINE)

LARGEST = 16_384
"""Bytes of user-data that every cloud takes; EC2 has the lowest limit."""

KEYS = frozenset(
    {
        *("apt", "bootcmd", "ca_certs", "chpasswd", "device_aliases", "disable_root"),
        *("disk_setup", "final_message", "fqdn", "fs_setup", "groups", "growpart", "hostname"),
        *("keyboard", "locale", "manage_etc_hosts", "manage_resolv_conf", "mount_default_fields"),
        *("mounts", "ntp", "package_reboot_if_required", "package_update", "package_upgrade"),
        *("packages", "phone_home", "power_state", "prefer_fqdn_over_hostname"),
        *("preserve_hostname", "random_seed", "resize_rootfs", "resolv_conf", "rsyslog", "runcmd"),
        *("snap", "ssh", "ssh_authorized_keys", "ssh_deletekeys", "ssh_genkeytypes"),
        *("ssh_import_id", "ssh_keys", "ssh_publish_hostkeys", "ssh_pwauth", "swap", "timezone"),
        *("ubuntu_advantage", "users", "write_files"),
    }
)
"""Top-level keys that cloud-init 22.4 (Debian 12) and later know, of modules that Debian and Ubuntu
run. ``cloud-init schema`` says nothing about others, and cloud-init passes over them."""

Values = Mapping[str, str | Sequence[str]]


class UnusableTemplate(DQMError):
    """A template of user-data is none, or has placeholders for which there is no value."""

    exit_code = 65


class UserDataTooLarge(DQMError):
    """User-data is larger than clouds take."""

    exit_code = 65


class _Loader(yaml.SafeLoader):
    """Refuses keys that are there twice, of which YAML parsers drop the first."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                problem=f"the key {key.value} is there twice", problem_mark=key.start_mark
            )
        seen.add(key.value)
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True)
        for key, value in node.value
    }


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def fill_in(template: str, values: Values, name: str) -> str:
    """The user-data that *template* becomes with *values*.

    Parameters
    ----------
    template
        Its text.
    values
        Of each placeholder, several for an item of a list; those that the template has no
        placeholder for are passed over.
    name
        What the template is called, for errors.

    Raises
    ------
    UnusableTemplate
        It is no cloud-config, has a placeholder without value, or a value would be more than a
        string in it.
    UserDataTooLarge
    """
    before = parse(template, name)
    body = _without_explanations(template)
    missing = set(PLACEHOLDER.findall(body)) - values.keys()
    if missing:
        raise UnusableTemplate(
            f"{name}: there is no value for {', '.join(f'@{one}@' for one in sorted(missing))}"
        )
    text = "\n".join(line for old in body.split("\n") for line in _lines(old, values, name))
    if parse(text, f"{name}, filled in") != _filled(before, values):
        raise UnusableTemplate(
            f"{name}: a value would change more than its placeholder; put quotes around that"
        )
    size = len(text.encode())
    if size > LARGEST:
        raise UserDataTooLarge(f"{name}: it has {size} bytes, and clouds take {LARGEST}")
    return text


def without_login(template: str, name: str) -> str:
    """The *template* of a machine whose dashboard shows everything to who can connect.

    Raises
    ------
    UnusableTemplate
        It does not have the line, behind ``#``, that says so.
    """
    text, found = _NO_LOGIN.subn(r"\1\2", template)
    if found != 1:
        raise UnusableTemplate(
            f"{name}: it has no line `#DQM_AUTH=none` that --no-login could put in force; "
            "write DQM_AUTH=none among its settings"
        )
    return text


def parse(text: str, name: str) -> dict[str, Any]:
    """What the user-data say.

    Raises
    ------
    UnusableTemplate
        They are no cloud-config, or have keys that cloud-init does not know.
    """
    if text.partition("\n")[0].rstrip() != HEADER:
        raise UnusableTemplate(f"{name}: its first line is not {HEADER}")
    try:
        found = yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise UnusableTemplate(f"{name}: it is no YAML ({said})") from error
    if not isinstance(found, dict):
        raise UnusableTemplate(f"{name}: it has no settings")
    unknown = sorted(str(key) for key in found.keys() - KEYS)
    if unknown:
        raise UnusableTemplate(
            f"{name}: cloud-init would pass over {', '.join(unknown)}, which it does not know"
        )
    return found


def _without_explanations(template: str) -> str:
    """The template with a word about where it comes from in place of the comment at its top."""
    first, *rest = template.split("\n")
    body = list(itertools.dropwhile(lambda line: line.startswith("#"), rest))
    return "\n".join([first, f"# Made by `dqm cloud-init` {version('nectarcam-dqm')}.", *body])


def _lines(line: str, values: Values, name: str) -> list[str]:
    """The line with its values; as many as there are values for an item of a list."""
    alone = re.fullmatch(rf'\s*- (["\']?){PLACEHOLDER.pattern}\1', line)
    if alone and not isinstance(several := values[alone[2]], str):
        return [line.replace(f"@{alone[2]}@", one) for one in several]
    for placeholder in PLACEHOLDER.findall(line):
        if not isinstance(values[placeholder], str):
            raise UnusableTemplate(
                f"{name}: @{placeholder}@ may have several values, and needs a line of its own: "
                f'- "@{placeholder}@"'
            )
    return [PLACEHOLDER.sub(lambda match: str(values[match[1]]), line)]


def _filled(node: Any, values: Values) -> Any:
    """The parsed template with values in its strings."""
    if isinstance(node, dict):
        return {_filled(key, values): _filled(value, values) for key, value in node.items()}
    if isinstance(node, list):
        filled: list[Any] = []
        for item in node:
            alone = PLACEHOLDER.fullmatch(item) if isinstance(item, str) else None
            several = values[alone[1]] if alone else ""
            filled += [_filled(item, values)] if isinstance(several, str) else several
        return filled
    if isinstance(node, str):
        return PLACEHOLDER.sub(lambda match: str(values[match[1]]), node)
    return node
