"""Results files of simulated runs, in the exact layout that production writes.

``simulate_run`` writes one file (``simulate_results`` gives its bytes), ``campaign`` a plausible
series of them. The parts:

* ``conditions`` what is wrong with a run (named conditions in ``conditions.toml``);
* ``camera`` the instrument: pedestals, gains, noise, temperatures, and their drift;
* ``faults`` which of its pixels and modules are affected in this run;
* ``events`` event types, times and bad-pixel flags; ``readout`` waveforms and charges;
* ``results`` puts them in the order of production; ``layout`` turns them into FITS bytes;
* ``archive`` packs them as the grid job does.
"""

from dqm.simulation.campaign import PlannedRun, campaign, plan_campaign
from dqm.simulation.conditions import Condition, FrontEnd, condition_named, named_conditions
from dqm.simulation.run import simulate_results, simulate_run

__all__ = [
    "Condition",
    "FrontEnd",
    "PlannedRun",
    "campaign",
    "condition_named",
    "named_conditions",
    "plan_campaign",
    "simulate_results",
    "simulate_run",
]
