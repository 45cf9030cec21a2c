"""Verdicts in the database, a record of its own per run, so that judging again rewrites no run; and
the thresholds that they were made with, which every dashboard can draw then.
"""

from __future__ import annotations

import logging
from typing import Any

from BTrees.IOBTree import IOBTree

from dqm_db.checks import CheckResult, Status, ThresholdSeries, Verdict
from dqm_db.codec import DamagedRecord, pack_record, unpack_record
from dqm_db.model import Camera, SmallRecord

LOG = logging.getLogger(__name__)


def put_verdict(camera: Camera, run: int, verdict: Verdict) -> None:
    """Store or replace the verdict of *run*; its catalogue row is for `dqm_db.catalogue`."""
    if camera.verdicts is None:
        camera.verdicts = IOBTree()
    data = pack_record(
        {
            "status": int(verdict.status),
            "thresholds": verdict.thresholds,
            "checked_at": verdict.checked_at,
            "results": [_document(result) for result in verdict.results],
        }
    )
    record = camera.verdicts.get(run)
    if record is None:
        camera.verdicts[run] = SmallRecord(data)
    else:
        record.data = data


def drop_verdict(camera: Camera, run: int) -> None:
    """Forget the verdict of *run*, if there is one."""
    if camera.verdicts is not None and run in camera.verdicts:
        del camera.verdicts[run]


def put_thresholds(camera: Camera, thresholds: ThresholdSeries) -> None:
    """Remember what verdicts on runs of *camera* are made with; what is the same stays as it is."""
    data = pack_record(thresholds.document())
    if camera.thresholds is None:
        camera.thresholds = SmallRecord(data)
    elif camera.thresholds.data != data:
        camera.thresholds.data = data


def applied_thresholds(camera: Camera) -> ThresholdSeries | None:
    """What the newest verdicts on runs of *camera* were made with; None: there were none."""
    if camera.thresholds is None:
        return None
    return ThresholdSeries.of_document(unpack_record(camera.thresholds.data))


def read_verdict(camera: Camera, run: int) -> Verdict | None:
    """The verdict of *run*; None: it was never judged."""
    record = None if camera.verdicts is None else camera.verdicts.get(run)
    if record is None:
        return None
    document: dict[str, Any] = unpack_record(record.data)
    return Verdict(
        status=Status(document["status"]),
        results=tuple(_result(result) for result in document["results"]),
        thresholds=document["thresholds"],
        checked_at=document["checked_at"],
    )


def verdict_before(camera: Camera, run: int) -> Verdict | None:
    """As `read_verdict`, for those who write: a damaged record is as good as none."""
    try:
        return read_verdict(camera, run)
    except DamagedRecord as error:
        LOG.warning("%s run %d counts as not judged: %s", camera.name, run, error)
        return None


def _document(result: CheckResult) -> dict[str, Any]:
    return {
        "check": result.check,
        "title": result.title,
        "status": int(result.status),
        "text": result.text,
        "value": result.value,
        "unit": result.unit,
        "limits": {name: list(pair) for name, pair in result.limits.items()},
        "quantity": result.quantity,
        "statistic": result.statistic,
    }


def _result(document: dict[str, Any]) -> CheckResult:
    limits = {name: (low, high) for name, (low, high) in document["limits"].items()}
    return CheckResult(**{**document, "status": Status(document["status"]), "limits": limits})
