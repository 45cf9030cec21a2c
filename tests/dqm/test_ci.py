"""The check of every change: what it runs, with its arguments as they were given."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-x"],
        ["-k", "a and b", "--lf"],
        ["-k", "it's $HOME", 'say "yes"', "*", ""],
    ],
)
def test_arguments_reach_pytest(tmp_path: Path, arguments: list[str]) -> None:
    make = shutil.which("make")
    assert make is not None
    # What would install, or run, only says what it would run.
    for name, script in {
        "make": f'exec {make} --dry-run "$@"',
        "chromium": "exit 0",
        "apt-get": "exit 1",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    # The suite is itself run by make, which would tell its children to be more talkative.
    outside = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    said = subprocess.run(
        [ROOT / ".ci" / "run", *arguments],
        env={**outside, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commands = [line for line in said.splitlines() if re.match(r"(\S*/apart )?\S*/pytest ", line)]
    words = shlex.split(commands[0])
    assert words[len(words) - len(arguments) :] == arguments
    assert "not soak and not grid and not deploy" in words
    # the other tiers run last, and only when nothing was selected
    others = [shlex.split(line) for line in commands[1:]]
    tiers = [words[words.index("-m") + 1] for words in others]
    assert tiers == ([] if arguments else ["grid", "deploy"])
    assert commands[-1] == said.splitlines()[-1]


def test_a_failure_ends_it(tmp_path: Path) -> None:
    for name in ("make", "chromium", "apt-get"):
        (tmp_path / name).write_text('#!/bin/sh\necho "$1"\nexit 2\n')
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci" / "run"],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == "test\n"
