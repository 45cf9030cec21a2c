"""What real servers tell of themselves, without a login."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import ZODB
from processes import LOOPBACK, DatabaseServer, eventually, frame, read_frame
from ZODB.blob import Blob

KEYS = {
    *("role", "epoch", "fence_state", "fence_at", "asks", "source", "following"),
    *("reason", "heard", "replicas"),
    *("clients", "file_bytes", "blob_bytes", "disk_free", "disk_total", "aside_bytes", "packed"),
    *("started", "host", "versions", "certificate_expires", "authority_expires", "now"),
}


def told_by(server: DatabaseServer) -> dict[str, Any]:
    with socket.create_connection((LOOPBACK, server.port), 5) as connection:
        connection.sendall(frame(b"ruok"))
        stream = connection.makefile("rb")
        read_frame(stream)
        answer = read_frame(stream)
        stream.close()
    return json.loads(answer)["1"]["dqm"]


@pytest.mark.parametrize("stock", [False, True], ids=["dqm", "runzeo"])
def test_servers_tell_of_themselves(tmp_path: Path, stock: bool) -> None:
    began = time.time()
    with (
        DatabaseServer(tmp_path, "primary", stock=stock) as primary,
        DatabaseServer(tmp_path, "replica", source=primary, stock=stock) as replica,
    ):
        db = ZODB.DB(primary.client(blob_dir=str(tmp_path / "cache")))
        with db.transaction() as connection:
            connection.root()["blob"] = Blob(b"x" * 1000)
        replica.wait_for(primary)

        told, by_replica = told_by(primary), told_by(replica)
        assert told.keys() == by_replica.keys() == KEYS
        assert (told["role"], told["source"], told["following"]) == ("primary", None, None)
        assert by_replica["role"] == "replica"
        assert by_replica["source"] == f"{LOOPBACK}:{primary.replication_port}"
        assert by_replica["following"] == "connected"
        (follower,) = told["replicas"]
        assert follower["sent"] == primary.last_transaction().hex()
        assert follower["peer"].startswith(f"{LOOPBACK}:")
        assert began < follower["connected_since"] < told["now"]
        assert (told["clients"], by_replica["clients"], by_replica["replicas"]) == (1, 0, [])
        assert told["file_bytes"] == primary.data_file.stat().st_size
        assert told["host"] == socket.gethostname()
        assert 0 < told["disk_free"] <= told["disk_total"]
        assert began < told["started"] < told["now"]
        assert set(told["versions"]) == {"nectarcam-dqm", "python", "ZODB", "ZEO", "zc.zrs"}
        assert all(told["versions"].values())
        assert told["packed"] is None
        # Counted at the start, when there were no blobs.
        assert eventually(lambda: told_by(primary)["blob_bytes"] is not None, "blobs are counted")

        db.pack()
        assert told_by(primary)["packed"] >= told["now"]
        db.close()
        primary.stop()
        eventually(
            lambda: told_by(replica)["following"] == "unreachable", "the replica notices the end"
        )
        primary.start()
        packed_at = told_by(primary)["packed"]
        assert packed_at is not None  # remembered on the disk
        assert told["now"] - 1 < packed_at < told_by(primary)["started"]


def test_what_cannot_be_found_leaves_the_rest(tmp_path: Path) -> None:
    with DatabaseServer(tmp_path, "primary") as primary:
        eventually(lambda: told_by(primary)["blob_bytes"] is not None, "blobs are counted")
        primary.data_file.rename(tmp_path / "elsewhere")
        told = told_by(primary)
        assert told["disk_free"] is None
        assert told["role"] == "primary"
        told_by(primary)
        assert primary.text().count("cannot tell 'disk'") == 1
        assert "Traceback" not in primary.text()
