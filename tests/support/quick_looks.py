"""Runs a program of the dashboard that looks every second whether the login of a page has ended.

``python quick_looks.py dqm serve …`` or ``… bokeh serve …``. Its processes are forks of this one.
"""

from __future__ import annotations

import sys

SECONDS = 1.0

if __name__ == "__main__":
    from dqm_app.login import sockets

    sockets.LOOK_SECONDS = SECONDS
    del sys.argv[0]
    if sys.argv[0] == "bokeh":
        from bokeh.__main__ import main
    else:
        from dqm.cli import main
    main()
