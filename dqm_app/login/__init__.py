"""Login: which request comes from whom, and what it may ask for.

================ =================================================================================
``opening``      the login of a server, from its settings
``access``       what a request handler asks of whoever calls it: `Guarded`
``visitors``     whoever calls, and what a request says of him
``gate``         finds out who that is; one per process
``short_memory`` what it need not ask again
``cookies``      what browsers keep
``provider``     the same for Bokeh's own handlers
``sockets``      the websocket: nobody without login, and closed when the login ends
``watch``        whether the accounts can be reached
``pages``        the page to log in on, and logging out
``account``      the page of a user: password, browsers, tokens; of an admin: what was done
``rendering``    these pages, and those that say what went wrong, as HTML
``next``         where to go after the login
``browsers``     what browsers call themselves, in words
``hosts``        by which names a dashboard may be called that asks nobody who he is
================ =================================================================================

``auth_module.py`` in the folder above gives all of it to ``bokeh serve --auth-module``.
"""
