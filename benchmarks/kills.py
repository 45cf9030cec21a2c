"""Kill -9 at random points under load: how often a transaction is lost, or servers diverge."""

from __future__ import annotations

import random

from benchmarks.bars import Result
from benchmarks.plan import Plan
from benchmarks.pulling import find_test_servers

VICTIMS = ("primary", "replica")


def measure(plan: Plan) -> list[Result]:
    """Measure the group ``kills``, with the trials of the tests."""
    find_test_servers()
    from kill_trials import trials

    seed = random.SystemRandom().randrange(2**32)
    folder = plan.folder / "trials"
    folder.mkdir()
    done, failures = 0, []
    with trials(folder, seed) as under_fire:
        while done < plan.kill_trials and not failures:
            plan.say(f"trial {done + 1} of {plan.kill_trials}")
            done += 1
            try:
                under_fire.run([VICTIMS[done % len(VICTIMS)]], 1)
            except AssertionError as error:  # what the next ones begin with is not sound any more
                failures.append(str(error))
        summary = under_fire.summary()
    detail = {"seed": seed, "failures": failures, "summary": "" if failures else summary}
    return [
        Result("kill_losses", len(failures), detail),
        Result("kill_trials", done, {"victims": VICTIMS}),
    ]
