"""Signs of life of both sides of a replication connection, and who notices that they end.

A network can swallow everything without a word, and a frozen server keeps its connections: TCP
tells nobody for hours. So each side asks the other for a sign of life every ``DQM_KEEP_ALIVE`` and
hangs up on one from which nothing has come for twice as long. Any byte is a sign of life, thus a
long transaction on a slow link is none of silence. Each side asks at its own pace and gets its
answers at that pace, so the two need not have the same setting.

In the stream of zc.zrs:

* A replica asks by an empty message. zc.zrs's secondary sends such messages too, and its primary
  ignores them. Ours answers by an empty message.
* A primary asks by an empty message as well, and a replica answers by `ALIVE`, to which nobody
  answers.
* In the middle of a transaction a primary neither asks nor answers: there an empty message means
  a record without data, or is part of a blob. What it sends is its sign of life. A replica asks
  every `WHILE_RECEIVING` seconds then, so that the primary hears of it.

An empty message changes no checksum of the stream; `ALIVE` goes the other way, which has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zc.zrs.sizedmessage

ASK: bytes = zc.zrs.sizedmessage.marshal(b"")
"""An empty message, as it is sent."""

ALIVE = b"alive"
"""The answer of a replica; the primary of zc.zrs takes messages of up to 8 bytes."""

WHILE_RECEIVING = 1.0
"""Seconds between the signs of life of a replica that is receiving a transaction."""


class SignsOfLife:
    """Asks the other side for signs of life, and tells when they end.

    All of it runs in the thread of the reactor.

    Parameters
    ----------
    clock
        The reactor, whose ``seconds`` must not jump.
    keep_alive
        Seconds between two questions; half of the silence that is taken for an end.
    ask
        Sends a question.
    silent
        Called once, when nothing has come for ``2 * keep_alive``.
    """

    def __init__(
        self,
        clock: Any,
        keep_alive: float,
        *,
        ask: Callable[[], None],
        silent: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._keep_alive = keep_alive
        self._ask = ask
        self._silent = silent
        self._began = self._heard = self._asked = clock.seconds()
        self._question: Any = None
        self._look: Any = None

    @property
    def limit(self) -> float:
        """The silence in seconds that is taken for an end."""
        return 2 * self._keep_alive

    @property
    def age(self) -> float:
        """Seconds since this began."""
        return float(self._clock.seconds() - self._began)

    def start(self) -> None:
        """Ask now, and go on until stopped."""
        self._look = self._clock.callLater(self.limit, self._look_out)
        self._go_on_asking()

    def stop(self) -> None:
        """Neither ask nor look any more."""
        for call in (self._question, self._look):
            if call is not None and call.active():
                call.cancel()
        self._question = self._look = None

    def heard(self) -> None:
        """Something has come from the other side."""
        self._heard = self._clock.seconds()

    def ask_again(self, after: float) -> None:
        """Ask between the usual questions, unless that was done less than *after* seconds ago."""
        if self._clock.seconds() - self._asked >= after:
            self._asked = self._clock.seconds()
            self._ask()

    def _go_on_asking(self) -> None:
        self._asked = self._clock.seconds()
        self._question = self._clock.callLater(self._keep_alive, self._go_on_asking)
        self._ask()

    def _look_out(self) -> None:
        left = self._heard + self.limit - self._clock.seconds()
        if left > 0:
            self._look = self._clock.callLater(left, self._look_out)
        else:
            # If it was we who stood still, a sign of life may have arrived meanwhile. The reactor
            # reads it before it calls this.
            self._look = self._clock.callLater(0, self._decide)

    def _decide(self) -> None:
        if self._clock.seconds() - self._heard < self.limit:
            self._look_out()
        else:
            self.stop()
            self._silent()
