"""Verdicts as they stand in the catalogue, for the tests of what shows them."""

from __future__ import annotations

from dqm_db.catalogue import CHUNK
from dqm_db.codec import pack_record, unpack_record
from dqm_db.writer import Writer


def judge(writer: Writer, camera: str, run: int, status: int) -> None:
    """Give a stored run another verdict, in a transaction of its own."""

    def change(connection) -> None:
        root = connection.root()["nectarcam-dqm"]
        chunk = root.cameras[camera].catalogue[run // CHUNK]
        columns = dict(unpack_record(chunk.columns))
        verdicts = columns["verdict"].copy()
        verdicts[columns["run"] == run] = status
        chunk.columns = pack_record(columns | {"verdict": verdicts})

    writer.commit(f"judge run {run}", change)
