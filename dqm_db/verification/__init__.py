"""``dqm verify``: proves that servers hold the same, and that what they hold can be read.

Each side computes digests of its own transactions, records and blobs
(:mod:`dqm_db.volume.digests`); here they are compared in the order of the transactions, as they
come, so that a database of any size takes little memory.

=============== =================================================================================
``sides``       what is compared: anything that gives digests in order
``local``       a volume on this host
``servers``     a running server, asked through ZEO
``comparing``   walks along all sides at once
``pairs``       judges two sides: what differs, and what a pack explains
``remembered``  where the last verification of a pair of servers ended
``report``      the outcome in words and as JSON
``commands``    the command
=============== =================================================================================
"""
