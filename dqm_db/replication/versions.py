"""The releases for which the changes in ``adapter`` and ``zeo_server`` were verified.

Those changes replace functions inside zc.zrs, ZEO and ZODB. A release with other internals might
ignore them, and then a server would look healthy while it loses transactions or runs code that a
stranger sent. So a server starts with verified releases only, unless ``DQM_UNVERIFIED_VERSIONS``
says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata
from types import MappingProxyType

from dqm_db.errors import ConfigurationError

VERIFIED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"ZODB": ("6.4",), "ZEO": ("6.2",), "zc.zrs": ("3.1",)}
)
"""Distribution: its verified releases as ``major.minor``; bug-fix releases are accepted."""


def unverified(installed: Callable[[str], str] = metadata.version) -> list[str]:
    """What is installed but was not verified, as ``name version (verified: …)``.

    Parameters
    ----------
    installed
        Gives the installed version of a distribution.
    """
    found = []
    for name, verified in VERIFIED.items():
        version = installed(name)
        if ".".join(version.split(".")[:2]) not in verified:
            found.append(f"{name} {version} (verified: {', '.join(verified)})")
    return found


def require_verified(
    *, unless: bool = False, installed: Callable[[str], str] = metadata.version
) -> list[str]:
    """Refuse to go on with releases that were not verified.

    Parameters
    ----------
    unless
        Accept them (``DQM_UNVERIFIED_VERSIONS``).
    installed
        Gives the installed version of a distribution.

    Returns
    -------
    list of str
        The unverified releases that were accepted; to be logged.

    Raises
    ------
    ConfigurationError
        Names the releases and the way out.
    """
    found = unverified(installed)
    if found and not unless:
        raise ConfigurationError(
            f"replication was not verified with {'; '.join(found)}: install verified releases, "
            "or set DQM_UNVERIFIED_VERSIONS=true to serve at your own risk"
        )
    return found
