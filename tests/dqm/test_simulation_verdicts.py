"""What the checks say of each named condition: faults are found, and nothing else is."""

from __future__ import annotations

import pytest

from dqm.simulation import condition_named, named_conditions, simulate_results
from dqm_db.checks import Judge, RunFacts, Status, Verdict
from dqm_db.content import Provenance
from ingest.parse import parse_results

CAMERA = "NectarCAMQM"
EXPECTED = {
    # condition: status, and the checks that give it a worse one than INFO
    "healthy": (Status.OK, set()),
    "complete": (Status.INFO, set()),
    "no_pedestals": (Status.INFO, set()),
    "only_pedestals": (Status.OK, set()),
    "absent_modules": (Status.WARNING, {"absent-modules"}),
    "absent_modules_pre_v6": (Status.WARNING, {"absent-modules"}),
    "pre_v6": (Status.OK, set()),
    "no_temperature": (Status.OK, set()),
    "no_others": (Status.OK, set()),
    "long": (Status.INFO, set()),
    "negative_steps": (Status.WARNING, {"wrong-times", "backward-times"}),
    "bad_pixels": (Status.BAD, {"bad-pixels", "dead-pixels"}),
    "noisy_pixels": (Status.WARNING, {"noisy-pixels"}),
    "hot_module": (Status.WARNING, {"temperature-gradient"}),
    "pedestal_subtracted": (Status.OK, set()),
    "unknown_quantities": (Status.OK, set()),
}


def judged(condition: str) -> Verdict:
    data = simulate_results(CAMERA, 7, start=1746145800, condition=condition_named(condition))
    provenance = Provenance("/x.tar.gz", 1, 2, "x.fits", len(data), "0" * 64, 1.9e9, 1)
    content = parse_results(data, camera=CAMERA, run=7, provenance=provenance)
    return Judge().judge(
        CAMERA, RunFacts.of(content.header, content.quantities, content.statistics)
    )


def test_every_condition_is_judged_here():
    assert set(EXPECTED) == set(named_conditions())


@pytest.mark.parametrize("condition", EXPECTED)
def test_a_condition_is_judged_by_what_is_wrong_with_it(condition):
    verdict = judged(condition)
    status, checks = EXPECTED[condition]
    bad = {r.check for r in verdict.results if r.status in (Status.WARNING, Status.BAD)}
    assert (verdict.status, bad) == (status, checks)


@pytest.mark.parametrize(
    ("condition", "unknown", "reason"),
    [
        ("no_pedestals", "pedestal-mean-high", "no pedestal events"),
        ("only_pedestals", "charge-spread", "no non-pedestal events"),
        ("no_temperature", "temperature-mean", "temperature readings were not available"),
        ("pre_v6", "ping-pong", "no ping-pong state"),
    ],
)
def test_what_a_run_lacks_is_unknown_and_worsens_nothing(condition, unknown, reason):
    verdict = judged(condition)
    (result,) = [result for result in verdict.results if result.check == unknown]
    assert result.status is Status.UNKNOWN
    assert reason in result.text
    assert verdict.status < Status.WARNING
