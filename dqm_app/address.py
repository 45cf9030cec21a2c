"""The address of a page: which camera, run, view and quantity it shows, and the view's options.

A page's query string, e.g. ``?camera=NectarCAMQM&run=6310&view=waveforms``. What else a view can
be asked for is in keys of its own, see `dqm_app.views.base.View.options`. A page follows the
newest run when ``follow=1``, or without ``run``; its address then names both, the run for those who
get the link. Every key may be missing or wrong: `resolve` finds a sensible page and says in words
what it did not find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from dqm_app.catalogues import Catalogues

LATEST = frozenset({"", "latest", "newest"})
YES = frozenset({"1", "true", "yes"})
FIXED = ("camera", "run", "follow", "view", "quantity")
"""Keys that every view has, in the order of an address."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a page was asked for; ``None`` leaves the choice to the dashboard.

    Attributes
    ----------
    camera, view, quantity : str or None
    run : int or None
        ``None`` follows the newest run of the camera.
    follow : bool
        Whether to follow the newest run although one is named.
    options : tuple of (str, str)
        All other keys, sorted.
    """

    camera: str | None = None
    run: int | None = None
    view: str | None = None
    quantity: str | None = None
    follow: bool = False
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> tuple[Address, tuple[str, ...]]:
        """Read the keys of a query string; which of its options a view knows is for `resolve`.

        Returns
        -------
        address : Address
        messages : tuple of str
            What could not be understood, in words.
        """
        messages = []
        run = None
        text = query.get("run", "").strip()
        if text.lower() not in LATEST:
            digits = text.lower().removeprefix("run").strip()
            if digits.isascii() and digits.isdigit() and len(digits) <= 18:
                run = int(digits)
            else:
                messages.append(f"“{text[:40]}” is not a run number; the newest run is shown.")
        names = {key: query.get(key, "").strip() or None for key in ("camera", "view", "quantity")}
        follow = query.get("follow", "").strip().lower() in YES
        options = sorted((key, text) for key, text in query.items() if key not in FIXED)
        return cls(run=run, follow=follow, options=tuple(options), **names), tuple(messages)

    def pairs(self) -> dict[str, str]:
        """The keys of the query string in their fixed order; those that are None are left out."""
        values = {
            "camera": self.camera,
            "run": self.run,
            "follow": "1" if self.follow else None,
            "view": self.view,
            "quantity": self.quantity,
            **dict(self.options),
        }
        return {key: str(value) for key, value in values.items() if value is not None}

    def query(self) -> str:
        """The query string, without ``?``."""
        return urlencode(self.pairs())


@dataclass(frozen=True, slots=True)
class Place:
    """An address that exists: camera and run are in the catalogue, the view is one of ours.

    ``quantity`` is what was asked for; which quantities there are only the run knows.
    ``follows`` tells whether the page stays on the newest run; ``options`` are those that the view
    knows, sorted.
    """

    camera: str
    run: int
    view: str
    quantity: str | None
    follows: bool
    options: tuple[tuple[str, str], ...] = ()

    def address(self) -> Address:
        """The address that leads here."""
        return Address(self.camera, self.run, self.view, self.quantity, self.follows, self.options)


@dataclass(frozen=True, slots=True)
class ViewKeys:
    """What `resolve` needs to know of a view: its title, and the keys of its options."""

    title: str
    options: Sequence[str] = ()


def resolve(
    address: Address,
    catalogues: Catalogues,
    views: Mapping[str, ViewKeys],
    *,
    opened: bool = False,
) -> tuple[Place | None, tuple[str, ...]]:
    """Find the page for an address.

    Parameters
    ----------
    address : Address
        What was asked for.
    catalogues : Catalogues
        What the database holds.
    views : mapping of str to ViewKeys
        By name, the default one first.
    opened : bool
        Whether somebody just opened this address, e.g. a link from a colleague: then it shows the
        run that it names, and follows only when that is still the newest one.

    Returns
    -------
    place : Place or None
        ``None`` when there is no run at all.
    messages : tuple of str
        What was asked for and does not exist, in words.
    """
    messages = []
    camera = catalogues.get(address.camera) if address.camera is not None else None
    run = address.run
    if camera is None:
        camera = catalogues.default
        if camera is None:
            return None, ()
        if address.camera is not None:
            messages.append(
                f"There is no camera “{address.camera[:40]}”; {camera.name} is shown instead."
            )
            run = None
    follows = run is None or (address.follow and (not opened or run == camera.newest))
    if run is None or follows:
        run = camera.newest
    elif run not in camera:
        nearest = camera.nearest(run)
        messages.append(
            f"Run {run} of {camera.name} is not in the database; "
            f"run {nearest}, the nearest one, is shown instead."
        )
        run = nearest
    default = next(iter(views))
    view = address.view or default
    if view not in views:
        messages.append(f"There is no view “{view[:40]}”; “{views[default].title}” is shown.")
        view = default
    options = tuple(pair for pair in address.options if pair[0] in views[view].options)
    place = Place(camera.name, run, view, address.quantity, follows, options)
    return place, tuple(messages)
