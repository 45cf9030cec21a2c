"""Where the files are that are shipped beside the program: units, user-data, the site of nginx."""

from __future__ import annotations

import sys
from pathlib import Path

from dqm_db.errors import DQMError

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDERS = {
    # name below share/nectarcam-dqm (pyproject.toml): folder of a checkout
    "cloud-init": "cloud-init",
    "docker": "docker",
    "nginx": "docker/nginx",
    "systemd": "systemd",
}


class ShippedFilesMissing(DQMError):
    """The installation lacks files that belong to it."""

    exit_code = 66


def shipped(name: str) -> Path:
    """The folder of `FOLDERS` with that *name*: of the checkout, or of the environment.

    Raises
    ------
    ShippedFilesMissing
        when it is in neither.
    """
    places = (
        CHECKOUT / FOLDERS[name],
        Path(sys.prefix) / "share/nectarcam-dqm" / name,
    )
    in_checkout = (CHECKOUT / "pyproject.toml").is_file()
    for place in places if in_checkout else places[1:]:
        if place.is_dir():
            return place
    raise ShippedFilesMissing(
        f"there is no folder {places[1]}: install nectarcam-dqm from its wheel, into an "
        "environment of its own"
    )
