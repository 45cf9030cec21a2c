"""Host names and addresses as certificates have them."""

from __future__ import annotations

import contextlib
import ipaddress
import re

from cryptography import x509

from dqm_db.errors import ConfigurationError

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_NAME = 253

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def alternative_name(name: str) -> x509.GeneralName:
    """A host name or an IP address as certificates have it.

    Raises
    ------
    ConfigurationError
        *name* is neither.
    """
    with contextlib.suppress(ValueError):  # not an address, but maybe a name
        return x509.IPAddress(_address(name))
    lower = name.lower()
    labels = lower.split(".")
    if (
        len(lower) > _LONGEST_NAME
        or not all(map(_LABEL.fullmatch, labels))
        or labels[-1].isdigit()  # 10.0.0.256
    ):
        raise ConfigurationError(
            f"{name!r} is neither a host name nor an IP address; names have letters, digits, "
            "hyphens and dots (international ones begin with xn--)"
        )
    return x509.DNSName(lower)


def _address(text: str) -> IPAddress:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError(text)
    return address
