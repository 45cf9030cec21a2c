"""How the whole system is: all servers of a database, and what was done to keep it safe.

``model``       plain values: `SystemStatus`, `ServerStatus`, `DatabaseFacts`, `Item`
``collecting``  asks the servers and reads the database
``judging``     makes `Item` out of what was found; limits are in ``dqm_db/data/status.toml``
``document``    the JSON of ``dqm status --json``, described in ``docs/monitoring.md``
``table``       the same for people
``commands``    ``dqm status``
"""
