"""Counts what a server process keeps alive, without the application knowing.

Python imports this module at its start when the folder is on PYTHONPATH. On SIGUSR1 a process then
writes the numbers of its live objects of some classes to ``$BENCH_PROBE_FOLDER/PID.json``, garbage
that waits to be collected included; on SIGUSR2 it collects first. Children do the same.
"""

import gc
import json
import os
import signal
from pathlib import Path

COUNTED = {
    ("bokeh.document.document", "Document"): "documents",
    ("bokeh.server.session", "ServerSession"): "bokeh_sessions",
    ("dqm_app.session", "Session"): "sessions",
    ("bokeh.models.sources", "ColumnDataSource"): "sources",
    ("ZODB.Connection", "Connection"): "connections",
    ("ZEO.ClientStorage", "ClientStorage"): "clients",
}


def count(number: int, frame: object) -> None:  # noqa: ARG001
    if number == signal.SIGUSR2:
        gc.collect()
    counts = dict.fromkeys(COUNTED.values(), 0)
    for thing in gc.get_objects():
        kind = type(thing)
        name = COUNTED.get((kind.__module__, kind.__qualname__))
        if name is not None:
            counts[name] += 1
    path = Path(os.environ["BENCH_PROBE_FOLDER"]) / f"{os.getpid()}.json"
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(counts))
    unfinished.replace(path)


if "BENCH_PROBE_FOLDER" in os.environ:
    signal.signal(signal.SIGUSR1, count)
    signal.signal(signal.SIGUSR2, count)
