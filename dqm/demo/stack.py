"""The processes of production on one machine: primary, replica and dashboard, on loopback.

The demo, the system tests and the benchmarks start the same `Stack`. Nothing in it is a shortcut:
each process is the `dqm` command that a machine of its own would run, told by the same settings
where it keeps its data, where it listens and whom it talks to.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from dqm.demo.ports import LOOPBACK, StackPorts, answers
from dqm.demo.processes import Guard, ProcessFailed, Supervised

START_TIMEOUT = 60.0


class Stack:
    """A primary, a replica of it and a dashboard that reads the replica.

    Parameters
    ----------
    directory
        Holds everything: `primary/`, `replica/`, `logs/`. It is made when it does not
        exist; a stack started again on the same directory has the same data.
    ports
        Where the processes listen; free ports when not given.
    num_procs
        Processes of the dashboard; 0 starts one for each processor.
    settings
        Further `DQM_*` variables for all processes. Those of the caller's own environment are
        not handed on, so that a stack never touches another database; only `DQM_LOCK_DIR` is, so
        that its writers and the caller's take the same lock.
    dashboard
        Whether the dashboard is started.
    transient
        Whether *directory* is removed should the caller be killed.

    Examples
    --------
    >>> with Stack(tmp_path) as stack:                                    # doctest: +SKIP
    ...     subprocess.run([*stack.command("ingest"), tarball], env=stack.environment())
    ...     urllib.request.urlopen(stack.dashboard_url)
    """

    def __init__(
        self,
        directory: Path,
        *,
        ports: StackPorts | None = None,
        num_procs: int = 0,
        settings: Mapping[str, str] | None = None,
        dashboard: bool = True,
        transient: bool = False,
    ) -> None:
        self.directory = directory.resolve()
        self.ports = ports or StackPorts.choose()
        self._settings = dict(settings or {})
        self._transient = self.directory if transient else None
        self._guard: Guard | None = None
        self._others: list[Supervised] = []
        self.primary = self.supervised(
            "primary",
            {
                "DQM_DATA_DIR": str(self.directory / "primary"),
                "DQM_ZEO_ADDRESS": f"{LOOPBACK}:{self.ports.primary}",
                "DQM_ZRS_ADDRESS": f"{LOOPBACK}:{self.ports.primary_replication}",
            },
        )
        self.replica = self.supervised(
            "replica",
            {
                "DQM_DATA_DIR": str(self.directory / "replica"),
                "DQM_ZEO_ADDRESS": f"{LOOPBACK}:{self.ports.replica}",
                "DQM_PRIMARY": f"{LOOPBACK}:{self.ports.primary_replication}",
            },
        )
        self.dashboard = self.supervised(
            "serve",
            {
                "DQM_DB_URL": self.replica_url,
                "DQM_PRIMARY_ZEO": f"{LOOPBACK}:{self.ports.primary}",
                "DQM_AUTH": "none",
                "DQM_STATE_DIR": str(self.directory / "state"),
                "DQM_SERVE_ADDRESS": LOOPBACK,
                "DQM_SERVE_PORT": str(self.ports.dashboard),
                "DQM_NUM_PROCS": str(num_procs),
            },
        )
        self.processes = [self.primary, self.replica, *([self.dashboard] if dashboard else [])]

    @property
    def primary_url(self) -> str:
        """URI of the primary database, for writers."""
        return f"zeo://{LOOPBACK}:{self.ports.primary}"

    @property
    def replica_url(self) -> str:
        """URI of the replica, for readers."""
        return f"zeo://{LOOPBACK}:{self.ports.replica}"

    @property
    def dashboard_url(self) -> str:
        """Address of the dashboard for a browser on this machine."""
        return f"http://{LOOPBACK}:{self.ports.dashboard}/"

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """A `dqm` command of this installation."""
        return [sys.executable, "-m", "dqm", *arguments]

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment of a process of this stack; without *settings*, that of a writing command."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("DQM_") or name == "DQM_LOCK_DIR"
        }
        servers = f"{LOOPBACK}:{self.ports.primary},{LOOPBACK}:{self.ports.replica}"
        own = {"DQM_DB_URL": self.primary_url, "DQM_SERVERS": servers}
        return {**inherited, "PYTHONUNBUFFERED": "1", **own, **self._settings, **(settings or {})}

    def supervised(
        self, name: str, settings: Mapping[str, str] | None = None, *arguments: str
    ) -> Supervised:
        """The `dqm` command *name* as a process of this stack, not started yet."""
        return Supervised(
            name,
            self.command(name, *arguments),
            self.environment(settings),
            self.directory / "logs" / f"{name}.log",
        )

    def start(self, *, poll: Callable[[], None] | None = None) -> None:
        """Start all processes and return when each of them answers.

        Parameters
        ----------
        poll
            Called while waiting; may raise to stop waiting, then `stop` has to be called.

        Raises
        ------
        ProcessFailed
            When one ends or does not answer in time; the message has the end of its log.
        """
        for process in self.processes:
            self.start_process(process, poll=poll)

    def start_process(self, process: Supervised, *, poll: Callable[[], None] | None = None) -> None:
        """Start one of the processes (again) and return when it answers."""
        ready = {
            self.primary: lambda: answers(self.ports.primary),
            self.replica: lambda: answers(self.ports.replica),
            self.dashboard: self._dashboard_answers,
        }[process]
        process.start(self._guarded())
        process.wait_until(ready, START_TIMEOUT, poll=poll)

    def launch(self, process: Supervised) -> None:
        """Start another process, which ends by itself or is the first to be stopped by `stop`."""
        process.start(self._guarded())
        self._others.append(process)

    def forget(self, process: Supervised) -> None:
        """Clear away a launched process that has ended."""
        process.stop()
        self._others.remove(process)

    def restart(self, process: Supervised) -> None:
        """Stop one of the processes in order and start it again on the same ports and data."""
        process.stop()
        self.start_process(process)

    def check(self) -> None:
        """Raise ProcessFailed when a process has ended by itself."""
        for process in self.processes:
            process.check()

    def stop(self) -> None:
        """Stop what runs: what was launched, the dashboard, then the replica, last the primary."""
        for process in reversed(self.processes + self._others):
            process.stop()
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _guarded(self) -> Guard:
        if self._guard is None:
            self._guard = Guard(self._transient)
        return self._guard

    def _dashboard_answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.dashboard_url, timeout=5) as answer:  # noqa: S310
                return answer.status == 200
        except urllib.error.HTTPError as error:
            raise ProcessFailed(
                f"the dashboard answers {self.dashboard_url} with {error}\n{self.dashboard.tail()}"
            ) from error
        except OSError:  # it does not listen yet
            return False

    def __enter__(self) -> Stack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
