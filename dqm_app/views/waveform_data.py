"""Waveforms out of a snapshot, as they were summed up at ingestion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dqm_app.plots.waveform import Waveforms
from dqm_db.content import RunHeader
from dqm_db.quantities import QuantityInfo, describe

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot

_WAVEFORMS = "WF-{events}-{gain}-GAIN"


def waveforms_of(info: QuantityInfo) -> str | None:
    """The pixel waveforms of the same class and gain; None for what has neither."""
    if info.gain is None or info.event_class is None:
        return None
    return _WAVEFORMS.format(events=info.event_class, gain=info.gain)


def load_waveforms(snapshot: Snapshot, header: RunHeader, quantity: str) -> Waveforms | None:
    """Mean, median and band of the pixel waveforms *quantity* that a run has.

    None when no pixel has a waveform.
    """
    info = describe(quantity)
    summary = snapshot.summary(header.camera, header.run, quantity)
    if not summary:
        return None
    return Waveforms(
        quantity=quantity,
        title=info.title,
        unit=info.unit,
        description=info.description,
        mean=summary["mean"],
        median=summary["median"],
        low=summary["low"],
        high=summary["high"],
    )
