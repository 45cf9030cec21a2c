"""Which of two primaries goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqm_db.replication.addresses import Address
from dqm_db.replication.errors import Fenced
from dqm_db.replication.fencing import require_only
from dqm_db.replication.identity import ServerIdentity
from dqm_db.server_answers import ServerAnswer

OWN = ServerIdentity("primary", 3, "serving", None, fence_at=50.0, host="one", started=100.0)
THERE = Address("10.8.0.2", 8100)


def answer_of(identity: ServerIdentity) -> ServerAnswer:
    return ServerAnswer(
        b"12345678",
        role=identity.role,
        epoch=identity.epoch,
        fence_state=identity.fence_state,
        fence_at=identity.fence_at,
        host=identity.host,
        started=identity.started,
    )


@pytest.mark.parametrize(
    "other",
    [
        replace(OWN, host="two", fence_at=60.0),
        replace(OWN, host="two", started=101.0),  # a copy of the volume, started later
        replace(OWN, host="two"),
    ],
)
def test_the_later_one_ends(other: ServerIdentity) -> None:
    assert str(THERE) in require_only(OWN, {THERE: answer_of(other)})
    with pytest.raises(Fenced, match=r"10\.8\.0\.2:8100 serves as primary in epoch 3, too"):
        require_only(other, {THERE: answer_of(OWN)})


@pytest.mark.parametrize(
    "other",
    [
        OWN,  # itself, under another name
        replace(OWN, host="two", role="replica"),
        replace(OWN, host="two", fence_state="demoted"),
        replace(OWN, host="two", epoch=2),  # which ends by its epoch
    ],
)
def test_others_do_not_matter(other: ServerIdentity) -> None:
    assert require_only(OWN, {THERE: answer_of(other)}) == ""


def test_one_of_an_older_release_counts_as_the_one_that_was_there_first() -> None:
    with pytest.raises(Fenced):
        require_only(OWN, {THERE: ServerAnswer(b"12345678", role="primary", epoch=3)})


times = st.floats(0, 2**36, allow_nan=False)
hosts = st.sampled_from(["one", "two"])


@given(times, times, hosts, times, times, hosts)
def test_of_any_two_exactly_one_ends(
    at: float, started: float, host: str, other_at: float, other_started: float, other_host: str
) -> None:
    first = replace(OWN, fence_at=at, started=started, host=host)
    second = replace(OWN, fence_at=other_at, started=other_started, host=other_host)
    if (first.host, first.started) == (second.host, second.started):
        return  # the same process
    ended = []
    for own, other in ((first, second), (second, first)):
        try:
            require_only(own, {THERE: answer_of(other)})
        except Fenced:
            ended.append(own)
    assert len(ended) == 1
