"""``dqm`` that says in the end how much memory it had at most: ``peak_memory.py FILE ARGUMENT…``.

FILE gets the kilobytes. What `resource` has for a child counts the memory of its parent, too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dqm.cli import main

if __name__ == "__main__":
    try:
        main(sys.argv[2:])
    finally:
        status = Path("/proc/self/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        Path(sys.argv[1]).write_text(peak[1] if peak else "")
