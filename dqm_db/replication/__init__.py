"""Replication of the database: zc.zrs 3.1.0 made to work, and safe, on today's ZODB and ZEO.

One primary accepts writes; replicas receive its transactions and serve them read-only; a replica
may feed further replicas. ``docs/replication.md`` explains the topology and what happens when a
part fails. The modules, from the outside in:

==================== ============================================================================
``commands``         ``dqm primary`` and ``dqm replica``
``configuration``    the ``zeo.conf`` that they write
``server``           runs ZEO on a ``zeo.conf`` in this process
``component.xml``    what ``%import dqm_db.replication`` adds to ZConfig: the section
                     ``<replicated>``; stock ``runzeo -C zeo.conf`` therefore works as well
``section``          opens the storage that such a section describes
``roles``            what a server is, and the epochs that begin or end with that
``fencing``          ends a primary when another server has a higher epoch
``identity``         what a running server is
``primary``          sends transactions to replicas, refuses those whose history is not ours
``secondary``        receives them
``signs``            signs of life of both, and who notices that they end
``adapter``          every change made inside zc.zrs, with its reason
``zeo_server``       every change made inside ZEO and FileStorage, with its reason
``methods``          what our servers answer beside what ZEO's do
``receiving``        what they do with objects and blobs that clients send, also on a full disk
``durable_blobs``    has these, and their names, on the disk before the transaction is
``serving_digests``  digests of what a server has, to be compared with another one's
``server_state``     what they tell of themselves to whoever asks
``versions``         the releases for which these changes were verified
``reactor``          the thread in which Twisted runs
``wire``             decodes messages without ever running what they name
``addresses``        HOST:PORT, and sockets that listen there
==================== ============================================================================

Importing this package imports none of them: Twisted, ZEO and zc.zrs are loaded by servers only.
"""
