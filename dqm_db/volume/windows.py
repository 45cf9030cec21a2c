"""Reads a large file piece by piece, with memory for one piece."""

from __future__ import annotations

import os
from collections.abc import Iterator

PIECE = 1 << 20
"""Bytes that are read at once."""


BLOCK = 4096
"""Bytes of which a disk can tell whether they can be read."""


class FileEnds(OSError):
    """A file has fewer bytes than it should."""


class Window:
    """A piece of a file, moved to where it is read.

    Only bytes before the *end* that the caller names are ever read, and so remembered: what follows
    the last transaction of a live ``Data.fs`` may still change.

    Parameters
    ----------
    descriptor
        Of the open file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._piece = memoryview(bytearray(PIECE))
        self._start = self._stop = 0

    def get(self, position: int, length: int, end: int) -> bytes:
        """*length* bytes from *position* on.

        Raises
        ------
        FileEnds
            They reach beyond *end*, or the file does not have them.
        OSError
            The disk cannot read them.
        """
        if self._start <= position and position + length <= self._stop:
            offset = position - self._start
            return bytes(self._piece[offset : offset + length])
        return b"".join(map(bytes, self.views(position, length, end)))

    def peek(self, position: int, length: int, end: int) -> bytes:
        """As `get`, without moving the window: for a few bytes here and there."""
        if self._start <= position and position + length <= self._stop:
            return self.get(position, length, end)
        found = b""
        if position >= 0 and position + length <= end:
            found = os.pread(self._descriptor, length, position)
        if len(found) < length:
            raise FileEnds(f"byte {position}: {length} bytes reach beyond byte {end}")
        return found

    def views(self, position: int, length: int, end: int) -> Iterator[memoryview]:
        """The same bytes in pieces, each valid until the next one is asked for."""
        if position < 0 or position + length > end:
            raise FileEnds(f"byte {position}: {length} bytes reach beyond byte {end}")
        last = position + length
        while position < last:
            if not self._start <= position < self._stop:
                self._move(position, end)
            offset = position - self._start
            view = self._piece[offset : min(last, self._stop) - self._start]
            yield view
            position += len(view)

    def _move(self, position: int, end: int) -> None:
        self._start = self._stop = position
        piece = self._piece[: min(PIECE, end - position)]
        try:
            self._stop += os.preadv(self._descriptor, [piece], position)
        except OSError:
            # One bad sector: only what is in its block cannot be read.
            block = BLOCK - position % BLOCK
            self._stop += os.preadv(self._descriptor, [piece[:block]], position)
        if self._stop == position:
            raise FileEnds(f"the file ends at byte {position}, not at byte {end}")
