"""Lines of the log, in which nothing that a client sends can steer a terminal."""

from __future__ import annotations

import logging

KEPT = "\n\t"
"""Messages of Bokeh have lines; those of what a client asks for have none, see Tornado."""


class PrintableRecord(logging.LogRecord):
    """A record whose message has no control characters, those of ISO 6429 (U+0080…) included."""

    def getMessage(self) -> str:  # noqa: N802
        """The message; what is not printable is replaced."""
        text = super().getMessage()
        if text.isprintable():
            return text
        return "".join(
            sign if sign.isprintable() or sign in KEPT else "\N{REPLACEMENT CHARACTER}"
            for sign in text
        )


def keep_lines_printable() -> None:
    """Log all messages of this process so from now on."""
    logging.setLogRecordFactory(PrintableRecord)
