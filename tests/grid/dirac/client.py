"""What tests do with DIRAC beside fetching, run by its own Python.

client.py upload DIRECTORY FILE…  # store and register files
client.py proxy FILE SECONDS      # make a proxy; one of negative length has expired
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def checked(result: dict[str, Any]) -> Any:
    if not result["OK"]:
        sys.exit(str(result["Message"]))
    return result.get("Value")


def upload(directory: str, *files: str) -> None:
    import DIRAC

    DIRAC.initialize()
    from DIRAC.Interfaces.API.Dirac import Dirac

    for file in files:
        done = checked(Dirac().addFile(f"{directory}/{Path(file).name}", file, "DQM-SE"))
        if done["Failed"]:
            sys.exit(str(done["Failed"]))


def proxy(file: str, seconds: str) -> None:
    from DIRAC.Core.Security.X509Chain import X509Chain

    chain = X509Chain()
    checked(chain.loadChainFromFile(os.environ["X509_USER_CERT"]))
    checked(chain.loadKeyFromFile(os.environ["X509_USER_KEY"]))
    checked(chain.generateProxyToFile(file, int(seconds), diracGroup="ctao_nectarcam"))


{"upload": upload, "proxy": proxy}[sys.argv[1]](*sys.argv[2:])
