"""The classes of containers and of this system: all that a server, or a check, loads of records."""

from __future__ import annotations

import functools
import importlib
import re

from persistent import Persistent

_MODULES = re.compile(r"BTrees\.[A-Z]{2}BTree|dqm_db\.model|persistent\.(mapping|list)|ZODB\.blob")


@functools.cache
def stored_class(module: str, name: str) -> type | None:
    """The class that a record calls so; None for anybody else's, of which nothing is imported."""
    if not _MODULES.fullmatch(module):
        return None
    found = getattr(importlib.import_module(module), name, None)
    return found if isinstance(found, type) and issubclass(found, Persistent) else None
