"""The `dqm` command: quick to import, complete, and its errors documented."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dqm.cli import SUBCOMMANDS, dqm, main
from dqm_db.errors import DQMError

ROOT = Path(__file__).parents[2]
PACKAGES = ("backup", "dqm", "dqm_app", "dqm_db", "ingest")
# What takes longer to import than the help of the command may take.
HEAVY = {
    *("astropy", "bokeh", "numpy", "pydantic", "rich", "tornado", "twisted"),
    *("ZEO", "ZODB", "zodburi", "backup", "ingest", "dqm_app", "dqm.demo", "dqm.simulation"),
}
COMMANDS_PAGE = (ROOT / "docs" / "commands.md").read_text()

SPY = """
import json, sys
sys.argv = json.loads(sys.argv[1])
try:
    from dqm.cli import main
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SPY, json.dumps(["dqm", *arguments])],
        capture_output=True,
        text=True,
        check=False,
    )
    imported = set(json.loads(ended.stderr.splitlines()[-1]))
    assert "dqm.cli" in imported
    assert not imported & HEAVY


def test_a_variable_that_no_setting_has_is_said_with_the_nearest_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DQM_DB_UR", "DQM_db_pool", "DQM_ZZZZZZZZ"):
        monkeypatch.setenv(name, "7")
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--list-conditions"])
    assert ended.value.code == 0
    assert capsys.readouterr().err.splitlines() == [
        "dqm: warning: there is no setting DQM_DB_UR; is DQM_DB_URL meant?",
        "dqm: warning: there is no setting DQM_ZZZZZZZZ; docs/settings.md lists them",
    ]


def test_without_variables_no_settings_are_imported() -> None:
    code = (
        "import sys; from dqm.variables import unknown_variables; "
        "assert not list(unknown_variables(['PATH'])); assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def errors() -> dict[str, type[DQMError]]:
    """All errors that users can act on, by name, wherever they are defined."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if "Error)" in path.read_text() and path.name not in ("main.py", "__main__.py"):
                module = path.relative_to(ROOT).with_suffix("")
                importlib.import_module(".".join(module.parts).removesuffix(".__init__"))
    found: dict[str, type[DQMError]] = {}
    waiting: list[type[DQMError]] = [DQMError]
    while waiting:
        error = waiting.pop()
        found[error.__name__] = error
        waiting.extend(error.__subclasses__())
    return found


def documented_codes() -> dict[str, int]:
    """Name of each error in the table of exit codes, with the code of its row."""
    rows = [line.split("|") for line in COMMANDS_PAGE.splitlines() if line.startswith("| ")]
    return {
        name.strip(" `"): int(row[1])
        for row in rows
        if row[1].strip().isdecimal()
        for name in row[2].split(",")
        if name.strip()
    }


def test_every_exit_code_is_documented() -> None:
    raised, documented = errors(), documented_codes()
    assert len(raised) > 10 and documented.keys() <= raised.keys()
    for error in raised.values():
        # One without a code of its own may be left to the row of what it is a kind of.
        names = [kind.__name__ for kind in error.__mro__ if kind.__name__ in documented]
        assert documented[names[0]] == error.exit_code, error
        assert error.__name__ in documented or "exit_code" not in vars(error), error


@pytest.mark.parametrize("name", sorted(errors()))
def test_an_error_is_one_line_and_its_exit_code(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = errors()[name]

    @click.command()
    def failing() -> None:
        raise error.__new__(error, "run 6001 is at fault")

    monkeypatch.setattr("dqm.cli.LazyGroup.get_command", lambda *_: failing)
    with pytest.raises(SystemExit) as ended:
        main(["rm"])
    assert ended.value.code == error.exit_code != 0
    assert capsys.readouterr().err == "dqm: run 6001 is at fault\n"


def test_the_command_line_is_wrong() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["no-such-command"])
    assert ended.value.code == 2


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_exists_and_explains_itself(name: str) -> None:
    asked = CliRunner().invoke(dqm, [name, "--help"])
    assert asked.exit_code == 0, asked.output
    assert asked.output.startswith(f"Usage: dqm {name}")
    with click.Context(dqm) as context:
        command = dqm.get_command(context, name)
    assert command is not None and command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help or option.type.name != "text", f"--{option.name} has no help"


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_is_documented_as_the_help_has_it(name: str) -> None:
    assert f"| `dqm {name}` | {SUBCOMMANDS[name][1]} |" in COMMANDS_PAGE
