"""What monitors get from ``/metrics``: counts of all processes, and what this one knows.

Two kinds, as they come about in two ways. What is *counted* (sessions, reads) lies in the files of
`MetricsFolder`, those of all processes added up by Prometheus' library. What is *known* (the last
transaction, pulls, servers) every process knows by itself, so whoever is asked tells its own, made
from what is there at that moment: it costs nothing as long as nobody asks.

Names follow Prometheus' conventions: base units, ``_total`` for counters, moments as
``_timestamp_seconds`` rather than as ages. What is not known is left out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from dqm_app.database_health import State
from dqm_app.meters import LoginResult
from dqm_app.metrics_folder import MetricsFolder
from dqm_app.readiness import lag_seconds
from dqm_app.service import Service
from dqm_db.errors import DatabaseUnavailable, NoDataYet
from dqm_db.operations import OperationName
from dqm_db.server_answers import transaction_time
from dqm_db.status.model import PRIMARY, Level, ServerStatus, SystemStatus

READ_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""
DASHBOARD = "dqm_dashboard"


class ProcessMeters:
    """`dqm_app.meters.Meters` of this process, in the files of a folder.

    Parameters
    ----------
    folder : MetricsFolder
    """

    def __init__(self, folder: MetricsFolder) -> None:
        if values.ValueClass is values.MutexValue:
            raise RuntimeError("prometheus_client was imported before its folder was made")
        with folder.locked():  # whoever reads must not find half a file
            folder.bury()
            self._processes = Gauge(
                f"{DASHBOARD}_processes",
                "Processes that serve pages.",
                registry=None,
                multiprocess_mode="livesum",
            )
            self._sessions = Gauge(
                f"{DASHBOARD}_sessions",
                "Pages that are open.",
                registry=None,
                multiprocess_mode="livesum",
            )
            self._opened = Counter(
                f"{DASHBOARD}_sessions_opened", "Pages that were opened.", registry=None
            )
            self._in_flight = Gauge(
                f"{DASHBOARD}_reads_in_flight",
                "Reads of the database that are under way.",
                registry=None,
                multiprocess_mode="livesum",
            )
            self._seconds = Histogram(
                f"{DASHBOARD}_read_seconds",
                "How long reads of the database took, with their wait for a thread.",
                registry=None,
                buckets=READ_BUCKETS,
            )
            errors = Counter(
                f"{DASHBOARD}_read_errors",
                "Reads of the database that failed.",
                ["kind"],
                registry=None,
            )
            logins = Counter(
                "dqm_logins",
                "Attempts to log in, by how they ended.",
                ["result"],
                registry=None,
            )
            self._logins = {result: logins.labels(str(result)) for result in LoginResult}
            self._unavailable = errors.labels("unavailable")
            self._other = errors.labels("other")
            for gauge in (self._sessions, self._in_flight):
                gauge.set(0)  # the number of a process may have been another one's
            self._processes.set(1)

    def session_opened(self) -> None:
        """A page has come."""
        self._sessions.inc()
        self._opened.inc()

    def session_closed(self) -> None:
        """It is gone."""
        self._sessions.dec()

    def login(self, result: LoginResult) -> None:
        """Somebody tried to log in."""
        self._logins[result].inc()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Time one read of the database."""
        began = time.perf_counter()
        self._in_flight.inc()
        try:
            yield
        except NoDataYet:  # it answers
            raise
        except DatabaseUnavailable:
            self._unavailable.inc()
            raise
        except Exception:
            self._other.inc()
            raise
        finally:
            self._in_flight.dec()
            self._seconds.observe(time.perf_counter() - began)


class Metrics:
    """Everything, as monitors read it.

    Parameters
    ----------
    service : Service
        Of this process.
    folder : MetricsFolder
        Of all processes.
    more : callable
        What else this process knows.
    """

    def __init__(
        self,
        service: Service,
        folder: MetricsFolder,
        more: Callable[[], Iterable[Metric]] = tuple,
    ) -> None:
        self._service = service
        self._folder = folder
        self._more = more
        self._counted = CollectorRegistry()
        MultiProcessCollector(self._counted, str(folder.path))

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their media type, in the format that the header *accept* asks for.

        Files are read in a thread; what this process knows is looked at on the event loop.
        """
        encode, media = choose_encoder(accept)
        known = Known([*known_metrics(self._service, time.time()), *self._more()])
        counted = await self._service.compute(self._read)
        registry = CollectorRegistry()
        registry.register(Known([*known.collect(), *counted]))
        return encode(registry), media

    def _read(self) -> list[Metric]:
        with self._folder.locked():
            self._folder.bury()
            return list(self._counted.collect())


class Known(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self._metrics


def known_metrics(service: Service, now: float) -> Iterator[Metric]:
    """What this process knows of the database and of the system; *now* in unix seconds."""
    yield _info("dqm", "This installation.", {"version": metadata.version("nectarcam-dqm")})
    yield from _of_database(service, now)
    status = service.system.status
    if status is not None:
        yield from _of_servers(status.servers)
        yield from _of_system(status)


def _of_database(service: Service, now: float) -> Iterator[Metric]:
    readable = service.health.state in (State.OK, State.EMPTY)
    yield one_value("dqm_database_readable", "1 if the database can be read.", readable)
    seen = service.last_transaction
    yield one_value(
        "dqm_database_last_transaction_timestamp_seconds",
        "When the last transaction was made that the dashboard has seen.",
        None if seen is None else transaction_time(seen),
    )
    yield one_value(
        "dqm_database_lag_seconds",
        "How long the primary has had something that the dashboard does not see.",
        lag_seconds(service, now),
    )
    runs = GaugeMetricFamily("dqm_runs", "Runs that are stored.", labels=["camera"])
    for camera in service.catalogues:
        runs.add_metric([camera], len(service.catalogues[camera]))
    yield runs
    pulls = service.pulls
    pull = pulls.pull
    yield one_value(
        "dqm_pull_finished_timestamp_seconds",
        "When the last pull ended.",
        None if pull is None else pull.finished,
    )
    yield one_value(
        "dqm_pull_exit_code",
        "With which the last pull ended; 0 is good.",
        None if pull is None else pull.exit_code,
    )
    yield one_value(
        "dqm_quarantined_files",
        "Files that could not be stored and wait for a person.",
        pulls.quarantined if readable else None,
    )


def _of_servers(servers: Iterable[ServerStatus]) -> Iterator[Metric]:
    gauges = {
        name: GaugeMetricFamily(f"dqm_server_{name}", text, labels=["server"])
        for name, text in _SERVER_GAUGES.items()
    }
    info = GaugeMetricFamily(
        "dqm_server_info",
        "Role, epoch, host and release of a server; always 1.",
        labels=["server", "role", "epoch", "host", "version"],
    )
    for server in servers:
        for name, value in _of_server(server).items():
            if value is not None:
                gauges[name].add_metric([server.address], float(value))
        answer = server.answer
        if answer is not None:
            epoch = "" if answer.epoch is None else str(answer.epoch)
            release = answer.versions.get("nectarcam-dqm", "")
            info.add_metric(
                [server.address, server.role or "", epoch, answer.host or "", release], 1.0
            )
    yield from gauges.values()
    yield info


_SERVER_GAUGES: Mapping[str, str] = {
    "up": "1 if a server answers.",
    "primary": "1 if it is the primary, 0 if a replica.",
    "last_transaction_timestamp_seconds": "When its last transaction was made.",
    "lag_seconds": "0 if it has all of the primary, else the age of its last transaction.",
    "lag_bytes": "What it lacks of the primary.",
    "following": "1 if a replica is connected to whom it follows.",
    "clients": "Clients that are connected to it.",
    "file_bytes": "Size of its Data.fs.",
    "blob_bytes": "Size of its blobs.",
    "aside_bytes": "Size of files that were set aside.",
    "disk_free_bytes": "What is free where its volume is.",
    "disk_size_bytes": "Size of the file system of its volume.",
    "start_timestamp_seconds": "When it was started.",
    "certificate_expiry_timestamp_seconds": "When its certificate ends.",
    "authority_expiry_timestamp_seconds": "When the CA of its certificate ends.",
}


def _of_server(server: ServerStatus) -> dict[str, float | None]:
    answer = server.answer
    if answer is None:
        return {"up": 0}
    return {
        "up": 1,
        "primary": None if server.role is None else server.role == PRIMARY,
        "last_transaction_timestamp_seconds": server.transaction_time,
        "lag_seconds": server.lag_seconds,
        "lag_bytes": server.lag_bytes,
        "following": None if answer.following is None else answer.following == "connected",
        "clients": answer.clients,
        "file_bytes": answer.file_bytes,
        "blob_bytes": answer.blob_bytes,
        "aside_bytes": answer.aside_bytes,
        "disk_free_bytes": answer.disk_free,
        "disk_size_bytes": answer.disk_total,
        "start_timestamp_seconds": answer.started,
        "certificate_expiry_timestamp_seconds": answer.certificate_expires,
        "authority_expiry_timestamp_seconds": answer.authority_expires,
    }


def _of_system(status: SystemStatus) -> Iterator[Metric]:
    finished = GaugeMetricFamily(
        "dqm_operation_finished_timestamp_seconds",
        "When the last backup, verification or pack ended.",
        labels=["operation"],
    )
    fine = GaugeMetricFamily(
        "dqm_operation_ok",
        "1 if the last backup, verification or pack ended well.",
        labels=["operation"],
    )
    operations = {} if status.database is None else status.database.operations
    for name in OperationName:
        if name in operations:
            finished.add_metric([str(name)], operations[name].finished)
            fine.add_metric([str(name)], float(operations[name].ok))
    yield finished
    yield fine
    items = GaugeMetricFamily(
        "dqm_status_items", "Things that `dqm status` judges, by level.", labels=["level"]
    )
    for level in Level:
        items.add_metric([str(level)], sum(item.level is level for item in status.items))
    yield items
    yield one_value(
        "dqm_status_timestamp_seconds", "When servers were asked for the last time.", status.at
    )


def one_value(name: str, text: str, value: float | None) -> Metric:
    """A gauge without labels; no value when it is not known."""
    found = GaugeMetricFamily(name, text)
    if value is not None:
        found.add_metric([], float(value))
    return found


def _info(name: str, text: str, labels: dict[str, str]) -> Metric:
    found = GaugeMetricFamily(f"{name}_info", f"{text} Always 1.", labels=list(labels))
    found.add_metric(list(labels.values()), 1.0)
    return found
