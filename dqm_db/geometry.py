"""The camera's geometry, from the packaged ``NectarCam-003.ecsv``."""

from __future__ import annotations

import csv
import functools
import math
import re
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from dqm_db.content import N_PIXELS


@dataclass(frozen=True, slots=True)
class CameraGeometry:
    """Positions of the pixels in the engineering camera frame, in pixel-id order.

    Attributes
    ----------
    x, y : ndarray of float64, shape (1855,)
        Pixel centres in m.
    module : ndarray of int16, shape (1855,)
        Module (drawer) of each pixel.
    pixel_width : float
        Flat-to-flat width of the hexagons in m.
    pixel_rotation : float
        Rotation of the hexagons in radians.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    module: NDArray[np.int16]
    pixel_width: float
    pixel_rotation: float

    @property
    def pixel_radius(self) -> float:
        """Circumradius of the hexagons in m."""
        return self.pixel_width / math.sqrt(3)


@functools.cache
def camera_geometry() -> CameraGeometry:
    """The geometry of NectarCAM, read once.

    The file is ECSV (astropy's text table format); it is read with the csv module so that the
    dashboard need not load astropy.

    Raises
    ------
    ValueError
        When the packaged file does not list the pixels 0…1854 in order.
    """
    text = resources.files("dqm_db").joinpath("data/NectarCam-003.ecsv").read_text("utf-8")
    header = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    rows = csv.DictReader(
        (line for line in text.splitlines() if not line.startswith("#")), delimiter=" "
    )
    table = [(int(r["pix_id"]), int(r["module"]), float(r["x"]), float(r["y"])) for r in rows]
    if [row[0] for row in table] != list(range(N_PIXELS)):
        raise ValueError(f"camera geometry must list the pixels 0 to {N_PIXELS - 1} in order")
    return CameraGeometry(
        x=_frozen([row[2] for row in table], np.float64),
        y=_frozen([row[3] for row in table], np.float64),
        module=_frozen([row[1] for row in table], np.int16),
        pixel_width=_meta(header, "pixel_width_flat_to_flat_m"),
        pixel_rotation=math.radians(_meta(header, "pixel_rotation_deg")),
    )


def _frozen(values: list, dtype: type) -> NDArray:
    array: NDArray = np.array(values, dtype)
    array.setflags(write=False)
    return array


def _meta(header: str, key: str) -> float:
    match = re.search(rf"{{{key}: ([-0-9.eE]+)}}", header)
    if match is None:
        raise ValueError(f"camera geometry does not state {key}")
    return float(match.group(1))
