"""`dirac-service`, listening on loopback only: DIRAC binds every interface, and has no option."""

from __future__ import annotations

import sys
from typing import Any

from DIRAC.Core.DISET.private.Transports.M2SSLTransport import SSLTransport
from DIRAC.Core.scripts.dirac_service import main
from M2Crypto import SSL

listen = SSLTransport.initAsServer


def listen_on_loopback(transport: Any) -> Any:
    # Its socket speaks IPv6 and, this way, IPv4.
    transport.stServerAddress = ("::ffff:127.0.0.1", transport.stServerAddress[1])
    return listen(transport)


SSLTransport.initAsServer = listen_on_loopback
if not hasattr(SSL.Connection, "serverPostConnectionCheck"):
    # DIRAC names it, M2Crypto no longer has it.
    SSL.Connection.serverPostConnectionCheck = None
sys.exit(main())
