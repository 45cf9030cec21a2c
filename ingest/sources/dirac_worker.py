"""DIRAC's side of the source `dirac:`, run by DIRAC's own Python and never imported by ours.

Needs the standard library and DIRAC, no more. Requests come from the standard input, answers go to
what was the standard output, one JSON object a line; whatever DIRAC prints goes to the standard
error. Requests are worked on at the same time and answered in any order, each exactly once:

    {"id": 1, "do": "ping"}                          {"id": 1, "value": {"pid": 4711}}
    {"id": 2, "do": "list", "path": LFN}             {"id": 2, "value": {"files": [[LFN, bytes, Unix
                                                       seconds, adler32], …], "folders": [LFN, …],
                                                       "links": [LFN, …]}, "proxy": 86000}
    {"id": 3, "do": "fetch", "path": LFN,            {"id": 3, "error": "NotFound", "text": "…",
     "target": FILE}                                   "proxy": 86000}

An error is the name of a class in `ingest.sources.errors`, or "OSError" with its "errno". "proxy"
is for how many seconds it is still valid, null where none is used. A line {"beat": n} each second
says that this process is alive, a line {"folder": "…"} where it is about to write; it removes that
folder, unless it dies before. It ends when its input does.

Each call of DIRAC's costs several round trips, for a list of files as for one, so that fetches that
wait are handed to it in lists. They go to a folder of their own near the targets, since DIRAC
leaves files that are empty, cut short or wrong behind under the name of the right ones.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import itertools
import json
import os
import re
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

Result = TypeVar("Result")

LINGER = 0.05
"""Seconds in which no further fetch arrives, after which those that wait are begun."""

BEAT = 1.0
"""Seconds between signs of life, and between looks at what has come to a halt."""

KINDS = tuple(
    (kind, re.compile(words, re.IGNORECASE))
    for kind, words in (
        ("AuthExpired", r"has expired|can't find proxy|no proxy|certificate expired"),
        ("AccessDenied", r"permission denied|unauthori[sz]ed|not authori[sz]ed|not permitted"),
        ("Corrupt", r"bad file size|bad checksum|error in the file crc"),
        ("NotFound", r"no such file|does not exist"),
    )
)
"""DIRAC tells most failures apart by their words only; what fits none is Unavailable."""


class Failure(Exception):
    """A request cannot be done; *kind* is the name of the error that our side raises."""

    def __init__(self, kind: str, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.kind = kind
        self.number = number


def failure(reason: object) -> Failure:
    """What DIRAC gives as its *reason* (a text, an exception, a dictionary) as a `Failure`."""
    text = " ".join(str(reason or "DIRAC gave no reason").split())
    kind = next((kind for kind, words in KINDS if words.search(text)), "Unavailable")
    return Failure(kind, text)


def outcome(call: Callable[[], Result]) -> Result | Failure:
    """What *call* returns, or the `Failure` that stands for what it raises."""
    try:
        return call()
    except Failure as error:
        return error
    except OSError as error:  # of a file here: those of the network DIRAC translates itself
        return Failure("OSError", str(error), error.errno or errno.EIO)
    except Exception as error:
        traceback.print_exc()
        return failure(repr(error))


def of_dirac(module: str, name: str) -> Any:
    """Something of DIRAC's, imported when it is first needed."""
    return getattr(importlib.import_module(f"DIRAC.{module}"), name)


class Dirac:
    """The calls of DIRAC that are needed; whatever way they fail, it is a `Failure`."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._started = False

    def start(self) -> None:
        """Import and initialize DIRAC, unless that is done, and make sure of a valid proxy."""
        with self._starting:
            if not self._started:
                try:
                    importlib.import_module("DIRAC").initialize()
                except Exception as error:  # of types that differ between its releases
                    raise self._not_started(error) from error
                self._started = True
        self._check_proxy()

    def _not_started(self, error: Exception) -> Failure:
        if isinstance(error, ImportError):
            return Failure("Unavailable", f"{sys.executable} cannot import DIRAC: {error}")
        try:
            self._check_proxy()
        except Failure as reason:
            return reason
        except Exception:  # it fails for the same reason as *error*, which is told
            traceback.print_exc()
        found = failure(getattr(error, "result", {}).get("Message") or repr(error))
        return Failure(found.kind, f"DIRAC does not start: {found}")

    def proxy_seconds(self) -> float | None:
        """For how long the proxy is valid, 0 without one; None when DIRAC uses none, or not yet."""
        try:
            return self._proxy()[0] if self._started else None
        except Exception:  # an answer is not lost for the sake of what goes with it
            traceback.print_exc()
            return None

    @staticmethod
    def _proxy() -> tuple[float | None, str]:
        settings = of_dirac("ConfigurationSystem.Client.ConfigurationData", "gConfigurationData")
        if settings.useServerCertificate():
            return None, ""
        found = of_dirac("Core.Security.ProxyInfo", "getProxyInfo")(disableVOMS=True)
        if not found["OK"]:
            return 0, f"there is no DIRAC proxy: {found['Message']}"
        where = found["Value"].get("path", "it")
        return max(0, found["Value"]["secondsLeft"]), f"the DIRAC proxy has expired: {where}"

    def _check_proxy(self) -> None:
        # Without a valid one, DIRAC says no more than that it failed "from any catalog".
        seconds, text = self._proxy()
        if seconds is not None and seconds <= 0:
            raise Failure("AuthExpired", text)

    def look(self, path: str) -> dict[str, Any]:
        """Value of the answer to a request "list"."""
        self.start()
        catalog = of_dirac("Resources.Catalog.FileCatalog", "FileCatalog")()
        reply = self._value(catalog.listDirectory(path, True))
        if path not in reply["Successful"]:
            raise failure(reply["Failed"].get(path, reply))
        found = reply["Successful"][path]
        return {
            "files": [described(name, entry) for name, entry in sorted(found["Files"].items())],
            "folders": sorted(found["SubDirs"]),
            "links": sorted(found.get("Links", ())),
        }

    def fetch(self, paths: list[str], folder: Path) -> dict[str, Path | Failure]:
        """Download *paths*, whose last parts differ, into *folder*; those that failed say why."""
        self.start()
        try:
            manager = of_dirac("DataManagementSystem.Client.DataManager", "DataManager")()
            reply = self._value(manager.getFile(paths, destinationDir=str(folder)))
        except (Failure, OSError):
            raise
        except Exception as error:
            traceback.print_exc()
            if len(paths) == 1:
                return {paths[0]: failure(repr(error))}
            # A file that it stumbles over must not take the others with it.
            return {path: self.fetch([path], folder)[path] for path in paths}
        good, bad = reply["Successful"], reply["Failed"]
        return {lfn: Path(good[lfn]) if lfn in good else failure(bad.get(lfn)) for lfn in paths}

    def _value(self, reply: dict[str, Any]) -> dict[str, Any]:
        if not reply["OK"]:
            self._check_proxy()  # it may have expired just now
            raise failure(reply["Message"])
        value: dict[str, Any] = reply["Value"]
        return value


def described(path: str, entry: dict[str, Any]) -> list[Any]:
    """Path, bytes, Unix seconds and adler32 of a file in the catalogue; None for what it lacks."""
    known = entry.get("MetaData", entry)
    changed = known.get("ModificationDate")
    # The catalogue keeps UTC and does not say so.
    seconds = changed.replace(tzinfo=UTC).timestamp() if isinstance(changed, datetime) else None
    checksum = str(known.get("Checksum") or "")
    is_adler = str(known.get("ChecksumType") or "Adler32").lower().startswith("ad")
    good = is_adler and re.fullmatch("[0-9a-fA-F]{1,8}", checksum)
    return [path, known.get("Size"), seconds, int(checksum, 16) if good else None]


class Queue:
    """Fetches that wait, handed out in lists."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._waiting: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._idle = 0

    def add(self, request: dict[str, Any]) -> None:
        """Append a request "fetch"."""
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()

    def take(self) -> list[dict[str, Any]]:
        """The next list, once there is one: at most a batch, or a fair share of what waits."""
        with self._changed:
            self._idle += 1
            while True:
                self._changed.wait_for(lambda: self._waiting)
                full = len(self._waiting) >= self._batch * self._idle
                if full or (not self._changed.wait(LINGER) and self._waiting):
                    break
            count = min(self._batch, -(-len(self._waiting) // self._idle))
            self._idle -= 1
            picked: dict[str, dict[str, Any]] = {}  # by the last part, which is all DIRAC keeps
            for request in list(self._waiting):
                name = request["path"].rpartition("/")[2]
                if len(picked) < count and name not in picked:
                    picked[name] = request
                    self._waiting.remove(request)
            return list(picked.values())


@dataclass(eq=False)
class Job:
    """Requests that one call of DIRAC's answers, and when it last got somewhere."""

    ids: list[int]
    folder: Path | None = None
    size: int = 0
    since: float = field(default_factory=time.monotonic)
    given_up: bool = False

    def has_halted(self, limit: float) -> bool:
        """Whether nothing more has arrived in its folder for *limit* seconds."""
        size = 0
        with contextlib.suppress(OSError):  # files are moved to their targets, and the folder goes
            for entry in self.folder.glob("*") if self.folder else ():
                size += entry.stat().st_size
        now = time.monotonic()
        if size != self.size:
            self.size, self.since = size, now
        return now - self.since > limit


class Worker:
    """Reads requests, hands them to threads and writes the answers."""

    def __init__(self, answers: BinaryIO, options: argparse.Namespace) -> None:
        self._answers = answers
        self._options = options
        self._dirac = Dirac()
        self._queue = Queue(options.batch)
        self._lock = threading.RLock()
        self._jobs: set[Job] = set()
        self._numbers = itertools.count()
        self._halted = 0

    def run(self, requests: BinaryIO) -> None:
        """Work until *requests* ends."""
        for _ in range(self._options.streams):
            self._spawn(self._fetch_lists)
        self._spawn(self._watch)
        for line in requests:
            request = json.loads(line)
            if request["do"] == "fetch":
                self._queue.add(request)
            elif request["do"] == "list":
                self._spawn(self._list, request)
            else:
                self._send({"id": request["id"], "value": {"pid": os.getpid()}})
        os._exit(0)  # a thread that hangs in DIRAC would keep the process

    def _spawn(self, function: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def _send(self, message: dict[str, Any]) -> None:
        with self._lock:
            try:
                self._answers.write(json.dumps(message).encode() + b"\n")
                self._answers.flush()
            except OSError:  # nobody reads any more
                os._exit(0)

    def _answer(self, number: int, result: dict[str, Any] | Failure) -> None:
        message: dict[str, Any] = {"id": number, "proxy": self._dirac.proxy_seconds()}
        if isinstance(result, Failure):
            message |= {"error": result.kind, "text": str(result), "errno": result.number}
        else:
            message["value"] = result
        self._send(message)

    def _list(self, request: dict[str, Any]) -> None:
        job = self._begun(Job([request["id"]]))
        result = outcome(lambda: self._dirac.look(request["path"]))
        with self._lock:
            self._jobs.discard(job)
            if not job.given_up:
                self._answer(request["id"], result)

    def _fetch_lists(self) -> None:
        given_up = False  # then another thread has taken the place of this one
        while not given_up:
            given_up = self._fetch(self._queue.take())

    def _fetch(self, requests: list[dict[str, Any]]) -> bool:
        """Answer *requests*, unless they were given up meanwhile: return whether they were."""
        # The caller may remove the folder of a target that it gave up, but not what is above all.
        above = Path(os.path.commonpath([Path(request["target"]).parent for request in requests]))
        folder = above / f"{self._options.private}-{next(self._numbers)}"
        self._send({"folder": str(folder)})
        job = self._begun(Job([request["id"] for request in requests], folder))
        paths = [request["path"] for request in requests]
        got = outcome(lambda: self._downloaded(paths, folder))
        results = dict.fromkeys(paths, got) if isinstance(got, Failure) else got
        with self._lock:
            self._jobs.discard(job)
            done = () if job.given_up else requests
            answers = {ask["id"]: moved(results[ask["path"]], ask["target"]) for ask in done}
        shutil.rmtree(folder, ignore_errors=True)  # what stays our side removes at the end
        for number, result in answers.items():
            self._answer(number, result)
        return job.given_up

    def _downloaded(self, paths: list[str], folder: Path) -> dict[str, Path | Failure]:
        folder.mkdir()
        return self._dirac.fetch(paths, folder)

    def _begun(self, job: Job) -> Job:
        with self._lock:
            self._jobs.add(job)
        return job

    def _watch(self) -> None:
        for beat in itertools.count():
            self._send({"beat": beat})
            for job in list(self._jobs):
                if not job.given_up and job.has_halted(self._options.timeout):
                    self._give_up(job)
            time.sleep(BEAT)

    def _give_up(self, job: Job) -> None:
        reason = f"nothing has come from DIRAC for {self._options.timeout:g} s"
        with self._lock:
            if job not in self._jobs:
                return  # done just now
            job.given_up = True
            for number in job.ids:
                self._answer(number, Failure("Unavailable", reason))
            self._halted += 1
            if self._halted > 2 * self._options.streams:
                print(f"{self._halted} threads hang in DIRAC: ending", file=sys.stderr, flush=True)
                os._exit(1)
        if job.folder is not None:
            self._spawn(self._fetch_lists)


def moved(result: Path | Failure, target: str) -> dict[str, Any] | Failure:
    """Value of the answer to a request "fetch", whose file gets its name."""
    if isinstance(result, Failure):
        return result
    return outcome(lambda: {"at": str(result.replace(target))})


def main() -> None:
    """Take the pipes for the protocol, so that nobody else reads or writes there, and work."""
    here = Path(__file__).resolve().parent
    # Modules beside this one are not DIRAC's: a `base` or `errors` that it imports is another one.
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != here]
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--private", required=True, help="how the names of its folders begin")
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    Worker(answers, parser.parse_args()).run(requests)


if __name__ == "__main__":
    main()
