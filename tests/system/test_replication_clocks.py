"""Clocks of servers that jump by hours."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet import Fleet, told
from processes import eventually
from shifted_clock import ShiftedClock
from ZODB.FileStorage import FileIterator
from ZODB.TimeStamp import TimeStamp

pytestmark = pytest.mark.system

JUMP = 7200.0


def test_clocks_that_jump(tmp_path: Path) -> None:
    clocks = {name: ShiftedClock(tmp_path, name) for name in ("primary", "replica")}
    with Fleet(
        tmp_path,
        {"DQM_KEEP_ALIVE": "1"},
        primary=clocks["primary"].environment,
        replica=clocks["replica"].environment,
    ) as fleet:
        fleet.put("a", "at the right time")
        fleet.converge()
        real = TimeStamp(fleet.primary.last_transaction()).timeTime()
        for number, shift in enumerate((JUMP, -JUMP, 0.0)):
            for name, clock in clocks.items():
                clock.set(shift)
                fleet.put("a", f"{name} {number}")
                fleet.converge()
        # It did jump: transactions have got the time of then, and later ones follow that.
        latest = TimeStamp(fleet.primary.last_transaction()).timeTime()
        assert latest > real + JUMP / 2
        answer = told(fleet.replica)
        assert answer.heard is not None
        assert answer.now is not None

        # Set back while the replica waits for its next attempt, and while it watches for silence.
        clocks["replica"].set(JUMP)
        fleet.relay.cut()
        eventually(lambda: told(fleet.replica).following == "unreachable", "the cut is noticed")
        clocks["replica"].set(-JUMP)
        fleet.relay.mend()
        fleet.follows()
        clocks["replica"].set(-2 * JUMP)
        fleet.relay.swallow()
        fleet.replica.wait_for_log("no sign of life for 2 s")
        fleet.relay.mend()

        clocks["primary"].set(-JUMP)
        fleet.primary.kill()
        fleet.primary.start()
        fleet.put("a", "at last")
        fleet.converge()
        assert fleet.get(fleet.tail, "a") == "at last"
        tids = [found.tid for found in FileIterator(str(fleet.tail.data_file))]
        assert tids == sorted(set(tids))
