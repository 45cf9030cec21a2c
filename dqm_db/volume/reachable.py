"""Which objects can be reached from the root, by the references in their records.

No object is loaded: as in a pack, the references are taken out of the pickles.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from BTrees.QQBTree import QQTreeSet
from ZODB.POSException import POSKeyError
from ZODB.serialize import referencesf
from ZODB.utils import load_current, p64, u64, z64


def reachable_among(storage: Any, oids: Iterable[bytes]) -> set[bytes]:
    """Those of *oids* that can be reached from the root of *storage* now.

    Reads the newest record of each object on the way, so it takes as long as a pack. Needs some
    tens of bytes of memory for each.

    Parameters
    ----------
    storage
        An open storage, which may be written to meanwhile.
    oids
        Of 8 bytes each.
    """
    wanted = set(oids)
    found: set[bytes] = set()
    seen = QQTreeSet([u64(z64)])
    ahead = [z64]
    while ahead and len(found) < len(wanted):
        oid = ahead.pop()
        if oid in wanted:
            found.add(oid)
        try:
            data, _ = load_current(storage, oid)
        except POSKeyError:
            continue  # a reference to nothing, or removed meanwhile: nothing can be reached from it
        ahead += [p64(number) for number in map(u64, referencesf(data)) if seen.add(number)]
    return found
