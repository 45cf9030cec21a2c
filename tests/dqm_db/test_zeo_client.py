"""What a client says about errors of its server."""

from __future__ import annotations

import pytest
from ZEO.Exceptions import ServerException

from dqm_db.zeo_client import why


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ServerException("builtins.OSError", (28, "No space left on device")),
            "the disk of the server is full (No space left on device)",
        ),
        (
            ServerException("builtins.OSError", (27, "File too large")),
            "the disk of the server is full (File too large)",
        ),
        (ServerException("builtins.OSError", (5, "Input/output error")), "5 Input/output error"),
        (ServerException("ZODB.POSException.POSKeyError", ()), "ZODB.POSException.POSKeyError"),
        (ServerException(), ""),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
)
def test_errors_are_in_words(error: Exception, text: str) -> None:
    assert why(error) == text
