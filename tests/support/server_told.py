"""What servers say of themselves, made up."""

from __future__ import annotations

from typing import Any

from dqm_db.replication.addresses import Address
from dqm_db.server_answers import ServerAnswer
from dqm_db.volume.fence import SERVING

ONE = Address("10.8.0.1", 8100)
TWO = Address("10.8.0.2", 8101)


def answer(tid: int = 0, **told: Any) -> ServerAnswer:
    return ServerAnswer(tid.to_bytes(8, "big"), is_ours=True, **told)


def primary(epoch: int = 0, state: str = SERVING, tid: int = 0, **told: Any) -> ServerAnswer:
    return answer(tid, role="primary", epoch=epoch, fence_state=state, **told)


def replica(epoch: int = 0, state: str = SERVING, tid: int = 0, **told: Any) -> ServerAnswer:
    return answer(tid, role="replica", epoch=epoch, fence_state=state, **told)
