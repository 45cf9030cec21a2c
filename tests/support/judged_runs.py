"""Verdicts on stored runs, as ingestion leaves them, for the tests of what shows them."""

from __future__ import annotations

from dqm_db import catalogue, verdicts
from dqm_db.checks import CheckResult, Status, Verdict
from dqm_db.records import unpack_header
from dqm_db.writer import Writer

CHARGE = "CHARGE-INTEGRATION-IMAGE-ALL-AVERAGE-HIGH-GAIN"
PEDESTAL = "CAMERA-AVERAGE-PED-OVEREVENTS-OVERSAMP-HIGH-GAIN"

TOO_MANY_BAD = CheckResult(
    "bad-pixels",
    "Bad pixels",
    Status.BAD,
    "30 pixels are bad.",
    30.0,
    "pixels",
    {"warning": (None, 10.0), "bad": (None, 20.0)},
    "CAMERA-BADPIX-PHY-OVEREVENTS-HIGH-GAIN-FRACTION",
    "bad",
)
WIDE = CheckResult(
    "charge-mean",
    "Mean charge, high gain",
    Status.WARNING,
    "The mean charge is low.",
    4446.7,
    "ADC counts",
    {"warning": (4500.0, 5000.0), "bad": (4000.0, 6000.0)},
    CHARGE,
    "mean",
)
NOT_JUDGED = CheckResult(
    "pedestal",
    "Pedestal",
    Status.UNKNOWN,
    "Pedestal: no data: the run has no pedestal events.",
    quantity=PEDESTAL,
)
FINE = CheckResult(
    "absent-modules", "Absent modules", Status.OK, "All modules are read out.", 0.0, "modules"
)


def forget_verdict(writer: Writer, camera: str, run: int) -> None:
    """Leave a run as an older release stored it: never judged."""

    def change(connection) -> None:
        found = connection.root()["nectarcam-dqm"].cameras[camera]
        verdicts.drop_verdict(found, run)
        catalogue.put_row(found.catalogue, unpack_header(found.runs[run].header), None)

    writer.commit(f"forget the verdict on run {run}", change)


def store_verdict(
    writer: Writer, camera: str, run: int, *results: CheckResult, checked_at: float = 1.9e9
) -> Verdict:
    """Store the verdict that *results* make, in a transaction of its own."""
    verdict = Verdict.of(results, "built-in thresholds, version 1", checked_at)

    def change(connection) -> None:
        found = connection.root()["nectarcam-dqm"].cameras[camera]
        verdicts.put_verdict(found, run, verdict)
        catalogue.put_row(found.catalogue, unpack_header(found.runs[run].header), verdict)

    writer.commit(f"judge run {run}", change)
    return verdict
