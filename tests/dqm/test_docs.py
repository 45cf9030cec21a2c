"""What the documents say is so: their settings, commands, files and links exist."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from dqm.cli import SUBCOMMANDS, dqm
from dqm.variables import CLIENT, known_variables

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
SETTINGS_PAGE = (ROOT / "docs" / "settings.md").read_text()
SITE = ROOT / "docker" / "nginx"
SITE_VALUES = set(re.findall(r"^(DQM_WEB_\w+)=", (SITE / "site.env").read_text(), re.MULTILINE))
SYSTEM_COMMANDS = {
    "apt-get",
    "cmp",
    "cp",
    "curl",
    "docker",
    "export",
    "git",
    "install",
    "loginctl",
    "make",
    "mkdir",
    "podman",
    "rm",
    "rsync",
    "runuser",
    "ssh",
    "systemctl",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "zcat",
}


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """All settings of all packages: variable and field."""
    for package in ("backup", "dqm", "dqm_app", "dqm_db", "ingest"):
        for path in (ROOT / package).rglob("*.py"):
            if not re.search(r"^class \w+\(\w+Settings\)", path.read_text(), re.MULTILINE):
                continue
            parts = path.relative_to(ROOT).with_suffix("").parts
            for value in vars(importlib.import_module(".".join(parts))).values():
                if isinstance(value, type) and issubclass(value, BaseSettings):
                    prefix = value.model_config.get("env_prefix", "")
                    for name, field in value.model_fields.items():
                        yield (prefix + name).upper(), field


def settings_row(name: str, field: FieldInfo) -> str:
    """The row of docs/settings.md for a setting."""
    default = field.default
    if default is PydanticUndefined:
        shown = "computed"
    elif default is None or default in ("", ()):
        shown = "–"
    elif isinstance(default, bool):
        shown = f"`{str(default).lower()}`"
    elif isinstance(default, int) and default >= 10_000:
        shown = f"`{default:_}`"
    elif isinstance(default, int | float):
        shown = f"`{default:g}`"
    else:
        shown = f"`{default}`"
    return f"| `{name}` | {shown} | {field.description} |"


@pytest.mark.parametrize(("name", "field"), sorted(dict(settings()).items()))
def test_every_setting_is_documented(name: str, field: FieldInfo) -> None:
    assert settings_row(name, field) in SETTINGS_PAGE.splitlines()


def test_no_setting_is_documented_that_does_not_exist() -> None:
    known = {name for name, _ in settings()}
    assert known == known_variables()
    for page in PAGES:
        mentioned = set(re.findall(r"\bDQM_[A-Z_]*[A-Z]\b(?!\*)", page.read_text()))
        assert mentioned <= known | SITE_VALUES | CLIENT, page


def test_every_value_of_the_site_is_documented() -> None:
    page = (ROOT / "docs" / "nginx.md").read_text()
    rows = re.findall(r"^\| (`DQM_WEB_.*?) \|", page, re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(rows))) == SITE_VALUES
    template = (SITE / "dqm.conf.template").read_text()
    assert set(re.findall(r"\$\{(DQM_WEB_\w+)\}", template)) == SITE_VALUES


def anchors(page: Path) -> set[str]:
    """Names under which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    html = re.findall(r'\b(?:src|srcset|href)="([^"\s]+)"', text)
    for target in [*re.findall(r"\]\(([^)\s]+)\)", text), *html]:
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}"


def commands() -> Iterator[tuple[Path, str]]:
    """Each line that the documents tell to type."""
    for page in PAGES:
        for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.M | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith(("$ ", "# ")):
                    yield page, line[2:]


@pytest.mark.parametrize(
    ("page", "line"), [pytest.param(p, c, id=f"{p.stem}: {c}") for p, c in commands()]
)
def test_commands_of_the_documents_exist(page: Path, line: str) -> None:
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z][A-Z_]*=.*", words[0]):
        words.pop(0)
    program = words[0].removeprefix(".venv/bin/")
    if program == "dqm":
        check_dqm(words[1:])
    elif program == "make":
        check_make(words[1:])
    else:
        environment = Path(sys.executable).parent
        assert program in SYSTEM_COMMANDS or shutil.which(program, path=str(environment)), program
    for word in words[1:]:
        if re.match(r"(tests|dqm\w*|ingest|benchmarks|systemd)/", word):
            assert (ROOT / word).exists(), word


def check_dqm(arguments: list[str]) -> None:
    """The subcommand exists and has each of the options, and takes as many arguments."""
    name = arguments[0]
    if name in ("--help", "--version"):
        return
    assert name in SUBCOMMANDS
    with click.Context(dqm) as context:
        command = dqm.get_command(context, name)
    assert command is not None
    while isinstance(command, click.Group):
        assert len(arguments) > 1, f"which command of dqm {name}?"
        command = command.commands[arguments.pop(1)]
    values, arguments_left, _ = command.make_parser(click.Context(command)).parse_args(
        arguments[1:]
    )
    positional = [p for p in command.params if isinstance(p, click.Argument)]
    assert not arguments_left, f"dqm {name} does not take {arguments_left}"
    for parameter in positional:
        assert not parameter.required or values.get(parameter.name or ""), parameter.name


def check_make(arguments: list[str]) -> None:
    """All targets exist; nothing is run."""
    dry = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert dry.returncode == 0, dry.stderr


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("run", "test", "lint", "bench", "soak", "pictures", "lock", "clean"):
        assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target


def test_the_locks_agree() -> None:
    pinned = re.compile(r"^([\w.\-\[\]]+)==(\S+)", re.MULTILINE)
    running = dict(pinned.findall((ROOT / "requirements.lock").read_text()))
    developing = dict(pinned.findall((ROOT / "requirements-dev.lock").read_text()))
    assert running.items() <= developing.items()
    assert {"zodb", "zeo", "zc-zrs", "bokeh", "numpy"} <= running.keys()
    assert {"pytest", "ruff", "mypy"} <= developing.keys()
