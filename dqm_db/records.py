"""How plain values (`dqm_db.content`) become the documents inside stored records, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqm_db.codec import pack_record, unpack_record
from dqm_db.content import EventCounts, Kind, Provenance, Quantity, RunHeader, RunTimes


@dataclass(frozen=True, slots=True)
class QuantityEntry:
    """A line in the list of a run's contents.

    Attributes
    ----------
    name : str
    kind : Kind
    unavailable : str or None
        Why there are no values.
    columns : mapping of str to (dtype, shape)
        What `dqm_db.reader.Snapshot.columns` returns, without the values.
    """

    name: str
    kind: Kind
    unavailable: str | None
    columns: Mapping[str, tuple[str, tuple[int, ...]]]


def pack_header(header: RunHeader) -> bytes:
    """`RunHeader` as a document."""
    return pack_record(
        {
            "camera": header.camera,
            "run": header.run,
            "times": asdict(header.times),
            "events": asdict(header.events),
            "absent_pixels": np.asarray(header.absent_pixels, np.uint16),
            "bad_pixels": header.bad_pixels,
            "provenance": asdict(header.provenance),
            "notes": list(header.notes),
        }
    )


def unpack_header(data: bytes) -> RunHeader:
    """Inverse of `pack_header`."""
    document: dict[str, Any] = unpack_record(data)
    return RunHeader(
        camera=document["camera"],
        run=document["run"],
        times=RunTimes(**document["times"]),
        events=EventCounts(**document["events"]),
        absent_pixels=document["absent_pixels"],
        bad_pixels=document["bad_pixels"],
        provenance=Provenance(**document["provenance"]),
        notes=tuple(document["notes"]),
    )


def pack_contents(quantities: Sequence[Quantity]) -> bytes:
    """The list of quantities, without their values, as a document."""
    return pack_record(
        {
            "quantities": [
                [
                    quantity.name,
                    quantity.kind.value,
                    quantity.unavailable,
                    [[key, *_signature(array)] for key, array in quantity.columns.items()],
                ]
                for quantity in quantities
            ]
        }
    )


def unpack_contents(data: bytes) -> tuple[QuantityEntry, ...]:
    """Inverse of `pack_contents`. A kind that this release does not know reads as generic."""
    document: dict[str, Any] = unpack_record(data)
    known = {kind.value for kind in Kind}
    return tuple(
        QuantityEntry(
            name=name,
            kind=Kind(kind) if kind in known else Kind.GENERIC,
            unavailable=unavailable,
            columns={key: (dtype, tuple(shape)) for key, dtype, shape in columns},
        )
        for name, kind, unavailable, columns in document["quantities"]
    )


def _signature(array: NDArray) -> tuple[str, list[int]]:
    return array.dtype.newbyteorder("<").str, list(array.shape)
