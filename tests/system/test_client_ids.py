"""Ids of new objects, which a server gives in advance and forgets when it is killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from processes import LOOPBACK, PATIENCE, DatabaseServer, eventually

from dqm_db.zeo_client import Client

pytestmark = pytest.mark.system


def test_no_id_is_given_twice_after_a_restart(
    database_server: Callable[..., DatabaseServer],
) -> None:
    primary = database_server("primary").start()
    address = (LOOPBACK, primary.port)
    stayed = Client(address, wait_timeout=PATIENCE)
    before = stayed.new_oid()
    assert stayed.new_oid() != before
    assert stayed._oids, "it has asked for more than it needed"
    primary.kill()
    primary.start()
    eventually(stayed.is_connected, "the client is connected again")
    came = Client(address, wait_timeout=PATIENCE)
    theirs = {came.new_oid() for _ in range(150)}
    ours = {stayed.new_oid() for _ in range(150)}
    assert len(theirs) == len(ours) == 150
    assert not theirs & ours
    stayed.close()
    came.close()
