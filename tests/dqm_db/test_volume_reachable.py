"""What can be reached from the root, without loading anything."""

from __future__ import annotations

import ZODB
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.MappingStorage import MappingStorage
from ZODB.utils import p64, z64

from dqm_db.volume.reachable import reachable_among


def test_only_what_leads_from_the_root() -> None:
    storage = MappingStorage()
    db = ZODB.DB(storage)
    with db.transaction() as connection:
        top = connection.root()
        top["tree"] = OOBTree({n: PersistentMapping(n=n) for n in range(200)})
        top["ring"] = ring = PersistentMapping()
        ring["itself"] = ring
        top["removed"] = PersistentMapping(deep=PersistentMapping())
        connection.add(top["removed"]["deep"])
    with db.transaction() as connection:
        top = connection.root()
        kept = [top["tree"][n]._p_oid for n in (0, 100, 199)] + [top["ring"]._p_oid, z64]
        gone = [top["removed"]._p_oid, top["removed"]["deep"]._p_oid, p64(2**40)]
        del top["removed"]
    assert reachable_among(storage, kept + gone) == set(kept)
    assert reachable_among(storage, []) == set()
    db.close()
