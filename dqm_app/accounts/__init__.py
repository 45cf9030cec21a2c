"""Who may use the dashboard, and what was done under which name.

Nothing here knows HTTP, Bokeh or ZODB: `dqm_app.login` asks on behalf of browsers and programs, and
``dqm user`` on behalf of the admin. Everything is in one relational database, which all processes
and hosts of a dashboard share (``DQM_ACCOUNTS_URL``).

============== ===================================================================================
``roles``      what somebody may do: viewer, expert, admin
``tables``     what is stored
``opening``    opens the database and brings its tables up to date (``migrations/``)
``passwords``  hashes and checks passwords
``users``      the people
``sessions``   who has logged in, from which browser
``tokens``     what programs show instead of a password
``throttle``   makes guessing slow
``audit``      remembers who did what
``facts``      how they are, for monitors
``backing_up`` copies them while they are used
``accounts``   all of it together, as `dqm_app.login` uses it
``settings``   ``DQM_AUTH``, ``DQM_ACCOUNTS_URL``, …
``commands``   ``dqm user …``
``errors``     what can go wrong
============== ===================================================================================
"""
