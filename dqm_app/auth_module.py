"""For ``bokeh serve dqm_app --auth-module dqm_app/auth_module.py``: the login of ``dqm serve``.

Bokeh takes the names below from this file.
"""

from __future__ import annotations

from dqm_app.login.pages import LoginPage as LoginHandler
from dqm_app.login.pages import Logout as LogoutHandler
from dqm_app.login.provider import LOGIN_URL, LOGOUT_URL, get_user_async

login_url = LOGIN_URL
logout_url = LOGOUT_URL

__all__ = ["LoginHandler", "LogoutHandler", "get_user_async", "login_url", "logout_url"]
