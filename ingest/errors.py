"""Errors of reading and storing results files."""

from __future__ import annotations

import os
from typing import ClassVar

from dqm_db.errors import DQMError


class ResultsFileError(DQMError):
    """A file cannot be read as a DQM results file; the text says in one line what is wrong."""


class Unreadable(ResultsFileError):
    """A file on this machine cannot be read now; nothing is known of what is in it."""


class NoInputFiles(DQMError):
    """Nothing that could be a results file was found where the user pointed."""

    exit_code: ClassVar[int] = 66


class OutputExists(DQMError):
    """A file would be overwritten."""

    exit_code: ClassVar[int] = 73


class OutputUnwritable(DQMError):
    """A file cannot be made or opened for writing."""

    exit_code: ClassVar[int] = 73


class OutputFailed(DQMError):
    """Not all of a file could be written, e.g. because the disk is full."""

    exit_code: ClassVar[int] = 74


class RunChanged(DQMError):
    """A run was replaced while the user was asked about it."""


def printable(name: str | os.PathLike[str]) -> str:
    r"""A file's name, or any text, as valid UTF-8 without control characters.

    Bytes that are not UTF-8, and what does not print (line ends, terminal controls, marks that
    reverse the direction of writing), come out as ``\x..`` and ``\u....``.
    """
    text = os.fspath(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def one_line(error: object, limit: int = 300) -> str:
    """Text of *error* on a single printable line, cut to *limit* characters."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
