"""The run with which the one in front is compared: the one that was asked for, or a good one."""

from __future__ import annotations

from dataclasses import dataclass

from dqm_app.views.base import Ask

REFERENCE = "reference"
"""Key of the address."""


@dataclass(frozen=True)
class Reference:
    """The run to compare with.

    Attributes
    ----------
    run : int or None
    chosen : bool
        Whether it was asked for, rather than found.
    problem : str
        Why it is not the one that was asked for.
    """

    run: int | None
    chosen: bool
    problem: str

    @classmethod
    def of(cls, ask: Ask) -> Reference:
        """That of *ask*; the last good run before ours when another one makes no sense."""
        typed = ask.options.get(REFERENCE, "").strip()
        automatic = ask.runs.last_good(ask.run)
        if not typed:
            return cls(automatic, False, "")
        if ask.reference == ask.run:
            return cls(automatic, False, f"Run {ask.run} is the run itself")
        if str(ask.reference) != typed.lstrip("0"):
            return cls(automatic, False, f"There is no run “{typed[:20]}” of {ask.runs.name}")
        return cls(ask.reference, True, "")
