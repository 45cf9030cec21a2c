"""Files that ``dqm get`` writes: whole or not at all, and never over another by accident."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from pathlib import Path

import click

from ingest.errors import OutputExists, OutputFailed, OutputUnwritable, printable

_NOT_DURING_CREATION = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What goes wrong with the disk, not with the name."""


def write_output(data: bytes, output: Path, *, overwrite: bool) -> None:
    """Write *data* to the file *output*; ``-`` is standard output.

    A regular file is replaced in one step and keeps its permissions; symbolic links are followed.
    Pipes and devices are written to as they are.

    Raises
    ------
    OutputExists
        There is a file, or a disk, and *overwrite* is not set.
    OutputUnwritable
        The file cannot be made or opened.
    OutputFailed
        Not all of it could be written; a regular file is as it was before.
    """
    if str(output) == "-":
        _to_standard_output(data)
        return
    try:
        mode = _mode(output)
        needs_leave = mode is not None and (stat.S_ISREG(mode) or stat.S_ISBLK(mode))
        if needs_leave and not overwrite:
            raise OutputExists(
                f"{printable(output)} exists: give --overwrite, or another name with -o"
            )
        if mode is None or stat.S_ISREG(mode):
            _replace(data, Path(os.path.realpath(output)), mode)
        else:
            _write(data, output, os.open(output, os.O_WRONLY))
    except OSError as error:
        if error.errno in _NOT_DURING_CREATION:
            raise _failed(output, error) from error
        raise OutputUnwritable(
            f"{printable(output)} cannot be written: {error.strerror or error}"
        ) from error
    click.echo(f"wrote {printable(output)} ({len(data)} bytes)", err=True)


def _to_standard_output(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # click ends quietly when the reader has seen enough
    except OSError as error:
        # what is still buffered would fail once more when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise _failed("standard output", error) from error


def _mode(output: Path) -> int | None:
    """Type and permissions of what *output* leads to; None when there is nothing."""
    try:
        return output.stat().st_mode
    except FileNotFoundError:
        return None


def _replace(data: bytes, target: Path, mode: int | None) -> None:
    """Write beside *target*, then rename; a new file gets the permissions of the umask."""
    temporary = target.parent / f".dqm-{secrets.token_hex(8)}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        if mode is not None:
            os.fchmod(file, stat.S_IMODE(mode))
        _write(data, target, file)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write(data: bytes, output: Path, file: int) -> None:
    """Write and close *file*."""
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
    except OSError as error:
        raise _failed(output, error) from error


def _failed(output: Path | str, error: OSError) -> OutputFailed:
    return OutputFailed(
        f"{printable(output)} could not be written: {error.strerror or error}; "
        "make room, or give another place with -o"
    )
