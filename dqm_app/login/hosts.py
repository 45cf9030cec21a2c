"""By which names browsers may call a dashboard that asks nobody who he is."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from bokeh.server.util import check_allowlist


def is_ours(host: str, allowed: Collection[str]) -> bool:
    """Whether nobody else can have let this name lead here.

    Parameters
    ----------
    host : str
        What the request says in ``Host``.
    allowed : collection of str
        Hosts with ports, or patterns of them, from whose pages a websocket may come.

    Returns
    -------
    bool
        True for what is allowed, for addresses, and for names without a dot, such as
        ``localhost`` or those of containers: nobody else can register those.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if "." not in name:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return check_allowlist(host.lower(), list(allowed))
    return True
