"""The classes whose objects this system stores: all that anybody need load of a volume.

What reads a volume or a backup that may have been through anything loads no other, so that nothing
that is stored can do anything.
"""

from __future__ import annotations

import inspect

from BTrees.IIBTree import IIBTree, IIBucket, IISet, IITreeSet
from BTrees.IOBTree import IOBTree, IOBucket
from BTrees.OOBTree import OOBTree, OOBucket
from persistent import Persistent
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob

from dqm_db import model

_STORED: dict[tuple[str, str], type] = {
    (kind.__module__, kind.__name__): kind
    for kind in (
        *(kind for _, kind in inspect.getmembers(model, inspect.isclass)),
        *(IIBTree, IIBucket, IISet, IITreeSet, IOBTree, IOBucket, OOBTree, OOBucket),
        *(PersistentMapping, Blob),
    )
    if issubclass(kind, Persistent)
}


def stored_class(module: str, name: str) -> type | None:
    """The class that a record names so; None when this system never stores one, whatever it is."""
    return _STORED.get((module, name))
