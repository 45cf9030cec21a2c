"""The ``dqm`` command as users call it, without a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from click.testing import CliRunner

from dqm.cli import dqm
from dqm_db.errors import DQMError


@dataclass(frozen=True)
class Called:
    """What a command did."""

    code: int
    out: str
    err: str
    raw: bytes


Call = Callable[..., Called]


def caller(environment: Mapping[str, str]) -> Call:
    """Calls ``dqm`` with these variables."""

    def call(*arguments: object, stdin: str = "") -> Called:
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(dqm, words, env=environment, input=stdin)
        error = result.exception
        if isinstance(error, DQMError):  # what `dqm.cli.main` makes of it
            return Called(error.exit_code, result.stdout, f"{result.stderr}dqm: {error}\n", b"")
        assert error is None or isinstance(error, SystemExit), repr(error)
        return Called(result.exit_code, result.stdout, result.stderr, result.stdout_bytes)

    return call
