"""A client of a replica that says when it could read each new run: ``… URL CAMERA``.

One JSON object per line, ``run`` and ``at`` (the clock of `time.monotonic`, which all processes of
a machine share), once its header and all its maps are read; ``{}`` when it has begun to look.
"""

from __future__ import annotations

import json
import sys
import time

from dqm_db.settings import DatabaseSettings, load
from dqm_db.storage import open_database

LOOK_SECONDS = 0.0005


def main(url: str, camera: str) -> None:
    """Look until killed."""
    with open_database(load(DatabaseSettings, db_url=url)) as database:
        known = database.last_transaction()
        seen = 0
        print("{}", flush=True)
        while True:
            time.sleep(LOOK_SECONDS)
            newest = database.last_transaction()  # the server has told it; nothing is asked
            if newest == known:
                continue
            known = newest
            with database.snapshot() as snapshot:
                run = snapshot.runs(camera)[-1]
                if run == seen:
                    continue
                snapshot.header(camera, run)
                snapshot.pixel_maps(camera, run)
            seen = run
            print(json.dumps({"run": run, "at": time.monotonic()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
