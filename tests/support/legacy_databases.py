"""Databases as nectarchain's tools write them, made of results files by astropy and ZODB alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import ZODB
from astropy.io import fits
from BTrees.OOBTree import OOBTree
from ZODB.Connection import TransactionMetaData
from ZODB.utils import z64
from zodbpickle.pickle import dumps

PROCESSORS = {
    # what start_dqm.py calls the results of each processor: beginnings of the names of its HDUs
    "Results_TriggerStatistics": ("TRIGGER-", "START-TIMES"),
    "Results_MeanWaveForms_HighGain": ("WF-",),
    "Results_MeanCameraDisplay_HighGain": ("CAMERA-AVERAGE",),
    "Results_ChargeIntegration_HighGain": ("CHARGE-", "PED-"),
    "Results_CameraMonitoring": ("CAMERA-TEMPERATURE",),
    "Results_PixelParticipation_HighGain": ("CAMERA-BADPIX-",),
    "Results_PixelTimeline_HighGain": ("CAMERA-BADPIXTIMELINE",),
    "Results_PingPongMonitoring": ("CAMERA-PING",),
}


def flat_entry(data: bytes) -> dict[str, dict[str, Any]]:
    """A results file as the ingestion of nectarchain 0.4.0 keeps it: the arrays as astropy gives
    them, big-endian and columns of larger records."""
    entry: dict[str, dict[str, Any]] = {}
    with fits.open(io.BytesIO(data)) as file:
        for hdu in file[1:]:
            name = hdu.header["EXTNAME"]
            if isinstance(hdu, fits.BinTableHDU):
                columns = [hdu.header[f"TTYPE{n + 1}"] for n in range(hdu.header["TFIELDS"])]
                entry[name] = {column: hdu.data[column] for column in columns}
            else:
                entry[name] = {name: hdu.data}
        for columns in entry.values():
            assert all(type(values) is np.ndarray for values in columns.values())
    return entry


def nested_entry(data: bytes) -> dict[str, dict[str, Any]]:
    """The same run as ``start_dqm.py --write-db`` keeps it: by processor, before a file was
    written, in native byte order, with numbers and lists where the processors return them."""
    entry: dict[str, dict[str, Any]] = {name: {} for name in PROCESSORS}
    for extname, columns in flat_entry(data).items():
        (processor,) = (
            processor
            for processor, beginnings in PROCESSORS.items()
            if extname.startswith(beginnings)
        )
        entry[processor].update([_as_returned(extname, columns)])
    return entry


def _as_returned(extname: str, columns: Mapping[str, Any]) -> tuple[str, Any]:
    native = {name: v.astype(v.dtype.newbyteorder("=")) for name, v in columns.items()}
    if extname == "TRIGGER-STATISTICS":
        return extname, {name: [int(values[0])] for name, values in native.items()}
    if extname == "START-TIMES":
        return extname, {name: [values[0]] for name, values in native.items()}
    if not native:
        return extname, []
    name, values = next(iter(native.items()))
    if len(native) > 1 or (name != "col0" and name.upper() != extname):
        return extname, native
    if name == "col0":
        return extname, values[0]  # a numpy scalar
    if extname.endswith("CHANGES-TIMES"):
        return name, values.tolist()
    return name, values


def write_entries(storage: Any, entries: Mapping[str, Any], *, bare: bool = False) -> None:
    """Store *entries* in the root, one transaction each; plain dicts with *bare*, as the oldest
    tools did. Closes the storage."""
    with closing(ZODB.DB(storage)) as db:
        for key, entry in entries.items():
            with db.transaction() as connection:
                connection.root()[key] = entry if bare else OOBTree(entry)


def rewrite_records(storage: Any, change: Callable[[bytes], bytes]) -> None:
    """Replace the pickle of every object. Closes the storage."""
    records = [
        (record.oid, record.tid, record.data) for one in storage.iterator() for record in one
    ]
    current = {oid: (tid, data) for oid, tid, data in records}
    _store(storage, {oid: (tid, change(data)) for oid, (tid, data) in current.items()})


def write_root(storage: Any, root: type, state: object) -> None:
    """Make an object of class *root* the root. Closes the storage."""
    _store(storage, {z64: (z64, dumps(root, 3) + dumps(state, 3))})


def _store(storage: Any, records: Mapping[bytes, tuple[bytes, bytes]]) -> None:
    with closing(storage):
        one = TransactionMetaData()
        storage.tpc_begin(one)
        for oid, (tid, data) in records.items():
            storage.store(oid, tid, data, "", one)
        storage.tpc_vote(one)
        storage.tpc_finish(one)
