"""Kill -9 at random points under load: how often a transaction is lost, or servers diverge."""

from __future__ import annotations

import contextlib
import io
import logging
import random
from collections.abc import Iterator

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
    each = -(-plan.kill_trials // len(VICTIMS))
    failures = []
    with _quiet(), trials(folder, seed) as under_fire:
        for victim in VICTIMS:
            plan.say(f"{each} kills of the {victim}")
            try:
                under_fire.run([victim], each)
            except AssertionError as error:
                failures.append(f"{victim}: {error}")
                break  # what further trials would begin with is not sound any more
        kills, summary = dict(under_fire.kills), under_fire.summary()
    detail = {"seed": seed, "failures": failures, "summary": "" if failures else summary}
    return [
        Result("kill_losses", len(failures), detail),
        Result("kill_trials", sum(kills.values()), {"kills": kills}),
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the trials print, and what clients log of connections that end."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.getLogger().removeHandler(handler)
