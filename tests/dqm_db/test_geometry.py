import numpy as np

from dqm_db.content import N_MODULES, N_PIXELS, PIXELS_PER_MODULE
from dqm_db.geometry import camera_geometry


def test_pixels_and_modules():
    geometry = camera_geometry()
    assert geometry.x.shape == geometry.y.shape == geometry.module.shape == (N_PIXELS,)
    assert np.array_equal(geometry.module, np.arange(N_PIXELS) // PIXELS_PER_MODULE)
    assert geometry.module.max() == N_MODULES - 1


def test_nearest_neighbours_are_one_pixel_width_apart():
    geometry = camera_geometry()
    positions = np.column_stack([geometry.x, geometry.y])
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    assert np.allclose(nearest, geometry.pixel_width, rtol=0.02)
    assert np.isclose(geometry.pixel_radius, geometry.pixel_width / np.sqrt(3))


def test_the_geometry_cannot_be_changed_by_accident():
    geometry = camera_geometry()
    assert not geometry.x.flags.writeable
    assert camera_geometry() is geometry
