"""From older schemas to today's, one version at a time.

`Snapshot` reads today's schema only, so a release that raises `dqm_db.model.SCHEMA` adds a step
here; the next command that writes runs it. A step that must rewrite many records does so in several
calls: it returns before it is done without raising ``root.schema``, and is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dqm_db.errors import ForeignDatabase
from dqm_db.model import SCHEMA, Root

Step = Callable[[Root], None]

STEPS: Mapping[int, Step] = {
    # schema that the step starts from: function that brings the root to the next one
}


def migrate(root: Root, steps: Mapping[int, Step] = STEPS, target: int = SCHEMA) -> bool:
    """Run one step on *root*; False when it has the *target* schema already.

    Raises
    ------
    ForeignDatabase
        No step leads from the stored schema to the target.
    """
    if root.schema == target:
        return False
    step = steps.get(root.schema)
    if step is None:
        raise ForeignDatabase(
            f"the database has schema {root.schema}, from which no migration leads to {target}"
        )
    step(root)
    return True
