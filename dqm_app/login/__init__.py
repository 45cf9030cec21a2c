"""Login: which request comes from whom, and what it may ask for.

============ =====================================================================================
``access``   what a request handler asks of whoever calls it: `Guarded`
``gate``     finds out who that is; one per process
``cookies``  what browsers keep
``provider`` the same for Bokeh's own handlers
``sockets``  the websocket: nobody without login, and closed when the login ends
``pages``    the page to log in on, and logging out
``account``  the page of a user: password, browsers, tokens; of an admin: what was done
``next``     where to go after the login
``browsers`` what browsers call themselves, in words
============ =====================================================================================

``auth_module.py`` in the folder above gives all of it to ``bokeh serve --auth-module``.
"""
