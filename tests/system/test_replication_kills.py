"""kill -9 at random points under load: what was committed is kept, on all servers alike.

The seed of the random points is printed; ``TRIAL_SEED=…`` repeats them, as well as processes can
repeat anything, and ``TRIALS=…`` is how many `make soak` makes of each kind.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from kill_trials import Trials, trials
from processes import eventually

pytestmark = pytest.mark.system

VICTIMS = [["primary"], ["replica"]]
IN_THE_SUITE = 5
IN_SOAK = int(os.environ.get("TRIALS", "100"))


@pytest.fixture(scope="module")
def under_fire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    seed = int(os.environ.get("TRIAL_SEED", random.SystemRandom().randrange(2**32)))
    with trials(tmp_path_factory.mktemp("kills"), seed) as ready:
        yield ready


@pytest.mark.timeout(600)  # ten starts of a server, on whatever machine
@pytest.mark.parametrize("victims", VICTIMS, ids=" and ".join)
def test_kills_at_random_points_lose_nothing(under_fire: Trials, victims: list[str]) -> None:
    looks = under_fire.watch.looks
    under_fire.run(victims, IN_THE_SUITE)
    eventually(lambda: under_fire.watch.looks > looks, "the replica was read meanwhile, or after")
    under_fire.watch.require_fine()


@pytest.mark.soak
@pytest.mark.parametrize(
    "victims",
    [*VICTIMS, ["primary", "replica"], ["primary", "replica", "tail"]],
    ids=" and ".join,
)
def test_many_kills_at_random_points_lose_nothing(
    under_fire: Trials, victims: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    looks = under_fire.watch.looks
    under_fire.run(victims, IN_SOAK)
    assert under_fire.watch.looks > looks
    with capsys.disabled():
        print(f"\n{under_fire.summary()}")
