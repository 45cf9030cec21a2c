"""Memory of a quiet dashboard process."""

from __future__ import annotations

import ctypes
import gc


def trim_memory() -> None:
    """Give memory back to the system: what cycles hold, and what the C library keeps (glibc).

    The document of a closed session is full of cycles, and a quiet process seldom collects them.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
