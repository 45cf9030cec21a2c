"""`DQM_*` variables that no setting has: most often slips of the pen, which would go unnoticed."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator

PREFIX = "DQM_"
SITE = "DQM_WEB_"
"""Begins the values of the site of nginx, which nginx is given with the same environment."""
INTERNAL = frozenset({"DQM_SERVED_WITH_LOGIN"})
"""Set by commands for processes that they start; nobody else sets them."""
CLIENT = frozenset({"DQM_TOKEN"})
"""Of `dqm_client`, which knows nothing of us."""
SETTINGS = (
    "backup.settings:BackupSettings",
    "dqm.repeat:RepeatSettings",
    "dqm_app.accounts.settings:AccountSettings",
    "dqm_app.downloads.settings:DownloadSettings",
    "dqm_app.settings:DashboardSettings",
    "dqm_db.settings:CheckSettings",
    "dqm_db.settings:DatabaseSettings",
    "dqm_db.settings:SecretSettings",
    "dqm_db.settings:ServerSettings",
    "dqm_db.settings:SystemSettings",
    "dqm_db.settings:VerificationSettings",
    "ingest.settings:IngestSettings",
    "ingest.sources.dirac:DiracSettings",
    "ingest.sources.settings:SourceSettings",
)


def known_variables() -> set[str]:
    """The variables of all settings."""
    names: set[str] = set()
    for place in SETTINGS:
        module, _, name = place.partition(":")
        fields = getattr(importlib.import_module(module), name).model_fields
        names |= {f"{PREFIX}{field.upper()}" for field in fields}
    return names


def unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """One line for each of *names* that looks like a variable of ours and is none."""
    ours = sorted(name for name in names if name.upper().startswith(PREFIX))
    known = known_variables() if ours else set()
    for name in ours:
        if name.upper() not in known | INTERNAL | CLIENT and not name.startswith(SITE):
            near = difflib.get_close_matches(name.upper(), known, n=1)
            meant = f"; is {near[0]} meant?" if near else "; docs/settings.md lists them"
            yield f"there is no setting {name}{meant}"
