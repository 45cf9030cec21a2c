"""Which quantities a view offers, and which one it shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dqm_app.views.base import NothingToShow, QuantityChoice
from dqm_db.content import Kind
from dqm_db.quantities import QuantityInfo, describe, known_quantities
from dqm_db.records import QuantityEntry


def choices(
    entries: Sequence[QuantityEntry],
    kinds: Collection[Kind],
    section: str | None = None,
) -> list[QuantityChoice]:
    """Quantities of these kinds: those that the run has, and those that it could have.

    Known quantities that the run's file does not hold are listed with the reason, so that stepping
    through runs with one quantity chosen never changes the choice silently.

    Parameters
    ----------
    entries : sequence of QuantityEntry
        What the run holds.
    kinds : collection of Kind
        Which to offer.
    section : str, optional
        Only this section of ``quantities.toml``.
    """
    held = {entry.name: entry for entry in entries}
    found = [
        _choice(info, held.get(info.name))
        for info in known_quantities().values()
        if info.kind in kinds and section in (None, info.section)
    ]
    known = known_quantities()
    strangers = [
        _choice(describe(entry.name), entry)
        for entry in entries
        if entry.name not in known and entry.kind in kinds and section is None
    ]
    return found + strangers


def chosen(
    offered: Sequence[QuantityChoice], quantity: str | None, preferred: Sequence[str] = ()
) -> str:
    """The quantity to show: *quantity* when it is offered, else a default.

    The default is the first available one of *preferred*, then of all that are offered.

    Raises
    ------
    NothingToShow
        When the run has no values for *quantity*, or for any that is offered.
    """
    by_name = {choice.name: choice for choice in offered}
    choice = by_name.get(quantity or "")
    if choice is None:
        defaults = [by_name[name] for name in preferred if name in by_name] + list(offered)
        choice = next((c for c in defaults if c.available), defaults[0] if defaults else None)
    if choice is None:
        raise NothingToShow("Nothing of this kind is known for this run.")
    if not choice.available:
        raise NothingToShow(f"{choice.title}: {plainly(choice.reason or 'no data')}.")
    return choice.name


def plainly(reason: str) -> str:
    """A reason without the words that say no more than that there is one."""
    return reason.removeprefix("no data: ")


def why_missing(entries: Sequence[QuantityEntry], name: str) -> str | None:
    """Why the run has no values for *name*; None when it has."""
    held = next((entry for entry in entries if entry.name == name), None)
    return describe(name).unavailable if held is None else held.unavailable


def _choice(info: QuantityInfo, entry: QuantityEntry | None) -> QuantityChoice:
    reason = info.unavailable if entry is None else entry.unavailable
    return QuantityChoice(
        name=info.name,
        title=info.title,
        section=info.section,
        available=reason is None,
        reason=reason,
    )
