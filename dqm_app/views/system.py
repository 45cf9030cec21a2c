"""System: whether servers, pulls and backups are as they should be, in plain HTML.

The words are in the tags of ``root``, from ``data/system.toml``; the document of
`dqm_app.system_page`, as text, in those of ``system-status``, which alone is sent again.
``static/system.js`` draws both.
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar

from bokeh.models import Column, Spacer

from dqm_app.theme import Theme
from dqm_app.views.base import Ask, NothingRead, QuantityChoice, View, ViewContext
from dqm_db.content import RunHeader
from dqm_db.records import QuantityEntry

if TYPE_CHECKING:
    from dqm_db.reader import Snapshot


class SystemView(View):
    """The state of the whole system, whatever run is looked at."""

    name: ClassVar[str] = "system"
    title: ClassVar[str] = "System"
    of_run: ClassVar[bool] = False
    of_database: ClassVar[bool] = False

    def __init__(self, context: ViewContext) -> None:
        self._system = context.system
        self.status = Spacer(name="system-status", visible=False)
        self.root = Column(name=f"figures-{self.name}", children=[self.status], visible=False)
        self.say(words=json.dumps(words()))
        self.refresh()

    @classmethod
    def quantities(cls, entries: Sequence[QuantityEntry]) -> list[QuantityChoice]:  # noqa: ARG003
        """None: it is not about runs."""
        return []

    @classmethod
    def load(cls, snapshot: Snapshot, header: RunHeader, ask: Ask) -> NothingRead:  # noqa: ARG003
        """Nothing: what is shown is in memory."""
        return NothingRead()

    def update(self, data: NothingRead) -> None:  # noqa: ARG002
        """Say how the system is."""
        self.refresh()

    def locate(self, run: int) -> None:  # noqa: ARG002
        """The page is there again: say how the system is by now."""
        self.refresh()

    def restyle(self, theme: Theme) -> None:
        """Nothing: the page's own style sheet does it."""

    def refresh(self) -> None:
        """Send the newest state, if it is another one."""
        text = self._system()
        if self.status.tags != [text]:
            self.status.tags = [text]


@functools.cache
def words() -> Mapping[str, Any]:
    """What the page says, from ``data/system.toml``."""
    text = resources.files("dqm_app").joinpath("data/system.toml").read_text("utf-8")
    return tomllib.loads(text)
