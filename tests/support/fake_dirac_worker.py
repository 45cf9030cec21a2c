"""Stands in for `ingest.sources.dirac_worker`: the same protocol, without DIRAC.

What it does with a request follows from the last part of its path; what it was asked it appends to
the file FAKE_DIRAC_LOG.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

CONTENT = b"a results file"
LOG = Path(os.environ["FAKE_DIRAC_LOG"])
PROXY = Path(os.environ.get("FAKE_DIRAC_PROXY", "/none"))
OPTIONS = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
FILES = [["/g/a.tar.gz", 14, 1.5, 7], ["/g/b.tar.gz", None, None, None]]


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def beats() -> None:
    while True:
        send({"beat": 0})
        time.sleep(0.05)


def proxy() -> float | None:
    """How many seconds the file says, None without a file."""
    return float(PROXY.read_text()) if PROXY.exists() else None


def answer(request: dict[str, Any]) -> dict[str, Any] | None:
    """Answer to *request*, None when there is none."""
    what = request["path"].rpartition("/")[2]
    if what.startswith("error-"):
        return {"error": what.removeprefix("error-"), "text": "two\nlines", "errno": 28}
    if what == "die":
        folder = Path(request["target"]).parent / f"{OPTIONS['--private']}-0"
        folder.mkdir()
        (folder / "partial").write_bytes(b"x")
        send({"folder": str(folder)})
        print("double free or corruption", file=sys.stderr, flush=True)
        os.abort()
    if what == "garbage":
        sys.stdout.write("INFO: something that DIRAC prints\n")
        sys.stdout.flush()
        return None
    if what in ("hold", "freeze"):
        return None
    if proxy() == 0:
        return {"error": "AuthExpired", "text": "the DIRAC proxy has expired"}
    if request["do"] == "list":
        return {"value": {"files": FILES, "folders": ["/g/c"], "links": ["/g/link"]}}
    Path(request["target"]).write_bytes(CONTENT)
    return {"value": {}}


def main() -> None:
    threading.Thread(target=beats, daemon=True).start()
    held: list[int] = []
    for line in sys.stdin:
        request = json.loads(line)
        with LOG.open("a") as log:
            log.write(json.dumps([os.getpid(), request["path"]]) + "\n")
        if request["path"].endswith("/freeze"):
            time.sleep(3600)  # reads nothing more
        if request["path"].endswith("/release"):
            for number in reversed(held):
                send({"id": number, "value": {"held": number}, "proxy": None})
        reply = answer(request)
        if reply is None:
            held.append(request["id"])
        else:
            send({"id": request["id"], "proxy": proxy(), **reply})
    with LOG.open("a") as log:
        log.write(json.dumps([os.getpid(), "end of input"]) + "\n")
    os._exit(0)


main()
