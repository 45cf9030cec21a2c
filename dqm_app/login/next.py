"""Where to go after the login: an address of this server, and nothing else."""

from __future__ import annotations

import re

LONGEST = 4000
_WITHIN = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path, its query and fragment: printable ASCII without blanks, and without backslashes, in which
browsers see slashes; no second slash at its start, which would be a host."""


def is_within(address: str) -> bool:
    """Whether browsers take *address* for one of this very server."""
    return len(address) <= LONGEST and _WITHIN.fullmatch(address) is not None
