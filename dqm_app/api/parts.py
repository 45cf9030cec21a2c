"""What the programming interface of one dashboard process has."""

from __future__ import annotations

from dqm_app.api.encoder import Encoder
from dqm_app.api.turns import Turns


class Api:
    """Turns and encoder; made on the event loop.

    Parameters
    ----------
    read_threads : int
        That read the database for pages and programs; one is always left to pages, if there are
        several.
    """

    def __init__(self, read_threads: int) -> None:
        self.turns = Turns(max(read_threads - 1, 1))
        self.encoder = Encoder()

    def close(self) -> None:
        """End the process that encodes."""
        self.encoder.close()
