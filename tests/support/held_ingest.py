"""``dqm`` that stops in the middle of a commit: ``held_ingest.py MARKER COMMIT HOW ARGUMENT…``.

When commit number COMMIT has been written and is not finished yet, MARKER is made. HOW says for how
long: ``until-signal``, that is until a signal to stop has been noted, or ``for-ever``.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

from ZODB.FileStorage import FileStorage

from dqm.cli import main
from ingest.stopping import StopRequest

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def nothing_noted() -> bool:
    """Whether the signals still go to the `StopRequest`, which lets go of them at the first."""
    handlers = (getattr(signal.getsignal(number), "__self__", None) for number in SIGNALS)
    return all(isinstance(owner, StopRequest) for owner in handlers)


def hold(marker: Path, held: int, how: str) -> None:
    finish = FileStorage.tpc_finish
    commits = 0

    def held_finish(self: FileStorage, *arguments: Any, **options: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == held:
            marker.touch()
            while how == "for-ever" or nothing_noted():
                time.sleep(0.01)
        return finish(self, *arguments, **options)

    FileStorage.tpc_finish = held_finish


if __name__ == "__main__":
    hold(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    main(sys.argv[4:])
